# SPDX-License-Identifier: GPL-2.0-only
"""Port forwards: the kernel's NAT in a table of ladon's own, which is whole as long as a daemon runs.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
"""
import os
import socket
import time

import pytest

from lib import ends
from lib.dns import NameServer
from lib.gateway import BUILD
from lib.net import (BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, LINUX,
                     is_ipv6, join, until)

TABLE = "ladon-forward"
PAIRS = ((GATEWAY, BACKENDS[0]), (GATEWAY6, BACKENDS6[0]))

LISTENER = f'listeners: {{listen: "0.0.0.0:80", pool: p}}\npools: {{name: p, backends: ["{BACKENDS[0]}:8080"]}}\n'
RELAY = LISTENER + "handoff: no\n"

FOREIGN = """
table inet theirs {
    chain input { type filter hook input priority 0; policy accept; }
    map to_ip { type ipv4_addr : ipv4_addr; elements = { 192.0.2.1 : 192.0.2.2 }; }
}
"""


def forward(listen, to, **keys):
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f'  - {{listen: "{listen}", to: "{to}"{more}}}\n'


def both(port, to, **keys):
    """The same in both families."""
    return "".join(forward(join(at, port), join(backend, to), **keys) for at, backend in PAIRS)


def config(*forwards):
    return "forwards:\n" + "".join(forwards)


def table(net):
    """Ladon's table without its counters; None: there is none."""
    done = net.gateway.run("nft", "-s", "list", "table", "inet", TABLE)
    return done.stdout if done.returncode == 0 else None


def say_source(sock):
    """A server that says who its client is, and what it is itself."""
    sock.sendall(f"{sock.getpeername()[0]} {sock.getsockname()[1]}\n".encode())


def ask_tcp(space, address, port):
    with ends.connect(space, address, port) as sock:
        return ends.receive_until(sock, b"\n").decode().split()


class Udp:
    """A server of the backend that says the same of a datagram's source."""

    def __init__(self, space, address, port):
        self.sock = space.socket(address, socket.SOCK_DGRAM)
        self.sock.bind((address, port))
        self.port = port
        ends.spawn(self._serve)

    def _serve(self):
        while True:
            try:
                _, source = self.sock.recvfrom(2048)
            except (TimeoutError, OSError):
                return
            self.sock.sendto(f"{source[0]} {self.port}\n".encode(), source)


