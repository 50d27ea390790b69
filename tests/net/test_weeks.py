# SPDX-License-Identifier: GPL-2.0-only
"""Flows that last, or are silent, for weeks: 32-bit milliseconds go half way around in 24.9 days.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

The daemon runs in a time namespace whose monotonic clock is ahead; the kernel's
programs, which note when a flow was made and last seen, know nothing of it.
"""
import pytest

from lib import ends
from lib.gateway import FAMILIES
from lib.net import until

ONE_POOL = FAMILIES[0][2]
DAY = 24 * 3600


def a_flow_of_days(net, days, config):
    """Made by one daemon, and then days of silence. Return: the client's socket, the next daemon."""
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(config)
    sock = ends.connect(net.client)
    ends.ask(sock)
    ladon.wait_handed_off()
    ladon.kill9()
    return sock, net.ladond(config, prefix=(
        "unshare", "--time", "--monotonic", str(int(days * DAY)), "--fork", "--kill-child"))


@pytest.mark.parametrize("days", [1, 24.8, 24.9, 30, 49])
def test_a_flow_that_was_silent_for_days_is_forgotten(net, days):
    sock, ladon = a_flow_of_days(net, days, ONE_POOL)
    with sock:
        until(lambda: ladon.ask("flow show")["flows"] == [], "the idle flow is gone")


@pytest.mark.parametrize("days", [1, 24.8, 24.9, 29.9])
def test_or_kept_if_it_may_be_silent_for_longer(net, days):
    sock, ladon = a_flow_of_days(net, days, ONE_POOL + "timeouts: {idle: 30d}\n")
    with sock:
        flow, = ladon.flows()
        for what in ("age_ms", "idle_ms"):
            assert 0 <= flow[what] - int(days * DAY) * 1000 < 60_000, what
        ends.ask(sock)
    until(lambda: ladon.flows() == [], "it has closed")
