# SPDX-License-Identifier: GPL-2.0-only
"""What cannot be handed off is relayed, with the reason counted, and handed off later if that passes.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
              fd00:1::/64             fd00:2::/64
"""
import socket
import threading
import time

import pytest

from lib import ends
from lib.families import both_families
from lib.gateway import FAMILIES, one_pool
from lib.net import BACKENDS, GATEWAY, GATEWAY_BACK, until

ONE_POOL = FAMILIES[0][2]
SIZE = 20 * ends.MB
NO_HANDOFF = "handoff: no\n"


def relayed_both_ways(net, ladon, reason, gateway=GATEWAY, backend=BACKENDS[0], space=None, port=8080):
    """SIZE each way at once through the relay, which counted all of it and holds nothing after."""
    server = ends.Server(space or net.backend, lambda s: ends.exchange(s, SIZE, say=1),
                         address=backend, port=port)
    with ends.connect(net.client, gateway) as sock:
        assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)
    assert ladon.reasons() == {reason: 1}
    assert ladon.connections()["relayed"] == 1
    until(lambda: ladon.relayed_bytes() == 2 * SIZE, "all bytes are counted")
    assert net.client.trouble() == {}
    ladon.wait_gone()


def test_without_privileges(net):
    ladon = net.ladond(ONE_POOL, user="nobody")
    relayed_both_ways(net, ladon, "no_privilege")


def test_handoff_switched_off(net):
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    relayed_both_ways(net, ladon, "handoff_off")
    assert "clsact" not in net.gateway.run("tc", "qdisc").stdout


def test_handoff_switched_off_for_one_listener(net):
    ladon = net.ladond("""
        listeners:
          - {listen: "0.0.0.0:8080", pool: web, handoff: no}
          - {listen: "0.0.0.0:8081", pool: web}
        pools:
          - {name: web, backends: ["10.0.2.2:8080"]}
    """)
    ends.Server(net.backend, ends.echo)
    for port in (8080, 8081):
        with ends.connect(net.client, port=port) as sock:
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
    assert ladon.reasons() == {"handoff_off": 1}
    ladon.wait_handed_off(1)


def test_the_backend_is_this_very_host(net):
    ladon = net.ladond(one_pool("10.0.2.9:9000"))
    relayed_both_ways(net, ladon, "local", backend=GATEWAY_BACK, space=net.gateway, port=9000)


def test_the_client_is_this_very_host(net):
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.gateway) as sock:
        sock.sendall(b"word")
        assert ends.receive_exactly(sock, 4) == b"word"
    assert ladon.reasons() == {"local": 1}


def chat(sock, word=b"ping"):
    sock.sendall(word)
    assert ends.receive_exactly(sock, len(word)) == word


def full_table(net, **kwargs):
    """A table of four flows, and five connections. Return: the daemon, and the sockets, the last of them relayed."""
    ladon = net.ladond(ONE_POOL + "flows: 4\n", **kwargs)
    ends.Server(net.backend, ends.echo)
    socks = []
    for number in range(5):
        socks.append(ends.connect(net.client))
        chat(socks[-1])
        if number < 4:
            ladon.wait_handed_off(number + 1)
    ladon.wait_reason("table_full")
    assert len(ladon.flows()) == 4
    return ladon, socks


def test_a_full_table_means_relay_and_a_quiet_relay_is_handed_off_later(net):
    ladon, socks = full_table(net)
    for sock in socks[:4]:
        sock.close()

    ladon.wait_handed_off(5, 20)
    carried = ladon.relayed_bytes()
    for _ in range(3):
        chat(socks[4], b"after the relay")

    assert ladon.relayed_bytes() == carried
    assert net.trouble() == {}
    ladon.wait_gone()
    socks[4].close()


def test_a_relay_that_is_never_quiet_says_so(net):
    ladon, socks = full_table(net)
    stop = threading.Event()

    def talk_on():
        while not stop.is_set():
            chat(socks[4])
            time.sleep(0.01)  # a rhythm, not a wait: faster than any pause that ladon waits for

    talker = ends.spawn(talk_on)
    for sock in socks[:4]:
        sock.close()
    ladon.wait_reason("busy", seconds=20)
    ladon.wait_handed_off(4)

    stop.set()
    talker.result(10)
    ladon.wait_handed_off(5, 40)
    chat(socks[4])
    assert net.trouble() == {}
    socks[4].close()


def test_a_slow_connect_is_handed_off_later(net):
    """The backend's first SYN is lost, so the client waits a second; what it said is acknowledged by ladon."""
    net.client.repeat_after(700)  # less than that second, so that a missing acknowledgement is seen
    lost = net.backend.lose("tcp dport 8080 tcp flags & syn == syn", once=True)
    ladon = net.ladond(ONE_POOL)
    ends.Server(net.backend, ends.echo)

    with ends.connect(net.client) as sock:
        chat(sock)
        assert lost() == 1
        assert ladon.reasons()["slow_connect"] == 1
        assert set(ladon.reasons()) <= {"slow_connect", "busy"}  # it tries again every 200 ms, and they may still talk
        ladon.wait_handed_off(1, 20)
        carried = ladon.relayed_bytes()
        chat(sock)
        assert ladon.relayed_bytes() == carried
    assert net.client.trouble() == {}


