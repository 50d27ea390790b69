# SPDX-License-Identifier: GPL-2.0-only
"""Flows of several producers, one behind the other and side by side: forwards, handoffs, and what is only learned.

    client -- 10.0.7.0/24 -- far -- 198.51.100.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9   .1                   .2       .9               .2 .3
              fd00:7::/64           2001:db8:51::/64             fd00:2::/64
"""
from lib import ends, wire
from lib.gateway import FAR_GATEWAY, FAR_GATEWAY6, FAR_GATEWAY_BACK, FAR_GATEWAY_BACK6, FAR_NEXT, FAR_NEXT6, Far, Ladond
from lib.learned import ACCELERATE, GO, LINUX_LEARNS, STATEFUL, Udp, chat, invalid, learned, start
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, GATEWAY_BACK, GATEWAY_BACK6, join, until

SIZE = 4 * ends.MB
pytestmark = LINUX_LEARNS


def fast(ladon):
    """Whose flows they are that took the short way both ways."""
    return sorted(flow["by"] for flow in ladon.ask("flow show")["flows"] if flow["packets_in"] and flow["packets_out"])


def hand_off(ladon, socks):
    """A word on each. One that is late is handed off when its ends are silent for a moment."""
    for sock in socks:
        ends.ask(sock)
    ladon.wait_handed_off(len(socks), 20)


def say_all(socks, servers, seen):
    """Much on all connections at once."""
    for sock in socks:
        sock.sendall(GO)
    heard = [ends.spawn(ends.exchange, sock, SIZE, 2) for sock in socks]
    assert [h.result(30) for h in heard] == [ends.expected(SIZE, 1)] * len(socks)
    assert [server.result() for server in servers] == [(source, ends.expected(SIZE, 2)) for source in seen]
    for sock in socks:
        sock.close()


def test_a_forward_to_a_listener(net):
    """One gateway forwards a port to another one's listener, which hands off what comes: learned here, handed off there.

    Beside it are connections and datagrams that both only forward. Both families; both daemons die in the middle.
    """
    far = Far(net)
    second = start(net, accelerate=ACCELERATE + f"""
listeners:
  - {{listen: "{FAR_NEXT}:8080", pool: four}}
  - {{listen: "[{FAR_NEXT6}]:8080", pool: six}}
pools:
  - {{name: four, backends: ["{BACKENDS[0]}:8080"]}}
  - {{name: six, backends: ["[{BACKENDS6[0]}]:8080"]}}
""")
    far.gateway.nft(STATEFUL)
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        far.gateway.sysctl(name, 1)
    far.gateway.ip("route add 10.0.2.0/24 via " + FAR_NEXT, "route add fd00:2::/64 via " + FAR_NEXT6)
    net.client.ip("route replace 10.0.2.0/24 via " + FAR_GATEWAY, "route replace fd00:2::/64 via " + FAR_GATEWAY6)
    net.gateway.ip("route add 10.0.7.0/24 via " + FAR_GATEWAY_BACK, "route add fd00:7::/64 via " + FAR_GATEWAY_BACK6)
    far.gateway.nft("add table inet hide; add chain inet hide post { type nat hook postrouting priority srcnat; }; "
                    "add rule inet hide post oifname g0 masquerade")
    first = Ladond(far, ACCELERATE + "forwards:\n" + "".join(
        f'  - {{listen: "{join(at, 9090)}", to: "{join(to, 8080)}"}}\n' for at, to in ((FAR_GATEWAY, FAR_NEXT), (FAR_GATEWAY6, FAR_NEXT6))))
    servers = [ends.Server(net.backend, chat(SIZE, 1), address=backend) for backend in (BACKENDS[0], BACKENDS6[0], BACKENDS[1], BACKENDS6[1])]
    datagrams = [Udp(net, (None, backend, backend, source)) for backend, source in ((BACKENDS[0], FAR_GATEWAY_BACK), (BACKENDS6[0], FAR_GATEWAY_BACK6))]
    net.forget_trouble()
    with wire.capture(net.client, "eth1") as seen:
        socks = [ends.connect(net.client, gateway, 9090) for gateway in (FAR_GATEWAY, FAR_GATEWAY6)]
        socks += [ends.connect(net.client, backend) for backend in (BACKENDS[1], BACKENDS6[1])]

        def all_are_fast():
            for sock in socks:
                ends.ask(sock)
            for udp in datagrams:
                udp.ask()
            return fast(first) == ["forward"] * 2 + ["learned"] * 4 and fast(second) == ["handoff"] * 2 + ["learned"] * 4

        hand_off(second, socks[:2])
        carried = second.relayed_bytes()
        until(all_are_fast, "each in its own way")
        assert second.relayed_bytes() == carried
        first.kill9()
        second.kill9()
        say_all(socks, servers, (GATEWAY_BACK, GATEWAY_BACK6, FAR_GATEWAY_BACK, FAR_GATEWAY_BACK6))
        for udp in datagrams:
            udp.ask()
    assert not [s for s in seen.segments if s.flags & wire.RST] and wire.repeats(seen.segments) == []
    assert invalid(net) == 0 and invalid(far) == 0


def test_a_forward_to_a_listener_of_its_own(net):
    """The same gateway's: NAT has led it to a socket of this host, which hands it off as what the client called. Both families."""
    families = (CLIENT, GATEWAY, GATEWAY_BACK, BACKENDS[0]), (CLIENT6, GATEWAY6, GATEWAY_BACK6, BACKENDS6[0])
    ladon = start(net, accelerate=ACCELERATE + """
listeners:
  - {listen: "10.0.2.9:8080", pool: four}
  - {listen: "[fd00:2::9]:8080", pool: six}
pools:
  - {name: four, backends: ["10.0.2.2:8080"]}
  - {name: six, backends: ["[fd00:2::2]:8080"]}
forwards:
  - {listen: "10.0.1.9:9090", to: "10.0.2.9:8080"}
  - {listen: "[fd00:1::9]:9090", to: "[fd00:2::9]:8080"}
""")
    net.gateway.nft("add rule inet filter forward tcp dport 8081 accept")
    servers, socks, seen = [], [], []
    for client, gateway, back, backend in families:
        servers += [ends.Server(net.backend, chat(SIZE, 1), port=port, address=backend) for port in (8080, 8081)]
        socks += [ends.connect(net.client, gateway, 9090), ends.connect(net.client, backend, 8081)]
        seen += [back, client]

    def all_are_fast():
        for sock in socks:
            ends.ask(sock)
        return fast(ladon) == ["handoff"] * 2 + ["learned"] * 2

    hand_off(ladon, socks[::2])
    until(all_are_fast, "each in its own way")
    handoffs = {(flow["listener"], flow["client"]) for flow in ladon.ask("flow show")["flows"] if flow["by"] == "handoff"}
    assert handoffs == {(join(gateway, 9090), join(*sock.getsockname()[:2])) for (_, gateway, _, _), sock in zip(families, socks[::2])}
    say_all(socks, servers, seen)
    assert ladon.reasons() == {} and invalid(net) == 0 and net.trouble() == {}
    until(lambda: learned(ladon) == [], "the ends were seen")
