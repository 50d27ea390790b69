# SPDX-License-Identifier: GPL-2.0-only
"""What the firewall drops is dropped before it, as long as it would drop it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
              fd00:1::/64             fd00:2::/64
"""
import ctypes
import os
import socket
import struct
import time

import pytest

from lib.learned import STATEFUL, Udp, start, why
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, LINUX, until

PORT = 8080
ALL = "accelerate: yes\n"


def firewall(*rules, more=""):
    return """table inet filter {
        counter reached { }
        counter local { }
        %s
        chain forward { type filter hook forward priority filter; policy accept; %s; }
        chain input { type filter hook input priority filter; policy accept; udp dport 9 counter name local drop; }
    }
    """ % (more, ";\n".join(rules))


DROP = "udp dport 8080 counter name reached drop"


def reached(net):
    return net.gateway.named_counter("filter", "reached")


class Sender:
    """A UDP socket of the client's, one of the backend's, and what comes of it."""

    def __init__(self, net, front=BACKENDS[0], port=PORT):
        self.server = net.backend.socket(front, socket.SOCK_DGRAM)
        self.server.bind((front, port))
        self.sock = net.client.socket(front, socket.SOCK_DGRAM)
        self.sock.connect((front, port))
        self.sent = 0

    def send(self, count=1):
        for _ in range(count):
            self.sock.send(b"%d" % self.sent)
            self.sent += 1

    def arrives(self, seconds=2.0):
        """Does one that is sent now arrive?"""
        self.send()
        self.server.settimeout(seconds)
        try:
            while self.server.recv(2048) != b"%d" % (self.sent - 1):
                pass
        except TimeoutError:
            return False
        return True


def begin(net, rules, accelerate=ALL):
    if LINUX < (6, 12):
        pytest.skip("Linux before 6.12 does not tell programs the generation of its rules")
    ladon = start(net, accelerate=accelerate)
    net.gateway.nft("flush ruleset\n" + rules)
    return ladon


def dropped(ladon):
    return ladon.reasons("packet").get("firewall_drops", 0)


def until_dropped(ladon, sender, what=""):
    def one_more():
        before = dropped(ladon)
        sender.send()
        return dropped(ladon) > before

    until(one_more, f"the firewall's word is taken {what}")


@pytest.mark.parametrize("front", (BACKENDS[0], BACKENDS6[0]), ids=("ip4", "ip6"))
def test_a_flow_that_is_dropped(net, front):
    """After its first packets the rule sees few of its packets; a rule that accepts acts at once, and so does another that drops."""
    ladon = begin(net, firewall(DROP))
    sender = Sender(net, front)
    until_dropped(ladon, sender)
    before, counted = dropped(ladon), reached(net)
    sender.send(500)
    until(lambda: dropped(ladon) - before + reached(net) - counted >= 500, "each is dropped here or there")
    assert reached(net) - counted < 100
    for _ in range(3):
        net.gateway.nft("insert rule inet filter forward accept")
        assert sender.arrives()
        net.gateway.nft("insert rule inet filter forward udp dport 8080 drop")
        assert not sender.arrives(0.1)
        until_dropped(ladon, sender)


def test_a_running_flow_that_is_dropped(net):
    """A rule that comes later ends a learned flow, and then it is dropped before it."""
    ladon = begin(net, STATEFUL)
    udp = Udp(net, "routed")
    udp.until_learned(ladon)
    net.gateway.nft("insert rule inet filter forward meta l4proto { tcp, udp } drop")
    assert not udp.arrives(seconds=0.1)

    def one_more():
        before = dropped(ladon)
        udp.arrives(seconds=0.01)
        return dropped(ladon) > before

    until(one_more, "the firewall's word is taken")
    net.gateway.nft("flush chain inet filter forward\nadd rule inet filter forward accept")
    udp.ask()


