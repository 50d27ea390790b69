# SPDX-License-Identifier: GPL-2.0-only
"""A backend that does not take its connection for established yet, when ladon already does and has left.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

It waits for data (TCP_DEFER_ACCEPT: Apache's default, nginx's `listen ... deferred`), or the last segment of the
handshake was lost. Since Linux 6.15 it drops then what does not echo its SYN-ACK's own timestamp.
"""
import contextlib
import socket

import pytest

from lib import ends
from lib.families import both_families
from lib.gateway import EXIT
from lib.net import BACKENDS
from test_targets import every_way


@contextlib.contextmanager
def deferred(space, address, port):
    """A listener whose connections are accepted when they have data. A bare ACK is not enough for 10 s."""
    with space.socket(address) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
        listener.bind((address, port))
        listener.listen()
        listener.settimeout(30)
        yield listener


def talk(sock, listener):
    """The client speaks first, and each hears the other."""
    sock.sendall(b"a question")
    accepted, _ = listener.accept()
    with accepted:
        assert ends.receive_exactly(accepted, 10) == b"a question"
        accepted.sendall(b"an answer")
        assert ends.receive_exactly(sock, 9) == b"an answer"


@both_families
def test_a_client_speaks_after_the_handoff(net, gateway, backend, one_pool):
    ladon = net.ladond(one_pool)
    with deferred(net.backend, backend, 8080) as listener, ends.connect(net.client, gateway) as sock:
        ladon.wait_handed_off()
        talk(sock, listener)
    assert net.trouble() == {}


@every_way
def test_a_client_speaks_after_ladon_has(net, way):
    """The client echoes ladon's answer, not its SYN-ACK."""
    ladon = net.ladond(EXIT)
    with deferred(net.backend, BACKENDS[0], 9000) as listener, ends.connect(net.client) as sock:
        assert way(sock, BACKENDS[0], 9000) == 0
        ladon.wait_handed_off()
        talk(sock, listener)
    assert net.trouble() == {}


@both_families
@pytest.mark.parametrize("first", ["client", "backend"])
def test_the_last_segment_of_the_handshake_is_lost(net, gateway, backend, one_pool, first):
    """Where the backend is to speak first, it repeats its SYN-ACK, and the client's answer to that opens it."""
    lost = net.backend.lose("tcp dport 8080 tcp flags & (syn|ack) == ack", once=True)
    ladon = net.ladond(one_pool)
    say, hear = (b"a question", b"") if first == "client" else (b"", b"a greeting")
    server = ends.Server(net.backend, lambda s: (s.sendall(hear), ends.receive_exactly(s, len(say)))[1],
                         address=backend)
    with ends.connect(net.client, gateway) as sock:
        ladon.wait_handed_off()
        sock.sendall(say)
        assert ends.receive_exactly(sock, len(hear)) == hear
        assert server.result() == say
    assert lost() == 1
    assert net.client.counter("TcpOutRsts") == net.backend.counter("TcpOutRsts") == 0
    assert "TcpExtTSEcrRejected" not in net.backend.trouble()
    if first == "client":
        assert net.trouble() == {}
