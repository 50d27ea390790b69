# SPDX-License-Identifier: GPL-2.0-only
"""TSval is the clock of bpf_ktime_get_ns() in milliseconds plus the socket's tsoffset, in segments of
data behind two NOPs; never ahead of that clock.

datapath/handoff.bpf.c, side_clock(): one that runs ahead makes the other end drop segments as old.
"""
import bpf
import place

LATE_MS = 50  # a busy machine may stop us between the two


def check():
    for address in place.LOOPBACKS:
        program = bpf.Object("socket_clock")
        with place.namespace() as space:
            with space.enter():
                program.attach("compare", "lo", bpf.EGRESS)
            with place.connection(space, address) as (front, back):
                for sender, receiver in ((front, back), (back, front)):
                    sender.send(b"?")
                    receiver.recv(1)
                    ahead_ms, _ = program.seen()[:2]
                    assert ahead_ms <= LATE_MS, f"{address}: {(ahead_ms + 2**31) % 2**32 - 2**31} ms apart"
        segments = program.seen()[1]
        assert segments == 2, f"{address}: {segments} segments with NOP NOP TS instead of 2"
