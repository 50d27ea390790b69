# SPDX-License-Identifier: GPL-2.0-only
"""What conntrack believes of connections is the same whether they were learned or not.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
              fd00:1::/64             fd00:2::/64
"""
import socket
import threading
import time

import pytest

from lib import conntrack, ends
from lib.learned import PORT, WAYS, invalid, learned, start
from lib.net import until

CONFIRM = 0.1  # how old what conntrack knows may be, in seconds
ACCELERATE = "accelerate: {confirm: 100ms}\n"
BULK = ends.MB // 2
RESET = b"reset!!!"


SECONDS = "net.netfilter.nf_conntrack_"
# What becomes of a flow, and the clock that it has then
FATES = {
    "opened": "tcp_timeout_established",
    "used": "tcp_timeout_established",
    "half_closed": "tcp_timeout_close_wait",
    "closed": "tcp_timeout_time_wait",
    "reset": "tcp_timeout_close",
    "reset_by_the_backend": "tcp_timeout_close",
    "datagrams": "udp_timeout_stream",
}


class Peer:
    """The backend of TCP: says back what it hears. After the end it says goodbye, and those whose ports are in `kept` wait for release()."""

    def __init__(self, net, address):
        self.kept, self.socks = set(), {}
        self.go = threading.Event()
        ends.Server(net.backend, self._talk, address=address)

    def _talk(self, sock):
        port = sock.getpeername()[1]
        self.socks[port] = sock
        while data := sock.recv(1 << 16):
            if data == RESET:
                return ends.reset(sock)
            sock.sendall(data)
        sock.sendall(b"goodbye")
        if port in self.kept:
            self.go.wait(30)


class Run:
    """The same traffic with and without ladon. Its flows are named by what becomes of them.

    flows: of each its protocol, the client's port, and the time before the last packet
    """

    def __init__(self, net, way, accelerate):
        self.net, (_, self.front, self.address, _) = net, WAYS[way]
        self.ladon = start(net, way, accelerate)
        self.peer = Peer(net, self.address)
        self.flows, self.socks = {}, []
        net.gateway.sysctl(SECONDS + "udp_timeout_stream", 60)

    # ---- what becomes of flows ----

    def open(self, name):
        port = 40000 + len(self.flows)

        def prepare(sock):
            sock.bind(("", port))

        sock = ends.connect(self.net.client, self.front, prepare=prepare)
        self.socks.append(sock)
        self.flows[name] = (socket.IPPROTO_TCP, port, time.monotonic())
        self.word(name, sock)
        return sock

    def word(self, name, sock):
        """One there and back, and nothing is unacknowledged any more."""
        self.last(name)
        ends.ask(sock)
        port = self.flows[name][1]
        until(lambda: ends.unacknowledged(self.peer.socks[port]) == 0, "it is acknowledged")

    def use(self, name, sock):
        """Words until it is learned, much at once, and one more word."""
        for _ in range(20):
            ends.ask(sock)
        if self.ladon:
            until(lambda: ends.ask(sock) or self.is_fast(name), f"{name} is learned")
        assert ends.swap(sock, BULK) == ends.expected(BULK)
        self.word(name, sock)

    def is_fast(self, name):
        protocol, port, _ = self.flows[name]
        word = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}[protocol]
        return any(flow["packets_in"] and flow["packets_out"] for flow in learned(self.ladon)
                   if flow["protocol"] == word and flow["client"].endswith(f":{port}"))

    def opened(self, name):
        self.open(name)

    def used(self, name):
        self.use(name, self.open(name))

    def half_closed(self, name):
        sock = self.open(name)
        self.use(name, sock)
        self.peer.kept.add(sock.getsockname()[1])
        self.last(name)
        sock.shutdown(socket.SHUT_WR)
        assert ends.receive_exactly(sock, 7) == b"goodbye"
        until(lambda: ends.unacknowledged(self.peer.socks[sock.getsockname()[1]]) == 0, "it is acknowledged")

    def closed(self, name):
        sock = self.open(name)
        self.use(name, sock)
        self.last(name)
        sock.shutdown(socket.SHUT_WR)
        assert ends.receive(sock).bytes == 7
        sock.close()

    def reset(self, name):
        sock = self.open(name)
        self.use(name, sock)
        self.last(name)
        ends.reset(sock)

    def reset_by_the_backend(self, name):
        sock = self.open(name)
        self.use(name, sock)
        self.last(name)
        sock.sendall(RESET)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)

    def bind(self, name):
        """Both ends of datagrams."""
        port = 40000 + len(self.flows)
        server = self.net.backend.socket(self.address, socket.SOCK_DGRAM)
        server.bind((self.address, PORT))
        sock = self.net.client.socket(self.front, socket.SOCK_DGRAM)
        sock.bind(("", port))
        sock.connect((self.front, PORT))
        self.socks += (sock, server)
        self.flows[name] = (socket.IPPROTO_UDP, port, time.monotonic())

    def datagrams(self, name):
        self.bind(name)

        def is_stream():
            """It takes two seconds (net/netfilter/nf_conntrack_proto_udp.c), and then it has the clock of one."""
            self.ask(name)
            time.sleep(0.01)
            return self.entry(name).status & conntrack.ASSURED and (not self.ladon or self.is_fast(name))

        until(is_stream, f"{name} are a stream, and learned")

    def ask(self, name):
        """A datagram there and back."""
        sock, server = self.socks[-2:]
        self.last(name)
        sock.send(ends.WORD)
        data, source = server.recvfrom(100)
        server.sendto(data, source)
        assert sock.recv(100) == ends.WORD

    def last(self, name):
        """What follows is the last packet of a flow."""
        protocol, port, _ = self.flows[name]
        self.flows[name] = (protocol, port, time.monotonic())

    # ---- what conntrack says ----

    def entry(self, name):
        """None: there is none"""
        protocol, port, _ = self.flows[name]
        found = [e for e in conntrack.entries(self.net.gateway) if e.protocol == protocol and e.original[1] == port]
        assert len(found) < 2
        return found[0] if found else None

    def is_left(self, name):
        """Is its clock what it must be, wound up by its last packet? As exactly as seconds and what is asked of the stack allow."""
        seconds = int(self.net.gateway.sysctl(SECONDS + FATES[name]))
        left = self.entry(name).timeout
        age = time.monotonic() - self.flows[name][2] + (CONFIRM if self.ladon else 0)
        return seconds - age - 1 <= left <= seconds


