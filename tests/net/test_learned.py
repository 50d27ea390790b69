# SPDX-License-Identifier: GPL-2.0-only
"""Connections that the gateway only forwards: learned from what conntrack, NAT and the rules make of their first packets.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
              fd00:1::/64             fd00:2::/64
"""
import errno
import os
import socket
import struct
import time

import pytest

from lib import ends, gateway, wire
from lib.learned import ACCELERATE, GO, PORT, WAYS, Udp, chat, invalid, learned, mtu, start, until_learned, why
from lib.net import BACKENDS, BACKENDS6, CLIENT, GATEWAY, GATEWAY_BACK, GATEWAY_BACK6, LINUX, until
from test_devices import Tags

SIZE = 8 * ends.MB


def goes_the_short_way(ladon, sock, server, seen):
    """Of a learned connection to a server that says chat(SIZE, 1): words and bulk data, both ways."""
    for _ in range(100):
        ends.ask(sock)
    assert learned(ladon)[0]["packets_in"] > 50
    sock.sendall(GO)
    assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
    assert server.result() == (seen, ends.expected(SIZE, 2))


@pytest.mark.parametrize("way", WAYS)
def test_tcp(net, way):
    """Whatever NAT does. Bytes arrive as they were sent, the counters agree, and conntrack sees the end."""
    _, front, backend, seen = WAYS[way]
    ladon = start(net, way)
    server = ends.Server(net.backend, chat(SIZE, 1), address=backend)
    with wire.capture(net.client) as before, wire.capture(net.backend) as behind:
        with ends.connect(net.client, front) as sock:
            flow = until_learned(ladon, sock)
            assert flow["protocol"] == "tcp" and flow["in"] == "client0" and flow["out"] == "backend0"
            goes_the_short_way(ladon, sock, server, seen)
    for segments in (before.segments, behind.segments):
        assert wire.repeats(segments) == [] and wire.duplicate_acks(segments) == []
        assert not [s for s in segments if s.flags & wire.RST]
    assert invalid(net) == 0
    assert net.trouble() == {}
    until(lambda: learned(ladon) == [], "the end was seen, and it is forgotten")


