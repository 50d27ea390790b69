# SPDX-License-Identifier: GPL-2.0-only
"""A test run can put a packet into the ingress of an interface: tc sees it there, on whatever CPU such packets
go to, with skb->tc_index as it was set, as one that is sent to all, and may make it one for this host.

datapath/probe.h: that is how probes are sent.
"""
import ctypes
import socket
import struct

import bpf
import place
from lib.net import until

BROADCAST = 1  # linux/if_packet.h


def check():
    program = bpf.Object("inject")
    with place.namespace() as space, space.enter():
        space.ip("link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up")
        program.attach("enter", "eth0", bpf.INGRESS)
        program.tell()
        assert put(program, "eth0") == 0
        until(lambda: program.seen()[0], "tc sees the packet")
        count, came_as, became = program.seen()[:3]
        assert (count, came_as, became) == (1, BROADCAST, 0), (count, came_as, became)
        space.ip("link set eth0 down")
        assert put(program, "eth0") != 0, "an interface that is down took it"


def put(program, device):
    """Return: what bpf_clone_redirect() did."""
    packet = b"\xff" * 6 + bytes(6) + b"\x08\x00\x45" + bytes(39)
    context = bytearray(192)  # struct __sk_buff
    struct.pack_into("I", context, 48, socket.if_nametoindex(device))  # .cb[0]
    given = (ctypes.c_char * len(context)).from_buffer(context)
    return program.run("put", packet, given)[0]
