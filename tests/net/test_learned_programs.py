# SPDX-License-Identifier: GPL-2.0-only
"""What people run through a router: iperf3, resolvers, QUIC, SIP. Nothing of it notices that it was learned.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
              fd00:1::/64             fd00:2::/64
"""
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess

import pytest

from lib import ends
from lib.dns import AAAA, A, NameServer
from lib.learned import PORT, WAYS, invalid, learned, start
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, LISTEN, is_ipv6, join, run, until

FAST_PACKETS = 100


def fast(ladon):
    """Packets that have taken the short way."""
    return ladon.reasons("packet").get("learned", 0)


# ---- iperf3 ----

IPERF = {
    "tcp": (GATEWAY,),
    "several streams, backward": (GATEWAY6, "-P", "4", "-R"),
    "both ways": (GATEWAY, "--bidir"),
    "udp": (GATEWAY6, "-u", "-l", "1200"),
    "udp, backward": (GATEWAY, "-u", "-l", "1200", "-R"),
}


def iperf(net, *options):
    """What the client's iperf3 tells in the end."""
    done = net.client.run("iperf3", "-J", "-p", str(PORT), *options)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and "error" not in told, done.stdout
    return told["end"]


def iperf_fast(net, ladon, *options):
    """... of a run in which the flows were learned: on a slow machine a second is soon over."""
    for seconds in ("1", "4", "16"):
        before = fast(ladon)
        end = iperf(net, "-t", seconds, "-b", "40M", "-c", *options)
        if fast(ladon) > before + FAST_PACKETS:
            return end
    raise AssertionError(f"not learned: {ladon.reasons('packet')}")


def overflown(net):
    """Datagrams that found a full queue: a reader's, or of a veth, whose other end's CPU was too slow."""
    full = 0
    for space in net.spaces:
        with space.enter(), open("/proc/thread-self/net/snmp6") as lines:
            six = dict(line.split() for line in lines)
        full += space.counter("UdpRcvbufErrors") + int(six["Udp6RcvbufErrors"])
        full += sum(link["stats64"]["tx"]["dropped"] for link in json.loads(run("ip", "-n", space.name, "-j", "-s", "link", "show")))
    return full


def test_iperf3(net):
    """Both protocols and families, several streams, either direction: nothing is repeated, damaged, out of order, or lost before its reader."""
    ladon = start(net, accelerate="accelerate: {packets: 2}\n")
    net.gateway.nft(WAYS["both"][0].replace("inet nat", "inet nat4") + WAYS["both6"][0].replace("inet nat", "inet nat6"))
    for space in (net.client, net.backend):  # fewer packets in flight than a veth's queue takes
        space.sysctl("net.ipv4.tcp_wmem", "4096 65536 131072")
    for backend in (BACKENDS[0], BACKENDS6[0]):  # one that listens to any answers datagrams from any
        net.backend.popen("iperf3", "-s", "-p", str(PORT), "-B", backend, stdout=subprocess.DEVNULL)
    until(lambda: [s[3] for s in net.backend.sockets(but=())] == [LISTEN] * 2, "both listen")
    for name, options in IPERF.items():
        lost = overflown(net)
        end = iperf_fast(net, ladon, *options)
        assert end["sum_received"]["bytes"] > ends.MB, name
        if name.startswith("udp"):
            assert [stream["udp"]["out_of_order"] for stream in end["streams"]] == [0]
            assert end["sum"]["lost_packets"] <= overflown(net) - lost  # those behind the last one that it reads are no gap
    assert invalid(net) == 0
    assert all(counters.keys() <= {"TcpOutRsts"} for counters in net.trouble().values())  # a server that ends with data unread


# ---- resolvers ----

RESOLVED = {f"host{n}.example.org": [f"192.0.2.{n}", f"2001:db8::{n:x}"] for n in range(1, 200)}


def question(number, name, kind):
    """RFC 1035 section 4.1"""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


