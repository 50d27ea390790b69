# SPDX-License-Identifier: GPL-2.0-only
"""Backends see the client's own address and port, and the gateway needs no rule of the operator's for it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
              fd00:1::/64             fd00:2::/64
"""
import os
import time

from lib import ends, wire
from lib.gateway import BUILD, example
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, run, until
from test_icmp import Deaf, told_about_a_byte
from test_original import bound, ends_of_flows, tproxy

SIZE = 5 * ends.MB
TABLE = "2768"

CONFIG = """
    listeners:
      - {listen: "0.0.0.0:8080", pool: four}
      - {listen: "[::]:8080", pool: six}
    pools:
      - {name: four, source: transparent, backends: ["10.0.2.2:8080"]}
      - {name: six, source: transparent, backends: ["[fd00:2::2]:8080"]}
"""
FAMILIES = [(GATEWAY, BACKENDS[0], CLIENT), (GATEWAY6, BACKENDS6[0], CLIENT6)]


def talk(size, say):
    """A greeting, then exchange(). Return: who the other end is, and what was heard."""
    def both(sock):
        return sock.getpeername()[:2], ends.answer_and_exchange(size, say)(sock)

    return both


def strict(net):
    """A router that looks at where packets come from."""
    net.forward()
    for device in ("all", "client0", "backend0"):
        net.gateway.sysctl(f"net.ipv4.conf.{device}.rp_filter", 1)


def left_over(net):
    """What is ladon's of the gateway's routing."""
    return [line for family in ("-4", "-6") for what in (("rule",), ("route", "show", "table", "all"))
            for line in run("ip", family, "-n", net.gateway.name, *what).splitlines() if TABLE in line]


def test_the_backend_sees_the_client(net):
    strict(net)
    ladon = net.ladond(CONFIG + "    user: nobody\n")
    for count, (front, backend, client) in enumerate(FAMILIES, 1):
        server = ends.Server(net.backend, talk(SIZE, 1), address=backend)
        with wire.capture(net.backend) as behind, ends.connect(net.client, front) as sock:
            me = sock.getsockname()[:2]
            ends.ask(sock)
            ladon.wait_handed_off(count)
            assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
            assert server.result() == (me, ends.expected(SIZE, 2))
        assert {(s.source, s.dest) for s in behind.segments} == {(client, backend), (backend, client)}
        assert wire.repeats(behind.segments) == [] and wire.duplicate_acks(behind.segments) == []
        assert not [s for s in behind.segments if s.flags & wire.RST]
    assert ladon.reasons() == {}
    assert ladon.relayed_bytes() == 0
    assert net.trouble() == {}


def test_neither_end_knows_of_the_gateway(net, certs):
    """TPROXY on the way in, the shipped example as it stands, and a router that may forward."""
    strict(net)
    tproxy(net, "tcp dport { 443, 8080 }")
    ladon = net.ladond(example(net, "transparent"))

    def greet(sock):
        sock.sendall(b"\0")
        return talk(SIZE, 1)(sock)

    def be_greeted(sock):
        assert ends.receive_exactly(sock, 1) == b"\0"
        return talk(SIZE, 1)(sock)

    count = 0
    for _, backend, client in FAMILIES:
        for port, first, other in ((8080, greet, lambda s: ends.receive_exactly(s, 1)),
                                   (443, be_greeted, lambda s: s.sendall(b"\0"))):
            server = ends.Server(net.backend, first, address=backend, port=port)
            with wire.capture(net.client) as before, wire.capture(net.backend) as behind:
                with ends.connect(net.client, backend, port=port) as sock:
                    other(sock)
                    me = sock.getsockname()[:2]
                    ends.ask(sock)
                    count += 1
                    ladon.wait_handed_off(count)
                    assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
                    assert server.result() == (me, ends.expected(SIZE, 2))
            for segments in (before.segments, behind.segments):
                assert {s.source for s in segments} == {client, backend}
                assert {s.sport for s in segments} == {me[1], port}
                assert wire.repeats(segments) == [] and wire.duplicate_acks(segments) == []
                assert not [s for s in segments if s.flags & wire.RST]
    assert ladon.reasons() == {}
    assert net.trouble() == {}

    ends.Server(net.backend, ends.http("mirror"), address=BACKENDS[2], port=443, tls=certs.server())
    got = ends.curl(net.client, "https://mirror.example.org/", "--insecure", resolve=BACKENDS[0])
    assert got.headers["X-Backend"] == "mirror"


