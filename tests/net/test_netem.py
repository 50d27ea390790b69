# SPDX-License-Identifier: GPL-2.0-only
"""Whatever the network does to packets, the bytes arrive as they were said.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

netem(8) stands at the way out of both ends and of both of the gateway's devices,
so that each direction meets it twice, and ladon's own segments do too. Where the
kernel has none (CONFIG_NET_SCH_NETEM) the tests are skipped; make test-kernels
runs them in kernels that have it.
"""
import json
import os
import threading

import pytest

from lib import ends
from lib.gateway import DUAL, FAMILIES
from lib.net import Namespace, run

LONG = ends.MB
FIRST = 6000  # bytes: some segments, and less than any first window
VISITS = 20   # of each family

# What netem is told, and the counters of the two ends that show that it did so
FAULTS = {
    "loss": ("loss 1%", ["TcpRetransSegs"]),
    "reordering": ("delay 10ms reorder 75% 25% limit 100000", ["TcpExtTCPOFOQueue"]),
    "duplication": ("duplicate 5% limit 100000", ["TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKRecv"]),
    "delay": ("delay 10ms 5ms limit 100000", ["TcpExtTCPOFOQueue"]),  # each another one: they overtake
    "damage": ("corrupt 1%", ["TcpInCsumErrors"]),
}
every_fault = pytest.mark.parametrize("fault", FAULTS)
TOLD = ("TcpOutSegs", "TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtTCPOFOQueue", "TcpExtTCPDSACKRecv",
        "TcpExtTCPDSACKOldSent", "TcpExtTCPSackRecovery", "TcpExtPAWSEstab", "TcpInCsumErrors", "TcpOutRsts")


@pytest.fixture(scope="module", autouse=True)
def netem():
    """A kernel without it: skip."""
    space = Namespace(f"ladon-{os.getpid()}-netem")
    try:
        with space.enter():
            run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except RuntimeError:
        pytest.skip("this kernel has no netem")
    finally:
        space.close()


def places(net):
    return (net.client, "eth0"), (net.gateway, "client0"), (net.gateway, "backend0"), (net.backend, "eth0")


def disturb(net, fault):
    for space, device in places(net):
        run("tc", "-n", space.name, "qdisc", "replace", "dev", device, "root", "netem",
            *FAULTS[fault][0].split())


def calm(net):
    """As before. Return: packets that each netem dropped itself."""
    dropped = []
    for space, device in places(net):
        text = run("tc", "-n", space.name, "-s", "-j", "qdisc", "show", "dev", device)
        dropped += [qdisc["drops"] for qdisc in json.loads(text) if qdisc["kind"] == "netem"]
        run("tc", "-n", space.name, "qdisc", "del", "dev", device, "root")
    return dropped


def judge(net, ladon, fault):
    """While all connections are open: the fault happened, and nobody gave up. pytest -rP shows the counters."""
    found = {space.name[-1]: {name: n for name in TOLD if (n := space.counter(name))}
             for space in (net.client, net.backend)}
    print(f"{fault}: {found}, packets {ladon.reasons('packet')}, {ladon.reasons()}")
    for name in FAULTS[fault][1]:
        assert sum(counters.get(name, 0) for counters in found.values()) > 0, f"no {fault}: {name}"
    for space in net.spaces:
        assert space.counter("TcpOutRsts") == 0, space.name
    if fault != "damage":
        assert not [end for end, counters in found.items() if "TcpInCsumErrors" in counters]


class Talkers:
    """Pairs of ends, each of which says and hears a stream and stays until all have been judged.

    The streams of pair n have the seeds 2n, the backend's, and 2n + 1. Odd pairs speak IPv6.
    """

    def __init__(self, net, size):
        self.net = net
        self.size = size
        self.stay = threading.Event()
        net.gateway.closers.append(self.stay.set)
        for _, backend, _ in FAMILIES:
            ends.Server(net.backend, self.answer, address=backend)

    def say_and_hear(self, sock, say, hear):
        """Both at once. Return: whether what was heard is stream `hear`."""
        speaker = ends.spawn(ends.send, sock, self.size, say)
        heard = ends.receive(sock, self.size)
        speaker.result(50)
        return heard == ends.expected(self.size, hear)

    def answer(self, sock):
        """The number of the pair is the first thing that the client says."""
        pair = ends.receive_exactly(sock, 1)[0]
        sock.sendall(b"y" if self.say_and_hear(sock, 2 * pair, 2 * pair + 1) else b"n")
        self.stay.wait(50)

    def connect(self, pair):
        return ends.connect(self.net.client, FAMILIES[pair % 2][0])

    def ask(self, sock, pair):
        """Return: whether both streams arrived."""
        sock.sendall(bytes([pair]))
        arrived = self.say_and_hear(sock, 2 * pair + 1, 2 * pair)
        return sock.recv(1) == b"y" and arrived


@every_fault
def test_long_flows(net, fault):
    """From the handoff on; megabytes both ways at once."""
    net.offload(tso=False, gso=False, gro=False)
    ladon = net.ladond(DUAL)
    talkers = Talkers(net, LONG)
    socks = [talkers.connect(pair) for pair in range(2)]
    ladon.wait_handed_off(2)

    disturb(net, fault)
    asked = [ends.spawn(talkers.ask, sock, pair) for pair, sock in enumerate(socks)]
    assert all(a.result(50) for a in asked)
    dropped = calm(net)
    judge(net, ladon, fault)

    assert fault != "loss" or min(dropped) > 0
    ladon.wait_handed_off(2)
    assert ladon.relayed_bytes() == 0
    talkers.stay.set()


@every_fault
def test_first_segments(net, fault):
    """From the SYN on: handshakes, first bytes and ladon's own segments meet it too. A connection of
    which a fault made the connect slow is relayed, and misses no byte either. Senders complete their
    checksums.
    """
    net.offload(tso=False, gso=False, gro=False, tx=False)
    disturb(net, fault)
    ladon = net.ladond(DUAL)
    talkers = Talkers(net, FIRST)

    def visit(pair):
        sock = talkers.connect(pair)
        return talkers.ask(sock, pair), sock  # open until all have been judged

    visits = [ends.spawn(visit, pair) for pair in range(2 * VISITS)]
    done = [v.result(50) for v in visits]
    assert all(arrived for arrived, _ in done)
    calm(net)
    judge(net, ladon, fault)

    assert ladon.connections()["handed_off"] >= VISITS
    talkers.stay.set()
