# SPDX-License-Identifier: GPL-2.0-only
"""The network changes under a flow, and the flow follows: routes, rules, interfaces, neighbours.

    client -- 10.0.1.0/24 -- gateway ==== 10.0.2.0/24 ==== backend
      .1                   .9     .9 ==== 10.0.5.0/24 ====.2
               fd00:1::/64             fd00:2::/64, fd00:5::/64

There are two links to the backend, whose address is on the first. Nothing but ladon
forwards on the gateway.
"""
import json
import os
import signal
import socket
import struct
import time

import pytest

from lib import ends
from lib.flow import BOTH, SIZE, Flow, Way, loose, second_link
from lib.gateway import BUILD
from lib.net import GATEWAY, run, until

MOVED_MAC = "02:00:00:00:02:22"
families = pytest.mark.parametrize("family", BOTH, ids=("ipv4", "ipv6"))


def to_second(net, family):
    """The gateway's way to the backend."""
    net.gateway.ip(f"route add {family.backend}/{family.host} via {family.second_backend}")


def from_second(net, family):
    """The backend's way to the gateway."""
    net.backend.ip(f"route add {family.back}/{family.host} via {family.second_gateway}")


@families
def test_a_route_moves_to_another_interface(net, family):
    second_link(net)
    flow = Flow(net, family)
    to_second(net, family)
    from_second(net, family)
    first, second = Way(net, "backend0"), Way(net, "backend1")

    flow.finish_untroubled()

    assert (first.busy(), second.busy()) == ((False, False), (True, True))


@families
def test_it_moves_without_a_daemon_and_back(net, family):
    second_link(net)
    flow = Flow(net, family)
    flow.ladon.kill9()
    to_second(net, family)
    ends.ask(flow.sock)
    net.gateway.ip(f"route del {family.backend}/{family.host} via {family.second_backend}")
    first, second = Way(net, "backend0"), Way(net, "backend1")

    with flow.sock:
        assert ends.exchange(flow.sock, SIZE, say=2) == ends.expected(SIZE, 1)

    assert flow.server.result() == ends.expected(SIZE, 2)
    assert net.trouble() == {}
    assert (first.busy(), second.busy()) == ((True, True), (False, False))


@families
def test_only_the_way_back_moves(net, family):
    second_link(net)
    flow = Flow(net, family)
    from_second(net, family)
    first, second = Way(net, "backend0"), Way(net, "backend1")

    flow.finish_untroubled()

    assert (first.busy(), second.busy()) == ((False, True), (True, False))


@families
def test_a_route_moves_in_mid_transfer(net, family):
    """What overtakes on the new way is repeated or sorted by the ends; no byte is lost and nobody resets."""
    second_link(net)
    flow = Flow(net, family)
    ends.ask(flow.sock)
    first, second = Way(net, "backend0"), Way(net, "backend1")
    speaker = ends.spawn(ends.exchange, flow.sock, SIZE, 2)
    until(lambda: first.busy() == (True, True), "the transfer runs")
    for _ in range(10):
        to_second(net, family)
        net.gateway.ip(f"route del {family.backend}/{family.host} via {family.second_backend}")
    to_second(net, family)
    from_second(net, family)

    assert speaker.result(30) == ends.expected(SIZE, 1)
    assert flow.server.result() == ends.expected(SIZE, 2)
    flow.sock.close()
    for space in net.spaces:
        now = space.counters()
        assert [now[name] for name in ("TcpOutRsts", "TcpInErrs", "TcpInCsumErrors")] == [0, 0, 0]


@families
def test_a_route_moves_just_before_the_handoff(net, family):
    """Of a relayed connection whose sockets are silent: they still know the old way, and the flow takes the new one."""
    second_link(net)
    loose(net)
    net.backend.lose("tcp flags syn", once=True)  # a slow connect: the client is served by relaying meanwhile

    def talk(sock):
        ends.answer(sock)
        return ends.answer_and_exchange(SIZE, say=1)(sock)

    ladon = net.ladond(family.config)
    server = ends.Server(net.backend, talk, address=family.backend)
    with ends.connect(net.client, family.gateway) as sock:
        ends.ask(sock)
        time.sleep(0.1)  # all is acknowledged, and the handoff is tried 200 ms after the last packet
        to_second(net, family)
        from_second(net, family)
        first, second = Way(net, "backend0"), Way(net, "backend1")
        ladon.wait_handed_off()
        ends.ask(sock)
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)

    assert server.result() == ends.expected(SIZE, 2)
    assert (first.busy(), second.busy()) == ((False, False), (True, True))
    assert "slow_connect" in ladon.reasons()