def test_a_relayed_connection_is_transparent_too(net):
    """Its sockets hear their backend for as long as they live, and end as others do."""
    strict(net)
    net.backend.sysctl("net.ipv4.tcp_timestamps", 0)
    ladon = net.ladond(CONFIG)
    for front, backend, client in FAMILIES:
        server = ends.Server(net.backend, talk(SIZE, 1), address=backend)
        with ends.connect(net.client, front) as sock:
            me = sock.getsockname()[:2]
            ends.ask(sock)
            assert ends.exchange(sock, SIZE, 2) == ends.expected(SIZE, 1)
            assert server.result() == (me, ends.expected(SIZE, 2))
    assert ladon.reasons() == {"timestamps": 2}
    assert "TcpOutRsts" not in str(net.trouble())
    until(lambda: not net.gateway.sockets(), "no sockets on the gateway")


TWO_PORTS = CONFIG.replace('"0.0.0.0:8080"', '["0.0.0.0:8080", "0.0.0.0:8081"]') \
    .replace('"[::]:8080"', '["[::]:8080", "[::]:8081"]')


def test_one_port_of_the_clients_for_two_connections(net):
    """The second one to the same backend gets another port; also after a new start, when only the table knows."""
    ladon = net.ladond(TWO_PORTS)
    config = TWO_PORTS
    seen = []
    for front, backend, client in FAMILIES:
        server = ends.Server(net.backend, lambda s: (s.getpeername()[:2], ends.echo(s))[0], address=backend)
        first = ends.connect(net.client, front, prepare=bound(client, 40000))
        ends.ask(first)
        seen.append((front, client, server, first))
    ladon.wait_handed_off(2)
    ladon.kill9()
    ladon = net.ladond(config)
    assert len(ladon.flows()) == 2
    for front, client, server, first in seen:
        with ends.connect(net.client, front, port=8081, prepare=bound(client, 40000)) as second:
            ends.ask(second)
            ends.ask(first)
        address, port = server.result()
        assert address == client and port != 40000
        first.close()
        assert server.result() == (client, 40000)
    ladon.wait_handed_off(2)
    until(lambda: ladon.flows() == [], "the flows have ended")
    assert ladon.reasons() == {}
    assert net.trouble() == {}


ONE_PORT = """
    listeners:
      - {listen: "0.0.0.0:8080", pool: own}
      - {listen: "0.0.0.0:8081", pool: foreign}
    pools:
      - {name: own, backends: ["10.0.2.2:8080"]}
      - {name: foreign, source: transparent, backends: ["10.0.2.2:8080"]}
    source-ports: 20000-20000
"""


def test_ports_of_the_clients_are_not_those_of_ladons_own(net):
    """A client has the one port that ladon has for its own connections to the same backend; also after a new start."""
    ladon = net.ladond(ONE_PORT)
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as own:
        ends.ask(own)
        for _ in range(2):
            with ends.connect(net.client, port=8081, prepare=bound(CLIENT, 20000)) as foreign:
                ends.ask(foreign)
                until(lambda: len(ladon.flows()) == 2, "both are handed off")
                ends.reset(foreign)
            until(lambda: len(ladon.ask("flow show")["flows"]) == 1, "one has ended, and was deleted")
            time.sleep(0.7)  # as long as a port rests, and more
            with ends.connect(net.client) as another:
                ends.ask(another)
            assert ladon.reasons() == {"no_port": 1}
            ladon.kill9()
            ladon = net.ladond(ONE_PORT)
        ends.ask(own)


def test_how_flows_end_and_begin_again(net):
    """And the client's next connection may have the same port at once."""
    ladon = net.ladond(CONFIG)
    for front, backend, client in FAMILIES:
        ends_of_flows(net, ladon, front, backend, client)
    ladon.wait_handed_off(10)
    until(lambda: ladon.flows() == [], "the flows have ended")
    assert ladon.reasons() == {}


