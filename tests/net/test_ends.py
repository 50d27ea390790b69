# SPDX-License-Identifier: GPL-2.0-only
"""Either end may speak first, close, half-close, reset or vanish, in every phase of a connection.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
"""
import contextlib
import signal
import socket
import struct
import time

import pytest

from lib import ends, tls, wire
from lib.ends import meet
from lib.flow import loose, second_link
from lib.gateway import FAMILIES, one_pool
from lib.net import BACKENDS, CLIENT, ESTABLISHED, GATEWAY, SYN_SENT, until

ONE_POOL = FAMILIES[0][2]
ONE_ROUTE = """
    listeners:
      - listen: "0.0.0.0:8080"
        routes:
          - {tls: example.org, pool: web}
    pools:
      - {name: web, backends: ["10.0.2.2:8080"]}
"""
HELLO = tls.hello("example.org")


def close(sock):
    sock.close()


def half_close(sock):
    sock.shutdown(socket.SHUT_WR)


LEAVE = {"closes": close, "half-closes": half_close, "resets": ends.reset}
leaving = pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE.keys())


def flow_ends(ladon):
    """The daemon holds nothing and the flow table is empty."""
    until(lambda: ladon.flows() == [], f"no flow is left: {ladon.flows()}")
    ladon.wait_gone()


# ---- the client leaves before there is a backend ----

@leaving
@pytest.mark.parametrize("said", [b"", HELLO[:40]], ids=("nothing said", "half a hello"))
def test_the_client_leaves_before_its_hello(net, leave, said):
    """Who says nothing and resets was never accepted (TCP_DEFER_ACCEPT)."""
    accepted = 0 if leave is ends.reset and not said else 1
    ladon = net.ladond(ONE_ROUTE)
    with ends.connect(net.client) as sock:
        sock.sendall(said)
        leave(sock)
        if accepted:
            ladon.wait_reason("client_gone")
        if sock.fileno() >= 0:
            ends.receive(sock)  # an end, perhaps after an alert; never silence

    ladon.wait_gone()
    until(lambda: ladon.connections()["closed"] == accepted, "it is counted")
    assert ladon.connections()["accepted"] == accepted


@leaving
def test_the_client_leaves_while_the_backend_is_connected_to(net, leave):
    net.backend.lose("tcp dport 8080")
    ladon = net.ladond(ONE_ROUTE)
    with ends.connect(net.client) as sock:
        sock.sendall(HELLO)
        until(lambda: any(s[3] == SYN_SENT for s in net.gateway.sockets()), "a back socket in SYN_SENT")
        leave(sock)
        if leave is ends.reset: # a FIN may be the end of a request: its answer is waited for
            until(lambda: not net.gateway.sockets(), "nobody is connected to for nobody", 4)
    ladon.wait_gone()


@leaving
def test_the_client_leaves_right_after_its_hello(net, leave):
    """Twenty times, so that the goodbye comes in different gaps."""
    ladon = net.ladond(ONE_ROUTE)
    server = ends.Server(net.backend, ends.receive)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            sock.sendall(HELLO)
            leave(sock)
            if leave is half_close:
                assert ends.receive(sock).bytes == 0
        if leave is not ends.reset:
            assert server.result().bytes == len(HELLO)
    flow_ends(ladon)


# ---- the backend is not what it should be ----

def refuses(net):
    """Nobody listens on .2 and .3."""


def times_out(net):
    net.backend.lose(f"ip daddr {{ {BACKENDS[0]}, {BACKENDS[1]} }} tcp dport 8080")


@pytest.mark.parametrize("fault", [refuses, times_out])
@pytest.mark.parametrize("config", ["pool", "route"])
def test_the_next_backend_is_tried(net, fault, config):
    text = one_pool("10.0.2.2:8080", "10.0.2.3:8080", "10.0.2.4:8080",
                    more="timeouts: {connect: 300ms}")
    if config == "route":
        text = text.replace("    pool: only", "    routes:\n      - {tls: example.org, pool: only}")
    fault(net)
    ladon = net.ladond(text)
    ends.Server(net.backend, ends.echo, address=BACKENDS[2])

    for _ in range(3):
        with ends.connect(net.client) as sock:
            sock.sendall(HELLO)
            assert ends.receive_exactly(sock, len(HELLO)) == HELLO

    pool, = ladon.ask("pool show")["pools"]
    failed = [b["failed"] for b in pool["backends"]]
    assert failed[2] == 0 and failed[0] >= 1 and failed[1] >= 1
    assert "no_backend" not in ladon.reasons()


