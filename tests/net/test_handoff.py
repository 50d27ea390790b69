# SPDX-License-Identifier: GPL-2.0-only
"""After the handoff no byte passes through ladond, and neither end notices that there was one.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
              fd00:1::/64             fd00:2::/64
"""
import asyncio
import hashlib
import socket
import threading
import time

import pytest

from lib import ends, wire
from lib.families import both_families
from lib.gateway import FAMILIES
from lib.net import BACKENDS, GATEWAY

ONE_TLS_ROUTE = """
    listeners:
      - listen: "0.0.0.0:443"
        routes:
          - tls: example.org
            pool: web
    pools:
      - name: web
        backends: ["10.0.2.2:443"]
"""


def clean(net, ladon, handed_off):
    """Everything was handed off, the daemon carried no byte, and TCP's own counters saw nothing."""
    ladon.wait_handed_off(handed_off)
    assert ladon.reasons() == {}
    assert ladon.relayed_bytes() == 0
    assert net.trouble() == {}, ladon.reasons("packet")
    ladon.wait_gone()


def test_a_large_download_never_touches_the_daemon(net, certs):
    size = 100 * ends.MB
    ladon = net.ladond(ONE_TLS_ROUTE)
    ends.Server(net.backend, ends.http("web", size), port=443, tls=certs.server())

    got = ends.curl(net.client, "https://example.org/", ca=certs.ca)

    assert (got.code, got.status, got.error) == (0, 200, "")
    assert got.sha256 == ends.expected(size).sha256
    clean(net, ladon, 1)


@both_families
def test_while_bytes_flow_the_gateway_has_neither_socket_nor_descriptor(
        net, gateway, backend, one_pool):
    ladon = net.ladond(one_pool)
    ends.Server(net.backend, ends.echo, address=backend)
    with ends.connect(net.client, gateway) as sock:
        for word in (b"first", b"second"):
            sock.sendall(word)
            assert ends.receive_exactly(sock, len(word)) == word
            ladon.wait_handed_off()
            ladon.wait_gone()
        flow, = ladon.flows()

    assert flow["client"].startswith(("10.0.1.1:", "[fd00:1::1]:"))
    assert flow["backend"] in ("10.0.2.2:8080", "[fd00:2::2]:8080")
    assert flow["state"] == "open"
    clean(net, ladon, 1)


@both_families
def test_a_gigabyte_each_way_in_parallel(net, gateway, backend, one_pool):
    size = 1024 * ends.MB
    ladon = net.ladond(one_pool)
    server = ends.Server(net.backend, ends.answer_and_exchange(size, say=1), address=backend)

    with ends.connect(net.client, gateway) as sock:
        ends.ask(sock)
        heard = ends.exchange(sock, size, say=2)

    assert heard == ends.expected(size, 1)
    assert server.result() == ends.expected(size, 2)
    clean(net, ladon, 1)


@both_families
def test_on_the_wire_nothing_is_repeated_or_asked_for_twice(net, gateway, backend, one_pool):
    size = 10 * ends.MB
    net.ladond(one_pool)
    server = ends.Server(net.backend, ends.answer_and_exchange(size, say=1), address=backend)

    with wire.capture(net.client) as before, wire.capture(net.backend) as behind:
        with ends.connect(net.client, gateway) as sock:
            ends.ask(sock)
            heard = ends.exchange(sock, size, say=2)
        assert heard == ends.expected(size, 1)
        assert server.result() == ends.expected(size, 2)

    for seen in (before.segments, behind.segments):
        assert sum(s.length for s in seen) == 2 * (size + len(ends.WORD))
        assert wire.repeats(seen) == []
        assert wire.duplicate_acks(seen) == []
        # What ladon itself said has the full time to live; what it forwards has one hop less.
        assert {s.ttl for s in seen if s.incoming} == {63, 64}
        assert not [s for s in seen if s.flags & wire.RST]


def burst(net, gateway, backend, ladon, count, size):
    """`count` connections, all open at once: each says its own bytes and hears their hash. Return: failures."""
    async def serve(reader, writer):
        said = await reader.readexactly(size)
        writer.write(hashlib.sha256(said).digest())
        await writer.drain()
        await reader.read()
        writer.close()

    async def visit(number, barrier):
        said = ends.pattern(size, number)
        sock = net.client.socket(gateway)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (gateway, 8080))
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(said)
        heard = await reader.readexactly(32)
        barrier.append(number)
        while len(barrier) < count:  # none closes before all have been answered
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        return heard == hashlib.sha256(said).digest()

    async def all_of_them():
        listener = net.backend.socket(backend)
        listener.bind((backend, 8080))
        listener.listen(4096)
        server = await asyncio.start_server(serve, sock=listener, backlog=4096)
        async with server:
            barrier = []
            visits = [visit(n, barrier) for n in range(count)]
            return await asyncio.wait_for(asyncio.gather(*visits, return_exceptions=True), 40)

    return [outcome for outcome in asyncio.run(all_of_them()) if outcome is not True]


@both_families
def test_a_thousand_parallel_short_connections(net, gateway, backend, one_pool):
    ladon = net.ladond(one_pool)
    for space in (net.client, net.backend, net.gateway):
        space.sysctl("net.core.somaxconn", 8192)

    assert burst(net, gateway, backend, ladon, count=1000, size=3000) == []

    clean(net, ladon, 1000)