def test_whoever_is_spoken_to_may_answer(net):
    """A stranger is dropped, until somebody inside sends him something: what he says next arrives."""
    ladon = begin(net, firewall("ct state established accept", "iifname client0 drop"))
    for front in (BACKENDS[0], BACKENDS6[0]):
        sender = Sender(net, front)
        until_dropped(ladon, sender)
        sender.server.sendto(b"hello", sender.sock.getsockname()[:2])
        assert sender.sock.recv(100) == b"hello"
        assert sender.arrives()


def internet_checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total >> 16) + (total & 0xffff)
    return struct.pack("!H", ~total & 0xffff)


def error_of(source, dest, sport):
    """An ICMP error: whoever sends it says that a UDP packet from `source` did not reach `dest`."""
    udp = struct.pack("!HHHH", sport, PORT, 8, 0)
    if ":" in source:
        addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, dest)
        return struct.pack("!BBHI", 1, 0, 0, 0) + struct.pack("!IHBB", 6 << 28, 8, 17, 60) + addresses + udp
    addresses = socket.inet_aton(source) + socket.inet_aton(dest)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 60, 17, 0) + addresses
    quoted = head[:10] + internet_checksum(head) + head[12:] + udp
    error = struct.pack("!BBHI", 3, 1, 0, 0) + quoted
    return error[:2] + internet_checksum(error) + error[4:]


@pytest.mark.parametrize("front, client", ((BACKENDS[0], CLIENT), (BACKENDS6[0], CLIENT6)), ids=("ip4", "ip6"))
def test_icmp_that_is_dropped(net, front, client):
    """To conntrack an ICMP error is a packet of the connection that it is about; that one goes on."""
    ladon = begin(net, firewall("ct state established accept", "udp dport 9 drop",
                                "meta l4proto { icmp, icmpv6 } ct state related counter name reached drop"))
    until_dropped(ladon, Sender(net, front, port=9))
    before = dropped(ladon)
    sender = Sender(net, front)
    assert sender.arrives()
    port = sender.sock.getsockname()[1]
    is_ip6 = front == BACKENDS6[0]
    with net.backend.enter():
        raw = socket.socket(socket.AF_INET6 if is_ip6 else socket.AF_INET, socket.SOCK_RAW,
                            socket.IPPROTO_ICMPV6 if is_ip6 else socket.IPPROTO_ICMP)
    raw.bind((front, 0))
    for i in range(1, 21):
        for _ in range(10):
            raw.sendto(error_of(client, front, port), (client, 0))
        until(lambda: reached(net) == 10 * i, "the firewall has dropped all of them")
        sender.server.sendto(b"%d" % i, (client, port))
        sender.sock.settimeout(2)
        assert sender.sock.recv(100) == b"%d" % i
    assert dropped(ladon) == before


def test_what_is_for_this_host_is_left_to_the_stack(net):
    """An answer to it may be on its way out, and no program sees that."""
    ladon = begin(net, firewall(DROP))
    for gateway in (GATEWAY, GATEWAY6):
        sock = net.client.socket(gateway, socket.SOCK_DGRAM)
        sock.connect((gateway, 9))
        before = net.gateway.named_counter("filter", "local")
        for _ in range(100):
            sock.send(b"x")
        until(lambda: net.gateway.named_counter("filter", "local") == before + 100, "all come to the rule")
    assert dropped(ladon) == 0


@pytest.mark.parametrize("accelerate", (
    "accelerate: {drops: no}", "accelerate: {protocols: [tcp]}", "accelerate: {interfaces: [backend0]}",
    "accelerate: {except: {addresses: [10.0.1.0/24]}}", "accelerate: {except: {ports: [8080]}}"))
def test_what_is_excepted(net, accelerate):
    ladon = begin(net, firewall(DROP), accelerate)
    sender = Sender(net)
    sender.send(100)
    until(lambda: reached(net) == 100, "all come to the rule")
    assert dropped(ladon) == 0