def test_names(net):
    """A program that asks by a new port for each name, whose flows are over too soon; and a forwarder, which asks by one port for all."""
    ladon = start(net, "masquerade")
    net.gateway.nft("add rule inet filter forward udp dport 53 accept")
    for address in (BACKENDS[0], BACKENDS6[0]):
        NameServer(net.backend, address).names.update(RESOLVED)
    directory = f"/etc/netns/{net.client.name}"
    os.makedirs(directory, exist_ok=True)
    net.client.closers.append(lambda: shutil.rmtree(directory, ignore_errors=True))
    names = list(RESOLVED)[:20]
    for address in (BACKENDS[0], BACKENDS6[0]):
        with open(f"{directory}/resolv.conf", "w") as file:
            file.write(f"nameserver {address}\n")
        told = run("ip", "netns", "exec", net.client.name, "getent", "ahosts", *names).splitlines()
        assert {line.split()[0] for line in told} == {address for name in names for address in RESOLVED[name]}
    assert learned(ladon) == []
    for number, address in enumerate((BACKENDS[0], BACKENDS6[0]), 1):
        forward_questions(net, ladon, address)
        assert len(learned(ladon)) == number
    assert invalid(net) == 0


def forward_questions(net, ladon, address):
    """All names, by one port, until it is learned."""
    before = fast(ladon)
    with net.client.socket(address, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 53))

        def ask_for_all():
            for number, name in enumerate(RESOLVED):
                for kind, family in ((A, socket.AF_INET), (AAAA, socket.AF_INET6)):
                    sock.send(question(number, name, kind))
                    answer = sock.recv(1000)
                    record = socket.inet_pton(family, RESOLVED[name][kind == AAAA])
                    assert answer[:2] == struct.pack("!H", number) and answer.endswith(record)
            return fast(ladon) - before > FAST_PACKETS

        until(ask_for_all, "much has taken the short way")


# ---- QUIC ----

DATAGRAM = 1200  # RFC 9000 section 14.1
UDP_SEGMENT = 103  # linux/udp.h
IN_FLIGHT = 16


class Quic:
    """Numbered datagrams of both sides, of which few are on their way at a time. What is not the next one fails the test. The server answers to where it heard from last."""

    def __init__(self, net, ways, at_once):
        """at_once: one system call for several datagrams, which stay together as far as they can."""
        self.net, self.at_once = net, at_once
        self.servers = {}
        for way in ways:
            backend = WAYS[way][2]
            self.servers[way] = net.backend.socket(backend, socket.SOCK_DGRAM)
            self.servers[way].bind((backend, PORT))
        self.number = 0

    def datagram(self, number, seed):
        return struct.pack("!Q", number) + random.Random(number << 1 | seed).randbytes(DATAGRAM - 8)

    def say(self, sock, numbers, seed, to=None):
        datagrams = [self.datagram(number, seed) for number in numbers]
        if self.at_once:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, DATAGRAM)
            datagrams = [b"".join(datagrams)]
        for data in datagrams:
            sock.sendto(data, to) if to else sock.send(data)

    def migrate(self, way):
        """The client has another port, or another family, from now on; it asks whether there is a way (RFC 9000 section 8.2)."""
        self.way = way
        self.server = self.servers[way]
        self.sock = self.net.client.socket(WAYS[way][1], socket.SOCK_DGRAM)
        self.sock.connect((WAYS[way][1], PORT))
        self.talk(1)

    def talk(self, in_flight=IN_FLIGHT):
        """So many datagrams there, and as many back."""
        numbers = range(self.number, self.number + in_flight)
        self.number += in_flight
        self.say(self.sock, numbers, 0)
        heard = [self.server.recvfrom(2000) for _ in numbers]
        assert [data for data, _ in heard] == [self.datagram(number, 0) for number in numbers]
        source, = {source for _, source in heard}
        assert source[:2] == (WAYS[self.way][3], self.sock.getsockname()[1])
        self.say(self.server, numbers, 1, source)
        assert [self.sock.recv(2000) for _ in numbers] == [self.datagram(number, 1) for number in numbers]
        return True


@pytest.mark.parametrize("at_once", (False, True))
def test_quic(net, at_once):
    """A client that changes its port, and then its family: each way is learned, nothing is lost, and none comes by a former one."""
    ways = ("masquerade", "masquerade6")
    ladon = start(net, ways[0])
    quic = Quic(net, ways, at_once)
    ports = []
    for way in ways * 3:
        quic.migrate(way)
        before = fast(ladon)
        most = FAST_PACKETS // IN_FLIGHT if at_once else FAST_PACKETS  # a super-packet is one
        until(lambda: quic.talk() and fast(ladon) - before > most, "much has taken the short way")
        ports.append(quic.sock.getsockname()[1])
    flows = learned(ladon)
    assert {int(flow["client"].rsplit(":", 1)[1]) for flow in flows} == set(ports)
    assert all(flow["packets_in"] and flow["packets_out"] for flow in flows)
    assert invalid(net) == 0


