# SPDX-License-Identifier: GPL-2.0-only
"""Clients that everybody has, all through one port, and each connection is handed off.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4 .5

The port is that of contrib/config/one-port.yaml, with a few sites more. A client that asks for a
name below example.org comes by IPv4, for one below example.net by IPv6; most backends have IPv4.
What is outside, curl --haproxy-protocol and HAProxy behind, is in test_proxied.py.
"""
import base64
import hashlib
import itertools
import json
import os
import shutil
import ssl
import subprocess
import time

import pytest

from conftest import Net
from lib import ends, net as networks, servers, tls
from lib.dns import NameServer
from lib.gateway import ROOT
from lib.net import BACKENDS, BACKENDS6, CLIENT, CLIENT6, GATEWAY, GATEWAY6, until

SIZE = 20 * ends.MB
SCP_SIZE = 100 * ends.MB
GIT_SIZE = 1 * ends.MB  # it takes its time
IDLE_SECONDS = 3  # longer than holds (100 ms), a walk of the table (1 s), and a way out is trusted (2 s)
MAIL = "10.0.2.5"
GIT_PORT = 8000

DOMAINS = ["example.org", "example.net"]
NAMES = [name + domain for domain in DOMAINS for name in ("www.", "ssh.", "git.", "v1.", "v2.")]
INSIDE = {"ssh.internal": BACKENDS[2], "mail.internal": MAIL, "www.internal": BACKENDS[0],
          "red.internal": BACKENDS[0], "blue.internal": BACKENDS6[1]}

# The sites of a browser, and a proxy that says who the client is
ROUTES = """\
      - {tls: red.example.com, pool: red}
      - {tls: blue.example.com, pool: blue}
      - {tls: one.lax.example.com, pool: one-lax}
      - {tls: two.lax.example.com, pool: two-lax}
      - {tls: one.strict.example.com, pool: one-strict}
      - {tls: two.strict.example.com, pool: two-strict}
      - {tls: ["v1.example.org", "v1.example.net"], pool: v1}
      - {tls: ["v2.example.org", "v2.example.net"], pool: v2}
"""
POOLS = """\
  - {name: red, backends: ["10.0.2.2:444"]}
  - {name: blue, backends: ["[fd00:2::3]:444"]}
  - {name: one-lax, backends: ["10.0.2.2:446"]}
  - {name: two-lax, backends: ["10.0.2.3:446"]}
  - {name: one-strict, backends: ["10.0.2.2:447"]}
  - {name: two-strict, backends: ["10.0.2.3:447"]}
  - {name: v1, backends: ["10.0.2.2:445"], send-proxy: v1}
  - {name: v2, backends: ["[fd00:2::2]:445"], send-proxy: v2, proxy-tlvs: [authority, alpn, unique-id]}
"""
domains = pytest.mark.parametrize("domain", DOMAINS)


def by_turns(name, values):
    """Each value with one of the families."""
    return pytest.mark.parametrize(f"{name}, domain", list(zip(values, itertools.cycle(DOMAINS))))


def configuration(log):
    with open(os.path.join(ROOT, "contrib/config/one-port.yaml")) as file:
        text = file.read()
    assert text.count("    routes:\n") == text.count("\npools:\n") == 1
    return text.replace("    routes:\n", "    routes:\n" + ROUTES) + POOLS + f"""
name-servers: [{BACKENDS[0]}]
access-log: {{to: {log}}}
"""


