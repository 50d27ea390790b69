# SPDX-License-Identifier: GPL-2.0-only
"""The PROXY protocol: who the client is, heard from a proxy before ladon and said to a backend behind it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
"""
import contextlib
import itertools
import json
import socket
import struct
import threading

import pytest

from lib import ends, servers
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, until

SIZE = 3 * ends.MB
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
AUTHORITY, ALPN, UNIQUE_ID = 2, 1, 5


def config(backend=BACKENDS[0], pool="", listener="", more=""):
    at = f"[{backend}]" if ":" in backend else backend
    return f"""
listeners:
  - {{listen: ["0.0.0.0:8080", "[::]:8080"], pool: only{listener}}}
pools:
  - {{name: only, backends: ["{at}:9000"]{pool}}}
{more}"""


def read_v1(sock):
    return ends.receive_through(sock, b"\r\n").decode().split()


def read_v2(sock):
    head = ends.receive_exactly(sock, 16)
    assert head[:12] == SIGNATURE and head[12] == 0x21
    body = ends.receive_exactly(sock, struct.unpack("!H", head[14:])[0])
    size = {0x11: 4, 0x21: 16}[head[13]]
    family = {4: socket.AF_INET, 16: socket.AF_INET6}[size]
    addresses = [socket.inet_ntop(family, body[i * size:(i + 1) * size]) for i in (0, 1)]
    ports = struct.unpack("!HH", body[2 * size:2 * size + 4])
    tlvs, at = {}, 2 * size + 4
    while at < len(body):
        kind, length = struct.unpack_from("!BH", body, at)
        tlvs[kind] = body[at + 3:at + 3 + length]
        at += 3 + length
    return addresses, ports, tlvs


def v1(source, dest, sport=1111, dport=2222):
    return f"PROXY TCP{6 if ':' in source else 4} {source} {dest} {sport} {dport}\r\n".encode()


def v2(source, dest, sport=1111, dport=2222, tlvs=b""):
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    body = (socket.inet_pton(family, source) + socket.inet_pton(family, dest) +
            struct.pack("!HH", sport, dport) + tlvs)
    return SIGNATURE + bytes([0x21, 0x21 if six else 0x11]) + struct.pack("!H", len(body)) + body


# ---- said ----

@pytest.mark.parametrize("client, gateway, backend", [
    (CLIENT, GATEWAY, BACKENDS[0]), (CLIENT6, GATEWAY6, BACKENDS6[0]), (CLIENT, GATEWAY, BACKENDS6[0])])
@pytest.mark.parametrize("version", [1, 2])
def test_the_backend_hears_who_the_client_is(net, version, client, gateway, backend):
    """... and then its bytes, as if nothing had been before them."""
    ladon = net.ladond(config(backend, pool=f", send-proxy: v{version}"))
    handed_off = threading.Semaphore(0)
    heard = []

    def talk(sock):
        if version == 1:
            words = read_v1(sock)
            heard.append((words[1], words[2:4], [int(p) for p in words[4:]]))
        else:
            heard.append(read_v2(sock)[:2])
        assert handed_off.acquire(timeout=30)
        return ends.exchange(sock, SIZE, say=1)

    server = ends.Server(net.backend, talk, address=backend, port=9000)
    for i in range(5):
        with ends.connect(net.client, gateway) as sock:
            port = sock.getsockname()[1]
            ladon.wait_handed_off(i + 1)
            handed_off.release()
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)
        addresses, ports = heard[i][-2:]
        assert (list(addresses), list(ports)) == ([client, gateway], [port, 8080])
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_the_client_speaks_first(net):
    """Its bytes are there when the header leaves, and follow it."""
    ladon = net.ladond(config(pool=", send-proxy: v2"))

    def talk(sock):
        read_v2(sock)
        return ends.echo(sock)

    server = ends.Server(net.backend, talk, port=9000)
    for _ in range(20):
        with ends.connect(net.client) as sock:
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(20)
    assert ladon.reasons() == {}
    net.only_repetitions()


def test_a_header_that_is_not_acknowledged_is_not_waited_for(net):
    """A refused handoff is relayed at once, whatever the reason, and handed off when that has passed."""
    ladon = net.ladond(config(pool=", send-proxy: v2"))
    server = ends.Server(net.backend, lambda s: (read_v2(s)[0][0], ends.echo(s)), port=9000)
    lost = net.gateway.lose("tcp sport 9000 tcp flags & (syn | fin | rst | psh | ack) == ack")
    with ends.connect(net.client) as sock:
        sock.settimeout(5)
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
        assert ladon.reasons()["unacked"] == 1 and lost() >= 1
        lost.stop()
        ladon.wait_handed_off(1, 20)
        sock.sendall(b"more")
        assert ends.receive_exactly(sock, 4) == b"more"
    assert server.result() == (CLIENT, 8)


