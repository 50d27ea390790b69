# SPDX-License-Identifier: GPL-2.0-only
"""Clients that say where they go in a ladon prefix (PREFIX.md), by hand and by ladon connect.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backends
"""
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import socket
import struct
import subprocess
import time

from lib import ends
from lib.dns import NameServer
from lib.gateway import BUILD, EXIT
from lib.net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, join, until

SIZE = ends.MB
MAGIC = b"\xfbldn"
CONNECTED = MAGIC + bytes([1, 0, 0, 8])
LATER = 4000000000
KEYS = {7: bytes(range(32)), 8: bytes(32)}


# ---- PREFIX.md once more ----

def on_the_wire(host, port):
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        with contextlib.suppress(OSError):
            address = socket.inet_pton(family, host)
            return struct.pack("!BBH", kind, len(address), port) + address
    return struct.pack("!BBH", 3, len(host), port) + host.encode()


def prefix(host, port=9000, *, answer=True, extensions=b"", token=None):
    if token is not None:
        extensions += struct.pack("!BH", 1, len(token)) + token
    body = on_the_wire(host, port) + extensions
    return MAGIC + struct.pack("!BBH", 1, answer, 8 + len(body)) + body


def token(key=7, expires=LATER, target=bytes(4), by=None):
    body = struct.pack("!IQ", key, expires) + target
    return body + hmac.new(by or KEYS[key], b"ladon-token-1\0" + body, hashlib.sha256).digest()


def status(net, said, address=GATEWAY):
    """What comes back for a prefix that is refused: the answer's status, or None and the end."""
    with ends.connect(net.client, address) as sock:
        sock.sendall(said)
        heard = ends.receive_exactly(sock, 9)
        if not heard:
            return None
        assert len(heard) == 8 and heard[:5] == MAGIC + b"\1" and heard[6:] == b"\0\x08"
        return heard[5]


# ---- tests ----

def test_the_target_is_connected_to_and_the_connection_handed_off(net):
    """The client's first bytes are in the prefix's segment; every pair of families, answered or not."""
    ladon = net.ladond(EXIT)
    servers = {backend: ends.Server(net.backend, ends.answer_and_exchange(SIZE, 1), address=backend, port=9000)
               for backend in (BACKENDS[0], BACKENDS6[0])}
    cases = itertools.product((GATEWAY, GATEWAY6), servers, (True, False))
    for count, (gateway, backend, answer) in enumerate(cases, 1):
        with ends.connect(net.client, gateway) as sock:
            sock.sendall(prefix(backend, answer=answer) + ends.WORD)
            if answer:
                assert ends.receive_exactly(sock, 8) == CONNECTED
            assert ends.receive_exactly(sock, len(ends.WORD)) == ends.WORD
            ladon.wait_handed_off(count)
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert servers[backend].result() == ends.expected(SIZE, 2)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_in_one_segment_and_in_many(net):
    """... behind a PROXY header, too."""
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, ends.echo, port=9000)

    def each(header):
        for piece, answer in itertools.product((1, 3, 1000), (True, False)):
            said = header + prefix(BACKENDS[0], answer=answer) + b"and more"
            with ends.connect(net.client) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(said), piece):
                    sock.sendall(said[at:at + piece])
                assert not answer or ends.receive_exactly(sock, 8) == CONNECTED
                assert ends.receive_exactly(sock, 8) == b"and more"
                sock.sendall(b"still more")
                assert ends.receive_exactly(sock, 10) == b"still more"
            assert server.result() == 18

    each(b"")
    assert ladon.reload(EXIT.replace("routes:", "proxy-from: 10.0.1.0/24, routes:")).returncode == 0
    each(b"PROXY UNKNOWN\r\n")


def test_the_backend_speaks_first(net):
    ladon = net.ladond(EXIT)

    def greet(sock):
        sock.sendall(b"220 hello\r\n")
        return ends.echo(sock)

    server = ends.Server(net.backend, greet, port=9000)
    for answer in [True, False] * 10:
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(BACKENDS[0], answer=answer))
            assert not answer or ends.receive_exactly(sock, 8) == CONNECTED
            assert ends.receive_exactly(sock, 11) == b"220 hello\r\n"
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    ladon.wait_handed_off(20)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_a_slow_target_is_handed_off_too(net):
    """Connecting takes longer than the client may be kept without an acknowledgement."""
    ladon = net.ladond(EXIT)
    server = ends.Server(net.backend, ends.echo, port=9000)
    for count, answer in enumerate((True, False), 1):
        slow = net.backend.lose("tcp dport 9000 tcp flags syn", once=True)
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(BACKENDS[0], answer=answer))
            assert not answer or ends.receive_exactly(sock, 8) == CONNECTED
            until(lambda: slow() == 1, "a SYN was lost")
            until(lambda: ladon.connections()["handed_off"] == count, "it is handed off")
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
        assert server.result() == 4
    assert ladon.reasons() == {}


