# SPDX-License-Identifier: GPL-2.0-only
"""Clients and backends behind VLANs, a bond, a VRF: a packet is translated once, on the device that it is for.

    client -- 10.0.1.0/24 -- gateway ==== 10.0.2.0/24 ==== backend
      .1                   .9     .9                    .2

Both families in each test. Where the kernel has no such device (CONFIG_VLAN_8021Q, CONFIG_BONDING,
CONFIG_NET_VRF) a test is skipped; make test-kernels runs them in kernels that have them.
"""
import json
import socket
import struct
import threading

import pytest

from lib import ends
from lib.flow import BOTH, Flow, Way
from lib.gateway import DUAL
from lib.net import is_ipv6, run, until
from lib.wire import ETH_P_ALL, HEADERS, capture, repeats

SIZE = ends.MB // 4


def add(space, line):
    """ip link add; where the kernel has no such device the test is skipped."""
    try:
        space.ip(f"link add {line}")
    except RuntimeError as error:
        if "Unknown device type" not in str(error):
            raise
        pytest.skip(f"this kernel has no {line.split('type ')[1].split()[0]} devices")


def move_up(space, lower, upper):
    """The addresses of a device, and the default routes by it, are another one's from now on."""
    shown = json.loads(run("ip", "-n", space.name, "-j", "address", "show", lower))[0]["addr_info"]
    addresses = [f"{a['local']}/{a['prefixlen']}" for a in shown if a["scope"] == "global"]
    routes = [route["gateway"] for family in ("-4", "-6") for route in json.loads(
        run("ip", family, "-n", space.name, "-j", "route", "show", "default", "dev", lower))]
    space.ip(f"addr flush dev {lower} scope global", f"link set {upper} up",
             *(f"addr add {a} dev {upper}{' nodad' * is_ipv6(a)}" for a in addresses),
             *(f"route replace default via {gateway}" for gateway in routes))


class Wire:
    """What two ends hear while a flow goes on, as their own devices see it."""

    def __init__(self, net, client, backend):
        self.captures = [capture(net.client, client), capture(net.backend, backend)]

    def __enter__(self):
        self.seen = [c.__enter__() for c in self.captures]
        return self

    def __exit__(self, *error):
        for c in self.captures:
            c.__exit__(*error)

    def ttls(self):
        return {s.ttl for seen in self.seen for s in seen.segments if s.incoming}


def hand_off(net, ladon):
    """A flow of each family."""
    return [Flow(net, family, ladon, SIZE) for family in BOTH]


# What a machine that is too slow may do: an emulated one is, and a timer runs out without loss.
LATE = {"TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOldSent",
        "TcpExtTCPSpuriousRtxHostQueues"}


def nobody_resets(net):
    """Nor is anything damaged."""
    for space in net.spaces:
        now = space.counters()
        assert [now[name] for name in ("TcpOutRsts", "TcpInErrs", "TcpInCsumErrors")] == [0, 0, 0], space.name
    return True


def finish_untroubled(flows):
    """Nothing was lost, reordered, damaged or reset."""
    for flow in flows:
        flow.finish()
    for space in flows[0].net.spaces:
        assert not set(space.trouble()) - LATE, (space.name, space.trouble())
        assert space.counter("TcpExtTCPSackRecovery") == 0, space.name


def talk(net, family):
    """A connection whose fate ladond decides: a greeting, and SIZE both ways."""
    server = ends.Server(net.backend, ends.answer_and_exchange(SIZE, say=1), address=family.backend)
    with ends.connect(net.client, family.gateway) as sock:
        ends.ask(sock)
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)


# ---- VLAN ----

def tag(space, device, number, options="", on=None):
    """A VLAN device with the addresses of the one below. Return: its name"""
    upper = f"{on or device}v{number}"
    add(space, f"link {on or device} name {upper} type vlan id {number} {options}")
    move_up(space, device, upper)
    return upper


def tag_all(net, options=""):
    """VLAN 10 to the client, VLAN 20 to the backend. Return: the ends' devices"""
    tag(net.gateway, "client0", 10, options)
    tag(net.gateway, "backend0", 20, options)
    return tag(net.client, "eth0", 10), tag(net.backend, "eth0", 20)


def test_vlans(net):
    """The tag is beside the packet, as a NIC hands it over, or in it."""
    devices = tag_all(net)
    ladon = net.ladond(DUAL)
    for beside in (True, False):
        net.offload(txvlan=beside, rxvlan=beside)
        flows = hand_off(net, ladon)
        lower, upper = Way(net, "backend0"), Way(net, "backend0v20")
        before = ladon.reasons("packet")["vlan"]

        with Wire(net, *devices) as wire:
            finish_untroubled(flows)

        assert (lower.busy(), upper.busy()) == ((True, True), (True, True))
        assert wire.ttls() == {63}
        assert ladon.reasons("packet")["vlan"] > before + 15


