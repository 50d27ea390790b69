# SPDX-License-Identifier: GPL-2.0-only
"""Ways that become narrower under connections that are learned: the sender is told, whoever has the narrow way.

    near -- 10.0.3.0/24 -- client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend -- 10.0.4.0/24 -- far
      .1                             .1                   .9     .9              .2                     .2
            fd00:3::/64              fd00:1::/64                 fd00:2::/64            fd00:4::/64

client and backend are routers here.
"""
import socket

import pytest

from lib import ends
from lib.learned import ACCELERATE, GO, LINUX_LEARNS, STATEFUL, Udp, chat, invalid, learned, mtu, start, until_learned
from lib.net import until
from test_icmp import OFFLOADS, Routed, families, offloads, path_mtu, repaired

SIZE = 4 * ends.MB
pytestmark = LINUX_LEARNS

# Who is called is the gateway, and who calls seems to be it
NAT = STATEFUL + """
table inet nat {
    chain pre {
        type nat hook prerouting priority dstnat;
        iifname client0 ip daddr 10.0.1.9 tcp dport 8080 dnat ip to 10.0.4.2
        iifname client0 ip6 daddr fd00:1::9 tcp dport 8080 dnat ip6 to fd00:4::2
    }
    chain post { type nat hook postrouting priority srcnat; oifname backend0 masquerade; }
}
"""


def transfer(net, family, offload, bytes_most, narrower):
    """A connection, NAT of both ends; narrower(routed) is called when it is learned, then both sides say SIZE.

    Return: the path MTUs that the two ends know in the end
    """
    routed = Routed(net, bytes_most)
    routed.offload(**OFFLOADS[offload])
    net.forward()
    net.gateway.nft(NAT)
    ladon = net.ladond(ACCELERATE)
    server = ends.Server(routed.far, chat(SIZE, 1), address=family.far)
    with ends.connect(routed.near, family.gateway) as sock:
        until_learned(ladon, sock)
        narrower(routed)
        learn_anew(ladon, sock)
        sock.sendall(GO)
        assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
    assert server.result() == (family.gateway_back, ends.expected(SIZE, 2))
    repaired(routed.near, routed.far)
    assert invalid(net) == 0 and net.gateway.counter("TcpOutRsts") == 0
    return path_mtu(routed.near, family.gateway), path_mtu(routed.far, family.gateway_back)


def learn_anew(ladon, sock):
    """Small packets ask the stack, if anything makes them, so that large ones do not."""
    def packets():
        return [sum(flow[way] for flow in learned(ladon)) for way in ("packets_in", "packets_out")]

    before = packets()
    until(lambda: ends.ask(sock) or all(now > was + 10 for now, was in zip(packets(), before)), "the short way is open again")


@pytest.mark.matrix
@families
@offloads
def test_behind_the_gateway(net, family, offload):
    """A router on either side says so, and NAT leads it to the sender."""
    def narrower(routed):
        routed.narrow(net.client, family.near, 1300)
        routed.narrow(net.backend, family.far, 1400)

    assert transfer(net, family, offload, 1500, narrower) == (1400, 1300)


@pytest.mark.parametrize("way", ("both", "both6"))
def test_the_first_packet_that_is_too_large_for_a_link(net, way):
    """Its sender hears of it, and not only that of the one which asks the stack anyway."""
    ladon = start(net, way)
    udp = Udp(net, way)
    six = "6" in way
    udp.sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, 23 if six else 10, 2)  # *_MTU_DISCOVER: *_PMTUDISC_DO
    udp.until_learned(ladon)
    net.gateway.ip("link set backend0 mtu 1350")
    net.backend.ip("link set eth0 mtu 1350")
    until(lambda: udp.fast(ladon) > 30, "the short way is open again")
    udp.sock.send(bytes(1400))
    until(lambda: mtu(udp.sock, six) == 1350, "the path's MTU is known", 5)


@pytest.mark.matrix
@families
@offloads
@pytest.mark.parametrize("bytes_most", (1500, 9000))
def test_the_gateways_own_links(net, family, offload, bytes_most):
    """The gateway says so of the first packet that is too large."""
    def narrower(_):
        net.gateway.ip("link set client0 mtu 1350", "link set backend0 mtu 1400")
        net.client.ip("link set eth0 mtu 1350")
        net.backend.ip("link set eth0 mtu 1400")

    assert transfer(net, family, offload, bytes_most, narrower) == (1350, 1350)


@pytest.mark.matrix
@families
@offloads
def test_the_gateways_own_routes(net, family, offload):
    """As above, but its links stay as wide as they were."""
    def narrower(_):
        for to, router, most in ((family.near, family.near_router, 1300), (family.far, family.far_router, 1400)):
            net.gateway.ip(f"route add {to} via {router} mtu lock {most}")

    assert transfer(net, family, offload, 1500, narrower) == (1400, 1300)