@pytest.mark.parametrize("way", ("both", "both6"))
def test_entries(net, way):
    """State, status, what NAT does and the time that is left, at once and when all have been silent for a while.

    A reset that follows what conntrack has not seen is no certain end for it, and no other state: but it counts down as after one.
    """
    other = type(net)()
    try:
        for one in (net, other):
            one.gateway.sysctl(SECONDS + "tcp_timeout_close", 100)  # not 10: all of this may take longer
        runs = Run(net, way, ACCELERATE), Run(other, way, None)
        for run in runs:
            for fate in FATES:
                getattr(run, fate)(fate)
                until(lambda: run.is_left(fate), f"{fate}: the right time is left; {run.entry(fate)}")
        time.sleep(2 * CONFIRM)
        for fate in FATES:
            assert all(run.is_left(fate) for run in runs), fate
            with_ladon, without = (run.entry(fate) for run in runs)
            if fate.startswith("reset"):
                assert (with_ladon.state, without.state) == (conntrack.ESTABLISHED, conntrack.CLOSE)
            assert comparable(with_ladon, fate) == comparable(without, fate)
        assert [invalid(run.net) for run in runs] == [0, 0]
    finally:
        other.close()


def comparable(entry, fate):
    """What must be the same: not the clock, which has been looked at, and nothing of windows, which are not checked any more."""
    flags = [flags & (conntrack.WINDOW_SCALE | conntrack.SACK | conntrack.CLOSE_INIT) for flags in entry.flags]
    return entry._replace(timeout=None, flags=flags, state=None if fate.startswith("reset") else entry.state)


def test_an_entry_goes_when_its_time_is_over(net):
    """Of a connection that was closed, and of datagrams that come no more; that of one which is only silent stays."""
    net.gateway.sysctl(SECONDS + "tcp_timeout_time_wait", 1)
    run = Run(net, "both", ACCELERATE)
    run.used("used")
    run.closed("closed")
    run.datagrams("datagrams")
    until(lambda: run.entry("closed") is None, "the closed one is gone")
    assert run.is_left("datagrams")
    net.gateway.sysctl(SECONDS + "udp_timeout_stream", 1)
    until(lambda: run.ask("datagrams") or not (entry := run.entry("datagrams")) or entry.timeout <= 1, "the stack is asked again, and winds up a shorter clock")
    until(lambda: run.entry("datagrams") is None, "and so are the datagrams")
    assert run.is_left("used")
    assert invalid(net) == 0


def test_a_clock_that_is_shorter_than_confirm(net):
    """Datagrams have it for their first two seconds, and nobody but the backend speaks: without its entry they find no way."""
    run = Run(net, "both", "accelerate: {confirm: 4s}\n")
    net.gateway.sysctl(SECONDS + "udp_timeout", 3)
    run.bind("datagrams")
    run.ask("datagrams")
    until(lambda: run.ask("datagrams") or run.is_fast("datagrams"), "datagrams are learned")
    if run.entry("datagrams").status & conntrack.ASSURED:
        pytest.skip("the two seconds are over already")
    client, server = run.socks[-2:]
    peer = (WAYS["both"][3], client.getsockname()[1])
    client.settimeout(3)

    def push():
        server.sendto(ends.WORD, peer)
        assert client.recv(100) == ends.WORD
        time.sleep(0.01)
        entry = run.entry("datagrams")
        return entry and entry.status & conntrack.ASSURED

    until(push, "they are a stream")


def test_the_clock_of_a_connection_that_was_reset(net):
    """It is the administrator's."""
    net.gateway.sysctl(SECONDS + "tcp_timeout_close", 100)
    run = Run(net, "both", ACCELERATE)
    for fate in ("reset", "reset_by_the_backend"):
        getattr(run, fate)(fate)
        until(lambda: run.entry(fate).timeout <= 100, "it was reset")
        assert run.is_left(fate), run.entry(fate)
