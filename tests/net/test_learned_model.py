# SPDX-License-Identifier: GPL-2.0-only
"""A gateway that learns flows delivers what one without ladon delivers, whatever is done to both.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9 -- 10.0.5.0/24 --  .2
              fd00:1::/64             fd00:2::/64, fd00:5::/64

The second gateway is the model. A step of dice does the same to either, everybody says something, and what has been
heard after it must be the same. LADON_SEED=N repeats a run, LADON_MODEL_STEPS=N makes it longer.

No answer is waited for by the clock. All packets of a network are handled by one CPU in the order in which they were
sent, since nobody spreads flows over CPUs, asks for MAC addresses or limits ICMP; so what was said before a datagram that no
obstacle concerns has come, or does not come, when that is there. TCP says things again: while something
is in the way a connection says one thing, and when it is not any more, nothing else happens before all was heard.
"""
import contextlib
import errno
import json
import os
import random
import socket
import struct
import time

import pytest

from lib import ends
from lib.flow import loose, second_link
from lib.learned import LINUX_LEARNS, why
from lib.net import (BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, run, until)

SEED = int(os.environ.get("LADON_SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = int(os.environ.get("LADON_MODEL_STEPS", 30))
FLOWS = 6  # at a time
CONFIRMS = ("30s", "100ms")  # of one ladond and the next: the longer one hides nothing that is not heard of
REST = 0.15  # seconds: more than the shorter one
FENCE = 9999
WAYS = {"routed": 8100, "snat": 8200, "dnat": 8300, "both": 8400}  # and the first of their hundred ports

RULES = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        udp dport 9999 accept
        meta l4proto { tcp, udp } th dport 8100-8499 accept
    }
}
table inet nat {
    chain pre {
        type nat hook prerouting priority dstnat;
        ip daddr 10.0.1.9 meta l4proto { tcp, udp } th dport 8300-8499 dnat ip to 10.0.2.2
        ip6 daddr fd00:1::9 meta l4proto { tcp, udp } th dport 8300-8499 dnat ip6 to fd00:2::2
    }
    chain post {
        type nat hook postrouting priority srcnat;
        ip daddr 10.0.2.2 meta l4proto { tcp, udp } th dport { 8200-8299, 8400-8499 } snat ip to 10.0.2.9
        ip6 daddr fd00:2::2 meta l4proto { tcp, udp } th dport { 8200-8299, 8400-8499 } snat ip6 to fd00:2::9
    }
}
table inet obstacles { chain forward { type filter hook forward priority -1; }
}
"""

# name: (what puts it there, what takes it away), of nft(8) or ip(8)
OBSTACLES = {
    **{f"{verdict} {protocol} {port}": (f"nft add rule inet obstacles forward {protocol} {port} 8100-8499 {verdict}",
                                        "nft flush chain inet obstacles forward")
       for verdict in ("drop", "reject") for protocol in ("udp", "tcp") for port in ("sport", "dport")},
    **{f"{kind} {address}": (f"ip route add {kind} {address} metric 1", f"ip route del {kind} {address} metric 1")
       for kind in ("blackhole", "prohibit") for address in (BACKENDS[0], BACKENDS6[0])},
}
DETOURS = {BACKENDS[0]: f"{BACKENDS[0]} via 10.0.5.2 dev backend1 metric 2", BACKENDS6[0]: f"{BACKENDS6[0]} via fd00:5::2 dev backend1 metric 2"}


class Flow:
    """Of both networks. client, front, backend: addresses, and how the client calls the backend."""

    def __init__(self, number, tcp, six, way):
        self.number, self.tcp, self.way = number, tcp, way
        self.port = WAYS[way] + number % 100
        self.client, self.backend = (CLIENT6, BACKENDS6[0]) if six else (CLIENT, BACKENDS[0])
        self.front = self.backend if way in ("routed", "snat") else GATEWAY6 if six else GATEWAY
        self.has_spoken = False  # since something is in the way

    def __repr__(self):
        return f"{self.number}: {'tcp' if self.tcp else 'udp'} {self.front} {self.way}"


class World:
    """One network. socks: of each flow the client's and the backend's socket; owed: how many bytes of TCP are to come there."""

    def __init__(self, net, accelerate):
        self.net, self.accelerate = net, accelerate
        self.socks, self.owed, self.errors = {}, {}, set()
        self.alive, self.macs, self.starts = False, 0, 0
        self._still()
        net.forward()
        net.gateway.nft(RULES)
        net.gateway.sysctl("net.netfilter.nf_conntrack_udp_timeout", 300)  # longer than any of CONFIRMS
        self._neighbours()
        self._fence()
        self.start()

    def _still(self):
        """Nothing happens at its own time, or elsewhere."""
        net = self.net
        second_link(net)
        loose(net)
        for space in net.spaces:
            run("ip", "netns", "exec", space.name, "sh", "-c", "for f in /sys/class/net/*/queues/rx-*/rps_cpus; do echo 0 > $f; done")
            for name in ("net.ipv4.icmp_ratelimit", "net.ipv4.icmp_ratemask", "net.ipv6.icmp.ratelimit"):
                space.sysctl(name, 0)

    def _mac(self, space, device):
        return json.loads(run("ip", "-n", space.name, "-j", "link", "show", device))[0]["address"]

    def _neighbours(self):
        """Everybody knows everybody's MAC address."""
        net = self.net
        for space, device, other, far, addresses in (
                (net.client, "eth0", net.gateway, "client0", (GATEWAY, GATEWAY6)),
                (net.backend, "eth0", net.gateway, "backend0", (GATEWAY_BACK, GATEWAY_BACK6)),
                (net.gateway, "client0", net.client, "eth0", (CLIENT, CLIENT6)),
                (net.gateway, "backend0", net.backend, "eth0", BACKENDS + BACKENDS6),
                (net.gateway, "backend1", net.backend, "eth1", ("10.0.5.2", "fd00:5::2"))):
            mac = self._mac(other, far)
            space.ip(*(f"neigh replace {address} lladdr {mac} dev {device} nud permanent" for address in addresses))

    # ---- what steps do ----

    def start(self):
        if self.accelerate:
            confirm = CONFIRMS[self.starts % len(CONFIRMS)]
            with on_any_cpu():
                self.ladon = self.net.ladond(f"accelerate: {{confirm: {confirm}, packets: 2, except: {{ports: {FENCE}}}}}\n")
        self.alive = True
        self.starts += 1

    def kill(self):
        if self.accelerate:
            self.ladon.kill9()
        self.alive = False

    def change(self, command):
        """A line for nft(8) or ip(8) on the gateway."""
        program, line = command.split(" ", 1)
        getattr(self.net.gateway, program)(line)

    def mac(self):
        """The backend has another network card."""
        self.macs += 1
        self.net.backend.ip(f"link set eth0 address 02:00:00:00:01:{self.macs:02x}")
        self._neighbours()

    def quiet(self, flows):
        """Nothing is under way: an acknowledgement that is late, and lost in one of the two worlds only, would be repeated for."""
        until(lambda: not any(ends.unacknowledged(sock) for flow in flows if flow.tcp for sock in self.socks[flow.number]),
              "all was acknowledged")

    def flush(self, flow):
        """Conntrack forgets a flow. By nothing is that told; a route makes all ask again.

        An acknowledgement that is late would be the backend's, and find nobody: it is waited for.
        """
        self.quiet([flow])
        protocol = "tcp" if flow.tcp else "udp"
        done = self.net.gateway.run("conntrack", "-D", "-p", protocol, "-f", "ipv6" if ":" in flow.client else "ipv4",
                                    "--orig-port-src", str(flow.port + 10000))
        assert done.returncode == 0, done.stderr
        self.net.gateway.ip("route add blackhole 192.0.2.1", "route del blackhole 192.0.2.1",
                            "route add blackhole 2001:db8::1", "route del blackhole 2001:db8::1")

    def open(self, flow):
        kind = socket.SOCK_STREAM if flow.tcp else socket.SOCK_DGRAM
        server, client = self.net.backend.socket(flow.backend, kind), self.net.client.socket(flow.front, kind)
        server.bind((flow.backend, flow.port))
        client.bind((flow.client, flow.port + 10000))
        if flow.tcp:
            server.listen()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.connect((flow.front, flow.port))
            listener, (server, source) = server, server.accept()
            listener.close()
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            client.connect((flow.front, flow.port))
            client.send(b"hello")
            data, source = server.recvfrom(100)
            server.connect(source)
        self.socks[flow.number] = client, server
        return source[:2]

    def close(self, flow, how):
        """Return: what the backend makes of it"""
        client, server = self.socks.pop(flow.number)
        with client, server:
            if not flow.tcp:
                return None
            if how == "reset":
                ends.reset(client)
                with pytest.raises(ConnectionResetError):
                    server.recv(1)
                return how
            for one, other in ((client, server), (server, client)) if how == "client first" else ((server, client), (client, server)):
                one.shutdown(socket.SHUT_WR)
                assert other.recv(1) == b""
        return how

    def chat(self, flow):
        """Words there and back, until it is learned if it can be."""
        client, server = self.socks[flow.number]

        def words():
            for _ in range(20):
                for one, other in ((client, server), (server, client)):
                    one.send(ends.WORD)
                    assert other.recv(100) == ends.WORD
            return not self.accelerate or not self.alive or self.is_learned(flow)

        until(words, f"{flow} is learned")

    def is_learned(self, flow):
        """Either direction: they may take different ways."""
        client, server = self.socks[flow.number]
        protocol = "tcp" if flow.tcp else "udp"
        return {why(self.ladon, protocol, sock.getsockname(), sock.getpeername()) for sock in (client, server)} == {"learned"}

    # ---- what is said and heard ----

    def _fence(self):
        """Datagrams that come behind all that was sent before them, there and back."""
        self.echo = self.net.backend.socket(BACKENDS[2], socket.SOCK_DGRAM)
        self.echo.bind((BACKENDS[2], FENCE))
        self.fence = self.net.client.socket(BACKENDS[2], socket.SOCK_DGRAM)
        self.fence.connect((BACKENDS[2], FENCE))
        self.fences = 0

    def behind_all(self):
        self.fences += 1
        said = struct.pack("!I", self.fences)
        self.fence.send(said)
        data, source = self.echo.recvfrom(100)
        self.echo.sendto(data, source)
        assert self.fence.recv(100) == said

    def say(self, flow, side, data):
        """side: 0: the client"""
        if flow.tcp:
            self.owed[flow.number, 1 - side] = self.owed.get((flow.number, 1 - side), 0) + len(data)
        sock = self.socks[flow.number][side]
        try:
            sock.send(data)
        except OSError as error:  # which a former datagram met
            self.errors.add((flow.number, side, errno.errorcode[error.errno]))
            sock.send(data)

    def hear(self, flows, all_of_tcp):
        """What each end has heard, and the errors that it met. all_of_tcp: wait for all that TCP owes."""
        heard = {(flow.number, side): [] for flow in flows for side in (0, 1)}

        def listen():
            for flow in flows:
                for side in (0, 1):
                    new = self.drain(flow, side)
                    heard[flow.number, side] += new
                    if flow.tcp and new:
                        self.owed[flow.number, side] -= len(b"".join(new))
            return not all_of_tcp or not any(self.owed.values())

        self.behind_all()
        until(listen, f"TCP has brought all; {self.owed}", 30)  # it may have been kept waiting for as long as that
        errors, self.errors = self.errors, set()
        streams = {flow.number for flow in flows if flow.tcp}
        return {key: [b"".join(said)] if key[0] in streams else said for key, said in heard.items()}, errors

    def drain(self, flow, side):
        """All that is there."""
        sock, said = self.socks[flow.number][side], []
        sock.setblocking(False)
        while True:
            try:
                data = sock.recv(65536)
                if not data and flow.tcp:
                    raise ConnectionAbortedError(errno.ECONNABORTED, "it has ended")
                said.append(data)
            except BlockingIOError:
                sock.settimeout(30)
                return said
            except OSError as error:
                self.errors.add((flow.number, side, errno.errorcode[error.errno]))
                assert not flow.tcp, (flow, side, error)  # nothing that is done here ends a connection


