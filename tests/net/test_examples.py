# SPDX-License-Identifier: GPL-2.0-only
"""The shipped examples carry what they say they do, as they stand.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 ... .12

This network has the addresses that the files name, and names that lead there. Of the files only the
directories of an installed system are replaced by the test's own: lib/gateway.py, example().
"""
import contextlib
import glob
import json
import os
import ssl

import pytest

from conftest import Net
from lib import ends, servers
from lib.dns import NameServer
from lib.gateway import BUILD, FAR_CLIENT, FAR_CLIENT6, FAR_GATEWAY, FAR_GATEWAY6, ROOT, Far, Ladond, example
from lib.net import CLIENT, GATEWAY, GATEWAY6, join, run, until
from test_forwards import Udp, ask_tcp, ask_udp, say_source
from test_proxied import AUTHORITY, UNIQUE_ID, read_v2

ELSEWHERE = {"accelerate", "original", "transparent"}  # each in the file of that name, beside others of its kind

HOSTS = """
10.0.2.6 apps.internal
10.0.2.2 www.internal
10.0.2.4 one.lab.example.org
203.0.113.7 exit.example.net
2001:db8:7::7 exit6.example.net
"""
EXITS = ("203.0.113.7", "2001:db8:7::7")
NAME_SERVER = "192.0.2.53"


@pytest.fixture(scope="module")
def net(certs):
    """All of it, once for this file."""
    network = Net()
    try:
        furnish(network)
        network.certs = certs
        network.sshd = servers.Sshd(network, network.backend, ("10.0.2.4", 22))
        yield network
    finally:
        network.close()


def furnish(net):
    """Every address that an example names, and the gateway's interfaces as ladon.yaml calls them."""
    for device, name, at, at6 in (("client0", "eth0", GATEWAY, GATEWAY6), ("backend0", "eth1", "10.0.2.9", "fd00:2::9")):
        net.gateway.ip(f"link set {device} down", f"link set {device} name {name}", f"link set {name} up",
                       f"addr add {at6}/64 dev {name} nodad")
    net.gateway.ip("addr add 192.0.2.1/24 dev eth0", "addr add 192.0.2.9/24 dev eth0",
                   "addr add 2001:db8:1::9/64 dev eth0 nodad",
                   "addr add 10.0.2.10/24 dev eth1", "addr add 10.0.0.9/24 dev eth1", "addr add 10.0.3.9/24 dev eth1",
                   "addr add 2001:db8:2::9/64 dev eth1 nodad", "addr add 2001:db8:2::a/64 dev eth1 nodad",
                   f"route add {EXITS[0]} via 10.0.2.2", f"route add {EXITS[1]} via fd00:2::2")
    net.client.ip(f"addr add {NAME_SERVER} dev lo")
    net.backend.ip(*(f"addr add 10.0.2.{i}/24 dev eth0" for i in (5, 6, 7, 8, 12, 30)),
                   *(f"addr add 10.0.0.{i}/24 dev eth0" for i in (5, 6)),
                   "addr add 10.0.3.2/24 dev eth0",
                   *(f"addr add 2001:db8:2::{i}/64 dev eth0 nodad" for i in (2, 3)),
                   *(f"addr add {address} dev lo" for address in EXITS))
    net.gateway.hosts(HOSTS)
    net.client.hosts(f"{GATEWAY} gate.example.org")


