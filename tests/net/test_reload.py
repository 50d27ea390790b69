# SPDX-License-Identifier: GPL-2.0-only
"""A reload is all or nothing, and no client notices it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
"""
import os
import signal
import threading

import pytest

from lib import ends
from lib.gateway import Ladond, one_host, one_pool
from lib.net import BACKENDS, GATEWAY, until

FIRST, SECOND = f"{BACKENDS[0]}:8080", f"{BACKENDS[1]}:8080"
RELOADS = 20


def named(name):
    """A talk: the backend says its name, and echoes."""
    def talk(sock):
        sock.sendall(name)
        return ends.echo(sock)

    return talk


def two_backends(net):
    ends.Server(net.backend, named(b"1"), address=BACKENDS[0])
    ends.Server(net.backend, named(b"2"), address=BACKENDS[1])


def who_answers(net, port=8080):
    with ends.connect(net.client, port=port) as sock:
        return sock.recv(1)


def is_refused(net, port):
    with net.client.socket(GATEWAY) as sock:
        return sock.connect_ex((GATEWAY, port)) != 0


def test_no_client_is_refused_or_reset_in_twenty_reloads(net):
    """Clients connect in a loop, on a listener that stays, while others come and go beside it."""
    size = 20000
    ends.Server(net.backend, ends.answer_and_exchange(size, 1))
    ladon = net.ladond(one_pool(FIRST))
    stop = threading.Event()

    def clients():
        served = 0
        while not stop.is_set() or not served:
            with ends.connect(net.client) as sock:
                ends.ask(sock)
                assert ends.exchange(sock, size, 0) == ends.expected(size, 1)
            served += 1
        return served

    looping = [ends.spawn(clients) for _ in range(4)]
    for i in range(RELOADS):
        extra = [f"0.0.0.0:{9000 + i}", f"{GATEWAY}:{9100 + i % 2}"]
        done = ladon.reload(one_pool(FIRST, listen=["0.0.0.0:8080", *extra][:1 + i % 3]))
        assert done.returncode == 0, done.stderr
    stop.set()
    served = sum(client.result(30) for client in looping)

    connections = ladon.connections()
    assert served >= 4
    assert (connections["accepted"], connections["closed"]) == (served, 0)
    assert ladon.log().count("reload: ") == RELOADS
    assert "TcpOutRsts" not in net.client.trouble() | net.gateway.trouble() | net.backend.trouble()


def test_new_connections_follow_and_old_ones_stay(net):
    """A handed-off flow, a relayed connection and one that is being set up go on as they began."""
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST))
    with ends.connect(net.client) as flow:
        assert flow.recv(1) == b"1"
        ladon.wait_handed_off()
        assert ladon.reload(one_pool(FIRST).replace("pool: only", "pool: only\n    handoff: no")
                      ).returncode == 0
        with ends.connect(net.client) as relayed:
            assert relayed.recv(1) == b"1"
            assert ladon.connections()["relayed"] == 1

            assert ladon.reload(one_pool(SECOND)).returncode == 0

            assert who_answers(net) == b"2"
            for sock in (flow, relayed):
                sock.sendall(b"as before")
                assert ends.receive_exactly(sock, 9) == b"as before"
            assert len([f for f in ladon.flows() if f["backend"] == FIRST]) == 1
    until(lambda: not ladon.flows(), "no flow")
    until(lambda: [(b["backend"], b["flows"]) for p in ladon.ask("pool show")["pools"]
                   for b in p["backends"]] == [(SECOND, 0)], "all counts are right")


def test_a_connection_that_is_being_set_up_goes_on_as_it_began(net):
    """The route of the file that was in force when the client came, not of the one when it spoke."""
    two_backends(net)
    ladon = net.ladond(one_host(FIRST))
    with ends.connect(net.client) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        until(lambda: ladon.connections()["open"] == 1, "it is peeked at")

        assert ladon.reload(one_host(SECOND, host="example.com")).returncode == 0

        sock.sendall(b"Host: example.org\r\n\r\n")
        assert sock.recv(1) == b"1"


def test_listeners_come_and_go(net):
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST, listen=["0.0.0.0:8080", "0.0.0.0:8081"]))
    assert who_answers(net, 8081) == b"1"
    before = ladon.connections()["accepted"]

    done = ladon.reload(one_pool(FIRST, listen=["0.0.0.0:8082", "0.0.0.0:8080"]))

    assert done.returncode == 0, done.stderr
    assert is_refused(net, 8081)
    assert who_answers(net, 8080) == who_answers(net, 8082) == b"1"
    until(lambda: ladon.connections()["accepted"] == before + 2, "no count is lost")
    assert "no early handoff" not in ladon.log()
    assert [one["name"] for one in ladon.ask("listener show")["listeners"]] == \
        ["0.0.0.0:8082", "0.0.0.0:8080"]