REFUSING = """
    listeners:
      - {listen: "0.0.0.0:8080", pool: four}
      - {listen: "[::]:8080", pool: six}
      - {listen: "0.0.0.0:8081", pool: six}
    pools:
      - {name: four, source: transparent, policy: first, backends: ["10.0.2.3:1", "10.0.2.3:2", "10.0.2.2:8080"]}
      - {name: six, source: transparent, policy: first, backends: ["[fd00:2::3]:1", "[fd00:2::3]:2", "[fd00:2::2]:8080"]}
    timeouts: {connect: 20s}
"""


def test_backends_that_refuse_and_those_of_another_family(net):
    """A RST and an ICMP error find the socket: it is not waited for. And IPv4 cannot be seen in IPv6."""
    strict(net)
    net.backend.nft("""table inet refuse { chain in { type filter hook input priority filter
        tcp dport 2 reject with icmpx host-unreachable
    }
    }""")
    ladon = net.ladond(REFUSING)
    for front, backend, client in FAMILIES:
        server = ends.Server(net.backend, lambda s: (s.getpeername()[0], ends.echo(s))[0], address=backend)
        with ends.connect(net.client, front) as sock:
            ends.ask(sock)
        assert server.result() == client
    with ends.connect(net.client, port=8081) as sock:
        assert sock.recv(1) == b""
    assert ladon.reasons("closed") == {"source_family": 1}
    failed = {b["backend"]: b["failed"] for pool in ladon.ask("pool show")["pools"] for b in pool["backends"]}
    assert failed == {"10.0.2.3:1": 1, "10.0.2.3:2": 1, "10.0.2.2:8080": 0,
                      "[fd00:2::3]:1": 1, "[fd00:2::3]:2": 1, "[fd00:2::2]:8080": 0}


def test_who_a_proxy_header_says(net):
    net.backend.ip("route add 192.0.2.0/24 via 10.0.2.9")
    ladon = net.ladond("""
        listeners: [{listen: "0.0.0.0:8080", pool: four, proxy-from: [10.0.1.1]}]
        pools: [{name: four, source: transparent, backends: ["10.0.2.2:8080"]}]
    """)
    server = ends.Server(net.backend, lambda s: (s.getpeername(), ends.echo(s))[0])
    with ends.connect(net.client) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 10.0.1.9 1234 8080\r\n")
        ends.ask(sock)
        ladon.wait_handed_off()
        ends.ask(sock)
    assert server.result() == ("192.0.2.7", 1234)
    assert net.trouble() == {}


def test_addresses_that_no_answer_comes_back_from(net):
    """Whatever a PROXY header says, a backend sees a client's address or nothing; and none is ejected for it."""
    net.backend.ip("route add 192.0.2.0/24 via 10.0.2.9")
    net.backend.ip("route add 2001:db8::/32 via fd00:2::9")
    ladon = net.ladond(CONFIG.replace("8080\", ", '8080", proxy-from: ["10.0.1.1", "fd00:1::1"], '))
    said = ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "10.0.1.9", "10.0.2.9", "10.0.2.2", "10.0.2.255"], \
        ["::", "::1", "fe80::1", "ff02::1", "fd00:1::9", "fd00:2::9", "fd00:2::2", "::ffff:0.0.0.0"]
    count = 0
    for (front, backend, _), proto, unusable, usable in zip(FAMILIES, ("TCP4", "TCP6"), said, ("192.0.2.7", "2001:db8::7")):
        server = ends.Server(net.backend, lambda s: (s.getpeername()[0], ends.echo(s))[0], address=backend)
        for source in [*unusable, usable]:
            with ends.connect(net.client, front) as sock:
                sock.sendall(f"PROXY {proto} {source} {front} 1234 8080\r\n".encode())
                if source == usable:
                    ends.ask(sock)
                else:
                    count += 1
                    assert sock.recv(1) == b""
        assert server.result() == usable
    reasons = ladon.reasons("closed")
    assert reasons.pop("source_family", 0) <= 1  # ::ffff:0.0.0.0 is one of IPv4
    assert sum(ladon.reasons("closed").values()) == count
    assert set(reasons) == {"source_unusable"}
    assert {b["failed"] for pool in ladon.ask("pool show")["pools"] for b in pool["backends"]} == {0}