# rules, and what of them tells packets of a flow apart, or does more than to drop; "": nothing
RULES = {
    "limit": ("udp dport 9 limit rate 1/hour accept", "chain forward: limit"),
    "limit that drops": ("udp dport 9 limit rate over 1000/second drop", "chain forward: limit"),
    "limit of a log": ("limit rate 1/second log", ""),
    "limit of icmp": ("meta l4proto icmp limit rate 1/second accept", ""),
    "limit of icmp by header": ("ip protocol icmp limit rate 1/second accept", ""),
    "limit of icmp6": ("icmpv6 type echo-request limit rate 1/second accept", ""),
    "limit of a mark": ("limit rate 1/second meta mark set 7", "chain forward: limit"),
    "random": ("udp dport 9 numgen random mod 2 0 drop", "chain forward: numgen"),
    "length": ("meta length 100 drop", "chain forward: meta"),
    "ttl": ("ip ttl 3 drop", "chain forward: payload"),
    "flags": ("tcp flags syn drop", "chain forward: payload"),
    "payload": ("@th,64,16 5 drop", "chain forward: payload"),
    "dscp": ("ip dscp 8 drop", "chain forward: payload"),
    "option": ("tcp option maxseg size 1 drop", "chain forward: exthdr"),
    "clamping": ("tcp flags syn tcp option maxseg size set rt mtu", ""),
    "reject": ("tcp dport 9 reject", "chain forward: reject"),
    "reject6": ("tcp dport 9 reject with icmpv6 admin-prohibited", "chain forward: reject"),
    "queue": ("udp dport 9 queue num 3 bypass", "chain forward: queue"),
    "count": ("udp dport 9 ct count over 10 drop", "chain forward: connlimit"),
    "bytes": ("ct bytes > 1000000 drop", "chain forward: ct"),
    "quota": ("quota over 10 mbytes drop", "chain forward: quota"),
    "bits of the protocol": ("meta l4proto & 0xf0 == 0x10 udp dport 9 limit rate over 1/second drop", "chain forward: limit"),
    "limit of any but icmp": ("meta l4proto != icmp udp dport 9 limit rate 1/hour accept", "chain forward: limit"),
    "limit of a connection's mark": ("udp dport 9 ct mark 0 limit rate 1/hour ct mark set 7", "chain forward: limit"),
    "limit of an address": ("udp dport 9 limit rate 1/hour ip daddr set 10.9.9.9", "chain forward: limit"),
    "limit of notrack": ("udp dport 9 limit rate 1/hour notrack", "chain forward: limit"),
    "named limit": ("udp dport 9 limit name seldom drop", "chain forward: objref"),
    "limit of an element": ("udp dport 9 ip saddr { 10.9.9.8 limit rate 1/second, 10.9.9.9 limit rate 1/second } drop", ": limit"),
    "count of an element": ("udp dport 9 ip saddr { 10.9.9.8 counter, 10.9.9.9 counter } drop", ""),
    "mac": ("ether saddr 02:00:00:00:00:01 drop", "chain forward: payload"),
    "pkttype": ("meta pkttype other drop", "chain forward: meta"),
    "writing a dscp": ("ip dscp set cs1", ""),
    "ethertype": ("ether type ip ip saddr 10.9.9.9 drop", ""),
    "by flow": ("ip saddr 10.9.0.0/16 ip daddr 10.9.0.1 tcp dport { 1, 5-9 } ct state new counter log drop", ""),
    "by flow6": ("ip6 saddr fe80::/10 drop", ""),
    "by state": ("ct state vmap { established : accept, related : accept, invalid : drop }", ""),
    "interfaces": ("iifname backend0 oifname { a, b } drop", ""),
    "mark": ("meta mark 3 ct mark 4 drop", ""),
    "fib": ("fib saddr . iif oif missing drop", ""),
    "blocklist": ("add @blocked { ip saddr timeout 1h }", ""),
    "meter": ("udp dport 9 add @blocked { ip saddr timeout 1h limit rate over 5/second } drop", "chain forward: dynset"),
}
LACKING = ("queue", "count", "quota", "fib")  # what a kernel may have no expression for
SETS = "set blocked { type ipv4_addr; flags dynamic,timeout; }\nlimit seldom { rate 1/second; }"


