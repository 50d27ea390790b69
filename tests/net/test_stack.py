# SPDX-License-Identifier: GPL-2.0-only
"""mode: stack: the kernel's FORWARD path carries what was handed off, and rules, counters and conntrack see it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import ctypes
import json
import os
import re
import threading

import pytest

from lib import ends, wire
from lib.gateway import BUILD, FAMILIES
from lib.net import CLIENT, CLIENT6, GATEWAY_BACK, GATEWAY_BACK6, is_ipv6, run, until
from lib.strace import Strace

BOTH = pytest.mark.parametrize("at, backend, config", FAMILIES, ids=("ipv4", "ipv6"))
AT, BACKEND, CONFIG = FAMILIES[0]
STACK = "mode: stack\n"

# Handshakes as in test_firewall.py; and of what is forwarded only this client and this backend.
FIREWALL = """
    table inet fw {{
        counter to_backend {{ }}
        counter to_client {{ }}
        counter dropped {{ }}
        counter invalid {{ }}
        chain prerouting {{
            type filter hook prerouting priority filter
            ct state invalid counter name invalid drop
        }}
        chain input {{
            type filter hook input priority filter; policy drop
            ct state established,related accept
            ct state new tcp dport 8080 accept
            meta l4proto ipv6-icmp accept
        }}
        chain output {{
            type filter hook output priority filter; policy drop
            ct state established,related accept
            ct state new tcp dport 8080 accept
            meta l4proto ipv6-icmp accept
        }}
        chain forward {{
            type filter hook forward priority filter; policy drop
            {ip} saddr {client} {ip} daddr {backend} tcp dport 8080 counter name to_backend accept
            {ip} saddr {backend} {ip} daddr {client} tcp sport 8080 counter name to_client accept
            counter name dropped
        }}
    }}
"""


def firewall(backend):
    six = is_ipv6(backend)
    return FIREWALL.format(ip="ip6" if six else "ip", client=CLIENT6 if six else CLIENT,
                           backend=backend)


def gateway(net, backend=BACKEND, config=CONFIG, talk=None, size=0):
    """A gateway that forwards, with the firewall and strict rp_filter. Return: the daemon, the server."""
    net.forward()
    for name in ("all", "client0", "backend0"):
        net.gateway.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
    net.gateway.nft(firewall(backend))
    ladon = net.ladond(config + STACK)
    server = ends.Server(net.backend, talk or ends.answer_and_exchange(size, 1), address=backend)
    return ladon, server


def in_stack(net, ladon):
    """Wait until the flow is the stack's. Return: what conntrack says of it."""
    ladon.wait_handed_off()
    line, = until(lambda: [line for line in net.gateway.tracked() if "ASSURED" in line],
                  "conntrack has the flow")
    return line


@pytest.mark.parametrize("offload", [True, False], ids=("offload", "plain"))
@BOTH
def test_a_flow_passes_the_firewall_with_both_its_ends_as_they_are(net, at, backend, config, offload):
    if not offload:
        net.offload(tx=False, tso=False, gso=False, gro=False)
    size = 8 * ends.MB
    ladon, server = gateway(net, backend, config, size=size)
    with ends.connect(net.client, at) as sock:
        ends.ask(sock)
        line = in_stack(net, ladon)
        source = ladon.ask("flow show")["flows"][0]["source"].rpartition(":")[2]
        assert ends.exchange(sock, size, 2) == ends.expected(size, 1)
        assert server.result() == ends.expected(size, 2)
        port = sock.getsockname()[1]

    six = is_ipv6(at)
    assert re.search(f" src={CLIENT6 if six else CLIENT} dst={at} sport={port} dport=8080 "
                     f"src={backend} dst={GATEWAY_BACK6 if six else GATEWAY_BACK} sport=8080 "
                     f"dport={source} ", re.sub(r"packets=\d+ bytes=\d+ ", "", line)), line
    for name in ("to_client", "to_backend"):  # the server began before the stack had the flow
        assert net.gateway.named_count("fw", name)[1] > size / 2
    assert net.gateway.named_counter("fw", "dropped") == 0
    assert net.gateway.named_counter("fw", "invalid") == 0
    until(lambda: ladon.flows() == [] and net.gateway.tracked() == [], "flow and entry are gone")
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_rules_count_every_byte(net):
    """The counter of a rule says what the flow says, from the moment when the stack has taken it.

    But that a flow may miss a packet when it changes CPU (datapath/abi.h): an acknowledgement or two, it has been seen.
    """
    size = 4 * ends.MB

    def talk(sock):
        """It ends when the client does: a flow that has ended is not shown for long."""
        ends.answer(sock)
        ends.swap(sock, size, 1)
        return sock.recv(1)

    ladon, server = gateway(net, talk=talk)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)

        def both():
            flow, = ladon.ask("flow show")["flows"]
            return (flow["bytes_in"] - net.gateway.named_count("fw", "to_backend")[1],
                    flow["bytes_out"] - net.gateway.named_count("fw", "to_client")[1])

        missed = ladon.wait_still(both)
        ends.swap(sock, size, 2)
        assert all(abs(now - before) <= 120 for now, before in zip(ladon.wait_still(both), missed))
    assert server.result() == b""