def file(net, name, text, mode=0o640):
    with open(os.open(os.path.join(net.dir, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(text)


# ---- backends that say which they are, and who asks them ----

def greet(at):
    """A talk of one who speaks first, then echoes."""
    def talk(sock):
        sock.sendall(at.encode() + b"\n")
        return ends.echo(sock)

    return talk


def serve(net, talk, *backends, tls=None):
    """talk(at) is what the one at ADDRESS:PORT does. Return: the servers."""
    def server(at):
        address, port = at.replace("[", "").replace("]", "").rsplit(":", 1)
        return ends.Server(net.backend, talk(at), address=address, port=int(port), tls=tls)

    return [server(at) for at in backends]


def serve_tls(net, *backends):
    serve(net, ends.http, *backends, tls=net.certs.server("h2", "http/1.1"))


def proxied(net):
    """What each does who wants a PROXY header before TLS. Its result: that header."""
    tls = net.certs.server("h2", "http/1.1")

    def at_one(at):
        def talk(sock):
            header = read_v2(sock)
            with tls.wrap_socket(sock, server_side=True) as inner:
                ends.http(at)(inner)
            return header

        return talk

    return at_one


GET = "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"


def answerer(sock, host="", path="/"):
    """Which backend answers an HTTP request."""
    sock.sendall(GET.format(path, host).encode())
    head = ends.receive_until(sock, b"\r\n\r\n").decode()
    return head.split("X-Backend: ")[1].split("\r\n")[0]


def http(net, host, path="/", gateway=GATEWAY, port=80, space=None):
    with ends.connect(space or net.client, gateway, port) as sock:
        return answerer(sock, host, path)


def https(net, name, gateway=GATEWAY, port=443, alpn=(), space=None):
    """... by TLS; name: the server's, or None. An alert raises ssl.SSLError."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    with context.wrap_socket(ends.connect(space or net.client, gateway, port), server_hostname=name) as sock:
        return answerer(sock)


def greeting(net, gateway=GATEWAY, port=80, say=b""):
    """Which backend greets a client who has said this, and echoes it."""
    with ends.connect(net.client, gateway, port) as sock:
        sock.sendall(say)
        heard = ends.receive_through(sock, b"\n").decode().strip()
        assert ends.receive_exactly(sock, len(say)) == say
        ends.ask(sock)
        return heard


# ---- the gateway ----

@pytest.fixture
def start(net):
    """start(name): ladond with that example. In the end it goes, and all that was of it; other servers, too."""
    running = []
    kept = len(net.backend.closers)

    def run(name, **environment):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(net.dir, "access.log"))
        running.append(net.ladond(example(net, name), **environment))
        return running[0]

    yield run
    for ladon in running:
        ladon.stop()
        net.gateway.run(os.path.join(BUILD, "ladond"), "--cleanup", "-c", ladon.config, check=True)
    while len(net.backend.closers) > kept:
        net.backend.closers.pop()()


def all_handed_off(ladon, closed=None):
    """Every connection so far has been, but those that were closed: {reason: count}."""
    def settled():
        seen = ladon.connections()
        return seen["handed_off"] + seen["closed"] >= seen["accepted"]

    until(settled, f"all are handed off: {ladon.connections()}, {ladon.reasons()}")
    assert ladon.reasons() == (closed or {})
    assert ladon.connections()["relayed"] == 0


def backends(ladon):
    """What ladon(8) says of each."""
    return {b["backend"]: b for pool in ladon.ask("pool show")["pools"] for b in pool["backends"]}


def turns(ask, count):
    """Who answers, of so many times."""
    return {ask() for _ in range(count)}


BOTH = (GATEWAY, GATEWAY6)


def test_tls_router(net, start):
    serve_tls(net, "10.0.2.2:443", "10.0.2.3:443", "10.0.2.6:8443", "10.0.2.4:443", "10.0.2.5:443")
    ladon = start("tls-router")
    for gateway in BOTH:
        for name in ("example.org", "www.example.org"):
            assert turns(lambda: https(net, name, gateway), 2) == {"10.0.2.2:443", "10.0.2.3:443"}
        for name, backend in (("x.apps.example.org", "10.0.2.6:8443"), ("a.b.apps.example.org", "10.0.2.6:8443"),
                              ("mail.example.org", "10.0.2.4:443"), ("apps.example.org", "10.0.2.5:443"),
                              ("example.net", "10.0.2.5:443"), (None, "10.0.2.5:443")):
            assert (name, https(net, name, gateway)) == (name, backend)
    all_handed_off(ladon)
    with ends.connect(net.client, port=443) as sock:
        sock.sendall(b"SSH-2.0-me\r\n")
        assert sock.recv(1) == b""
    all_handed_off(ladon, {"no_route": 1})


def test_http_router(net, start):
    serve(net, ends.http, "10.0.2.2:80", "10.0.2.3:80", "10.0.2.4:8080", "10.0.2.5:8080", "10.0.2.6:80")
    ladon = start("http-router")
    site, api, customers = {"10.0.2.2:80", "10.0.2.3:80"}, {"10.0.2.4:8080", "10.0.2.5:8080"}, {"10.0.2.6:80"}
    for host, path, pool in (("example.org", "/", site), ("www.example.org", "/v3/", site), ("example.org", "/api/x", api),
                             ("www.example.org", "/v2/", api), ("a.example.org", "/", customers),
                             ("a.example.org", "/api/", customers), ("example.net", "/api/", site), ("", "/", site)):
        assert (host, path, turns(lambda: http(net, host, path), 4)) == (host, path, pool)
    all_handed_off(ladon)


def test_mixed(net, start):
    serve_tls(net, "10.0.2.2:443", "10.0.2.3:443")
    serve(net, ends.http, "10.0.2.2:80", "10.0.2.3:80")
    serve(net, greet, "10.0.2.4:7000")
    ladon = start("mixed")
    for gateway in BOTH:
        where = {"gateway": gateway, "port": 8443}
        assert https(net, "example.org", **where) == "10.0.2.2:443"
        assert https(net, "example.net", **where) == https(net, None, **where) == "10.0.2.3:443"
        assert http(net, "example.org", **where) == "10.0.2.2:80"
        assert http(net, "example.net", **where) == "10.0.2.3:80"
        assert greeting(net, **where, say=b"\0neither") == "10.0.2.4:7000"
    all_handed_off(ladon)


def test_tcp_forward(net, start):
    serve(net, greet, "10.0.2.2:22", "10.0.2.3:25", "10.0.2.4:25", "10.0.2.5:5432", "10.0.2.6:5432")
    ladon = start("tcp-forward")
    for gateway in BOTH:
        assert greeting(net, gateway, 22) == "10.0.2.2:22"
    assert turns(lambda: greeting(net, "192.0.2.1", 25), 2) == {"10.0.2.3:25", "10.0.2.4:25"}
    with ends.connect(net.client, "192.0.2.1", 5432) as sock:
        first = ends.receive_through(sock, b"\n").decode().strip()
        assert {first, greeting(net, "192.0.2.1", 5432)} == {"10.0.2.5:5432", "10.0.2.6:5432"}
    all_handed_off(ladon)


def test_ipv6(net, start):
    """And the old service answers both families."""
    serve_tls(net, "[2001:db8:2::2]:443", "[2001:db8:2::3]:443", "10.0.2.2:443", "10.0.2.3:443", "10.0.2.4:443")
    ladon = start("ipv6")
    for gateway, web in (("2001:db8:1::9", {"[2001:db8:2::2]:443", "[2001:db8:2::3]:443"}),
                         ("192.0.2.9", {"10.0.2.2:443", "10.0.2.3:443"})):
        assert turns(lambda: https(net, "example.org", gateway), 2) == web
        assert turns(lambda: https(net, "www.example.org", gateway), 2) == web
        assert https(net, "old.example.org", gateway) == "10.0.2.4:443"
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            https(net, "example.net", gateway)
    all_handed_off(ladon, {"no_route": 2})


def test_least_flows(net, start):
    """Those that live count: who comes fourth meets the one whose first has gone."""
    names = [f"10.0.2.{i}:443" for i in (2, 3, 4)]
    tls = net.certs.server()

    def chat(at):
        def talk(sock):
            with tls.wrap_socket(sock, server_side=True) as chatter:
                chatter.sendall(at.encode() + b"\n")
                ends.echo(chatter)
        return talk

    serve(net, chat, *names)
    ladon = start("least-flows")
    context = net.certs.client()
    chats = {}
    with contextlib.ExitStack() as all_of_them:
        for gateway in (*BOTH, GATEWAY):
            sock = all_of_them.enter_context(context.wrap_socket(ends.connect(net.client, gateway, 443),
                                                                 server_hostname="chat.example.org"))
            chats[ends.receive_through(sock, b"\n").decode().strip()] = sock
        assert sorted(chats) == names
        ladon.wait_handed_off(3)
        chats[names[1]].close()
        until(lambda: backends(ladon)[names[1]]["flows"] == 0, "it has ended, and does not count")
        with context.wrap_socket(ends.connect(net.client, port=443), server_hostname="chat.example.org") as sock:
            assert ends.receive_through(sock, b"\n").decode().strip() == names[1]
    all_handed_off(ladon)


CHECK_CACHE = """#!/bin/sh
# The second one has no memory left.
echo "$LADON_ADDRESS $LADON_PORT $*"
test "$LADON_ADDRESS" = 10.0.2.2
"""


def test_health(net, start):
    """Each check finds what it looks for; connections go where somebody listens."""
    file(net, "check-cache", CHECK_CACHE, 0o755)
    serve(net, greet, "10.0.2.6:5432", "10.0.2.2:11211", "10.0.2.3:11211")
    web = serve(net, ends.http, "10.0.2.2:80", "10.0.2.3:80")
    serve_tls(net, "10.0.2.2:443", "10.0.2.3:443")
    ladon = start("health", SSL_CERT_FILE=net.certs.ca)

    until(lambda: all("check" in b for b in backends(ladon).values()), "all have been checked")
    found = {at: b["check"] for at, b in backends(ladon).items() if b["check"] != "passed"}
    assert found == {"10.0.2.5:5432": "connect: Connection refused",
                     "10.0.2.3:11211": "script: exit status 1: 10.0.2.3 11211 --quick"}
    for server in web:
        request, = server.result()
        assert request.startswith(b"GET /alive HTTP/1.1\r\n") and b"\r\nHost: www.example.org\r\n" in request
    assert greeting(net, port=5432) == "10.0.2.6:5432"
    assert turns(lambda: greeting(net, port=11211), 2) == {"10.0.2.2:11211", "10.0.2.3:11211"}
    assert turns(lambda: http(net, "www.example.org"), 2) == {"10.0.2.2:80", "10.0.2.3:80"}
    assert turns(lambda: https(net, "www.example.org"), 2) == {"10.0.2.2:443", "10.0.2.3:443"}
    all_handed_off(ladon)


def ssh(net, gateway, *options, env=None):
    """A real login. Return: which server it is, as that sees it."""
    done = net.client.run("ip", "netns", "exec", net.client.name, "ssh", "-F", net.sshd.client, *options, gateway,
                          "echo $SSH_CONNECTION", env=env)
    assert done.returncode == 0, done.stderr
    return join(*done.stdout.split()[2:])


def test_ssh_and_https(net, start):
    serve_tls(net, "10.0.2.2:443")
    ladon = start("ssh-and-https")
    with ends.connect(net.client, port=443) as silent:
        for gateway in BOTH:
            assert ssh(net, gateway, "-p", "443") == "10.0.2.4:22"
            assert https(net, "example.org", gateway) == https(net, None, gateway) == "10.0.2.2:443"
        assert ends.receive_exactly(silent, 8) == b"SSH-2.0-"
    all_handed_off(ladon)


def test_one_port(net, start):
    """As it stands; what real clients make of it is in test_clients.py."""
    serve_tls(net, "10.0.2.2:443", "10.0.2.3:443")
    serve(net, ends.http, "10.0.2.2:80", "10.0.2.3:80", "10.0.2.2:8000")
    serve(net, greet, "10.0.2.5:25")
    ladon = start("one-port")
    with ends.connect(net.client, port=443) as silent:
        for gateway in BOTH:
            for name in ("example.org", "www.example.org", "example.net", None):
                assert https(net, name, gateway) in ("10.0.2.2:443", "10.0.2.3:443")
            assert http(net, "example.org", gateway=gateway, port=443) in ("10.0.2.2:80", "10.0.2.3:80")
        assert ssh(net, GATEWAY6, "-p", "443") == "10.0.2.4:22"
        for way in (["--socks5-hostname", f"{GATEWAY}:443"], ["--proxytunnel", "--proxy", f"{GATEWAY}:443"]):
            assert curl(net, *way, "http://www.internal:8000/") == "10.0.2.2:8000"
        assert ends.receive_through(silent, b"\n") == b"10.0.2.5:25\n"
    all_handed_off(ladon)
    assert curl(net, "--socks5-hostname", f"{GATEWAY}:443", "http://exit.example.net/") is None
    all_handed_off(ladon, {"no_route": 1})


def curl(net, *argv):
    """Who answers, or None."""
    done = net.client.run("curl", "-sS", "--noproxy", "", "--suppress-connect-headers", "-i", *argv)
    return done.stdout.split("X-Backend: ")[1].split("\n")[0].strip() if done.returncode == 0 else None


def test_socks_exit(net, start):
    """Who has the password gets out, by name and address; nobody else does, and nobody gets in."""
    file(net, "users", "me:" + run("openssl", "passwd", "-6", "-salt", "salt", "secret"))
    outside = [join(address, 8080) for address in EXITS]
    serve(net, ends.http, *outside, *(join(address, 80) for address in EXITS), *(join(address, 81) for address in EXITS),
          "10.0.2.2:80")
    ladon = start("socks-exit")

    def fetch(gateway, url, *how, user="me:secret"):
        return curl(net, *how, join(gateway, 1080), "--proxy-user", user, url)

    ways = (["--socks5-hostname"], ["--socks5"], ["--proxytunnel", "--proxy"])
    for gateway in BOTH:
        for way in ways:
            assert [fetch(gateway, f"http://{at}/", *way) for at in outside] == outside
        for way in (ways[0], ways[2]):
            assert fetch(gateway, "http://exit.example.net/", *way) == join(EXITS[0], 80)
            assert fetch(gateway, "http://exit6.example.net/", *way) == join(EXITS[1], 80)
    all_handed_off(ladon)
    refused = {}
    for reason, url, user in (("no_user", f"http://{outside[0]}/", "me:wrong"), ("no_user", f"http://{outside[0]}/", "you:secret"),
                              ("target_refused", "http://10.0.2.2/", "me:secret"), ("target_refused", "http://www.internal/", "me:secret"),
                              ("target_refused", f"http://[{GATEWAY6}]/", "me:secret"), ("target_refused", f"http://{GATEWAY}:8080/", "me:secret"),
                              ("target_refused", f"http://{EXITS[0]}:81/", "me:secret")):
        for way in (ways[0], ways[2]):
            assert fetch(GATEWAY, url, *way, user=user) is None
            refused[reason] = refused.get(reason, 0) + 1
    assert curl(net, "--proxy", f"socks4a://{GATEWAY}:1080", f"http://{outside[0]}/") is None  # it has no passwords
    all_handed_off(ladon, {**refused, "no_user": refused["no_user"] + 1})


def test_tokens(net, start):
    """The commands of its comment, and ssh(1) with what they make."""
    path = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"}
    with open(os.path.join(ROOT, "contrib/config/tokens.yaml")) as text:
        key, make, _, proxy = (line[1:].strip().replace("/etc/ladon", net.dir).replace("~/.ssh", net.dir)
                               for line in text if line.startswith("#\t"))
    net.gateway.run("sh", "-c", key.replace("chgrp ladon", "chgrp root"), env=path, check=True)
    file(net, "ladon-token", net.gateway.run("sh", "-c", make, env=path, check=True).stdout)
    serve_tls(net, "10.0.3.2:443")
    ladon = start("tokens")

    assert ssh(net, "one.lab.example.org", "-o", proxy.replace(" ", "=", 1), env=path) == "10.0.2.4:22"
    assert https(net, "www.example.org") == "10.0.3.2:443"
    all_handed_off(ladon)

    def why_not(target, *words):
        done = net.client.run("ladon", "connect", f"{GATEWAY}:443", target, *words, env=path)
        assert done.returncode == 1
        return done.stderr

    shown = ("token-file", os.path.join(net.dir, "ladon-token"))
    assert "wants a token" in why_not("one.lab.example.org:22")
    for target in ("one.lab.example.org:9418", "www.example.org:22"):
        assert "the token is for another target" in why_not(target, *shown)
    all_handed_off(ladon, {"token_missing": 1, "token_elsewhere": 2})


# ---- two gateways ----

def access_log(net, count):
    """Its lines, when there are so many, by their client."""
    path = os.path.join(net.dir, "access.log")

    def lines():
        with contextlib.suppress(FileNotFoundError), open(path) as text:
            return [json.loads(line) for line in text]
        return []

    until(lambda: len(lines()) == count, f"{count} lines")
    return {line["client"]: line for line in lines()}


def test_proxy_chain(net, start):
    """The backend hears who the client of the first is, and both access logs say so. Either family on either side, handed off twice.

        client -- 10.0.7.0/24 -- first -- 198.51.100.0/24 -- second -- 10.0.2.0/24 -- backend
    """
    far = Far(net)
    heard = {}
    web = serve(net, proxied(net), "10.0.2.2:443", "10.0.2.3:443")
    second = start("proxy-chain-second")
    first = Ladond(far, example(far, "proxy-chain-first"))
    context = net.certs.client()
    net.forget_trouble()
    for client, gateway in ((FAR_CLIENT, FAR_GATEWAY), (FAR_CLIENT6, FAR_GATEWAY6)) * 2:
        with context.wrap_socket(ends.connect(net.client, gateway, 443), server_hostname="www.example.org") as sock:
            me = sock.getsockname()[1]
            server = web[answerer(sock) == "10.0.2.3:443"]
        (source, dest), ports, tlvs = server.result()
        assert (source, dest, ports) == (client, gateway, (me, 443))
        assert tlvs.keys() == {AUTHORITY, UNIQUE_ID} and tlvs[AUTHORITY] == b"www.example.org"
        heard[join(client, me)] = tlvs[UNIQUE_ID]
    assert len(set(heard.values())) == 4
    net.only_repetitions()
    all_handed_off(first)
    assert {b["backend"]: b["handed_off"] for b in backends(first).values()} == \
        {"198.51.100.2:8443": 2, "[2001:db8:51::2]:8443": 2}
    for ladon, network in ((first, far), (second, net)):
        all_handed_off(ladon)
        log = access_log(network, 4)
        assert log.keys() == heard.keys()
        assert {(line["name"], line["how"], line["end"]) for line in log.values()} == {("www.example.org", "handoff", "closed")}

    with context.wrap_socket(ends.connect(net.client, port=8443), server_hostname="www.example.org") as sock:
        server = web[answerer(sock) == "10.0.2.3:443"]
    assert server.result()[0] == [CLIENT, GATEWAY]  # who does not come by the first one is a client itself
    all_handed_off(second)
    first.stop()


# ---- and the rest ----

def test_port_forward(net, start):
    """TCP and UDP; a client beside the server; and a range whose servers see the gateway."""
    net.forward()
    ends.Server(net.backend, say_source, address="10.0.0.5", port=8443)
    for address, port in (("10.0.0.5", 8443), ("10.0.0.6", 50000), ("10.0.0.6", 50100)):
        Udp(net.backend, address, port)
    start("port-forward")
    assert ask_tcp(net.client, "192.0.2.1", 443) == ask_udp(net.client, "192.0.2.1", 443) == [CLIENT, "8443"]
    with ends.connect(net.backend, "192.0.2.1", 443, prepare=lambda sock: sock.bind(("10.0.0.6", 0))) as sock:
        assert ends.receive_until(sock, b"\n") == b"10.0.0.9 8443\n"
    for port in (50000, 50100):
        assert ask_udp(net.client, "192.0.2.1", port) == ["10.0.0.9", str(port)]
    net.forward(False)


def test_unprivileged_relay(net, start):
    """By an ordinary user, on one host; each connection is relayed."""
    for at, tls in (("127.0.0.1:9443", net.certs.server()), ("127.0.0.1:9080", None), ("127.0.0.1:9081", None)):
        address, port = at.split(":")
        server = ends.Server(net.gateway, ends.http(at), address=address, port=int(port), tls=tls)
        net.backend.closers.append(server.close)
    ladon = start("unprivileged-relay", user="nobody")
    until(lambda: all(b["addresses"] for b in backends(ladon).values()), "localhost is looked up")
    for gateway in ("127.0.0.1", "::1"):
        assert https(net, "www.localhost", gateway, 8443, space=net.gateway) == "127.0.0.1:9443"
        assert turns(lambda: http(net, "localhost", "/", gateway, 8443, space=net.gateway), 2) == {"127.0.0.1:9080", "127.0.0.1:9081"}
    assert ladon.connections()["relayed"] == ladon.connections()["accepted"] == 6
    assert ladon.reasons() == {"handoff_off": 6}


def test_ladon(net, start):
    """The annotated file: each of its routes, backends and ports leads where it says."""
    net.forward()
    names = NameServer(net.client, NAME_SERVER, ttl=600).names
    names.update({"_https._tcp.www.internal": [(0, 1, 443, "www3.internal")], "www3.internal": ["10.0.2.3"]})
    web = {"10.0.2.2:443", "10.0.2.3:443", "10.0.2.12:443", "[2001:db8:2::2]:443"}
    serve_tls(net, *web, "10.0.2.8:443", "10.0.2.5:443")
    serve(net, proxied(net), "10.0.2.3:8443", "10.0.2.4:8443")
    serve(net, ends.http, "10.0.2.6:80", "10.0.2.7:80", "203.0.113.7:8080")
    serve(net, greet, "10.0.2.8:22", "10.0.2.12:6667")
    Udp(net.backend, "10.0.2.30", 50010)
    ladon = start("ladon")
    until(lambda: {"www.internal:443", "www3.internal:443"} <= {at for at, b in backends(ladon).items() if b["addresses"]},
          "names are looked up")
    met = set()
    until(lambda: met.add(https(net, "example.org")) or met == web, "each has a turn; that of the SRV record starts slowly")
    for gateway in BOTH:
        for name in ("a.example.org", "a.b.example.net", "example.com", None):
            assert https(net, name, gateway) in web
        assert https(net, "grpc.example.org", gateway, alpn=["h2"]) in ("10.0.2.3:8443", "10.0.2.4:8443")
        assert https(net, "grpc.example.org", gateway) in web
        assert https(net, "any.example.com", gateway, alpn=["acme-tls/1"]) == "10.0.2.5:443"
        assert http(net, "example.org", "/api/x", gateway, 443) == "10.0.2.6:80"
        assert http(net, "example.org", "/", gateway, 443) == http(net, "example.net", "/api/", gateway, 443) == "10.0.2.7:80"
        assert greeting(net, gateway, 443, b"SSH-2.0-me\r\n") == "10.0.2.8:22"
        assert greeting(net, gateway, 443, b"NICK me\n") == "10.0.2.12:6667"
        assert curl(net, "--socks5-hostname", join(gateway, 443), "http://exit.example.net:8080/") == "203.0.113.7:8080"
    assert greeting(net, port=2222) == "10.0.2.8:22"
    all_handed_off(ladon)
    assert ask_udp(net.client, "192.0.2.1", 50010) == [CLIENT, "50010"]
    net.forward(False)


def test_each_example_has_a_test():
    names = {os.path.basename(path)[:-len(".yaml")] for path in glob.glob(os.path.join(ROOT, "contrib/config/*.yaml"))}
    for name in names - ELSEWHERE:
        assert "test_" + name.replace("-first", "").replace("-second", "").replace("-", "_") in globals(), name
