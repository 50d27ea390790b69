# SPDX-License-Identifier: GPL-2.0-only
"""kill -9 at every step: what was handed off lives on, what was not ends as with any proxy that died.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

A first connection shows which system calls a worker makes for one. Then strace
kills the daemon at each of them in turn, before the kernel executes it.
"""
import collections
import contextlib
import errno
import fcntl
import select
import socket
import struct
import subprocess
import termios
import time

import pytest

from lib import ends, tls
from lib.chaos import Chaos, Place
from lib.gateway import FAMILIES
from lib.net import BACKENDS, CLIENT, GATEWAY, is_ipv6, until
from lib.strace import Strace

FIRST = ends.pattern(4000, 7)
MORE = ends.pattern(20000, 8)
ROUTES = """
listeners:
  - listen: "0.0.0.0:8080"
    routes: [{tls: example.org, pool: only}]
pools:
  - {name: only, backends: ["10.0.2.2:8080"]}
"""
HELLO = tls.hello("example.org", size=1200)

# What a client says, piece by piece, each when the one before was acknowledged; whether it is handed off;
# and at which steps to kill
Case = collections.namedtuple("Case", "config pieces at backend handoff steps",
                              defaults=(GATEWAY, BACKENDS[0], True, slice(None)))
CASES = {
    "pool": Case(FAMILIES[0][2], [FIRST]),
    "peek": Case(ROUTES, [HELLO]),
    "ipv6": Case(FAMILIES[1][2], [FIRST], *FAMILIES[1][:2]),
    "relay": Case(FAMILIES[0][2] + "handoff: no\n", [FIRST], handoff=False),
    "relay6": Case(FAMILIES[1][2] + "handoff: no\n", [FIRST], *FAMILIES[1][:2], handoff=False),
    # A piece of a hello that waits too long for the next one is acknowledged: that one begins as a relay.
    # It takes many steps: each family walks half of them.
    "retry": Case(ROUTES, [HELLO[:40], HELLO[40:]], steps=slice(0, None, 2)),
    "retry6": Case(ROUTES.replace("0.0.0.0", "[::]").replace("10.0.2.2:", "[fd00:2::2]:"),
                   [HELLO[:40], HELLO[40:]], *FAMILIES[1][:2], steps=slice(1, None, 2)),
}

RESEND_SECONDS = 0.5  # more than TCP waits before it repeats something
FLOWS, KILLS = 1000, 100
TCP_CLOSE = 7  # include/net/tcp_states.h


class Visit:
    """A client that has said something, and has its answer or not. Nobody's end is its own."""

    def __init__(self, net, case, step=None):
        self.first, self.pieces, self.step = b"".join(case.pieces), case.pieces[1:], step
        self.handoff = case.handoff
        self.killed_at = None
        self.heard = b""
        self.ended = None  # 0: a FIN; else the errno
        self.sock = net.client.socket(case.at)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect((case.at, 8080))
            self.sock.setblocking(False)
            self.sock.send(case.pieces[0])
        except ConnectionResetError as error:  # the kill was faster than connect(2)
            self.ended = error.errno
        host, port = self.sock.getsockname()[:2]
        self.address = f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"

    def speak(self):
        """Say the next piece; or nothing more, if the daemon is to see all steps of a relay."""
        with contextlib.suppress(OSError):  # listen() hears of it
            if self.pieces and self.is_heard():
                self.sock.send(self.pieces.pop(0))
            if not self.handoff and len(self.heard) >= len(self.first):
                self.sock.shutdown(socket.SHUT_WR)

    def listen(self, seconds=0.0):
        """Hear what comes. Return: whether the whole answer, or an end, has."""
        self.speak()
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        while self.ended is None and poll.poll(seconds * 1000):
            try:
                data = self.sock.recv(1 << 16)
                self.heard += data
                if not data:
                    self.ended = 0
            except OSError as error:
                self.ended = error.errno
            if len(self.heard) >= len(self.first) and self.handoff:
                break
        return self.ended is not None or (len(self.heard) >= len(self.first) and self.handoff)

    def is_heard(self):
        """What this end said was acknowledged, or is known to be lost."""
        if ends.tcp_info(self.sock)[0] == TCP_CLOSE:
            return True
        return struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0] == 0

    def judge(self, handed_off):
        what = f"killed before {self.step[0]} number {self.step[1]}; handed off: {handed_off}"
        if not handed_off:
            until(lambda: self.listen(0.05) and self.ended is not None, f"{what}: an end", 10)
            assert self.first.startswith(self.heard), what
            assert self.ended in (0, errno.ECONNRESET), f"{what}: {self.ended}"
            with contextlib.suppress(OSError):
                self.sock.send(MORE[:1000])
            until(self.is_heard, f"{what}: nobody acknowledges or resets", 10)
            self.sock.close()
            return
        self.listen()
        assert self.ended is None, f"{what}: an end that nobody made, {self.ended}, {len(self.heard)} bytes"
        until(lambda: self.listen(0.05), f"{what}: the answer", 10)
        assert self.heard == self.first, what
        self.sock.settimeout(10)
        try:
            with self.sock:
                self.sock.sendall(MORE)
                assert ends.receive_exactly(self.sock, len(MORE)) == MORE, what
                self.sock.shutdown(socket.SHUT_WR)
                assert self.sock.recv(1) == b"", what
        except OSError as error:
            raise AssertionError(what) from error


