# SPDX-License-Identifier: GPL-2.0-only
"""The rulers measure: what the other tests read is zero on a plain path and is not on a bad one.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

The gateway is the kernel's plain forwarding: no ladon here.
"""
import socket
import struct

import pytest

from lib import ends, wire
from lib.net import BACKENDS, BACKENDS6, until

SIZE = 20 * ends.MB


def fetch(net, address=BACKENDS[0]):
    """Download and upload SIZE at once, without ladon. Return: what both ends heard."""
    net.forward()
    server = ends.Server(net.backend, lambda s: ends.exchange(s, SIZE, say=1), address=address)
    with ends.connect(net.client, address) as sock:
        return ends.exchange(sock, SIZE, say=2), server.result()


@pytest.mark.parametrize("address", [BACKENDS[0], BACKENDS6[0]])
def test_plain_forwarding_gives_no_trouble(net, address):
    with wire.capture(net.client) as seen:
        heard = fetch(net, address)

    assert heard == (ends.expected(SIZE, 1), ends.expected(SIZE, 2))
    assert net.trouble() == {}
    assert sum(s.length for s in seen.segments) == 2 * SIZE
    assert wire.repeats(seen.segments) == []
    assert wire.duplicate_acks(seen.segments) == []
    assert {s.ttl for s in seen.segments} == {63, 64}


def test_loss_is_seen(net):
    lost = net.backend.lose("tcp dport 8080", percent=1)
    net.offload(tso=False, gso=False)

    heard = fetch(net)

    assert heard == (ends.expected(SIZE, 1), ends.expected(SIZE, 2))
    assert lost() > 0
    assert net.client.counter("TcpRetransSegs") > 0
    assert net.backend.counter("TcpExtTCPOFOQueue") > 0


def test_exactly_one_packet_is_lost(net):
    lost = net.backend.lose("tcp dport 8080 meta length > 500", once=True)
    with wire.capture(net.client) as seen:
        fetch(net)

    assert lost() == 1
    assert net.client.counter("TcpRetransSegs") >= 1
    assert wire.repeats(s for s in seen.segments if not s.incoming)
    assert wire.duplicate_acks(seen.segments)


def test_a_wrong_checksum_is_seen(net):
    net.forward()
    segment = struct.pack("!HHIIBBHHH", 1024, 8080, 1, 1, 5 << 4, wire.ACK, 100, 0xBAD, 0)
    with net.client.enter(), socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                           socket.IPPROTO_TCP) as raw:
        raw.sendto(segment, (BACKENDS[0], 0))

    until(lambda: net.backend.counter("TcpInCsumErrors") == 1, "a checksum error")


def test_a_reset_is_seen(net):
    net.forward()
    server = ends.Server(net.backend, ends.reset)
    with pytest.raises(ConnectionResetError), ends.connect(net.client, BACKENDS[0]) as sock:
        sock.recv(1)
    server.result()

    assert net.backend.counter("TcpOutRsts") == 1
    assert "b" in net.trouble()
