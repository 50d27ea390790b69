# SPDX-License-Identifier: GPL-2.0-only
"""Every change of a route, rule or address that may matter to a packet moves its family's generation. (The end
of an IPv4 route that nobody has ever used does not.)

datapath/out.h, out_find(): as long as it stands still, a flow's next hop is the one that was found first.
"""
import socket

import bpf
import place
from lib.net import run

# Family, a prefix and a host in it, an address
FAMILIES = (
    ("-4", "192.0.2.0/24", "192.0.2.1", "198.51.100.1/24"),
    ("-6", "2001:db8::/64", "2001:db8::1", "2001:db8:1::1/64"),
)


def changes(family, prefix, address):
    """ip(8) commands, each of which may send somebody's packets elsewhere."""
    nodad = " nodad" if family == "-6" else ""
    return (f"{family} route add {prefix} dev lo",
            f"{family} route add blackhole {prefix} metric 1",
            f"{family} route add {prefix} dev lo table 7",
            f"{family} rule add to {prefix} table 7",
            f"{family} route del {prefix} dev lo table 7",
            f"{family} rule del to {prefix} table 7",
            f"{family} route del {prefix}",
            f"{family} addr add {address} dev lo{nodad}",
            f"{family} addr del {address} dev lo")


def check():
    program = bpf.Object("route_gen")
    with place.namespace() as space, place.connection(space, "127.0.0.1") as (front, back):
        with space.enter():
            program.attach("look", "lo", bpf.EGRESS)
        assert generations(program, front, back) == generations(program, front, back), "it moves by itself"
        for which, (family, prefix, host, address) in enumerate(FAMILIES):
            for change in changes(family, prefix, address):
                use(space, host)
                before = generations(program, front, back)
                run("ip", "-n", space.name, *change.split())
                after = generations(program, front, back)
                assert after[which] != before[which], f"it did not see: ip {change}"


def use(space, host):
    """Look for the way to it."""
    with space.socket(host, socket.SOCK_DGRAM) as sock:
        sock.connect_ex((host, 7))


def generations(program, front, back):
    """As the next segment finds them."""
    front.send(b"?")
    back.recv(1)
    assert program.seen()[2], "no segment was seen"
    return program.seen()[:2]