def steps_of_a_connection(net, ladon, case):
    strace = Strace(ladon)
    visit = Visit(net, case)
    until(lambda: visit.listen(0.05), "the answer")
    if case.handoff:
        ladon.wait_handed_off()
    visit.sock.close()
    until(lambda: not net.gateway.sockets(), "the daemon has left")
    return strace.close()


def has_left(ladon):
    """It has handed off, or is no more."""
    try:
        return ladon.process.poll() is not None or ladon.connections()["handed_off"]
    except (OSError, ValueError):  # killed while it was asked
        return False


def visit_and_kill(net, ladon, case, step):
    """Return: the Visit, or None if this time the daemon did without that step."""
    strace = Strace(ladon, f"{step[0]}:signal=SIGKILL:when={step[1]}")
    visit = Visit(net, case, step)
    until(lambda: ladon.process.poll() is not None or visit.listen(0.005), "the kill, or an answer")
    if case.handoff:
        until(lambda: has_left(ladon), "the kill, or the handoff")
    with contextlib.suppress(subprocess.TimeoutExpired):  # the answer may be faster than the last steps
        ladon.process.wait(0.5)
    strace.close()
    if ladon.process.poll() is None:
        ladon.kill9()
        visit.sock.close()
        return None
    visit.killed_at = time.monotonic()
    return visit


def judge_old(visits, handed_off, all_of_them=False):
    """Those that were given the time to hear what they should not hear."""
    while visits and (all_of_them or time.monotonic() - visits[0].killed_at > RESEND_SECONDS):
        visit = visits.pop(0)
        visit.judge(visit.address in handed_off)


@pytest.mark.seconds(180)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_kill_at_every_step_of_a_connection(net, case):
    ends.Server(net.backend, ends.echo, address=case.backend)
    config = case.config
    ladon = net.ladond(config, "--log", "info")
    steps = steps_of_a_connection(net, ladon, case)
    ladon.kill9()
    visits, handed_off, killed = [], set(), 0

    for step in steps[case.steps]:
        ladon = net.ladond(config, "--log", "info")
        flows = ladon.flows()
        handed_off |= {flow["client"] for flow in flows}
        assert len({flow["source"] for flow in flows}) == len(flows)
        assert not flows or "adopted " in ladon.log().split("start: ")[-2]
        judge_old(visits, handed_off)
        visit = visit_and_kill(net, ladon, case, step)
        if visit:
            visits.append(visit)
            killed += 1
    ladon = net.ladond(config)
    handed_off |= {flow["client"] for flow in ladon.flows()}
    judge_old(visits, handed_off, all_of_them=True)

    print(f"killed at {killed} of {len(steps)} steps, {len(handed_off)} of them after the handoff")
    assert killed > 9 and bool(handed_off) == case.handoff
    until(lambda: ladon.flows() == [], f"no flow is left: {ladon.flows()}")
    until(lambda: ladon.ask("pool show")["pools"][0]["backends"][0]["flows"] == 0, "no flow is counted", 5)
    for end in (net.client, net.backend):
        assert end.counter("TcpInCsumErrors") == 0


