# SPDX-License-Identifier: GPL-2.0-only
"""Ends that say nothing: limits of their own for each listener and state, probes, and who is told what.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import contextlib
import json
import os
import socket

import pytest

from lib import ends, wire
from lib.gateway import FAMILIES, one_pool
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, until

AT, BACKEND, CONFIG = FAMILIES[0]
BOTH = pytest.mark.parametrize("at, backend, config", FAMILIES, ids=("ipv4", "ipv6"))
CROSSED = [(GATEWAY, BACKENDS6[0], one_pool("[fd00:2::2]:8080")),
           (GATEWAY6, BACKENDS[0], one_pool("10.0.2.2:8080", listen="[::]:8080"))]
KEEPALIVE = "timeouts: {keepalive: {after: 1s, interval: 1s, probes: 3}}\n"
TWO_LISTENERS = """
listeners:
  - {{listen: "0.0.0.0:8080", pool: only, timeouts: {{{first}}}}}
  - {{listen: "0.0.0.0:8081", pool: only}}
pools:
  - {{name: only, backends: ["10.0.2.2:8080"]}}
{more}"""


def chat(front, back, word=b"as before"):
    """Each says a word, and the other hears it."""
    for one, other in ((front, back), (back, front)):
        one.sendall(word)
        assert ends.receive_exactly(other, len(word)) == word


def is_told(sock, seconds=10):
    """By a RST, though it is silent."""
    sock.settimeout(seconds)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def no_flow_is_left(ladon):
    until(lambda: ladon.ask("flow show")["flows"] == [], "no flow is left", 15)


def probes(ladon):
    return ladon.reasons("packet").get("probe", 0)


def wait_probes(ladon, more=1, seconds=20):
    goal = probes(ladon) + more
    until(lambda: probes(ladon) >= goal, f"{goal} probes", seconds)


def answers(segments):
    """Acknowledgements of the captured end's own."""
    return [s for s in segments if not s.incoming and s.flags == wire.ACK and not s.length]


class Logged:
    """Keys of a configuration that make an access log, and its lines."""

    def __init__(self, net):
        self.path = os.path.join(net.dir, "access.log")
        self.keys = f"access-log: {{to: {self.path}}}\n"

    def line(self):
        def lines():
            with open(self.path) as file:
                return file.read().splitlines()

        text, = until(lines, "a line in the access log")
        return json.loads(text)


# ---- limits ----

def test_each_listener_has_its_own_limit(net):
    ladon = net.ladond(TWO_LISTENERS.format(first="idle: 1500ms", more=""))
    short, short_back = ends.meet(net, ladon)
    long, long_back = ends.meet(net, ladon, port=8081)
    with short, short_back, long, long_back:
        is_told(short)
        is_told(short_back)
        until(lambda: len(ladon.ask("flow show")["flows"]) == 1, "one is left")
        chat(long, long_back)
    no_flow_is_left(ladon)
    assert net.trouble() == {}


def test_a_half_closed_flow_has_another_limit(net):
    ladon = net.ladond(CONFIG + "timeouts: {idle: 1d, half-closed: 500ms}\n")
    front, back = ends.meet(net, ladon)
    other, other_back = ends.meet(net, ladon)
    with front, back, other, other_back:
        back.shutdown(socket.SHUT_WR)
        assert front.recv(1) == b""
        until(lambda: len(ladon.flows()) == 1, "it has ended")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            until(lambda: front.sendall(b"too late"), "it is told")
        is_told(back)
        chat(other, other_back)


@pytest.mark.parametrize("how", ["kill9", "reload"])
@pytest.mark.parametrize("mine, others", [("500ms", "1d"), ("1d", "500ms")])
def test_a_flow_keeps_the_limit_that_it_was_made_with(net, mine, others, how):
    """Whatever the next configuration says; a short one of the others is seen to run out."""
    ladon = net.ladond(CONFIG + f"timeouts: {{idle: {mine}}}\n", "--log", "info")
    front, back = ends.meet(net, ladon)
    if how == "kill9":
        ladon.kill9()
        ladon = net.ladond(CONFIG + f"timeouts: {{idle: {others}}}\n")
    else:
        ladon.reload(CONFIG + f"timeouts: {{idle: {others}}}\n")
    other, other_back = ends.meet(net, ladon)
    short, long = ((front, back), (other, other_back))[::1 if mine == "500ms" else -1]
    with front, back, other, other_back:
        is_told(short[0])
        is_told(short[1])
        chat(*long)


# ---- probes ----

