# SPDX-License-Identifier: GPL-2.0-only
"""bytes_received grows with rcv_nxt, by the bytes that were received in order and by one for the FIN.

datapath/quiet.h, quiet_limit(): what a guarded socket may acknowledge.
"""
import socket

import bpf
import place

ESTABLISHED, CLOSE_WAIT = 1, 8


def check():
    program = bpf.Object("fin_count")
    with place.namespace() as space:
        with space.enter():
            program.attach("look", "lo", bpf.EGRESS)
        with place.connection(space, "127.0.0.1") as (front, back):
            found = [look(program, front, back)]
            front.send(b"12345")
            back.recv(5)
            found.append(look(program, front, back))
            front.shutdown(socket.SHUT_WR)
            back.recv(1)
            found.append(look(program, front, back))
    start = found[0][0]
    found = [((rcv_nxt - start) % 2**32, received, state) for rcv_nxt, received, state in found]
    assert found == [(0, 0, ESTABLISHED), (5, 5, ESTABLISHED), (6, 6, CLOSE_WAIT)], \
        f"rcv_nxt, bytes_received, state: {found}"


def look(program, front, back):
    """What back's next segment finds."""
    back.send(b"?")
    front.recv(1)
    return program.seen()[:3]