def test_a_relayed_connection_begins_with_it_too(net):
    net.ladond(config(pool=", send-proxy: v1", listener=", handoff: no"))
    server = ends.Server(net.backend, lambda s: (read_v1(s)[2], ends.echo(s)), port=9000)
    with ends.connect(net.client) as sock:
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
    assert server.result() == (CLIENT, 4)


def test_the_next_backend_hears_it_too(net):
    """The first one refuses, the second is told."""
    yaml = config(pool=", send-proxy: v2").replace(f'"{BACKENDS[0]}:9000"',
                                                   f'"{BACKENDS[1]}:9000", "{BACKENDS[0]}:9000"')
    ladon = net.ladond(yaml)
    server = ends.Server(net.backend, lambda s: (read_v2(s)[0][0], ends.echo(s)), port=9000)
    for _ in range(4):
        with ends.connect(net.client) as sock:
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == (CLIENT, 4)
    ladon.wait_handed_off(4)


def test_tlvs(net):
    yaml = config(pool=", send-proxy: v2, proxy-tlvs: [authority, unique-id]").replace(
        "pool: only", "routes: [{http: '*', pool: only}]")
    net.ladond(yaml)
    ids = set()

    def talk(sock):
        tlvs = read_v2(sock)[2]
        ids.add(tlvs[UNIQUE_ID])
        head = ends.receive_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return tlvs[AUTHORITY], head.split()[1]

    server = ends.Server(net.backend, talk, port=9000)
    for _ in range(3):
        assert ends.curl(net.client, "http://www.example.org:8080/x").status == 200
        assert server.result() == (b"www.example.org", b"/x")
    assert len(ids) == 3


# ---- heard ----

FROM = f', proxy-from: ["{CLIENT}", "{CLIENT6}"]'


@pytest.mark.parametrize("gateway, source", [(GATEWAY, "192.0.2.1"), (GATEWAY6, "2001:db8::1")])
@pytest.mark.parametrize("make", [v1, v2])
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_proxy_is_believed(net, tmp_path, make, gateway, source, piece):
    log = tmp_path / "access"
    ladon = net.ladond(config(listener=FROM, more=f"access-log: {{to: {log}}}\n"))
    server = ends.Server(net.backend, ends.echo, port=9000)
    said = make(source, gateway) + b"word"
    with ends.connect(net.client, gateway) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(said), piece):
            sock.sendall(said[at:at + piece])
        assert ends.receive_exactly(sock, 4) == b"word"
    assert server.result() == 4
    if piece > 1:
        ladon.wait_handed_off()
    until(lambda: log.exists() and log.read_text(), "a line")
    client = json.loads(log.read_text())["client"]
    assert client == (f"[{source}]:1111" if ":" in source else f"{source}:1111")


