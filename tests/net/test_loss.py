# SPDX-License-Identifier: GPL-2.0-only
"""What is lost on the way is repaired by the two ends, as if nobody were between them.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

Until the handoff ladon acknowledges nothing that it forwards, so the sender
still has what is lost of it. Packets are dropped where they come in, by nft.
"""
import pytest

from lib import ends
from lib.families import both_families
from lib.gateway import FAMILIES
from lib.net import sacks_are_right

FIRST = ends.pattern(1000, 7)


def repaired(net, ladon, lost, count=1):
    """`count` packets were lost, and no end reset anything."""
    assert lost() == count
    assert net.client.counter("TcpOutRsts") == net.backend.counter("TcpOutRsts") == 0
    assert net.client.counter("TcpInCsumErrors") == net.backend.counter("TcpInCsumErrors") == 0
    assert "TcpExtTSEcrRejected" not in net.backend.trouble()
    ladon.wait_handed_off(1)
    assert ladon.relayed_bytes() == 0


@both_families
def test_the_first_forwarded_segment_is_lost(net, gateway, backend, one_pool):
    """Nobody but the client can repeat it: ladon has gone."""
    lost = net.backend.lose("tcp dport 8080 meta length > 500", once=True)
    ladon = net.ladond(one_pool)
    ends.Server(net.backend, ends.echo, address=backend)

    with ends.connect(net.client, gateway) as sock:
        sock.sendall(FIRST)
        assert ends.receive_exactly(sock, len(FIRST)) == FIRST

    repaired(net, ladon, lost)
    assert net.client.counter("TcpRetransSegs") >= 1


@both_families
def test_the_first_segment_of_a_backend_that_speaks_first_is_lost(net, gateway, backend, one_pool):
    lost = net.client.lose("tcp sport 8080 meta length > 500", once=True)
    ladon = net.ladond(one_pool)
    ends.Server(net.backend, lambda s: (s.sendall(FIRST), s.recv(1)), address=backend)

    with ends.connect(net.client, gateway) as sock:
        assert ends.receive_exactly(sock, len(FIRST)) == FIRST

    repaired(net, ladon, lost)
    assert net.backend.counter("TcpRetransSegs") >= 1


@pytest.mark.parametrize("which", [1, 2, 3, 6])
def test_a_later_one_of_the_first_segments_is_lost(net, which):
    """The client's first window comes in several segments; each is missed once."""
    net.offload(tso=False, gso=False)
    first = ends.pattern(12 * 1448, 7)
    lost = net.backend.lose(f"tcp dport 8080 meta length > 500 numgen inc mod 4294967295 {which}")
    ladon = net.ladond(FAMILIES[0][2])
    ends.Server(net.backend, ends.echo)

    with ends.connect(net.client) as sock:
        sock.sendall(first)
        assert ends.receive_exactly(sock, len(first)) == first

    repaired(net, ladon, lost)


def test_the_first_acknowledgement_is_lost(net):
    """The backend heard it all; the client repeats, and the backend says so again."""
    lost = net.client.lose("tcp sport 8080 tcp flags & (syn|ack|psh) == ack", once=True)
    ladon = net.ladond(FAMILIES[0][2])
    heard = ends.Server(net.backend, lambda s: ends.receive(s, len(FIRST)).bytes and s.recv(1))

    with ends.connect(net.client) as sock:
        sock.sendall(FIRST)
        ladon.wait_handed_off()
        sock.sendall(b"x")
        assert heard.result() == b"x"

    repaired(net, ladon, lost)


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_lost_fin_is_repeated(net, who):
    end = net.backend if who == "client" else net.client
    port = "dport" if who == "client" else "sport"
    ladon = net.ladond(FAMILIES[0][2])
    server = ends.Server(net.backend, ends.echo if who == "client" else lambda s: s.sendall(s.recv(9)))

    with ends.connect(net.client) as sock:
        lost = end.lose(f"tcp {port} 8080 tcp flags & fin == fin", once=True)
        sock.sendall(b"something")
        if who == "client":
            assert ends.receive_exactly(sock, 9) == b"something"
            sock.close()
            server.result()
        else:
            assert ends.receive_exactly(sock, 10) == b"something"
    repaired(net, ladon, lost)


@both_families
def test_two_percent_at_random_both_ways(net, gateway, backend, one_pool):
    """From the handoff on: a SYN that is lost on the way to the backend would mean relay."""
    size = 20 * ends.MB
    net.offload(tso=False, gso=False)
    ladon = net.ladond(one_pool)
    server = ends.Server(net.backend, ends.answer_and_exchange(size, say=1), address=backend)

    with ends.connect(net.client, gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        lost = (net.backend.lose("tcp dport 8080", percent=2),
                net.client.lose("tcp sport 8080", percent=2))
        assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
    assert server.result() == ends.expected(size, 2)

    assert min(lost[0](), lost[1]()) > 50
    for end in (net.client, net.backend):
        assert end.counter("TcpOutRsts") == end.counter("TcpInCsumErrors") == 0
    assert sacks_are_right(net.client, net.backend)
    assert sum(end.counter("TcpExtTCPSackRecovery") for end in (net.client, net.backend)) > 0
    assert ladon.relayed_bytes() == 0


def test_two_percent_for_many_short_connections(net):
    """Handshakes, first bytes and goodbyes are lost too; every answer is right all the same."""
    net.client.lose("tcp sport 8080", percent=2)
    net.backend.lose("tcp dport 8080", percent=2)
    net.gateway.lose("tcp sport 8080", percent=2)
    ladon = net.ladond(FAMILIES[0][2])
    ends.Server(net.backend, ends.echo)

    def visit(number):
        said = ends.pattern(3000, number)
        with ends.connect(net.client) as sock:
            sock.sendall(said)
            return ends.receive_exactly(sock, len(said)) == said

    visits = [ends.spawn(visit, number) for number in range(100)]

    assert all(visit.result(40) for visit in visits)
    assert ladon.connections()["accepted"] == 100
