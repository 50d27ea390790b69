# SPDX-License-Identifier: GPL-2.0-only
"""Another build takes over what the former one left: its flows, if it knows their layout, or nothing at all.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import hashlib
import json
import os
import re
import shutil
import threading

import pytest

from lib import ends
from lib.gateway import BUILD, FAMILIES, ROOT
from lib.net import run, until

ONE_POOL = FAMILIES[0][2]


def constant(name):
    """Of datapath/abi.h."""
    with open(os.path.join(ROOT, "datapath", "abi.h")) as header:
        return int(re.search(rf"^#define {name}\s+(\d+)", header.read(), re.M)[1])


ABI, OLDEST = constant("LADON_ABI"), constant("LADON_ABI_OLDEST")

KEEPALIVE = "timeouts: {keepalive: {after: 1s, interval: 1s, probes: 3}}\n"

# Each with one value other than this build's: type, key, value, entries, flags
OTHER_FLOWS = {
    "ladon_flows": ("hash", 36, 104, 2048, 0),
    "ladon_hops": ("array", 4, 36, 1024, 0),
    "ladon_live": ("array", 4, 16, 1, 0),
}
OTHER_COUNTS = {
    "ladon_counters": ("percpu_array", 4, 16, 20, 0),
    "ladon_events": ("ringbuf", 0, 0, 1 << 16, 0),
    "ladon_interfaces": ("hash", 4, 4, 4096, 1),
    "ladon_jumps": ("prog_array", 4, 4, 1, 0),
}


def make_other(root, *changes):
    """A ladond from changed sources: (file, text in there, another one)."""
    for name in ("Makefile", "base", "datapath", "gateway", "include", "lib", "paths"):
        copy = shutil.copytree if os.path.isdir(os.path.join(ROOT, name)) else shutil.copy2
        copy(os.path.join(ROOT, name), root / name)
    build = os.path.relpath(BUILD, ROOT)
    for part in ("base", "gateway", "lib", "paths"):
        shutil.copytree(os.path.join(BUILD, part), root / build / part)
    os.unlink(root / build / "lib" / "programs.o")  # the one that contains the programs
    for name, old, new in changes:
        text = (root / name).read_text()
        assert text.count(old) == 1, name
        (root / name).write_text(text.replace(old, new))
    run("make", "-C", str(root), f"BUILD={build}", f"{build}/ladond", timeout=600)
    return str(root / build)


@pytest.fixture(scope="module")
def other_build(tmp_path_factory):
    """A ladond whose programs, and events, are not those of the build that is tested."""
    return make_other(tmp_path_factory.mktemp("other"),
                      ("datapath/events.h", "#define EVENTS_BYTES (1 << 20)", "#define EVENTS_BYTES (1 << 21)"))


@pytest.fixture(scope="module")
def build_4(tmp_path_factory):
    """A ladond whose flows are of layout 4: without limits of their own, or numbers to probe them by."""
    return make_other(
        tmp_path_factory.mktemp("build4"),
        ("lib/layout.c", "version = LADON_ABI;", "version = 4;"),
        ("datapath/handoff.bpf.c", "	e->acked = from->tp->snd_una >> 16;\n", ""),
        ("datapath/handoff.bpf.c", "	if (from->clock >> 31)\n		e->state |= LADON_STATE_HIGH;\n", ""),
        ("datapath/life.h", "		flow->acked = pkt->ack >> 16;", "		;"),
        ("lib/handoff.c", "	req->limits = limits_take(ladon, how);\n", ""))


def chat(sock, word=b"ping"):
    sock.sendall(word)
    assert ends.receive_exactly(sock, len(word)) == word


def one_flow(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(ONE_POOL)
    sock = ends.connect(net.client)
    chat(sock)
    ladon.wait_handed_off()
    return ladon, sock


def refused(net, config=ONE_POOL):
    """What a ladond says that ends at its start."""
    before = len(net.daemons[-1].log()) if net.daemons else 0  # all write to one file
    ladon = net.ladond(config, wait=False)
    assert ladon.process.wait(20) == 1
    return ladon.log()[before:]


# ---- pins ----

def pin(net, name):
    return os.path.join(net.bpffs(), "ladon", name)


def pins(net):
    """{name: kernel's id}"""
    shown = json.loads(run("bpftool", "-j", "-f", "map", "show"))
    return {os.path.basename(path): shown_map["id"] for shown_map in shown
            for path in shown_map.get("pinned", []) if path.startswith(pin(net, ""))}


def programs(net):
    """{name: kernel's id}"""
    maps = pins(net)
    return {name: json.loads(run("bpftool", "-j", "prog", "show", "pinned", pin(net, name)))["id"]
            for name in os.listdir(pin(net, "")) if name not in maps}


def program_tag(net):
    return json.loads(run("bpftool", "-j", "prog", "show", "pinned", pin(net, "ladon_ingress")))["tag"]


def map_make(net, name, kind, key, value, entries, flags):
    """In place of the one that is pinned, which stays behind under another name."""
    os.rename(pin(net, name), pin(net, "former"))
    run("bpftool", "map", "create", pin(net, name), "type", kind, "key", str(key), "value", str(value),
        "entries", str(entries), "name", name[:15], "flags", str(flags))


def version_write(net, version):
    run("bpftool", "map", "update", "pinned", pin(net, "ladon_layout"), "key", "0", "0", "0", "0",
        "value", str(version), "0", "0", "0")


def version_read(net):
    dump = json.loads(run("bpftool", "-j", "map", "dump", "pinned", pin(net, "ladon_layout")))
    return int(dump[0]["value"][0], 16)


# ---- programs ----

@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_the_same_build_uses_what_it_has_loaded(net, end):
    ladon, sock = one_flow(net)
    before, maps = programs(net), pins(net)
    assert {"ladon_ingress", "ladon_cross_icmp", "ladon_activate"} < set(before)
    getattr(ladon, end)()

    again = net.ladond(ONE_POOL)

    assert programs(net) == before and pins(net) == maps
    with sock:
        chat(sock, b"the old one goes on")
    with ends.connect(net.client) as sock:
        chat(sock)
        again.wait_handed_off()
    until(lambda: again.flows() == [], "both have ended")
    assert net.trouble() == {}


def other_program(net):
    os.rename(pin(net, "ladon_cross"), pin(net, "former"))
    run("bpftool", "prog", "pin", "id", str(programs(net)["ladon_tell"]), pin(net, "ladon_cross"))


def no_program(net):
    os.unlink(pin(net, "ladon_look"))


def other_list(net):
    map_make(net, "ladon_loaded", "array", 4, 8, 1, 0)


def another_build(net):
    value = json.loads(run("bpftool", "-j", "map", "dump", "pinned", pin(net, "ladon_loaded")))[0]["value"]
    value[0] = hex(int(value[0], 16) ^ 1)
    run("bpftool", "map", "update", "pinned", pin(net, "ladon_loaded"), "key", "0", "0", "0", "0", "value", *value)


@pytest.mark.parametrize("change", [other_program, no_program, other_list, another_build])
def test_all_are_loaded_where_one_is_not_what_was_loaded(net, change):
    ladon, sock = one_flow(net)
    ladon.stop()
    before = programs(net)
    change(net)

    again = net.ladond(ONE_POOL)

    after = programs(net)
    assert set(before) <= set(after) and not {after[name] for name in before} & set(before.values())
    with sock:
        chat(sock, b"the old one goes on")
        with ends.connect(net.client) as second:
            chat(second)
            again.wait_handed_off()
    assert net.trouble() == {}


# ---- what is taken over ----

class Stream:
    """A client that sends to an echo until it is told to end, and compares hashes."""

    def __init__(self, sock):
        self.sock, self.over = sock, threading.Event()
        self.heard = 0
        self.sent = ends.spawn(self._send)
        self.echoed = ends.spawn(self._receive)

    def _send(self):
        sha, seed = hashlib.sha256(), 0
        while not self.over.is_set():
            piece = ends.pattern(1 << 20, seed)
            sha.update(piece)
            self.sock.sendall(piece)
            seed += 1
        self.sock.shutdown(1)
        return sha.hexdigest()

    def _receive(self):
        sha = hashlib.sha256()
        while piece := self.sock.recv(1 << 20):
            sha.update(piece)
            self.heard += len(piece)
        return sha.hexdigest()

    def moves(self):
        """It has heard 4 MB more than now."""
        goal = self.heard + (4 << 20)
        until(lambda: self.heard > goal, "the transfer goes on", 20)


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_another_build_takes_over_a_running_transfer(net, other_build, end):
    ladon, sock = one_flow(net)
    tag, before = program_tag(net), pins(net)
    stream = Stream(sock)
    stream.moves()

    getattr(ladon, end)()
    stream.moves()
    again = net.ladond(ONE_POOL, build=other_build)
    stream.moves()
    stream.over.set()

    assert stream.sent.result(30) == stream.echoed.result(30)
    sock.close()
    assert program_tag(net) != tag
    after = pins(net)
    assert {name for name in before if before[name] != after[name]} == {"ladon_events", "ladon_loaded"}
    assert "ladon_events had another layout and was replaced" in again.log()
    until(lambda: again.flows() == [], "the flow has ended, and the new events told so")
    with ends.connect(net.client) as sock:
        chat(sock)
        again.wait_handed_off()
    assert net.trouble() == {}


@pytest.mark.parametrize("name", OTHER_COUNTS)
def test_maps_that_hold_no_flows_are_replaced(net, name):
    ladon, sock = one_flow(net)
    ladon.stop()
    map_make(net, name, *OTHER_COUNTS[name])
    before = pins(net)

    again = net.ladond(ONE_POOL)

    assert re.search(f"info: .*/{name} had another layout and was replaced; lost: ", again.log())
    after = pins(net)
    assert {n for n in before if before[n] != after[n]} == {name, "ladon_loaded"}
    with sock:
        chat(sock, b"as before")
        with ends.connect(net.client) as second:
            chat(second)
            again.wait_handed_off()
            assert len(again.flows()) == 2
    until(lambda: again.flows() == [], "both have ended")
    assert net.trouble() == {}


@pytest.mark.parametrize("version", ["unwritten", OLDEST])
def test_an_older_layout_that_is_known_is_taken_over(net, version):
    ladon, sock = one_flow(net)
    ladon.stop()
    if version == "unwritten":
        os.unlink(pin(net, "ladon_layout"))
    else:
        version_write(net, version)

    again = net.ladond(ONE_POOL)

    assert len(again.flows()) == 1
    assert version_read(net) == ABI
    with sock:
        chat(sock)


@pytest.mark.parametrize("config, end", [(KEEPALIVE, "killed"), ("timeouts: {idle: 1s}\n", "idle")])
def test_flows_of_layout_4_go_on_as_they_did(net, build_4, config, end):
    """They have the limits of the whole file, and are not probed; their ends are told when they speak."""
    ladon = net.ladond(ONE_POOL, build=build_4)
    assert version_read(net) == 4
    front, back = ends.meet(net, ladon)
    ladon.stop()

    again = net.ladond(ONE_POOL + config)

    assert version_read(net) == ABI
    with front, back:
        if end == "killed":
            other, other_back = ends.meet(net, again)
            with other, other_back:
                until(lambda: again.reasons("packet").get("probe", 0) >= 4, "the other one is probed", 20)
            front.sendall(b"more")
            assert ends.receive_exactly(back, 4) == b"more"
            assert again.ask("flow kill", all=True)["killed"] >= 1
        else:
            until(lambda: again.ask("flow show")["flows"] == [], "it has ended")
        front.sendall(b"is anybody there?")
        with pytest.raises(ConnectionResetError):
            front.recv(1)


# ---- what is not ----

def goes_on_untouched(net, sock, before, tag):
    assert pins(net) == before
    assert program_tag(net) == tag
    chat(sock, b"the flow goes on")


@pytest.mark.parametrize("version", [OLDEST - 1, ABI + 1])
def test_an_unknown_layout_is_refused(net, version):
    """And the former build comes back to its flows."""
    ladon, sock = one_flow(net)
    ladon.stop()
    version_write(net, version)
    before, tag = pins(net), program_tag(net)

    said = refused(net)

    assert (f"err: {net.bpffs()}/ladon holds flows of layout {version}, and this version takes "
            f"layouts {OLDEST} to {ABI}: ") in said
    assert "ladond --cleanup" in said
    goes_on_untouched(net, sock, before, tag)
    version_write(net, ABI)
    again = net.ladond(ONE_POOL)
    with sock:
        chat(sock)
        assert len(again.flows()) == 1
    assert net.trouble() == {}


@pytest.mark.parametrize("name", OTHER_FLOWS)
def test_flows_of_another_size_are_refused(net, name):
    ladon, sock = one_flow(net)
    ladon.stop()
    map_make(net, name, *OTHER_FLOWS[name])
    before, tag = pins(net), program_tag(net)

    said = refused(net)

    assert f"err: {net.bpffs()}/ladon holds flows of another {name} (" in said
    goes_on_untouched(net, sock, before, tag)
    os.rename(pin(net, "former"), pin(net, name))
    again = net.ladond(ONE_POOL)
    with sock:
        chat(sock)
        assert len(again.flows()) == 1
    assert net.trouble() == {}


def test_a_start_that_fails_later_replaces_nothing(net):
    ladon, sock = one_flow(net)
    ladon.stop()
    map_make(net, "ladon_jumps", *OTHER_COUNTS["ladon_jumps"])
    before = pins(net)

    assert "does not exist" in refused(net, ONE_POOL + "interfaces: [nowhere]\n")

    after = pins(net)
    assert {name for name in before if before[name] != after[name]} == {"ladon_loaded"}
    again = net.ladond(ONE_POOL)
    assert "ladon_jumps_new" not in pins(net)
    with sock:
        chat(sock)
        assert len(again.flows()) == 1


def test_cleanup_takes_off_what_another_version_left(net):
    ladon, sock = one_flow(net)
    ladon.stop()
    version_write(net, ABI + 1)
    run("bpftool", "map", "create", pin(net, "ladon_future"), "type", "array", "key", "4", "value", "4",
        "entries", "1", "name", "ladon_future")

    done = ladon.space.run(os.path.join(BUILD, "ladond"), "--cleanup", ladon.config)

    assert done.returncode == 0, done.stderr
    assert "ladon" not in os.listdir(net.bpffs())
    sock.close()
    net.ladond(ONE_POOL)
    assert version_read(net) == ABI
    with ends.connect(net.client) as sock:
        chat(sock)
