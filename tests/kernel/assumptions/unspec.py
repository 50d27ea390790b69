# SPDX-License-Identifier: GPL-2.0-only
"""After TC_ACT_UNSPEC the next program on the same hook has its turn, then the stack.

datapath/tc.bpf.c and handoff.bpf.c: other people's filters on an interface go on working.
"""
import bpf
import place


def check():
    for point in (bpf.INGRESS, bpf.EGRESS):
        program = bpf.Object("unspec")
        with place.namespace() as space:
            with space.enter():
                program.attach("first", "lo", point, priority=1)
                program.attach("second", "lo", point, priority=2)
            with place.connection(space, "127.0.0.1") as (front, back):
                front.send(b"through")
                assert back.recv(7) == b"through"
        assert program.seen()[0], "the second program saw nothing"