@pytest.mark.parametrize("way", WAYS)
def test_udp(net, way):
    """Every size; and a datagram without a checksum, which IPv4 allows, is NAT's to do."""
    ladon = start(net, way)
    udp = Udp(net, way)
    flow = udp.until_learned(ladon)
    assert flow["protocol"] == "udp"
    for size in (0, 1, 2, 1000, 1471):
        udp.ask(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    assert udp.fast(ladon) > 30
    if "6" not in way:
        for sock in (udp.sock, udp.server):
            sock.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK, asm-generic/socket.h
        udp.ask(b"no checksum")
    assert net.trouble() == {}


NOTRACK = """table inet raw {
    chain pre { type filter hook prerouting priority raw; meta l4proto { tcp, udp } notrack; }
}
table inet filter {
    counter invalid { }
    chain forward { type filter hook forward priority filter; ct state invalid counter name invalid drop; }
}
"""
REWRITE = """table ip stateless {
    chain pre { type filter hook prerouting priority raw; udp dport 8080 ip daddr 10.0.2.9 ip daddr set 10.0.2.2 notrack; }
    chain post { type filter hook postrouting priority 300; udp sport 8080 ip saddr 10.0.2.2 ip saddr set 10.0.2.9 notrack; }
}
"""


@pytest.mark.parametrize("way", ("routed", "routed6"))
@pytest.mark.parametrize("rules", ("", NOTRACK), ids=("no rules", "notrack"))
def test_without_conntrack(net, way, rules):
    """Only the route is learned, and obeyed at once when it changes; connections begin and end as they would."""
    if LINUX < (6, 12):
        pytest.skip("Linux before 6.12 does not tell programs the generation of its rules")
    _, front, backend, seen = WAYS[way]
    ladon = start(net)
    net.gateway.nft("flush ruleset\n" + rules)
    server = ends.Server(net.backend, chat(SIZE, 1), address=backend)
    with ends.connect(net.client, front) as sock:
        flow = until_learned(ladon, sock)
        assert flow["protocol"] == "tcp"
        goes_the_short_way(ladon, sock, server, seen)
    udp = Udp(net, way)
    until(lambda: udp.fast(ladon) > 30, "both directions take the short way")
    net.gateway.ip(f"route add blackhole {front}")
    assert not udp.arrives(seconds=0.2)
    net.gateway.ip(f"route del blackhole {front}")
    udp.ask()
    assert net.trouble() == {}


REWRITE6 = """table netdev stateless {
    chain in { type filter hook ingress device client0 priority 0; ip6 daddr fd00:2::9 udp dport 8080 ip6 daddr set fd00:2::2; }
    chain back { type filter hook ingress device backend0 priority 0; ip6 saddr fd00:2::2 udp sport 8080 ip6 saddr set fd00:2::9; }
}
"""


@pytest.mark.parametrize("rules, front, backend", (
    (REWRITE, GATEWAY_BACK, BACKENDS[0]), (REWRITE6, GATEWAY_BACK6, BACKENDS6[0])), ids=("ip4", "netdev6"))
def test_what_rules_rewrite_without_conntrack(net, rules, front, backend):
    """Nobody knows how such packets came: none of them is learned, and they arrive."""
    if LINUX < (6, 12):
        pytest.skip("Linux before 6.12 does not tell programs the generation of its rules")
    ladon = start(net)
    net.gateway.nft("flush ruleset\n" + rules)
    server = net.backend.socket(backend, socket.SOCK_DGRAM)
    server.bind((backend, PORT))
    sock = net.client.socket(front, socket.SOCK_DGRAM)
    sock.connect((front, PORT))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sock.send(b"?")
        got, source = server.recvfrom(100)
        server.sendto(got, source)
        assert sock.recv(100) == b"?"
    assert learned(ladon) == []


def test_one_packet_in_a_second_asks_the_stack(net):
    """Which so keeps its clock: conntrack's time never runs out under a flow that is used, though most packets miss it."""
    ladon = start(net, "both")
    net.gateway.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", 3)
    udp = Udp(net, "both")
    udp.until_learned(ladon)
    before = learned(ladon)[0]
    end = time.monotonic() + 5
    while time.monotonic() < end:
        udp.ask()
        time.sleep(0.01)
    after = learned(ladon)[0]
    asked = after["stack_packets"] - before["stack_packets"]
    assert 6 <= asked < after["packets_in"] - before["packets_in"]
    assert udp.source[0] == GATEWAY_BACK and after["client"] == before["client"]
    assert "UNREPLIED" not in net.gateway.run("conntrack", "-L", "-p", "udp").stdout


def dead(ladon, state):
    if state == "dead":
        ladon.kill9()


@pytest.mark.parametrize("state", ("alive", "dead"))
@pytest.mark.parametrize("way", ("both", "both6"))
def test_changes_act_at_once(net, way, state):
    """A rule, a route, a neighbour: with the return of the command, and with no daemon alive."""
    ladon = start(net, way)
    udp = Udp(net, way)
    udp.until_learned(ladon)
    assert udp.fast(ladon) > 30
    dead(ladon, state)
    backend = WAYS[way][2]

    net.gateway.nft("insert rule inet filter forward udp dport 8080 drop")
    for _ in range(10):
        assert not udp.arrives(seconds=0.02)
    handle = next(line.split()[-1] for line in net.gateway.run("nft", "-a", "list", "chain", "inet", "filter", "forward").stdout.splitlines()
                  if "udp dport 8080 drop" in line)
    net.gateway.nft(f"delete rule inet filter forward handle {handle}")
    udp.ask()

    net.gateway.ip(f"route add blackhole {backend}")
    for _ in range(10):
        assert not udp.arrives(seconds=0.02)
    net.gateway.ip(f"route del blackhole {backend}")
    udp.ask()

    end = time.monotonic() + 0.1  # some take the short way again
    while time.monotonic() < end:
        udp.ask()
    net.backend.ip("link set eth0 address 02:00:00:00:00:77")
    net.gateway.ip(f"neigh replace {backend} lladdr 02:00:00:00:00:77 dev backend0")
    assert udp.arrives()


def test_the_example(net):
    """A router between lan0 and wan0, as it stands in the repository; what it excepts is not learned."""
    for device, name in (("client0", "lan0"), ("backend0", "wan0")):
        net.gateway.ip(f"link set {device} down", f"link set {device} name {name}", f"link set {name} up",
                       f"addr replace fd00:{1 if name == 'lan0' else 2}::9/64 dev {name} nodad")
    ladon = start(net, "routed", gateway.example(net, "accelerate"))
    udp = Udp(net, "routed")
    assert (flow := udp.until_learned(ladon))["in"] == "lan0" and flow["out"] == "wan0"
    ends.Server(net.backend, chat(0, 1), port=5060)
    net.gateway.nft("add rule inet filter forward tcp dport 5060 accept")
    with ends.connect(net.client, BACKENDS[0], port=5060) as sock:
        for _ in range(30):
            ends.ask(sock)
    assert len(learned(ladon)) == 1
    assert ladon.reasons("packet")["unlearned_spared"] > 40


EXCEPT = [("{protocols: tcp}", "unlearned"), ("{except: {addresses: [192.0.2.0/24, 10.0.2.2]}}", "spared"),
          ("{except: {addresses: '::/0'}}", None), ("{except: {ports: [1-99, 8080]}}", "spared"), ("{except: {ports: 8081}}", None),
          ("{except: {marks: [7, 0x10/0xf0]}}", "spared"), ("{except: {marks: 0x17}}", None),
          ("{interfaces: [client0, another0]}", "unlearned"), ("{interfaces: [client0, backend0], packets: 1, flows: 16}", None)]


@pytest.mark.parametrize("accelerate, why", EXCEPT)
def test_what_is_excepted(net, accelerate, why):
    """By protocol, address before and after NAT, port, mark and interface; the others are learned."""
    net.gateway.nft("""table inet marks { chain post { type filter hook postrouting priority 0; meta mark set 0x1a; }
    }""")
    ladon = start(net, "both", f"accelerate: {accelerate}\n")
    udp = Udp(net, "both")
    if not why:
        udp.until_learned(ladon)
        assert learned(ladon)[0]["mark"] == 0x1a
        return
    for _ in range(20):
        udp.ask()
    assert learned(ladon) == []
    assert ladon.reasons("packet").get("unlearned_spared", 0) == (26 if why == "spared" else 0)  # seven of each direction were too few


def test_a_connection_that_ends_and_one_that_follows(net):
    """By FIN, RST, FIN. Conntrack knows of it, and the next one with the same ports is its own from its SYN on."""
    ladon = start(net, "both")
    server = ends.Server(net.backend, chat(0, 1), address=BACKENDS[0])
    for end in ("fin", "rst", "fin"):
        sock = ends.connect(net.client, GATEWAY, prepare=lambda s: (
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), s.bind((CLIENT, 40000))))
        until_learned(ladon, sock)
        assert len(learned(ladon)) == 1
        if end == "rst":
            ends.reset(sock)
            with pytest.raises(OSError):
                server.result()
        else:
            sock.sendall(GO)
            assert ends.exchange(sock, 0) == ends.expected(0, 1)
            sock.close()
            server.result()
        until(lambda: learned(ladon) == [], "forgotten")
        entry = net.gateway.run("conntrack", "-L", "-p", "tcp").stdout.split()
        assert int(entry[2]) <= (10 if end == "rst" else 120), entry
        net.gateway.run("conntrack", "-D", "-p", "tcp")
    assert invalid(net) == 0


