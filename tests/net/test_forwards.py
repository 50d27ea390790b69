# SPDX-License-Identifier: GPL-2.0-only
"""Port forwards: the kernel's NAT in a table of ladon's own, which is whole as long as a daemon runs.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
"""
import os
import socket
import time

from lib import ends
from lib.gateway import BUILD
from lib.net import (BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6,
                     is_ipv6, join, until)

TABLE = "ladon-forward"
PAIRS = ((GATEWAY, BACKENDS[0]), (GATEWAY6, BACKENDS6[0]))

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
         "hairpin": "10.0.2.0/24"}]
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
    ladon = net.ladond(f'listeners: {{listen: "0.0.0.0:80", pool: p}}\npools: {{name: p, backends: ["{BACKENDS[0]}:8080"]}}\n'
                       "handoff: no\n")
    assert table(net) is None
    done = ladon.reload(forwards)
    assert done.returncode == 1 and "none at the start" in done.stderr
    assert table(net) is None


def test_without_forwarding_the_cure_is_said(net):
    net.forward(False)
    ladon = net.ladond(config(both(80, 8080)))
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
    until(lambda: "made again" in ladon.log(), "made again")
    print(f"made again: {time.monotonic() - started:.2f} s")
    assert ask_tcp(net.client, "192.0.39.15", 80) == [CLIENT, "8080"]
    assert ladon.log().count("made again") == 1


def test_it_works_as_another_user(net):
    """Rules are written, and made again, after the rights have been dropped."""
    net.forward()
    ladon = net.ladond(config(both(80, 8080)) + "user: nobody\n")
    net.gateway.nft("flush ruleset")
    until(lambda: "made again" in ladon.log(), "made again")
    assert "dnat" in table(net)
