# SPDX-License-Identifier: GPL-2.0-only
"""The right backend gets the connection: by TLS name, wildcard, ALPN, HTTP host and path, or default.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 exact  .3 wildcard  .4 h2
"""
import pytest

from lib import ends, tls
from lib.net import BACKENDS, GATEWAY, GATEWAY6, until

POOLS = """
    pools:
      - name: exact
        backends: ["10.0.2.2:{port}"]
      - name: wildcard
        backends: ["10.0.2.3:{port}"]
      - name: other
        backends: ["10.0.2.4:{port}"]
      - name: fallback
        backends: ["10.0.2.2:9999"]
"""
TLS_ROUTES = """
    listeners:
      - listen: "0.0.0.0:443"
        routes:
          - {tls: example.org, pool: exact}
          - {tls: "*.example.org", pool: wildcard}
          - {tls: [example.org, "*.example.org"], alpn: h2, pool: other}
""" + POOLS.format(port=443)
TLS_DEFAULT = TLS_ROUTES.replace("    pools:", "          - {pool: fallback}\n    pools:", 1)
HTTP_ROUTES = """
    listeners:
      - listen: "0.0.0.0:80"
        routes:
          - {http: example.org, pool: exact}
          - {http: "*.example.org", pool: wildcard}
          - {http: example.org, path: /api/, pool: other}
          - {http: example.org, path: /api/old/, pool: exact}
""" + POOLS.format(port=80)
HTTP_DEFAULT = HTTP_ROUTES.replace("    pools:", "          - {pool: fallback}\n    pools:", 1)


def serve(net, port, talk, certs=None):
    """The four pools' servers: each says its pool's name through talk(name)."""
    for name, address, at in (("exact", BACKENDS[0], port), ("wildcard", BACKENDS[1], port),
                              ("other", BACKENDS[2], port), ("fallback", BACKENDS[0], 9999)):
        ends.Server(net.backend, talk(name), address=address, port=at,
                    tls=certs and certs.server("h2", "http/1.1"))


def say_name(name):
    def talk(sock):
        sock.sendall(name.encode())
    return talk


def test_tls_names_wildcards_and_alpn(net, certs):
    ladon = net.ladond(TLS_DEFAULT)
    serve(net, 443, say_name, certs)
    asked = [
        ("example.org", (), "exact"),
        ("EXAMPLE.org", (), "exact"),
        ("example.org", ("http/1.1",), "exact"),
        ("example.org", ("http/1.1", "h2"), "other"),
        ("www.example.org", (), "wildcard"),
        ("a.b.example.org", (), "wildcard"),
        ("www.example.org", ("h2",), "other"),
        ("example.net", (), "fallback"),
        ("example.net", ("h2",), "fallback"),
        ("notexample.org", (), "fallback"),
    ]
    for name, alpn, pool in asked:
        context = certs.client(*alpn)
        context.check_hostname = False  # the certificate has no deep names; who answered is the question
        with context.wrap_socket(ends.connect(net.client, port=443), server_hostname=name) as sock:
            assert (name, alpn, sock.recv(100).decode()) == (name, alpn, pool)

    assert ladon.reasons() == {}


def test_curl_and_openssl_reach_their_backends(net, certs):
    net.ladond(TLS_DEFAULT)
    serve(net, 443, ends.http, certs)

    for name, pool in (("example.org", "exact"), ("www.example.org", "wildcard"),
                       ("example.net", "fallback")):
        got = ends.curl(net.client, f"https://{name}/", "--no-alpn", ca=certs.ca)
        assert (got.status, got.headers["X-Backend"]) == (200, pool), got.error
    done = net.client.run("openssl", "s_client", "-connect", f"{GATEWAY}:443", "-servername",
                          "www.example.org", "-quiet", "-CAfile", certs.ca, "-verify_return_error",
                          "-ign_eof", input="GET / HTTP/1.1\r\nConnection: close\r\n\r\n", timeout=20)
    assert "X-Backend: wildcard" in done.stdout


def test_without_a_name_the_default_gets_it(net, certs):
    net.ladond(TLS_DEFAULT)
    serve(net, 443, say_name, certs)
    context = certs.client()
    context.check_hostname = False

    with context.wrap_socket(ends.connect(net.client, port=443)) as sock:
        assert sock.recv(100) == b"fallback"


def test_a_tls_name_without_a_route_is_answered_with_an_alert(net):
    ladon = net.ladond(TLS_ROUTES)

    with ends.connect(net.client, port=443) as sock:
        sock.sendall(tls.hello("example.net"))
        assert tls.alert(ends.receive_exactly(sock, 100)) == tls.ALERT_UNRECOGNIZED_NAME

    ladon.wait_reason("no_route")
    assert ladon.reasons() == {"no_route": 1}