@pytest.mark.parametrize("leave", [ends.reset, lambda sock: None], ids=("resets", "closes"))
@pytest.mark.parametrize("config", ["pool", "route"])
def test_a_backend_that_is_gone_when_ladon_looks_is_exchanged_for_the_next(net, config, leave):
    """The daemon is stopped from before the backend has accepted until after it has left."""
    text = one_pool("10.0.2.2:8080", "10.0.2.3:8080")
    if config == "route":
        text = text.replace("    pool: only", "    routes:\n      - {tls: example.org, pool: only}")
    lost = net.backend.lose(f"ip daddr {BACKENDS[0]} tcp dport 8080")
    ladon = net.ladond(text)
    gone = ends.Server(net.backend, leave)
    ends.Server(net.backend, ends.echo, address=BACKENDS[1])

    with ends.connect(net.client) as sock:
        sock.sendall(HELLO)
        until(lambda: any(s[3] == SYN_SENT for s in net.gateway.sockets()), "a back socket in SYN_SENT")
        ladon.signal(signal.SIGSTOP)
        lost.stop()
        gone.result()
        until(lambda: not any(s[3] in (SYN_SENT, ESTABLISHED) for s in to_backend(net)),
              "the back socket has heard the goodbye")
        ladon.signal(signal.SIGCONT)
        assert ends.receive_exactly(sock, len(HELLO)) == HELLO

    pool, = ladon.ask("pool show")["pools"]
    assert [b["failed"] for b in pool["backends"]] == [1, 0]


def to_backend(net):
    """Sockets of the gateway whose other end is port 8080."""
    return [s for s in net.gateway.sockets() if s[2].endswith(":1F90")]


def test_a_backend_that_resets_at_once_is_seen_by_the_client(net):
    """With nobody else to ask, the client hears the reset, or the end; never silence."""
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, ends.reset)
    for _ in range(20):
        with contextlib.suppress(ConnectionResetError), ends.connect(net.client) as sock:
            sock.settimeout(5)
            assert sock.recv(1) == b""
    flow_ends(ladon)


def test_a_backend_that_closes_at_once_is_seen_by_the_client(net):
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, lambda s: None)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            sock.settimeout(5)
            assert sock.recv(1) == b""
    flow_ends(ladon)


@pytest.mark.parametrize("first, says", [(HELLO, tls.ALERT_INTERNAL_ERROR)])
def test_no_backend_at_all(net, first, says):
    ladon = net.ladond(ONE_ROUTE)
    with ends.connect(net.client) as sock:
        sock.sendall(first)
        assert tls.alert(ends.receive_exactly(sock, 100)) == says
    ladon.wait_reason("no_backend")
    assert ladon.reasons() == {"no_backend": 1}


def test_no_backend_for_http_is_a_503(net):
    ladon = net.ladond(ONE_ROUTE.replace("tls:", "http:"))

    assert ends.curl(net.client, "http://example.org:8080/").status == 503
    ladon.wait_reason("no_backend")


# ---- first bytes ----

def test_the_backend_speaks_first(net):
    ladon = net.ladond(ONE_POOL)
    banner = b"220 mail.example.org ESMTP\r\n"

    def talk(sock):
        sock.sendall(banner)
        return ends.echo(sock)

    server = ends.Server(net.backend, talk)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            assert ends.receive_exactly(sock, len(banner)) == banner
            sock.sendall(b"EHLO client\r\n")
            assert ends.receive_exactly(sock, 13) == b"EHLO client\r\n"
        assert server.result() == 13
    ladon.wait_handed_off(20)
    assert net.trouble() == {}


