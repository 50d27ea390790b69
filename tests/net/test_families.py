# SPDX-License-Identifier: GPL-2.0-only
"""Client and backend speak unlike families, and are handed off all the same (RFC 7915).

    near -- 10.0.3.0/24 -- client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend -- 10.0.4.0/24 -- far
     .1                .9       .1              .9         .9              .2       .9              .2
            fd00:3::/64            fd00:1::/64                fd00:2::/64              fd00:4::/64

near and far exist where a test says so; client and backend are routers then (test_icmp.py).
"""
import collections
import socket
import threading
import time

import pytest

from lib import ends, wire
from lib.gateway import one_pool
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, join, sacks_are_right, until
from test_firewall import DEFAULT_DROP, strict
from test_handoff import kill_between_two_halves
from test_icmp import JIFFIES, OFFLOADS, Routed, hop_limit, offloads, repaired, told_about_a_byte, transfer
from test_offloads import SEGMENTATION, set_offloads
from test_options import MIXES, SACK, TIMESTAMPS, WSCALE, turn

SIZE = 8 * ends.MB

# What a test of both crossings is parametrised with; `number` is the client's family, `back` the backend's
Crossing = collections.namedtuple(
    "Crossing", "number back gateway gateway_back client backend near far")
CROSSINGS = [
    Crossing(6, 4, GATEWAY6, GATEWAY_BACK, CLIENT6, BACKENDS[0], "fd00:3::1", "10.0.4.2"),
    Crossing(4, 6, GATEWAY, GATEWAY_BACK6, CLIENT, BACKENDS6[0], "10.0.3.1", "fd00:4::2"),
]
crossings = pytest.mark.parametrize("crossing", CROSSINGS, ids=("6 to 4", "4 to 6"))
HEADERS = {4: 40, 6: 60}  # IP and TCP


def config(crossing, backend=None, more=""):
    return one_pool(join(backend or crossing.backend, 8080),
                    listen=join("::" if crossing.number == 6 else "0.0.0.0", 8080), more=more)


def exchange(net, crossing, size=SIZE):
    """Greet, then both ends say `size` at once. Return: the TCP options that client and backend agreed on."""
    def talk(sock):
        ends.answer(sock)
        return ends.exchange(sock, size, say=1), ends.tcp_info(sock)[1]

    server = ends.Server(net.backend, talk, address=crossing.backend)
    with ends.connect(net.client, crossing.gateway) as sock:
        options = ends.tcp_info(sock)[1]
        ends.ask(sock)
        assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
    heard, behind = server.result()
    assert heard == ends.expected(size, 2)
    server.close()
    return options, behind


def handed_off(ladon, count=1):
    assert ladon.reasons() == {}
    ladon.wait_handed_off(count)
    assert ladon.relayed_bytes() == 0
    assert not ladon.reasons("packet").keys() & {"icmp_error", "too_large", "not_ours", "header_csum"}


# ---- bytes ----

@pytest.mark.matrix
@pytest.mark.parametrize("cut", SEGMENTATION)
@pytest.mark.parametrize("tx", [(True, True, True), (False, False, False), (True, False, True), (False, True, False)],
                         ids=lambda tx: "tx " + "".join("01"[on] for on in tx))
def test_both_ways(net, tx, cut):
    """tx: checksums of the client, the gateway and the backend; see test_offloads.py. Both crossings in one test."""
    set_offloads(net, tx, cut)
    ladon = net.ladond("""
        listeners:
          - {listen: "[::]:8080", pool: four}
          - {listen: "0.0.0.0:8080", pool: six}
        pools:
          - {name: four, backends: ["10.0.2.2:8080"]}
          - {name: six, backends: ["[fd00:2::2]:8080"]}
    """)

    for crossing in CROSSINGS:
        exchange(net, crossing)

    handed_off(ladon, 2)
    assert net.trouble() == {}


@pytest.mark.parametrize("client, backend", [("all", "none"), ("no_timestamps", "all"), ("all", "no_sack"),
                                             ("no_sack", "no_wscale"), ("none", "all")])
@crossings
def test_mixes_of_options(net, crossing, client, backend):
    turn(net.client, MIXES[client][0])
    turn(net.backend, MIXES[backend][0])
    ladon = net.ladond(config(crossing))

    before, behind = exchange(net, crossing)

    mask = TIMESTAMPS | SACK | WSCALE
    assert before & mask == MIXES[client][1]
    assert behind & mask & ~MIXES[backend][1] == 0
    if before & TIMESTAMPS and not behind & TIMESTAMPS:
        assert ladon.reasons() == {"timestamps": 1}
    else:
        handed_off(ladon)
    assert net.trouble() == {}


