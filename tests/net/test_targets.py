# SPDX-License-Identifier: GPL-2.0-only
"""Clients that name their target: SOCKS 5, 4 and 4A, HTTP CONNECT. They are answered, connected, and handed off.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backends
"""
import contextlib
import json
import socket
import struct
import time

import pytest

from lib import ends
from lib.dns import NameServer
from lib.gateway import EXIT
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, until

SIZE = 5 * ends.MB


# ---- how clients speak ----

def packed(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host)


def socks5_request(host, port, command=1):
    try:
        address = packed(host)
        kind = b"\4" if len(address) == 16 else b"\1"
    except OSError:
        kind, address = b"\3", bytes([len(host)]) + host.encode()
    return bytes([5, command, 0]) + kind + address + struct.pack("!H", port)


def socks4_request(host, port, user=b"me", command=1):
    try:
        address, name = packed(host), b""
    except OSError:
        address, name = b"\0\0\0\1", host.encode() + b"\0"
    return bytes([4, command]) + struct.pack("!H", port) + address + user + b"\0" + name


def connect_request(host, port):
    host = f"[{host}]" if ":" in host else host
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def by_socks5(sock, host, port):
    sock.sendall(b"\5\1\0")
    assert ends.receive_exactly(sock, 2) == b"\5\0"
    sock.sendall(socks5_request(host, port))
    return ends.receive_exactly(sock, 10)[1]


def by_socks4(sock, host, port):
    sock.sendall(socks4_request(host, port))
    return ends.receive_exactly(sock, 8)[1] - 90


def by_connect(sock, host, port):
    sock.sendall(connect_request(host, port))
    head = ends.receive_through(sock, b"\r\n\r\n")
    return int(head.split()[1]) - 200


WAYS = {"socks5": by_socks5, "socks4": by_socks4, "connect": by_connect}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


# ---- tests ----

@pytest.mark.parametrize("gateway", [GATEWAY, GATEWAY6])
@pytest.mark.parametrize("backend", [BACKENDS[0], BACKENDS6[0]])
@every_way
def test_the_target_is_connected_to_and_the_connection_handed_off(net, way, gateway, backend):
    if way is by_socks4 and ":" in backend:
        pytest.skip("SOCKS 4 has no IPv6")
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, lambda s: ends.exchange(s, SIZE, say=1), address=backend, port=9000)
    with ends.connect(net.client, gateway) as sock:
        assert way(sock, backend, 9000) == 0
        ladon.wait_handed_off()
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


@every_way
def test_the_client_speaks_as_soon_as_it_may(net, way):
    """Its first bytes carry the acknowledgement of ladon's answer; twenty times."""
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, lambda s: ends.echo(s), port=9000)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            assert way(sock, BACKENDS[0], 9000) == 0
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(20)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


@every_way
def test_the_backend_speaks_first(net, way):
    ladon = net.ladond(EXIT)

    def greet(sock):
        sock.sendall(b"220 hello\r\n")
        return ends.echo(sock)

    server = ends.Server(net.backend, greet, port=9000)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            assert way(sock, BACKENDS[0], 9000) == 0
            assert ends.receive_exactly(sock, 11) == b"220 hello\r\n"
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(20)
    assert net.trouble() == {}


REQUESTS = {
    "socks5": (b"\5\1\0" + socks5_request(BACKENDS[0], 9000), 12),
    "socks4": (socks4_request(BACKENDS[0], 9000), 8),
    "connect": (connect_request(BACKENDS[0], 9000), 39),
}


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_request_and_data_in_one_segment_and_in_many(net, piece):
    """Who does not wait for answers gets them all the same, and what follows the request is its backend's."""
    net.ladond(EXIT)
    server = ends.Server(net.backend, ends.echo, port=9000)
    for request, reply in REQUESTS.values():
        said = request + b"and more"
        with ends.connect(net.client) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(said), piece):
                sock.sendall(said[at:at + piece])
            ends.receive_exactly(sock, reply)
            assert ends.receive_exactly(sock, 8) == b"and more"
            sock.sendall(b"still more")
            assert ends.receive_exactly(sock, 10) == b"still more"
        assert server.result() == 18
    assert "b" not in net.trouble()


