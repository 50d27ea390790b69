# SPDX-License-Identifier: GPL-2.0-only
"""ICMP errors reach the end that must hear them, and are what a router would have said.

    near -- 10.0.3.0/24 -- client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend -- 10.0.4.0/24 -- far
     .1                .9       .1              .9         .9              .2       .9              .2
            fd00:3::/64            fd00:1::/64                fd00:2::/64              fd00:4::/64

client and backend are routers where near and far exist. A router's route may be
narrower than the links at its sides: then it says so, to ladon, about packets that
ladon has translated. Where the gateway's own link has become narrower, ladon says so.
"""
import collections
import queue
import socket
import struct
import threading
import time

import pytest

from lib import ends, wire
from lib.gateway import FAMILIES, one_pool
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, Namespace, run, until

SIZE = 2 * ends.MB
JIFFIES = 0.03  # ladon asks for an interface's MTU once in a jiffy, 10 ms at most; no event tells of it
OFFLOADS = {"offloads": {}, "no offloads": dict(tso=False, gso=False, gro=False, tx=False)}

# What a test of both families is parametrised with
Family = collections.namedtuple("Family", "number gateway gateway_back near near_router far far_router config")
ROUTED = [
    Family(4, GATEWAY, GATEWAY_BACK, "10.0.3.1", "10.0.1.1", "10.0.4.2", "10.0.2.2", one_pool("10.0.4.2:8080")),
    Family(6, GATEWAY6, GATEWAY_BACK6, "fd00:3::1", "fd00:1::1", "fd00:4::2", "fd00:2::2",
           one_pool("[fd00:4::2]:8080", listen="[::]:8080")),
]
families = pytest.mark.parametrize("family", ROUTED, ids=("ipv4", "ipv6"))
offloads = pytest.mark.parametrize("offload", OFFLOADS)


class Routed:
    """near and far, behind client and backend, which forward."""

    def __init__(self, net, mtu=1500):
        self.net = net
        self.near = self._host(net.client, "n", 3, 1, mtu)
        self.far = self._host(net.backend, "f", 4, 2, mtu)
        for space, device, host, net_of_host in ((net.client, "client0", "1", 3),
                                                 (net.backend, "backend0", "2", 4)):
            own = "1" if space is net.client else "2"
            net.gateway.ip(f"route add 10.0.{net_of_host}.0/24 via 10.0.{own}.{host}",
                           f"route add fd00:{net_of_host}::/64 via fd00:{own}::{host}")
            space.ip(f"link set eth0 mtu {mtu}")
            net.gateway.ip(f"link set {device} mtu {mtu}")
            space.sysctl("net.ipv4.ip_forward", 1)
            space.sysctl("net.ipv6.conf.all.forwarding", 1)

    def _host(self, router, letter, number, own, mtu):
        space = Namespace(f"{router.name}{letter}")
        self.net.spaces.append(space)
        space.ip(f"link add eth0 mtu {mtu} type veth peer name host mtu {mtu} netns {router.name}",
                 "link set eth0 up", f"addr add 10.0.{number}.{own}/24 dev eth0",
                 f"addr add fd00:{number}::{own}/64 dev eth0 nodad")
        router.ip("link set host up", f"addr add 10.0.{number}.9/24 dev host",
                  f"addr add fd00:{number}::9/64 dev host nodad")
        space.ip(f"route add default via 10.0.{number}.9", f"route add ::/0 via fd00:{number}::9")
        space.keep_order("eth0")
        router.keep_order("host")
        return space

    def narrow(self, router, address, mtu):
        """The router's way to this host takes no more than that."""
        router.ip(f"route add {address} dev host mtu lock {mtu}")

    def offload(self, **features):
        if not features:
            return
        self.net.offload(**features)
        for space, device in ((self.near, "eth0"), (self.far, "eth0"),
                              (self.net.client, "host"), (self.net.backend, "host")):
            space.offload(device, **features)


class Errors:
    """ICMP errors that a namespace's stack gets."""

    def __init__(self, space, is_ip6):
        self.is_ip6 = is_ip6
        with space.enter():
            self.sock = socket.socket(socket.AF_INET6 if is_ip6 else socket.AF_INET, socket.SOCK_RAW,
                                      socket.IPPROTO_ICMPV6 if is_ip6 else socket.IPPROTO_ICMP)
        self.sock.settimeout(10)
        space.closers.append(self.sock.close)

    def next(self):
        """Return: an Error; other messages are passed over."""
        while True:
            data, source = self.sock.recvfrom(2000)
            if not self.is_ip6:
                data = data[20:]
            if data[0] in ((1, 2, 3, 4) if self.is_ip6 else (3, 11, 12)):
                break
        ip, at = data[8:], 40 if self.is_ip6 else 20
        family, addresses = (socket.AF_INET6, ip[8:40]) if self.is_ip6 else (socket.AF_INET, ip[12:20])
        half = len(addresses) // 2
        sport, dport, seq = struct.unpack_from("!HHI", ip, at)
        return Error(data[0], data[1], source[0], socket.inet_ntop(family, addresses[:half]), sport,
                     socket.inet_ntop(family, addresses[half:]), dport, seq)


