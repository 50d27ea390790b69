# SPDX-License-Identifier: GPL-2.0-only
"""Connections to backends that are gone from the file are kept, cut, or cut after a time, as it says.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
"""
import pytest

from lib import ends
from lib.gateway import one_host, one_pool
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, is_ipv6, until

FIRST, SECOND = f"{BACKENDS[0]}:8080", f"{BACKENDS[1]}:8080"
CUT = "removed-backends: cut\n"


def hear_reset(sock):
    with pytest.raises(ConnectionResetError):
        ends.receive(sock)


def greet(sock):
    """A talk: a greeting, and then all that is heard is an end by a reset."""
    ends.answer(sock)
    hear_reset(sock)


def greet_and_echo(sock):
    ends.answer(sock)
    ends.echo(sock)


def begin(net, port=8080, address=GATEWAY):
    """A connection that has been handed off, or is relayed, soon."""
    sock = ends.connect(net.client, address, port)
    ends.ask(sock)
    return sock


def is_cut(sock):
    with sock, pytest.raises(ConnectionResetError):
        sock.sendall(b"anybody there?")
        ends.receive(sock)


def goes_on(sock):
    with sock:
        ends.ask(sock)


def by_port(*listeners, more=""):
    """Listeners, each with a pool of its own: (port, backend)."""
    return ("listeners:\n" + "".join(f"- {{listen: '0.0.0.0:{port}', pool: p{port}}}\n" for port, _ in listeners)
            + "pools:\n" + "".join(f"- {{name: p{port}, backends: ['{to}']}}\n" for port, to in listeners) + more)


def test_cut_before_its_header_was_heard(net):
    """It is connected, and waits for the acknowledgement: it has a backend, too."""
    def pools(backend):
        return (f"listeners:\n- {{listen: '0.0.0.0:8080', pool: only}}\n"
                f"pools:\n- {{name: only, backends: ['{backend}'], send-proxy: v2}}\n{CUT}")

    gone = ends.Server(net.backend, hear_reset)
    lost = net.gateway.lose("tcp sport 8080 tcp flags & (syn | fin | rst | psh | ack) == ack")
    ladon = net.ladond(pools(FIRST))
    with ends.connect(net.client) as sock:
        until(lost, "the header's acknowledgement is lost")
        assert ladon.reload(pools(SECOND)).returncode == 0
        hear_reset(sock)
    gone.result()
    assert ladon.reasons() == {"removed": 1}


@pytest.mark.parametrize("at, first, second", [(GATEWAY, *BACKENDS[:2]), (GATEWAY6, *BACKENDS6[:2])],
                         ids=("ipv4", "ipv6"))
def test_cut(net, at, first, second):
    """What is handed off and what is relayed, and nothing else; who is cut hears a reset."""
    def pools(*backends, more=CUT):
        return one_pool(*(f"[{b}]:8080" if is_ipv6(b) else f"{b}:8080" for b in backends),
                        listen="[::]:8080" if is_ipv6(at) else "0.0.0.0:8080", more=more)

    gone = ends.Server(net.backend, greet, address=first)
    ends.Server(net.backend, greet_and_echo, address=second)
    ladon = net.ladond(pools(first, second))
    flows = [begin(net, address=at) for _ in range(2)]
    ladon.wait_handed_off(2)
    assert ladon.reload(pools(first, second, more=CUT + "handoff: no\n")).returncode == 0
    relayed = [begin(net, address=at) for _ in range(2)]
    assert ladon.connections()["relayed"] == 2
    assert "removed-backends: " not in ladon.log()

    done = ladon.reload(pools(second))

    assert done.returncode == 0, done.stderr
    ladon.wait_said("removed-backends: cut 1 handed-off flows and 1 relayed connections")
    for pair in (flows, relayed):  # the backends take turns
        is_cut(pair[0])
        goes_on(pair[1])
    gone.result()  # the relayed one's
    assert ladon.reasons()["removed"] == 1
    until(lambda: not ladon.flows(), "no flow is left")
    until(lambda: [b["flows"] for b in ladon.ask("pool show")["pools"][0]["backends"]] == [0],
          "all counts are right")


def test_a_pool_that_is_gone_and_an_address_that_another_pool_has(net):
    ends.Server(net.backend, greet_and_echo, port=8081)
    ends.Server(net.backend, greet_and_echo)
    ladon = net.ladond(by_port((8080, FIRST), (8081, f"{BACKENDS[0]}:8081"), (8082, FIRST)))
    kept, cut, moved = (begin(net, port) for port in (8080, 8081, 8082))
    ladon.wait_handed_off(3)

    assert ladon.reload(by_port((8080, FIRST), more=CUT)).returncode == 0

    is_cut(cut)
    goes_on(kept)
    goes_on(moved)


