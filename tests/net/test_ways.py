# SPDX-License-Identifier: GPL-2.0-only
"""A flow goes the way that the routes say now, not the one that they said when it was made.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
"""
import pytest

from lib import ends
from lib.gateway import FAMILIES
from lib.net import BACKENDS, BACKENDS6

NOBODY = "02:00:00:00:00:99"

both_families = pytest.mark.parametrize(
    "gateway, backend, one_pool, router",
    [(*family, router) for family, router in zip(FAMILIES, (BACKENDS[1], BACKENDS6[1]))], ids=("ipv4", "ipv6"))


@both_families
def test_a_route_that_goes_is_no_longer_used(net, gateway, backend, one_pool, router):
    """It led to the backend through a router, which is another address of the backend's."""
    net.gateway.ip(f"route add {backend} via {router} dev backend0")
    ladon = net.ladond(one_pool)
    ends.Server(net.backend, ends.echo, address=backend)

    with ends.connect(net.client, gateway) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        net.gateway.ip(f"neigh replace {router} lladdr {NOBODY} nud permanent dev backend0",
                       f"route del {backend} via {router} dev backend0")
        ends.ask(sock)

    assert net.client.counter("TcpRetransSegs") == 0
