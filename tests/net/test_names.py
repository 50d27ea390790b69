# SPDX-License-Identifier: GPL-2.0-only
"""Backends by name: where they are is asked again when an answer is over, and new connections follow.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backends, and a name server
"""
import collections

import pytest

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


# ---- sources ----

def names_of(ladon):
    return {name: backend["state"] for name, backend in backends(ladon).items()}


def sources(ladon):
    return {source["source"]: source for source in ladon.ask("pool show")["pools"][0]["sources"]}


def tally(net, count):
    return collections.Counter(where(net) for _ in range(count))


def test_srv_records_are_backends(net, dns):
    """Priorities, weights and targets of a service; none, and a failure, are two things."""
    service = "_echo._tcp.example.org"
    addresses = dict(zip(("one", "two", "three"), (BACKENDS[0], BACKENDS[1], BACKENDS6[0])))
    dns.names = {f"{name}.example.org": [address] for name, address in addresses.items()}
    dns.names[service] = [(10, 3, 8080, "ONE.example.org"), (10, 1, 8080, "two.example.org"),
                          (20, 0, 8080, "three.example.org")]
    serve(net, *addresses.values())
    ladon = ladond(net, {"srv": service.upper(), "max-flows": 10000}, when_down="reset")
    until(lambda: len(names_of(ladon)) == 3, "the service is found")
    assert set(names_of(ladon).values()) == {"up"}
    assert tally(net, 40) == {BACKENDS[0]: 30, BACKENDS[1]: 10}
    first, at = begin(net)
    while at != BACKENDS[0]:
        first.close()
        first, at = begin(net)
    ladon.command("backend", "set", "only", "two.example.org:8080", "drain")

    # the heavy one leaves; what is known of the other stays, and what goes on, too
    dns.names[service] = dns.names[service][1:]
    until(lambda: len(names_of(ladon)) == 2, "a target is gone")
    assert names_of(ladon) == {"two.example.org:8080": "drain", "three.example.org:8080": "up"}
    assert tally(net, 4) == {BACKENDS6[0]: 4}
    ladon.command("backend", "set", "only", "two.example.org:8080", "auto")
    assert tally(net, 4) == {BACKENDS[1]: 4}
    goes_on(first)
    first.close()

    # all at once: there is somebody at each moment, since addresses are looked up before
    dns.names["four.example.org"] = "silent"
    dns.names[service] = [(0, 0, 8080, "four.example.org")]
    until(lambda: ("four.example.org", 1) in dns.asked, "its address is asked for")
    assert tally(net, 4) == {BACKENDS[1]: 4}
    dns.names["four.example.org"] = [BACKENDS[0]]
    until(lambda: where(net) == BACKENDS[0], "the next one is used")
    assert ladon.reasons("closed") == {}

    dns.names[service] = None
    until(lambda: sources(ladon)[f"srv:{service}"]["lookups_failed"], "the look-up fails")
    ladon.wait_said("srv:_echo._tcp.example.org: no name server answers")
    assert where(net) == BACKENDS[0]
    dns.names[service] = [(0, 0, 0, ".")]
    until(lambda: not names_of(ladon), "there is no such service")
    ladon.wait_said("says that there is no such service")
    dns.names[service] = [(0, 0, 8080, "two.example.org")]
    until(lambda: names_of(ladon) == {"two.example.org:8080": "up"}, "there is again")
    assert sources(ladon) == {f"srv:{service}": {"source": f"srv:{service}", "told": True, "lookups_failed": 0}}
    assert where(net) == BACKENDS[1]


def test_a_file_of_backends(net, dns, tmp_path):
    """It is followed when it changes, written in place or renamed; a bad one changes nothing, and is said."""
    listed = tmp_path / "backends"
    one, two, three = (f"{address}:8080" for address in BACKENDS)
    dns.names["www.example.org"] = [BACKENDS6[0]]
    serve(net, *BACKENDS[:2], BACKENDS6[0])
    listed.write_text(f"# who serves\n{one} weight=3\n\n{three} backup=yes max-flows=7 # for bad times\n")
    ladon = ladond(net, {"file": str(listed)}, health={"check": "tcp", "interval": "100ms"})
    assert where(net) == BACKENDS[0]
    assert backends(ladon)[one]["weight"] == 3
    assert backends(ladon)[three]["backup"] and backends(ladon)[three]["max_flows"] == 7
    until(lambda: names_of(ladon) == {one: "up", three: "sick"}, "nobody listens on the backup")
    first, _ = begin(net)
    ladon.wait_handed_off(2)

    # in place, a little at a time: what is said of those that stay is kept, what goes on goes on
    with listed.open("w", buffering=1) as out:
        out.write(f"{two}\n")
        out.write(f"{three}\n")
    until(lambda: two in names_of(ladon), "the file is read")
    assert names_of(ladon)[three] == "sick" and one not in names_of(ladon)
    assert backends(ladon)[three]["times_sick"] == 1
    assert where(net) == BACKENDS[1]
    goes_on(first)

    # renamed, with a name, in whose stead nobody is refused while it is looked up
    fresh = tmp_path / "fresh"
    fresh.write_text("www.example.org:8080\n")
    fresh.rename(listed)
    until(lambda: where(net) == BACKENDS6[0], "the other file is read")
    assert names_of(ladon) == {"www.example.org:8080": "up"}
    assert ladon.reasons("closed") == {}

    for bad, what in ((f"{one}\n10.0.2.3\n", 'line 2: "10.0.2.3" has no port'), ("", "there is no backend"),
                      (f"{one} weight=0\n", 'line 1: weight="0" will not do')):
        listed.write_text(bad)
        ladon.wait_said(what)
        assert where(net) == BACKENDS6[0]
    listed.unlink()
    ladon.wait_said("No such file")
    ladon.wait_said("keeping the backends that it named before")
    listed.write_text(f"{one}\n")
    until(lambda: where(net) == BACKENDS[0], "it is well again")
    goes_on(first)
    first.close()


def test_a_reload_reads_files_and_keeps_what_srv_records_said(net, dns, tmp_path):
    listed = tmp_path / "backends"
    dns.names = {"_echo._tcp.example.org": [(1, 0, 8080, "www.example.org")], "www.example.org": [BACKENDS[1]]}
    dns.ttls = dict.fromkeys(dns.names, 3600)
    serve(net, *BACKENDS[:2])
    listed.write_text(f"{BACKENDS[0]}:8080\n")
    sources = [{"file": str(listed)}, {"srv": "_echo._tcp.example.org"}]
    ladon = ladond(net, *sources)
    until(lambda: tally(net, 2) == {BACKENDS[0]: 1, BACKENDS[1]: 1}, "both are found")

    listed.write_text("nonsense\n")
    more = f"name-servers: {BACKENDS[2]}\n"
    refused = ladon.reload(config(*sources, more=more))
    assert refused.returncode == 1
    assert f"{listed}:1: " in refused.stderr
    listed.write_text(f"{BACKENDS[0]}:8080 weight=2\n")
    assert ladon.reload(config(*sources, more=more)).returncode == 0
    assert tally(net, 3) == {BACKENDS[0]: 2, BACKENDS[1]: 1}
    assert dns.asked.count(("_echo._tcp.example.org", 33)) == 1