Error = collections.namedtuple("Error", "type code by source sport dest dport seq")


def hop_limit(sock, value):
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, value)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, value)


def path_mtu(space, address):
    """What the namespace believes of the way there."""
    with space.socket(address, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))  # finds the route that other sockets use too; sends nothing
        if sock.family == socket.AF_INET:
            return sock.getsockopt(socket.IPPROTO_IP, 14)  # IP_MTU
        return sock.getsockopt(socket.IPPROTO_IPV6, 24)  # IPV6_MTU


def repaired(*spaces):
    """Nobody gave up and nobody stormed: what was in flight is repeated, once."""
    for space in spaces:
        now = space.counters()
        told = {name: now.get(name, 0) for name in (
            "TcpRetransSegs", "TcpExtTCPTimeouts", "TcpOutRsts", "TcpInErrs", "TcpInCsumErrors",
            "IcmpInCsumErrors", "Icmp6InCsumErrors")}
        retransmitted = told.pop("TcpRetransSegs")
        assert not any(told.values()), f"{space.name}: {told}"
        assert retransmitted < 200, f"{space.name}: {retransmitted} of {SIZE // 1200} segments"


def transfer(routed, ladon, family, between=lambda: None):
    """Greet, hand off, then both say SIZE. Return: the path MTUs that the two ends know in the end."""
    server = ends.Server(routed.far, ends.answer_and_exchange(SIZE, say=1), address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        between()
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)
    return path_mtu(routed.near, family.gateway), path_mtu(routed.far, family.gateway_back)


@pytest.mark.matrix
@offloads
@families
@pytest.mark.parametrize("to_near, to_far", [(1500, 1400), (1280, 1500), (1400, 1280)])
def test_a_narrow_way_behind_either_router_is_found(net, family, offload, to_near, to_far):
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    routed.narrow(net.client, family.near, to_near)
    routed.narrow(net.backend, family.far, to_far)
    ladon = net.ladond(family.config)

    mtus = transfer(routed, ladon, family)

    assert mtus == (to_far, to_near)
    assert ladon.relayed_bytes() == 0
    errors = ladon.reasons("packet").get("icmp_error", 0)
    assert 1 <= errors < 100
    repaired(routed.near, routed.far)


@families
def test_a_jumbo_sender_finds_a_narrow_way(net, family):
    """9000 all the way but for the last link: segments of six times the size that passes."""
    routed = Routed(net, 9000)
    routed.narrow(net.client, family.near, 1500)
    routed.narrow(net.backend, family.far, 1400)
    ladon = net.ladond(family.config)

    assert transfer(routed, ladon, family) == (1400, 1500)
    repaired(routed.near, routed.far)


@pytest.mark.matrix
@offloads
@families
@pytest.mark.parametrize("mtu, to_client, to_backend", [(1500, 1400, 1280), (1500, 1280, 1400),
                                                        (9000, 9000, 1500), (9000, 1500, 1400)])
def test_the_gateways_own_links_become_narrower(net, family, offload, mtu, to_client, to_backend):
    """After the handoff: ladon says so about the narrower one, with no daemon alive."""
    routed = Routed(net, mtu)
    routed.offload(**OFFLOADS[offload])
    ladon = net.ladond(family.config)

    def narrower():
        ladon.kill9()
        net.gateway.ip(f"link set client0 mtu {to_client}", f"link set backend0 mtu {to_backend}")
        net.client.ip(f"link set eth0 mtu {to_client}")
        net.backend.ip(f"link set eth0 mtu {to_backend}")
        time.sleep(JIFFIES)

    mtus = transfer(routed, ladon, family, narrower)

    assert mtus == (min(to_client, to_backend),) * 2
    repaired(routed.near, routed.far)