def test_an_address_may_become_narrower_and_wider(net):
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST))
    for listen in (f"{GATEWAY}:8080", "0.0.0.0:8080"):
        done = ladon.reload(one_pool(FIRST, listen=listen))
        assert done.returncode == 0, done.stderr
        assert who_answers(net) == b"1"
        assert len(net.gateway.sockets(but=("01", "02", "04", "05", "06", "07", "08", "09"))) == 2


REFUSED = {
    "a mistake in the file": (one_pool(FIRST).replace("pool: only", "pool: olny"),
                              ':7: listeners[0].pool: no pool is named "olny"; did you mean "only"?'),
    "workers": (one_pool(FIRST), ":3: workers: to change it from 2 to 3 needs a restart"),
    "flows": (one_pool(FIRST, more="flows: 77\n"),
              ":11: flows: to change it from 4096 to 77 needs a restart"),
    "access-log": (one_pool(FIRST, more="access-log: {to: stderr}\n"),
                   ":11: access-log: to change it from its default to {to: stderr} needs a restart"),
    "interfaces": (one_pool(FIRST, more="interfaces: [client0, backend0]\n"),
                   ":11: interfaces: to change it from its default to [client0, backend0] needs a restart"),
    "mode": (one_pool(FIRST).replace("pool: only", "pool: only\n    mode: stack", 1),
             ":6: listen 0.0.0.0:8080: mode: stack, which no listener had at the start, needs a restart"),
    "an address in use": (one_pool(FIRST, listen=["0.0.0.0:8080", "0.0.0.0:7000", "0.0.0.0:8083"]),
                          "listen 0.0.0.0:7000: Address already in use"),
}


@pytest.mark.parametrize("config, says", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_had_changes_nothing(net, config, says):
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST))
    if " workers" in says:
        ladon.settings = lambda before=ladon.settings: before().replace("workers: 2", "workers: 3")
    with net.gateway.socket("0.0.0.0") as taken:
        taken.bind(("0.0.0.0", 7000))
        taken.listen()

        done = ladon.reload(config)

    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr, done.stderr
    if says.startswith(":"):
        assert done.stderr.startswith(f"ladon: {ladon.config}:"), done.stderr
    ladon.wait_said("reload: refused")
    assert who_answers(net) == b"1"
    assert is_refused(net, 8083)
    ladon.wait_gone()


def test_a_key_that_is_gone_needs_a_restart_too(net, monkeypatch):
    monkeypatch.setattr(Ladond, "flows_setting", "")
    ladon = net.ladond(one_pool(FIRST, more="flows: 77\n"))

    done = ladon.reload(one_pool(FIRST))

    assert done.returncode == 1
    assert ":1: flows: to change it from 77 to its default needs a restart" in done.stderr


def test_a_handoff_that_was_off_at_the_start_needs_a_restart(net):
    ladon = net.ladond(one_pool(FIRST, more="handoff: no\n"))

    done = ladon.reload(one_pool(FIRST))

    assert done.returncode == 1
    assert ":6: listen 0.0.0.0:8080: handoff: yes, which no listener had at the start, needs a restart" \
        in done.stderr


def test_a_file_that_the_user_cannot_read(net):
    """Said at the start, and by the reload."""
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST, more="user: nobody\n"))
    assert "a reload will be refused" not in ladon.log()
    ladon.kill9()
    os.chmod(ladon.config, 0o600)
    with open("/proc/sys/kernel/overflowuid") as file:
        nobody = file.read().strip()
    ladon = net.ladond(one_pool(FIRST, more="user: nobody\n"))
    ladon.wait_said(f"cannot be read by user {nobody}: Permission denied; a reload will be refused")

    done = ladon.command("reload")

    assert done.returncode == 1
    assert f"{ladon.config}: cannot be read by user {nobody}: Permission denied; let that user" in done.stderr
    assert who_answers(net) == b"1"


def test_sighup_reloads_and_the_service_manager_is_told(net):
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST))
    ladon.write(one_pool(SECOND))
    ladon.notify.settimeout(10)

    ladon.signal(signal.SIGHUP)

    begun, ended = (ladon.notify.recv(4096).decode().splitlines() for _ in range(2))
    assert "RELOADING=1" in begun and any(line.startswith("MONOTONIC_USEC=") for line in begun)
    assert "READY=1" in ended
    assert who_answers(net) == b"2"
    ladon.write("nonsense: 1\n")
    ladon.signal(signal.SIGHUP)
    ladon.notify.recv(4096)
    assert b"refused" in ladon.notify.recv(4096)
    assert who_answers(net) == b"2"


def test_reloads_leave_nothing_behind(net):
    two_backends(net)
    ladon = net.ladond(one_pool(FIRST))
    for i in range(RELOADS):
        assert who_answers(net) in b"12"
        done = ladon.reload(one_pool((FIRST, SECOND)[i % 2]))
        assert done.returncode == 0, done.stderr
    ladon.wait_gone()
    assert ladon.stop() == 0
    assert "ERROR: " not in ladon.log()