def test_a_target_by_name(net):
    dns = NameServer(net.backend, BACKENDS[0])
    ladon = net.ladond(EXIT + f"name-servers: {BACKENDS[0]}\n")
    for count, backend in enumerate((BACKENDS[0], BACKENDS6[0]), 1):
        dns.names[f"www{count}.example.org"] = [backend]
        server = ends.Server(net.backend, ends.echo, address=backend, port=9000)
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(f"WWW{count}.example.org") + b"word")
            assert ends.receive_exactly(sock, 12) == CONNECTED + b"word"
        assert server.result() == 4
    ladon.wait_handed_off(2)
    assert ladon.reasons() == {}
    assert status(net, prefix("none.example.org")) == 4
    assert ladon.reasons() == {"no_target": 1}


REFUSED = {
    "a port where nobody listens": (prefix(BACKENDS[0], 9001), 5, "no_backend"),
    "the gateway itself": (prefix(GATEWAY), 2, "target_refused"),
    "loopback": (prefix("127.0.0.1"), 2, "target_refused"),
    "a target that no rule has": (prefix("::1"), 2, "no_route"),
    "version 2": (MAGIC + b"\2\1\0\x10", 17, "prefix_unsupported"),
    "a flag": (MAGIC + b"\1\3\0\x10", 17, "prefix_unsupported"),
    "a critical extension": (prefix(BACKENDS[0], extensions=b"\xf0\0\1x"), 17, "prefix_unsupported"),
    "a short length": (MAGIC + b"\1\1\0\0", 16, "prefix_malformed"),
    "port 0": (prefix(BACKENDS[0], 0), 16, "prefix_malformed"),
    "a name": (prefix("a b"), 16, "prefix_malformed"),
}


def test_refusals_say_why_or_nothing(net):
    """... to who did not want to know; and what else the client has said is no obstacle."""
    ladon = net.ladond(EXIT.replace('"*"', '["10.0.1.9", "10.0.2.2", "127.0.0.1", "*.example.org"]'))
    for name, (said, why, reason) in REFUSED.items():
        before = ladon.reasons("closed").get(reason, 0)
        assert status(net, said + b"first bytes") == why, name
        silent = bytearray(said)
        silent[5] &= ~1
        assert status(net, bytes(silent) + b"first bytes") is None, name
        until(lambda: ladon.reasons("closed").get(reason, 0) == before + 2, f"{name}: {reason}")
    # The gateway's ACK and its FIN may change places: test_exhaustion.py has it.
    assert net.client.trouble().keys() <= {"TcpOutRsts"}


def test_relayed_without_privileges(net):
    ladon = net.ladond(EXIT, user="nobody")
    server = ends.Server(net.backend, lambda s: ends.exchange(s, SIZE, say=1), port=9000)
    for answer in (True, False):
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(BACKENDS[0], answer=answer))
            assert not answer or ends.receive_exactly(sock, 8) == CONNECTED
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)
    assert ladon.reasons() == {"no_privilege": 2}


# ---- tokens ----

def key_file(net, *ids):
    path = os.path.join(net.dir, "keys")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "w") as file:
        file.writelines(f"{i}:{KEYS[i].hex()}\n" for i in ids)
    return path


def with_tokens(path):
    return EXIT.replace("routes:", f"tokens: {path}, routes:")


BAD = {
    "none": (None, 18, "token_missing"),
    "an empty one": (b"", 19, "token_forged"),
    "one that is too long": (token() + b"\0", 19, "token_forged"),
    "by another key": (token(by=KEYS[8]), 19, "token_forged"),
    "one bit changed": (token()[:-1] + bytes([token()[-1] ^ 1]), 19, "token_forged"),
    "an unknown key": (token(8), 19, "token_unknown_key"),
    "expired": (token(expires=int(time.time())), 20, "token_expired"),
    "expired, and forged": (token(expires=1, by=KEYS[8]), 19, "token_forged"),
    "for another host": (token(target=on_the_wire(BACKENDS[1], 0)), 21, "token_elsewhere"),
    "for another port": (token(target=on_the_wire(BACKENDS[0], 9001)), 21, "token_elsewhere"),
}
GOOD = {
    "for any target": token(),
    "for this host": token(target=on_the_wire(BACKENDS[0], 0)),
    "for this target": token(target=on_the_wire(BACKENDS[0], 9000)),
    "for a day": token(expires=int(time.time()) + 86400),  # from when this file was read
}


