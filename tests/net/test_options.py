# SPDX-License-Identifier: GPL-2.0-only
"""Whatever TCP options the two ends speak, bytes arrive and nobody is told nonsense.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import pytest

from lib import ends, wire
from lib.gateway import FAMILIES
from lib.net import BACKENDS, GATEWAY, sacks_are_right

ONE_POOL = FAMILIES[0][2]
SIZE = 8 * ends.MB
TIMESTAMPS, SACK, WSCALE = 1, 2, 4  # tcpi_options

# What an end does without: sysctls, and the bits of tcpi_options that are left
MIXES = {
    "all": ({}, TIMESTAMPS | SACK | WSCALE),
    "no_timestamps": ({"tcp_timestamps": 0}, SACK | WSCALE),
    "no_sack": ({"tcp_sack": 0}, TIMESTAMPS | WSCALE),
    "no_wscale": ({"tcp_window_scaling": 0}, TIMESTAMPS | SACK),
    "none": ({"tcp_timestamps": 0, "tcp_sack": 0, "tcp_window_scaling": 0}, 0),
}


def turn(space, settings):
    for name, value in settings.items():
        space.sysctl(f"net.ipv4.{name}", value)


def both_ways(net, at=GATEWAY, backend=BACKENDS[0]):
    """SIZE bytes each way at once through ladon. Return: the options that client and backend agreed on."""
    def talk(sock):
        ends.answer(sock)
        return ends.exchange(sock, SIZE, say=1), ends.tcp_info(sock)[1]

    server = ends.Server(net.backend, talk, address=backend)
    with ends.connect(net.client, at) as sock:
        options = ends.tcp_info(sock)[1]
        ends.ask(sock)
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    heard, behind = server.result()
    assert heard == ends.expected(SIZE, 2)
    return options, behind


@pytest.mark.parametrize("backend", MIXES)
@pytest.mark.parametrize("client", MIXES)
def test_every_mix_of_options(net, client, backend):
    turn(net.client, MIXES[client][0])
    turn(net.backend, MIXES[backend][0])
    ladon = net.ladond(ONE_POOL)

    before, behind = both_ways(net)

    mask = TIMESTAMPS | SACK | WSCALE
    assert before & mask == MIXES[client][1]
    assert behind & mask & ~MIXES[backend][1] == 0
    if before & TIMESTAMPS and not behind & TIMESTAMPS:
        assert ladon.reasons() == {"timestamps": 1}
    else:
        assert ladon.reasons() == {}
        ladon.wait_handed_off(1)
        assert ladon.relayed_bytes() == 0
    assert net.trouble() == {}


@pytest.mark.parametrize("mix", ["no_sack", "none", "all"])
def test_loss_with_unlike_options(net, mix):
    """The client sends SACK blocks to a backend that never heard of them, and the reverse."""
    turn(net.client, MIXES[mix][0])
    turn(net.backend, {"tcp_sack": 0} if mix == "all" else {})
    net.offload(tso=False, gso=False)
    ladon = net.ladond(ONE_POOL)
    lost = net.lossy()

    both_ways(net)

    assert all(count() for count in lost)
    ladon.wait_handed_off(1)
    assert "g" not in net.trouble()
    assert net.client.counter("TcpInCsumErrors") == net.backend.counter("TcpInCsumErrors") == 0
    assert sacks_are_right(net.client, net.backend)


@pytest.mark.parametrize("client", [0, 1])
@pytest.mark.parametrize("backend", [0, 1])
def test_ecn_marks_do_not_reach_an_end_that_did_not_agree(net, client, backend):
    """tcp_ecn: 0 neither asks nor agrees, 1 does both, as the gateway does. Each end is told of congestion."""
    turn(net.client, {"tcp_ecn": client})
    turn(net.backend, {"tcp_ecn": backend})
    net.gateway.sysctl("net.ipv4.tcp_ecn", 1)
    for space in (net.client, net.backend):
        space.nft("""table ip congested {
            chain out {
                type filter hook output priority 0
                ip ecn != not-ect numgen random mod 100 < 10 ip ecn set ce
            }
        }""")
    ladon = net.ladond(ONE_POOL)

    with wire.capture(net.backend) as behind, wire.capture(net.client) as before:
        both_ways(net)

    ladon.wait_handed_off(1)
    assert net.trouble() == {}
    for seen in (before.segments, behind.segments):
        forwarded = [s for s in seen if s.incoming and s.ttl == 63]
        marked = [s for s in forwarded if s.ecn or s.flags & (wire.ECE | wire.CWR)]
        assert bool(marked) == bool(client and backend)


def narrow(net, mtu):
    """The way to the backend takes smaller packets than the client's."""
    net.backend.ip(f"link set eth0 mtu {mtu}")
    net.gateway.ip(f"link set backend0 mtu {mtu}")


def test_a_narrower_way_to_the_backend_is_relayed(net):
    narrow(net, 1280)
    ladon = net.ladond(ONE_POOL)

    both_ways(net)

    assert ladon.reasons() == {"mss": 1}


def test_mss_of_the_listener_makes_a_narrow_way_fit(net):
    narrow(net, 1280)
    net.offload(tso=False, gso=False)  # a packet that is too large would be lost, not cut by the device
    ladon = net.ladond(ONE_POOL.replace("    pool: only", "    pool: only\n    mss: 1240"))

    with wire.capture(net.client) as seen:
        both_ways(net)

    ladon.wait_handed_off(1)
    assert max(s.length for s in seen.segments if not s.incoming) <= 1240
    assert net.trouble() == {}


@pytest.mark.parametrize("mss", [536, 1240])
@pytest.mark.parametrize("at, backend, config", FAMILIES, ids=("ipv4", "ipv6"))
def test_mss_of_a_listener_is_both_ends_limit(net, at, backend, config, mss):
    """Wide ways: the client is told by ladon's SYN-ACK, the backend by ladon's SYN."""
    net.offload(tso=False, gso=False, gro=False)
    ladon = net.ladond(config.replace("    pool: only", f"    pool: only\n    mss: {mss}", 1))

    with wire.capture(net.client) as client, wire.capture(net.backend) as server:
        both_ways(net, at, backend)

    ladon.wait_handed_off(1)
    for seen in (client, server):
        for incoming in (False, True):
            largest = max(s.length for s in seen.segments if s.incoming == incoming)
            assert mss - 12 <= largest <= mss  # 12: of timestamps, which not all segments of ladon's have
    assert net.trouble() == {}


def test_a_narrower_way_to_the_client_needs_nothing(net):
    """The back socket announces what the client can take."""
    net.client.ip("link set eth0 mtu 1280")
    net.gateway.ip("link set client0 mtu 1280")
    net.offload(tso=False, gso=False)
    ladon = net.ladond(ONE_POOL)

    with wire.capture(net.backend) as seen:
        both_ways(net)

    ladon.wait_handed_off(1)
    assert max(s.length for s in seen.segments if not s.incoming) <= 1240
    assert net.trouble() == {}
