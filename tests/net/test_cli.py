# SPDX-License-Identifier: GPL-2.0-only
"""ladon(8) says what is there, in text and in JSON, ends flows, and exits with 0, 1 or 2.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import json
import os
import socket
import time

import pytest

from lib import ends
from lib.gateway import BUILD, FAMILIES
from lib.net import until

ONE_POOL = FAMILIES[0][2]
COMMANDS = [(), ("summary",), ("flow",), ("flow", "show"), ("listener", "show"), ("pool", "show"),
            ("stats",), ("stats", "show", "all"), ("top", "interval", "0.1", "count", "2")]


def one_flow(net):
    """A daemon with one handed-off connection. Return: the daemon, the client's socket, the backend's."""
    ladon = net.ladond(ONE_POOL)
    backends = []

    def talk(sock):
        backends.append(sock.dup())
        ends.echo(sock)

    ends.Server(net.backend, talk)
    sock = ends.connect(net.client)
    sock.sendall(b"ping")
    assert ends.receive_exactly(sock, 4) == b"ping"
    ladon.wait_handed_off()
    return ladon, sock, backends[0]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_answers_in_text_and_in_json(net, words):
    ladon, sock, _ = one_flow(net)
    with sock:
        text = ladon.command(*words)
        data = ladon.command(*words, json_output=True)

    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.strip()
    assert (data.returncode, data.stderr) == (0, "")
    documents = [json.loads(line) for line in data.stdout.splitlines()]
    assert documents and all(isinstance(document, dict) for document in documents)


def test_a_flow_is_shown_with_all_four_addresses(net):
    ladon, sock, backend = one_flow(net)
    port, source = sock.getsockname()[1], backend.getpeername()[1]

    flow, = json.loads(ladon.command("flow", "show", json_output=True).stdout)["flows"]
    text = ladon.command("flow", "show", "client", f"10.0.1.1:{port}").stdout

    assert (flow["client"], flow["listener"]) == (f"10.0.1.1:{port}", "10.0.1.9:8080")
    assert (flow["source"], flow["backend"]) == (f"10.0.2.9:{source}", "10.0.2.2:8080")
    assert (flow["state"], flow["pool"]) == ("open", "only")
    assert flow["packets_in"] > 0 and flow["bytes_out"] > 0 and flow["age_ms"] >= flow["idle_ms"] >= 0
    assert f"10.0.1.1:{port}" in text and "10.0.2.2:8080" in text
    for nothing in (("client", "10.0.1.2"), ("backend", "10.0.2.3"), ("id", str(flow["id"] + 1))):
        assert json.loads(ladon.command("flow", *nothing, json_output=True).stdout)["flows"] == []
    sock.close()


def test_bytes_and_packets_are_counted(net):
    size = 5 * ends.MB
    ladon, sock, _ = one_flow(net)
    before, = ladon.flows()
    with sock:
        sender = ends.spawn(ends.send, sock, size)
        assert ends.receive(sock, size) == ends.expected(size)
        sender.result()
        after, = ladon.flows()

    for way in ("in", "out"):
        carried = after[f"bytes_{way}"] - before[f"bytes_{way}"]
        packets = after[f"packets_{way}"] - before[f"packets_{way}"]
        assert size + 20 * packets <= carried <= size + 120 * packets


@pytest.mark.parametrize("how", ["id", "client", "backend", "all"])
def test_flow_kill_resets_both_ends(net, how):
    ladon, sock, backend = one_flow(net)
    flow, = ladon.flows()
    keys = {"id": ("id", str(flow["id"])), "client": ("client", flow["client"]),
            "backend": ("backend", "10.0.2.2"), "all": ("all",)}[how]

    assert ladon.command("flow", "kill", *keys).returncode == 0

    for end in (sock, backend):
        end.settimeout(5)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4000)
        try:
            end.sendall(b"anybody there?")
            while end.recv(100):  # the backend's own thread may have been told instead
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        end.close()
    assert ladon.reasons("packet")["killed"] >= 2
    until(lambda: not ladon.flows(), "no flow")


def test_flow_kill_without_saying_which_is_refused(net):
    ladon, sock, _ = one_flow(net)
    with sock:
        assert ladon.command("flow", "kill").returncode in (1, 2)
        assert ladon.command("flow", "kill", "id", "4000000000").returncode == 1
        assert len(ladon.flows()) == 1


@pytest.mark.parametrize("words", [("flows",), ("flow", "destroy"), ("flow", "show", "id"),
                                   ("flow", "show", "id", "x"), ("stats", "al"), ("--nonsense",)],
                         ids=" ".join)
def test_misuse_is_2_and_said_on_stderr(net, words):
    done = net.gateway.run(os.path.join(BUILD, "ladon"), *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_without_a_daemon_it_is_1(net):
    done = net.gateway.run(os.path.join(BUILD, "ladon"), "-s", net.dir + "/nobody-there")

    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody-there" in done.stderr


def test_the_control_socket_is_for_root_and_the_daemon_only(net):
    ladon = net.ladond(ONE_POOL)

    assert os.stat(ladon.control).st_mode & 0o777 == 0o600
    done = net.gateway.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                           os.path.join(BUILD, "ladon"), "-s", ladon.control)
    assert done.returncode == 1


def test_rates_of_a_busy_flow_are_on_top(net):
    ladon, sock, _ = one_flow(net)
    stop = []

    def busy():
        while not stop:
            ends.send(sock, ends.MB)
            ends.receive(sock, ends.MB)
            time.sleep(0.005)  # a rhythm: some 200 MB/s at most

    with sock:
        talker = ends.spawn(busy)
        done = ladon.command("top", "interval", "0.3", "count", "10", json_output=True)
        stop.append(True)
        talker.result(10)

    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(one["flows"][0]["backend"] == "10.0.2.2:8080" for one in shown)
    assert any(one["flows"][0]["out_bps"] > 1e6 and one["out_bps"] > 1e6 for one in shown)