@both_families
def test_half_close_is_passed_on(net, gateway, backend, one_pool):
    """The client says all and half-closes; the answer comes only after that."""
    ladon = net.ladond(one_pool + NO_HANDOFF)

    def answer_after_the_end(sock):
        heard = ends.receive(sock)
        ends.send(sock, SIZE, 1)
        return heard

    server = ends.Server(net.backend, answer_after_the_end, address=backend)
    with ends.connect(net.client, gateway) as sock:
        ends.send(sock, SIZE, 2)
        sock.shutdown(socket.SHUT_WR)
        assert ends.receive(sock) == ends.expected(SIZE, 1)
    assert server.result() == ends.expected(SIZE, 2)
    ladon.wait_gone()


def test_a_slow_reader_slows_the_other_end_down(net):
    """What one end does not read, the relay must not hoard."""
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    sent = []

    def talk(sock):
        sock.settimeout(0.5)
        try:
            while True:
                sent.append(sock.send(bytes(ends.MB)))
        except TimeoutError:
            pass

    server = ends.Server(net.backend, talk)
    with ends.connect(net.client, prepare=lambda s: s.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)) as sock:
        server.result()
        assert sum(sent) < 64 * ends.MB
        assert ends.receive(sock).bytes == sum(sent)
    ladon.wait_gone()


def test_a_slow_reader_costs_no_cpu(net):
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    ends.Server(net.backend, lambda s: ends.send(s, 64 * ends.MB))
    with ends.connect(net.client) as sock:
        until(lambda: ladon.relayed_bytes() > 0, "it has begun")
        stuck = ladon.wait_still(ladon.relayed_bytes)
        before = ladon.cpu_seconds()
        time.sleep(0.5)  # nothing is waited for: the time in which nothing may happen
        assert ladon.cpu_seconds() - before < 0.1
        assert ladon.relayed_bytes() == stuck
        assert ends.receive(sock).bytes == 64 * ends.MB


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_reset_is_passed_on(net, who):
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    server = ends.Server(net.backend, lambda s: ends.reset(s) if who == "backend" and s.recv(4)
                         else s.sendall(s.recv(4)) or s.recv(1))
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        if who == "backend":
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        else:
            assert ends.receive_exactly(sock, 4) == b"ping"
            ends.reset(sock)
            with pytest.raises(ConnectionResetError):
                server.result()
    ladon.wait_gone()


@both_families
def test_in_mode_stack_a_redirected_connection_is_relayed(net, gateway, backend, one_pool):
    """One entry of conntrack's cannot do both translations."""
    net.forward()
    net.gateway.nft("table inet ports { chain in { type nat hook prerouting priority dstnat\n"
                    "tcp dport 80 redirect to :8080\n }\n }")
    ladon = net.ladond(one_pool + "mode: stack\n")
    ends.Server(net.backend, ends.echo, address=backend)
    for port, reasons in ((80, {"nat": 1}), (8080, {"nat": 1})):
        with ends.connect(net.client, gateway, port=port) as sock:
            for word in (b"first", b"second"):
                sock.sendall(word)
                assert ends.receive_exactly(sock, len(word)) == word
        assert ladon.reasons() == reasons
    ladon.wait_handed_off()
    assert "TcpOutRsts" not in net.trouble().get("g", {})


def test_an_idle_relay_is_closed(net):
    ladon = net.ladond(ONE_POOL + NO_HANDOFF + "timeouts: {idle: 300ms}\n")
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as sock:
        started = time.monotonic()
        chat(sock)
        assert sock.recv(1) == b""
        assert 0.2 < time.monotonic() - started < 3
    ladon.wait_reason("idle")
    ladon.wait_gone()


def test_five_hundred_relays_at_once(net):
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    server = ends.Server(net.backend, ends.echo)
    socks = [ends.connect(net.client) for _ in range(500)]
    for number, sock in enumerate(socks):
        sock.sendall(ends.pattern(2000, number))
    for number, sock in enumerate(socks):
        assert ends.receive_exactly(sock, 2000) == ends.pattern(2000, number)
        sock.close()
    for _ in socks:
        assert server.result() == 2000
    ladon.wait_gone()


def test_kill_9_of_a_relay_ends_its_connections(net):
    """The difference that the handoff makes: bytes in user space die with the daemon."""
    ladon = net.ladond(ONE_POOL + NO_HANDOFF)
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as sock:
        chat(sock)
        ladon.kill9()
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
