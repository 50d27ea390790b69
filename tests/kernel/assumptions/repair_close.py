# SPDX-License-Identifier: GPL-2.0-only
"""close() in TCP_REPAIR mode says nothing and leaves nothing: no FIN, no RST, no TIME_WAIT.

Not even with bytes that nobody read, for which an ordinary close() sends a RST.
lib/handoff.c, vanish().
"""
import socket

import place

TCP_REPAIR = 19


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space:
            closes_in_silence(space, address)


def closes_in_silence(space, address):
    with place.connection(space, address) as (front, back):
        front.send(b"unread")
        assert back.recv(6, socket.MSG_PEEK) == b"unread"
        before = space.counters()
        back.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        back.close()
        after = space.counters()
        front.settimeout(0.2)
        try:
            raise AssertionError(f"the other end heard {front.recv(1)!r}")
        except TimeoutError:
            pass
        for name in ("TcpOutSegs", "TcpOutRsts"):
            assert after[name] == before[name], f"{name} went up by {after[name] - before[name]}"
        left = [fields[3] for fields in space.sockets()]
        assert left == ["01"], f"states of what is left (one ESTABLISHED was expected): {left}"
        front.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # its own FIN would meet a stranger