@pytest.mark.parametrize("selector", ("from {back}", "to {backend}", "from {back} to {backend} iif lo"))
@families
def test_a_rule_sends_it_through_another_table(net, family, selector):
    second_link(net)
    flow = Flow(net, family)
    net.gateway.ip(f"route add {family.backend}/{family.host} via {family.second_backend} table 100")
    rule = selector.format(back=family.back, backend=family.backend)
    first, second = Way(net, "backend0"), Way(net, "backend1")
    run("ip", family.ip, "-n", net.gateway.name, "rule", "add", *rule.split(), "lookup", "100")

    flow.finish_untroubled()

    assert (first.busy(), second.busy()) == ((True, False), (False, True))


@families
def test_a_rule_about_an_interface_that_packets_come_by_is_not_about_flows(net, family):
    """ladon is a proxy: what it forwards is its own, and no rule for what is routed counts."""
    second_link(net)
    flow = Flow(net, family)
    net.gateway.ip(f"route add {family.backend}/{family.host} via {family.second_backend} table 100")
    run("ip", family.ip, "-n", net.gateway.name, "rule", "add", "iif", "client0", "lookup", "100")
    second = Way(net, "backend1")

    flow.finish_untroubled()

    assert second.busy() == (False, False)


@families
def test_an_interface_appears_and_takes_over(net, family):
    flow = Flow(net, family)
    second_link(net)
    until(lambda: "interface backend1: attached" in flow.ladon.log(), "ladon is on the new interface")
    to_second(net, family)
    from_second(net, family)
    second = Way(net, "backend1")

    flow.finish_untroubled()

    assert second.busy() == (True, True)


@families
def test_an_interface_vanishes_and_the_flow_goes_the_other_way(net, family):
    second_link(net)
    to_second(net, family)
    from_second(net, family)
    flow = Flow(net, family)
    net.gateway.ip("link del backend1")  # the routes by it go with it, on both sides
    first = Way(net, "backend0")

    flow.finish_untroubled()

    assert first.busy() == (True, True)


def hops(net):
    """{index: value} of the places in ladon's table of next hops that are not free."""
    dump = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{net.bpffs()}/ladon/ladon_hops"))
    return {e["formatted"]["key"]: e["formatted"]["value"] for e in dump if e["formatted"]["value"]["state"]}


def fill_hops(net):
    """With a thousand gateways that were."""
    taken = hops(net)
    value = " ".join(map(str, struct.pack("=IIHH16s", 2, 9999, 0, 0, b"")))
    lines = [f"map update pinned {net.bpffs()}/ladon/ladon_hops key {' '.join(map(str, struct.pack('=I', index)))} "
             f"value {value}" for index in range(1024) if index not in taken]
    run("bpftool", "batch", "file", "-", input="\n".join(lines) + "\n")
    assert len(hops(net)) == 1024


@families
def test_hops_that_no_flow_uses_any_more_make_room(net, family):
    """A flow that finds a new way when the table is full keeps the old one until there is room."""
    second_link(net)
    loose(net)

    def talk(sock):
        sock.settimeout(60)  # walks through the table take seconds
        return ends.echo(sock)

    ladon = net.ladond(family.config)
    ends.Server(net.backend, talk, address=family.backend)
    second, = (link["ifindex"] for link in json.loads(run("ip", "-n", net.gateway.name, "-j", "link"))
               if link["ifname"] == "backend1")

    def say():
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"

    with ends.connect(net.client, family.gateway) as sock:
        say()
        ladon.wait_handed_off()
        ladon.wait_still(lambda: [(f["packets_in"], f["packets_out"]) for f in ladon.flows()])
        used = hops(net).keys()  # a late acknowledgement might take one more
        ladon.signal(signal.SIGSTOP)
        fill_hops(net)
        to_second(net, family)
        from_second(net, family)
        say()
        assert second not in {hop["ifindex"] for hop in hops(net).values()}
        ladon.signal(signal.SIGCONT)
        until(lambda: len(hops(net)) <= 4, "all others are freed", 20)
        assert used & hops(net).keys(), "the flow's are not"

        say()
        assert second in {hop["ifindex"] for hop in hops(net).values()}
        until(lambda: len(hops(net)) == 2, "only those in use stay", 20)
        say()
    assert net.gateway.counter("TcpOutRsts") == 0


def test_a_daemon_goes_on_with_what_its_predecessor_freed(net):
    ladon = net.ladond(BOTH[0].config)
    fill_hops(net)
    until(lambda: any(hop["state"] == 3 for hop in hops(net).values()), "some are retired")
    ladon.kill9()

    net.ladond(BOTH[0].config)

    until(lambda: not hops(net), "all are freed", 30)