@pytest.mark.parametrize("offload", (True, False))
def test_many_at_once(net, offload):
    """Connections and datagrams on both CPUs, with and without super-packets."""
    if not offload:
        net.offload(tso=False, gso=False, gro=False, tx=False, rx=False)
    ladon = start(net, "both")
    server = ends.Server(net.backend, chat(2 * ends.MB, 1), address=BACKENDS[0])
    udp = Udp(net, "both")
    udp.until_learned(ladon)
    socks = [ends.connect(net.client, GATEWAY) for _ in range(8)]

    def ready():
        for sock in socks:
            ends.ask(sock)
        return sum(bool(f["packets_in"] and f["packets_out"]) for f in learned(ladon) if f["protocol"] == "tcp") == 8

    until(ready, "all are learned")

    def talk(sock):
        sock.sendall(GO)
        return ends.exchange(sock, 2 * ends.MB, 2)

    heard = [ends.spawn(talk, sock) for sock in socks]
    udp.fast(ladon, 200)
    assert all(h.result(60) == ends.expected(2 * ends.MB, 1) for h in heard)
    assert all(server.result() == (GATEWAY_BACK, ends.expected(2 * ends.MB, 2)) for _ in range(8))
    assert invalid(net) == 0
    assert net.only_repetitions() is None
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("way", ("both", "both6"))
def test_what_the_stack_says_of_a_packet(net, way):
    """Too large for the next link, out of hops, and nobody there: the sender hears of it as without ladon."""
    net.gateway.ip(f"route add {WAYS[way][2]} dev backend0 mtu 1300")
    ladon = start(net, way, "accelerate: {confirm: 30s}\n")  # none of these packets is one that asks the stack anyway
    six = "6" in way
    udp = Udp(net, way)
    udp.until_learned(ladon)
    udp.sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, 23 if six else 10, 2)  # *_MTU_DISCOVER: *_PMTUDISC_DO
    before = ladon.reasons("packet").get("learned_unfit", 0)
    udp.sock.send(bytes(1400))
    until(lambda: udp.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EMSGSIZE, "it is told")
    assert mtu(udp.sock, six) == 1300
    assert ladon.reasons("packet")["learned_unfit"] == before + 1
    udp.ask(bytes(1300 - (48 if six else 28) - 10))

    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
    udp.sock.setsockopt(level, option, 1)
    assert not udp.arrives(seconds=0.1)
    until(lambda: ladon.reasons("packet")["learned_unfit"] == before + 2, "it is counted")
    udp.sock.setsockopt(level, option, 64)
    udp.ask()

    udp.server.close()
    udp.sock.send(b"anybody?")
    with pytest.raises(ConnectionRefusedError):
        udp.sock.recv(1)

    server = ends.Server(net.backend, chat(SIZE, 1), address=WAYS[way][2])
    with ends.connect(net.client, WAYS[way][1]) as sock:
        until(lambda: ends.ask(sock) or [f for f in learned(ladon) if f["protocol"] == "tcp" and f["packets_in"]], "learned")
        sock.sendall(GO)
        assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result()[1] == ends.expected(SIZE, 2)


