# SPDX-License-Identifier: GPL-2.0-only
"""A pool sends connections where its policy, its backends' state and the operator say.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1 (and more)        .9     .9                  .2 .3 .4
"""
import collections
import json

import pytest

from lib import ends
from lib.net import BACKENDS, BACKENDS6, CLIENT, GATEWAY, GATEWAY6, is_ipv6, join, until

FIRST, SECOND, THIRD = (f"{address}:8080" for address in BACKENDS)


def config(*backends, listen="0.0.0.0:8080", more="", **keys):
    """A listener with one pool; a backend is its text or a mapping of keys, and so are the pool's keys."""
    pool = {"name": "only", **{key.replace("_", "-"): value for key, value in keys.items()},
            "backends": [{key.replace("_", "-"): value for key, value in b.items()} if isinstance(b, dict) else b
                         for b in backends]}
    return f"listeners: [{{listen: '{listen}', pool: only}}]\npools: [{json.dumps(pool)}]\n{more}"


def tell_and_echo(sock):
    """A talk: the backend says who it is, then it echoes."""
    sock.sendall(sock.getsockname()[0].ljust(39).encode())
    ends.echo(sock)


def serve(net, *addresses):
    return [ends.Server(net.backend, tell_and_echo, address=address) for address in addresses]


def begin(net, source=None, address=GATEWAY):
    """Return: a connected socket, and the address of its backend."""
    sock = ends.connect(net.client, address,
                        prepare=lambda sock: sock.bind((source, 0)) if source else None)
    return sock, ends.receive_exactly(sock, 39).decode().strip()


def where(net, source=None, address=GATEWAY):
    """The backend that a short connection gets."""
    sock, backend = begin(net, source, address)
    sock.close()
    return backend


def goes_on(sock):
    sock.sendall(b"there?")
    assert ends.receive_exactly(sock, 6) == b"there?"


def is_cut(sock):
    with sock, pytest.raises(ConnectionResetError):
        sock.sendall(b"anybody there?")
        ends.receive(sock)


def is_refused(net):
    """The client is accepted, and then there is nobody for it."""
    with ends.connect(net.client) as sock:
        assert sock.recv(1) == b""


def backends(ladon, pool=0):
    """{text: what ladon pool says of it}"""
    return {b["backend"]: b for b in ladon.ask("pool show")["pools"][pool]["backends"]}