def test_a_request_in_two_writes(net):
    """Nagle's algorithm keeps the second one back until the first is acknowledged, and it is at once.

    Then the target learns that it has a client, though that has said nothing that is for it.
    """
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, lambda s: (s.sendall(b"220 hello\r\n"), ends.echo(s))[1], port=9000)
    waited = []
    for request, reply in [*reversed(REQUESTS.values())] * 3:  # the daemon's first is not a dialogue of answers
        with ends.connect(net.client) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
            sock.sendall(request[:-2])
            began = time.monotonic()
            until(lambda: not ends.unacknowledged(sock), "it is acknowledged")
            waited.append(time.monotonic() - began)
            sock.sendall(request[-2:])
            ends.receive_exactly(sock, reply)
            assert ends.receive_exactly(sock, 11) == b"220 hello\r\n"
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    assert min(waited) < 0.05
    ladon.wait_handed_off(len(waited))
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_a_slow_target_is_handed_off_too(net):
    """Connecting takes longer than the client may be kept without an acknowledgement."""
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, ends.echo, port=9000)
    slow = net.backend.lose("tcp dport 9000 tcp flags syn", once=True)
    with ends.connect(net.client) as sock:
        assert by_socks5(sock, BACKENDS[0], 9000) == 0
        assert slow() == 1
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
        ladon.wait_handed_off()
    assert server.result() == 4
    assert ladon.reasons() == {}


def test_errors_say_why(net):
    ladon = net.ladond(EXIT + "timeouts: {connect: 500ms}\n")
    net.backend.lose("tcp dport 9001")

    def each(host, port):
        out = []
        for way in WAYS.values():
            with ends.connect(net.client) as sock:
                out.append(way(sock, host, port))
                assert sock.recv(1) == b"" or way is by_connect
        return out

    assert each(BACKENDS[0], 9000) == [5, 1, 302]
    assert each(BACKENDS[0], 9001) == [4, 1, 304]
    assert ladon.reasons() == {"no_backend": 6}


BAD = {
    "bind": (b"\5\1\0" + socks5_request(BACKENDS[0], 9000, command=2), b"\5\0\5\7", "no_command"),
    "udp": (b"\5\1\0" + socks5_request(BACKENDS[0], 9000, command=3), b"\5\0\5\7", "no_command"),
    "no method": (b"\5\1\2", b"\5\xff", "peek_malformed"),
    "address type": (b"\5\1\0\5\1\0\7", b"\5\0\5\10", "peek_malformed"),
    "port 0": (b"\5\1\0" + socks5_request(BACKENDS[0], 0), b"\5\0\5\1", "peek_malformed"),
    "name": (b"\5\1\0" + socks5_request("a b", 80), b"\5\0\5\1", "peek_malformed"),
    "socks4 bind": (socks4_request(BACKENDS[0], 9000, command=2), b"\0\x5b", "no_command"),
    "socks4 user": (socks4_request(BACKENDS[0], 9000, user=b"x" * 300), b"\0\x5b", "peek_length"),
    "connect without port": (b"CONNECT example.org HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 ", "peek_malformed"),
    "connect with content": (connect_request(BACKENDS[0], 9000)[:-2] + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                             b"HTTP/1.1 400 ", "peek_malformed"),
    "connect to a path": (b"CONNECT /index HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 ", "peek_malformed"),
}


def test_bad_requests(net):
    ladon = net.ladond(EXIT)
    for name, (said, heard, reason) in BAD.items():
        before = ladon.reasons("closed").get(reason, 0)
        with ends.connect(net.client) as sock:
            sock.sendall(said)
            assert ends.receive_exactly(sock, len(heard)) == heard, name
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(1000):
                    pass
        until(lambda: ladon.reasons("closed").get(reason, 0) == before + 1, f"{name}: {reason}")
    # The gateway's ACK and its FIN may change places: test_exhaustion.py has it.
    assert net.client.trouble().keys() <= {"TcpOutRsts"}