def test_ftp_through_nat(net):
    """The helper changes what the client says of itself; it sees all of the control connection. The data's is learned."""
    ladon = start(net)
    net.gateway.nft("""table inet ftp {
        ct helper ftp { type "ftp" protocol tcp; }
        chain pre { type filter hook prerouting priority filter; tcp dport 21 ct helper set "ftp"; }
        chain post { type nat hook postrouting priority srcnat; oifname backend0 masquerade; }
    }
    add rule inet filter forward tcp dport 21 accept
    add rule inet filter forward ct state related accept""")

    def serve(sock):
        file = sock.makefile("rw", newline="\r\n")
        for line in file:
            if line.startswith("PORT"):
                numbers = line.split()[1].split(",")
                break
            file.write("200 go on\n")
            file.flush()
        address, port = ".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5])
        with net.backend.socket(BACKENDS[0]) as data:
            data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            data.bind((BACKENDS[0], 20))
            data.connect((address, port))
            while ends.receive_exactly(data, len(GO)) != GO:
                data.sendall(ends.WORD)
            return address, ends.exchange(data, SIZE, 1)

    server = ends.Server(net.backend, serve, port=21)
    with ends.connect(net.client, BACKENDS[0], port=21) as control, net.client.socket(CLIENT) as listener:
        listener.bind((CLIENT, 0))
        listener.listen()
        for _ in range(20):
            control.sendall(b"NOOP\r\n")
            assert ends.receive_until(control, b"\n") == b"200 go on\r\n"
        assert learned(ladon) == [] and ladon.reasons("packet")["unlearned_help"] > 20
        port = listener.getsockname()[1]
        control.sendall(f"PORT {CLIENT.replace('.', ',')},{port // 256},{port % 256}\r\n".encode())
        data, _ = listener.accept()
        with data:
            data.settimeout(30)
            until_learned(ladon, data)
            data.sendall(GO)
            assert ends.exchange(data, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result() == (GATEWAY_BACK, ends.expected(SIZE, 2))
    assert invalid(net) == 0


def test_beside_a_handoff_and_as_a_forward(net):
    """Three producers on one gateway, and each flow says whose it is."""
    ladon = start(net, accelerate=ACCELERATE + """
listeners: [{listen: "10.0.1.9:8080", pool: only}]
pools: [{name: only, backends: ["10.0.2.2:8080"]}]
forwards: [{listen: "10.0.1.9:9090", to: "10.0.2.3:8080"}]
""")
    servers = [ends.Server(net.backend, chat(SIZE, 1), address=backend) for backend in BACKENDS[:3]]
    socks = [ends.connect(net.client, GATEWAY), ends.connect(net.client, GATEWAY, port=9090),
             ends.connect(net.client, BACKENDS[2])]

    def all_are_fast():
        for sock in socks:
            ends.ask(sock)
        flows = ladon.ask("flow show")["flows"]
        return sorted(f["by"] for f in flows if f["packets_in"] and f["packets_out"]) == ["forward", "handoff", "learned"]

    ends.ask(socks[0])
    ladon.wait_handed_off(1, 20)  # one that is late is so when its ends are silent for a moment
    until(all_are_fast, "each in its own way")
    ladon.kill9()
    for sock, server in zip(socks, servers):
        sock.sendall(GO)
        assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result() == (GATEWAY_BACK if server is servers[0] else CLIENT, ends.expected(SIZE, 2))
        sock.close()
    assert invalid(net) == 0


def test_why_a_flow_is_not_on_the_fast_path(net):
    """From the first packet on, both ways, and as ladon(8) prints it."""
    ladon = start(net, "both", "accelerate: {packets: 20, except: {ports: 9}}\n")
    udp = Udp(net, "both")
    ends_of_it = udp.sock.getsockname(), (GATEWAY, PORT)
    assert why(ladon, "udp", *ends_of_it) == "no_flow"
    assert udp.arrives()
    assert why(ladon, "udp", *ends_of_it) == "unlearned_state"
    udp.ask()
    assert why(ladon, "udp", *ends_of_it) == "unlearned_young"
    udp.until_learned(ladon)
    assert why(ladon, "udp", *ends_of_it) == "learned"
    assert why(ladon, "udp", (BACKENDS[0], PORT), (GATEWAY_BACK, ends_of_it[0][1])) == "learned"
    assert why(ladon, "tcp", *ends_of_it) == "no_flow"
    time.sleep(2.1)
    assert why(ladon, "udp", *ends_of_it) == "learned_stale"
    ends.Server(net.backend, chat(0, 1))
    net.gateway.nft("""table inet nat2 { chain pre { type nat hook prerouting priority -110; tcp dport 9 dnat ip to 10.0.2.2:8080; }
    }""")
    with ends.connect(net.client, GATEWAY) as one, ends.connect(net.client, GATEWAY, port=9) as other:
        for sock in (one, other):
            ends.ask(sock)
        assert why(ladon, "tcp", one.getsockname(), (GATEWAY, PORT)) == "unlearned_strict"
        assert why(ladon, "tcp", other.getsockname(), (GATEWAY, 9)) == "unlearned_spared"
        done = ladon.command("flow", "why", "tcp", "{}:{}".format(*one.getsockname()), f"{GATEWAY}:{PORT}")
        assert done.returncode == 0 and "unlearned_strict" in done.stdout and "no" in done.stdout
    assert ladon.command("flow", "why", "icmp", "10.0.1.1:1", "10.0.2.2:1").returncode == 2
    assert ladon.command("flow", "why", "tcp", "10.0.1.1", "10.0.2.2:1").returncode == 2
    done = ladon.command("flow", "why", "tcp", "10.0.1.1:1", "[fd00:2::2]:1")
    assert done.returncode == 1 and "not two addresses of one family" in done.stderr


def test_the_daemon_is_gone_and_comes_back(net):
    """What was learned stays in use, datagrams go on being learned; a new daemon begins anew; --cleanup leaves the stack alone."""
    ladon = start(net, "both")
    udp = Udp(net, "both")
    udp.until_learned(ladon)
    ladon.kill9()
    for _ in range(3):
        udp.ask()
        time.sleep(1)  # as long as an entry is good, and longer
    ladon = net.ladond(ACCELERATE)
    assert udp.until_learned(ladon)["stack_packets"] < 30
    ladon.stop()
    for _ in range(10):
        udp.ask()
    assert net.gateway.run(os.path.join(gateway.BUILD, "ladond"), "--cleanup", ladon.config).returncode == 0
    for _ in range(10):
        udp.ask()
    assert net.trouble() == {}

@pytest.mark.parametrize("way", ("both", "masquerade6"))
def test_a_silent_connection_stays(net, way):
    """Conntrack has not seen that its data was acknowledged, and does not forget it as it would one whose end is gone."""
    _, front, backend, _ = WAYS[way]
    net.gateway.sysctl("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", 4)
    start(net, way)

    def talk(sock):
        ends.answer(sock)
        ends.send(sock, 64 * ends.MB, 1)
        while ends.receive_exactly(sock, len(GO)) == GO:
            time.sleep(5)
            sock.sendall(GO)

    ends.Server(net.backend, talk, address=backend)
    socks = [ends.connect(net.client, front) for _ in range(3)]
    for sock in socks:
        ends.ask(sock)
    for sock in socks:
        assert ends.receive(sock, 64 * ends.MB) == ends.expected(64 * ends.MB, 1)
    for _ in range(2):
        for sock in socks:
            sock.sendall(GO)
        for sock in socks:
            sock.settimeout(10)
            assert ends.receive_exactly(sock, len(GO)) == GO


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(sport, data, *, ip_bytes=None, udp_bytes=None, tag=b""):
    """A frame of the client's, without a checksum of UDP; lengths as they are, or as somebody says."""
    length = 28 + len(data)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, ip_bytes or length, 7, 0x4000, 64, socket.IPPROTO_UDP, 0,
                     socket.inet_aton(CLIENT), socket.inet_aton(BACKENDS[0]))
    return tag + b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + \
        struct.pack("!HHHH", sport, PORT, udp_bytes or length - 20, 0) + data


