# SPDX-License-Identifier: GPL-2.0-only
"""Whatever two ends do, each hears exactly what the other said, and ends come from ends only.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
              fd00:1::/64             fd00:2::/64

Random ends through every kind of listener, see lib/chaos.py for what they do and
for the model. LADON_SEED=N repeats a run, LADON_CHAOS_SECONDS=N lets each
last longer than 1 s.
"""
import collections
import os
import random
import re
import signal
import time

import pytest

from lib import ends
from lib.chaos import Chaos, Place, http_hello, tls_hello
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, is_ipv6, until

SECONDS = float(os.environ.get("LADON_CHAOS_SECONDS", "1"))
SEED = int(os.environ.get("LADON_SEED", random.SystemRandom().randrange(1 << 32)))

CONFIG = """
listeners:
  - {listen: "0.0.0.0:8081", pool: four}
  - {listen: "[::]:8081", pool: six}
  - {listen: "0.0.0.0:8082", pool: first-is-gone}
  - {listen: "0.0.0.0:8083", pool: speaks-first}
  - {listen: "[::]:8083", pool: speaks-first6}
  - listen: "0.0.0.0:8084"
    routes: [{tls: "*.example.org", pool: four}, {http: "*.example.org", pool: four}]
  - listen: "[::]:8084"
    routes: [{tls: "*.example.org", pool: six}, {http: "*.example.org", pool: six}]
  - {listen: "0.0.0.0:8085", pool: four, handoff: no}
  - {listen: "0.0.0.0:8086", pool: six}
pools:
  - {name: four, backends: ["10.0.2.2:9001"]}
  - {name: six, backends: ["[fd00:2::2]:9001"]}
  - {name: first-is-gone, backends: ["10.0.2.4:9001", "10.0.2.3:9001"]}
  - {name: speaks-first, backends: ["10.0.2.2:9003"]}
  - {name: speaks-first6, backends: ["[fd00:2::2]:9003"]}
"""
PLACES = [
    Place(GATEWAY, 8081), Place(GATEWAY6, 8081), Place(GATEWAY, 8082),
    Place(GATEWAY, 8083, server_first=True), Place(GATEWAY6, 8083, server_first=True),
    Place(GATEWAY, 8084, hello=tls_hello), Place(GATEWAY, 8084, hello=http_hello),
    Place(GATEWAY6, 8084, hello=tls_hello), Place(GATEWAY6, 8084, hello=http_hello),
    Place(GATEWAY, 8085), Place(GATEWAY, 8086),
]
LISTENING = [(BACKENDS[0], 9001, False), (BACKENDS[1], 9001, False), (BACKENDS6[0], 9001, False),
             (BACKENDS[0], 9003, True), (BACKENDS6[0], 9003, True)]


class Log:
    """What ladond's log, which one daemon continues where another ended, tells of handoffs."""

    ACCEPT = re.compile(r"(#\d+) accept: \S*:(\d+) at (\S+)$", re.M)
    HANDOFF = re.compile(r"(#\d+) handoff: flow")

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.accepted = collections.Counter()  # connections of a client's port to a listener
        self.handed_off = {}                   # the last of them was

    def read(self):
        """To be called when a daemon has ended: numbers begin again."""
        by_id = {}
        with open(self.path) as file:
            file.seek(self.offset)
            for line in file:
                if found := self.ACCEPT.search(line):
                    key = by_id[found[1]] = int(found[2]), found[3]
                    self.accepted[key] += 1
                    self.handed_off[key] = False
                elif found := self.HANDOFF.search(line):
                    self.handed_off[by_id[found[1]]] = True
            self.offset = file.tell()

    def known(self, clients):
        """Numbers of clients that were handed off for certain: every connection from their port was accepted."""
        users = collections.defaultdict(list)
        for end in clients:
            listen = "[::]" if is_ipv6(end.place.address) else "0.0.0.0"
            users[end.port, f"{listen}:{end.place.port}"].append(end.number)
        return {numbers[-1] for key, numbers in users.items()
                if self.handed_off.get(key) and self.accepted[key] == len(numbers)}


def kill_again_and_again(net, ladon, chaos, dice, deadline):
    """Signal 9, and the next daemon, with or without the handoff. Return: the last one."""
    log = Log(ladon.log_path)
    while True:
        time.sleep(dice.uniform(0.2, 0.8))
        begin = time.monotonic()
        ladon.kill9()
        log.read()
        chaos.handed_off |= log.known(list(chaos.clients.values()))
        last = time.monotonic() > deadline
        without = "handoff: no\n" if dice.random() < 0.2 and not last else ""
        ladon = net.ladond(CONFIG + without)
        chaos.kills.append((begin, time.monotonic()))
        if last:
            return ladon


@pytest.mark.parametrize("faults", ["none", "loss", "kills", "loss and kills"])
def test_random_events(net, faults):
    signal.alarm(int(SECONDS + 55))
    dice = random.Random(f"{SEED}:{faults}")
    ladon = net.ladond(CONFIG)
    chaos = Chaos(net, PLACES, LISTENING, f"{SEED}:{faults}", lossy="loss" in faults)
    net.client.sysctl("net.ipv4.ip_local_port_range", "40000 40999")  # ports come again, at once
    net.client.sysctl("net.ipv4.tcp_max_tw_buckets", 64)
    if "loss" in faults:
        for end in (net.client, net.backend, net.gateway):
            end.lose("meta l4proto tcp", percent=1)
            end.repeat_after(200)  # as the kernel would: more happens
    deadline = time.monotonic() + SECONDS
    killer = ends.spawn(kill_again_and_again, net, ladon, chaos, dice, deadline) if "kills" in faults else None

    chaos.run(lambda: time.monotonic() < deadline)
    ladon = killer.result(30) if killer else ladon

    chaos.judge_all()
    print(f"seed {SEED}, {faults}: {chaos.connections} connections, {chaos.bytes} bytes compared, "
          f"{ladon.log().count(' handoff: flow ')} handed off, {len(chaos.kills)} kills outlived by "
          f"{chaos.outlived} ends, {dict(chaos.outcomes)}")
    assert not chaos.complaints, "\n".join([f"LADON_SEED={SEED}", *chaos.complaints[:10]])
    if "loss" in faults:
        return  # whose RST was lost is to be forgotten after hours only
    until(lambda: ladon.flows() == [], f"LADON_SEED={SEED}: no flow is left: {ladon.flows()[:3]}")
    ladon.wait_gone()
    assert ladon.stop() == 0
