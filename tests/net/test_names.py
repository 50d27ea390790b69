# SPDX-License-Identifier: GPL-2.0-only
"""Backends by name: where they are is asked again when an answer is over, and new connections follow.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backends, and a name server
"""
import pytest

from lib import ends
from lib.dns import NameServer
from lib.net import BACKENDS, BACKENDS6, until
from test_pools import begin, config, goes_on, serve, where

NAME = "www.example.org"


@pytest.fixture
def dns(net):
    return NameServer(net.backend, BACKENDS[2])


def ladond(net, *backends, **keys):
    return net.ladond(config(*backends, more=f"name-servers: {BACKENDS[2]}\n", **keys))


def backends(ladon):
    return {backend["backend"]: backend for backend in ladon.ask("pool show")["pools"][0]["backends"]}


def test_new_connections_follow_a_name_and_old_ones_stay(net, dns):
    """It moves within a second or two of its record's end, also to IPv6; a failure changes nothing."""
    dns.names[NAME] = [BACKENDS[0]]
    dns.names["silent.example.org"] = "silent"
    serve(net, BACKENDS[0], BACKENDS[1], BACKENDS6[0])
    ladon = ladond(net, "silent.example.org:8080", "WWW.example.org:8080")
    until(lambda: backends(ladon)["WWW.example.org:8080"]["addresses"], "the name is found")
    first, at = begin(net)
    assert at == BACKENDS[0]
    ladon.wait_handed_off()

    for address in (BACKENDS[1], BACKENDS6[0]):
        dns.names[NAME] = [address]
        until(lambda: where(net) == address, f"connections go to {address}")

    dns.names[NAME] = None
    until(lambda: backends(ladon)["WWW.example.org:8080"]["lookups_failed"] == 2, "look-ups fail")
    assert where(net) == BACKENDS6[0]
    assert ladon.log().count("WWW.example.org:8080: pool only: no name server") <= 1
    assert ladon.log().count("www.example.org: pool only: no name server answers, or it fails; "
                             "keeping 1 known addresses") == 1
    dns.names[NAME] = [BACKENDS[0]]
    until(lambda: where(net) == BACKENDS[0], "it is found again")
    assert backends(ladon)["WWW.example.org:8080"]["lookups_failed"] == 0
    goes_on(first)
    first.close()


def test_an_answer_is_kept_as_long_as_it_says(net, dns):
    """While one name is asked for again and again, another with more time is not."""
    dns.names = {NAME: [BACKENDS[0]], "long.example.org": [BACKENDS[1]]}
    dns.ttls["long.example.org"] = 3600
    ladond(net, f"{NAME}:8080", "long.example.org:8080")
    until(lambda: dns.asked.count((NAME, 1)) >= 4, "it is asked again")
    assert dns.asked.count(("long.example.org", 1)) == 1


def test_what_is_known_of_a_backend_outlives_an_answer(net, dns):
    """One more address: an ejected backend is ejected still. All others: nothing is known of them."""
    dns.names[NAME] = [BACKENDS[0]]
    serve(net, BACKENDS[1])
    ladon = ladond(net, f"{NAME}:8080", f"{BACKENDS[1]}:8080", eject={"failures": 1, "for": "1h"})

    def state():
        return backends(ladon)[f"{NAME}:8080"]["state"]

    until(lambda: state() == "up", "the name is found")
    until(lambda: where(net) and state() == "ejected", "nobody answers there")
    dns.names[NAME] = [BACKENDS[0], BACKENDS[2]]
    until(lambda: len(backends(ladon)[f"{NAME}:8080"]["addresses"]) == 2, "there are two")
    assert state() == "ejected"
    dns.names[NAME] = [BACKENDS6[1]]
    until(lambda: state() == "up", "it has moved")
