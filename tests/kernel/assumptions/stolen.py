# SPDX-License-Identifier: GPL-2.0-only
"""TCP does not notice that a segment was STOLEN at tc egress; SHOT makes it shrink its window.

datapath/quiet.h drops acknowledgements there.
"""
import socket
import struct

import bpf
import place

SND_SSTHRESH = 76  # in struct tcp_info, and snd_cwnd behind it
UNLIMITED = 0x7FFFFFFF


def window(sock):
    """(ssthresh, cwnd), in segments"""
    return struct.unpack_from("II", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), SND_SSTHRESH)


def lose_one(program, verdict):
    """Return: window() before and after a segment is lost in that way."""
    with place.namespace() as space, place.connection(space, "127.0.0.1") as (front, back):
        front.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # BBR shrinks nothing
        before = window(front)
        with space.enter():
            program.attach(verdict, "lo", bpf.EGRESS)
        front.send(b"lost")
        back.settimeout(0.05)
        try:
            raise AssertionError(f"{verdict}: {back.recv(8)!r} came through")
        except TimeoutError:
            return before, window(front)


def check():
    program = bpf.Object("stolen")
    before, after = lose_one(program, "stolen")
    assert before == after and before[0] == UNLIMITED, f"STOLEN: {before} became {after}"
    before, after = lose_one(program, "shot")
    assert after[0] < UNLIMITED, f"SHOT: {before} became {after}: STOLEN is no longer needed"