def test_a_vlan_within_a_vlan(net):
    """IEEE 802.1ad: two tags, towards the backend."""
    for space, device in ((net.gateway, "backend0"), (net.backend, "eth0")):
        add(space, f"link {device} name outer type vlan id 30 protocol 802.1ad")
        space.ip(f"link set {device} mtu 1508", "link set outer mtu 1504 up")
        tag(space, device, 20, on="outer")
        space.ip("link set outerv20 mtu 1500")
    ladon = net.ladond(DUAL)
    flows = hand_off(net, ladon)

    with Wire(net, "eth0", "outerv20") as wire:
        finish_untroubled(flows)

    assert wire.ttls() == {63}


def test_a_vlan_device_that_leaves_the_tags_in(net):
    """reorder_hdr off: what comes in there begins with the tag, and programs find no IP."""
    tag_all(net, "reorder_hdr off")
    ladon = net.ladond(DUAL)
    for family in BOTH:
        talk(net, family)

    assert ladon.reasons()["no_interface"] == 2
    assert ladon.connections()["handed_off"] == 0
    ladon.wait_said("interface client0v10: left alone: it leaves VLAN tags in packets")
    assert nobody_resets(net)


SOL_PACKET = 263
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 1 << 4


class Tags:
    """The tags that are beside frames that come in by a device; None: frames without one."""

    def __init__(self, space, device):
        with space.enter():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.bind((device, ETH_P_ALL))
        self.sock.setblocking(False)

    def read(self):
        found = set()
        while True:
            try:
                _, more, _, address = self.sock.recvmsg(HEADERS, 64)
            except BlockingIOError:
                return found
            if address[2] != socket.PACKET_OUTGOING:
                status, tci = struct.unpack_from("=I12xH", more[0][2])  # struct tpacket_auxdata
                found.add(tci if status & TP_STATUS_VLAN_VALID else None)


def test_a_priority_without_a_vlan(net):
    """VID 0: the packet is the device's own, and the tag ends there."""
    run("tc", "-n", net.client.name, "qdisc", "add", "dev", "eth0", "clsact")
    try:
        run("tc", "-n", net.client.name, "filter", "add", "dev", "eth0", "egress", "matchall",
            "action", "vlan", "push", "id", "0", "priority", "5")
    except RuntimeError:
        pytest.skip("this kernel has no act_vlan")
    ladon = net.ladond(DUAL)
    flows = hand_off(net, ladon)
    came, left = Tags(net.gateway, "client0"), Tags(net.backend, "eth0")

    finish_untroubled(flows)

    assert 5 << 13 in came.read()
    assert left.read() == {None}


# ---- bond ----

def bond(net, backend_mode="active-backup"):
    """backend0 and backend1 on the gateway, eth0 and eth1 on the backend; the first ones are active."""
    net.backend.ip(f"link add eth1 type veth peer name backend1 netns {net.gateway.name}")
    net.gateway.keep_order("backend1")
    net.backend.keep_order("eth1")
    for space, devices, mode in ((net.gateway, ("backend0", "backend1"), "active-backup"),
                                 (net.backend, ("eth0", "eth1"), backend_mode)):
        add(space, f"bond0 type bond mode {mode} miimon 10")
        move_up(space, devices[0], "bond0")
        for device in devices:
            space.ip(f"link set {device} down", f"link set {device} master bond0",
                     f"link set {device} up")
        if mode == "active-backup":
            space.ip(f"link set bond0 type bond primary {devices[0]}")
    until(lambda: active(net.gateway) == "backend0", "backend0 is active")
    if backend_mode == "active-backup":
        until(lambda: active(net.backend) == "eth0", "eth0 is active")


def active(space):
    """The bond's port that is in use."""
    with space.enter(), open("/proc/thread-self/net/bonding/bond0") as file:
        return file.read().split("Currently Active Slave: ")[1].splitlines()[0]


