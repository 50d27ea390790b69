# SPDX-License-Identifier: GPL-2.0-only
"""After any number of connections the daemon has what it had before: descriptors, memory, flows, ports.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4

Connections that are handed off, relayed, refused and killed, by turns; LADON_SOAK=N
is how many, instead of 3,000.
"""
import os
import re
import signal

from lib import ends
from lib.chaos import Chaos, Place
from lib.net import BACKENDS, GATEWAY, until

CONNECTIONS = int(os.environ.get("LADON_SOAK", "3000"))
WARM_UP = 1000
RANGE, KILLED = 1000, 20  # source ports; each is used twice at least
GROWTH_KB = 256
TURNS = 3

CONFIG = f"""
source-ports: 20000-{20000 + RANGE - 1}
listeners:
  - {{listen: "0.0.0.0:8081", pool: handed-off}}
  - {{listen: "0.0.0.0:8082", pool: relayed, handoff: no}}
  - {{listen: "0.0.0.0:8083", pool: nobody}}
  - {{listen: "0.0.0.0:8084", pool: killed}}
pools:
  - {{name: handed-off, backends: ["10.0.2.2:9001"]}}
  - {{name: relayed, backends: ["10.0.2.3:9001"]}}
  - {{name: nobody, backends: ["10.0.2.4:9001"]}}
  - {{name: killed, backends: ["10.0.2.2:9002"]}}
"""
PLACES = [Place(GATEWAY, 8081)] * 4 + [Place(GATEWAY, 8082), Place(GATEWAY, 8083)]


def polite(dice, is_client):
    """Ends that do not leave before they have heard something: all that can be handed off is."""
    say = [("say", dice.choice((1, 100, 1000, 5000, 40000)))]
    if not is_client:
        return [("hear", 8), *say, ("hear all", 0), ("fin", 0)]
    return [*say, ("hear", 8), (dice.choice(("fin", "fin", "fin", "close", "reset")), 0)]


def rss_anon_kb(ladon):
    with open(f"/proc/{ladon.pid}/status") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1])


def holdings(net, ladon):
    """What it holds when nobody talks: descriptors, memory, flows that are not waiting for a killed end, its counts."""
    until(lambda: not [f for f in ladon.ask("flow show")["flows"] if f["state"] != "killed"], "no live flow", 15)
    until(lambda: not net.gateway.sockets(), "no sockets on the gateway")
    pools = [sum(b["flows"] for b in pool["backends"]) for pool in ladon.ask("pool show")["pools"]]
    return {"fds": ladon.fds(), "open": ladon.connections()["open"], "pools": pools}, rss_anon_kb(ladon)


def hand_off(net, ladon, count, port):
    """count() connections that are handed off at once; some may need a second try, as long as ports rest."""
    socks = []

    def another():
        handed_off = ladon.connections()["handed_off"]
        sock = ends.connect(net.client, port=port)
        ends.ask(sock)
        if ladon.connections()["handed_off"] > handed_off:
            socks.append(sock)
        else:
            sock.close()
        return len(socks) >= count()

    until(another, "so many have found source ports", 90)
    return socks


def kill_some(net, ladon):
    for sock in hand_off(net, ladon, lambda: KILLED, 8084):
        assert ladon.command("flow", "kill", "client", "%s:%d" % sock.getsockname()).returncode == 0
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            sock.close()


def test_nothing_grows(net):
    signal.alarm(60 + TURNS * CONNECTIONS // 100)
    ladon = net.ladond(CONFIG, "--log", "info", GLIBC_TUNABLES="")  # what it holds is weighed: no large pages
    ends.Server(net.backend, ends.echo, port=9002)
    chaos = Chaos(net, PLACES, [(BACKENDS[0], 9001, False), (BACKENDS[1], 9001, False)], "soak",
                  at_once=64, drawn=polite)
    net.client.sysctl("net.ipv4.tcp_max_tw_buckets", 64)

    chaos.run(lambda: chaos.connections < WARM_UP)
    kill_some(net, ladon)
    before, after_kb = holdings(net, ladon)
    for turn in range(1, TURNS + 1):  # more may be held at a time than ever before, once or twice; a leak grows each time
        before_kb, until_then = after_kb, WARM_UP + turn * CONNECTIONS
        chaos.run(lambda: chaos.connections < until_then)
        kill_some(net, ladon)
        after, after_kb = holdings(net, ladon)
        if after_kb - before_kb < GROWTH_KB:
            break

    chaos.judge_all()
    print(f"{ladon.connections()}, {ladon.reasons()}, RssAnon {before_kb} kB, then {after_kb} kB, "
          f"{chaos.bytes} bytes compared")
    refused = sum(1 for end in chaos.clients.values() if end.place.port == 8083)
    assert chaos.doubtful <= refused
    assert [c for c in chaos.complaints if "clients met no backend" not in c] == []
    assert after == before and after["fds"] <= ladon.fds_at_start and after["pools"] == [0, 0, 0, 0]
    assert after_kb - before_kb < GROWTH_KB
    chaos.close()
    ends.Server(net.backend, ends.echo, port=9001)

    def left():
        reasons = ladon.reasons("relay")
        return RANGE - sum(reasons.values()) + reasons.get("no_port", 0) + reasons["handoff_off"]  # others rest for a minute

    for sock in hand_off(net, ladon, left, 8081):  # not one source port is lost
        sock.close()
    assert ladon.stop() == 0