def test_a_target_that_no_rule_has_is_refused(net):
    """... though there is a default: that is for who does not name a target."""
    config = """
    listeners:
      - listen: "0.0.0.0:8080"
        routes: [{target: "*.example.org", pool: one}, {target: 10.0.2.2, pool: one}, {pool: one}]
    pools: [{name: one, backends: ["10.0.2.2:9000"]}]
    """
    ladon = net.ladond(config)
    server = ends.Server(net.backend, ends.echo, port=9000)
    for host, answers in (("www.example.org", [0, 0, 0]), (BACKENDS[0], [0, 0, 0]), ("example.net", [2, 1, 203])):
        for way, answer in zip(WAYS.values(), answers):
            with ends.connect(net.client) as sock:
                assert way(sock, host, 443) == answer
            if answer == 0:
                server.result()
    assert ladon.reasons()["no_route"] == 3
    with ends.connect(net.client) as sock:
        sock.sendall(b"hello\r\n")
        assert ends.receive_exactly(sock, 7) == b"hello\r\n"


def test_curl(net):
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, ends.http("here", SIZE, 7), port=9000)
    url = f"http://{BACKENDS[0]}:9000/"
    for proxy in ("--socks5", "--socks4", "--socks5-hostname", "--socks4a", "--suppress-connect-headers --proxytunnel --proxy"):
        fetched = ends.curl(net.client, url, "--noproxy", "", *proxy.split(), f"{GATEWAY}:8080", resolve=BACKENDS[0])
        assert (fetched.status, fetched.sha256) == (200, ends.expected(SIZE, 7).sha256)
    ladon.wait_handed_off(5)
    del server
    assert net.trouble() == {}


# ---- names ----

def by_name(net, **more):
    server = NameServer(net.backend, BACKENDS[0], **more)
    return server, net.ladond(EXIT + f"name-servers: {BACKENDS[0]}\n")


@every_way
@pytest.mark.parametrize("backend", [BACKENDS[0], BACKENDS6[0]])
def test_a_target_by_name(net, way, backend):
    dns, ladon = by_name(net)
    dns.names["www.example.org"] = [backend]
    server = ends.Server(net.backend, ends.echo, address=backend, port=9000)
    for _ in range(3):
        with ends.connect(net.client) as sock:
            assert way(sock, "WWW.example.org", 9000) == 0
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(3)
    assert ladon.reasons() == {}


def test_an_address_that_refuses_is_not_the_last(net):
    dns, ladon = by_name(net)
    dns.names["www.example.org"] = [BACKENDS6[0], BACKENDS[0]]
    server = ends.Server(net.backend, ends.echo, port=9000)  # IPv4 only
    with ends.connect(net.client) as sock:
        assert by_socks5(sock, "www.example.org", 9000) == 0
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
    assert server.result() == 4
    ladon.wait_handed_off()


def test_names_that_lead_nowhere(net):
    dns, ladon = by_name(net)
    dns.names["empty.example.org"] = []
    dns.names["broken.example.org"] = None
    for name in ("none.example.org", "empty.example.org", "broken.example.org"):
        for way, answer in zip(WAYS.values(), (4, 1, 302)):
            with ends.connect(net.client) as sock:
                assert way(sock, name, 9000) == answer
    assert ladon.reasons() == {"no_target": 9}
    assert dns.asked.count(("none.example.org", 1)) == 1  # it is known for a while


def test_a_name_that_moves(net):
    """When the record's time is up, new connections go to the new address; the old one lives on."""
    dns, ladon = by_name(net, ttl=1)
    for address in BACKENDS[:2]:
        ends.Server(net.backend, lambda s: (s.sendall(s.getsockname()[0].encode()), ends.echo(s)),
                    address=address, port=9000)

    def visit():
        sock = ends.connect(net.client)
        assert by_socks5(sock, "www.example.org", 9000) == 0
        return sock, ends.receive_exactly(sock, len(BACKENDS[0])).decode()

    dns.names["www.example.org"] = [BACKENDS[0]]
    first, at = visit()
    assert at == BACKENDS[0]
    ladon.wait_handed_off()
    dns.names["www.example.org"] = [BACKENDS[1]]

    def moved():
        sock, at = visit()
        sock.close()
        return at == BACKENDS[1]

    until(moved, "a connection goes to the new address")
    first.sendall(b"word")
    assert ends.receive_exactly(first, 4) == b"word"
    first.close()