def test_without_the_key_they_are_kept(net):
    ends.Server(net.backend, greet_and_echo)
    ladon = net.ladond(one_pool(FIRST, more=CUT))
    kept = begin(net)
    ladon.wait_handed_off()

    assert ladon.reload(one_pool(SECOND)).returncode == 0

    goes_on(kept)
    assert "removed-backends" not in ladon.log()


def test_after_a_time(net):
    """Also though reloads go on, and not if the backend came back."""
    ends.Server(net.backend, greet_and_echo)
    ends.Server(net.backend, greet_and_echo, address=BACKENDS[1])
    later = "removed-backends: 2s\n"
    ladon = net.ladond(one_pool(FIRST, SECOND, more=later))
    first, second = begin(net), begin(net)
    ladon.wait_handed_off(2)

    assert ladon.reload(one_pool("10.0.2.4:1", more=later)).returncode == 0

    ladon.wait_said("2 addresses are in no pool any more; what goes on with them is cut after 2 s")
    ends.ask(first)
    ends.ask(second)
    until(lambda: ladon.reload(one_pool(SECOND, more=later)).returncode == 0 and len(ladon.flows()) == 1,
          "the flow to the first backend is cut", 10)
    is_cut(first)
    goes_on(second)
    ladon.wait_said("removed-backends: cut 1 ")
    assert ladon.log().count("removed-backends: cut 1 ") == 1


def test_a_relayed_connection_after_a_time(net):
    gone = ends.Server(net.backend, greet)
    ladon = net.ladond(one_pool(FIRST, more="handoff: no\n"))
    relayed = begin(net)

    assert ladon.reload(one_pool(SECOND, more="handoff: no\nremoved-backends: 300ms\n")).returncode == 0

    with relayed:
        hear_reset(relayed)
    gone.result()
    assert ladon.reasons()["removed"] == 1
    ladon.wait_gone()


def test_after_a_restart_with_a_smaller_file(net):
    """Adopted flows whose backend nobody remembers."""
    ends.Server(net.backend, greet_and_echo)
    ends.Server(net.backend, greet_and_echo, address=BACKENDS[1])
    ladon = net.ladond(one_pool(FIRST, SECOND))
    cut, kept = begin(net), begin(net)
    ladon.wait_handed_off(2)
    ladon.kill9()

    ladon = net.ladond(one_pool(SECOND, more=CUT))

    ladon.wait_said("removed-backends: cut 1 handed-off flows")
    is_cut(cut)
    goes_on(kept)


def test_a_name_that_is_not_found_yet_may_be_anybody(net):
    """Nothing is cut before; then the flows to its address are its own."""
    net.gateway.hosts("")
    ends.Server(net.backend, greet_and_echo)
    ends.Server(net.backend, greet_and_echo, address=BACKENDS[1])
    ladon = net.ladond(one_pool(FIRST, SECOND))
    cut, kept = begin(net), begin(net)
    ladon.wait_handed_off(2)

    assert ladon.reload(one_pool("web.internal:8080", more=CUT)).returncode == 0

    ladon.wait_said("removed-backends: nothing is cut before all names have been found")
    ends.ask(cut)
    ends.ask(kept)
    net.gateway.hosts(f"{BACKENDS[1]} web.internal")
    ladon.wait_said("removed-backends: cut 1 handed-off flows", 20)
    is_cut(cut)
    goes_on(kept)


def test_a_name_that_changes_cuts_nothing_but_the_next_reload_does(net):
    net.gateway.hosts(f"{BACKENDS[0]} web.internal")
    ends.Server(net.backend, greet_and_echo)
    named = one_pool("web.internal:8080", more=CUT)
    ladon = net.ladond(named)

    def addresses():
        return ladon.ask("pool show")["pools"][0]["backends"][0]["addresses"]

    until(addresses, "web.internal is looked up")
    sock = begin(net)
    ladon.wait_handed_off()
    ladon.kill9()
    net.gateway.hosts(f"{BACKENDS[1]} web.internal")
    ladon = net.ladond(named.replace("cut", "keep"))
    until(addresses, "web.internal is looked up again")
    ends.ask(sock)

    assert ladon.reload(named).returncode == 0

    is_cut(sock)


def test_a_connection_that_was_being_set_up_finds_no_backend(net):
    ends.Server(net.backend, greet_and_echo)
    ladon = net.ladond(one_host(FIRST, more=CUT))
    with ends.connect(net.client) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        until(lambda: ladon.connections()["open"] == 1, "it is peeked at")
        kept = ends.connect(net.client)
        kept.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        ladon.wait_handed_off()

        assert ladon.reload(one_host(SECOND, more=CUT)).returncode == 0

        sock.sendall(b"Host: example.org\r\n\r\n")
        assert ends.receive_until(sock, b"\r\n").startswith(b"HTTP/1.1 50")
    is_cut(kept)
    assert ladon.reasons() == {"no_backend": 1}