@BOTH
def test_probes_disturb_nobody(net, at, backend, config):
    """Both ends answer; a transfer goes on behind them; and the answers do not make the flow less idle."""
    size = 3_000_000
    log = Logged(net)
    ladon = net.ladond(config + log.keys +
                       "timeouts: {idle: 9s, keepalive: {after: 1s, interval: 1s, probes: 2}}\n")
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        with wire.capture(net.client) as seen, wire.capture(net.backend) as back_seen:
            wait_probes(ladon, 6)
            until(lambda: len(answers(seen.segments)) >= 3 and len(answers(back_seen.segments)) >= 3,
                  "both have answered")
        assert all(not s.length and s.flags == wire.ACK for s in seen.segments + back_seen.segments)
        spoken = ends.spawn(ends.exchange, back, size, 1)
        assert ends.exchange(front, size, 2) == ends.expected(size, 1)
        assert spoken.result(20) == ends.expected(size, 2)
    no_flow_is_left(ladon)
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        wait_probes(ladon, 4)
        is_told(front, 20)
        is_told(back)
    assert net.trouble() == {}


@pytest.mark.parametrize("who", ["client", "backend"])
@pytest.mark.parametrize("at, backend, config", FAMILIES + CROSSED, ids=("ipv4", "ipv6", "4 to 6", "6 to 4"))
def test_an_end_that_is_dead_is_found(net, who, at, backend, config):
    """Its host hears nothing any more. The other end is told, and the port is free."""
    log = Logged(net)
    ladon = net.ladond(config + KEEPALIVE + log.keys)
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        if who == "client":
            lost = net.client.lose("tcp sport 8080")
        else:
            lost = net.backend.lose("tcp dport 8080")
        is_told(back if who == "client" else front, 20)
        assert lost() >= 3
        line = log.line()
        assert (line["how"], line["end"], line["by"]) == ("handoff", "dead", who)
        no_flow_is_left(ladon)


@pytest.mark.parametrize("who", ["client", "backend"])
def test_an_end_that_has_forgotten_the_connection_says_so(net, who):
    """Its host was restarted, and answers the probe with a RST, which the other end would not believe."""
    log = Logged(net)
    ladon = net.ladond(CONFIG + KEEPALIVE + log.keys)
    front, back = ends.meet(net, ladon)
    gone, stays = (front, back) if who == "client" else (back, front)
    with stays:
        ends.vanish(gone)
        is_told(stays, 20)
    no_flow_is_left(ladon)
    # Or it was faster to answer the other's answer, by a RST that the other does believe.
    assert ladon.reasons("packet").get("probe_reset", 0) <= 1
    line = log.line()
    assert (line["end"], line["by"]) == ("reset", who)


def test_a_half_closed_flow_is_probed_too(net):
    ladon = net.ladond(CONFIG + KEEPALIVE)
    front, back = ends.meet(net, ladon)
    with front, back:
        front.shutdown(socket.SHUT_WR)
        assert back.recv(1) == b""
        wait_probes(ladon, 8)
        assert [f["state"] for f in ladon.flows()] == ["half_closed"]
        spoken = ends.spawn(lambda: (ends.send(back, 200_000), back.shutdown(socket.SHUT_WR)))
        assert ends.receive(front) == ends.expected(200_000)
        spoken.result(10)
    no_flow_is_left(ladon)
    assert net.trouble() == {}


def test_probes_go_on_after_a_kill9(net):
    """What was counted stands in the flow: the next daemon finds the dead end no later."""
    ladon = net.ladond(CONFIG + KEEPALIVE)
    front, back = ends.meet(net, ladon)
    with front, back:
        net.client.lose("tcp sport 8080")
        wait_probes(ladon, 3)
        ladon.kill9()
        ladon = net.ladond(CONFIG)
        is_told(back, 20)


@pytest.mark.parametrize("option", ["net.ipv4.tcp_timestamps", "net.ipv4.tcp_sack"])
def test_without_timestamps_or_sack(net, option):
    net.client.sysctl(option, 0)
    ladon = net.ladond(CONFIG + KEEPALIVE)
    front, back = ends.meet(net, ladon)
    with front, back:
        wait_probes(ladon, 10)
        chat(front, back)
    assert net.trouble() == {}


def test_a_listener_without_keepalive_beside_one_with_it(net):
    ladon = net.ladond(TWO_LISTENERS.format(first="keepalive: no", more=KEEPALIVE))
    front, back = ends.meet(net, ladon)
    other, other_back = ends.meet(net, ladon, port=8081)
    with front, back, other, other_back, wire.capture(net.client) as seen:
        wait_probes(ladon, 6)
        chat(front, back)
    asked = {s.sport for s in seen.segments if s.incoming and s.ttl == 64 and not s.length}
    assert asked == {8081}