def test_clients_that_leave_while_their_names_are_looked_up(net):
    """... and a daemon that stops then."""
    ladon = net.ladond(EXIT + "name-servers: 10.0.2.77\n")  # nobody is there
    socks = [ends.connect(net.client) for _ in range(50)]
    for i, sock in enumerate(socks):
        sock.sendall(b"\5\1\0" + socks5_request(f"n{i}.example.org", 9000))
        assert ends.receive_exactly(sock, 2) == b"\5\0"
    for sock in socks[:25]:
        ends.reset(sock)
    until(lambda: ladon.connections()["open"] == 25, "they are gone")
    assert ladon.stop() == 0
    for sock in socks[25:]:
        sock.close()


# ---- where nobody may go ----

def reply(net, host, port=9000):
    with ends.connect(net.client) as sock:
        return by_socks5(sock, host, port)


NOT_ALLOWED = 2  # RFC 1928 section 6
KEPT = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.0.2.255",
        GATEWAY, GATEWAY_BACK, "::1", "::", "fe80::1", "ff02::1", GATEWAY6, GATEWAY_BACK6,
        "::ffff:127.0.0.1", f"::ffff:{GATEWAY}", "64:ff9b::127.0.0.1", f"64:ff9b::{GATEWAY}", "2002:7f00:1::1"]


def exits(**targets):
    return EXIT.replace("routes:", f"targets: {json.dumps(targets)}, routes:")


def test_nobody_is_connected_to_the_gateway_itself(net):
    ladon = net.ladond(EXIT)
    ends.Server(net.gateway, ends.echo, address="0.0.0.0", port=9000)

    for host in KEPT:
        assert reply(net, host) == NOT_ALLOWED, host
    assert ladon.reasons("closed") == {"target_refused": len(KEPT)}


def test_an_address_that_the_gateway_has_got_since(net):
    net.ladond(EXIT)
    server = "10.0.2.77"
    net.backend.ip(f"addr add {server}/24 dev eth0")
    ends.Server(net.backend, ends.echo, address=server, port=9000)
    assert reply(net, server) == 0

    net.backend.ip(f"addr del {server}/24 dev eth0")
    net.gateway.ip(f"addr add {server}/32 dev lo")
    assert reply(net, server) == NOT_ALLOWED


def test_what_is_named_is_let_out_and_nothing_else(net):
    ladon = net.ladond(exits(allow=["127.0.0.1", "::/0", "0.0.0.0/0"]))
    ends.Server(net.gateway, ends.echo, address="0.0.0.0", port=9000)
    ends.Server(net.backend, ends.echo, port=9000)

    assert reply(net, "127.0.0.1") == 0
    assert reply(net, BACKENDS[0]) == 0
    for host in KEPT[1:-5]:
        assert reply(net, host) == NOT_ALLOWED, host
    assert ladon.reload(exits(allow=[BACKENDS[0]])).returncode == 0
    assert reply(net, BACKENDS[0]) == 0
    assert reply(net, "127.0.0.1") == reply(net, BACKENDS[1]) == NOT_ALLOWED


@pytest.mark.parametrize("family", [0, 1], ids=["ip4", "ip6"])
def test_a_net_and_ports_that_are_denied(net, family):
    denied, other = (BACKENDS, BACKENDS6)[family][:2]
    ladon = net.ladond(exits(deny=[denied], ports=["9000-9001", 9003]))
    for port in range(9000, 9005):
        ends.Server(net.backend, ends.echo, address=other, port=port)

    assert reply(net, denied) == NOT_ALLOWED
    assert [reply(net, other, port) for port in range(9000, 9005)] == [0, 0, NOT_ALLOWED, 0, NOT_ALLOWED]
    assert ladon.reasons("closed") == {"target_refused": 3}


def test_connect_says_forbidden(net):
    net.ladond(EXIT)
    with ends.connect(net.client) as sock:
        assert by_connect(sock, GATEWAY, 9000) == 403 - 200


# ---- users ----

def with_users(net, tmp_path, more=""):
    """Names and passwords; the hash is a cheap one, for a test."""
    import crypt  # noqa: PLC0415: it warns, and only this needs it
    file = tmp_path / "users"
    salt = crypt.mksalt(crypt.METHOD_SHA512, rounds=1000)
    file.write_text(f"me:{crypt.crypt('secret', salt)}\n")
    return net.ladond(EXIT.replace("routes:", f"users: {file}, routes:") + more)


