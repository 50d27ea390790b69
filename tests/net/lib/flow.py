# SPDX-License-Identifier: GPL-2.0-only
"""flow.py - a flow that lives while a test does something to the network, and the ways that it takes"""
import collections
import json

from . import ends
from .gateway import FAMILIES
from .net import GATEWAY_BACK, GATEWAY_BACK6, run

SIZE = 2 * ends.MB

# ip: the option of ip(8); host: the length of an address; the second link's addresses
Family = collections.namedtuple("Family", "ip host gateway backend config back second_backend second_gateway")
BOTH = [Family("-4", 32, *FAMILIES[0], GATEWAY_BACK, "10.0.5.2", "10.0.5.9"),
        Family("-6", 128, *FAMILIES[1], GATEWAY_BACK6, "fd00:5::2", "fd00:5::9")]


def loose(net):
    """Nobody minds which way a packet comes."""
    for space in net.spaces:
        space.sysctl("net.ipv4.conf.all.rp_filter", 0)
        for device in space.devices():
            space.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)
        space.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
        space.sysctl("net.ipv6.conf.default.keep_addr_on_down", 1)


def second_link(net):
    """backend1 on the gateway, eth1 on the backend; nothing is routed there yet."""
    net.backend.ip(f"link add eth1 type veth peer name backend1 netns {net.gateway.name}",
                   "link set eth1 up", "addr add 10.0.5.2/24 dev eth1", "addr add fd00:5::2/64 dev eth1 nodad")
    net.gateway.ip("link set backend1 up", "addr add 10.0.5.9/24 dev backend1",
                   "addr add fd00:5::9/64 dev backend1 nodad")
    net.backend.keep_order("eth1")
    net.gateway.keep_order("backend1")


def packets(space, device):
    """(received, sent) so far: segments, as the device counts them."""
    stats = json.loads(run("ip", "-n", space.name, "-j", "-s", "link", "show", device))[0]["stats64"]
    return stats["rx"]["packets"], stats["tx"]["packets"]


class Way:
    """What leaves the gateway by a device, and comes in there, from now on."""

    def __init__(self, net, device):
        self.space, self.device = net.gateway, device
        self.before = packets(self.space, device)

    def busy(self):
        """(does something come, does something go): more than neighbours ask each other"""
        now = packets(self.space, self.device)
        return tuple(after - before > 15 for before, after in zip(self.before, now))


class Flow:
    """A handed-off flow that has said a word each way; in the end both sides say as much as `size`.

    ladon: None: one of its own for this family
    """

    def __init__(self, net, family, ladon=None, size=SIZE):
        def talk(sock):
            ends.answer(sock)
            ends.answer(sock)
            return ends.answer_and_exchange(size, say=1)(sock)

        loose(net)
        self.net, self.size = net, size
        self.ladon = ladon or net.ladond(family.config)
        before = self.ladon.connections()["handed_off"]
        self.server = ends.Server(net.backend, talk, address=family.backend)
        self.sock = ends.connect(net.client, family.gateway)
        ends.ask(self.sock)
        self.ladon.wait_handed_off(before + 1)
        ends.ask(self.sock)
        for space in (net.client, net.backend):  # or what a test does next may cost an acknowledgement
            space.wait_acknowledged()

    def finish(self):
        with self.sock:
            ends.ask(self.sock)
            assert ends.exchange(self.sock, self.size, say=2) == ends.expected(self.size, 1)
        assert self.server.result() == ends.expected(self.size, 2)
        self.server.close()

    def finish_untroubled(self):
        self.finish()
        assert self.net.trouble() == {}