@contextlib.contextmanager
def on_any_cpu():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count()))
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@contextlib.contextmanager
def on_one_cpu():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


class Model:
    """What is done next, and to whom: by dice, and by what is the case in both worlds."""

    def __init__(self, dice, worlds):
        self.dice, self.worlds = dice, worlds
        self.flows, self.opened, self.said = [], 0, 0
        self.obstacle, self.detour = None, None
        self.told = []  # what has been done
        self.kills = 2

    def each(self, what, *args):
        """Both worlds do it. What comes of it is the same."""
        one, other = (getattr(world, what)(*args) for world in self.worlds)
        assert one == other, f"{what} {args}: {one}, without ladon {other}"

    def step(self):
        possible = ["mac", "rest", "clear" if self.obstacle else "block"]
        if not self.obstacle:
            possible += ["chat", "chat", "chat", "flush", "turn", "close" if len(self.flows) == FLOWS else "open"]
        if self.kills:
            possible += ["kill" if self.worlds[0].alive else "start"]
        getattr(self, self.dice.choice(possible))()
        self.everybody_speaks()

    def tell(self, *words):
        self.told.append(" ".join(str(word) for word in words))

    def mac(self):
        self.tell("another MAC address")
        self.each("mac")

    def rest(self):
        self.tell("rest")
        time.sleep(REST)

    def block(self):
        self.obstacle = self.dice.choice(list(OBSTACLES))
        self.tell("block:", self.obstacle)
        self.each("quiet", self.flows)
        self.each("change", OBSTACLES[self.obstacle][0])

    def clear(self):
        """What TCP has said in vain is heard now, before anything else is said."""
        self.tell("clear")
        self.each("change", OBSTACLES[self.obstacle][1])
        self.obstacle = None
        for flow in self.flows:
            flow.has_spoken = False
        self.each("hear", self.flows, True)

    def turn(self):
        if self.detour:
            self.each("change", f"ip route del {DETOURS[self.detour]}")
            self.detour = None
        else:
            self.detour = self.dice.choice(list(DETOURS))
            self.each("change", f"ip route add {DETOURS[self.detour]}")
        self.tell("turn to", self.detour)

    def open(self):
        flow = Flow(self.opened, self.dice.random() < .5, self.dice.random() < .5, self.dice.choice(list(WAYS)))
        self.opened += 1
        self.tell("open", flow)
        self.each("open", flow)
        self.flows.append(flow)

    def close(self):
        flow = self.flows.pop(self.dice.randrange(len(self.flows)))
        how = self.dice.choice(("client first", "backend first", "reset"))
        self.tell("close", flow, how)
        self.each("close", flow, how)

    def chat(self):
        if self.flows:
            flow = self.dice.choice(self.flows)
            self.tell("chat", flow)
            self.each("chat", flow)

    def flush(self):
        """Then the client speaks first: nobody knows the backend without it."""
        if not self.flows:
            return
        flow = self.dice.choice(self.flows)
        self.tell("flush", flow)
        self.each("flush", flow)
        self.each("say", flow, 0, b"it is me")
        self.each("hear", self.flows, True)

    def kill(self):
        self.tell("kill ladond")
        self.each("kill")

    def start(self):
        self.tell("start ladond")
        self.kills -= 1
        self.each("start")

    def everybody_speaks(self):
        for flow in self.flows:
            sides = [0, 1]
            self.dice.shuffle(sides)
            if flow.tcp and self.obstacle:
                sides = [] if flow.has_spoken else sides[:1]
                flow.has_spoken = True
            for side in sides:
                for _ in range(1 if flow.tcp and self.obstacle else self.dice.randrange(1, 4)):
                    self.said += 1
                    self.each("say", flow, side, b"%d:%d;" % (flow.number, self.said) + bytes(self.dice.choice((0, 1, 500, 1200))))
        self.each("hear", self.flows, not self.obstacle)


@LINUX_LEARNS
def test_the_same_is_delivered(net):
    """After every step."""
    other = type(net)()
    model = None
    try:
        with on_one_cpu():
            worlds = World(net, True), World(other, False)
            model = Model(random.Random(SEED), worlds)
            for _ in range(FLOWS):
                model.open()
            model.everybody_speaks()
            for _ in range(STEPS):
                model.step()
            model.each("hear", model.flows, not model.obstacle)
    finally:
        print(f"LADON_SEED={SEED}", *(model.told if model else ()), sep="\n")
        other.close()