@crossings
def test_loss(net, crossing):
    net.offload(tso=False, gso=False)
    ladon = net.ladond(config(crossing))
    lost = net.lossy()

    exchange(net, crossing)

    assert all(count() for count in lost)
    ladon.wait_handed_off(1)
    assert net.client.counter("TcpInCsumErrors") == net.backend.counter("TcpInCsumErrors") == 0
    assert sacks_are_right(net.client, net.backend)


@pytest.mark.parametrize("cut", [{}, dict(tso=False, gso=False)], ids=("super packets", "segments"))
@crossings
def test_on_the_wire(net, crossing, cut):
    """Nothing is repeated, TTL and hop limit are lowered once, the traffic class is kept, nothing is too large."""
    if cut:
        net.offload(**cut)
    ladon = net.ladond(config(crossing))
    marks = {6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS), 4: (socket.IPPROTO_IP, socket.IP_TOS)}

    def talk(sock):
        ends.answer(sock)
        sock.setsockopt(*marks[crossing.back], 0x88)
        return ends.exchange(sock, SIZE, say=1)

    server = ends.Server(net.backend, talk, address=crossing.backend)
    with wire.capture(net.client) as before, wire.capture(net.backend) as behind:
        with ends.connect(net.client, crossing.gateway) as sock:
            ends.ask(sock)
            sock.setsockopt(*marks[crossing.number], 0x48)
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)

    handed_off(ladon)
    for seen, number, tos in ((before.segments, crossing.number, 0x88), (behind.segments, crossing.back, 0x48)):
        assert sum(s.length for s in seen) == 2 * (SIZE + len(ends.WORD))
        assert wire.repeats(seen) == []
        assert wire.duplicate_acks(seen) == []
        assert {s.ttl for s in seen if s.incoming} == {63, 64}
        assert {s.tos for s in seen if s.incoming and s.ttl == 63 and s.length > 1000} == {tos}
        assert not [s for s in seen if s.flags & wire.RST]
        if cut:
            assert max(s.length + len(s.options) for s in seen) == 1440  # what fits into 1500 as IPv6
    assert net.trouble() == {}


@crossings
def test_kill_9_in_mid_transfer(net, crossing):
    kill_between_two_halves(net, config(crossing), crossing.gateway, crossing.backend, 16 * ends.MB)


# ---- ends ----

def one_flow(net, crossing, **more):
    """Return: ladond, and both ends of a flow."""
    ladon = net.ladond(config(crossing, **more))
    accepted = []
    done = threading.Event()

    def talk(sock):
        ends.answer(sock)
        accepted.append(sock)
        done.wait(30)

    net.backend.closers.append(done.set)
    ends.Server(net.backend, talk, address=crossing.backend)
    sock = ends.connect(net.client, crossing.gateway)
    ends.ask(sock)
    ladon.wait_handed_off()
    until(lambda: accepted, "the backend has answered")
    for end in (sock, accepted[0]):
        end.settimeout(10)
    return ladon, sock, accepted[0]


def no_flow_is_left(ladon):
    until(lambda: ladon.flows() == [], "no flow is left")
    ladon.wait_gone()


@pytest.mark.parametrize("first", ["client", "backend"])
@crossings
def test_half_close_and_close(net, crossing, first):
    ladon, *both = one_flow(net, crossing)
    goer, stayer = both if first == "client" else reversed(both)
    goer.shutdown(socket.SHUT_WR)
    assert stayer.recv(1) == b""
    stayer.sendall(b"still here")
    assert ends.receive_exactly(goer, 10) == b"still here"
    until(lambda: [f["state"] for f in ladon.flows()] == ["half_closed"], "the flow is half closed")
    stayer.shutdown(socket.SHUT_WR)
    assert goer.recv(1) == b""
    no_flow_is_left(ladon)
    assert net.trouble() == {}


@pytest.mark.parametrize("first", ["client", "backend"])
@crossings
def test_reset(net, crossing, first):
    ladon, *both = one_flow(net, crossing)
    goer, stayer = both if first == "client" else reversed(both)
    ends.reset(goer)
    with pytest.raises(ConnectionResetError):
        stayer.recv(1)
    no_flow_is_left(ladon)


@crossings
def test_a_killed_flow_answers_both_ends(net, crossing):
    ladon, sock, backend = one_flow(net, crossing)
    flow, = ladon.flows()
    assert ladon.command("flow", "kill", "id", str(flow["id"])).returncode == 0
    for end in (sock, backend):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    assert ladon.reasons("packet")["killed"] >= 2
    no_flow_is_left(ladon)


@crossings
def test_the_clients_port_is_used_again_at_once(net, crossing):
    ladon, sock, backend = one_flow(net, crossing)
    port = sock.getsockname()[1]
    ends.reset(sock)
    with pytest.raises(ConnectionResetError):
        backend.recv(1)

    def same_port(again):
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((crossing.client, port))

    with ends.connect(net.client, crossing.gateway, prepare=same_port) as again:
        ends.ask(again)
        ladon.wait_handed_off(2)