NGINX = """
    ssl_certificate {certs.ca};
    ssl_certificate_key {certs.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_early_data on;
    log_format proxied "$proxy_protocol_addr $proxy_protocol_port $server_port";
    access_log off;
    add_header X-Backend $server_addr;
    root {net.dir}/www;
    server {{
        listen 10.0.2.2:443 ssl http2; listen 10.0.2.3:443 ssl http2;
        listen 10.0.2.2:80; listen 10.0.2.3:80; listen [fd00:2::2]:80;
        location /git/ {{ proxy_pass http://10.0.2.2:8000/; }}
        location /early {{ keepalive_timeout 500ms; return 200 "hello\n"; }}
        location /up/ {{ dav_methods PUT; create_full_put_path on; }}
    }}
    server {{
        listen 10.0.2.2:81 http2;
    }}
    server {{
        listen 10.0.2.2:444 ssl http2;
        ssl_certificate {red.ca};
        ssl_certificate_key {red.key};
        location / {{ root {net.dir}/red; }}
    }}
    server {{
        listen [fd00:2::3]:444 ssl http2;
        ssl_certificate {blue.ca};
        ssl_certificate_key {blue.key};
        add_header X-Backend $server_addr;
        add_header Access-Control-Allow-Origin $http_origin;
        add_header Access-Control-Expose-Headers X-Backend;
        location / {{ root {net.dir}/blue; }}
    }}
    server {{
        listen 10.0.2.2:446 ssl http2; listen 10.0.2.3:446 ssl http2;
        {pair}
    }}
    server {{
        listen 10.0.2.2:447 ssl http2 default_server; listen 10.0.2.3:447 ssl http2 default_server;
        {pair}
        return 421;
    }}
    server {{
        listen 10.0.2.2:447 ssl http2;
        server_name one.strict.example.com;
        {pair}
    }}
    server {{
        listen 10.0.2.3:447 ssl http2;
        server_name two.strict.example.com;
        {pair}
    }}
    server {{
        listen 10.0.2.2:445 ssl http2 proxy_protocol; listen [fd00:2::2]:445 ssl http2 proxy_protocol;
        access_log {net.dir}/proxied.log proxied;
        location / {{
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
        }}
        location /big {{ }}
    }}
"""


# Of two sites with one certificate, each on a backend of its own
PAIR = """
        ssl_certificate {pair.ca};
        ssl_certificate_key {pair.key};
        root {net.dir}/pair;
        add_header X-Backend $server_addr;
        add_header Access-Control-Allow-Origin $http_origin;
        add_header Access-Control-Allow-Credentials true;
        add_header Access-Control-Expose-Headers X-Backend;
"""


def mail(sock):
    """A server that speaks first, as SMTP does, then hears all and says what it was."""
    sock.sendall(b"220 mail\r\n")
    heard = ends.receive(sock)
    sock.sendall(heard.sha256.encode() + b"\n")
    return heard


def file(net, name, data):
    path = os.path.join(net.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)
    return path


def sha256(path):
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


@pytest.fixture(scope="module")
def net(certs):
    """All of it, once for this file, with names that lead to the gateway. In the end, what the access log says of each connection."""
    net = Net()
    try:
        net.backend.ip(f"addr add {MAIL}/24 dev eth0")
        net.client.hosts("\n".join(f"{GATEWAY6 if n.endswith('net') else GATEWAY} {n}" for n in NAMES))
        NameServer(net.backend, BACKENDS[0], ttl=600).names.update({name: [at] for name, at in INSIDE.items()})
        red, blue = (tls.Certificates(os.path.join(net.dir, site), f"{site}.example.com", f"{site}.internal")
                     for site in ("red", "blue"))
        pair = tls.Certificates(os.path.join(net.dir, "pair"), "*.lax.example.com", "*.strict.example.com")
        net.certs, net.sites = certs, (red, blue, pair)
        for name in ("www/big", "red/big", "blue/big"):
            file(net, name, ends.pattern(SIZE, 3))
        file(net, "www/index.html", b"hello\n")
        file(net, "red/index.html", PAGE.encode())
        file(net, "pair/index.html", PAIR_PAGE.encode())
        file(net, ".gitconfig", b"[user]\nname = me\nemail = me@example.org\n")  # else it asks for this host's name
        servers.nginx(net, net.backend, NGINX.format(
            net=net, certs=certs, red=red, blue=blue, pair=PAIR.format(net=net, pair=pair)), (BACKENDS[0], 443))
        servers.GitHttp(net.backend, BACKENDS[0], GIT_PORT, os.path.join(net.dir, "repositories"))
        net.sshd = servers.Sshd(net, net.backend, (BACKENDS[2], 22))
        net.mail = ends.Server(net.backend, mail, address=MAIL, port=25)
        log = os.path.join(net.dir, "access.log")
        net.ladon = net.ladond(configuration(log))
        yield net
        until(lambda: net.ladon.flows() == [], "all flows have ended", 20)
        until(lambda: len(lines(log)) == net.ladon.connections()["handed_off"], "a line for each", 20)
        assert all(line["how"] == "handoff" for line in lines(log))
    finally:
        net.close()