# ---- SIP ----

class Phone:
    """One end of a call (RFC 3261, RFC 8866): says what its own address is, and where it wants to hear."""

    def __init__(self, space, address, rtp_port):
        self.address, self.rtp_port = address, rtp_port
        self.sip = space.socket(address, socket.SOCK_DGRAM)
        self.sip.bind((address, 5060))
        self.rtp = space.socket(address, socket.SOCK_DGRAM)
        self.rtp.bind((address, rtp_port))
        self.calls = 0

    def contact(self):
        return join(self.address, 5060)

    def session(self):
        kind = "IP6" if is_ipv6(self.address) else "IP4"
        return "".join(line + "\r\n" for line in ("v=0", f"o=- 1 1 IN {kind} {self.address}", "s=-", f"c=IN {kind} {self.address}", "t=0 0",
                                                 f"m=audio {self.rtp_port} RTP/AVP 0"))

    def request(self, method, to, session=""):
        self.calls += 1
        return message(f"{method} sip:bob@{to} SIP/2.0", session, [
            f"Via: SIP/2.0/UDP {self.contact()};branch=z9hG4bK{self.calls}", f"From: <sip:alice@{self.contact()}>;tag=1", f"To: <sip:bob@{to}>",
            "Call-ID: call@example.org", f"CSeq: {self.calls} {method}", f"Contact: <sip:alice@{self.contact()}>", "Max-Forwards: 70"])

    def answer(self, request, session=""):
        kept = [line for line in request.split("\r\n") if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
        return message("SIP/2.0 200 OK", session, kept + [f"Contact: <sip:bob@{self.contact()}>"])


def message(first, session, headers):
    """With what it says of a session, if it does."""
    kind = ["Content-Type: application/sdp"] if session else []
    return "\r\n".join([first, *headers, *kind, f"Content-Length: {len(session)}", "", session]).encode()


def said_of_media(told):
    """(address, port) where the other side wants to hear, and the request that says so."""
    text = told.decode()
    return (re.search(r"^c=IN IP[46] (\S+)", text, re.M)[1], int(re.search(r"^m=audio (\d+)", text, re.M)[1])), text


@pytest.mark.parametrize("way", ("masquerade", "masquerade6"))
def test_sip(net, way):
    """A call through NAT: the helper changes what the caller says of itself, and sees all of that; voice, both ways, is learned."""
    ladon = start(net, way)
    _, front, backend, seen = WAYS[way]
    net.gateway.nft("""table inet sip {
        ct helper sip { type "sip" protocol udp; }
        chain pre { type filter hook prerouting priority filter; udp dport 5060 ct helper set "sip"; }
    }
    add rule inet filter forward udp dport 5060 accept""")
    alice, bob = Phone(net.client, CLIENT6 if is_ipv6(front) else CLIENT, 6000), Phone(net.backend, backend, 7000)

    def ask(method, session="", answer=""):
        """Return: what the server heard and whom it saw, and what the client heard"""
        alice.sip.sendto(alice.request(method, join(front, 5060), session), (front, 5060))
        heard, source = bob.sip.recvfrom(2000)
        bob.sip.sendto(bob.answer(heard.decode(), answer), source)
        return heard, source, alice.sip.recv(2000)

    invite, source, ok = ask("INVITE", alice.session(), bob.session())
    assert source[:2] == (seen, 5060)
    to_alice, text = said_of_media(invite)
    assert to_alice[0] == seen
    assert (CLIENT6 if is_ipv6(front) else CLIENT) not in text
    to_bob, _ = said_of_media(ok)
    assert to_bob == (backend, 7000)

    def voice():
        """Some of it, each way, 20 ms of speech in a packet: RFC 3551."""
        for number in range(50):
            said = struct.pack("!BBHII", 0x80, 0, number, number * 160, 1) + bytes([number]) * 160
            for phone, other, to in ((bob, alice, to_alice), (alice, bob, to_bob)):
                phone.rtp.sendto(said, to)
                assert other.rtp.recv(2000) == said
        return fast(ladon) > FAST_PACKETS

    until(voice, "most of the voice takes the short way")
    for _ in range(20):
        ask("OPTIONS")
    flow, = learned(ladon)
    assert flow["packets_in"] and flow["packets_out"] and "6000" in flow["client"] + flow["backend"]
    assert ladon.reasons("packet")["unlearned_help"] > 20
    ask("BYE")
    assert invalid(net) == 0