@crossings
def test_flows_are_shown_adopted_and_logged_with_the_addresses_of_both_legs(net, crossing):
    ladon, sock, backend = one_flow(net, crossing, more="access-log: {to: stderr}")
    client, source = sock.getsockname(), backend.getpeername()
    want = {"client": join(*client[:2]), "listener": join(crossing.gateway, 8080),
            "source": join(*source[:2]), "backend": join(crossing.backend, 8080), "pool": "only"}
    flow, = ladon.flows()
    assert {key: flow[key] for key in want} == want
    ladon.kill9()

    again = net.ladond(config(crossing, more="access-log: {to: stderr}"))
    flow, = again.flows()
    assert {key: flow[key] for key in want} == want
    assert again.ask("pool show")["pools"][0]["backends"][0]["flows"] == 1
    sock.sendall(b"x")
    assert backend.recv(1) == b"x"
    sock.close()
    backend.shutdown(socket.SHUT_WR)
    no_flow_is_left(again)
    until(lambda: f'"backend":"{want["backend"]}"' in again.log().replace(" ", ""), "a line of the access log")
    assert f'"client":"{want["client"]}"' in again.log().replace(" ", "")


@crossings
def test_nothing_of_a_flow_stays_in_conntrack(net, crossing):
    """Behind a default-drop firewall, with forwarding off."""
    strict(net, False)
    net.gateway.nft(DEFAULT_DROP)
    ladon = net.ladond(config(crossing))
    server = ends.Server(net.backend, ends.answer_and_exchange(SIZE, 1), address=crossing.backend)
    with ends.connect(net.client, crossing.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        until(lambda: net.gateway.tracked() == [], "conntrack has forgotten both connections")
        assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)
        assert net.gateway.tracked() == []
    handed_off(ladon)
    assert net.gateway.named_counter("fw", "forwarded") == 0
    assert net.trouble() == {}


@crossings
def test_routes_are_followed(net, crossing):
    """Those of the family that leaves: a blackhole to the backend stops it, and its end lets it go on."""
    ladon, sock, backend = one_flow(net, crossing)
    net.gateway.ip(f"route add blackhole {crossing.backend}")
    sock.sendall(b"x")
    until(lambda: "blackhole" in ladon.reasons("packet"), "it goes nowhere")
    net.gateway.ip(f"route del blackhole {crossing.backend}")
    assert backend.recv(1) == b"x"


# ---- refused ----

@crossings
def test_mode_stack_relays_with_a_reason(net, crossing):
    """conntrack's NAT keeps the family."""
    net.forward()
    ladon = net.ladond(config(crossing, more="mode: stack"))
    exchange(net, crossing, ends.MB)
    assert ladon.reasons() == {"family": 1}


# ---- sizes ----

def announced(segments, space_is_sender):
    """The MSS options of SYNs that the space sent, or got."""
    return {int.from_bytes(data, "big") for s in segments if s.flags & wire.SYN and s.incoming != space_is_sender
            for kind, data in wire.options(s) if kind == 2}


@pytest.mark.parametrize("mss, told", [(None, 1440), (1000, 1000)])
def test_an_ip4_listener_with_ip6_backends_announces_what_fits(net, mss, told):
    crossing = CROSSINGS[1]
    ladon = net.ladond(config(crossing).replace("    pool: only", f"    pool: only\n    mss: {mss}" if mss else
                                                "    pool: only"))
    with wire.capture(net.client) as seen:
        exchange(net, crossing, ends.MB)
    handed_off(ladon)
    assert announced(seen.segments, False) == {told}


def test_other_listeners_announce_what_they_did(net):
    net.ladond("""
        listeners:
          - {listen: ["0.0.0.0:8080", "[::]:8080"], pool: four}
          - {listen: ["0.0.0.0:8081"], pool: six, handoff: no}
        pools:
          - {name: four, backends: ["10.0.2.2:8080"]}
          - {name: six, backends: ["[fd00:2::2]:8080"]}
    """)
    for gateway, port, told in ((GATEWAY, 8080, 1460), (GATEWAY6, 8080, 1440), (GATEWAY, 8081, 1460)):
        with wire.capture(net.client) as seen:
            ends.connect(net.client, gateway, port).close()
            until(lambda: [s for s in seen.segments if s.flags & wire.SYN and s.incoming], "an answer")
        assert announced(seen.segments, False) == {told}


