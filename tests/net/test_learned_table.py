# SPDX-License-Identifier: GPL-2.0-only
"""The table of learned flows: what has no room in it, and what a flow's packets keep that went past the stack."""
import itertools
import re
import socket

import pytest

from lib.learned import LINUX_LEARNS, PORT, Udp, learned, start, why
from lib.net import GATEWAY, run, until

pytestmark = LINUX_LEARNS

PLACES = 32  # datapath/abi.h: the smallest table's


def why_not(ladon, sock):
    return why(ladon, "udp", sock.getsockname(), (GATEWAY, PORT))


def test_a_table_that_is_full(net):
    """What has no room in it keeps to the stack, which a reason says; and has room when others have gone."""
    ladon = start(net, "both", "accelerate: {flows: 1, packets: 1}\n")
    udp = Udp(net, "both")
    socks = [net.client.socket(GATEWAY, socket.SOCK_DGRAM) for _ in range(PLACES)]
    for sock in socks:
        sock.connect((GATEWAY, PORT))

    def ask(chosen):
        for udp.sock in chosen:
            udp.ask()

    def directions():
        return sum(bool(f["packets_in"]) + bool(f["packets_out"]) for f in learned(ladon))

    until(lambda: (ask(socks), directions() == PLACES)[1], "the table is full")
    until(lambda: ladon.reasons("packet").get("unlearned_full"), "a flow has no room")
    ask(socks)
    assert directions() == PLACES
    late = next(sock for sock in socks if why_not(ladon, sock) == "unlearned_full")
    # ... and all others are silent from now on
    until(lambda: (ask([late]), why_not(ladon, late) == "learned")[1], "there is room again", 30)
    assert net.trouble() == {}


# classic BPF: does a packet have the mark 26? 0: no; else it is of the class that the filter names
IS_MARKED = "4,32 0 0 4294963220,21 0 1 26,6 0 0 4294967295,6 0 0 0"
CLASSES = {"1:1": "0", "1:2": "26", "1:3": "26 meta priority set 0x10003"}  # of a queue: and what rules say that bring packets there


def queued(net, queue):
    """Packets that have left by a class of the queue."""
    text = run("tc", "-n", net.gateway.name, "-s", "class", "show", "dev", "backend0", "classid", queue)
    return int(re.search(r"(\d+) pkt", text).group(1))


@pytest.mark.parametrize("first, then", itertools.permutations(CLASSES, 2))
def test_what_the_firewall_marks(net, first, then):
    """A flow's mark and priority are on each of its packets; and when rules change, the new ones."""
    for words in ("qdisc add dev backend0 root handle 1: htb default 1",
                  *(f"class add dev backend0 parent 1: classid {queue} htb rate 10gbit" for queue in CLASSES)):
        run("tc", "-n", net.gateway.name, *words.split())
    run("tc", "-n", net.gateway.name, *"filter add dev backend0 parent 1: protocol ip bpf bytecode".split(), IS_MARKED,
        "classid", "1:2")
    net.gateway.nft("table inet marks { chain post { type filter hook postrouting priority 0; }; }")
    ladon = start(net, "both")
    udp = Udp(net, "both")
    for queue in (first, then):
        net.gateway.nft(f"flush chain inet marks post\nadd rule inet marks post meta mark set {CLASSES[queue]}")
        udp.until_learned(ladon)
        until(lambda: udp.fast(ladon, 5) == 10, "it is learned under these rules")
        before = queued(net, queue)
        assert udp.fast(ladon, 50) > 40
        assert queued(net, queue) - before >= 50
    assert net.trouble() == {}