TRACK = """
    table inet track {
        chain in { type filter hook input priority filter; 
            ct state invalid drop
        }
        chain out { type filter hook output priority filter; 
            ct state new accept
        }
    }
"""


def test_probes_leave_no_trace_in_conntrack(net):
    net.gateway.nft(TRACK)
    ladon = net.ladond(CONFIG + KEEPALIVE)
    front, back = ends.meet(net, ladon)
    with front, back:
        until(lambda: net.gateway.tracked() == [], "conntrack has forgotten both connections")
        wait_probes(ladon, 6)
        assert net.gateway.tracked() == []
        chat(front, back)


@BOTH
@pytest.mark.parametrize("who", ["client", "backend"])
def test_mode_stack(net, who, at, backend, config):
    """Probes pass the firewall as the flow does, and make no entries of their own."""
    net.forward()
    ladon = net.ladond(config + KEEPALIVE + "mode: stack\n")
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        wait_probes(ladon, 4)
        assert len(net.gateway.tracked()) == 1
        chat(front, back)
        if who == "client":
            net.client.lose("tcp sport 8080")
        else:
            net.backend.lose("tcp dport 8080")
        is_told(back if who == "client" else front, 20)
    no_flow_is_left(ladon)
    assert net.gateway.tracked() == []


# ---- who is told ----

@BOTH
@pytest.mark.parametrize("mode", ["direct", "stack"])
def test_both_ends_of_a_killed_flow_are_told_at_once(net, at, backend, config, mode):
    net.forward()
    ladon = net.ladond(config + f"mode: {mode}\n")
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        assert ladon.ask("flow kill", all=True) == {"killed": 1}
        is_told(front)
        is_told(back)
    no_flow_is_left(ladon)
    assert net.trouble() == {}


@pytest.mark.parametrize("at, backend, config", CROSSED, ids=("4 to 6", "6 to 4"))
def test_probes_and_resets_cross(net, at, backend, config):
    """Between unlike families: both ends answer for a while, and then both are told."""
    ladon = net.ladond(config + KEEPALIVE)
    front, back = ends.meet(net, ladon, at, backend)
    with front, back:
        with wire.capture(net.client) as seen, wire.capture(net.backend) as back_seen:
            until(lambda: len(answers(seen.segments)) >= 3 and len(answers(back_seen.segments)) >= 3,
                  "both have answered", 20)
        chat(front, back)
        assert ladon.ask("flow kill", all=True) == {"killed": 1}
        is_told(front)
        is_told(back)
    no_flow_is_left(ladon)
    # Who has just answered may be asked a second time, by the other half of the circle: see probe.h.
    assert net.trouble() == {}


def test_both_ends_are_told_by_a_daemon_that_cuts(net):
    ladon = net.ladond(CONFIG, "--cut")
    pairs = [ends.meet(net, ladon) for _ in range(20)]
    ladon.stop()
    for front, back in pairs:
        with front, back:
            is_told(front)
            is_told(back)


def test_who_cannot_be_told_is_asked_a_few_times_and_then_forgotten(net):
    ladon = net.ladond(CONFIG)
    front, back = ends.meet(net, ladon)
    with front, back:
        lost = net.client.lose("tcp sport 8080")
        ladon.ask("flow kill", all=True)
        is_told(back)
        no_flow_is_left(ladon)
        assert lost() == 5
        lost.stop()
        with contextlib.suppress(BrokenPipeError):
            front.sendall(b"is anybody there?")
        is_told(front)


# ---- relayed connections ----

def test_a_relayed_connection_has_the_same_limits(net):
    ladon = net.ladond(CONFIG + "handoff: no\ntimeouts: {idle: 1d, half-closed: 500ms}\n")
    with ends.connect(net.client) as sock:
        server = ends.Server(net.backend, lambda s: s.recv(1))
        sock.close()
        del server
    ladon.wait_gone()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_dead_end_of_a_relayed_connection_is_found(net, who):
    ladon = net.ladond(CONFIG + KEEPALIVE + "handoff: no\n")
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client, GATEWAY) as sock:
        ends.ask(sock)
        if who == "client":
            net.client.lose("tcp sport 8080")
        else:
            net.backend.lose(f"ip daddr {BACKENDS[0]} tcp dport 8080")
        until(lambda: not net.gateway.sockets(), "both are closed", 20)
    ladon.wait_gone()
