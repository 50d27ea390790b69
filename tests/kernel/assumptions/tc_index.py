# SPDX-License-Identifier: GPL-2.0-only
"""skb->tc_index, set at tc ingress, is still there at tc egress when the stack has forwarded a packet.

datapath/stack.h marks packets by it.
"""
import socket

import bpf
from lib.net import BACKENDS, BACKENDS6, Net


def check():
    program = bpf.Object("tc_index")
    net = Net()
    net.forward()
    try:
        for address in (BACKENDS[0], BACKENDS6[0]):
            stays(net, program, address)
    finally:
        net.close()


def stays(net, program, address):
    with net.backend.socket(address, socket.SOCK_DGRAM) as server, \
            net.client.socket(address, socket.SOCK_DGRAM) as client:
        server.bind((address, 7))
        server.settimeout(5)
        program.tell()
        with net.gateway.enter():
            program.attach("enter", "client0", bpf.INGRESS)
            program.attach("leave", "backend0", bpf.EGRESS)
        client.sendto(b"marked", (address, 7))
        assert server.recv(16) == b"marked"
        marked, others = program.seen()[:2]
        assert marked == 1, f"{address}: {marked} packets left with the mark, {others} without"
