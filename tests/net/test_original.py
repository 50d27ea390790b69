# SPDX-License-Identifier: GPL-2.0-only
"""Clients that a rule of the gateway brings to ladon are connected to where they were headed, and handed off.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
              fd00:1::/64             fd00:2::/64

The client knows nothing of a gateway: it connects to the backend. TPROXY leaves its packets as they are, and
the socket has the backend's address; REDIRECT changes them, and only conntrack knows it.
"""
import socket

import pytest

from lib import ends, gateway, wire
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, run, until

PORT, AT = 8080, 15001
SIZE = 5 * ends.MB

LISTEN = """
    listeners:
      - listen: ["0.0.0.0:15001", "[::]:15001"]
        transparent: {transparent}
        {routes}
    pools:
      - {{name: onward, backends: original}}
"""
ONWARD = "pool: onward"


def tproxy(net, match):
    """What takes clients in on their way to somebody else, as the manual has it."""
    net.gateway.nft(f"""table inet divert {{ chain in {{
        type filter hook prerouting priority mangle
        iifname client0 {match} tproxy to :{AT} meta mark set 1
    }}
    }}""")
    for family in ("-4", "-6"):
        run("ip", family, "-n", net.gateway.name, "rule", "add", "fwmark", "1", "lookup", "100")
        run("ip", family, "-n", net.gateway.name, "route", "add", "local", "default", "dev", "lo", "table", "100")


def redirect(net, match):
    net.gateway.nft(f"""table inet divert {{ chain in {{
        type nat hook prerouting priority dstnat
        iifname client0 {match} redirect to :{AT}
    }}
    }}""")


WAYS = {"tproxy": tproxy, "redirect": redirect}
both_ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
FAMILIES = [(BACKENDS, CLIENT, GATEWAY, GATEWAY_BACK), (BACKENDS6, CLIENT6, GATEWAY6, GATEWAY_BACK6)]


def config_for(way, routes=ONWARD):
    return LISTEN.format(transparent="yes" if way is tproxy else "no", routes=routes)


def start(net, way, routes=ONWARD, more="", match=f"tcp dport {PORT}"):
    way(net, match)
    return net.ladond(config_for(way, routes) + more)


def peer_and_exchange(size, say):
    """A talk: a greeting, then exchange(). Return: who the other end is, and what was heard."""
    def talk(sock):
        return sock.getpeername()[0], ends.answer_and_exchange(size, say)(sock)

    return talk


@both_ways
def test_where_the_client_was_headed(net, way):
    """Two backends of each family on one listener; on the wire nobody sees anything of it."""
    ladon = start(net, way)
    count = 0
    for backends, client, _, back in FAMILIES:
        for backend in backends[:2]:
            server = ends.Server(net.backend, peer_and_exchange(SIZE, 1), address=backend)
            with wire.capture(net.client) as seen, ends.connect(net.client, backend) as sock:
                ends.ask(sock)
                count += 1
                ladon.wait_handed_off(count)
                flow, = ladon.flows()
                assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
                assert server.result() == (back, ends.expected(SIZE, 2))
            assert (flow["listener"], flow["backend"]) == 2 * (f"[{backend}]:8080" if ":" in backend
                                                               else f"{backend}:8080",)
            assert {s.source for s in seen.segments} == {client, backend}
            assert {s.dport for s in seen.segments if not s.incoming} == {PORT}
            assert wire.repeats(seen.segments) == [] and wire.duplicate_acks(seen.segments) == []
            assert not [s for s in seen.segments if s.flags & wire.RST]
            until(lambda: ladon.flows() == [], "the flow has ended")
    assert ladon.reasons() == {}
    assert ladon.relayed_bytes() == 0
    assert net.trouble() == {}
    until(lambda: net.gateway.tracked() == [] and not net.gateway.sockets(), "they left nothing behind")


def test_the_shipped_example(net, certs):
    """With the rules that it shows; and a reload makes a listener transparent that was not."""
    config = gateway.example(net, "original")
    comment = [line[1:].strip() for line in config.splitlines() if line.startswith("#")]
    first, last = comment.index("nft -f - <<'RULES'"), comment.index("RULES")
    net.gateway.nft("\n".join(comment[first + 1:last]).replace("lan0", "client0"))
    for line in comment[last:]:
        if line.startswith("ip "):
            net.gateway.run(*line.split(), check=True)
    ladon = net.ladond(config.replace("transparent: yes", "transparent: no"))
    assert ladon.reload(config).returncode == 0

    ends.Server(net.backend, ends.http("mirror"), address=BACKENDS[2], port=443, tls=certs.server())
    for backend in (BACKENDS[0], BACKENDS6[0]):
        got = ends.curl(net.client, "https://mirror.example.org/", "--insecure", resolve=backend)
        assert got.headers["X-Backend"] == "mirror"
        ends.Server(net.backend, ends.http("onward"), address=backend, port=80)
        assert ends.curl(net.client, "http://example.net/", resolve=backend).headers["X-Backend"] == "onward"
    ladon.wait_handed_off(4)
    assert ladon.reasons() == {}


def test_rules_that_come_while_it_runs_are_noticed(net):
    """A listener like any other. Conntrack is asked about a connection when there are rules, and not before."""
    ladon = net.ladond(gateway.one_pool("10.0.2.2:8080"))
    ends.Server(net.backend, ends.echo)

    def visit(port):
        with ends.connect(net.client, GATEWAY, port=port) as sock:
            ends.ask(sock)
            ladon.wait_handed_off(ladon.connections()["accepted"])
            ends.ask(sock)

    for _ in range(2):
        visit(8080)
        net.gateway.nft("table inet ports { chain in { type nat hook prerouting priority dstnat\n"
                        "tcp dport 80 redirect to :8080\n }\n }")
        visit(80)
        visit(8080)
        until(lambda: net.gateway.tracked() == [], "conntrack has forgotten both")
        net.gateway.nft("delete table inet ports")
    assert ladon.reasons() == {}
    assert net.trouble() == {}