def lines(log, read=json.loads):
    with open(log) as text:
        return [read(line) for line in text]


@pytest.fixture(autouse=True)
def handed_off(net):
    """All connections of a test have been, and at the ends nothing was lost by it."""
    net.forget_trouble()
    before, reasons = net.ladon.connections(), net.ladon.reasons()
    yield

    def since(what):
        return net.ladon.connections()[what] - before[what]

    until(lambda: since("handed_off") >= since("accepted") >= 1,
          f"all are handed off; {net.ladon.connections()} after {before}; {net.ladon.reasons()}")
    assert since("relayed") == since("closed") == 0 and net.ladon.reasons() == reasons
    net.only_repetitions(also={"TcpOutRsts"})  # of who is told a TLS alert when it has closed already


def run(net, *argv, code=0, **kwargs):
    """A client, with names that lead to the gateway. Return: what it says, as text unless text=False."""
    done = net.client.run("ip", "netns", "exec", net.client.name, *argv, **kwargs)
    assert done.returncode == code, (argv, done)
    return done.stdout


# ---- curl ----

HTTP = {"1.1": ["--http1.1"], "2": []}


@domains
@pytest.mark.parametrize("version", HTTP)
def test_curl_by_https(net, domain, version):
    """Up and down, three times over one connection."""
    sent = file(net, "sent", ends.pattern(SIZE, 4))
    base, trust = f"https://www.{domain}:443", ["--cacert", net.certs.ca]
    out = [os.path.join(net.dir, f"got{i}") for i in range(3)]

    said = run(net, "curl", "-sSf", *HTTP[version], "-w", "%{http_version} %{num_connects}\n",
               *trust, "-o", out[0], "-T", sent, f"{base}/up/{domain}{version}",
               "-o", out[1], f"{base}/big", "-o", out[2], f"{base}/")

    assert said.split("\n")[:3] == [f"{version} 1", f"{version} 0", f"{version} 0"]
    assert sha256(out[1]) == ends.expected(SIZE, 3).sha256
    assert sha256(os.path.join(net.dir, f"www/up/{domain}{version}")) == ends.expected(SIZE, 4).sha256
    with open(out[2]) as text:
        assert text.read() == "hello\n"


@domains
def test_curl_by_http(net, domain):
    got = os.path.join(net.dir, "got")
    run(net, "curl", "-sSf", "-o", got, f"http://www.{domain}:443/big")
    assert sha256(got) == ends.expected(SIZE, 3).sha256


@by_turns("proxy", ["socks5h", "socks4a", "http"])
def test_curl_by_proxy(net, domain, proxy):
    """A TLS site behind the exit: the tunnel's handoff leaves the TLS within alone."""
    got = os.path.join(net.dir, "got")
    run(net, "curl", "-sSfk", "-o", got, "--proxy", f"{proxy}://www.{domain}:443", "https://www.internal/big")
    assert sha256(got) == ends.expected(SIZE, 3).sha256


# ---- TLS ----

REQUEST = "GET / HTTP/1.1\r\nHost: www\r\nConnection: close\r\n\r\n"
EARLY = "GET /early HTTP/1.1\r\nHost: www\r\n\r\n"  # nginx would close before the handshake is over, with a reset