def ask_udp(space, address, port):
    with space.socket(address, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.send(b"who?")
        return sock.recv(2048).decode().split()


def refused(space, address, port):
    try:
        ends.connect(space, address, port).close()
    except ConnectionRefusedError:
        return True
    return False


def serve(net, *ports):
    for port in ports:
        for _, backend in PAIRS:
            ends.Server(net.backend, say_source, port=port, address=backend)
            Udp(net.backend, backend, port)


def test_both_protocols_and_families_with_every_source(net):
    """Kept, masqueraded and fixed; a port that changes, one that stays, and ranges of both kinds."""
    net.forward()
    net.gateway.ip("addr add 10.0.2.77/24 dev backend0", "addr add fd00:2::77/64 dev backend0 nodad preferred_lft 0")
    serve(net, 8080, 81, 9003)
    fixed = (forward(f"{GATEWAY}:7080", f"{BACKENDS[0]}:8080", protocol="both", source="10.0.2.77") +
             forward(f"[{GATEWAY6}]:7080", f"[{BACKENDS6[0]}]:8080", protocol="both", source='"fd00:2::77"'))
    net.ladond(config(both(80, 8080, protocol="both"), both(81, 81, protocol="both"),
                      both("5000-5009", "9000-9009", protocol="both"),
                      both("9000-9009", "9000-9009", protocol="both", source="masquerade"), fixed))
    for at, backend in PAIRS:
        six = is_ipv6(at)
        client, back, other = (CLIENT6, GATEWAY_BACK6, "fd00:2::77") if six else (CLIENT, GATEWAY_BACK, "10.0.2.77")
        for ask in (ask_tcp, ask_udp):
            assert ask(net.client, at, 80) == [client, "8080"]
            assert ask(net.client, at, 81) == [client, "81"]
            assert ask(net.client, at, 5003) == [client, "9003"]
            assert ask(net.client, at, 9003) == [back, "9003"]
            assert ask(net.client, at, 7080) == [other, "8080"]
        assert refused(net.client, at, 82)
        assert refused(net.client, at, 5010)


def test_a_client_beside_the_server_reaches_the_public_address(net):
    """Hairpin: without another source the server would answer its neighbour directly."""
    net.forward()
    net.gateway.sysctl("net.ipv4.conf.all.send_redirects", 0)
    net.gateway.sysctl("net.ipv4.conf.backend0.send_redirects", 0)
    serve(net, 8080)
    ladon = net.ladond(config(forward(f"{GATEWAY}:80", f"{BACKENDS[0]}:8080", protocol="both", hairpin="10.0.2.0/24")))
    assert ladon.ask("forward show")["forwards"] == [
        {"listen": f"{GATEWAY}:80", "protocol": "both", "to": f"{BACKENDS[0]}:8080", "source": "keep",
         "hairpin": "10.0.2.0/24", "when_gone": "keep", "added": False, "flows": 0}]
    assert f"{GATEWAY}:80  both" in ladon.command("forward").stdout
    for ask in (ask_tcp, ask_udp):
        assert ask(net.backend, GATEWAY, 80) == [GATEWAY_BACK, "8080"]
        assert ask(net.client, GATEWAY, 80) == [CLIENT, "8080"]


def test_what_is_flushed_is_made_again(net):
    """All of it, and parts; and nothing of anybody else's is touched, also by --cleanup."""
    net.forward()
    net.gateway.nft(FOREIGN)
    foreign = net.gateway.run("nft", "list", "table", "inet", "theirs").stdout
    ladon = net.ladond(config(both(80, 8080)))
    whole = table(net)
    assert "dnat" in whole
    for command in ("flush ruleset", f"delete table inet {TABLE}", f"flush chain inet {TABLE} prerouting",
                    f"flush map inet {TABLE} to_ip"):
        made = ladon.log().count("made again")
        net.gateway.nft(command)
        until(lambda: ladon.log().count("made again") > made, command)
        assert table(net) == whole
        assert ladon.log().count("made again") == made + 1
    net.gateway.nft(FOREIGN)
    assert ladon.stop() == 0
    assert table(net) == whole
    assert net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", ladon.config).returncode == 0
    assert table(net) is None
    assert net.gateway.run("nft", "list", "table", "inet", "theirs").stdout == foreign


def test_a_reload_is_all_or_nothing(net):
    """And what is forwarded goes on, whatever becomes of its forward."""
    net.forward()
    ends.Server(net.backend, ends.echo, address=BACKENDS[0])
    ladon = net.ladond(config(forward(f"{GATEWAY}:80", f"{BACKENDS[0]}:8080")))
    with ends.connect(net.client, GATEWAY, 80) as sock:
        before = table(net)
        done = ladon.reload(config(forward(f"{GATEWAY}:81", f"{BACKENDS[0]}:8080-8081")))
        assert done.returncode == 1 and "give both as many" in done.stderr
        assert table(net) == before
        assert ladon.reload(config(forward(f"{GATEWAY}:81", f"{BACKENDS[0]}:8080"))).returncode == 0
        assert refused(net.client, GATEWAY, 80)
        ends.connect(net.client, GATEWAY, 81).close()
        sock.sendall(b"still here")
        assert ends.receive_exactly(sock, 10) == b"still here"
    assert "made again" not in ladon.log()


def test_what_is_forwarded_goes_on_without_its_forward(net):
    """When the last one is taken out, too, and nobody else's rules need conntrack; also when the rest is flushed then."""
    net.forward()
    for _, backend in PAIRS:
        ends.Server(net.backend, ends.echo, address=backend)
    ladon = net.ladond(RELAY + config(both(81, 8080)))
    socks = [ends.connect(net.client, at, 81) for at, _ in PAIRS]
    for file in (RELAY + config(forward(f"{GATEWAY}:81", f"{BACKENDS[0]}:8080")), RELAY):
        assert ladon.reload(file).returncode == 0
        for sock in socks:
            ends.ask(sock)
    net.backend.wait_acknowledged()  # for a moment nothing is translated, and what comes then is reset
    net.gateway.nft("flush ruleset")
    ladon.wait_said("made again")
    for sock in socks:
        ends.ask(sock)


def test_forwards_outlive_a_killed_daemon(net):
    """The next one takes over; one without forwards removes them."""
    net.forward()
    ends.Server(net.backend, ends.echo, address=BACKENDS[0])
    forwards = config(forward(f"{GATEWAY}:80", f"{BACKENDS[0]}:8080"))
    ladon = net.ladond(forwards)
    with ends.connect(net.client, GATEWAY, 80) as sock:
        ladon.kill9()
        ends.connect(net.client, GATEWAY, 80).close()
        before = table(net)
        ladon = net.ladond(forwards)
        assert table(net) == before
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
        ladon.kill9()
    ladon = net.ladond(RELAY)
    assert table(net) is None


def test_the_first_forward_may_come_later(net):
    """By a reload, and by hand; it is watched like one of the start."""
    net.forward()
    serve(net, 8080)
    ladon = net.ladond(LISTENER)
    assert ladon.reload(LISTENER + config(both(81, 8080))).returncode == 0
    for at, _ in PAIRS:
        assert ask_tcp(net.client, at, 81)[1] == "8080"
    assert ladon.reload(LISTENER).returncode == 0
    assert "dnat ip" not in table(net)
    assert refused(net.client, GATEWAY, 81)
    assert ladon.command("forward", "add", f"{GATEWAY}:82", "to", f"{BACKENDS[0]}:8080").returncode == 0
    net.gateway.nft("flush ruleset")
    ladon.wait_said("made again")
    assert ask_tcp(net.client, GATEWAY, 82)[1] == "8080"


def test_without_the_right_the_first_forward_is_refused(net):
    ladon = net.ladond(RELAY)
    done = ladon.command("forward", "add", f"{GATEWAY}:82", "to", f"{BACKENDS[0]}:8080")
    assert done.returncode == 1 and "CAP_NET_ADMIN is missing" in done.stderr
    assert table(net) is None and ladon.ask("forward show")["forwards"] == []


def shown(ladon):
    """What each forward listens on, whether it was added, and the flows that it has had."""
    return [(f["listen"], f["protocol"], f["added"], f["flows"]) for f in ladon.ask("forward show")["forwards"]]


def test_added_and_removed_at_run_time(net):
    """As in the file, with the file's complaints; kept over a reload that does not contradict."""
    net.forward()
    serve(net, 8080, 9003)
    ladon = net.ladond(config(both(80, 8080)) + RELAY.replace(":80\"", ":83\""))
    written = [(join(at, 80), "tcp", False, 0) for at, _ in PAIRS]

    def change(*words):
        done = ladon.command("forward", *words)
        return done.returncode, done.stderr

    assert change("add", f"{GATEWAY}:5000-5009", "to", f"{BACKENDS[0]}:9000-9009", "protocol", "udp") == (0, "")
    assert change("add", f"{GATEWAY}:82", "to", f"{BACKENDS[0]}:8080", "source", "masquerade") == (0, "")
    assert ask_udp(net.client, GATEWAY, 5003) == [CLIENT, "9003"]
    assert ask_tcp(net.client, GATEWAY, 82) == [GATEWAY_BACK, "8080"]
    added = [(f"{GATEWAY}:5000-5009", "udp", True, 1), (f"{GATEWAY}:82", "tcp", True, 1)]
    assert shown(ladon) == written + added
    before = table(net)
    for words, complaint in (
            ((f"{GATEWAY}:81",), "to: is missing; it takes an address and a port"),
            (("0.0.0.0", "to", f"{BACKENDS[0]}:1"), 'listen: "0.0.0.0" will not do'),
            (("0.0.0.0:83", "to", f"{BACKENDS[0]}:1"), "takes port 83 from the listener"),
            ((f"{GATEWAY}:81", "to", f"{BACKENDS[0]}:1-2"), "to: has 2 ports and 'listen' 1; give both as many"),
            ((f"{GATEWAY}:81", "to", f"{BACKENDS[0]}:1", "protocol", "ip"), "protocol: "),
            ((f"{GATEWAY}:83", "to", f"{BACKENDS[0]}:1"), "takes port 83 from the listener"),
            ((f"{GATEWAY}:79-80", "to", f"{BACKENDS[0]}:79-80"), "TCP port 80 is taken by the forward of line "),
            ((f"{GATEWAY}:82", "to", f"{BACKENDS[0]}:1"), "TCP port 82 is taken by another one and, at run time, by ")):
        code, said = change("add", *words)
        assert code == 1 and complaint in said, (words, said)
    for words, complaint in (((f"{GATEWAY}:80",), "one of the file's"), ((f"{GATEWAY}:5000",), "no such forward"),
                             ((f"{GATEWAY}:82", "protocol", "udp"), "no such forward")):
        code, said = change("remove", *words)
        assert code == 1 and complaint in said, (words, said)
    assert table(net) == before

    for contradiction in (config(forward(f"{GATEWAY}:82", f"{BACKENDS[0]}:1")), RELAY.replace(":80\"", ":82\"")):
        done = ladon.reload(contradiction)
        assert done.returncode == 1 and ", at run time, by " in done.stderr, done.stderr
    assert table(net) == before
    assert ladon.reload(config(both(90, 8080))).returncode == 0
    assert shown(ladon)[2:] == added
    assert ladon.ask("forward remove", listen=f"{GATEWAY}:82")["removed"] == 1
    assert refused(net.client, GATEWAY, 82)
    assert ask_udp(net.client, GATEWAY, 5003) == [CLIENT, "9003"]
    listed = ladon.command("--complete", "forward", "remove").stdout.split()
    assert listed == [f"{GATEWAY}:5000-5009"]


def test_new_flows_are_counted(net):
    """Each once, whatever becomes of the table: a reload, a change by hand, and a flush."""
    net.forward()
    serve(net, 8080, 9001, 9002, 81)
    file = config(both(80, 8080), both(81, 81), both("5000-5009", "9000-9009", protocol="both"))
    ladon = net.ladond(file)

    def counts():
        return [flows for _, _, _, flows in shown(ladon)]

    for at, _ in PAIRS:
        with ends.connect(net.client, at, 80) as sock:
            ends.receive_until(sock, b"\n")
        for _ in range(2):
            ask_tcp(net.client, at, 81)
        for port in (5001, 5002):
            ask_tcp(net.client, at, port)
            ask_udp(net.client, at, port)
    assert counts() == [1, 1, 2, 2, 4, 4]
    assert ladon.reload(file).returncode == 0
    assert counts() == [1, 1, 2, 2, 4, 4]
    ladon.ask("forward add", listen="192.0.2.1:1-9", to=f"{BACKENDS[0]}:1-9")
    ask_tcp(net.client, GATEWAY, 81)
    assert counts() == [1, 1, 3, 2, 4, 4, 0]
    net.gateway.nft("flush ruleset")
    ladon.wait_said("made again")
    ask_tcp(net.client, GATEWAY, 5001)
    assert counts() == [1, 1, 3, 2, 5, 4, 0]


def test_without_forwarding_the_cure_is_said(net):
    """Once, however often a pool changes."""
    net.forward(False)
    ladon = net.ladond("pools:\n" + pool("p", *(join(address, 8080) for address in BACKENDS[:2])) +
                       config(both(80, 8080), to_pool(f"{GATEWAY}:81", "p")))
    for word in ("down", "auto"):
        set_backend(net, ladon, BACKENDS[0], word)
    for name in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
        assert ladon.log().count(f"sysctl {name} lets it") == 1


def test_ten_thousand_forwards(net):
    """How long they take is said; they work, the last one too, and after a flush as well."""
    net.forward()
    serve(net, 8080)
    many = config(*(forward(f"192.0.{i >> 8}.{i & 255}:80", f"{BACKENDS[0]}:8080") for i in range(10000)),
                  both(80, 8080))
    started = time.monotonic()
    ladon = net.ladond(many)
    print(f"start with 10,000 forwards: {time.monotonic() - started:.2f} s")
    assert ask_tcp(net.client, GATEWAY, 80) == [CLIENT, "8080"]
    started = time.monotonic()
    net.gateway.nft("flush ruleset")
    ladon.wait_said("made again")
    print(f"made again: {time.monotonic() - started:.2f} s")
    assert ask_tcp(net.client, "192.0.39.15", 80) == [CLIENT, "8080"]
    assert ladon.log().count("made again") == 1
    started = time.monotonic()
    assert ladon.ask("forward show")["forwards"][9999]["flows"] == 1
    print(f"shown with counters: {time.monotonic() - started:.2f} s")
    started = time.monotonic()
    ladon.ask("forward add", listen=f"{GATEWAY}:81", to=f"{BACKENDS[0]}:8080")
    print(f"one added: {time.monotonic() - started:.2f} s")
    assert ask_tcp(net.client, GATEWAY, 81) == [CLIENT, "8080"]


def test_it_works_as_another_user(net):
    """Rules are written, and made again, after the rights have been dropped."""
    net.forward()
    ladon = net.ladond(config(both(80, 8080)) + "user: nobody\n")
    net.gateway.nft("flush ruleset")
    ladon.wait_said("made again")
    assert "dnat" in table(net)


def pool(name, *backends, more=""):
    """A pool of the file, each backend with its port."""
    listed = ", ".join(backend if backend.startswith("{") else f'"{backend}"' for backend in backends)
    return f"- {{name: {name}, backends: [{listed}]{more}}}\n"


def to_pool(listen, name, **keys):
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f'  - {{listen: "{listen}", pool: {name}{more}}}\n'


def say_self(sock):
    """A server that says at which address it was reached, and by whom."""
    sock.sendall(f"{sock.getsockname()[0]} {sock.getpeername()[0]}\n".encode())


def serve_self(net, *addresses):
    return [ends.Server(net.backend, say_self, address=address) for address in addresses]


def reached(net, at, port, count=1):
    return [ask_tcp(net.client, at, port)[0] for _ in range(count)]


def set_backend(net, ladon, address, word):
    """And wait until the chain of the first pool has it, or has it no more."""
    ladon.ask("backend set", pool="p", backend=join(address, 8080), state=word)
    chain = ("nft", "list", "chain", "inet", TABLE, "pool_0_ip")
    until(lambda: (f"{address} . 8080" in net.gateway.run(*chain).stdout) == (word == "auto"), f"{address}: {word}")


def test_a_pool_serves_a_forward(net):
    """In turn, by weight, by the client's address; who is down gets nothing, and nobody's clients are refused."""
    net.forward()
    serve_self(net, *BACKENDS[:2], *BACKENDS6[:2])
    udp = [Udp(net.backend, address, 8080) for address in BACKENDS[:2]]
    four, six = ([join(address, 8080) for address in addresses[:2]] for addresses in (BACKENDS, BACKENDS6))
    mixed = [four[1], six[0]]
    uneven = [f'{{address: "{four[0]}", weight: 9}}', f'{{address: "{four[1]}", weight: 1}}']
    ladon = net.ladond("pools:\n" + pool("p", *four, *six) + pool("uneven", *uneven) +
                       pool("hash", *four, more=", policy: hash") + pool("v4", four[0]) +
                       pool("first", *mixed, more=", policy: first") +
                       config(to_pool(f"{GATEWAY}:80", "p", protocol="both", source="masquerade"),
                              to_pool(f"[{GATEWAY6}]:80", "p"), to_pool(f"{GATEWAY}:81", "uneven"),
                              to_pool(f"{GATEWAY}:82", "hash"), to_pool(f"[{GATEWAY6}]:83", "v4"),
                              to_pool(f"{GATEWAY}:84", "first"), to_pool(f"[{GATEWAY6}]:84", "first")))
    assert sorted(reached(net, GATEWAY, 80, 6)) == sorted(BACKENDS[:2] * 3)
    assert sorted(reached(net, GATEWAY6, 80, 6)) == sorted(BACKENDS6[:2] * 3)
    assert ask_tcp(net.client, GATEWAY, 80)[1] == GATEWAY_BACK
    assert ask_udp(net.client, GATEWAY, 80) == [GATEWAY_BACK, "8080"]
    counts = [reached(net, GATEWAY, 81, 40).count(address) for address in BACKENDS[:2]]
    assert counts[0] > counts[1]
    assert len(set(reached(net, GATEWAY, 82, 6))) == 1
    assert refused(net.client, GATEWAY6, 83)
    assert reached(net, GATEWAY, 84) + reached(net, GATEWAY6, 84) == [BACKENDS[1], BACKENDS6[0]]

    set_backend(net, ladon, BACKENDS[0], "down")
    assert set(reached(net, GATEWAY, 80, 4)) == {BACKENDS[1]}
    set_backend(net, ladon, BACKENDS[1], "drain")
    assert refused(net.client, GATEWAY, 80) and reached(net, GATEWAY6, 80)
    by_listen = {f["listen"]: f for f in ladon.ask("forward show")["forwards"]}
    assert by_listen[f"{GATEWAY}:80"]["pool"] == "p" and "to" not in by_listen[f"{GATEWAY}:80"]
    assert [by_listen[f"{GATEWAY}:80"][key] for key in ("flows", "refused")] == [12, 1]
    assert [by_listen[f"[{GATEWAY6}]:83"][key] for key in ("flows", "refused")] == [0, 1]
    set_backend(net, ladon, BACKENDS[0], "auto")
    assert set(reached(net, GATEWAY, 80, 4)) == {BACKENDS[0]}
    del udp


def test_a_sick_backend_leaves_the_forward(net):
    """As soon as its check says so, and comes back; a backup serves only meanwhile."""
    net.forward()
    first, _ = serve_self(net, *BACKENDS[:2])
    backends = [join(BACKENDS[0], 8080), f'{{address: "{join(BACKENDS[1], 8080)}", backup: yes}}']
    check = ", health: {check: tcp, interval: 100ms, timeout: 1s, fall: 2, rise: 2}"
    net.ladond("pools:\n" + pool("p", *backends, more=check) + config(to_pool(f"{GATEWAY}:80", "p")))
    assert reached(net, GATEWAY, 80) == [BACKENDS[0]]
    first.close()
    until(lambda: not refused(net.client, GATEWAY, 80) and reached(net, GATEWAY, 80) == [BACKENDS[1]], "the backup")
    serve_self(net, BACKENDS[0])
    until(lambda: reached(net, GATEWAY, 80) == [BACKENDS[0]], "it is well again")


def test_a_forward_follows_a_name(net):
    """New connections go where the name of its pool's backend is now; old ones stay, also over a reload."""
    net.forward()
    dns = NameServer(net.backend, BACKENDS[2])
    dns.names["www.example.org"] = [BACKENDS[0]]
    for address in BACKENDS[:2]:
        ends.Server(net.backend, ends.echo, address=address)
        ends.Server(net.backend, say_self, address=address, port=8081)
    file = ("pools:\n" + pool("p", "www.example.org:8081") + pool("q", "www.example.org:8080") +
            config(to_pool(f"{GATEWAY}:80", "p"), to_pool(f"{GATEWAY}:81", "q")) + f"name-servers: {BACKENDS[2]}\n")
    ladon = net.ladond(file)
    until(lambda: BACKENDS[0] in table(net), "the name is found")
    with ends.connect(net.client, GATEWAY, 81) as sock:
        assert reached(net, GATEWAY, 80) == [BACKENDS[0]]
        dns.names["www.example.org"] = [BACKENDS[1]]
        until(lambda: BACKENDS[1] in table(net), "the name has moved")
        until(lambda: reached(net, GATEWAY, 80) == [BACKENDS[1]], "it is followed")
        assert ladon.reload(file).returncode == 0
        assert reached(net, GATEWAY, 80) == [BACKENDS[1]]
        sock.sendall(b"still here")
        assert ends.receive_exactly(sock, 10) == b"still here"


def test_a_second_daemon_leaves_the_table_alone(net):
    """With forwards of its own it is told so; without any, or as it cleans up, it touches nothing."""
    net.forward()
    serve(net, 8080)
    ladon = net.ladond(config(both(80, 8080)))
    before = table(net)
    other = ladon.config + ".other"
    settings = f"control: {ladon.control}.other\nhandoff: no\n"
    with open(other, "w") as file:
        file.write(settings + config(both(81, 8080)))
    done = net.gateway.run(os.path.join(BUILD, "ladond"), other)
    assert done.returncode == 1 and "another ladond has forwards in this network namespace" in done.stderr
    assert net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", other).returncode == 0
    assert table(net) == before and "made again" not in ladon.log()
    assert ladon.stop() == 0
    assert table(net) == before
    ladon = net.ladond(config(both(81, 8080)))
    assert ask_tcp(net.client, GATEWAY, 81)[1] == "8080"


class SelfUdp(Udp):
    """One that says at which address it was reached."""

    def __init__(self, space, address, port=8080):
        self.address = address
        super().__init__(space, address, port)

    def _serve(self):
        while True:
            try:
                _, source = self.sock.recvfrom(2048)
            except (TimeoutError, OSError):
                return
            self.sock.sendto(self.address.encode(), source)


def until_short(ladon, *asks):
    """Talk until both directions of as many flows as there are talks are learned."""
    def all_learned():
        for ask in asks:
            ask()
        flows = [f for f in ladon.ask("flow show")["flows"] if f["by"] in ("learned", "forward")]
        return len([f for f in flows if f["packets_in"] and f["packets_out"]]) == len(asks)

    until(all_learned, "all are learned")


def udp_talk(space, address, port):
    sock = space.socket(address, socket.SOCK_DGRAM)
    sock.connect((address, port))

    def ask():
        sock.send(b"who?")
        return sock.recv(2048).decode()

    return ask


class Moving:
    """Both protocols and families to a name of the first backend, with a connection of each, learned if that is wanted."""

    def __init__(self, net, accelerate, more=""):
        self.net = net
        net.forward()
        self.dns = NameServer(net.backend, BACKENDS[2])
        self.point(0)
        self.udp = [SelfUdp(net.backend, address) for address in (*BACKENDS[:2], *BACKENDS6[:2])]
        self.servers = [ends.Server(net.backend, ends.echo, address=address)
                        for address in (*BACKENDS[:2], *BACKENDS6[:2])]
        # No learned flow of these comes to its end by itself
        learn = "accelerate: {packets: 1, confirm: 30s}\n" if accelerate else ""
        self.file = ("pools:\n" + pool("p", "www.example.org:8080") + pool("q", *(join(a, 8080) for a in (
            BACKENDS[0], BACKENDS6[0]))) + f"name-servers: {BACKENDS[2]}\n" + learn)
        self.ladon = net.ladond(self.file + self.forwards(more))
        until(lambda: BACKENDS[0] in table(net) and BACKENDS6[0] in table(net), "the name is found")
        self.tcp = [ends.connect(net.client, at, 80) for at, _ in PAIRS]
        self.asks = [udp_talk(net.client, at, 80) for at, _ in PAIRS]
        for sock in self.tcp:
            ends.ask(sock)
        assert [ask() for ask in self.asks] == [BACKENDS[0], BACKENDS6[0]]
        if accelerate:
            until_short(self.ladon, *(lambda sock=sock: ends.ask(sock) for sock in self.tcp), *self.asks)

    @staticmethod
    def forwards(more, name="p"):
        return config(*(to_pool(join(at, 80), name, protocol="both", **more) for at, _ in PAIRS))

    def point(self, *indices):
        self.dns.names["www.example.org"] = [addresses[i] for i in indices for addresses in (BACKENDS, BACKENDS6)]

    def moved(self, index):
        """The rules have it."""
        until(lambda: all(a[index] in table(self.net) for a in (BACKENDS, BACKENDS6)), "the name has moved")

    def ended(self, count):
        until(lambda: sum(int(line.split("when-gone: ")[1].split()[0]) for line in self.ladon.log().splitlines()
                          if "were ended" in line) == count, f"{count} are ended")


def is_reset(sock):
    try:
        sock.sendall(ends.WORD)
        ends.receive_exactly(sock, len(ends.WORD))
    except ConnectionResetError:
        return True
    return False


GONE = pytest.mark.parametrize("accelerate", [False, pytest.param(True, marks=pytest.mark.skipif(
    LINUX < (6, 2), reason="nothing is learned before Linux 6.2"))])


@GONE
def test_what_a_name_has_left_is_reset_if_that_is_said(net, accelerate):
    """TCP by a reset, and datagrams of the same source go to the new address; another address that comes ends nothing."""
    moving = Moving(net, accelerate, {"when-gone": "reset"})
    moving.point(0, 1)
    moving.moved(1)
    for sock in moving.tcp:
        ends.ask(sock)
    assert [ask() for ask in moving.asks] == [BACKENDS[0], BACKENDS6[0]]
    moving.point(1)
    moving.ended(4)
    assert [is_reset(sock) for sock in moving.tcp] == [True, True]
    assert [ask() for ask in moving.asks] == [BACKENDS[1], BACKENDS6[1]]
    for at, _ in PAIRS:
        with ends.connect(net.client, at, 80) as sock:
            ends.ask(sock)


def test_the_gateway_resets_what_conntrack_does_not_take_up(net):
    """Where it takes no lone segment for a new connection, that is the gateway's own."""
    moving = Moving(net, False, {"when-gone": "reset"})
    net.gateway.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    moving.point(1)
    moving.ended(4)
    assert [is_reset(sock) for sock in moving.tcp] == [True, True]
    assert net.gateway.counter("TcpOutRsts") >= 2  # whoever repeats its word is told again
    assert [ask() for ask in moving.asks] == [BACKENDS[1], BACKENDS6[1]]


@GONE
def test_what_a_name_has_left_goes_on_by_default(net, accelerate):
    """Also over a reload, and when the forward itself is gone."""
    moving = Moving(net, accelerate, {})
    moving.point(1)
    moving.moved(1)
    for forwards in (moving.forwards({}), moving.forwards({}, "q"), "handoff: no\nlisteners: {listen: '0.0.0.0:99', pool: q}\n"):
        for sock in moving.tcp:
            ends.ask(sock)
        assert [ask() for ask in moving.asks] == [BACKENDS[0], BACKENDS6[0]]
        assert moving.ladon.reload(moving.file + forwards).returncode == 0
    for sock in moving.tcp:
        ends.ask(sock)
    assert [ask() for ask in moving.asks] == [BACKENDS[0], BACKENDS6[0]]
    assert "were ended" not in moving.ladon.log()


@GONE
def test_a_forward_that_is_taken_away_ends_what_it_has_sent(net, accelerate):
    """If that is said: by a reload with another server, and by one that has it no more. The gateway itself resets then."""
    reset = {"when-gone": "reset"}
    moving = Moving(net, accelerate, reset)
    assert moving.ladon.reload(moving.file + moving.forwards(reset, "q")).returncode == 0
    for sock in moving.tcp:
        ends.ask(sock)
    assert moving.ladon.reload(moving.file + config(*(
        forward(join(at, "79-81"), join(a[1], "8079-8081"), protocol="both", **reset)
        for at, a in ((GATEWAY, BACKENDS), (GATEWAY6, BACKENDS6))))).returncode == 0
    assert [is_reset(sock) for sock in moving.tcp] == [True, True]
    assert [ask() for ask in moving.asks] == [BACKENDS[1], BACKENDS6[1]]
    again = [ends.connect(net.client, at, 80) for at, _ in PAIRS]
    for sock in again:
        ends.ask(sock)
    assert moving.ladon.reload(moving.file + config(forward("192.0.2.1:80", "192.0.2.2:80"))).returncode == 0
    assert [is_reset(sock) for sock in again] == [True, True]
    for ask in moving.asks:
        with pytest.raises(ConnectionRefusedError):
            ask()
    assert moving.ladon.log().count("were ended") == 2


def test_one_that_is_removed_at_run_time_ends_what_it_has_sent(net):
    """If that was said, and none of its neighbour's, nor what somebody else's NAT has sent elsewhere."""
    net.forward()
    for address in (*BACKENDS[:2], *BACKENDS6[:2]):
        ends.Server(net.backend, ends.echo, address=address)
    net.gateway.nft("table inet theirs {\nchain pre {\ntype nat hook prerouting priority -150\n"
                    "ip saddr 10.0.1.77 tcp dport 81 dnat ip to 10.0.2.3:8080\n}\n}")
    net.client.ip("addr add 10.0.1.77/24 dev eth0")
    ladon = net.ladond(config(forward("192.0.2.1:80", "192.0.2.2:80")) + RELAY.replace(":80\"", ":99\""))
    for at, backend in PAIRS:
        for port, gone in ((80, "reset"), (81, "keep")):
            ladon.ask("forward add", listen=join(at, port), to=join(backend, 8080), **{"when-gone": gone})
    assert [f["when_gone"] for f in ladon.ask("forward show")["forwards"]] == ["keep"] + ["reset", "keep"] * 2
    first, other = ([ends.connect(net.client, at, port) for at, _ in PAIRS] for port in (80, 81))
    theirs = ends.connect(net.client, GATEWAY, 81, prepare=lambda sock: sock.bind(("10.0.1.77", 0)))
    for sock in (*first, *other, theirs):
        ends.ask(sock)
    net.gateway.nft("delete table inet theirs")  # or it would make up for the loss
    for at, _ in PAIRS:
        for port in (80, 81):
            assert ladon.command("forward", "remove", join(at, port)).returncode == 0
    assert [is_reset(sock) for sock in (*first, *other, theirs)] == [True, True, False, False, False]
    done = ladon.command("forward", "add", f"{GATEWAY}:80", "to", "192.0.2.2:80", "when-gone", "cut")
    assert done.returncode == 1 and 'when-gone: "cut" will not do; it takes keep or reset' in done.stderr


def test_nothing_is_reset_before_all_names_are_found(net):
    """After a start, at which the name server is silent: whoever the name is may be the server."""
    reset = {"when-gone": "reset"}
    moving = Moving(net, False, reset)
    moving.ladon.kill9()
    moving.dns.names["www.example.org"] = "silent"
    ladon = net.ladond(moving.file + moving.forwards(reset))
    until(lambda: ladon.ask("forward show")["forwards"][0]["pool"] == "p", "it answers")
    for sock in moving.tcp:
        ends.ask(sock)
    moving.point(1)
    until(lambda: BACKENDS[1] in table(net) and BACKENDS6[1] in table(net), "the name is found", 60)
    moving.ended(4)
    assert [is_reset(sock) for sock in moving.tcp] == [True, True]
    assert [ask() for ask in moving.asks] == [BACKENDS[1], BACKENDS6[1]]


def test_a_pool_serves_a_forward_that_is_added(net):
    """Found by its name again when another file has it elsewhere; a file that has it no more is refused."""
    net.forward()
    serve_self(net, *BACKENDS[:2], *BACKENDS6[:2])
    one, two = (pool(name, join(BACKENDS[i], 8080), join(BACKENDS6[i], 8080)) for i, name in enumerate(("one", "two")))
    proxied = pool("proxied", "10.0.2.2:1", more=", send-proxy: v1")
    first = config(forward("192.0.2.1:80", "192.0.2.2:80"))
    ladon = net.ladond(f"pools:\n{one}{two}{proxied}{first}")
    for at, _ in PAIRS:
        done = ladon.command("forward", "add", join(at, 80), "pool", "two", "source", "masquerade")
        assert done.returncode == 0 and "two" in done.stdout
    assert [reached(net, at, 80) for at, _ in PAIRS] == [[BACKENDS[1]], [BACKENDS6[1]]]
    for words, complaint in ((("pool", "none"), 'pool: no pool is named "none"; ladon pool shows them'),
                             (("pool", "one", "to", "192.0.2.1:1"), "pool: does not go with 'to'"),
                             (("pool", "proxied"), 'pool: pool "proxied" has send-proxy')):
        done = ladon.command("forward", "add", f"{GATEWAY}:81", *words)
        assert done.returncode == 1 and complaint in done.stderr, done.stderr
    assert ladon.command("--complete", "forward", "add", f"{GATEWAY}:81", "pool").stdout.split() == [
        "one", "two", "proxied"]

    assert ladon.reload(f"pools:\n{two}{one}{first}").returncode == 0
    assert [reached(net, at, 80) for at, _ in PAIRS] == [[BACKENDS[1]], [BACKENDS6[1]]]
    for pools, complaint in ((one, "is not in it any more"), (one + proxied.replace("proxied", "two"), "has send-proxy")):
        done = ladon.reload(f"pools:\n{pools}{first}")
        assert done.returncode == 1 and f'pool "two" {complaint}' in done.stderr, done.stderr
        assert f"{GATEWAY}:80, added at run time, leads to it" in done.stderr
    assert [f.get("pool") for f in ladon.ask("forward show")["forwards"]] == [None, "two", "two"]
    assert [reached(net, at, 80) for at, _ in PAIRS] == [[BACKENDS[1]], [BACKENDS6[1]]]


def test_a_forward_for_any_address_of_the_gateway(net):
    """Whichever it is, also a new one; what is only passing is left alone, and a forward for one address comes first."""
    net.forward()
    serve(net, 8080, 8081, 81, 9003)
    net.gateway.ip("addr add 10.0.2.77/24 dev backend0", "addr add fd00:2::77/64 dev backend0 nodad preferred_lft 0")
    anywhere = "".join(
        forward(join(any_of, 80), join(backend, 8080), protocol="both", source="masquerade") +
        forward(join(any_of, 81), join(backend, 81), protocol="both") +
        forward(join(any_of, "5000-5009"), join(backend, "9000-9009"), protocol="both", source=f'"{fixed}"')
        for any_of, backend, fixed in (("0.0.0.0", BACKENDS[0], "10.0.2.77"), ("::", BACKENDS6[0], "fd00:2::77")))
    ladon = net.ladond("pools:\n" + pool("p", join(BACKENDS[1], 8080), join(BACKENDS6[1], 8080)) + config(
        anywhere, to_pool("0.0.0.0:82", "p"), to_pool("[::]:82", "p"), both(5001, 8081)))
    serve_self(net, BACKENDS[1], BACKENDS6[1])
    net.gateway.ip("addr add 10.0.1.44/24 dev client0", "addr add fd00:1::44/64 dev client0 nodad")
    for at, others, backend in ((GATEWAY, ("10.0.1.44", GATEWAY_BACK), BACKENDS),
                                (GATEWAY6, ("fd00:1::44", GATEWAY_BACK6), BACKENDS6)):
        six = is_ipv6(at)
        client, back, fixed = (CLIENT6, GATEWAY_BACK6, "fd00:2::77") if six else (CLIENT, GATEWAY_BACK, "10.0.2.77")
        for address in (at, *others):
            for ask in (ask_tcp, ask_udp):
                assert ask(net.client, address, 80) == [back, "8080"]
                assert ask(net.client, address, 81) == [client, "81"]
                assert ask(net.client, address, 5003) == [fixed, "9003"]
            assert reached(net, address, 82) == [backend[1]]
        assert ask_tcp(net.client, at, 5001) == [client, "8081"]
        assert refused(net.client, backend[0], 80)
        assert refused(net.client, at, 83)
        by_listen = {f["listen"]: f["flows"] for f in ladon.ask("forward show")["forwards"]}
        assert [by_listen[join("::" if six else "0.0.0.0", port)] for port in (80, 81, "5000-5009", 82)] == [6, 6, 6, 3]
        assert by_listen[join(at, 5001)] == 1
    ends.Server(net.gateway, say_source, port=80, address=GATEWAY)
    assert ask_tcp(net.gateway, GATEWAY, 80) == [GATEWAY, "80"]  # what it sends itself is not forwarded


def test_what_is_gone_of_a_forward_for_any_address(net):
    """Ended as of another; what is only passing, to the same port and with somebody else's NAT, goes on."""
    net.forward()
    for address in (*BACKENDS[:2], *BACKENDS6[:2]):
        ends.Server(net.backend, ends.echo, address=address)
    net.gateway.nft("table inet theirs {\nchain pre {\ntype nat hook prerouting priority -150\n"
                    "ip daddr 10.0.2.4 tcp dport 80 dnat ip to 10.0.2.2:8080\n}\n}")
    listed = [("0.0.0.0", BACKENDS), ("::", BACKENDS6)]

    def file(index):
        return config(*(forward(join(at, 80), join(to[index], 8080), **{"when-gone": "reset"}) for at, to in listed))

    ladon = net.ladond(file(0))
    socks = [ends.connect(net.client, at, 80) for at, _ in PAIRS]
    theirs = ends.connect(net.client, BACKENDS[2], 80)
    net.gateway.nft("delete table inet theirs")
    for sock in (*socks, theirs):
        ends.ask(sock)
    assert ladon.reload(file(1)).returncode == 0
    assert [is_reset(sock) for sock in (*socks, theirs)] == [True, True, False]


def test_a_link_local_backend_gets_nothing(net):
    """NAT has no place for its link; it is as if there were only the others."""
    net.forward()
    serve_self(net, BACKENDS6[1])
    net.ladond("pools:\n" + pool("p", "[fe80::2%backend0]:8080", join(BACKENDS6[1], 8080)) +
               config(to_pool(f"[{GATEWAY6}]:80", "p")))
    assert reached(net, GATEWAY6, 80, 4) == [BACKENDS6[1]] * 4
