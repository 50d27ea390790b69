# SPDX-License-Identifier: GPL-2.0-only
"""bpf_redirect_neigh() without a next hop finds route and neighbour by itself, with forwarding off.

The first packet too, for which the neighbour has yet to be asked.
datapath/out.h, out_send().
"""
import socket

import bpf
from lib.net import BACKENDS, BACKENDS6, Net


def check():
    program = bpf.Object("redirect_neigh")
    net = Net()
    try:
        for address in (BACKENDS[0], BACKENDS6[0]):
            arrives(net, program, address)
    finally:
        net.close()


def arrives(net, program, address):
    with net.backend.socket(address, socket.SOCK_DGRAM) as server, \
            net.client.socket(address, socket.SOCK_DGRAM) as client:
        server.bind((address, 7))
        server.settimeout(0.2)
        program.tell(0)  # no such interface: whatever arrives was forwarded by somebody else
        with net.gateway.enter():
            program.attach("forward", "client0", bpf.INGRESS)
            backend0 = socket.if_nametoindex("backend0")
        client.sendto(b"stack", (address, 7))
        try:
            raise AssertionError(f"{address}: forwarding is not off: {server.recv(8)!r} came")
        except TimeoutError:
            pass
        program.tell(backend0)
        server.settimeout(5)
        client.sendto(b"redirected", (address, 7))
        try:
            heard = server.recv(16)
        except TimeoutError:
            raise AssertionError(f"{address}: nothing came") from None
        assert heard == b"redirected", f"{address}: {heard!r}"
