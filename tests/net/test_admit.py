# SPDX-License-Identifier: GPL-2.0-only
"""Who may connect, by address, and how many connections at a time, as of the last reload.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1 .2                .9     .9                  .2
"""
import json
import os
import select

import pytest

from lib import ends, tls
from lib.net import BACKENDS, CLIENT, CLIENT6, GATEWAY, GATEWAY6, until

OTHER = {4: "10.0.1.2", 6: "fd00:1::2"}
ELSEWHERE = {4: OTHER[4], 6: "fd00:5::2"}  # of another 64 bits
OURS = {4: CLIENT, 6: CLIENT6}
AT = {4: GATEWAY, 6: GATEWAY6}
PORT = 8080
HELLO = tls.hello("example.org")
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"

families = pytest.mark.parametrize("family", [4, 6])


def config(keys="", route="", default="", peek=True, more=""):
    """One listener for both families; `keys` are the listener's, `route` and `default` those of its routes."""
    routes = f"""routes:
      - {{tls: example.org, pool: web{route}}}
      - {{http: example.org, pool: web{route}}}
      - {{pool: web{default}}}"""
    return f"""
listeners:
  - listen: ["0.0.0.0:{PORT}", "[::]:{PORT}"]
    {keys}
    {routes if peek else "pool: web"}
pools:
  - {{name: web, backends: ["{BACKENDS[0]}:{PORT}"]}}
{more}"""


@pytest.fixture
def two(net):
    """The client has a second address of each family, and the backend echoes."""
    net.client.ip(f"address add {OTHER[4]}/24 dev eth0",
                  f"address add {OTHER[6]}/64 dev eth0 nodad",
                  f"address add {ELSEWHERE[6]}/64 dev eth0 nodad")
    net.gateway.ip(f"route add fd00:5::/64 via {CLIENT6}")
    ends.Server(net.backend, ends.echo)
    return net


def connect(net, family, source=None):
    def prepare(sock):
        sock.settimeout(10)
        sock.bind(((source or OURS)[family], 0))

    return ends.connect(net.client, AT[family], PORT, prepare=prepare)


def is_served(net, family, source=None, say=REQUEST):
    """False: by a RST."""
    try:
        with connect(net, family, source) as sock:
            sock.sendall(say)
            return ends.receive_exactly(sock, len(say)) == say
    except (ConnectionResetError, BrokenPipeError):
        return False


def listed(net, *lines):
    """A list of addresses in a file. Return: how ladon.yaml names it."""
    path = os.path.join(net.dir, "list")
    with open(path, "w") as file:
        file.write("\n".join(("# who", *lines, "")))
    return f"file:{path}"


# ---- the listener's ----

@families
def test_who_is_denied_is_reset_and_all_others_are_served(two, family):
    ladon = two.ladond(config(f'deny: ["{OTHER[4]}", "{OTHER[6]}"]'))

    assert not is_served(two, family, OTHER)
    assert is_served(two, family)
    assert ladon.reasons("closed") == {"source_denied": 1}
    until(lambda: ladon.connections()["closed"] == 1, "it is counted")


@families
def test_where_some_are_allowed_all_others_are_not(two, family):
    ladon = two.ladond(config(f'allow: ["{CLIENT}/32", "{CLIENT6}"]'))

    assert not is_served(two, family, OTHER)
    assert is_served(two, family)
    assert ladon.reasons("closed") == {"source_denied": 1}


@families
def test_deny_wins_over_allow(two, family):
    two.ladond(config(f'allow: [10.0.1.0/24, "fd00:1::/64"]\n    deny: ["{OTHER[4]}", "{OTHER[6]}"]'))

    assert not is_served(two, family, OTHER)
    assert is_served(two, family)


def test_all_of_ipv6_is_nobody_of_ipv4(two):
    two.ladond(config('deny: "::/0"'))

    assert is_served(two, 4)
    assert not is_served(two, 6)


def test_who_is_denied_is_not_listened_to(two):
    """Where the backend may speak first a client is refused before it has said a word, and without a FIN."""
    ladon = two.ladond(config("deny: 10.0.0.0/8", peek=False))

    with pytest.raises(ConnectionResetError):
        with connect(two, 4) as sock:
            sock.recv(1)
    assert ladon.reasons("closed") == {"source_denied": 1}
    until(lambda: ladon.connections()["open"] == 0, "nothing is left of it")


def test_its_line_in_the_access_log(two):
    path = os.path.join(two.dir, "access.log")
    two.ladond(config("deny: 10.0.0.0/8", more=f"access-log: {{to: {path}}}"))

    assert not is_served(two, 4)
    until(lambda: os.path.getsize(path), "a line")
    with open(path) as file:
        line, = map(json.loads, file)
    assert line["client"].startswith(CLIENT + ":")
    assert (line["end"], line["by"], line["how"]) == ("source_denied", "ladon", "none")


