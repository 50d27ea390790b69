# SPDX-License-Identifier: GPL-2.0-only
"""At tc egress a SYN carries its socket, a SYN-ACK no full one: the listener's rule does not touch it.

datapath/handoff.bpf.c, ladon_egress(); datapath/quiet.h edits the options of SYNs.
"""
import bpf
import place


def check():
    for address in place.LOOPBACKS:
        for cookies in (1, 2):  # 2: every SYN-ACK is a cookie, as in a flood
            program = bpf.Object("synack_socket")
            with place.namespace() as space:
                space.sysctl("net.ipv4.tcp_syncookies", cookies)
                with space.enter():
                    program.attach("count", "lo", bpf.EGRESS)
                with place.connection(space, address):
                    found = program.seen()[:4]
            assert found == (1, 0, 1, 1), f"{address}: SYN-ACKs, full; SYNs, full: {found}"