@pytest.mark.matrix
@offloads
@families
@pytest.mark.parametrize("to_near, to_far", [(1500, 1400), (1400, 1300)])
def test_the_gateways_own_routes_become_narrower(net, family, offload, to_near, to_far):
    """As above, but the links stay as wide as they were."""
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    ladon = net.ladond(family.config)

    def narrower():
        ladon.kill9()
        for to, gateway, mtu in ((family.near, family.near_router, to_near), (family.far, family.far_router, to_far)):
            net.gateway.ip(f"route add {to} via {gateway} mtu lock {mtu}")

    mtus = transfer(routed, ladon, family, narrower)

    assert mtus == (to_far, to_near)
    repaired(routed.near, routed.far)


@families
@pytest.mark.parametrize("lock", ("", "lock"))
def test_new_connections_heed_the_gateways_routes(net, family, lock):
    """Both ends are told the MSS of their route, so nothing is ever too large."""
    routed = Routed(net)
    for to, gateway in ((family.near, family.near_router), (family.far, family.far_router)):
        net.gateway.ip(f"route add {to} via {gateway} mtu {lock} 1400")
    ladon = net.ladond(family.config)

    with wire.capture(routed.near) as near, wire.capture(routed.far) as far:
        transfer(routed, ladon, family)

    for seen in (near, far):
        mss, = {struct.unpack("!H", data)[0] for s in seen.segments if s.incoming and s.flags & wire.SYN
                for kind, data in wire.options(s) if kind == 2}
        assert mss == 1400 - (60 if family.number == 6 else 40)
    assert not set(ladon.reasons("packet")) & {"too_large", "too_large_df", "icmp_error"}


def told_about_a_byte(space, sock):
    """Send one byte that does not arrive. Return: the error, which must quote what was sent."""
    errors = Errors(space, sock.family == socket.AF_INET6)
    with wire.capture(space) as seen:
        sock.sendall(b"x")
        error = errors.next()
    byte = next(s for s in seen.segments if not s.incoming and s.length == 1)
    assert error[3:] == (*sock.getsockname()[:2], *sock.getpeername()[:2], byte.seq)
    assert error.by == sock.getpeername()[0]
    return error.type, error.code