def test_it_is_passed_on(net):
    """Two ladons in a row, as it were: the second's backend hears what the first one's client is."""
    ladon = net.ladond(config(listener=FROM, pool=", send-proxy: v2, proxy-tlvs: [unique-id]"))
    tlvs = bytes([UNIQUE_ID, 0, 2]) + b"me" + bytes([0xe0, 0, 3]) + b"own"
    server = ends.Server(net.backend, lambda s: (read_v2(s), ends.echo(s)), port=9000)
    with ends.connect(net.client) as sock:
        sock.sendall(v2("192.0.2.1", "192.0.2.2", tlvs=tlvs) + b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
    assert server.result() == ((["192.0.2.1", "192.0.2.2"], (1111, 2222), {UNIQUE_ID: b"me", 0xe0: b"own"}), 4)
    ladon.wait_handed_off()
    assert net.trouble() == {}


def test_the_backend_speaks_first_after_a_header(net):
    ladon = net.ladond(config(listener=FROM))
    server = ends.Server(net.backend, lambda s: (s.sendall(b"220 hello\r\n"), ends.echo(s))[1], port=9000)
    for _ in range(10):
        with ends.connect(net.client) as sock:
            sock.sendall(v1("192.0.2.1", GATEWAY))
            assert ends.receive_exactly(sock, 11) == b"220 hello\r\n"
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(10)
    assert net.trouble() == {}


def test_a_header_that_comes_alone_is_acknowledged(net):
    """A proxy may say nothing more until then, as ladon itself: it need not repeat it, and is handed off. First bytes seen or not."""
    ladon = net.ladond(config(listener=FROM, pool=", send-proxy: v2").replace(
        "pools:", f"  - {{listen: ['0.0.0.0:8081', '[::]:8081'], routes: [{{http: '*', pool: only}}, {{pool: only}}]{FROM}}}\npools:"))
    server = ends.Server(net.backend, lambda s: (read_v2(s)[0][0], ends.exchange(s, SIZE, say=1)), port=9000)
    cases = itertools.product(((GATEWAY, "192.0.2.1"), (GATEWAY6, "2001:db8::1")), (8080, 8081), (v1, v2))
    for count, ((gateway, source), port, make) in enumerate(cases, 1):
        with ends.connect(net.client, gateway, port) as sock:
            sock.sendall(make(source, gateway))
            until(lambda: ends.unacknowledged(sock) == 0, "it is acknowledged")
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert server.result() == (source, ends.expected(SIZE, 2))
        ladon.wait_handed_off(count)
    assert ladon.reasons() == {}
    net.only_repetitions()


BAD = {
    "none": (b"GET / HTTP/1.1\r\n\r\n", "proxy_missing"),
    "not one": (b"PROXY TCP4 1.2.3.4\r\n", "proxy_malformed"),
    "endless": (b"PROXY TCP4 " + b"1" * 200, "proxy_malformed"),
    "too long": (SIGNATURE + b"\x21\x11\xff\xff", "proxy_length"),
    "address": (b"PROXY TCP4 1.2.3.400 1.2.3.4 1 1\r\n", "proxy_malformed"),
}


def test_bad_headers(net):
    ladon = net.ladond(config(listener=FROM))
    for name, (said, reason) in BAD.items():
        before = ladon.reasons("closed").get(reason, 0)
        with ends.connect(net.client) as sock:
            sock.sendall(said)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b"", name
        until(lambda: ladon.reasons("closed").get(reason, 0) == before + 1, f"{name}: {reason}")


def test_who_is_not_trusted_may_not_say_one(net):
    """... and is a client like any other if it does not."""
    yaml = config(listener=', proxy-from: "192.0.2.77"').replace("pool: only,", "routes: [{tls: '*', pool: only}, {pool: only}],")
    ladon = net.ladond(yaml)
    server = ends.Server(net.backend, ends.echo, port=9000)
    for header in (v1("192.0.2.1", GATEWAY), v2("192.0.2.1", GATEWAY)):
        with ends.connect(net.client) as sock:
            sock.sendall(header + b"word")
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
    assert ladon.reasons("closed") == {"proxy_untrusted": 2}
    with ends.connect(net.client) as sock:
        sock.sendall(b"PROXIMA\r\n")
        assert ends.receive_exactly(sock, 9) == b"PROXIMA\r\n"
    assert server.result() == 9


def test_the_lists_are_about_who_the_client_is(net):
    ladon = net.ladond(config(listener=FROM + ", deny: [192.0.2.0/24]"))
    ends.Server(net.backend, ends.echo, port=9000)
    with ends.connect(net.client) as sock:
        sock.sendall(v1("192.0.2.1", GATEWAY) + b"word")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    with ends.connect(net.client) as sock:
        sock.sendall(v1("198.51.100.1", GATEWAY) + b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
    assert ladon.reasons("closed") == {"source_denied": 1}


# ---- with others ----

HAPROXY = """
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 5s
frontend f
  bind 10.0.2.2:9000 accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[fc_pp_authority]"
"""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_behind(net, version):
    servers.haproxy(net, net.backend, HAPROXY, (BACKENDS[0], 9000))
    ladon = net.ladond(config(pool=f", send-proxy: {version}"))
    with ends.connect(net.client) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = ends.receive_until(sock, b"\r\n\r\n", 4096)
        while more := sock.recv(1000):
            answer += more
        assert answer.split()[-2:] == [CLIENT.encode(), str(sock.getsockname()[1]).encode()]
    ladon.wait_handed_off()


def test_curl_in_front(net):
    ladon = net.ladond(config(listener=FROM))
    ends.Server(net.backend, ends.http("here", SIZE, 7), port=9000)
    fetched = ends.curl(net.client, "http://www.example.org:8080/", "--haproxy-protocol")
    assert (fetched.status, fetched.sha256) == (200, ends.expected(SIZE, 7).sha256)
    ladon.wait_handed_off()
    assert net.trouble() == {}
