# SPDX-License-Identifier: GPL-2.0-only
"""A backend that is not well gets no new connections, and keeps those that it has.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3
"""
import pytest

from lib import ends
from lib.gateway import one_pool
from lib.net import BACKENDS, until

FIRST, SECOND = f"{BACKENDS[0]}:8080", f"{BACKENDS[1]}:8080"
TCP = "{check: tcp, interval: 100ms, timeout: 1s, rise: 2, fall: 2}"


def checked(*backends, health=TCP, more=""):
    """A pool that takes the first backend that is well; ejection is off, so checks alone decide."""
    return one_pool(*backends, more=more).replace(
        "name: only", f"name: only\n    policy: first\n    eject: no\n    health: {health}")


def named(name):
    """A talk: says its name, and echoes; a check, which ends it, is no error."""
    def talk(sock):
        try:
            sock.sendall(name)
            return ends.echo(sock)
        except ConnectionResetError:
            return None

    return talk


def backend(ladon, which):
    for one in ladon.ask("pool show")["pools"][0]["backends"]:
        if one["backend"] == which:
            return one
    return {}


def wait_for(ladon, which, health):
    return until(lambda: (b := backend(ladon, which)).get("health") == health and b,
                 f"{which} is {health}")


def who_answers(net):
    with ends.connect(net.client) as sock:
        return sock.recv(1)


def test_a_backend_that_stops_is_avoided_until_it_is_back(net):
    server = ends.Server(net.backend, named(b"1"), address=BACKENDS[0])
    ends.Server(net.backend, named(b"2"), address=BACKENDS[1])
    ladon = net.ladond(checked(FIRST, SECOND))
    wait_for(ladon, FIRST, "well")
    with ends.connect(net.client) as flow:
        assert flow.recv(1) == b"1"
        ladon.wait_handed_off()

        server.close()
        shown = wait_for(ladon, FIRST, "sick")

        assert shown["check"] == "connect: Connection refused"
        assert shown["check_age_ms"] < 10000 and shown["check_took_ms"] < 1000
        failed = shown["failed"]
        assert [who_answers(net) for _ in range(3)] == [b"2"] * 3
        assert backend(ladon, FIRST)["failed"] == failed == 0, "nobody tried it"
        assert ladon.reload(checked(FIRST, SECOND)).returncode == 0
        assert backend(ladon, FIRST)["health"] == "sick"
        flow.sendall(b"still here")
        assert ends.receive_exactly(flow, 10) == b"still here"

        ends.Server(net.backend, named(b"1"), address=BACKENDS[0])
        wait_for(ladon, FIRST, "well")

        assert who_answers(net) == b"1"
        assert backend(ladon, FIRST)["times_sick"] == 1
    ladon.wait_said(f"health: {FIRST}: pool only: well after 2 checks")
    log = ladon.log()
    assert log.count(f"health: {FIRST}: pool only: sick after 2 checks: connect: Connection refused") == 1
    assert log.count(f"health: {FIRST}: pool only: well after 2 checks") == 1
    assert "passed" in ladon.command("pool").stdout


def test_a_backend_whose_link_is_down_is_avoided_until_it_is_back(net):
    """Nobody refuses, so only the time limit tells; its flows wait for the link, and live on."""
    net.backend.ip(f"link add eth1 type veth peer name backend1 netns {net.gateway.name}",
                   "link set eth1 up", "addr add 10.0.5.2/24 dev eth1")
    net.gateway.ip("link set backend1 up", "addr add 10.0.5.9/24 dev backend1")
    far = "10.0.5.2:8080"
    ends.Server(net.backend, named(b"1"), address="10.0.5.2")
    ends.Server(net.backend, named(b"2"), address=BACKENDS[1])
    ladon = net.ladond(checked(far, SECOND, health=TCP.replace("timeout: 1s", "timeout: 300ms")))
    wait_for(ladon, far, "well")
    with ends.connect(net.client) as flow:
        assert flow.recv(1) == b"1"
        ladon.wait_handed_off()

        net.backend.ip("link set eth1 down")
        why = wait_for(ladon, far, "sick")["check"]

        assert why in ("connect: no answer in 300 ms", "connect: No route to host")
        assert [who_answers(net) for _ in range(3)] == [b"2"] * 3
        assert backend(ladon, far)["failed"] == 0, "nobody tried it"
        flow.sendall(b"still here")
        net.backend.ip("link set eth1 up")
        wait_for(ladon, far, "well")
        assert ends.receive_exactly(flow, 10) == b"still here"
        assert who_answers(net) == b"1"


def test_flows_of_a_sick_backend_are_reset_if_the_pool_says_so(net):
    server = ends.Server(net.backend, named(b"1"), address=BACKENDS[0])
    ladon = net.ladond(checked(FIRST, SECOND).replace("eject: no", "eject: no\n    when-down: reset"))
    wait_for(ladon, FIRST, "well")
    with ends.connect(net.client) as flow:
        assert flow.recv(1) == b"1"
        ladon.wait_handed_off()

        server.close()

        with pytest.raises(ConnectionResetError):
            flow.recv(1)
    assert backend(ladon, FIRST)["state"] == "sick"