def test_clients_whose_way_back_is_another_eject_nobody(net):
    """Those of the backends' own net: what is answered to them never comes by the gateway."""
    net.backend.ip("route add 10.0.1.0/24 via 10.0.2.9")
    ladon = net.ladond("""
        listeners: [{listen: "0.0.0.0:8080", pool: two}]
        pools:
          - {name: two, source: transparent, policy: first, eject: {failures: 2, share: 100%},
             backends: ["10.0.2.2:8080", "10.0.2.3:8080"]}
        timeouts: {connect: 150ms}
    """)
    servers = [ends.Server(net.backend, lambda s: (s.getpeername()[0], ends.echo(s))[0], address=backend)
               for backend in BACKENDS[:2]]
    for _ in range(4):
        with ends.connect(net.backend, prepare=lambda sock: sock.bind((BACKENDS[2], 0))) as sock:
            assert sock.recv(1) == b""
    with ends.connect(net.client) as sock:
        ends.ask(sock)
    assert servers[0].result() == CLIENT
    assert ladon.reasons("closed") == {"no_backend": 4}
    backends = ladon.ask("pool show")["pools"][0]["backends"]
    assert [(b["state"], b["failed"]) for b in backends] == [("up", 0), ("up", 0)]


def test_the_rule_comes_back_and_goes_with_ladon(net):
    """Whoever flushes it loses nothing for long; what is in the way is said at the start; and nothing is left behind."""
    net.gateway.sysctl("net.ipv4.conf.all.src_valid_mark", 1)
    net.gateway.ip("rule add pref 100 lookup 200")
    net.gateway.ip("route add default via 10.0.2.2 table 200")
    ladon = net.ladond(CONFIG + "    user: nobody\n")
    ladon.wait_said("src_valid_mark=0")
    assert "IPv4 backends answer is lost; see ip rule" in ladon.log() and "IPv6 backends" not in ladon.log()
    made = left_over(net)
    assert len(made) == 4
    net.gateway.ip("rule del pref 2768", "route flush table 2768")
    until(lambda: left_over(net) == made, "made again")
    ladon.wait_said("was deleted; made again")
    ladon.stop()
    assert left_over(net) == made
    net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", "-c", ladon.config)
    assert left_over(net) == []


def test_the_first_such_pool_takes_a_restart(net):
    ladon = net.ladond(CONFIG.replace("source: transparent", "source: gateway"))
    done = ladon.reload(CONFIG)
    assert done.returncode == 1
    assert "source: transparent, which no pool had at the start, needs a restart" in done.stderr
    assert left_over(net) == []


def test_without_privileges_it_does_not_start(net):
    ladon = net.ladond(CONFIG, user="nobody", wait=False)
    assert ladon.process.wait(10) == 1
    ladon.wait_said("source transparent: not without the handoff's programs")


def test_a_neighbour_does_not_answer(net):
    """This host's own ICMP errors are about packets with others' addresses: they are turned back as a router's are."""
    tproxy(net, "tcp dport 8080")
    ladon = net.ladond("""
        listeners: [{listen: ["0.0.0.0:15001", "[::]:15001"], transparent: yes, pool: onward}]
        pools: [{name: onward, backends: original, source: transparent}]
    """)
    for count, (deaf, (_, backend, _)) in enumerate(zip(("client", "backend"), FAMILIES), 1):
        listener = net.backend.socket(backend)
        listener.bind((backend, 8080))
        listener.listen()
        front = ends.connect(net.client, backend)
        back, _ = listener.accept()
        front.sendall(b"ping")
        assert ends.receive_exactly(back, 4) == b"ping"
        back.sendall(b"pong")
        assert ends.receive_exactly(front, 4) == b"pong"
        ladon.wait_handed_off(count)
        speaker, hearer, space = (front, back, net.client) if deaf == "backend" else (back, front, net.backend)
        neighbour = Deaf(net, getattr(net, deaf), f"{deaf}0")
        assert told_about_a_byte(space, speaker) == ((3, 1) if deaf == "client" else (1, 3))
        neighbour.cure()
        assert ends.receive_exactly(hearer, 1) == b"x"
        for sock in (front, back, listener):
            sock.close()
