# SPDX-License-Identifier: GPL-2.0-only
"""Learned packets into a container, or whatever is behind a veth link, do not come by its near end: unless somebody waits there.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
"""
import contextlib
import json
import os
import socket
import struct
import time

import pytest

from lib.learned import ACCELERATE, Udp, start
from lib.net import LINUX, run, until

ASKS = 50


def begin(net, way, accelerate=ACCELERATE):
    """What arrives at the far ends stays on its CPU: where it would be given to others, nothing goes past the near end."""
    for space in (net.client, net.backend):
        run("ip", "netns", "exec", space.name, "sh", "-c", "echo 0 > /sys/class/net/eth0/queues/rx-0/rps_cpus")
    ladon = start(net, way, accelerate)
    udp = Udp(net, way)
    udp.until_learned(ladon)
    return ladon, udp


def sent(net):
    """Packets that have left by the gateway's end of the backend's link."""
    with net.gateway.enter(), open("/proc/thread-self/net/dev") as lines:
        return next(int(line.split()[10]) for line in lines if line.split()[0] == "backend0:")


def tc(net, words):
    run("tc", "-n", net.gateway.name, *words.split())


@contextlib.contextmanager
def queue(net):
    tc(net, "qdisc add dev backend0 root pfifo limit 1000")
    yield lambda: None
    tc(net, "qdisc del dev backend0 root")


@contextlib.contextmanager
def several(net):
    """A filter of somebody's at tc egress."""
    run("tc", "-n", net.gateway.name, *"filter add dev backend0 egress prio 7 protocol all bpf da bytecode".split(),
        "1,6 0 0 4294967295")  # one instruction: return TC_ACT_UNSPEC
    yield lambda: None
    tc(net, "filter del dev backend0 egress prio 7")


@contextlib.contextmanager
def rules(net):
    net.gateway.nft("""table netdev watch {
        chain out { type filter hook egress device backend0 priority 0; counter; }
    }""")
    yield lambda: None
    net.gateway.nft("delete table netdev watch")


@contextlib.contextmanager
def capture(net):
    with net.gateway.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind(("backend0", 3))
        yield lambda: None


@contextlib.contextmanager
def capture_all(net):
    """As tcpdump -i any."""
    if LINUX < (6, 15):
        raise RuntimeError("whoever captures on all devices cannot be seen")
    with net.gateway.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        yield lambda: None


def is_direct(net, udp):
    """Do questions go past the near end, after a moment of silence?"""
    time.sleep(0.05)
    before = sent(net)
    for _ in range(ASKS):
        udp.ask()
    return sent(net) - before < ASKS / 2


@pytest.mark.parametrize("way", ("both", "both6", "routed"))
def test_past_the_near_end(net, way):
    ladon, udp = begin(net, way)
    until(lambda: is_direct(net, udp), "questions go past the near end")
    before, stale, end = sent(net), ladon.reasons("packet").get("learned_stale", 0), time.monotonic() + 2.5
    while time.monotonic() < end:
        udp.ask()
    assert ladon.reasons("packet")["learned_stale"] - stale >= 2  # copies have asked, and nobody was held up
    assert sent(net) - before < 20
    assert udp.fast(ladon) > 30
    net.gateway.ip("link set backend0 down")
    assert not udp.arrives(seconds=0.1)
    net.gateway.ip("link set backend0 up")
    if way == "both6":
        return  # its addresses went with the link
    until(lambda: udp.arrives(seconds=0.1), "the link is back")
    assert net.trouble() == {}


def test_nobody_overtakes(net):
    """Bursts arrive in their order, whatever of them goes through the stack: at the beginning, and when rules change or it is asked."""
    ladon, udp = begin(net, "both", "accelerate: {confirm: 100ms}\n")
    udp.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    burst = b"".join(struct.pack("!I", n) for n in range(40))
    udp.sock.setsockopt(socket.IPPROTO_UDP, 103, 4)  # UDP_SEGMENT, linux/udp.h: all at once
    net.client.offload("eth0", **{"tx-udp-segmentation": False})  # and on the wire one by one
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # a sender that changes CPU overtakes itself
    for turn in range(100):
        if turn % 10 == 5:
            net.gateway.nft("add table inet another\ndelete table inet another")
        udp.sock.send(burst)
        got = [struct.unpack("!I", udp.server.recv(100))[0] for _ in range(40)]
        assert got == list(range(40))
        time.sleep(0.03 if turn % 3 else 0)
    os.sched_setaffinity(0, cpus)
    assert ladon.reasons("packet")["learned_stale"] > 10


@pytest.mark.parametrize("watcher", (queue, several, rules, capture, capture_all))
def test_somebody_waits_there(net, watcher):
    """Then all come by; and past it again, when nobody does."""
    ladon, udp = begin(net, "both")
    until(lambda: is_direct(net, udp), "questions go past the near end")
    with contextlib.ExitStack() as waits:
        try:
            waits.enter_context(watcher(net))
        except RuntimeError as error:
            pytest.skip(f"this kernel has none: {error}")
        until(lambda: not is_direct(net, udp), "questions come by")
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            assert not is_direct(net, udp)
        assert udp.fast(ladon) > 30
    until(lambda: is_direct(net, udp), "questions go past the near end again")


def test_the_priority_stays_here(net):
    """As it does on a veth link: what class a packet has in one namespace is nothing to the other."""
    _, udp = begin(net, "both")
    net.gateway.nft("table inet classes { chain post { type filter hook postrouting priority 0; meta priority set 65541; }\n}\n")
    net.backend.nft("""table netdev watch {
        counter classed { }
        counter seen { }
        chain in { type filter hook ingress device eth0 priority 0; udp dport 8080 counter name seen; meta priority 65541 counter name classed; }
    }
    """)
    until(lambda: is_direct(net, udp), "questions go past the near end")

    def count(name):
        with net.backend.enter():
            found = run("nft", "-j", "list", "counter", "netdev", "watch", name)
        return json.loads(found)["nftables"][1]["counter"]["packets"]

    assert count("seen") >= ASKS
    assert count("classed") == 0
