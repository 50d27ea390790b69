# SPDX-License-Identifier: GPL-2.0-only
"""ladond --cleanup takes off everything that is ladon's, and nothing that is not.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import os

import pytest

from lib import ends
from lib.gateway import BUILD, FAMILIES

ONE_POOL = FAMILIES[0][2]
DEVICES = ("client0", "backend0")
FOREIGN = "protocol ip u32 match ip src 255.255.255.255/32 flowid 1:1"


def cleanup(ladon):
    return ladon.space.run(os.path.join(BUILD, "ladond"), "--cleanup", ladon.config)


def tc(net, words):
    done = net.gateway.run("tc", *words.split())
    assert done.returncode == 0, done.stderr
    return done.stdout


def filters(net, device):
    return tc(net, f"filter show dev {device} ingress") + tc(net, f"filter show dev {device} egress")


def one_flow(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(ONE_POOL)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
        ladon.wait_handed_off()
    return ladon


def test_nothing_is_left(net):
    ladon = one_flow(net)
    assert all("ladon_ingress" in filters(net, device) for device in DEVICES)
    ladon.stop()

    done = cleanup(ladon)

    assert done.returncode == 0, done.stderr
    for device in DEVICES:
        assert filters(net, device) == ""
        assert "clsact" not in tc(net, f"qdisc show dev {device}")
    assert "ladon" not in os.listdir(net.bpffs())
    assert cleanup(ladon).returncode == 0  # nothing to do is no failure
    ladon = net.ladond(ONE_POOL)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_what_others_have_there_stays(net, when):
    """A qdisc that was there before ladon, and a filter beside ladon's; after a restart, too."""
    if when in ("before", "both"):
        tc(net, "qdisc add dev client0 clsact")
    if when == "both":
        tc(net, f"filter add dev client0 ingress pref 100 {FOREIGN}")
    ladon = one_flow(net)
    ladon.kill9()
    ladon = net.ladond(ONE_POOL)
    if when == "after":
        tc(net, f"filter add dev client0 ingress pref 100 {FOREIGN}")
    tc(net, "qdisc add dev lo clsact")
    net.gateway.nft("""table inet others {
        chain forward {
            type filter hook forward priority 0
        }
    }""")
    ladon.stop()

    done = cleanup(ladon)

    assert done.returncode == 0, done.stderr
    assert "ladon" not in filters(net, "client0")
    assert ("u32" in filters(net, "client0")) == (when != "before")
    assert "clsact" in tc(net, "qdisc show dev client0")
    assert "clsact" in tc(net, "qdisc show dev lo")
    assert "clsact" not in tc(net, "qdisc show dev backend0")
    assert "others" in net.gateway.run("nft", "list", "tables").stdout


def test_a_foreign_filter_in_ladons_place_stays(net):
    ladon = one_flow(net)
    ladon.stop()
    for way in ("ingress", "egress"):
        tc(net, f"filter del dev client0 {way} pref 2768")
    tc(net, f"filter add dev client0 ingress pref 2768 {FOREIGN}")

    assert cleanup(ladon).returncode == 0

    assert "u32" in filters(net, "client0")


def test_it_is_refused_while_a_daemon_runs(net):
    ladon = one_flow(net)

    done = cleanup(ladon)

    assert done.returncode == 1
    assert "stop it first" in done.stderr
    assert all("ladon_ingress" in filters(net, device) for device in DEVICES)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