def test_curl_says_which_alert_it_got(net, certs):
    net.ladond(TLS_ROUTES)

    got = ends.curl(net.client, "https://example.net/", ca=certs.ca)

    assert got.code == 35
    assert "unrecognized name" in got.error


def test_http_hosts_and_paths(net):
    ladon = net.ladond(HTTP_DEFAULT)
    serve(net, 80, ends.http)
    asked = [
        ("example.org/", "exact"),
        ("example.org/api", "exact"),
        ("example.org/api/", "other"),
        ("example.org/api/x?y=/api/old/", "other"),
        ("example.org/api/old/x", "exact"),
        ("EXAMPLE.ORG/", "exact"),
        ("www.example.org/api/", "wildcard"),
        ("example.net/", "fallback"),
        ("example.org:80/api/x", "other"),
    ]
    for url, pool in asked:
        got = ends.curl(net.client, f"http://{url}")
        assert (url, got.status, got.headers.get("X-Backend")) == (url, 200, pool), got.error

    assert ladon.reasons() == {}


def test_an_http_host_without_a_route_is_told_so(net):
    ladon = net.ladond(HTTP_ROUTES)

    got = ends.curl(net.client, "http://example.net/")

    assert 400 <= got.status < 500, got
    ladon.wait_reason("no_route")


@pytest.mark.parametrize("first", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
                                   b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\3"],
                         ids=("http2", "ssh", "binary"))
def test_what_has_no_host_goes_to_the_default(net, first):
    net.ladond(HTTP_DEFAULT)
    serve(net, 80, lambda name: lambda s: s.sendall(name.encode() + s.recv(100)))

    with ends.connect(net.client, port=80) as sock:
        sock.sendall(first)
        assert ends.receive_exactly(sock, 8 + len(first)) == b"fallback" + first


def test_tls_and_http_on_one_port(net, certs):
    net.ladond("""
        listeners:
          - listen: "0.0.0.0:8000"
            routes:
              - {tls: example.org, pool: secure}
              - {http: example.org, pool: plain}
        pools:
          - {name: secure, backends: ["10.0.2.2:443"]}
          - {name: plain, backends: ["10.0.2.2:80"]}
    """)
    ends.Server(net.backend, ends.http("secure"), port=443, tls=certs.server())
    ends.Server(net.backend, ends.http("plain"), port=80)

    for scheme, pool in (("https", "secure"), ("http", "plain")):
        got = ends.curl(net.client, f"{scheme}://example.org:8000/", ca=certs.ca)
        assert got.headers["X-Backend"] == pool, got.error


def test_several_listeners_of_both_families(net):
    ladon = net.ladond("""
        listeners:
          - {listen: ["0.0.0.0:8080", "[::]:8081"], pool: four}
          - {listen: "[::]:8080", pool: six}
        pools:
          - {name: four, backends: ["10.0.2.2:1"]}
          - {name: six, backends: ["[fd00:2::2]:1"]}
    """)
    ends.Server(net.backend, say_name("four"), port=1)
    ends.Server(net.backend, say_name("six"), port=1, address="fd00:2::2")

    for address, port, name in ((GATEWAY, 8080, b"four"), (GATEWAY6, 8080, b"six"),
                                (GATEWAY6, 8081, b"four")):
        with ends.connect(net.client, address, port) as sock:
            assert ends.receive_exactly(sock, 100) == name

    assert ladon.connections()["accepted"] == 3


@pytest.mark.parametrize("policy", ["round-robin", "least-flows"])
def test_a_pool_spreads_connections(net, policy):
    """Twelve connections that stay open: four for each of three backends."""
    ladon = net.ladond(f"""
        listeners:
          - {{listen: "0.0.0.0:8080", pool: three}}
        pools:
          - name: three
            policy: {policy}
            backends: ["10.0.2.2:8080", "10.0.2.3:8080", "10.0.2.4:8080"]
    """)
    servers = [ends.Server(net.backend, ends.echo, address=address) for address in BACKENDS]
    socks = [ends.connect(net.client) for _ in range(12)]
    for sock in socks:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

    assert [server.accepted for server in servers] == [4, 4, 4]
    pool, = ladon.ask("pool show")["pools"]
    assert [b["flows"] for b in pool["backends"]] == [4, 4, 4]
    for sock in socks:
        sock.close()


def test_a_backend_by_name_is_looked_up(net):
    net.gateway.hosts("10.0.2.3 web.internal")
    ladon = net.ladond("""
        listeners:
          - {listen: "0.0.0.0:8080", pool: named}
        pools:
          - {name: named, backends: ["web.internal:9000"]}
    """)
    ends.Server(net.backend, say_name("here"), address=BACKENDS[1], port=9000)
    until(lambda: ladon.ask("pool show")["pools"][0]["backends"][0]["addresses"],
          "web.internal is looked up")

    with ends.connect(net.client) as sock:
        assert ends.receive_exactly(sock, 100) == b"here"