@both_ways
def test_the_server_speaks_first_and_the_client_at_once(net, way):
    """A listener with nothing but such a pool looks at no byte; ten times each, and both families."""
    ladon = start(net, way)

    def greet(sock):
        sock.sendall(b"220 hello\r\n")
        return ends.echo(sock)

    for backends, *_ in FAMILIES:
        servers = [ends.Server(net.backend, talk, address=backend)
                   for talk, backend in zip((greet, ends.echo), backends)]
        for _ in range(10):
            for greeting, server, backend in zip((b"220 hello\r\n", b""), servers, backends):
                with ends.connect(net.client, backend) as sock:
                    assert ends.receive_exactly(sock, len(greeting)) == greeting
                    ends.ask(sock)
                assert server.result() == len(ends.WORD)
    ladon.wait_handed_off(40)
    assert ladon.reasons() == {}
    net.only_repetitions()
    assert "TcpOutRsts" not in str(net.trouble())


ROUTES = """routes: [{http: example.org, pool: web}, {pool: onward}]
        timeouts: {silence: 1s}"""
WEB = '      - {name: web, backends: ["10.0.2.4:80", "[fd00:2::4]:80"]}\n'


@both_ways
def test_first_bytes_may_know_better(net, way):
    """Who asks for a name goes there; all others, and who says nothing, where they were headed."""
    ladon = start(net, way, ROUTES, WEB)
    for address in (BACKENDS[2], BACKENDS6[2]):
        ends.Server(net.backend, ends.http("web"), address=address, port=80)
    for backends, *_ in FAMILIES:
        ends.Server(net.backend, lambda s: s.sendall(b"ready\n") or ends.http("onward")(s), address=backends[0])
        for host, answer in (("example.org", b"X-Backend: web\r\n"), ("example.net", b"X-Backend: onward\r\n")):
            with ends.connect(net.client, backends[0]) as sock:
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert answer in ends.receive_until(sock, b"\r\n\r\n")
        with ends.connect(net.client, backends[0]) as sock:
            assert ends.receive_exactly(sock, 6) == b"ready\n"
    ladon.wait_handed_off(6)
    assert ladon.reasons() == {}


@both_ways
def test_who_is_refused(net, way):
    """Who connects to the listener itself, or to the gateway, or to what 'targets' denies."""
    ladon = start(net, way, ONWARD + '\n        targets: {deny: [10.0.2.3, "fd00:2::3"]}', match="tcp dport {8080, 22, 15001}")

    def is_refused(address, port):
        with ends.connect(net.client, address, port=port) as sock:
            return sock.recv(1) == b""

    for backends, _, front, back in FAMILIES:
        assert is_refused(front, AT)
        assert is_refused(back, 22)
        assert is_refused(backends[1], PORT)
    assert ladon.reasons() == {"not_redirected": 2, "target_refused": 4}
    with ends.connect(net.client, BACKENDS[0]) as sock:  # nobody listens there
        assert sock.recv(1) == b""
    assert ladon.reasons()["no_backend"] == 1


def bound(client, port):
    """For connect(): from this port, also if it has just been used."""
    def prepare(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((client, port))

    return prepare


def ends_of_flows(net, ladon, address, backend, client):
    """Five connections from one port: by RST from either end, twice each, and by FIN, when the port rests at the client."""
    def serve(sock):
        word = sock.recv(4)
        if word == b"rst!":
            return ends.reset(sock)
        sock.sendall(word)
        return sock.recv(1)

    server = ends.Server(net.backend, serve, address=backend)
    count = ladon.connections()["handed_off"]
    for last in ("backend", "client", "backend", "client", "fin"):
        count += 1
        with ends.connect(net.client, address, prepare=bound(client, 40000)) as sock:
            sock.sendall(b"rst!" if last == "backend" else b"word")
            if last == "backend":
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
                server.result()
                continue
            assert ends.receive_exactly(sock, 4) == b"word"
            ladon.wait_handed_off(count)
            if last == "client":
                ends.reset(sock)
                with pytest.raises(ConnectionResetError):
                    server.result()
                continue
            sock.shutdown(socket.SHUT_WR)
            assert server.result() == b""
            assert sock.recv(1) == b""


@both_ways
def test_how_flows_end_and_begin_again(net, way):
    """And the client's next connection may have the same port at once."""
    ladon = start(net, way)
    for backends, client, *_ in FAMILIES:
        ends_of_flows(net, ladon, backends[0], backends[0], client)
    ladon.wait_handed_off(10)
    until(lambda: ladon.flows() == [] and net.gateway.tracked() == [], "the flows have ended")


@both_ways
def test_the_next_daemon_goes_on(net, way):
    ladon = start(net, way)
    pairs = []
    for backends, *_ in FAMILIES:
        server = ends.Server(net.backend, ends.answer_and_exchange(SIZE, 1), address=backends[0])
        sock = ends.connect(net.client, backends[0])
        ends.ask(sock)
        pairs.append((sock, server))
    ladon.wait_handed_off(2)
    ladon.kill9()
    ladon = net.ladond(config_for(way))
    assert len(ladon.flows()) == 2
    for sock, server in pairs:
        with sock:
            assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)
    until(lambda: ladon.flows() == [], "the flows have ended")
    assert net.trouble() == {}