def test_a_bond_below_a_vlan_fails_over(net):
    """Not in mid-transfer: then nothing is lost."""
    bond(net)
    tag(net.gateway, "bond0", 20)
    device = tag(net.backend, "bond0", 20)
    ladon = net.ladond(DUAL)
    flows = hand_off(net, ladon)
    net.gateway.ip("link set backend0 down")
    for space, other in ((net.gateway, "backend1"), (net.backend, "eth1")):
        until(lambda: active(space) == other, f"{other} is active")
    first, second = Way(net, "backend0"), Way(net, "backend1")

    with Wire(net, "eth0", device) as wire:
        finish_untroubled(flows)

    assert (first.busy(), second.busy()) == ((False, False), (True, True))
    assert wire.ttls() == {63}
    ladon.wait_said("interface backend1: left alone: its packets are the bond's")


def test_a_bond_fails_over_in_mid_transfer(net):
    """What was on the dead link is repeated by the ends; nobody resets."""
    bond(net)
    ladon = net.ladond(DUAL)
    moved = threading.Event()

    def chat(sock):
        """Until it has moved, and then a little more. Return: does all come back as it was?"""
        data = ends.pattern(SIZE)
        while not moved.is_set():
            speaker = ends.spawn(sock.sendall, data)
            if ends.receive_exactly(sock, len(data)) != data:
                return False
            speaker.result(30)
        return True

    chats = []
    for count, family in enumerate(BOTH, 1):
        ends.Server(net.backend, ends.echo, address=family.backend)
        sock = ends.connect(net.client, family.gateway)
        ends.ask(sock)
        ladon.wait_handed_off(count)
        chats.append(ends.spawn(chat, sock))
    first, second = Way(net, "backend0"), Way(net, "backend1")
    until(lambda: first.busy() == (True, True), "they talk")
    net.gateway.ip("link set backend0 down")
    until(lambda: second.busy() == (True, True), "they talk by the other link", 20)
    moved.set()

    assert all(c.result(30) for c in chats)
    assert nobody_resets(net)


def test_a_bond_gets_everything_twice(net):
    """As from a switch that floods: what comes in by the port that is not active is dropped, as by the bond."""
    bond(net, backend_mode="broadcast")
    ladon = net.ladond(DUAL)
    flows = hand_off(net, ladon)
    second = Way(net, "backend1")

    with capture(net.client) as seen:
        for flow in flows:
            flow.finish()

    assert second.busy()[0]
    heard = [segment for segment in seen.segments if segment.incoming and segment.length]
    assert len(repeats(heard)) < len(heard) / 4


# ---- VRF ----

def enslave(net, *devices):
    """They are the VRF red's."""
    add(net.gateway, "red type vrf table 10")
    net.gateway.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
    net.gateway.ip("link set red up", *(f"link set {device} master red" for device in devices))


def test_ladond_in_a_vrf(net):
    """ip vrf exec red ladond: handed off. Routes of red are asked for where it forwards; else flows stay."""
    enslave(net, "client0", "backend0")
    ladon = net.ladond(DUAL, prefix=("ip", "vrf", "exec", "red"))
    for forwards in (False, True):
        net.forward(forwards)
        flows = hand_off(net, ladon)
        for prefix in ("10.9.0.0/24", "fd00:9::/64"):  # whatever changes: the kernel is asked again
            net.gateway.ip(f"route replace {prefix} dev client0 table 10 metric {1 + forwards}")

        with Wire(net, "eth0", "eth0") as wire:
            finish_untroubled(flows)

        assert wire.ttls() == {63}
    assert ladon.reasons() == {}
    assert ladon.reasons("packet").keys() <= {"no_flow", "quiet_ack", "not_ip", "not_tcp", "other_host"}


def test_a_client_in_another_vrf(net):
    """net.ipv4.tcp_l3mdev_accept: a listener in no VRF takes clients of all. Relayed."""
    enslave(net, "client0")
    net.gateway.sysctl("net.ipv4.tcp_l3mdev_accept", 1)
    ladon = net.ladond(DUAL)
    for family in BOTH:
        talk(net, family)

    assert ladon.reasons() == {"vrf": 2}
    ladon.wait_said("interface client0: left alone: it is in another VRF than ladon")
    assert nobody_resets(net)


def test_an_interface_changes_its_vrf(net):
    """ladond leaves it, and comes back to it."""
    ladon = net.ladond(DUAL)
    enslave(net, "client0")
    ladon.wait_said("interface client0: left alone")
    assert "ladon_ingress" not in run("tc", "-n", net.gateway.name, "filter", "show", "dev", "client0", "ingress")
    assert "clsact" not in run("tc", "-n", net.gateway.name, "qdisc", "show", "dev", "client0")
    net.gateway.ip("link set client0 nomaster")
    until(lambda: ladon.log().count("interface client0: attached") == 2, "ladond is on it again")
    finish_untroubled(hand_off(net, ladon))