def test_tokens(net):
    """A good one is handed off; each bad one is refused, with its reason, and no backend hears of it."""
    log = os.path.join(net.dir, "access.log")
    ladon = net.ladond(with_tokens(key_file(net, 7)) + f"access-log: {{to: {log}}}\n")
    server = ends.Server(net.backend, ends.echo, port=9000)
    for name, shown in GOOD.items():
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(BACKENDS[0], token=shown) + b"word")
            assert ends.receive_exactly(sock, 12) == CONNECTED + b"word", name
        assert server.result() == 4
    ladon.wait_handed_off(len(GOOD))

    opened = net.backend.counter("TcpPassiveOpens")
    wanted = {}
    for name, (shown, why, reason) in BAD.items():
        assert status(net, prefix(BACKENDS[0], token=shown) + b"word") == why, name
        assert status(net, prefix(BACKENDS[0], token=shown, answer=False) + b"word") is None, name
        wanted[reason] = wanted.get(reason, 0) + 2
    for said, heard in ((b"\5\1\0", b"\5\xff"), (b"CONNECT 10.0.2.2:9000 HTTP/1.1\r\n\r\n", b"HTTP/1.1 407 "),
                        (b"\5\1\2\1\2me\6secret", b"\5\2\1\1")):
        with ends.connect(net.client) as sock:
            sock.sendall(said)
            assert ends.receive_exactly(sock, len(heard)) == heard
    until(lambda: ladon.reasons("closed") == {**wanted, "no_user": 3}, f"reasons {ladon.reasons('closed')}")
    assert net.backend.counter("TcpPassiveOpens") == opened

    def lines():
        with open(log) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    until(lambda: sum(wanted.get(line["end"], 0) > 0 for line in lines()) == sum(wanted.values()),
          "each has a line in the access log")
    assert {line.get("name") for line in lines() if line["end"] in wanted} == {BACKENDS[0]}


def test_keys_change_by_a_reload(net):
    ladon = net.ladond(with_tokens(key_file(net, 7)))
    server = ends.Server(net.backend, ends.echo, port=9000)

    def may(shown):
        with ends.connect(net.client) as sock:
            sock.sendall(prefix(BACKENDS[0], token=shown))
            answer = ends.receive_exactly(sock, 8)
        if answer == CONNECTED:
            server.result()
        return answer == CONNECTED

    assert (may(token(7)), may(token(8))) == (True, False)
    assert ladon.reload(with_tokens(key_file(net, 7, 8))).returncode == 0
    assert (may(token(7)), may(token(8))) == (True, True)
    os.chmod(key_file(net, 8), 0o644)
    refused = ladon.reload(with_tokens(f"{net.dir}/keys"))
    assert refused.returncode == 1 and "everybody may read" in refused.stderr
    assert (may(token(7)), may(token(8))) == (True, True)
    os.chmod(f"{net.dir}/keys", 0o640)
    assert ladon.reload(with_tokens(f"{net.dir}/keys")).returncode == 0
    assert (may(token(7)), may(token(8))) == (False, True)


# ---- ladon connect ----

@contextlib.contextmanager
def through(net, gateway, host, *more, port=9000):
    """A socket that is standard input and output of ladon connect, and the process."""
    ours, its = socket.socketpair()
    with ours:
        ours.settimeout(20)
        with its:
            process = net.client.popen(f"{BUILD}/ladon", "connect", join(gateway, 8080), join(host, port), *more,
                                       stdin=its, stdout=its, stderr=subprocess.PIPE)
        yield ours, process
    process.stderr.close()


def test_ladon_connect(net):
    """Ten MB each way, each end known to the other, by both families; the connection is handed off."""
    size = 10 * ends.MB
    ladon = net.ladond(EXIT)
    for count, (gateway, backend) in enumerate(((GATEWAY, BACKENDS[0]), (GATEWAY6, BACKENDS6[0])), 1):
        server = ends.Server(net.backend, ends.answer_and_exchange(size, 1), address=backend, port=9000)
        with through(net, gateway, backend) as (sock, process):
            ends.ask(sock)
            ladon.wait_handed_off(count)
            assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
            assert process.wait(10) == 0
        assert server.result() == ends.expected(size, 2)
    assert ladon.reasons() == {}
    assert net.trouble() == {}


