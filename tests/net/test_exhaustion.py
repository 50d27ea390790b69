# SPDX-License-Identifier: GPL-2.0-only
"""Ports run out: the next port, the next source address, then relay, and all recovers by itself.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9 .10              .2
"""
import socket

from lib import ends
from lib.gateway import FAMILIES
from lib.net import BACKENDS, until

ONE_POOL = FAMILIES[0][2]
SOURCES = ("10.0.2.9", "10.0.2.10")
PORTS = range(20000, 20004)
FOUR_PORTS = f"source-ports: {PORTS[0]}-{PORTS[-1]}\n"


def visit(net):
    """A connection that has been answered once, and stays."""
    sock = ends.connect(net.client)
    chat(sock)
    return sock


def chat(sock):
    sock.sendall(b"word")
    assert ends.receive_exactly(sock, 4) == b"word"


def recording_backend(net):
    """An echo server. Return: the list of (source address, port) that it goes on to fill."""
    peers = []

    def talk(sock):
        peers.append(sock.getpeername())
        ends.echo(sock)

    ends.Server(net.backend, talk)
    return peers


def occupy(net, port):
    """A connection of the gateway's own from this port to the backend, as a former daemon may leave one."""
    sock = net.gateway.socket(BACKENDS[0])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((SOURCES[0], port))
    sock.connect((BACKENDS[0], 8080))
    return sock


def test_a_port_in_use_towards_the_backend_means_the_next_one(net):
    """bind(2) allows it, only connect(2) sees that the port is taken."""
    peers = recording_backend(net)
    taken = [occupy(net, port) for port in PORTS[:3]]
    until(lambda: len(peers) == 3, "the backend has accepted them")
    ladon = net.ladond(ONE_POOL + FOUR_PORTS)

    with visit(net) as sock:
        ladon.wait_handed_off()
        chat(sock)
        assert peers[3:] == [(SOURCES[0], PORTS[3])]
        assert ladon.reasons() == {}
    for sock in taken:
        chat(sock)
        sock.close()
    assert net.trouble() == {}


def test_all_ports_in_use_towards_the_backend_mean_relay(net):
    peers = recording_backend(net)
    taken = [occupy(net, port) for port in PORTS]
    until(lambda: len(peers) == 4, "the backend has accepted them")
    ladon = net.ladond(ONE_POOL + FOUR_PORTS)

    with visit(net) as sock:
        chat(sock)
        assert peers[4][1] not in PORTS
        assert ladon.reasons() == {"no_port": 1}
    for sock in taken:
        chat(sock)
        sock.close()


def test_the_next_source_address_then_relay_then_handed_off_again(net):
    net.gateway.ip(f"addr add {SOURCES[1]}/24 dev backend0")
    peers = recording_backend(net)
    ladon = net.ladond(ONE_POOL + FOUR_PORTS + f"sources: [{', '.join(SOURCES)}]\n")

    socks = [visit(net) for _ in range(9)]
    ladon.wait_handed_off(8)
    assert peers[:8] == [(source, port) for source in SOURCES for port in PORTS]
    assert peers[8][1] not in PORTS
    assert ladon.reasons() == {"no_port": 1}
    for sock in socks:
        chat(sock)
    assert net.trouble() == {}

    for sock in socks:
        sock.close()
    until(lambda: not ladon.flows(), "all flows have ended")

    def handed_off_again():
        visit(net).close()
        return ladon.connections()["handed_off"] > 8

    until(handed_off_again, "a port has rested", 20)
    assert peers[-1][1] in PORTS