def mac(space, device):
    return bytes.fromhex(space.run("ip", "-br", "link", "show", device).stdout.split()[2].replace(":", ""))


def packet_socket(space):
    with space.enter():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))  # ETH_P_ALL
        sock.bind(("eth0", 0))
        return sock


def frames(sock, last):
    """What has come in before a frame that contains this, and that."""
    sock.settimeout(10)
    found = [sock.recv(2048)]
    while last not in found[-1]:
        found.append(sock.recv(2048))
    return found


def test_what_conntrack_calls_invalid(net):
    """Lengths that cannot be, and segments without ACK: the stack's, which drops them."""
    ladon = start(net, "routed")
    udp = Udp(net, "routed")
    udp.until_learned(ladon)
    port = udp.sock.getsockname()[1]
    ether = mac(net.gateway, "client0") + mac(net.client, "eth0")
    hear, say = packet_socket(net.backend), packet_socket(net.client)
    for frame in (datagram(port, b"", ip_bytes=20), datagram(port, b"bad", udp_bytes=12), datagram(port, b"bad", udp_bytes=7),
                  datagram(port, b"good")):
        say.send(ether + frame)
    assert [f[42:46] for f in frames(hear, b"good") if f[23] == socket.IPPROTO_UDP and f[26:30] == socket.inet_aton(CLIENT)] == [b"good"]

    ends.Server(net.backend, chat(0, 1), address=BACKENDS[0])
    sock = ends.connect(net.client, BACKENDS[0])
    until(lambda: (ends.ask(sock), [f for f in learned(ladon) if f["protocol"] == "tcp" and f["packets_in"]])[1], "TCP is learned")
    with wire.capture(net.backend) as behind:
        for flags in (0, 0x08, 0x20):
            segment = bytearray(ends.bare_segment(CLIENT, sock.getsockname()[1], BACKENDS[0], PORT, b"xx"))
            segment[13] = flags
            segment[16:18] = bytes(2)
            segment[16:18] = struct.pack("!H", checksum(socket.inet_aton(CLIENT) + socket.inet_aton(BACKENDS[0]) +
                                                        struct.pack("!HH", socket.IPPROTO_TCP, len(segment)) + segment))
            ends.inject(net.client, bytes(segment), BACKENDS[0])
        ends.ask(sock)
    assert behind.segments and all(s.flags & wire.ACK for s in behind.segments)


