# SPDX-License-Identifier: GPL-2.0-only
"""flood.py - packets that the gateway forwards, one CPU's, and what they cost it: flood.c, and what it needs around it

Nobody hears them: behind the gateway they are taken as they come in, and so are those past
it, with which they are compared.
"""
import contextlib
import json
import os
import subprocess
import time

from lib.gateway import BUILD
from lib.net import CLIENT, join, run, until

from subjects import BACKEND, PORT

FLOOD = os.path.join(BUILD, "bench/flood")
FLOOD_PORT = 10000
UDP_BYTES = 46  # with Ethernet's header 60
ASKED_TIMES = 20  # of each direction, before a flow is measured: more than it takes to be learned
WARM_UP = 0.3  # CPU seconds: ladond has been told of a TCP connection by then, and it is learned
SILENCE = 0.05  # as any flow has some time: what goes to a veth of another namespace takes a shorter way from then on
ARRIVED_MIN = 0.999  # of the packets that were sent through a gateway
TAKE = "1,6 0 0 4"  # classic BPF, one instruction: return TC_ACT_STOLEN. A drop would run what looks at drops: ladon, for one


class Flood:
    """A process that sends packets of its flows through the gateway: flood.c. A context manager."""

    def __init__(self, turn, what, *, flows=1, size=UDP_BYTES):
        """what: "udp" or "tcp", by the client; "answers": of UDP, by the backend"""
        net, backs = turn.net, what == "answers"
        self.to = net.client if backs else net.backend
        self.sent = 0
        mac = _mac(net.gateway, "backend0" if backs else "client0")
        to = join(turn.subject.address, PORT)
        ends = {"tcp": (to,), "udp": (join(CLIENT, FLOOD_PORT), to),
                "answers": (join(turn.subject.seen, FLOOD_PORT), join(BACKEND, PORT))}[what]
        self.process = (net.backend if backs else net.client).popen(
            FLOOD, what, "eth0,direct", mac, *ends, str(size), *([] if what == "tcp" else [str(flows)]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}))

    def __enter__(self):
        self._answer()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("flood has ended")
        return json.loads(line)

    def each(self):
        """A packet of every flow. Return: as measure()"""
        return self._order("each")

    def measure(self, seconds):
        """Of flows at random, after a warm-up and a moment of silence. Return: ns per packet that are the gateway's.

        .sent: packets, those of the warm-up included
        """
        self.sent = 0
        self._order(f"measure {WARM_UP}")
        time.sleep(SILENCE)
        return self._order(f"measure {seconds}")

    def _order(self, what):
        before = _received(self.to)
        print(what, file=self.process.stdin, flush=True)
        got = self._answer()
        sent = got["packets"]
        self.sent += sent
        try:
            until(lambda: _received(self.to) - before >= ARRIVED_MIN * sent, "packets arrive", 1)
        except AssertionError as error:
            raise RuntimeError(f"of {sent} packets {_received(self.to) - before} arrived") from error
        return got["through_ns"] - got["direct_ns"]


def _mac(space, device):
    return run("ip", "-n", space.name, "-br", "link", "show", "dev", device).split()[2]


def settle(turn):
    """All that a packet causes is on its sender's CPU, and nobody need be asked for a MAC address."""
    net = turn.net
    turn.steer(False)
    net.gateway.ip(f"neigh replace {CLIENT} lladdr {_mac(net.client, 'eth0')} dev client0 nud permanent",
                   f"neigh replace {BACKEND} lladdr {_mac(net.backend, 'eth0')} dev backend0 nud permanent")


def _received(space):
    """Packets that have come to its end of the link."""
    with space.enter(), open("/proc/thread-self/net/dev") as lines:
        return next(int(line.split()[2]) for line in lines if line.split()[0] == "eth0:")


@contextlib.contextmanager
def taken(*ends):
    """What comes in there is taken at once, as a socket would, and nobody answers. ends: (namespace, device)"""
    for space, device in ends:
        _tc(space, "qdisc", "add", "dev", device, "clsact")
        _tc(space, "filter", "add", "dev", device, "ingress", "bpf", "da", "bytecode", TAKE)
    try:
        yield
    finally:
        for space, device in ends:
            _tc(space, "qdisc", "del", "dev", device, "clsact")


def _tc(space, *words):
    run("tc", "-n", space.name, *words)


@contextlib.contextmanager
def both_ways(turn, flows):
    """So many UDP flows. Yields: the Floods of questions and of answers."""
    net = turn.net
    with taken((net.backend, "eth0"), (net.client, "eth0"), (net.backend, "direct"), (net.client, "direct")), \
            Flood(turn, "udp", flows=flows) as questions, Flood(turn, "answers", flows=flows) as answers:
        yield questions, answers


@contextlib.contextmanager
def asked(turn, flows, times=ASKED_TIMES):
    """The same, and there have been packets both ways so often. Yields: the Flood of questions."""
    with both_ways(turn, flows) as (questions, answers):
        for _ in range(times):
            questions.each()
            answers.each()
        yield questions


@contextlib.contextmanager
def tracked(count):
    """This machine's conntrack has room for so many connections: no namespace has a limit of its own."""
    names = [f"/proc/sys/net/netfilter/nf_conntrack_{what}" for what in ("max", "buckets")]
    before = {}
    for name in names:
        with open(name) as file:
            before[name] = int(file.read())
    try:
        for name in names:
            _write(name, max(count, before[name]))
        yield
    finally:
        for name in names:
            _write(name, before[name])


def _write(path, value):
    with open(path, "w") as file:
        file.write(str(value))