@both_families
@pytest.mark.parametrize("size, repeated", [(20_000, 5), (100_000, 30)])
def test_first_bytes_that_are_on_their_way_are_not_asked_for(
        net, gateway, backend, one_pool, size, repeated):
    """300 uploads in MTU-sized segments; `repeated`: how many of them may be asked for again.

    Those that a client repeats on its own, since ladon has not come to its connection for 200 ms, are no such.

    What follows the first bytes may overtake them on the gateway, and without the hold the backend
    would ask for them: 200 and 900 segments were repeated. Of a client that goes on speaking, a few
    still are: bytes that came between ladon's last look at its socket and the socket's end.
    """
    net.offload(tso=False, gso=False)
    ladon = net.ladond(one_pool)

    def talk(sock):
        heard = ends.receive(sock, size)
        sock.sendall(b"x")
        return heard

    server = ends.Server(net.backend, talk, address=backend)
    for _ in range(300):
        with ends.connect(net.client, gateway) as sock:
            ends.send(sock, size)
            assert sock.recv(1) == b"x"
        assert server.result() == ends.expected(size)

    assert net.client.counter("TcpExtTCPFastRetrans") <= repeated
    ladon.wait_handed_off(300)


def test_source_ports_are_used_again_after_a_rest(net):
    """A range of 8 ports: the ninth connection is relayed, and later ones are handed off again."""
    ladon = net.ladond(FAMILIES[0][2] + "source-ports: 20000-20007\n")
    ports = []

    def talk(sock):
        ports.append(sock.getpeername()[1])
        ends.echo(sock)

    def visit():
        with ends.connect(net.client) as sock:
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"

    ends.Server(net.backend, talk)
    for _ in range(9):
        visit()
    assert sorted(ports[:8]) == list(range(20000, 20008))
    assert ladon.reasons() == {"no_port": 1}
    ladon.wait_handed_off(8)
    deadline = time.monotonic() + 20
    while ladon.connections()["handed_off"] == 8:
        assert time.monotonic() < deadline
        visit()

    assert 20000 <= ports[-1] <= 20007


@both_families
def test_the_source_address_changes_and_another_program_has_the_old_one(net, gateway, backend, one_pool):
    """ladon expects the address that the routes chose last: with a port of the range, another's socket has it now."""
    new = "fd00:2::77" if ":" in gateway else "10.0.2.77"
    net.gateway.ip("addr add fd00:2::77/64 dev backend0 nodad", "addr add 10.0.2.77/24 dev backend0")
    ladon = net.ladond(one_pool + "source-ports: 20000-20007\n")
    peers = []

    def talk(sock):
        peers.append(sock.getpeername()[:2])
        ends.echo(sock)

    def visit():
        with ends.connect(net.client, gateway) as sock:
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        return peers[-1]

    ends.Server(net.backend, talk, address=backend)
    old, port = visit()

    def share_the_next_port(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((old, port + 1))

    with ends.connect(net.gateway, backend, prepare=share_the_next_port) as other:
        other.sendall(b"mine")
        assert ends.receive_exactly(other, 4) == b"mine"
        net.gateway.ip(f"route replace {backend} dev backend0 src {new}")

        at, used = visit()
        assert at == new and used - port in ((1, 2) if ":" in new else (1,))  # IPv6 may not share it
        assert visit() == (new, used + 1)
        other.sendall(b"still mine")
        assert ends.receive_exactly(other, 10) == b"still mine"
    ladon.wait_handed_off(3)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def kill_between_two_halves(net, config, gateway, backend, half):
    """A transfer in both directions, each in two halves of that size, and kill -9 of the daemon between them."""
    killed = threading.Event()
    ladon = net.ladond(config)

    def two_halves(sock, say):
        def speak():
            ends.send(sock, half, say)
            assert killed.wait(20)
            ends.send(sock, half, say + 1)
            sock.shutdown(socket.SHUT_WR)

        speaker = ends.spawn(speak)
        heard = ends.receive(sock, half), ends.receive(sock)
        speaker.result(20)
        return heard

    server = ends.Server(net.backend, lambda s: two_halves(s, 1), address=backend)
    with ends.connect(net.client, gateway) as sock:
        client = ends.spawn(two_halves, sock, 3)
        ladon.wait_handed_off()
        ladon.kill9()
        killed.set()
        assert client.result(30) == (ends.expected(half, 1), ends.expected(half, 2))

    assert server.result() == (ends.expected(half, 3), ends.expected(half, 4))
    net.only_repetitions()


@both_families
def test_kill_9_in_mid_transfer(net, gateway, backend, one_pool):
    kill_between_two_halves(net, one_pool, gateway, backend, 32 * ends.MB)


def test_connections_of_other_programs_on_the_gateway_are_not_touched(net):
    """A server on the gateway itself, and a client there, go on through the kernel as ever."""
    size = 20 * ends.MB
    ladon = net.ladond(FAMILIES[0][2])
    here = ends.Server(net.gateway, lambda s: ends.exchange(s, size, say=1), address=GATEWAY,
                       port=9000)
    there = ends.Server(net.backend, lambda s: ends.exchange(s, size, say=1), port=9000)

    for space, address, server in ((net.client, GATEWAY, here), (net.gateway, BACKENDS[0], there)):
        with ends.connect(space, address, 9000) as sock:
            assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
        assert server.result() == ends.expected(size, 2)

    assert net.trouble() == {}
    assert ladon.connections()["accepted"] == 0