# ---- a route's ----

@families
@pytest.mark.parametrize("said", [HELLO, REQUEST], ids=["tls", "http"])
def test_a_route_that_is_not_for_the_client_says_so(two, family, said):
    ladon = two.ladond(config(route=f', deny: ["{OTHER[4]}", "{OTHER[6]}"]'))

    with connect(two, family, OTHER) as sock:
        sock.sendall(said)
        answer = ends.receive_exactly(sock, 1000)
    assert tls.alert(answer) == tls.ALERT_ACCESS_DENIED if said is HELLO else answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    ladon.wait_reason("route_denied")
    assert is_served(two, family, say=said)
    assert is_served(two, family, OTHER, say=b"SSH-2.0-x\r\n")  # the default is for everybody
    assert ladon.reasons("closed") == {"route_denied": 1}


def test_a_default_that_is_for_some(two):
    ladon = two.ladond(config(default=f", allow: {CLIENT}"))

    with connect(two, 4, OTHER) as sock:
        sock.sendall(b"SSH-2.0-x\r\n")
        assert ends.receive_exactly(sock, 1) == b""
    assert is_served(two, 4, say=b"SSH-2.0-x\r\n")
    assert ladon.reasons("closed") == {"route_denied": 1}


# ---- reload ----

@families
def test_a_reload_changes_who_is_let_in_and_nobody_who_is(two, family):
    """The file of addresses is read again, and a flow of one that is denied now goes on."""
    ladon = two.ladond(config(f"deny: {listed(two, OTHER[4], OTHER[6])}"))
    with connect(two, family) as flow:
        flow.sendall(REQUEST)
        assert ends.receive_exactly(flow, len(REQUEST)) == REQUEST
        ladon.wait_handed_off()
        assert not is_served(two, family, OTHER)

        listed(two, CLIENT, CLIENT6)
        assert ladon.command("reload").returncode == 0

        assert is_served(two, family, OTHER)
        assert not is_served(two, family)
        flow.sendall(b"as before")
        assert ends.receive_exactly(flow, 9) == b"as before"


def test_a_list_with_a_mistake_changes_nothing(two):
    name = listed(two, OTHER[4])
    ladon = two.ladond(config(f"deny: {name}"))

    listed(two, CLIENT, "10.0.1.2/24")
    done = ladon.command("reload")

    assert done.returncode != 0
    assert f"{name.removeprefix('file:')}:3: \"10.0.1.2/24\" has bits set beyond the first 24" in done.stderr
    assert is_served(two, 4)
    assert not is_served(two, 4, OTHER)


# ---- limits ----

def served(net, family, source=None, say=b"x"):
    """A connection that has had its echo, and is open."""
    sock = connect(net, family, source)
    sock.sendall(say)
    assert ends.receive_exactly(sock, len(say)) == say
    return sock


def listener(ladon, family):
    return next(one for one in ladon.ask("listener show")["listeners"]
                if one["name"] == {4: f"0.0.0.0:{PORT}", 6: f"[::]:{PORT}"}[family])


def is_open(net, family, source=None):
    """For who has nothing to say: is it served, when it says something at last?"""
    return is_served(net, family, source, b"x")


@families
@pytest.mark.parametrize("handoff", ["yes", "no"])
def test_a_source_has_as_many_connections_as_it_may(two, handoff, family):
    """Relayed or handed off; another source has its own, and who goes makes room."""
    ladon = two.ladond(config("limits: {per-source: 3}", peek=False, more=f"handoff: {handoff}"))
    held = [served(two, family) for _ in range(3)]
    if handoff == "yes":
        ladon.wait_handed_off(3)

    assert not is_open(two, family)
    assert is_open(two, family, ELSEWHERE)
    assert ladon.reasons("closed") == {"source_limit": 1}
    assert listener(ladon, family)["refused"] == 1
    assert listener(ladon, family)["limits"] == {"per_source": 3}
    held.pop().close()
    until(lambda: is_open(two, family), "there is room for another")
    for sock in held:
        sock.close()


def test_a_source_of_ipv6_is_a_net_of_64_bits(two):
    two.ladond(config("limits: {per-source: 1}", peek=False))

    with served(two, 6):
        assert not is_open(two, 6, OTHER)
        assert is_open(two, 6, ELSEWHERE)
        with served(two, 4):  # at another listener
            assert is_open(two, 4, OTHER)


@pytest.mark.parametrize("end", ["kill", "reset"])
def test_however_a_flow_ends_its_source_has_one_less(two, end):
    ladon = two.ladond(config("limits: {per-source: 1}", peek=False))
    sock = served(two, 4)
    ladon.wait_handed_off()
    assert not is_open(two, 4)

    if end == "kill":
        assert ladon.command("flow", "kill", "all").returncode == 0
    else:
        ends.reset(sock)
    until(lambda: is_open(two, 4), "there is room")
    sock.close()


