#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""through.py - connections through a real ladond: every byte arrives, and the kernel carried it

    client -- gateway -- backend, as drawn in tests/net/lib/net.py

What tests/net asks, but for what an emulated machine cannot promise: there,
a segment may come late or twice. So hashes, handoffs, checksums and resets are
judged, and retransmissions only told.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../net")]

from lib import ends  # noqa: E402
from lib.gateway import FAMILIES, Ladond  # noqa: E402
from lib.net import Net  # noqa: E402

BYTES = 3 * ends.MB + 1
CONNECTIONS = 8
OPTIONS = ("tcp_timestamps", "tcp_sack", "tcp_window_scaling")
HARM = ("TcpInCsumErrors", "TcpOutRsts", "TcpInErrs")


def exchange(server, sock):
    """Everything both ways, at once."""
    heard = ends.exchange(sock, BYTES, say=2)
    assert heard == ends.expected(BYTES, 1), f"the client got {heard}"
    said = server.result()
    assert said == ends.expected(BYTES, 2), f"the backend got {said}"


def judge(net, ladon, count):
    """All of them were handed off, no byte went through the daemon, nobody met a damaged segment or a reset."""
    found = ladon.connections()["handed_off"], ladon.reasons(), ladon.relayed_bytes()
    assert found == (count, {}, 0), f"handed off, reasons, relayed bytes: {found}"
    for space in (net.client, net.backend):
        harm = {name: space.counter(name) for name in HARM if space.counter(name)}
        assert not harm, f"{space.name}: {harm}"
    ladon.wait_gone()


def passes(net, family):
    """Some connections, one after the other."""
    gateway, backend, config = family
    ladon = Ladond(net, config)
    server = ends.Server(net.backend, lambda s: ends.exchange(s, BYTES, say=1), address=backend)
    for _ in range(CONNECTIONS):
        with ends.connect(net.client, gateway) as sock:
            exchange(server, sock)
    judge(net, ladon, CONNECTIONS)


def ipv4(net):
    passes(net, FAMILIES[0])


def ipv6(net):
    passes(net, FAMILIES[1])


def options(net):
    """The client has one option less each time, then the backend has none."""
    gateway, backend, config = FAMILIES[0]
    ladon = Ladond(net, config)
    server = ends.Server(net.backend, lambda s: ends.exchange(s, BYTES, say=1), address=backend)
    for space, option in [(net.client, o) for o in OPTIONS] + [(net.backend, o) for o in OPTIONS[1:]]:
        space.sysctl(f"net.ipv4.{option}", 0)
        with ends.connect(net.client, gateway) as sock:
            exchange(server, sock)
    judge(net, ladon, len(OPTIONS) + len(OPTIONS[1:]))


def death(net):
    """The daemon is killed when a flow is open; the next one adopts it."""
    gateway, backend, config = FAMILIES[0]
    ladon = Ladond(net, config)
    server = ends.Server(net.backend, lambda s: (s.recv(1), ends.exchange(s, BYTES, say=1))[1],
                         address=backend)
    with ends.connect(net.client, gateway) as sock:
        sock.sendall(b"!")
        ladon.wait_handed_off()
        ladon.kill9()
        ladon = Ladond(net, config)
        assert len(ladon.flows()) == 1, f"adopted: {ladon.flows()}"
        exchange(server, sock)
    judge(net, ladon, 0)


def main():
    failed = 0
    for case in (ipv4, ipv6, options, death):
        net = Net()
        try:
            case(net)
            print(f"ok through {case.__name__}", flush=True)
        except Exception as error:  # whatever it is, the next one is to be tried
            print(f"not ok through {case.__name__}: {error or type(error).__name__}")
            for daemon in net.daemons[-1:]:
                print(daemon.log()[-2000:], flush=True)
            failed += 1
        finally:
            if net.trouble():
                print(f"# {net.trouble()}", flush=True)
            net.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