def test_ladon_connect_passes_each_end_on_as_such(net):
    """The target speaks first, and has said all before the client begins; or the other way round."""
    net.ladond(EXIT)

    def first(sock):
        sock.sendall(b"SSH-2.0-greeting\r\n")
        sock.shutdown(socket.SHUT_WR)
        return ends.receive(sock)

    def last(sock):
        heard = ends.receive(sock)
        ends.send(sock, SIZE, 1)
        return heard

    early = ends.Server(net.backend, first, port=9000)
    late = ends.Server(net.backend, last, port=9001)
    with through(net, GATEWAY, BACKENDS[0]) as (sock, process):
        assert ends.receive_until(sock, b"never") == b"SSH-2.0-greeting\r\n"
        ends.send(sock, SIZE, 2)
        sock.shutdown(socket.SHUT_WR)
        assert early.result() == ends.expected(SIZE, 2)
        assert process.wait(10) == 0
    piped = subprocess.PIPE  # no sockets this time
    process = net.client.popen(f"{BUILD}/ladon", "connect", f"{GATEWAY}:8080", f"[{BACKENDS[0]}]:9001",
                               stdin=piped, stdout=piped, stderr=piped)
    out, err = process.communicate(ends.pattern(SIZE, 2), timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert out == ends.pattern(SIZE, 1)
    assert late.result() == ends.expected(SIZE, 2)


def connect(net, target, *more, gateway=GATEWAY):
    """(exit status, complaint)"""
    done = net.client.run(f"{BUILD}/ladon", "connect", f"{gateway}:8080", target, *more, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr


def test_ladon_connect_with_a_token(net):
    """Keys and tokens by ladon token; each way to be refused is said in words."""
    def made(name, *words):
        done = net.client.run(f"{BUILD}/ladon", "token", *words)
        assert (done.returncode, done.stderr) == (0, "")
        path = os.path.join(net.dir, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
            file.write(done.stdout)
        return path

    keys = made("keys", "key", "1")
    former = made("former", "make", keys, "1h")
    made("keys", "key", "4294967295")
    good = made("good", "make", keys, "1h", "target", f"{BACKENDS[0]}:*")
    elsewhere = made("elsewhere", "make", keys, "30d", "id", "1", "target", "*.example.org:9000")
    forged = made("forged", "make", made("others", "key", "1"), "1h")
    short = made("short", "make", keys, "1s")
    shown = net.client.run(f"{BUILD}/ladon", "-j", "token", "show", good).stdout
    assert (json.loads(shown)["key_id"], json.loads(shown)["target"]) == (4294967295, f"{BACKENDS[0]}:*")

    net.ladond(with_tokens(keys))
    server = ends.Server(net.backend, ends.echo, port=9000)
    for path in (former, good):
        with through(net, GATEWAY, BACKENDS[0], "token-file", path) as (sock, process):
            sock.sendall(b"word")
            assert ends.receive_exactly(sock, 4) == b"word"
            sock.shutdown(socket.SHUT_WR)
            assert process.wait(10) == 0
        assert server.result() == 4
    target = f"{BACKENDS[0]}:9000"
    assert connect(net, target) == (1, f"ladon: {target}: the gateway wants a token; "
                                       "token-file names a file with one\n")
    assert "is for another target" in connect(net, target, "token-file", elsewhere)[1]
    assert "does not know the token" in connect(net, target, "token-file", forged)[1]
    until(lambda: "has expired" in connect(net, target, "token-file", short)[1], "its time is over")
    assert connect(net, target, "token-file", keys) == (2, f"ladon: {keys}: there is no token in it\n")


def test_ladon_connect_says_what_is_wrong(net):
    net.ladond(EXIT)
    ends.Server(net.backend, lambda s: s.sendall(b"SSH-2.0-x\r\n"), port=8080)
    ends.Server(net.backend, lambda s: ends.receive_exactly(s, 16), address=BACKENDS[1], port=8080)
    nowhere = f"{BACKENDS[0]}:9001"

    assert connect(net, nowhere) == (1, f"ladon: {nowhere}: Connection refused\n")
    assert "lets nobody" in connect(net, f"{GATEWAY}:9000")[1]
    net.gateway.sysctl("net.ipv4.ip_forward", 1)
    net.client.ip(f"route add 10.0.2.0/24 via {GATEWAY}")
    net.backend.ip("route add 10.0.1.0/24 via 10.0.2.9")
    assert connect(net, nowhere, gateway=BACKENDS[0]) == \
        (1, f"ladon: {nowhere}: what answers is no gateway that takes ladon prefixes\n")
    assert connect(net, nowhere, gateway=BACKENDS[1]) == \
        (1, f"ladon: {nowhere}: the gateway closed without an answer\n")
    assert connect(net, nowhere, gateway=BACKENDS[2])[1] == f"ladon: {BACKENDS[2]}:8080: Connection refused\n"
    for target in ("host", "host:", ":22", "host:0", "host:65536", "a b:22", "fd00::1:22", "*:22", "host:*"):
        assert connect(net, target) == (2, f"ladon: {target}: it takes HOST:PORT\n")
    for words in (("key",), ("key", "x"), ("make",), ("make", "/nowhere", "5x"), ("make", "/nowhere", "0"),
                  ("make", "/nowhere", "1h", "target", "a")):
        assert net.client.run(f"{BUILD}/ladon", "token", *words).returncode == 2, words
    for words in (("make", "/nowhere", "1h"), ("show", "/nowhere"), ("show", "/dev/null")):
        assert net.client.run(f"{BUILD}/ladon", "token", *words).returncode == 1, words
