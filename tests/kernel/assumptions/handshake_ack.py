# SPDX-License-Identifier: GPL-2.0-only
"""After TCP_QUICKACK=0 the last acknowledgement of the handshake rides on the first bytes, if those come at once.

lib/guard.c, back_prepare(): a packet less, and the backend wakes once.
"""
import socket

import bpf
import place


def check():
    for address in place.LOOPBACKS:
        program = bpf.Object("handshake_ack")
        with place.namespace() as space, place.listen(space, address) as listener:
            with space.enter():
                program.attach("count", "lo", bpf.EGRESS)
            for quick, expected in ((1, 1), (0, 0)):
                program.tell(0, 0, listener.getsockname()[1])
                with space.socket(address) as front:
                    front.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, quick)
                    front.connect(listener.getsockname()[:2])
                    front.send(b"first")  # before anything else: it has 200 ms
                    with listener.accept()[0] as back:
                        assert back.recv(5) == b"first"
                empty, has_data = program.seen()[:2]
                assert (empty, has_data) == (expected, 1), \
                    f"{address}: TCP_QUICKACK {quick}: {empty} empty segments before the data"