@domains
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(net, domain, version):
    """A session that is used again; with TLS 1.3 its first words ride on the hello (RFC 8446 section 2.3)."""
    session = os.path.join(net.dir, "session")
    early = file(net, "early", EARLY.encode())
    connect = ["openssl", "s_client", "-connect", f"www.{domain}:443", "-servername", f"www.{domain}", version,
               "-CAfile", net.certs.ca, "-verify_return_error", "-ign_eof"]

    assert run(net, *connect, "-sess_out", session, input=REQUEST).count("\nhello\n") == 1
    again = ["-early_data", early] if version == "-tls1_3" else []
    said = run(net, *connect, "-sess_in", session, *again, input="" if again else REQUEST)

    assert said.count("\nhello\n") == 1 and "Reused, " in said
    assert not again or "Early data was accepted" in said


@domains
def test_gnutls(net, domain):
    """It connects twice, to resume its session."""
    said = run(net, "gnutls-cli", "--resume", "--x509cafile", net.certs.ca, "-p", "443", f"www.{domain}",
               input=REQUEST)
    assert said.count("\nhello\n") == 1 and "This is a resumed session" in said


@domains
def test_socat_by_tls(net, domain):
    said = run(net, "socat", "-t10", "-", f"OPENSSL:www.{domain}:443,cafile={net.certs.ca}",
               input=REQUEST)
    assert said.endswith("\n\nhello\n")


# ---- bytes as they are ----

@domains
def test_nc_says_nothing_until_the_server_has_spoken(net, domain):
    said = subprocess.PIPE
    nc = net.client.popen("ip", "netns", "exec", net.client.name, "nc", "-N", f"www.{domain}", "443",
                          stdin=subprocess.PIPE, stdout=said)
    assert nc.stdout.readline() == b"220 mail\r\n"
    nc.stdin.write(ends.pattern(SIZE, 5))
    nc.stdin.close()
    assert nc.stdout.read() == ends.expected(SIZE, 5).sha256.encode() + b"\n"
    assert nc.wait(10) == 0
    assert net.mail.result() == ends.expected(SIZE, 5)


BYTES = {
    "nc -X 5": "nc -N -X 5 -x www.{}:443 mail.internal 25",
    "nc -X connect": "nc -N -X connect -x www.{}:443 mail.internal 25",
    "socat SOCKS4A": "socat -t10 - SOCKS4A:www.{}:mail.internal:25,socksport=443",
    "socat PROXY": "socat -t10 - PROXY:www.{}:mail.internal:25,proxyport=443",
    "socat TCP": "socat -t10 - TCP:www.{}:443",
}


@by_turns("how", BYTES)
def test_bytes_there_and_their_hash_back(net, domain, how):
    """The client closes its half first, the backend answers after that."""
    said = b"first words\n" + ends.pattern(SIZE, 6)
    answer = run(net, *BYTES[how].format(domain).split(), input=said, text=False)
    assert answer == b"220 mail\r\n" + hashlib.sha256(said).hexdigest().encode() + b"\n"
    net.mail.result()


# ---- OpenSSH ----

def ssh(net, domain, *argv):
    return ["ip", "netns", "exec", net.client.name, "ssh", "-F", net.sshd.client, "-p", "443", f"ssh.{domain}", *argv]


PROXIES = {
    "SOCKS 5": "nc -X 5 -x www.{}:443 %h %p",
    "CONNECT": "nc -X connect -x www.{}:443 %h %p",
}


@domains
def test_ssh_logs_in(net, domain):
    assert net.client.run(*ssh(net, domain, "echo $SSH_CONNECTION")).stdout.split()[2:] == [BACKENDS[2], "22"]


@by_turns("proxy", PROXIES)
def test_ssh_by_proxy(net, domain, proxy):
    said = run(net, "ssh", "-F", net.sshd.client, "-o", f"ProxyCommand={PROXIES[proxy].format(domain)}",
               "ssh.internal", "cat", input="through two programs\n")
    assert said == "through two programs\n"