def test_checks_leave_nothing_behind(net):
    """No TIME_WAIT, no flow, no connection of a client's that is counted; and they use the kernel's ports."""
    low, high = map(int, net.gateway.run("cat", "/proc/sys/net/ipv4/ip_local_port_range").stdout.split())
    ports = []
    with net.backend.socket(BACKENDS[0]) as listener:
        listener.bind((BACKENDS[0], 8080))
        listener.listen()
        ladon = net.ladond(checked(FIRST))
        for _ in range(5):
            sock, peer = listener.accept()
            ports.append(peer[1])
            with sock, pytest.raises(ConnectionResetError):
                sock.recv(1)

    assert all(low <= port <= high for port in ports)
    assert net.gateway.sockets(but=("01", "02", "0A")) == []
    assert ladon.flows() == []
    assert backend(ladon, FIRST)["chosen"] == 0


def test_a_status_decides(net):
    """A backend that takes connections, and says of itself that it is not well."""
    status = "200 OK"

    def web(sock):
        try:
            sock.recv(4096)
            sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 1\r\n\r\n1".encode())
            sock.recv(1)
        except ConnectionResetError:
            pass

    ends.Server(net.backend, web, address=BACKENDS[0])
    health = TCP.replace("tcp", "http, path: /alive")
    ladon = net.ladond(checked(FIRST, health=health))
    wait_for(ladon, FIRST, "well")

    status = "503 Service Unavailable"
    assert wait_for(ladon, FIRST, "sick")["check"] == "HTTP: status 503"
    status = "204 No Content"
    wait_for(ladon, FIRST, "well")


def test_a_certificate_is_judged_if_asked_to(net, certs):
    ends.Server(net.backend, ends.http("secure"), address=BACKENDS[0], tls=certs.server())
    https = TCP.replace("tcp", "https, sni: example.org")
    ladon = net.ladond(checked(FIRST, health=https))
    wait_for(ladon, FIRST, "well")

    strict = https.replace("https", "https, verify: yes")
    assert ladon.reload(checked(FIRST, health=strict)).returncode == 0
    assert wait_for(ladon, FIRST, "sick")["check"] == "TLS: self-signed certificate"
    assert ladon.reload(checked(FIRST, health=strict.replace("yes", f"yes, ca: {certs.ca}"))).returncode == 0
    wait_for(ladon, FIRST, "well")
    refused = ladon.reload(checked(FIRST, health=strict.replace("yes", "yes, ca: /none")))
    assert refused.returncode == 1
    assert "health: pool only: ca /none: No such file or directory" in refused.stderr


def test_a_script_decides(net, tmp_path):
    """It is told which backend is meant."""
    ends.Server(net.backend, named(b"1"), address=BACKENDS[0])
    ends.Server(net.backend, named(b"2"), address=BACKENDS[1])
    tmp_path.chmod(0o755)
    ill = tmp_path / "ill"
    script = tmp_path / "check"
    script.write_text(f"""#!/bin/sh
        [ "$LADON_POOL $LADON_PORT" = "only 8080" ] || exit 3
        ! grep -q "^$LADON_ADDRESS$" {ill} || {{ echo "no quorum"; exit 1; }}
    """)
    script.chmod(0o755)
    ill.write_text("none\n")
    ladon = net.ladond(checked(FIRST, SECOND, health=TCP.replace("tcp", f"script, command: {script}")))
    wait_for(ladon, FIRST, "well")
    assert who_answers(net) == b"1"

    ill.write_text(f"{BACKENDS[0]}\n")
    assert wait_for(ladon, FIRST, "sick")["check"] == "script: exit status 1: no quorum"
    ladon.wait_said("sick after 2 checks: script: exit status 1: no quorum")
    assert who_answers(net) == b"2"
    assert backend(ladon, SECOND)["health"] == "well"
    ill.write_text("none\n")
    wait_for(ladon, FIRST, "well")


def test_a_reload_takes_checks_away_and_brings_others(net):
    ends.Server(net.backend, named(b"2"), address=BACKENDS[1])
    ladon = net.ladond(checked(FIRST, SECOND))
    wait_for(ladon, FIRST, "sick")

    assert ladon.reload(one_pool(FIRST, SECOND)).returncode == 0
    until(lambda: "health" not in backend(ladon, FIRST), "it is not checked any more")

    assert ladon.reload(checked(FIRST, SECOND, health="{check: tcp, port: 8081}")).returncode == 0
    until(lambda: backend(ladon, SECOND).get("check") == f"{BACKENDS[1]}:8081: connect: Connection refused",
          "another port is checked")
    bad = ladon.reload(checked(FIRST, SECOND, health="{check: tcp, interval: 1ms}"))
    assert bad.returncode == 1 and "is too short; it takes 100 ms at least" in bad.stderr