def socks5_login(sock, user, password):
    sock.sendall(b"\5\2\0\2")
    assert ends.receive_exactly(sock, 2) == b"\5\2"
    sock.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
    return ends.receive_exactly(sock, 2)[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_users_by_socks5(net, tmp_path):
    ladon = with_users(net, tmp_path)
    server = ends.Server(net.backend, ends.echo, port=9000)
    for _ in range(3):
        with ends.connect(net.client) as sock:
            assert socks5_login(sock, b"me", b"secret") == 0
            sock.sendall(socks5_request(BACKENDS[0], 9000))
            assert ends.receive_exactly(sock, 10)[1] == 0
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(3)
    for user, password in ((b"me", b"wrong"), (b"you", b"secret"), (b"", b"")):
        with ends.connect(net.client) as sock:
            assert socks5_login(sock, user, password) == 1
            assert sock.recv(1) == b""
    for said, heard in ((b"\5\1\0", b"\5\xff"), (socks4_request(BACKENDS[0], 9000), b"\0\x5b")):
        with ends.connect(net.client) as sock:
            sock.sendall(said)
            assert ends.receive_exactly(sock, 2) == heard
    assert ladon.reasons() == {"no_user": 5}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_that_a_user_says_in_one_segment(net, tmp_path):
    """Greeting, password, request and data: read once, and the password is checked meanwhile."""
    ladon = with_users(net, tmp_path)
    server = ends.Server(net.backend, ends.echo, port=9000)
    with ends.connect(net.client) as sock:
        sock.sendall(b"\5\1\2\1\2me\6secret" + socks5_request(BACKENDS[0], 9000) + b"word" * 5000)
        assert ends.receive_exactly(sock, 4) == b"\5\2\1\0"
        assert ends.receive_exactly(sock, 10)[1] == 0
        assert ends.receive_exactly(sock, 20000) == b"word" * 5000
    assert server.result() == 20000
    assert ladon.reasons("closed") == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_users_by_curl(net, tmp_path):
    ladon = with_users(net, tmp_path)
    ends.Server(net.backend, ends.http("here", SIZE, 7), port=9000)
    url = f"http://{BACKENDS[0]}:9000/"

    def fetch(user, *how):
        return ends.curl(net.client, url, "--noproxy", "", *how, f"{GATEWAY}:8080", "--proxy-user", user,
                         resolve=BACKENDS[0])

    for how in (("--socks5",), ("--suppress-connect-headers", "--proxytunnel", "--proxy")):
        fetched = fetch("me:secret", *how)
        assert (fetched.status, fetched.sha256) == (200, ends.expected(SIZE, 7).sha256)
        assert fetch("me:wrong", *how).code != 0
    ladon.wait_handed_off(2)
    assert ladon.reasons("closed") == {"no_user": 2}
    with ends.connect(net.client) as sock:
        sock.sendall(connect_request(BACKENDS[0], 9000))
        head = ends.receive_through(sock, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 407 ") and b'\r\nProxy-Authenticate: Basic realm="ladon"\r\n' in head


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_access_log_names_the_user(net, tmp_path):
    """... if it was that one, and whether it was handed off or refused since."""
    log = tmp_path / "access"
    with_users(net, tmp_path, f"access-log: {{to: {log}}}\n")
    server = ends.Server(net.backend, ends.echo, port=9000)
    for password, target, granted in (b"secret", BACKENDS[0], 0), (b"secret", GATEWAY, NOT_ALLOWED), (b"wrong", "", None):
        with ends.connect(net.client) as sock:
            assert socks5_login(sock, b"me", password) == (granted is None)
            if granted is not None:
                sock.sendall(socks5_request(target, 9000))
                assert ends.receive_exactly(sock, 10)[1] == granted
    assert server.result() == 0
    lines = until(lambda: log.exists() and (text := log.read_text().splitlines()) and len(text) == 3 and text, "3 lines")
    assert {(line.get("user"), line["end"]) for line in map(json.loads, lines)} == \
        {("me", "closed"), ("me", "target_refused"), (None, "no_user")}