@by_turns("way", ["there", "back"])
def test_scp(net, domain, way):
    sent, got = file(net, "sent", ends.pattern(SCP_SIZE, 7)), os.path.join(net.dir, "got")
    ends_of_it = (sent, f"ssh.{domain}:{got}") if way == "there" else (f"ssh.{domain}:{sent}", got)

    run(net, "scp", "-q", "-F", net.sshd.client, "-P", "443", *ends_of_it)

    assert sha256(got) == ends.expected(SCP_SIZE, 7).sha256


@domains
def test_a_session_that_was_idle(net, domain):
    session = net.client.popen(*ssh(net, domain, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for pause, word in (0, b"before\n"), (IDLE_SECONDS, b"after\n"):
        time.sleep(pause)
        session.stdin.write(word)
        session.stdin.flush()
        assert session.stdout.readline() == word
    session.stdin.close()
    assert session.wait(10) == 0


FORWARDS = {
    "to the backend's side": ("-L", f"127.0.0.1:9000:{BACKENDS[0]}:80", "client"),
    "to the client's side": ("-R", f"127.0.0.1:9000:{CLIENT}:9001", "backend"),
}


@by_turns("way", FORWARDS)
def test_ssh_forwards_a_port(net, domain, way):
    option, ports, where = FORWARDS[way]
    server = ends.Server(net.client, ends.http("here", SIZE, 3), address=CLIENT, port=9001)
    session = net.client.popen(*ssh(net, domain, "-o", "ExitOnForwardFailure=yes", option, ports, "echo open; cat"),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert session.stdout.readline() == b"open\n"

    got = ends.curl(getattr(net, where), "http://localhost:9000/big", resolve="127.0.0.1")

    assert got.sha256 == ends.expected(SIZE, 3).sha256
    session.stdin.close()
    assert session.wait(10) == 0
    server.close()


# ---- git ----

URLS = {
    "ssh": "ssh://git.{}:443{}",
    "http": "http://git.{}:443/git/{}",
    "https": "https://git.{}:443/git/{}",
    "http by SOCKS": "http://www.internal/git/{1}",
}


@by_turns("scheme", ["ssh", *URLS])
def test_git(net, domain, scheme):
    """Cloned, changed, pushed, and cloned again.

    Not by HTTP/2: with Debian 12's libcurl one in five pushes arrives damaged, without ladon, too.
    """
    name = f"{scheme}-{domain}.git".replace(" ", "-")
    bare = os.path.join(net.dir, "repositories", name)
    url = URLS[scheme].format(domain, bare if scheme == "ssh" else name)
    first, second = (os.path.join(net.dir, f"{name}-{i}") for i in (1, 2))

    def git(*argv, at=None):
        how = ["-c", "http.version=HTTP/1.1"]
        if scheme == "http by SOCKS":
            how += ["-c", f"http.proxy=socks5h://www.{domain}:443"]
        return run(net, "git", *how, *argv, cwd=at, env={
            **os.environ, "HOME": net.dir, "GIT_CONFIG_NOSYSTEM": "1", "GIT_SSL_CAINFO": net.certs.ca,
            "GIT_SSH_COMMAND": f"ssh -F {net.sshd.client}"})

    git("init", "-q", "--bare", "-b", "main", bare)
    git("config", "http.receivepack", "true", at=bare)
    git("clone", "-q", url, first)
    file(net, f"{name}-1/data", ends.pattern(GIT_SIZE, 8))
    git("add", "data", at=first)
    git("commit", "-q", "-m", "data", at=first)
    git("push", "-q", "origin", "HEAD:main", at=first)
    git("clone", "-q", url, second)

    assert sha256(os.path.join(second, "data")) == ends.expected(GIT_SIZE, 8).sha256
    for path in (bare, first, second):
        shutil.rmtree(path)


# ---- who the client is ----

@domains
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_hears_who_the_client_is(net, domain, version):
    """It takes no connection without the header, and logs what it says."""
    got, log = os.path.join(net.dir, "got"), os.path.join(net.dir, "proxied.log")
    logged = len(lines(log, str.split))
    client, gateway = (CLIENT6, GATEWAY6) if domain == "example.net" else (CLIENT, GATEWAY)
    backend = BACKENDS[0] if version == "v1" else f"[{BACKENDS6[0]}]"

    said = run(net, "curl", "-sSf", "--cacert", net.certs.ca, "-w", " %{local_port}", f"https://{version}.{domain}/",
               "-o", "-", f"https://{version}.{domain}/big", "-o", got)

    address, port, *rest = said.split()
    assert [address, *rest[:2]] == [client, gateway, "443"] and port == rest[2]
    assert sha256(got) == ends.expected(SIZE, 3).sha256
    assert until(lambda: lines(log, str.split)[logged + 1:], "two lines of nginx's") == [[client, port, "445"]]
    assert net.gateway.run("curl", "-sk", f"https://{backend}:445/").returncode


# ---- a browser ----

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
needs_browser = pytest.mark.skipif(not BROWSER, reason="no browser: chromium-headless-shell is not installed")
PAGE = """
<p id=red></p><p id=blue></p>
<script>
async function show(site) {
    const answer = await fetch(location.origin.replace("red", site) + "/big");
    const hash = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
    const digits = Array.from(new Uint8Array(hash), byte => byte.toString(16).padStart(2, "0"));
    document.getElementById(site).textContent = `${answer.headers.get("X-Backend")} ${digits.join("")}`;
}
Promise.all([show("red"), show("blue")]).catch(error => document.body.append(error));
</script>
"""
# Without credentials a request does not share a connection with one that has them.
PAIR_PAGE = """
<p id=two></p>
<script>
fetch(location.origin.replace("one", "two") + "/index.html", {credentials: "include"})
    .then(answer => document.getElementById("two").textContent = `${answer.status} ${answer.headers.get("X-Backend")}`)
    .catch(error => document.body.append(error));
</script>
"""
BROWSES = {
    "by itself": ("https://red.example.com", f"--host-resolver-rules=MAP *.example.com [{GATEWAY6}]"),
    "by SOCKS": ("https://red.internal:444", "--proxy-server=socks5://www.example.org:443"),
    "by CONNECT": ("https://red.internal:444", "--proxy-server=http://www.example.org:443"),
}


def public_key(certificate):
    """What a browser may be told to trust: the hash of the key, in base 64."""
    pem = networks.run("openssl", "x509", "-in", certificate, "-pubkey", "-noout")
    return base64.b64encode(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.replace("PUBLIC KEY", "CERTIFICATE"))).digest()).decode()


def browse(net, tmp_path, way, url):
    """The page as it is when it has done what it wanted."""
    keys = ",".join(public_key(site.ca) for site in net.sites)
    return run(net, BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", way,
               f"--ignore-certificate-errors-spki-list={keys}", "--virtual-time-budget=30000", "--dump-dom", url)


@needs_browser
@pytest.mark.parametrize("how", BROWSES)
def test_a_browser_visits_two_sites(net, tmp_path, how):
    """A page of one takes what is large from both. Each has a key and a backend of its own."""
    url, way = BROWSES[how]

    page = browse(net, tmp_path, way, url)

    sha = ends.expected(SIZE, 3).sha256
    assert f"<p id=\"red\">{BACKENDS[0]} {sha}</p><p id=\"blue\">{BACKENDS6[1]} {sha}</p>" in page


@needs_browser
@pytest.mark.parametrize("backends, gateway, who", [("lax", GATEWAY, BACKENDS[0]), ("strict", f"[{GATEWAY6}]", BACKENDS[1])])
def test_a_browser_uses_one_connection_for_two_names_of_a_certificate(net, tmp_path, backends, gateway, who):
    """RFC 9113 section 9.1.1: it asks for the second one where the first one is, and elsewhere if that says 421. TROUBLESHOOTING.md has it."""
    before = net.ladon.connections()["accepted"]

    page = browse(net, tmp_path, f"--host-resolver-rules=MAP *.example.com {gateway}", f"https://one.{backends}.example.com")

    assert f"<p id=\"two\">200 {who}</p>" in page
    assert net.ladon.connections()["accepted"] - before == (1 if who == BACKENDS[0] else 2)
