# SPDX-License-Identifier: GPL-2.0-only
"""Two gateways in a row learn the same connections, each for itself.

    client -- 10.0.7.0/24 -- far -- 198.51.100.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9   .1                   .2       .9               .2
              fd00:7::/64           2001:db8:51::/64             fd00:2::/64
"""
import contextlib

import pytest

from lib import ends, wire
from lib.gateway import (FAR_GATEWAY, FAR_GATEWAY6, FAR_GATEWAY_BACK, FAR_GATEWAY_BACK6, FAR_NEXT, FAR_NEXT6,
                         Far, Ladond)
from lib.learned import GO, STATEFUL, Udp, chat, invalid, learned, start
from lib.net import BACKENDS, BACKENDS6, GATEWAY_BACK, GATEWAY_BACK6, until

SIZE = 4 * ends.MB

HIDE = "table inet nat { chain post { type nat hook postrouting priority srcnat; oifname g0 masquerade; }\n}\n"
GUIDE = """table inet nat {
    chain pre {
        type nat hook prerouting priority dstnat;
        iifname eth2 meta nfproto ipv4 meta l4proto { tcp, udp } th dport 8080 dnat ip to 10.0.2.2:8080
        iifname eth2 meta nfproto ipv6 meta l4proto { tcp, udp } th dport 8080 dnat ip6 to [fd00:2::2]:8080
    }
    chain post { type nat hook postrouting priority srcnat; oifname backend0 masquerade; }
}
"""

OBEY = "accelerate: {drops: no}\n"  # what the rules drop, they count

# Which gateway has NAT: rules of the first and the second one; of either family, where clients connect to, where that is, who is seen there
PAIRS = {
    "first": (HIDE, "", (BACKENDS[0], BACKENDS[0], FAR_GATEWAY_BACK), (BACKENDS6[0], BACKENDS6[0], FAR_GATEWAY_BACK6)),
    "second": ("", GUIDE, (FAR_NEXT, BACKENDS[0], GATEWAY_BACK), (FAR_NEXT6, BACKENDS6[0], GATEWAY_BACK6)),
}


class Gateway:
    """One of the two: its namespace, and its ladond."""

    def __init__(self, net, ladon):
        self.gateway, self.ladon = net.gateway, ladon

    def both_ways(self):
        return sum(bool(flow["packets_in"] and flow["packets_out"]) for flow in learned(self.ladon))

    @contextlib.contextmanager
    def drops(self, protocol):
        """... what is for the port, meanwhile. Yields: how many packets it was."""
        self.gateway.nft(f"""table inet drops {{
            counter dropped {{ }}
            chain forward {{ type filter hook forward priority -1; {protocol} dport 8080 counter name dropped drop; }}
        }}""")
        yield lambda: self.gateway.named_counter("drops", "dropped")
        self.gateway.nft("delete table inet drops")


def begin(net, pair):
    """Return: both gateways, and of either family where clients connect to, where that is, and who is seen there"""
    first, second, *families = PAIRS[pair]
    far = Far(net)
    ladon = start(net, accelerate=OBEY)
    net.gateway.nft(second)
    far.gateway.nft(STATEFUL + first)
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        far.gateway.sysctl(name, 1)
    net.client.ip("route replace 10.0.2.0/24 via " + FAR_GATEWAY, "route replace fd00:2::/64 via " + FAR_GATEWAY6,
                  "route add 198.51.100.0/24 via " + FAR_GATEWAY, "route add 2001:db8:51::/64 via " + FAR_GATEWAY6)
    far.gateway.ip("route add 10.0.2.0/24 via " + FAR_NEXT, "route add fd00:2::/64 via " + FAR_NEXT6)
    net.gateway.ip("route add 10.0.7.0/24 via " + FAR_GATEWAY_BACK, "route add fd00:7::/64 via " + FAR_GATEWAY_BACK6)
    return (Gateway(far, Ladond(far, OBEY)), Gateway(net, ladon)), families


@pytest.mark.parametrize("pair", PAIRS)
def test_both_learn_and_both_obey(net, pair):
    """TCP and UDP of both families at once: bytes are right, nothing is repeated or invalid. A rule of either acts with its command."""
    gateways, families = begin(net, pair)
    servers = [ends.Server(net.backend, chat(SIZE, 1), address=backend) for _, backend, _ in families]
    datagrams = [Udp(net, (None, *family)) for family in families]
    socks = [ends.connect(net.client, front) for front, _, _ in families]

    def all_are_learned():
        for udp in datagrams:
            udp.ask()
        for sock in socks:
            ends.ask(sock)
        return [gateway.both_ways() for gateway in gateways] == [4, 4]

    with wire.capture(net.client, "eth1") as before, wire.capture(net.backend) as behind:
        until(all_are_learned, "both gateways have all four")
        for gateway in gateways:
            for udp in datagrams:
                with gateway.drops("udp") as dropped:
                    assert not udp.arrives(seconds=0) and until(dropped, "the rule has seen it") == 1
                    assert not udp.arrives(seconds=0) and until(lambda: dropped() == 2, "and the next")
                udp.ask()
        until(all_are_learned, "again")
        for sock in socks:
            sock.sendall(GO)
        heard = [ends.spawn(ends.exchange, sock, SIZE, 2) for sock in socks]
        assert [h.result(30) for h in heard] == [ends.expected(SIZE, 1)] * 2
        assert [server.result() for server in servers] == [(seen, ends.expected(SIZE, 2)) for _, _, seen in families]
    for segments in (before.segments, behind.segments):
        assert wire.repeats(segments) == [] and wire.duplicate_acks(segments) == []
        assert segments and not [s for s in segments if s.flags & wire.RST]
    assert [invalid(gateway) for gateway in gateways] == [0, 0]
    assert net.trouble() == {} and gateways[0].gateway.trouble() == {}
    for gateway in gateways:
        until(lambda: {flow["protocol"] for flow in learned(gateway.ladon)} == {"udp"}, "the ends were seen")


def test_a_connection_that_one_of_them_drops(net):
    """TCP repeats what the first, then the second has dropped; conntrack of neither minds, and the short way is open again."""
    gateways, families = begin(net, "second")
    for front, backend, _ in families:
        server = ends.Server(net.backend, chat(SIZE, 1), address=backend)
        with ends.connect(net.client, front) as sock:
            for gateway in gateways:
                until(lambda: ends.ask(sock) or [g.both_ways() for g in gateways] == [1, 1], "learned by both")
                with gateway.drops("tcp") as dropped:
                    sock.sendall(ends.WORD)
                    until(dropped, "the rule has seen it")
                    assert ends.unacknowledged(sock) == len(ends.WORD)
                assert ends.receive_exactly(sock, len(ends.WORD)) == ends.WORD
            sock.sendall(GO)
            assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
        assert server.result()[1] == ends.expected(SIZE, 2)
        until(lambda: not any(learned(gateway.ladon) for gateway in gateways), "the end was seen")
    assert [invalid(gateway) for gateway in gateways] == [0, 0]
    assert not [space for space in net.spaces if space.trouble().get("TcpOutRsts")]