@BOTH
def test_segments_and_options_are_right_on_both_wires(net, at, backend, config):
    ladon, _ = gateway(net, backend, config, talk=ends.echo)
    with wire.capture(net.client) as client, wire.capture(net.backend) as server:
        with ends.connect(net.client, at) as sock:
            ends.ask(sock)
            in_stack(net, ladon)
            for n in range(20):
                sock.sendall(bytes(1000))
                assert ends.receive_exactly(sock, 1000) == bytes(1000)
        until(lambda: ladon.flows() == [], "the flow has ended")

    for seen in (client, server):
        assert wire.repeats(seen.segments) == []
        assert not [s for s in seen.segments if s.flags & wire.RST]
    assert {s.ttl for s in client.segments if s.incoming and s.length} <= {63, 64}
    assert net.trouble() == {}


def test_a_rule_that_comes_later_stops_the_flow(net):
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        net.gateway.nft("insert rule inet fw forward tcp dport 8080 counter name dropped drop")
        before = net.gateway.named_counter("fw", "to_client")

        sock.sendall(b"nobody hears it")
        until(lambda: net.gateway.named_counter("fw", "dropped"), "the rule drops it")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert net.gateway.named_counter("fw", "to_client") == before


def test_to_delete_conntrack_s_entry_ends_the_flow(net):
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)

        assert net.gateway.run("conntrack", "-D", "-p", "tcp").returncode == 0

        until(lambda: not ladon.flows(), "the flow is killed")
        with pytest.raises(ConnectionResetError):
            sock.sendall(b"anybody there?")
            sock.recv(1)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off(2)


@pytest.mark.parametrize("by", ["client", "backend"])
def test_a_reset_reaches_the_other_end(net, by):
    """Also through conntrack, which looks at the numbers of a RST.

    Eight of each: a number that is before another by chance is so half of the time.
    """
    now = threading.Event()

    def talk(sock):
        ends.answer(sock)
        if by == "backend":
            assert now.wait(20)
            sock.sendall(b"x")
            ends.reset(sock)
        else:
            with pytest.raises(ConnectionResetError):
                ends.receive(sock)

    ladon, server = gateway(net, talk=talk)
    clients = [ends.connect(net.client) for _ in range(8)]
    for sock in clients:
        ends.ask(sock)
    ladon.wait_handed_off(8)
    until(lambda: sum("ASSURED" in line for line in net.gateway.tracked()) == 8, "all are tracked")
    now.set()
    for sock in clients:
        if by == "client":
            sock.sendall(b"x")
            ends.reset(sock)
        else:
            with sock, pytest.raises(ConnectionResetError):
                ends.receive(sock)
    for _ in clients:
        server.result(10)

    until(lambda: ladon.flows() == [] and net.gateway.tracked() == [], "all is gone")
    assert net.gateway.named_counter("fw", "invalid") == 0