@pytest.mark.parametrize("size", [1, 1448, 14480, 65536, 1 << 20])
def test_first_writes_of_any_size(net, size):
    """The client's initial window is ten segments: more waits until somebody acknowledges."""
    ladon = net.ladond(ONE_POOL)
    server = ends.Server(net.backend, lambda s: ends.exchange(s, size, say=size))
    for _ in range(5):
        with ends.connect(net.client) as sock:
            assert ends.exchange(sock, size, say=3) == ends.expected(size, size)
        assert server.result() == ends.expected(size, 3)
    # A client that has said all it had to say before the backend answered is relayed.
    assert set(ladon.reasons()) <= ({"not_established"} if size <= 14480 else set())
    net.only_repetitions()
    flow_ends(ladon)


def test_a_large_initial_window(net):
    """A client that may say 100 segments at once: more first bytes than one read takes."""
    size = 300_000
    net.client.ip("route change default via 10.0.1.9 initcwnd 300",
                  "route change 10.0.1.0/24 dev eth0 initcwnd 300")
    net.gateway.sysctl("net.ipv4.tcp_rmem", "4096 1000000 6291456")
    ladon = net.ladond(ONE_POOL)
    server = ends.Server(net.backend, lambda s: ends.exchange(s, size, say=1))

    for _ in range(5):
        with ends.connect(net.client) as sock:
            assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
        assert server.result() == ends.expected(size, 2)
    flow_ends(ladon)


def test_bytes_that_come_in_every_gap(net):
    """Both ends say 300 small pieces from the first moment on, forty times."""
    pieces = 300

    def chatter(sock, seed):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def speak():
            said = ends.pattern(pieces * 100, seed)
            for at in range(0, len(said), 100):
                sock.sendall(said[at:at + 100])
            sock.shutdown(socket.SHUT_WR)

        speaker = ends.spawn(speak)
        heard = ends.receive(sock)
        speaker.result(20)
        return heard

    ladon = net.ladond(ONE_POOL)
    server = ends.Server(net.backend, lambda s: chatter(s, 1))
    for _ in range(40):
        with ends.connect(net.client) as sock:
            assert chatter(sock, 2) == ends.expected(pieces * 100, 1)
        assert server.result() == ends.expected(pieces * 100, 2)
    net.only_repetitions()
    flow_ends(ladon)


@pytest.mark.parametrize("size", [1, 3000, 100_000])
def test_the_client_says_all_and_leaves_without_listening(net, size):
    ladon = net.ladond(ONE_POOL)
    server = ends.Server(net.backend, ends.receive)
    for _ in range(10):
        with ends.connect(net.client) as sock:
            ends.send(sock, size)
        assert server.result() == ends.expected(size)
    flow_ends(ladon)


@pytest.mark.parametrize("size", [1, 3000, 100_000])
def test_the_backend_answers_at_once_and_leaves(net, size):
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, lambda s: ends.send(s, size))
    for _ in range(10):
        with ends.connect(net.client) as sock:
            assert ends.receive(sock) == ends.expected(size)
    flow_ends(ladon)


# ---- in the middle ----

@leaving
@pytest.mark.parametrize("first", ["client", "backend"])
def test_an_end_leaves_in_the_middle(net, first, leave):
    ladon = net.ladond(ONE_POOL)
    client, backend = meet(net, ladon)
    with client, backend:
        goer, stayer = (client, backend) if first == "client" else (backend, client)
        goer.sendall(b"last words")
        assert ends.receive_exactly(stayer, 10) == b"last words"
        leave(goer)
        if leave is ends.reset:
            with pytest.raises(ConnectionResetError):
                stayer.recv(1)
        else:
            assert stayer.recv(1) == b""
        if leave is half_close:  # the other direction is as open as before
            ends.send(stayer, 200_000)
            stayer.shutdown(socket.SHUT_WR)
            assert ends.receive(goer) == ends.expected(200_000)
    flow_ends(ladon)


def test_a_half_closed_flow_is_shown_as_one(net):
    ladon = net.ladond(ONE_POOL)
    client, backend = meet(net, ladon)
    with client, backend:
        client.shutdown(socket.SHUT_WR)
        assert backend.recv(1) == b""
        until(lambda: [f["state"] for f in ladon.flows()] == ["half_closed"], "half_closed")
    flow_ends(ladon)