@families
def test_a_link_flaps(net, family):
    """While it is down the client is told so, and TCP holds on; then all goes on as before."""
    flow = Flow(net, family)
    net.gateway.ip("link set backend0 down")
    asked = ends.spawn(ends.ask, flow.sock)
    until(lambda: flow.ladon.reasons("packet").get("unreachable"), "the client is told")
    net.gateway.ip("link set backend0 up")
    asked.result(20)

    with flow.sock:
        assert ends.exchange(flow.sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert flow.server.result() == ends.expected(SIZE, 2)
    for space in net.spaces:
        now = space.counters()
        assert [now[name] for name in ("TcpOutRsts", "TcpInErrs", "TcpInCsumErrors")] == [0, 0, 0]


@families
def test_a_neighbour_moves(net, family):
    """The backend gets another MAC address, and says so (gratuitous ARP, unsolicited advertisement)."""
    flow = Flow(net, family)
    net.gateway.sysctl("net.ipv4.neigh.backend0.locktime", 0)
    net.backend.sysctl("net.ipv4.conf.eth0.arp_notify", 1)
    net.backend.sysctl("net.ipv6.conf.eth0.ndisc_notify", 1)
    net.backend.ip(f"link set eth0 address {MOVED_MAC}")
    until(lambda: MOVED_MAC in run("ip", "-n", net.gateway.name, "neigh", "show", family.backend),
          "the gateway knows")

    flow.finish_untroubled()


def make_bridge(net):
    net.gateway.ip("link add upper type bridge", "link set backend0 master upper")


def make_bridge_with_a_mac(net):
    net.gateway.ip("link add upper address 02:00:00:00:02:33 type bridge", "link set backend0 master upper")


def make_macvlan(net):
    net.gateway.ip("link add upper link backend0 type macvlan mode bridge")


@pytest.mark.matrix
@pytest.mark.parametrize("make", (make_bridge, make_bridge_with_a_mac, make_macvlan))
@pytest.mark.parametrize("live", (False, True), ids=("before", "live"))
@families
def test_the_addresses_move_to_a_device_on_top(net, family, make, live):
    """Before the flow is made, or while it lives."""
    def move():
        make(net)
        net.gateway.ip("link set upper up", "addr del 10.0.2.9/24 dev backend0",
                       "addr del fd00:2::9/64 dev backend0", "addr add 10.0.2.9/24 dev upper",
                       "addr add fd00:2::9/64 dev upper nodad")
        net.backend.ip("neigh flush dev eth0")

    if not live:
        move()
    flow = Flow(net, family)
    if live:
        move()
        until(lambda: "interface upper: attached" in flow.ladon.log(), "ladon is on the device on top")
    upper = Way(net, "upper")

    flow.finish_untroubled()

    assert upper.busy()[1]


# ---- forwarding is on for lo, and for lo only ----

def forwarding(net):
    return {(family, device): net.gateway.sysctl(f"net.{family}.conf.{device}.forwarding")
            for family in ("ipv4", "ipv6") for device in ("all", "lo", "client0", "backend0")}


def test_nothing_but_lo_forwards(net):
    before = forwarding(net)
    ladon = net.ladond(BOTH[0].config)
    after = forwarding(net)
    ladon.stop()

    assert set(before.values()) == {"0"}
    assert {key for key, value in after.items() if value != "0"} == {("ipv4", "lo"), ("ipv6", "lo")}


def advertise(net):
    """A router advertisement from the client to the gateway (RFC 4861 section 4.2)."""
    net.gateway.sysctl("net.ipv6.conf.client0.accept_ra", 1)
    with net.client.enter(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0),
                   ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
    until(lambda: "proto ra" in run("ip", "-6", "-n", net.gateway.name, "route"), "a default route")


def test_default_routes_from_advertisements_stay(net):
    advertise(net)
    ladon = net.ladond(BOTH[0].config)

    assert "proto ra" in run("ip", "-6", "-n", net.gateway.name, "route")
    assert forwarding(net)["ipv6", "lo"] == "0"
    assert forwarding(net)["ipv4", "lo"] != "0"
    ladon.wait_said("router advertisements")
    assert ends.connect(net.client, GATEWAY)


def test_cleanup_takes_forwarding_back(net):
    before = forwarding(net)
    ladon = net.ladond(BOTH[0].config)
    assert forwarding(net) != before
    ladon.stop()

    done = net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", "-c", ladon.config)

    assert done.returncode == 0, done.stderr
    assert forwarding(net) == before


def test_cleanup_leaves_an_operators_setting(net):
    net.gateway.sysctl("net.ipv4.conf.lo.forwarding", 1)
    ladon = net.ladond(BOTH[0].config)
    ladon.stop()

    net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", "-c", ladon.config)

    assert forwarding(net)["ipv4", "lo"] == "1"
