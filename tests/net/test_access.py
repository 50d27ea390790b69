# SPDX-License-Identifier: GPL-2.0-only
"""Every end of a connection is one line of the access log, whoever carried it and whoever ended it.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import json
import os
import signal
import socket
import time

import pytest

from lib import ends, tls
from lib.net import BACKENDS, CLIENT, until

CONFIG = """
    access-log: {{to: {log}, format: {format}}}
    listeners:
      - listen: "0.0.0.0:8080"
        routes:
          - {{tls: example.org, pool: web}}
          - {{http: example.org, pool: web}}
    pools:
      - {{name: web, backends: ["10.0.2.2:8080"]}}
    {more}
"""
HELLO = tls.hello("example.org")
KNOWN = {"listener": "0.0.0.0:8080", "name": "example.org", "pool": "web",
         "backend": "10.0.2.2:8080"}


class Log:
    """A daemon with an access log, and what stands there."""

    def __init__(self, net, more="", form="json"):
        self.path = os.path.join(net.dir, "access.log")
        self.config = CONFIG.format(log=self.path, format=form, more=more)
        self.ladon = net.ladond(self.config)

    def lines(self, path=None):
        with open(path or self.path) as file:
            return file.read().splitlines()

    def line(self):
        """The only line there is, once it is there."""
        text, = until(self.lines, "a line in the access log")
        return json.loads(text)


def has(line, **expected):
    return {key: line.get(key) for key in expected} == expected


def talk(net):
    """HELLO there and back, through sockets that are ours. Return: client's and backend's."""
    listener = net.backend.socket(BACKENDS[0])
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        listener.bind((BACKENDS[0], 8080))
        listener.listen()
        client = ends.connect(net.client)
        client.sendall(HELLO)
        backend, _ = listener.accept()
    backend.settimeout(10)
    client.settimeout(10)
    assert ends.receive_exactly(backend, len(HELLO)) == HELLO
    backend.sendall(HELLO)
    assert ends.receive_exactly(client, len(HELLO)) == HELLO
    return client, backend


@pytest.mark.parametrize("first", ["client", "backend"])
@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("handoff", ["yes", "no"])
def test_who_ended_it_and_how(net, handoff, end, first):
    log = Log(net, f"handoff: {handoff}")
    client, backend = talk(net)
    address = f"{CLIENT}:{client.getsockname()[1]}"
    if handoff == "yes":
        log.ladon.wait_handed_off()
    goer, stayer = (client, backend) if first == "client" else (backend, client)

    if end == "reset":
        ends.reset(goer)
        with pytest.raises(ConnectionResetError):
            stayer.recv(1)
    else:
        goer.shutdown(socket.SHUT_WR)
        assert stayer.recv(1) == b""
    client.close()
    backend.close()

    line = log.line()
    assert has(line, client=address, end=end, by=first, **KNOWN), line
    if handoff == "yes":
        assert line["how"] == "handoff" and "why" not in line
        assert line["packets_in"] > 0 and line["packets_out"] > 0
        assert 0 < line["client_rtt_us"] < 10_000_000 and 0 < line["backend_rtt_us"] < 10_000_000
        assert line["bytes_out"] > len(HELLO)
    else:
        assert has(line, how="relay", why="handoff_off", packets_in=None)
        assert line["bytes_in"] == line["bytes_out"] == len(HELLO)
    log.ladon.wait_gone()
    assert len(log.lines()) == 1


def test_the_duration_is_from_accept_to_the_last_packet(net):
    """A closed flow lingers for a second, which is none of its life."""
    log = Log(net)
    began = time.monotonic()
    client, backend = talk(net)
    client.close()
    backend.close()
    ended = time.monotonic()

    assert log.line()["duration_ms"] < (ended - began) * 1000 + 500  # the last packets may take a moment


def test_one_that_was_handed_off_later_says_why(net):
    """Two pieces of a hello, 150 ms apart: acknowledged, relayed, then handed off when quiet."""
    log = Log(net)
    sock = ends.connect(net.client)
    sock.sendall(HELLO[:40])
    until(lambda: ends.unacknowledged(sock) == 0, "the first piece is acknowledged")
    server = ends.Server(net.backend, ends.echo)
    sock.sendall(HELLO[40:])
    assert ends.receive_exactly(sock, len(HELLO)) == HELLO
    log.ladon.wait_handed_off()
    sock.close()
    server.result()

    line = log.line()
    assert has(line, how="handoff", why="acked", end="closed", by="client", **KNOWN), line
    assert line["bytes_in"] >= len(HELLO)


def test_one_that_was_turned_away_has_its_reason(net):
    log = Log(net)
    with ends.connect(net.client) as sock:
        sock.sendall(tls.hello("nobody.example"))
        ends.receive(sock)

    line = log.line()
    assert has(line, name="nobody.example", how="none", end="no_route", by="ladon", pool=None,
               backend=None, bytes_in=0), line


def test_a_client_that_says_nothing_and_goes(net):
    log = Log(net)
    ends.connect(net.client).close()

    assert has(log.line(), how="none", end="client_gone", by="client", name=None)


def test_no_backend(net):
    log = Log(net)
    with ends.connect(net.client) as sock:
        sock.sendall(HELLO)
        ends.receive(sock)

    assert has(log.line(), how="none", end="no_backend", by="ladon", **KNOWN)


def test_a_killed_flow(net):
    log = Log(net)
    client, backend = talk(net)
    with client, backend:
        log.ladon.wait_handed_off()
        flow, = log.ladon.flows()
        log.ladon.ask("flow kill", id=flow["id"])

        assert has(log.line(), how="handoff", end="killed", by="ladon", **KNOWN)


def test_an_idle_flow(net):
    log = Log(net, "timeouts: {idle: 1s}")
    client, backend = talk(net)
    with client, backend:
        log.ladon.wait_handed_off()

        line = log.line()
        assert has(line, how="handoff", end="idle", by="ladon", **KNOWN)
        assert line["duration_ms"] >= 1000


def test_relayed_connections_that_a_stop_cuts(net):
    log = Log(net, "handoff: no")
    client, backend = talk(net)
    with client, backend:
        log.ladon.stop()

    assert has(log.line(), how="relay", end="cut", by="ladon", **KNOWN)


def test_after_kill_9_the_name_is_unknown_and_all_else_is_not(net):
    log = Log(net)
    client, backend = talk(net)
    log.ladon.wait_handed_off()
    log.ladon.kill9()
    again = net.ladond(log.config)
    client.close()
    assert backend.recv(1) == b""  # or the two FINs might overtake each other
    backend.close()

    line = log.line()
    assert has(line, how="handoff", end="closed", by="client", **{**KNOWN, "name": None}), line
    until(lambda: again.stats()["access_log"] == {"on": True, "written": 1, "lost": 0}, "it is counted")


def test_a_file_that_was_moved_is_written_no_more_after_the_signal(net):
    log = Log(net)
    ends.connect(net.client).close()
    log.line()
    moved = log.path + ".1"
    os.rename(log.path, moved)

    log.ladon.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(log.path), "a new file")
    ends.connect(net.client).close()

    log.line()
    assert len(log.lines(moved)) == 1


def test_a_full_disk_stops_nothing(net):
    more = CONFIG.format(log="/dev/full", format="json", more="")
    ladon = net.ladond(more)
    ends.Server(net.backend, ends.echo)
    for _ in range(5):
        with ends.connect(net.client) as sock:
            sock.sendall(HELLO)
            assert ends.receive_exactly(sock, len(HELLO)) == HELLO

    until(lambda: ladon.stats()["access_log"]["lost"] == 5, "five lines lost")
    assert ladon.stats()["access_log"]["written"] == 0
    ladon.wait_said("access-log /dev/full: No space left on device; lines are lost")


def test_text_has_the_same_keys_in_the_same_places(net):
    log = Log(net, form="text")
    ends.connect(net.client).close()

    text, = until(log.lines, "a line in the access log")
    words = [word.split("=", 1) for word in text.split(" ")]
    assert [key for key, _ in words] == [
        "time", "client", "listener", "name", "pool", "backend", "how", "why", "end", "by",
        "duration_ms", "packets_in", "bytes_in", "packets_out", "bytes_out", "client_rtt_us",
        "backend_rtt_us", "user"]
    assert dict(words)["name"] == "-" and dict(words)["end"] == "client_gone"


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(net):
    ladon = net.ladond(CONFIG.format(log="/nowhere/log", format="json", more=""), wait=False)

    assert ladon.process.wait(20) == 1
    ladon.wait_said("access-log /nowhere/log: No such file or directory")


def test_without_an_access_log_nothing_is_remembered(net):
    ladon = net.ladond(CONFIG.format(log="off", format="json", more=""))
    client, backend = talk(net)
    with client, backend:
        ladon.wait_handed_off()

    assert ladon.stats()["access_log"] == {"on": False, "written": 0, "lost": 0}
