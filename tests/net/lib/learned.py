# SPDX-License-Identifier: GPL-2.0-only
"""learned.py - connections that the gateway only forwards: the rules and NAT that they meet, and both their ends"""
import socket

import pytest

from . import ends
from .net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, LINUX, join, until

PORT = 8080
ACCELERATE = "accelerate: yes\n"

# What is invalid gets no NAT either, and may never come to be forwarded: it is counted before.
STATEFUL = """table inet filter {
    chain arrives {
        type filter hook prerouting priority filter;
        ct state invalid counter name invalid
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        meta l4proto { tcp, udp } th dport 8080 accept
    }
    counter invalid { }
}
"""


def nat(to="", masquerade=False):
    """A ruleset: what clients ask for goes there, and from where the gateway is."""
    dnat = f"iifname client0 meta l4proto {{ tcp, udp }} th dport {PORT} dnat {to};" if to else ""
    return f"""table inet nat {{
        chain pre {{ type nat hook prerouting priority dstnat; {dnat} }}
        chain post {{ type nat hook postrouting priority srcnat;
                     {"oifname backend0 masquerade;" if masquerade else ""} }}
    }}
    """


# name: rules, where clients connect to, where the backend is, and who it sees
WAYS = {
    "routed": ("", BACKENDS[0], BACKENDS[0], CLIENT),
    "routed6": ("", BACKENDS6[0], BACKENDS6[0], CLIENT6),
    "masquerade": (nat(masquerade=True), BACKENDS[0], BACKENDS[0], GATEWAY_BACK),
    "masquerade6": (nat(masquerade=True), BACKENDS6[0], BACKENDS6[0], GATEWAY_BACK6),
    "dnat": (nat("ip to 10.0.2.2:8080"), GATEWAY, BACKENDS[0], CLIENT),
    "both": (nat("ip to 10.0.2.2:8080", masquerade=True), GATEWAY, BACKENDS[0], GATEWAY_BACK),
    "both6": (nat("ip6 to [fd00:2::2]:8080", masquerade=True), GATEWAY6, BACKENDS6[0], GATEWAY_BACK6),
}


TOO_OLD = LINUX < (6, 2), "Linux before 6.2 does not let programs see conntrack's entries"
LINUX_LEARNS = pytest.mark.skipif(TOO_OLD[0], reason=TOO_OLD[1])


def start(net, way="", accelerate=ACCELERATE):
    """A firewall with this NAT, or none, and ladond on it. accelerate: its configuration; None: no ladond."""
    if TOO_OLD[0]:
        pytest.skip(TOO_OLD[1])
    net.forward()
    net.client.ip("route add 10.0.2.0/24 via 10.0.1.9", "route add fd00:2::/64 via fd00:1::9")
    net.backend.ip("route add 10.0.1.0/24 via 10.0.2.9", "route add fd00:1::/64 via fd00:2::9")
    net.gateway.nft(STATEFUL + (WAYS[way][0] if way else ""))
    return net.ladond(accelerate) if accelerate else None


def learned(ladon):
    return [flow for flow in ladon.ask("flow show")["flows"] if flow["by"] in ("learned", "forward")]


def why(ladon, protocol, source, dest):
    """What becomes of packets that arrive with these addresses."""
    return ladon.ask("flow why", protocol=protocol, **{"from": join(*source[:2]), "to": join(*dest[:2])})["why"]


def until_learned(ladon, sock):
    """Ask until both directions take the short way. Return: the flow."""
    def both():
        ends.ask(sock)
        flows = learned(ladon)
        return flows[0] if flows and flows[0]["packets_in"] and flows[0]["packets_out"] else None

    return until(both, "both directions are learned")


GO = bytes(len(ends.WORD))


def chat(size, say):
    """A server that answers until it is told to go on, then exchanges bulk data. Its result: the client it saw, and what it heard."""
    def serve(sock):
        while ends.receive_exactly(sock, len(GO)) != GO:
            sock.sendall(ends.WORD)
        return sock.getpeername()[0], ends.exchange(sock, size, say)

    return serve


def invalid(net):
    """Packets that conntrack took for invalid ones."""
    return net.gateway.named_counter("filter", "invalid")


class Udp:
    """A client and an echo of the backend's. ask() says whether an answer has come, and by which source the question came."""

    def __init__(self, net, way):
        """way: a name of WAYS, or a tuple like theirs"""
        _, front, backend, self.seen = WAYS.get(way, way)
        self.server = net.backend.socket(backend, socket.SOCK_DGRAM)
        self.server.bind((backend, PORT))
        self.sock = net.client.socket(front, socket.SOCK_DGRAM)
        self.sock.connect((front, PORT))
        self.asked = 0

    def arrives(self, data=b"?", seconds=2.0):
        """Does a question come to the server?"""
        self.asked += 1
        question = b"%d %s" % (self.asked, data)
        self.server.settimeout(seconds)
        self.sock.send(question)
        try:
            while True:
                got, self.source = self.server.recvfrom(65536)
                if got == question:
                    return True
        except (TimeoutError, BlockingIOError):
            return False

    def ask(self, data=b"?"):
        assert self.arrives(data)
        assert self.source[0] == self.seen
        self.server.sendto(b"!" + data, self.source)
        assert self.sock.recv(65536) == b"!" + data

    def until_learned(self, ladon):
        def both():
            self.ask()
            flows = learned(ladon)
            return flows[0] if flows and flows[0]["packets_in"] and flows[0]["packets_out"] else None

        return until(both, "both directions are learned")

    def fast(self, ladon, count=20):
        """How many of so many questions and answers take the short way."""
        before = ladon.reasons("packet").get("learned", 0)
        for _ in range(count):
            self.ask()
        return ladon.reasons("packet")["learned"] - before


def mtu(sock, six):
    return sock.getsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, 24 if six else 14)  # IPV6_MTU, IP_MTU