@pytest.mark.matrix
@offloads
@families
@pytest.mark.parametrize("hops", [2, 3], ids=("at the gateway", "behind it"))
def test_the_time_to_live_ends(net, family, offload, hops):
    """What traceroute asks for. The byte is repeated by its sender when it may live longer."""
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    ladon = net.ladond(family.config)
    ends.Server(routed.far, ends.echo, address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        hop_limit(sock, hops)
        assert told_about_a_byte(routed.near, sock) == ((3, 0) if family.number == 6 else (11, 0))
        hop_limit(sock, 64)
        assert ends.receive_exactly(sock, 1) == b"x"

    reasons = ladon.reasons("packet")
    assert ("ttl" if hops == 2 else "icmp_error") in reasons
    assert net.gateway.counter("TcpOutRsts") == 0


@families
def test_a_router_behind_finds_no_way(net, family):
    """The sender hears of it, keeps the connection, and goes on when there is a way again."""
    routed = Routed(net)
    ladon = net.ladond(family.config)
    ends.Server(routed.far, ends.echo, address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        net.backend.ip(f"route add unreachable {family.far}")
        type_and_code = told_about_a_byte(routed.near, sock)
        net.backend.ip(f"route del unreachable {family.far}")
        assert ends.receive_exactly(sock, 1) == b"x"

    assert type_and_code == ((1, 0) if family.number == 6 else (3, 1))


class Deaf:
    """A neighbour of the gateway's that does not answer its questions any more, nor asks any."""

    def __init__(self, net, space, device):
        self.space = space
        space.nft("""
            table inet deaf {
                chain in { type filter hook input priority 0; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } drop; }
                chain out { type filter hook output priority 0; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } drop; }
            }
            table arp deaf {
                chain in { type filter hook input priority 0; policy drop; }
                chain out { type filter hook output priority 0; policy drop; }
            }""")
        for family, option in (("ipv4", "-4"), ("ipv6", "-6")):
            net.gateway.sysctl(f"net.{family}.neigh.{device}.retrans_time_ms", 100)  # it asks three times
            run("ip", option, "-n", net.gateway.name, "neigh", "flush", "dev", device)

    def cure(self):
        self.space.nft("delete table inet deaf; delete table arp deaf")


@pytest.mark.parametrize("deaf", ("client", "backend"))
@pytest.mark.parametrize("place", ("end", "router"))
@families
def test_a_neighbour_does_not_answer(net, family, place, deaf):
    """An end or the router before it. The sender is told, with no daemon alive; the flow goes on with the neighbour."""
    near, far = net.client, net.backend
    if place == "router":
        routed = Routed(net)
        near, far = routed.near, routed.far
    else:
        family = family._replace(far=BACKENDS6[0] if family.number == 6 else BACKENDS[0],
                                 config=FAMILIES[family.number == 6][2])
    socks, again = queue.SimpleQueue(), threading.Event()

    def talk(sock):
        ends.answer(sock)
        socks.put(sock)
        assert again.wait(30)
        return ends.exchange(sock, SIZE, say=1)

    ladon = net.ladond(family.config)
    server = ends.Server(far, talk, address=family.far)
    with ends.connect(near, family.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        ladon.kill9()
        speaker, hearer, space = sock, socks.get(timeout=10), near
        if deaf == "client":
            speaker, hearer, space = hearer, speaker, far
        neighbour = Deaf(net, getattr(net, deaf), f"{deaf}0")

        assert told_about_a_byte(space, speaker) == ((1, 3) if family.number == 6 else (3, 1))

        neighbour.cure()
        assert ends.receive_exactly(hearer, 1) == b"x"
        again.set()
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)
    for end in (near, far):
        now = end.counters()
        assert [now[name] for name in ("TcpOutRsts", "TcpInErrs", "TcpInCsumErrors")] == [0, 0, 0]


class Forger:
    """Errors from far, about what ladon sends there, that no router has found."""

    def __init__(self, routed, family, segment):
        self.routed, self.family, self.segment = routed, family, segment
        self.is_ip6 = family.number == 6

    def send(self, *, ahead=0, mtu=1300, to=None, dport=None):
        """`ahead`: of the sequence number that ladon's next segment to far has."""
        s = self.segment
        af = socket.AF_INET6 if self.is_ip6 else socket.AF_INET
        source, dest = socket.inet_pton(af, s.source), socket.inet_pton(af, s.dest)
        tcp = struct.pack("!HHI", s.sport, dport or s.dport, (s.seq + s.length + ahead) & 0xFFFFFFFF)
        if self.is_ip6:
            quote = struct.pack("!IHBB", 6 << 28, 1460, socket.IPPROTO_TCP, 60) + source + dest + tcp
            message = struct.pack("!BBHI", 2, 0, 0, mtu) + quote
        else:
            quote = struct.pack("!BBHHHBBH", 0x45, 0, 1500, 0, 0x4000, 60, socket.IPPROTO_TCP, 0) + \
                source + dest + tcp
            message = struct.pack("!BBHI", 3, 4, 0, mtu) + quote
            total = sum(struct.unpack(f"!{len(message) // 2}H", message))
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            message = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
        with self.routed.far.enter(), socket.socket(
                af, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if self.is_ip6 else socket.IPPROTO_ICMP) as raw:
            raw.sendto(message, (to or self.family.gateway_back, 0))


@families
def test_forged_errors(net, family):
    """The sender judges by the sequence number, and can: it is one of its own, as far off as it was."""
    routed = Routed(net)
    ladon = net.ladond(family.config)
    ends.Server(routed.far, ends.echo, address=family.far)
    least = 1300 if family.number == 6 else 552  # below 1280 IPv6 believes nothing

    def out_of_window():
        return routed.near.counter("TcpExtOutOfWindowIcmps")

    def counted(reason):
        return ladon.reasons("packet").get(reason, 0)

    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        with wire.capture(routed.far) as seen:
            sock.sendall(b"x")
            assert ends.receive_exactly(sock, 1) == b"x"
        forger = Forger(routed, family, next(s for s in seen.segments if s.incoming and s.length == 1))

        for number, ahead in enumerate((1, -2, 1 << 31, 100_000), 1):  # one acknowledged byte is no more in flight
            forger.send(ahead=ahead)
            until(lambda: out_of_window() == number, f"the error {ahead} ahead is found wrong")
        assert path_mtu(routed.near, family.gateway) == 1500
        assert counted("icmp_error") == 4

        forger.send(to=family.gateway)
        until(lambda: counted("icmp_astray") == 1, "an error to another address is dropped")
        forger.send(dport=9)
        until(lambda: counted("not_tcp") >= 1, "an error about no flow is the stack's")
        assert counted("icmp_error") == 4

        forger.send(ahead=0)  # what is to be sent next may be what was lost
        until(lambda: path_mtu(routed.near, family.gateway) == 1300, "the right number is believed")
        assert out_of_window() == 4
        forger.send(ahead=0, mtu=0)
        forger.send(ahead=0, mtu=68)
        until(lambda: counted("icmp_error") == 7, "nonsense is passed on")
        until(lambda: path_mtu(routed.near, family.gateway) == least, "the sender knows better")
        sock.sendall(ends.pattern(20_000))
        assert ends.receive_exactly(sock, 20_000) == ends.pattern(20_000)


def test_without_df_the_sender_is_told_too(net):
    """What may be fragmented is not: such a sender does not listen, and waits for a wider link."""
    family = ROUTED[0]
    routed = Routed(net)
    ladon = net.ladond(family.config)
    ends.Server(routed.far, ends.echo, address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
        ends.ask(sock)
        ladon.wait_handed_off()
        errors = Errors(routed.near, False)
        net.gateway.ip("link set backend0 mtu 1400")
        time.sleep(JIFFIES)
        sock.sendall(ends.pattern(5000))
        error = errors.next()
        until(lambda: "too_large_df" in ladon.reasons("packet"), "it is counted")
        net.gateway.ip("link set backend0 mtu 1500")
        assert ends.receive_exactly(sock, 5000) == ends.pattern(5000)

    assert (error.type, error.code) == (3, 4)


# ---- mode: stack: what the stack itself finds, it says as a router does; the numbers are ladon's ----

def stack(net, family):
    net.forward()
    return net.ladond(family.config + "mode: stack\n")


def in_stack(net, ladon):
    ladon.wait_handed_off()
    until(lambda: any("ASSURED" in line for line in net.gateway.tracked()), "conntrack has the flow")


@families
def test_a_narrow_way_behind_either_router_of_a_stacks_flow(net, family):
    routed = Routed(net)
    routed.narrow(net.client, family.near, 1400)
    routed.narrow(net.backend, family.far, 1280)
    ladon = stack(net, family)

    assert transfer(routed, ladon, family, lambda: in_stack(net, ladon)) == (1280, 1400)

    repaired(routed.near, routed.far)


@pytest.mark.matrix
@offloads
@families
@pytest.mark.parametrize("to_client, to_backend", [(1400, 1280), (1280, 1400)])
def test_the_gateways_own_links_become_narrower_for_the_stack(net, family, offload, to_client, to_backend):
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    ladon = stack(net, family)

    def narrower():
        in_stack(net, ladon)
        net.gateway.ip(f"link set client0 mtu {to_client}", f"link set backend0 mtu {to_backend}")
        net.client.ip(f"link set eth0 mtu {to_client}")
        net.backend.ip(f"link set eth0 mtu {to_backend}")

    mtus = transfer(routed, ladon, family, narrower)

    assert mtus == (min(to_client, to_backend),) * 2
    repaired(routed.near, routed.far)


REJECT = """table inet fw {{
    chain forward {{
        type filter hook forward priority filter
        tcp dport 8080 {reject}
    }}
}}"""


@families
@pytest.mark.parametrize("what", ["hops", "rule"])
def test_the_stack_tells_the_client_about_its_own_segment(net, family, what):
    """Time to live at the gateway, and a rule that rejects; then the byte is repeated and arrives."""
    routed = Routed(net)
    ladon = stack(net, family)
    ends.Server(routed.far, ends.echo, address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        if what == "hops":
            hop_limit(sock, 2)
        else:
            net.gateway.nft(REJECT.format(reject="reject with icmpx type admin-prohibited"))
        type_and_code = told_about_a_byte(routed.near, sock)
        hop_limit(sock, 64)
        net.gateway.run("nft", "delete", "table", "inet", "fw")
        assert ends.receive_exactly(sock, 1) == b"x"

    assert type_and_code == {"hops": {4: (11, 0), 6: (3, 0)}, "rule": {4: (3, 13), 6: (1, 1)}}[what][family.number]


@families
def test_the_stack_tells_the_backend_about_its_own_segment(net, family):
    """Its numbers are its own already."""
    routed = Routed(net)
    ladon = stack(net, family)
    heard = []

    def talk(sock):
        ends.answer(sock)
        hop_limit(sock, 2)
        errors = Errors(routed.far, family.number == 6)
        with wire.capture(routed.far) as seen:
            sock.sendall(b"x")
            error = errors.next()
        byte = next(s for s in seen.segments if not s.incoming and s.length == 1)
        heard.append((error.seq == byte.seq, error.dest == family.gateway_back, error.dport))
        hop_limit(sock, 64)

    server = ends.Server(routed.far, talk, address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        ends.ask(sock)
        assert ends.receive_exactly(sock, 1) == b"x"
        source = int(ladon.ask("flow show")["flows"][0]["source"].rpartition(":")[2])
        server.result()
    assert heard == [(True, True, source)]
