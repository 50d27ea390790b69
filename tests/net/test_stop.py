# SPDX-License-Identifier: GPL-2.0-only
"""A stop leaves handed-off flows alone, waits for them or cuts them, as it is told; the next daemon adopts them.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import errno
import signal

import pytest

from lib import ends
from lib.gateway import FAMILIES
from lib.net import GATEWAY, until

ONE_POOL = FAMILIES[0][2]


def chat(sock, word=b"ping"):
    sock.sendall(word)
    assert ends.receive_exactly(sock, len(word)) == word


def one_flow(net, *args, config=ONE_POOL):
    """A daemon with one handed-off connection. Return: the daemon, the client's socket."""
    ladon = net.ladond(config, *args)
    ends.Server(net.backend, ends.echo)
    sock = ends.connect(net.client)
    chat(sock)
    ladon.wait_handed_off()
    return ladon, sock


def is_refused(net):
    """No socket listens. Silence does not say so: on a busy machine it lasts."""
    with net.client.socket(GATEWAY) as sock:
        return sock.connect_ex((GATEWAY, 8080)) == errno.ECONNREFUSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_flows_alone(net, number):
    ladon, sock = one_flow(net)

    ladon.signal(number)
    assert ladon.process.wait(10) == 0

    with sock:
        for _ in range(3):
            chat(sock, b"without a daemon")
        assert is_refused(net)
        chat(sock)
    assert net.trouble().keys() <= {"g"}  # the gateway refused one connection


def test_a_stop_cuts_relayed_connections(net):
    ladon = net.ladond(ONE_POOL + "handoff: no\n")
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as sock:
        chat(sock)
        assert ladon.stop() == 0
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass


def test_drain_waits_for_the_last_flow(net):
    ladon, sock = one_flow(net, "--drain")

    ladon.signal(signal.SIGTERM)
    until(lambda: is_refused(net), "it accepts no more")
    chat(sock, b"still there")
    assert ladon.process.poll() is None
    sock.close()

    assert ladon.process.wait(20) == 0


def test_drain_waits_for_relayed_connections_too(net):
    ladon = net.ladond(ONE_POOL + "handoff: no\n", "--drain")
    ends.Server(net.backend, ends.echo)
    sock = ends.connect(net.client)
    chat(sock)

    ladon.signal(signal.SIGTERM)
    until(lambda: is_refused(net), "it accepts no more")
    chat(sock, b"still there")
    assert ladon.process.poll() is None
    sock.close()

    assert ladon.process.wait(20) == 0


def test_a_second_signal_ends_the_waiting(net):
    ladon, sock = one_flow(net, "--drain")
    ladon.signal(signal.SIGTERM)
    until(lambda: is_refused(net), "it accepts no more")

    ladon.signal(signal.SIGTERM)

    ladon.process.wait(10)
    with sock:
        chat(sock, b"the flow goes on")


def test_cut_resets_flows(net):
    ladon, sock = one_flow(net, "--cut")

    assert ladon.stop() == 0

    with sock, pytest.raises(ConnectionResetError):
        sock.settimeout(5)
        sock.sendall(b"anybody there?")
        sock.recv(1)


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_the_next_daemon_adopts_flows(net, end):
    ladon, sock = one_flow(net)
    flow, = ladon.flows()
    getattr(ladon, end)()
    chat(sock, b"nobody is at home")

    again = net.ladond(ONE_POOL)

    adopted, = again.flows()
    assert {k: adopted[k] for k in ("client", "source", "backend", "pool")} == \
        {k: flow[k] for k in ("client", "source", "backend", "pool")}
    assert adopted["age_ms"] >= flow["age_ms"]
    chat(sock, b"somebody is again")
    assert again.ask("pool show")["pools"][0]["backends"][0]["flows"] == 1
    with ends.connect(net.client) as second:
        chat(second)
        again.wait_handed_off()
        assert len(again.flows()) == 2
    sock.close()
    until(lambda: again.flows() == [], "adopted and new flow have ended")
    until(lambda: again.ask("pool show")["pools"][0]["backends"][0]["flows"] == 0, "no live flow")
    assert net.client.trouble() == net.backend.trouble() == {}


def test_a_restart_does_not_take_the_ports_of_adopted_flows(net):
    """Nine source ports, one of them in use by a flow that the former daemon made."""
    config = ONE_POOL + "source-ports: 20000-20008\n"
    ladon, sock = one_flow(net, config=config)
    ladon.kill9()

    again = net.ladond(config)
    others = [ends.connect(net.client) for _ in range(12)]
    for other in others:
        chat(other)

    chat(sock, b"the first one")
    sources = [flow["source"] for flow in again.flows()]
    assert len(sources) == len(set(sources))
    assert again.reasons().keys() == {"no_port"}
    for one in (sock, *others):
        one.close()


def test_flows_end_while_no_daemon_is_there(net):
    """FIN and last ACK pass without a daemon; the next one clears the entry away."""
    ladon, sock = one_flow(net)
    ladon.kill9()
    sock.close()

    again = net.ladond(ONE_POOL)

    until(lambda: again.flows() == [], "no flow")
    assert net.client.trouble() == net.backend.trouble() == {}


def test_two_daemons_do_not_share_a_control_socket(net):
    net.ladond(ONE_POOL)

    second = net.ladond(ONE_POOL.replace("8080", "8081") + "handoff: no\n", wait=False)

    assert second.process.wait(20) == 1
    assert f"control {second.control}: in use: another ladond answers there" in second.log()