def set_state(ladon, backend, state, pool="only"):
    done = ladon.command("backend", "set", pool, backend, state, json_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


# ---- policies ----

def test_weights_are_seen_where_connections_go(net):
    serve(net, *BACKENDS)
    net.ladond(config({"address": FIRST, "weight": 6}, {"address": SECOND, "weight": 2}, THIRD))

    went = collections.Counter(where(net) for _ in range(18))

    assert went == {BACKENDS[0]: 12, BACKENDS[1]: 4, BACKENDS[2]: 2}


def test_least_flows_by_weight(net):
    serve(net, *BACKENDS[:2])
    ladon = net.ladond(config({"address": FIRST, "weight": 3}, SECOND, policy="least-flows"))

    held = [begin(net) for _ in range(8)]
    ladon.wait_handed_off(8)

    assert collections.Counter(backend for _, backend in held) == {BACKENDS[0]: 6, BACKENDS[1]: 2}
    for sock, backend in held:
        if backend == BACKENDS[0]:
            sock.close()
    until(lambda: backends(ladon)[FIRST]["flows"] == 0, "the flows have ended")
    assert where(net) == BACKENDS[0]


@pytest.mark.parametrize("at, servers", [(GATEWAY, BACKENDS), (GATEWAY6, BACKENDS6)], ids=("ipv4", "ipv6"))
def test_a_source_keeps_its_backend_over_a_restart_and_another_order(net, at, servers):
    many = [f"fd00:1::1:{i}" if is_ipv6(at) else f"10.0.1.{20 + i}" for i in range(24)]
    net.client.ip(*(f"addr add {source}/{64 if is_ipv6(at) else 24} dev eth0 {'nodad' if is_ipv6(at) else ''}"
                    for source in many))
    serve(net, *servers)
    texts = [join(address, 8080) for address in servers]
    listen = join("::" if is_ipv6(at) else "0.0.0.0", 8080)
    ladon = net.ladond(config(*texts, policy="hash", listen=listen))
    went = {source: where(net, source, at) for source in many}
    assert set(went.values()) == set(servers)  # 24 of them

    assert {source: where(net, source, at) for source in many} == went
    ladon.kill9()
    ladon = net.ladond(config(*reversed(texts), policy="hash", listen=listen))
    assert {source: where(net, source, at) for source in many} == went

    set_state(ladon, texts[1], "drain")
    moved = {source: where(net, source, at) for source in many}
    assert {source for source in many if moved[source] != went[source]} == \
        {source for source in many if went[source] == servers[1]}
    set_state(ladon, texts[1], "auto")
    assert {source: where(net, source, at) for source in many} == went


def test_a_name_keeps_its_backend_whoever_asks(net):
    def http(sock):
        ends.receive_until(sock, b"\r\n\r\n")
        tell_and_echo(sock)

    for address in BACKENDS:
        ends.Server(net.backend, http, address=address)
    net.client.ip("addr add 10.0.1.20/24 dev eth0")
    net.ladond("listeners: [{listen: '0.0.0.0:8080', routes: [{http: '*', pool: only}]}]\n"
               f"pools: [{{name: only, policy: hash, hash: name, backends: ['{FIRST}', '{SECOND}', '{THIRD}']}}]\n")

    def ask_for(name, source):
        with ends.connect(net.client, prepare=lambda sock: sock.bind((source, 0))) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            return ends.receive_exactly(sock, 39)

    names = [f"{i}.example.org" for i in range(24)]
    went = {name: ask_for(name, CLIENT) for name in names}
    assert len(set(went.values())) == 3
    assert {name: ask_for(name.upper(), "10.0.1.20") for name in names} == went


def test_first_then_backups(net):
    servers = serve(net, *BACKENDS)
    ladon = net.ladond(config({"address": THIRD, "backup": True}, FIRST, SECOND, policy="first"))
    assert [where(net) for _ in range(3)] == [BACKENDS[0]] * 3

    servers[0].close()
    assert [where(net) for _ in range(3)] == [BACKENDS[1]] * 3
    servers[1].close()
    assert where(net) == BACKENDS[2]
    assert ladon.reasons("closed") == {}


# ---- limits ----

def test_max_flows(net):
    serve(net, *BACKENDS[:2])
    ladon = net.ladond(config({"address": FIRST, "max_flows": 1}, {"address": SECOND, "max_flows": 2}))
    held = [begin(net) for _ in range(3)]
    ladon.wait_handed_off(3)
    assert collections.Counter(backend for _, backend in held) == {BACKENDS[0]: 1, BACKENDS[1]: 2}
    assert {b["state"] for b in backends(ladon).values()} == {"full"}

    is_refused(net)

    ladon.wait_reason("backends_full")
    ladon.wait_said("no backend of pool only may have another flow")
    held[1][0].close()
    until(lambda: backends(ladon)[join(held[1][1], 8080)]["state"] == "up", "its end has been heard")
    assert where(net) == held[1][1]


# ---- failures ----

def test_who_fails_is_ejected_and_comes_back(net):
    serve(net, BACKENDS[1])
    ladon = net.ladond(config(FIRST, SECOND, eject={"failures": 2, "for": "1s"}))

    state = until(lambda: where(net) == BACKENDS[1] and (b := backends(ladon))[FIRST]["state"] == "ejected" and b,
                  "it is ejected")
    assert state[FIRST]["failed"] == 2 and 0 < state[FIRST]["ejected_ms"] <= 1000
    ladon.wait_said(f"pool only: {FIRST} is ejected for 1000 ms")
    assert ladon.reasons("closed") == {}
    until(lambda: where(net) and f"{FIRST} is ejected for 2000 ms" in ladon.log(), "one failure ejects it again")
    serve(net, BACKENDS[0])
    until(lambda: where(net) == BACKENDS[0], "it is back")
    assert backends(ladon)[FIRST]["state"] == "up"


def test_a_single_backend_is_never_ejected(net):
    ladon = net.ladond(config(FIRST, eject={"failures": 1}))
    for _ in range(3):
        is_refused(net)
    assert backends(ladon)[FIRST]["state"] == "up"
    serve(net, BACKENDS[0])
    assert where(net) == BACKENDS[0]


def test_when_all_are_ejected_all_are_tried(net):
    ladon = net.ladond(config(FIRST, SECOND, eject={"failures": 1, "for": "1h", "share": "100%"}))
    is_refused(net)
    assert {b["state"] for b in backends(ladon).values()} == {"ejected"}

    serve(net, BACKENDS[0])

    assert where(net) == BACKENDS[0]
    assert ladon.ask("pool show")["pools"][0]["panicked"] > 0


# ---- the operator ----

def test_drain(net):
    """No new connections, live ones go on, also over a reload; and back."""
    serve(net, *BACKENDS[:2])
    file = config(FIRST, SECOND, when_down="reset")
    ladon = net.ladond(file)
    held = dict(reversed(begin(net)) for _ in range(2))
    ladon.wait_handed_off(2)

    assert set_state(ladon, FIRST, "drain") == {"pool": "only", "backend": FIRST, "admin": "drain", "state": "drain"}

    assert {where(net) for _ in range(4)} == {BACKENDS[1]}
    goes_on(held[BACKENDS[0]])
    assert ladon.reload(file).returncode == 0
    assert {where(net) for _ in range(4)} == {BACKENDS[1]}
    goes_on(held[BACKENDS[0]])
    assert backends(ladon)[FIRST]["state"] == "drain"
    assert " drain " in ladon.command("pool").stdout
    set_state(ladon, FIRST, "auto")
    assert {where(net) for _ in range(4)} == set(BACKENDS[:2])


def test_down_keeps_what_is_there_by_default(net):
    serve(net, *BACKENDS[:2])
    ladon = net.ladond(config(FIRST, SECOND))
    held = dict(reversed(begin(net)) for _ in range(2))
    ladon.wait_handed_off(2)

    set_state(ladon, FIRST, "down")

    assert {where(net) for _ in range(4)} == {BACKENDS[1]}
    goes_on(held[BACKENDS[0]])
    assert "when-down" not in ladon.log()


@pytest.mark.parametrize("at, servers", [(GATEWAY, BACKENDS), (GATEWAY6, BACKENDS6)], ids=("ipv4", "ipv6"))
def test_down_resets_if_the_pool_says_so(net, at, servers):
    """What is handed off and what is relayed, of this backend; each time; and then it serves again."""
    serve(net, *servers[:2])
    texts = [join(address, 8080) for address in servers[:2]]
    listen = join("::" if is_ipv6(at) else "0.0.0.0", 8080)

    def file(more=""):
        return config(*texts, when_down="reset", listen=listen, more=more)

    ladon = net.ladond(file())
    handed_off = dict(reversed(begin(net, address=at)) for _ in range(2))
    ladon.wait_handed_off(2)
    assert ladon.reload(file("handoff: no\n")).returncode == 0
    relayed = dict(reversed(begin(net, address=at)) for _ in range(2))

    assert set_state(ladon, texts[0], "down")["state"] == "down"

    ladon.wait_said("when-down: reset 1 handed-off flows and 1 relayed connections")
    assert ladon.reasons()["went_down"] == 1
    for held in (handed_off, relayed):
        is_cut(held[servers[0]])
        goes_on(held[servers[1]])
    assert {where(net, address=at) for _ in range(4)} == {servers[1]}
    set_state(ladon, texts[0], "auto")
    again = dict(reversed(begin(net, address=at)) for _ in range(2))
    assert set(again) == set(servers[:2])
    set_state(ladon, texts[1], "drain")
    goes_on(again[servers[1]])
    set_state(ladon, texts[0], "down")
    is_cut(again[servers[0]])
    ladon.wait_said("when-down: reset 0 handed-off flows and 1 relayed connections")
    assert ladon.log().count("info: when-down: reset") == 2
    until(lambda: backends(ladon)[texts[0]]["flows"] == 0, "all counts are right")


def test_an_address_that_is_up_in_another_pool_is_kept(net):
    serve(net, BACKENDS[0])
    pools = "".join(f"- {{name: {name}, when-down: reset, backends: ['{FIRST}']}}\n" for name in ("a", "b"))
    ladon = net.ladond("listeners:\n- {listen: '0.0.0.0:8080', pool: a}\n"
                       f"- {{listen: '0.0.0.0:8081', pool: b}}\npools:\n{pools}")
    sock, _ = begin(net)
    ladon.wait_handed_off()

    set_state(ladon, FIRST, "down", pool="a")
    goes_on(sock)
    is_refused(net)
    set_state(ladon, FIRST, "down", pool="b")
    is_cut(sock)


def test_when_all_are_down_clients_are_refused(net):
    serve(net, *BACKENDS[:2])
    ladon = net.ladond(config(FIRST, SECOND))
    set_state(ladon, FIRST, "down")
    set_state(ladon, SECOND, "drain")

    is_refused(net)

    ladon.wait_reason("backends_down")
    ladon.wait_said("no backend of pool only is up")
    set_state(ladon, SECOND, "up")
    assert where(net) == BACKENDS[1]


def test_a_restart_forgets_what_the_operator_said(net):
    serve(net, BACKENDS[0])
    ladon = net.ladond(config(FIRST))
    set_state(ladon, FIRST, "down")
    ladon.stop()

    net.ladond(config(FIRST))

    assert where(net) == BACKENDS[0]


def test_what_cannot_be_set_is_said(net):
    ladon = net.ladond(config(FIRST))
    for words, status, complaint in (
            (("only", SECOND, "down"), 1, "ladon: backend: pool only has none of this text\n"),
            (("other", FIRST, "down"), 1, "ladon: pool: there is none of this name\n"),
            (("only", FIRST, "off"), 2, "off: it takes auto, up, down or drain"),
            (("only", FIRST), 2, "auto|up|down|drain: is missing"),
            (("only", FIRST, "down", "now"), 2, "now: unknown word")):
        done = ladon.command("backend", "set", *words)
        assert done.returncode == status and complaint in done.stderr
    assert backends(ladon)[FIRST]["admin"] == "auto"


def test_words_are_completed(net):
    ladon = net.ladond(config(FIRST, SECOND))

    def words(*before):
        return ladon.command("--complete", "backend", *before).stdout.split()

    assert words() == ["set"]
    assert words("set") == ["only"]
    assert words("set", "only") == [FIRST, SECOND]
    assert words("set", "only", FIRST) == ["auto", "up", "down", "drain"]
    assert words("set", "only", FIRST, "up") == []


def test_a_pool_of_requested_targets_is_taken_out(net):
    """It has no address of its own, and is up or not all the same."""
    serve(net, BACKENDS[0])
    ladon = net.ladond("listeners: [{listen: '0.0.0.0:8080', routes: [{target: '*', pool: exit}]}]\n"
                       "pools: [{name: exit, backends: requested}]\n")

    def answer():
        with ends.connect(net.client) as sock:
            sock.sendall(f"CONNECT {FIRST} HTTP/1.1\r\nHost: {FIRST}\r\n\r\n".encode())
            return ends.receive_exactly(sock, 12)

    assert backends(ladon)["requested"]["state"] == "up"
    assert answer() == b"HTTP/1.1 200"
    assert set_state(ladon, "requested", "drain", pool="exit")["state"] == "drain"
    assert answer() == b"HTTP/1.1 502"
    ladon.wait_reason("backends_down")
    set_state(ladon, "requested", "auto", pool="exit")
    assert answer() == b"HTTP/1.1 200"