def test_a_priority_without_a_vlan(net):
    """VID 0: the tag is for the link that the packet came by."""
    ladon = start(net, "routed")
    udp = Udp(net, "routed")
    udp.until_learned(ladon)
    fast = ladon.reasons("packet")["learned"]
    tags = Tags(net.backend, "eth0")
    frame = mac(net.gateway, "client0") + mac(net.client, "eth0") + \
        datagram(udp.sock.getsockname()[1], b"tagged", tag=b"\x81\x00\xa0\x00")
    say = packet_socket(net.client)
    for _ in range(5):
        say.send(frame)
        assert udp.server.recv(100) == b"tagged"
    assert ladon.reasons("packet")["learned"] >= fast + 4
    assert tags.read() == {None}


WRITES = {"dscp": ("routed", "ip dscp set cs1", 8 << 2, 64 - 1), "dscp6": ("routed6", "ip6 dscp set cs1", 8 << 2, 64 - 1),
          "ttl": ("routed", "ip ttl set 99", 0, 99), "hop limit": ("routed6", "ip6 hoplimit set 99", 0, 99)}


@pytest.mark.parametrize("what", WRITES)
def test_what_rules_write_into_packets(net, what):
    """... they write into each. When they are gone, the short way is open."""
    way, statement, dscp, ttl = WRITES[what]
    ladon = start(net, way)
    net.gateway.nft(f"""table inet mangle {{ chain post {{ type filter hook postrouting priority mangle; oifname backend0 udp dport 8080 {statement}; }}
    }}""")
    udp = Udp(net, way)
    level, tos, hops = (socket.IPPROTO_IPV6, 66, 51) if "6" in way else (socket.IPPROTO_IP, 13, 12)  # IP(V6)_RECV*: linux/in.h, in6.h
    for option in (tos, hops):
        udp.server.setsockopt(level, option, 1)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        udp.ask()
    for _ in range(20):
        udp.sock.send(b"?")
        seen = [struct.unpack("B", d[:1])[0] for _, _, d in udp.server.recvmsg(100, 100)[1]]
        assert sorted(seen) == sorted((dscp, ttl))
    net.gateway.nft("delete table inet mangle")
    udp.until_learned(ladon)


def test_a_smaller_mtu_of_ipv6(net):
    """That of the interface, not the device's."""
    ladon = start(net, "routed6")
    net.gateway.sysctl("net.ipv6.conf.backend0.mtu", 1300)
    udp = Udp(net, "routed6")
    udp.until_learned(ladon)
    with pytest.raises(OSError, match="too long"):
        until(lambda: udp.arrives(b"x" * 1400, seconds=0.1), "one is too long")
