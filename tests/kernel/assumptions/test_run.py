# SPDX-License-Identifier: GPL-2.0-only
"""A test run of a tc program takes place in the caller's network namespace, finds its sockets, and
gives the packet back as the program left it.

lib/handoff.c and datapath/handoff.bpf.c: a handoff is one test run.
"""
import socket
import struct

import bpf
import place

ESTABLISHED = 1


def check():
    program = bpf.Object("test_run")
    with place.namespace("a") as here, place.namespace("b") as there, \
            place.connection(here, "127.0.0.1") as (front, back):
        request = bytes(16) + socket.inet_aton("127.0.0.1") * 2 + \
            struct.pack("!HH", front.getsockname()[1], back.getsockname()[1])
        for space, expected in ((here, ESTABLISHED), (there, 0)):
            with space.enter():
                _, answer = program.run("find", request)
            assert answer[:14] + answer[15:] == request[:14] + request[15:], f"changed: {answer!r}"
            assert answer[14] == expected, f"state {answer[14]} instead of {expected}"