def test_the_next_daemon_keeps_a_flow_and_ends_what_conntrack_forgot(net):
    ladon, _ = gateway(net, talk=ends.echo)
    socks = [ends.connect(net.client) for _ in range(2)]
    for sock in socks:
        ends.ask(sock)
    ladon.wait_handed_off(2)
    ladon.kill9()
    for sock in socks:
        ends.ask(sock)
    gone, kept = socks
    net.gateway.run("conntrack", "-D", "-p", "tcp", "--sport", str(gone.getsockname()[1]))

    again = net.ladond(CONFIG)  # also without a listener of this mode

    with gone, pytest.raises(ConnectionResetError):
        gone.sendall(b"anybody there?")
        gone.recv(1)
    with kept:
        ends.ask(kept)
        until(lambda: [f["state"] for f in again.ask("flow show")["flows"]].count("open") == 1,
              "one of the two lives")
    until(lambda: again.flows() == [] and net.gateway.tracked() == [], "all is gone")


@pytest.mark.parametrize("error", ["ENOBUFS", "EPERM"])
def test_what_conntrack_refuses_is_killed(net, error):
    """After the flow has begun it is too late to relay it, and it must not go on past the firewall."""
    ladon, _ = gateway(net, talk=ends.echo)
    strace = Strace(ladon)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        name, number, _ = next(step for step in strace.close() if "AF_NETLINK" in step[2])

        strace = Strace(ladon, f"{name}:error={error}:when={number}")
        with ends.connect(net.client) as refused:
            refused.sendall(b"first bytes")
            ladon.wait_said("conntrack refused it: ")
            strace.close()
            with pytest.raises(ConnectionResetError):
                refused.sendall(b"anybody there?")
                ends.receive(refused)
        ends.ask(sock)
        with ends.connect(net.client) as third:
            ends.ask(third)
            ladon.wait_handed_off(3)
            until(lambda: len(net.gateway.tracked()) == 2, "the other two are tracked, and nothing else is")
    assert net.gateway.named_counter("fw", "dropped") == 0


def take_back(pins):
    """Make flows as they are between activation and the moment when the stack takes them."""
    state = slice(56, 60)  # struct ladon_entry, datapath/abi.h
    table = f"{pins}/ladon_flows"
    for element in json.loads(run("bpftool", "-j", "map", "dump", "pinned", table)):
        key, value = element["key"], element["value"]
        value[state] = [hex(int(byte, 16) & ~mask) for byte, mask in zip(value[state], (0, 2, 0, 0))]
        run("bpftool", "map", "update", "pinned", table, "key", *key, "value", *value)


def test_the_next_daemon_finishes_what_was_half_done(net):
    """As after kill -9 in the middle of a handoff: the flow must not stay beside the firewall."""
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        ladon.kill9()
        take_back(f"{net.bpffs()}/ladon")
        net.gateway.run("conntrack", "-D", "-p", "tcp")
        ends.ask(sock)
        assert net.gateway.tracked() == []

        again = net.ladond(CONFIG)

        assert "ASSURED" in net.gateway.tracked()[0]
        before = net.gateway.named_counter("fw", "to_backend")
        ends.ask(sock)
        assert net.gateway.named_counter("fw", "to_backend") > before
    until(lambda: again.flows() == [] and net.gateway.tracked() == [], "all is gone")


def test_a_flushed_ruleset_gets_its_nat_chain_back(net):
    """What `systemctl restart nftables` does: no packet is answered by the gateway meanwhile."""
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)

        net.gateway.nft("flush ruleset")

        ladon.wait_said("nft table inet ladon was deleted; made again")
        ends.ask(sock)
    assert "g" not in net.trouble()


def test_a_packet_that_misses_nat_is_not_answered(net):
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        ladon.kill9()
        net.gateway.nft("flush ruleset")
        rsts = net.gateway.counter("TcpOutRsts")
        with wire.capture(net.client) as seen:
            sock.sendall(b"to the stack")
            until(lambda: net.gateway.counter("TcpOutRsts") > rsts, "the stack has answered")
            until(lambda: net.client.counter("TcpRetransSegs"), "the client has repeated it")
        assert not [s for s in seen.segments if s.flags & wire.RST]

        net.ladond(CONFIG)
        assert ends.receive_exactly(sock, 12) == b"to the stack"


