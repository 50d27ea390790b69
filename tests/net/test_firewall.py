# SPDX-License-Identifier: GPL-2.0-only
"""A stateful firewall on the gateway lets the handshakes pass, and keeps nothing of what was handed off.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import pytest

from lib import ends
from lib.gateway import FAMILIES
from lib.net import until

# What a proxy takes: nothing is forwarded, and what belongs to no connection is dropped.
DEFAULT_DROP = """
    table inet fw {
        counter forwarded { }
        counter invalid { }
        chain input {
            type filter hook input priority filter; policy drop
            ct state invalid counter name invalid drop
            ct state established,related accept
            ct state new tcp dport 8080 accept
            meta l4proto ipv6-icmp accept
        }
        chain output {
            type filter hook output priority filter; policy drop
            ct state established,related accept
            ct state new tcp dport 8080 accept
            meta l4proto ipv6-icmp accept
        }
        chain forward {
            type filter hook forward priority filter; policy drop
            counter name forwarded
        }
    }
"""


def strict(net, forward):
    net.forward(forward)
    for name in ("all", "client0", "backend0"):
        net.gateway.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)


@pytest.mark.parametrize("forward", [False, True], ids=("closed", "forwarding"))
@pytest.mark.parametrize("at, backend, config", FAMILIES, ids=("ipv4", "ipv6"))
def test_nothing_of_a_flow_stays_in_conntrack(net, at, backend, config, forward):
    strict(net, forward)
    net.gateway.nft(DEFAULT_DROP)
    ladon = net.ladond(config)
    server = ends.Server(net.backend, ends.answer_and_exchange(4 * ends.MB, 1), address=backend)

    with ends.connect(net.client, at) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        until(lambda: net.gateway.tracked() == [], "conntrack has forgotten both connections")
        assert ends.exchange(sock, 4 * ends.MB, 2) == ends.expected(4 * ends.MB, 1)
        assert server.result() == ends.expected(4 * ends.MB, 2)
        assert net.gateway.tracked() == []
    until(lambda: ladon.flows() == [], "the flow has ended")

    assert net.gateway.tracked() == []
    assert net.gateway.named_counter("fw", "forwarded") == 0
    assert net.gateway.named_counter("fw", "invalid") == 0
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_only_one_connection_is_tracked(net):
    """As where the rules spare the clients: the backend's connection is forgotten all the same."""
    net.gateway.nft(DEFAULT_DROP.replace("ct state invalid counter name invalid drop",
                                         "tcp dport 8080 accept")
                    .replace("policy drop", "policy accept") + """
        table inet raw {
            chain prerouting { type filter hook prerouting priority raw; tcp dport 8080 notrack; }
            chain output { type filter hook output priority raw; tcp sport 8080 notrack; }
        }
    """)
    ladon = net.ladond(FAMILIES[0][2])
    ends.Server(net.backend, ends.echo)

    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        until(lambda: net.gateway.tracked() == [], "conntrack has forgotten the one")


def test_a_relayed_connection_is_still_tracked(net):
    net.gateway.nft(DEFAULT_DROP)
    ladon = net.ladond(FAMILIES[0][2] + "handoff: no\n")
    ends.Server(net.backend, ends.echo)

    with ends.connect(net.client) as sock:
        ends.ask(sock)
        assert [line.count("ESTABLISHED") for line in net.gateway.tracked()] == [1, 1]
    assert ladon.reasons() == {"handoff_off": 1}
