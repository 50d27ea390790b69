# SPDX-License-Identifier: GPL-2.0-only
"""Whatever speaks first shares one port: first bytes that a route knows lead there, in any pieces; and so does silence.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import ends, tls
from lib.net import GATEWAY, GATEWAY6

CONFIG = r"""
    timeouts: {first-bytes: 20s}
    listeners:
      - listen: ["0.0.0.0:443", "[::]:443"]
        routes:
          - {tls: example.org, pool: tls}
          - {starts: [SSH-, '\x00\xff'], pool: ssh}
          - {regex: ['(?s).{4}\xffSMB', '(a+)+\n'], pool: smb}
          - {pool: rest}
    pools:
      - {name: tls, backends: ["10.0.2.2:1001"]}
      - {name: ssh, backends: ["10.0.2.2:1002"]}
      - {name: smb, backends: ["10.0.2.2:1003"]}
      - {name: rest, backends: ["10.0.2.2:1004"]}
"""
PORTS = {"tls": 1001, "ssh": 1002, "smb": 1003, "rest": 1004}
WORDS = {
    "tls": [tls.hello("example.org")],
    "ssh": [b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-", b"\0\xff"],
    "smb": [b"\0\0\0\x55\xffSMBr"],
    "rest": [b"SSX-2.0\r\n", b"\0\xfe\1\2\3", b"EHLO example.org\r\n"],
}


def who(name):
    """A server that says its name, then echoes."""
    def talk(sock):
        sock.sendall(name.encode())
        return ends.echo(sock)
    return talk


@pytest.fixture
def ladon(net):
    for name, port in PORTS.items():
        ends.Server(net.backend, who(name), port=port)
    return net.ladond(CONFIG)


@pytest.mark.parametrize("address", [GATEWAY, GATEWAY6])
@pytest.mark.parametrize("name,first", [(name, first) for name in WORDS for first in WORDS[name]])
def test_first_words_lead_to_their_backend(net, ladon, name, first, address):
    with ends.connect(net.client, address, port=443) as sock:
        sock.sendall(first)
        assert ends.receive_exactly(sock, len(name) + len(first)) == name.encode() + first
        ladon.wait_handed_off()


@pytest.mark.parametrize("name", ["ssh", "smb", "rest"])
def test_byte_by_byte(net, ladon, name):
    first = WORDS[name][0]
    with ends.connect(net.client, port=443) as sock:
        for byte in first:
            sock.sendall(bytes([byte]))
        assert ends.receive_exactly(sock, len(name) + len(first)) == name.encode() + first


def test_a_regex_that_takes_too_long_ends_the_connection(net, ladon):
    with ends.connect(net.client, port=443) as sock:
        sock.sendall(b"a" * 100 + b"\0b\r\n")
        assert sock.recv(1) == b""
    assert ladon.reasons() == {"regex_limit": 1}


def test_a_reload_changes_what_is_known(net, ladon):
    ladon.reload(CONFIG.replace("SSH-", "SSX-"))

    for first, name in (WORDS["ssh"][0], "rest"), (WORDS["rest"][0], "ssh"):
        with ends.connect(net.client, port=443) as sock:
            sock.sendall(first)
            assert ends.receive_exactly(sock, len(name)) == name.encode()


# ---- servers that speak first ----

SILENCE = 0.3


def silence_of(time):
    return CONFIG.replace("first-bytes: 20s", f"first-bytes: 20s, silence: {time}")


@pytest.fixture
def patient(net, ladon):
    ladon.reload(silence_of(f"{round(SILENCE * 1000)}ms"))
    return ladon


@pytest.mark.parametrize("address", [GATEWAY, GATEWAY6])
def test_a_silent_client_hears_its_server(net, patient, address):
    with ends.connect(net.client, address, port=443) as sock:
        assert ends.receive_exactly(sock, 4) == b"rest"
        patient.wait_handed_off()
        sock.sendall(b"SSH-2.0-late\r\n")
        assert ends.receive_exactly(sock, 14) == b"SSH-2.0-late\r\n"


@pytest.mark.parametrize("name", WORDS)
def test_who_speaks_in_time_is_listened_to(net, ladon, name):
    ladon.reload(silence_of("5s"))
    first = WORDS[name][0]
    with ends.connect(net.client, port=443) as sock:
        sock.sendall(first)
        assert ends.receive_exactly(sock, len(name) + len(first)) == name.encode() + first


def test_who_has_begun_is_not_silent(net, patient):
    with ends.connect(net.client, port=443) as sock:
        sock.sendall(b"SS")
        time.sleep(3 * SILENCE)
        sock.sendall(b"H-2.0-x\r\n")
        assert ends.receive_exactly(sock, 14) == b"sshSSH-2.0-x\r\n"


def test_bytes_of_the_very_moment_are_not_lost(net, patient):
    """Whichever way the decision falls, the server gets all of them, once."""
    first = b"SSH-2.0-now\r\n"

    def say(ms):
        with ends.connect(net.client, port=443) as sock:
            time.sleep(SILENCE + ms / 1000)
            sock.sendall(first)
            name = ends.receive_exactly(sock, 3)
            if name == b"res":
                name += ends.receive_exactly(sock, 1)
            return name, ends.receive_exactly(sock, len(first))

    with ThreadPoolExecutor(20) as pool:
        heard = list(pool.map(say, [step / 4 for step in range(-60, 60)]))

    assert {name for name, _ in heard} <= {b"ssh", b"rest"}
    assert all(echoed == first for _, echoed in heard)
    assert patient.connections()["closed"] == 0


def test_without_silence_who_says_nothing_is_closed(net, ladon):
    ladon.reload(CONFIG.replace("20s", "200ms"))
    with ends.connect(net.client, port=443) as sock:
        assert sock.recv(1) == b""
    assert ladon.reasons() == {"first_bytes": 1}


def test_silence_begins_after_the_proxy_header(net, patient):
    config = CONFIG.replace("first-bytes: 20s", "first-bytes: 2s, silence: 300ms")
    patient.reload(config.replace("        routes:", "        proxy-from: 10.0.1.0/24\n        routes:", 1))

    with ends.connect(net.client, port=443) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.9 1 2\r\n")
        assert ends.receive_exactly(sock, 4) == b"rest"
        patient.wait_handed_off()
    with ends.connect(net.client, port=443) as sock:
        assert sock.recv(1) == b""
    assert patient.reasons() == {"first_bytes": 1}