def test_without_forwarding_it_is_relayed_until_it_is_on(net):
    ladon, _ = gateway(net, talk=ends.echo)
    net.forward(False)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_reason("no_forwarding")
        net.forward()
        ladon.wait_handed_off()
        ends.ask(sock)


def test_what_is_not_tracked_is_relayed(net):
    ladon, _ = gateway(net, talk=ends.echo)
    net.gateway.nft("""table inet raw {
        chain prerouting { type filter hook prerouting priority raw; iif client0 notrack; }
        chain output { type filter hook output priority raw; oif client0 notrack; }
        chain input { type filter hook input priority filter - 1; iif client0 accept; }
    }
    insert rule inet fw input iif client0 accept
    insert rule inet fw output oif client0 accept""")
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_reason("untracked")
        ends.ask(sock)
    assert ladon.connections()["handed_off"] == 0


def test_a_killed_flow_makes_way_for_a_new_connection(net):
    """The same client's port: conntrack must not take the SYN for the old flow's."""
    ladon, server = gateway(net, talk=ends.echo)
    sock = ends.connect(net.client, prepare=lambda s: s.bind((CLIENT, 40000)))
    ends.ask(sock)
    in_stack(net, ladon)
    assert ladon.ask("flow kill", all=True) == {"killed": 1}
    until(lambda: net.gateway.tracked() == [], "conntrack's entry is gone")
    ends.reset(sock)

    with ends.connect(net.client, prepare=lambda s: s.bind((CLIENT, 40000))) as again:
        ends.ask(again)
        ladon.wait_handed_off(2)


def test_modes_side_by_side(net):
    """Two listeners, one of each mode: only one flow is conntrack's."""
    ladon, _ = gateway(net, config=CONFIG.replace("    pool: only", "    pool: only\n    mode: direct", 1)
                       .replace("pools:", "  - {listen: '0.0.0.0:8081', pool: only}\npools:", 1),
                       talk=ends.echo)
    net.gateway.nft("insert rule inet fw input tcp dport 8081 accept")
    with ends.connect(net.client) as direct, ends.connect(net.client, port=8081) as stack:
        ends.ask(direct)
        ends.ask(stack)
        ladon.wait_handed_off(2)
        until(lambda: len(net.gateway.tracked()) == 1, "one entry")
        assert "dport=8081" in net.gateway.tracked()[0]
    until(lambda: ladon.flows() == [] and net.gateway.tracked() == [], "all is gone")


def test_cleanup_leaves_nothing(net):
    """Table and entries of flows that end by it; what others have stays."""
    ladon, _ = gateway(net, talk=ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        in_stack(net, ladon)
        ladon.stop()
        library = ctypes.CDLL(f"{BUILD}/libladon.so")
        with net.gateway.enter():
            assert library.ladon_cleanup(f"{net.bpffs()}/ladon".encode()) == 0
        ruleset = net.gateway.run("nft", "list", "ruleset").stdout
        assert "table inet ladon" not in ruleset and "table inet fw" in ruleset
        assert net.gateway.tracked() == []
        assert "ladon" not in os.listdir(net.bpffs())


def test_without_memory_for_its_last_step_a_flow_is_given_to_the_stack_later(net):
    """It must neither be lost nor go on past the firewall."""
    net.gateway.nft(firewall(BACKEND))
    net.gateway.sysctl("net.ipv4.ip_forward", 1)
    ladon = net.ladond(CONFIG + STACK)
    ends.Server(net.backend, ends.echo)
    with Strace(ladon, "bpf:error=ENOMEM:when=4+"):  # after the rule, the set of limits, and the handoff
        sock = ends.connect(net.client)
        ends.ask(sock)
        ladon.wait_said("conntrack refused it: Cannot allocate memory; trying again")
    with sock:
        def forwarded():
            ends.ask(sock)
            return net.gateway.named_counter("fw", "to_backend")

        until(forwarded, "the firewall sees it")
        before = net.gateway.named_counter("fw", "to_backend")
        ends.ask(sock)
        assert net.gateway.named_counter("fw", "to_backend") > before
    ladon.wait_handed_off(1)