def test_both_ends_close_at_once(net):
    ladon = net.ladond(ONE_POOL)
    client, backend = meet(net, ladon)
    client.close()
    backend.close()
    flow_ends(ladon)


def test_a_client_that_begins_anew_with_the_same_port(net):
    """The old connection was cut on its side without a word; its new SYN meets the old flow."""
    ladon = net.ladond(ONE_POOL)
    client, backend = meet(net, ladon)
    port = client.getsockname()[1]
    net.client.nft("table inet silence { chain out { type filter hook output priority 0\n"
                   "tcp flags & rst == rst drop\n tcp flags & fin == fin drop\n }\n }")
    ends.reset(client)
    net.client.nft("delete table inet silence")
    ends.Server(net.backend, ends.echo)

    started = time.monotonic()
    with ends.connect(net.client, prepare=lambda s: s.bind(("", port))) as sock:
        sock.sendall(b"again")
        assert ends.receive_exactly(sock, 5) == b"again"
    assert time.monotonic() - started < 4
    backend.close()


def test_a_damaged_reset_or_fin_ends_nothing(net):
    """Its checksum is wrong, and the backend drops it: the flow is as open as the backend's socket."""
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as sock, net.client.enter():
        with wire.capture(net.client) as seen:
            sock.sendall(b"ping")
            assert ends.receive_exactly(sock, 4) == b"ping"
            ladon.wait_handed_off()
        last = [s for s in seen.segments if not s.incoming][-1]
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        for number, flags in enumerate((wire.RST, wire.FIN | wire.ACK), 1):
            raw.sendto(struct.pack("!HHIIBBHHH", last.sport, last.dport, last.seq + last.length & 0xFFFFFFFF,
                                   last.ack, 5 << 4, flags, 100, 0xBAD, 0), (GATEWAY, 0))
            until(lambda: net.backend.counter("TcpInCsumErrors") == number, "the backend drops it")
            assert [flow["state"] for flow in ladon.flows()] == ["open"]
        raw.close()
        sock.sendall(b"pong")
        assert ends.receive_exactly(sock, 4) == b"pong"


def test_a_segment_of_nobodys_connection_is_answered_with_a_reset(net):
    """As by any host: who still believes in a flow that is gone is not left in silence."""
    net.ladond(ONE_POOL)

    ends.inject(net.client, ends.bare_segment(CLIENT, 40000, GATEWAY, 8080, b"x"), GATEWAY)

    until(lambda: net.gateway.counter("TcpOutRsts") == 1, "a reset")


def test_a_client_that_is_kept_back_hears_when_the_daemon_ends(net):
    """Until it speaks, a client of a peeking listener is the kernel's (TCP_DEFER_ACCEPT)."""
    ladon = net.ladond(ONE_ROUTE)
    with ends.connect(net.client) as sock:
        ladon.kill9()
        net.ladond(ONE_ROUTE)
        sock.sendall(HELLO)
        with pytest.raises(ConnectionResetError):
            ends.receive(sock)


def test_a_reset_that_passed_before_the_flow_is_told(net):
    """Only a socket that is about to vanish has heard it. Here, since the backend's packets come by a link that ladon does not see."""
    second_link(net)
    net.backend.ip("route add 10.0.2.9 via 10.0.5.9 dev eth1")
    loose(net)
    ladon = net.ladond(ONE_POOL + "interfaces: [client0, backend0]\naccess-log: {to: stderr}\n")
    ends.Server(net.backend, ends.reset)

    def told():
        """A reset that comes after the socket is lost here, and one may come before connect(2) has returned."""
        with contextlib.suppress(ConnectionResetError), ends.connect(net.client) as sock:
            sock.settimeout(1)
            try:
                heard = sock.recv(1)
            except ConnectionResetError:
                heard = b""
            except TimeoutError:
                return False
            return heard == b"" and f"reset: {CLIENT}:{sock.getsockname()[1]} to " in ladon.log()

    until(told, "one of them is told by hand", 30)
    ladon.wait_said("reset in the moment of its handoff")
    ladon.wait_said('"how":"handoff","end":"reset","by":"backend"')