def test_rules_that_judge_packets(net):
    """Where the firewall does not drop a flow as a whole, or answers, it has all its packets."""
    ladon = begin(net, firewall(DROP))
    sender = Sender(net)
    for name, (text, word) in RULES.items():
        said = len(ladon.log())
        try:
            net.gateway.nft("flush ruleset\n" + firewall(text, DROP, more=SETS))
        except RuntimeError:
            assert name in LACKING
            continue
        if not word:
            until_dropped(ladon, sender, name)
            continue
        until(lambda: word in ladon.log()[said:], f"{name}: it says why")
        counted, before = reached(net), dropped(ladon)
        sender.send(50)
        until(lambda: reached(net) - counted >= 50, f"{name}: all come to the rule")
        assert dropped(ladon) == before, name


def test_random_destinations(net):
    """Each packet of a flow that is dropped is a new one to NAT, and may go to where it is not."""
    ladon = begin(net, firewall(DROP))
    until_dropped(ladon, Sender(net))
    net.gateway.nft("""table ip nat { chain pre { type nat hook prerouting priority dstnat;
        dnat to numgen random mod 2 map { 0 : 10.0.2.2, 1 : 10.0.2.3 };
    }
    }""")
    ladon.wait_said("table nat, chain pre: numgen")


def test_rules_that_change_while_they_are_read(net):
    """What was half read is read again when they are at rest."""
    many = "".join(f"add rule inet many some ip saddr 10.0.{i // 250}.{i % 250} drop\n" for i in range(4000))
    ladon = begin(net, firewall(DROP) + "table inet many { chain some { }\n}\n" + many)
    changes = net.gateway.popen("sh", "-c", "while :; do nft add table inet x; nft delete table inet x; done")
    try:
        time.sleep(4)  # it looks once in a second
    finally:
        changes.kill()
        changes.wait()
    until_dropped(ladon, Sender(net))


def legacy_table(net):
    """As iptables-legacy does, if only asked for a list."""
    info = ctypes.create_string_buffer(b"filter", 84)  # struct ipt_getinfo
    size = ctypes.c_uint32(len(info))
    with net.gateway.enter(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.getsockopt(sock.fileno(), socket.IPPROTO_IP, 64, info, ctypes.byref(size)) < 0:  # IPT_SO_GET_INFO
            pytest.skip(f"this kernel has no old iptables: {os.strerror(ctypes.get_errno())}")


@pytest.mark.parametrize("user", ("", "user: nobody\n"), ids=("root", "user"))
def test_the_old_iptables(net, user):
    """Nobody knows what rules they have, and they may come at any time."""
    ladon = begin(net, firewall(DROP), ALL + user)
    sender = Sender(net)
    until_dropped(ladon, sender)
    legacy_table(net)
    ladon.wait_said("left to it: tables of the old iptables")

    def one_comes():
        counted = reached(net)
        sender.send()
        return reached(net) > counted

    until(one_comes, "the last word is forgotten")
    counted, before = reached(net), dropped(ladon)
    sender.send(50)
    until(lambda: reached(net) - counted >= 50, "all come to the rule")
    assert dropped(ladon) == before


def test_the_daemon_is_gone(net):
    """What it found of the rules counts as long as they stay; after that they have all packets."""
    ladon = begin(net, firewall(DROP))
    sender = Sender(net)
    until_dropped(ladon, sender)
    ladon.kill9()
    counted = reached(net)
    sender.send(300)
    time.sleep(0.3)
    assert reached(net) - counted < 100
    net.gateway.nft("add rule inet filter forward limit rate 1/second accept")
    counted = reached(net)
    sender.send(50)
    until(lambda: reached(net) - counted >= 50, "all come to the rule")


def test_why(net):
    ladon = begin(net, firewall(DROP))
    sender = Sender(net)
    until_dropped(ladon, sender)

    def said():
        sender.send()
        return why(ladon, "udp", sender.sock.getsockname(), ("10.0.2.2", 8080))

    until(lambda: said() == "firewall_drops", "it says why")  # the firewall's word counts for a moment only