def test_a_backend_that_is_not_there_leaves_no_trace(two):
    """Connections that fail count as long as they last."""
    ladon = two.ladond(config("limits: {per-source: 1}").replace(f":{PORT}\"]}}", ':1"]}'))

    for _ in range(3):
        with connect(two, 4) as sock:
            sock.sendall(REQUEST)
            assert ends.receive_exactly(sock, 12) == b"HTTP/1.1 503"
            ends.receive(sock)
        until(lambda: ladon.connections()["open"] == 0, "it is gone")
    assert ladon.reasons("closed") == {"no_backend": 3}


def test_a_restart_and_a_reload_forget_no_connection(two):
    """Flows of a former daemon count; and a reload that raises the limit goes on from where it was."""
    limited = config("limits: {per-source: 2}", peek=False)
    ladon = two.ladond(limited)
    held = [served(two, 4) for _ in range(2)]
    ladon.wait_handed_off(2)
    ladon.kill9()

    ladon = two.ladond(limited)
    assert not is_open(two, 4)
    assert ladon.reload(limited.replace("per-source: 2", "per-source: 3")).returncode == 0
    held.append(served(two, 4))
    assert not is_open(two, 4)
    assert ladon.reload(limited.replace("limits: {per-source: 2}", "")).returncode == 0
    assert is_open(two, 4)
    for sock in held:
        sock.close()


def test_flows_of_a_former_daemon_have_their_line(two):
    """What their sources take to be counted changes nothing of it."""
    path = os.path.join(two.dir, "access.log")
    limited = config("limits: {per-source: 2}", peek=False, more=f"access-log: {{to: {path}}}")
    ladon = two.ladond(limited)
    sock = served(two, 4)
    ladon.wait_handed_off()
    ladon.kill9()
    two.ladond(limited)
    sock.close()

    until(lambda: os.path.getsize(path), "a line")
    with open(path) as file:
        line, = map(json.loads, file)
    assert line["client"].startswith(CLIENT + ":")
    assert (line["listener"], line["pool"], line["how"], line["end"]) == \
        (f"0.0.0.0:{PORT}", "web", "handoff", "closed")
    assert "name" not in line and 0 <= line["duration_ms"] < 30000


def half_said(net, family, count):
    """Clients that have begun to say something, or the kernel would keep them to itself for a second."""
    socks = [connect(net, family) for _ in range(count)]
    for sock in socks:
        sock.sendall(REQUEST[:3])
    return socks


def those_reset(socks):
    ready, _, _ = select.select(socks, [], [], 0)
    for sock in ready:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    return ready


@families
def test_who_says_nothing_is_not_waited_for_without_end(two, family):
    """Beyond the limit the oldest of the silent ones is reset; who comes, speaks slowly or at once, is served."""
    most = 20  # enough that both workers have some
    ladon = two.ladond(config(f"limits: {{undecided: {most}}}"))
    silent = half_said(two, family, most)
    until(lambda: listener(ladon, family)["undecided"] == most, "all are waited for")
    assert listener(ladon, family)["limits"] == {"undecided": most}

    slow, = half_said(two, family, 1)
    ladon.wait_reason("undecided_limit")
    assert listener(ladon, family)["undecided"] == most
    gone = until(lambda: those_reset(silent), "one of them is reset")
    slow.sendall(REQUEST[3:])
    assert ends.receive_exactly(slow, len(REQUEST)) == REQUEST
    slow.close()
    for _ in range(5):
        assert is_served(two, family)

    assert len(gone) == 1
    assert ladon.reasons("closed") == {"undecided_limit": 1}
    assert listener(ladon, family)["refused"] == 1
    assert listener(ladon, family)["undecided"] == most - 1
    for sock in silent:
        sock.close()
    until(lambda: listener(ladon, family)["undecided"] == 0, "nobody is waited for")
    assert ladon.reasons("closed") == {"undecided_limit": 1, "client_gone": most - 1}


def test_ten_times_as_many_silent_ones_as_may_be(two):
    """Those that are reset are the older ones, on each worker; a reload forgets nobody."""
    limited = config("limits: {undecided: 20}")
    ladon = two.ladond(limited)
    silent = half_said(two, 4, 200)
    ladon.wait_reason("undecided_limit", 180)
    assert listener(ladon, 4)["undecided"] == 20
    until(lambda: len(select.select(silent, [], [], 0)[0]) == 180, "so many are reset")  # they are counted first
    gone = those_reset(silent)
    assert len(gone) == 180
    left = [sock for sock in silent if sock not in gone]
    assert ladon.reload(limited).returncode == 0
    assert listener(ladon, 4)["undecided"] == 20
    for sock in left:
        sock.sendall(REQUEST[3:])
        assert ends.receive_exactly(sock, len(REQUEST)) == REQUEST
    assert listener(ladon, 4)["undecided"] == 0
    for sock in silent:
        sock.close()