def test_the_port_of_a_flow_that_a_killed_daemon_left_can_be_used_again(net):
    """Its two sockets had not vanished yet, and wait for their FINs to be acknowledged."""
    ladon = net.ladond(FAMILIES[0][2])
    ends.Server(net.backend, lambda sock: sock.sendall(ends.receive_exactly(sock, len(FIRST))))
    steps = steps_of_a_connection(net, ladon, CASES["pool"])
    ladon.kill9()
    vanish = next(i for i, (name, *_) in enumerate(steps) if name == "ioctl") + 1

    ladon = net.ladond(FAMILIES[0][2])
    visit = visit_and_kill(net, ladon, CASES["pool"], steps[vanish])
    until(lambda: visit.listen(0.05), "the answer")
    visit.sock.settimeout(10)
    assert visit.sock.recv(1) == b""
    port = visit.sock.getsockname()[1]
    visit.sock.close()
    ladon = net.ladond(FAMILIES[0][2])
    until(lambda: ladon.flows() == [], "the flow has closed")

    def prepare(sock):
        sock.settimeout(5)
        sock.bind((CLIENT, port))

    with ends.connect(net.client, prepare=prepare) as sock:
        sock.sendall(FIRST)
        assert ends.receive(sock) == ends.expected(len(FIRST), 7)


def talk(_, is_client):
    """A word each second, until .deeds is changed."""
    first = [("hear", 8)] if is_client else []
    return [*first, *[("say", 300), ("pause", 1.0)] * 300]


@pytest.mark.seconds(300)
def test_a_hundred_kills_under_a_thousand_flows(net):
    """All of them talk all the time, and each says and hears all."""
    ladon = net.ladond(FAMILIES[0][2])
    before = None
    chaos = Chaos(net, [Place(GATEWAY, 8080)], [(BACKENDS[0], 8080, False)], "kills",
                  at_once=FLOWS, drawn=talk)

    def trouble_of_the_ends():
        return {name: counters for name, counters in net.trouble().items() if name != "g"}

    def kill():
        nonlocal ladon, before
        ladon.wait_handed_off(FLOWS, 30)
        until(lambda: len(chaos.ends) == 2 * FLOWS, "all are accepted")  # an ACK may be lost, and a SYN-ACK come again
        before = trouble_of_the_ends()  # who is not accepted soon repeats what it said
        chaos.at_once = 0
        chaos.handed_off = set(chaos.clients)
        for _ in range(KILLS):
            begin = time.monotonic()
            ladon.kill9()
            ladon = net.ladond(FAMILIES[0][2], "--log", "info")
            chaos.kills.append((begin, time.monotonic()))
            assert len(ladon.flows()) == FLOWS
        for end in list(chaos.ends.values()):
            end.deeds = collections.deque([("fin", 0)] if end.side == b"c" else [("hear all", 0), ("fin", 0)])

    killing = ends.spawn(kill)
    chaos.run(lambda: not killing.done())
    killing.result()

    chaos.judge_all()
    assert not chaos.complaints, "\n".join(chaos.complaints[:10])
    assert chaos.connections == FLOWS and chaos.outlived == 2 * FLOWS and chaos.outcomes == {"fin": 2 * FLOWS}
    print(f"{KILLS} kills, {chaos.bytes} bytes compared")
    until(lambda: ladon.flows() == [], "no flow is left")
    until(lambda: ladon.ask("pool show")["pools"][0]["backends"][0]["flows"] == 0, "no flow is counted", 5)
    assert trouble_of_the_ends() == before