@crossings
def test_a_narrower_way_to_the_client_needs_nothing(net, crossing):
    """The back socket announces what the client can take, in its own family."""
    net.client.ip("link set eth0 mtu 1280")
    net.gateway.ip("link set client0 mtu 1280")
    net.offload(tso=False, gso=False)
    ladon = net.ladond(config(crossing))
    with wire.capture(net.backend) as seen:
        exchange(net, crossing)
    handed_off(ladon)
    assert max(s.length + len(s.options) for s in seen.segments if not s.incoming) == 1280 - HEADERS[crossing.number]
    assert net.trouble() == {}


@crossings
def test_a_narrower_way_to_the_backend_is_relayed_but_for_a_small_mss(net, crossing):
    net.backend.ip("link set eth0 mtu 1280")
    net.gateway.ip("link set backend0 mtu 1280")
    net.offload(tso=False, gso=False)
    ladon = net.ladond(config(crossing))
    exchange(net, crossing, ends.MB)
    assert ladon.reasons() == {"mss": 1}
    ladon.stop()

    ladon = net.ladond(config(crossing).replace("    pool: only", "    pool: only\n    mss: 1220"))
    exchange(net, crossing)
    handed_off(ladon)


# ---- ICMP ----

@pytest.mark.matrix
@offloads
@crossings
@pytest.mark.parametrize("to_near, to_far", [(1500, 1400), (1400, 1300), (1280, 1500)])
def test_a_narrow_way_behind_either_router_is_found(net, crossing, offload, to_near, to_far):
    """Each end learns in its own words what the other family's way takes."""
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    routed.narrow(net.client, crossing.near, to_near)
    routed.narrow(net.backend, crossing.far, to_far)
    ladon = net.ladond(config(crossing, crossing.far))

    mtus = transfer(routed, ladon, crossing)

    grows = 20 if crossing.number == 4 else -20  # what leaves for the backend
    told = (to_far - grows, to_near + grows)
    assert mtus == tuple(1500 if t >= 1480 else max(t, 1280 if n == 6 else 0)
                         for t, n in zip(told, (crossing.number, crossing.back)))
    assert ladon.relayed_bytes() == 0
    assert 1 <= ladon.reasons("packet").get("icmp_error", 0) < 100
    repaired(routed.near, routed.far)


@pytest.mark.matrix
@offloads
@crossings
@pytest.mark.parametrize("to_client, to_backend", [(1400, 1500), (1500, 1400), (1280, 1300)])
def test_the_gateways_own_links_become_narrower(net, crossing, offload, to_client, to_backend):
    """After the handoff, with no daemon alive: ladon says so, in the sender's family."""
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    ladon = net.ladond(config(crossing, crossing.far))

    def narrower():
        ladon.kill9()
        net.gateway.ip(f"link set client0 mtu {to_client}", f"link set backend0 mtu {to_backend}")
        net.client.ip(f"link set eth0 mtu {to_client}")
        net.backend.ip(f"link set eth0 mtu {to_backend}")
        time.sleep(JIFFIES)

    near, far = transfer(routed, ladon, crossing, narrower)

    grows = 20 if crossing.number == 4 else -20
    for mtu, own, others in ((near, to_client, to_backend - grows), (far, to_backend, to_client + grows)):
        assert mtu in (min(own, others), 1500 if min(own, others) >= 1480 else None)
    repaired(routed.near, routed.far)


@pytest.mark.matrix
@offloads
@crossings
@pytest.mark.parametrize("hops", [2, 3], ids=("at the gateway", "behind it"))
def test_the_time_to_live_ends(net, crossing, offload, hops):
    routed = Routed(net)
    routed.offload(**OFFLOADS[offload])
    ladon = net.ladond(config(crossing, crossing.far))
    ends.Server(routed.far, ends.echo, address=crossing.far)
    with ends.connect(routed.near, crossing.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        hop_limit(sock, hops)
        assert told_about_a_byte(routed.near, sock) == ((3, 0) if crossing.number == 6 else (11, 0))
        hop_limit(sock, 64)
        assert ends.receive_exactly(sock, 1) == b"x"
    assert ("ttl" if hops == 2 else "icmp_error") in ladon.reasons("packet")


@crossings
@pytest.mark.parametrize("kind, four, six", [("unreachable", (3, 1), (1, 0)), ("prohibit", (3, 10), (1, 1))])
def test_a_router_behind_finds_no_way(net, crossing, kind, four, six):
    routed = Routed(net)
    ladon = net.ladond(config(crossing, crossing.far))
    ends.Server(routed.far, ends.echo, address=crossing.far)
    with ends.connect(routed.near, crossing.gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        net.backend.ip(f"route add {kind} {crossing.far}")
        assert told_about_a_byte(routed.near, sock) == (six if crossing.number == 6 else four)
        net.backend.ip(f"route del {kind} {crossing.far}")
        assert ends.receive_exactly(sock, 1) == b"x"
