# SPDX-License-Identifier: GPL-2.0-only
"""subjects.py - the gateways that are compared, each set up as its manual would

A subject is started in a fresh network and dies with it. All proxies have the
same number of workers (2), one listening socket per worker, and no logging; to
add one, write a class with start() and put it into SUBJECTS.
"""
import glob
import os
import resource
import shutil
import textwrap

from lib.gateway import BUILD, Ladond
from lib.net import BACKENDS, BACKENDS6, CLIENT, GATEWAY, GATEWAY6, GATEWAY_BACK, join, until

BACKEND = BACKENDS[0]
DIRECT = ("10.0.3.1", "10.0.3.2")  # client and backend, without a gateway between them
PORT = 8080
PORT_LAST = PORT + 19  # of those that are forwarded
RULES_USUAL = 100
# datapath/abi.h
FLOW_KEY_BYTES = 36
LEARNED_MARKS_BYTES, LEARNED_BUCKET_BYTES = 256, 64 + 4096 + 256  # a bucket: tags, entries and marks
FORWARDING = ("forwarded", "setup", "rules", "flows")  # cases for those that forward packets
WORKERS = 2
FDS_MAX = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
PIPES_MAX = 256  # for splicing
CONNECTIONS_MAX = min(20000, (FDS_MAX - 2 * PIPES_MAX - 100) // 2)  # a proxy has two sockets each
PROXY_PORTS = "2000 60999"  # of connections to the backend: as many as ladon has
TLS_NAME = "bench.example"  # what `load -t` asks for


PEERS = [os.path.join(BUILD, "bench/peers/usr", folder) for folder in ("bin", "sbin")]  # make bench-peers


class Unavailable(Exception):
    """The subject cannot be measured on this machine; the text says why."""


class Subject:
    """What all have in common. `address` is where the client connects to, `backend` where the server is,
    `seen` whom it sees.

    way: "tls": the gateway reads a ClientHello and routes by its server name; "socks", "connect": the
    client asks it for the backend; "plain": it knows the backend from the start; None: one of the
    first and the last, as the command line says.

    without: cases that are not for it.
    """

    address = GATEWAY
    backend = BACKEND
    seen = CLIENT
    way = None
    without = FORWARDING

    def __init__(self, net, tls):
        self.net = net
        self.way = self.way or ("tls" if tls else "plain")
        self.tls = self.way == "tls"

    def asked(self):
        """Options of `load` for the way."""
        server = join(self.backend, PORT)
        return {"plain": [], "tls": ["-t"], "socks": ["-s", server], "connect": ["-c", server]}[self.way]

    def start(self):
        """Return when connections are accepted. What it starts, net.close() ends."""

    def flow_bytes(self):
        """Kernel memory per connection that was set aside before there was one."""
        return 0

    def trouble(self):
        """A sentence if what was measured is not what the name says; else None."""
        return None


class Direct(Subject):
    """No gateway at all: what the two ends cost. The zero of all CPU and memory figures."""

    address = DIRECT[1]


class Forward(Subject):
    """The gateway routes: net.ipv4.ip_forward and nothing else. The 1.00 of all ratios."""

    address = BACKEND
    without = ("setup", "rules", "flows")

    def start(self):
        self.net.forward()


class Dnat(Subject):
    """The kernel's own NAT: nftables DNAT, and masquerading as a proxy's address would be."""

    def start(self):
        self.net.forward()
        self.net.gateway.nft(f"""table ip bench {{
            chain prerouting {{
                type nat hook prerouting priority dstnat
                ip daddr {GATEWAY} tcp dport {PORT} dnat to {BACKEND}:{PORT}
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat
                oifname "backend0" masquerade
            }}
        }}""")


class Firewall(Subject):
    """NAT behind a firewall: each packet meets RULES_USUAL rules that are about others, and one that lets it pass."""

    seen = GATEWAY_BACK
    flowtable = established = ""
    without = ("memory", "bulk_gso", "round_trip", "handoff", "bulk_mtu")

    def start(self):
        self.net.forward()
        self.net.gateway.nft(f"""
            table ip nat {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat
                    ip daddr {GATEWAY} meta l4proto {{ tcp, udp }} th dport {PORT}-{PORT_LAST} dnat to {BACKEND}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat
                    oifname "backend0" masquerade
                }}
            }}
            table inet filter {{
                {self.flowtable}
                chain others {{ }}
                chain forward {{
                    type filter hook forward priority filter; policy drop
                    jump others
                    {self.established}
                    ct state established,related accept
                    meta l4proto {{ tcp, udp }} th dport {PORT}-{PORT_LAST} accept
                }}
            }}""")
        self.rules(RULES_USUAL)

    def rules(self, count):
        """So many that each packet meets, and that are about others."""
        others = "".join(f"ip saddr 192.{n >> 16}.{n >> 8 & 255}.{n & 255} udp dport {1 + n % 65535} drop\n"
                         for n in range(count))
        self.net.gateway.nft(f"flush chain inet filter others\ntable inet filter {{ chain others {{\n{others}}}\n}}")

    def make_room(self, flows):
        """For so many at once, that are used now and then."""
        self.net.gateway.sysctl("net.netfilter.nf_conntrack_udp_timeout", 600)
        self.net.gateway.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", 600)

    def short_way(self):
        """Packets that have missed the stack, so far."""
        return 0


class Flowtable(Firewall):
    """The same, and nftables' own fast path, in software."""

    flowtable = "flowtable fast { hook ingress priority 0; devices = { client0, backend0 }; }"
    established = "ct state established meta l4proto { tcp, udp } flow add @fast"

    def start(self):
        try:
            super().start()
        except RuntimeError as error:
            raise Unavailable(f"no flowtable: {error}") from error


class Learned(Firewall):
    """The same, and ladond, which accepts nothing: it learns what is forwarded."""

    accelerate = "yes"
    room = 65536  # flows, if nothing else is said

    def start(self):
        super().start()
        self._accelerate()

    def _accelerate(self):
        try:
            self.daemon = Ladond(self.net, f"accelerate: {self.accelerate}", "--log", "warn")
        except (AssertionError, OSError) as error:
            raise Unavailable(str(error)) from error

    def make_room(self, flows):
        super().make_room(flows)
        self.daemon.stop()
        self.room = flows
        self.accelerate = f"{{packets: 1, flows: {flows}}}"
        self._accelerate()

    def flow_bytes(self):
        """The table is three arrays of buckets, and the daemon keeps a descriptor of the last one only."""
        buckets = next(m["max_entries"] for m in _maps(self.daemon.pid) if m["value_size"] == LEARNED_MARKS_BYTES)
        return round(buckets * LEARNED_BUCKET_BYTES / self.room)

    def short_way(self):
        return self.daemon.reasons("packet").get("learned", 0)

    def trouble(self):
        return None if self.short_way() else f"nothing was learned: {self.daemon.log().strip()}"


class Ladon(Subject):
    """ladond, handing connections off."""

    handoff = True
    kernel_ports = "61000 65535"  # outside of source-ports
    build = BUILD

    def start(self):
        self.net.gateway.sysctl("net.ipv4.ip_local_port_range", self.kernel_ports)
        route = {"tls": f"routes: [{{tls: {TLS_NAME}, pool: web}}]", "plain": "pool: web"}.get(
            self.way, 'routes: [{target: "*", pool: web}]')
        backends = "requested" if self.way in ("socks", "connect") else f'["{join(self.backend, PORT)}"]'
        try:
            self.daemon = Ladond(self.net, f"""
                handoff: {"yes" if self.handoff else "no"}
                source-ports: {PROXY_PORTS.replace(" ", "-")}
                flows: 131072
                listeners:
                  - listen: "{join(self.address, PORT)}"
                    {route}
                pools:
                  - name: web
                    backends: {backends}
                """, "--log", "warn", build=self.build)
        except (AssertionError, OSError) as error:
            raise Unavailable(str(error)) from error

    def flow_bytes(self):
        """Two entries of the flow table, which is allocated when it is made."""
        return 2 * _entry_bytes(self.daemon.pid, FLOW_KEY_BYTES)

    def trouble(self):
        count = self.daemon.connections()
        wrong = "relayed" if self.handoff else "handed_off"
        if not count[wrong]:
            return None
        reasons = ", ".join(self.daemon.reasons())
        return f"{count[wrong]} of {count['accepted']} connections {wrong}: {reasons}"


class Ladon66(Ladon):
    """The same for IPv6."""

    address = GATEWAY6
    backend = BACKENDS6[0]


class Ladon64(Ladon):
    """An IPv6 client and an IPv4 backend."""

    address = GATEWAY6


class Ladon46(Ladon):
    """And the reverse."""

    backend = BACKENDS6[0]


class LadonTls(Ladon):
    """Routed by the name in a ClientHello, whatever the command line says."""

    way = "tls"


class LadonSocks(Ladon):
    """Asked for the backend by SOCKS 5."""

    way = "socks"


class LadonConnect(Ladon):
    """And by CONNECT."""

    way = "connect"


class Relay(Ladon):
    """ladond with the handoff off: the same gateway, copying in user space."""

    handoff = False
    kernel_ports = PROXY_PORTS


class Proxy(Subject):
    """Somebody else's program: a configuration file and a process."""

    def start(self):
        self.net.gateway.sysctl("net.ipv4.ip_local_port_range", PROXY_PORTS)
        program = shutil.which(self.program, path=":".join([os.environ["PATH"], "/usr/sbin", "/sbin", *PEERS]))
        if not program:
            raise Unavailable(f"{self.program} is not installed")
        path = os.path.join(self.net.dir, f"{self.program}.conf")
        with open(path, "w") as file:
            file.write(textwrap.dedent(self.config()).rstrip() + "\n")
        with open(os.path.join(self.net.dir, "log"), "w+") as log:
            process = self.net.gateway.popen(program, *self.argv(path), stderr=log, stdout=log)
        self.net.gateway.closers.append(lambda: _terminate(process))
        until(lambda: process.poll() is not None or self._listens(), f"{self.program} listens")
        if process.poll() is not None:
            with open(os.path.join(self.net.dir, "log")) as log:
                raise Unavailable(f"{self.program} ended: {log.read()}")

    def argv(self, path):
        """Its arguments; path: where config() has been written."""
        return (*self.arguments, path)

    def _listens(self):
        with self.net.gateway.enter(), open("/proc/thread-self/net/tcp") as lines:
            return any(f":{PORT:04X} 00000000:0000 0A" in line for line in lines)


class Haproxy(Proxy):
    program = "haproxy"
    arguments = ("-db", "-f")

    def config(self):
        peek = f"""
            tcp-request inspect-delay 5s
            tcp-request content reject unless {{ req.ssl_hello_type 1 }}
            use_backend web if {{ req.ssl_sni -i {TLS_NAME} }}"""
        return f"""
        global
            nbthread {WORKERS}
            maxconn {CONNECTIONS_MAX}
            maxpipes {PIPES_MAX}
        defaults
            mode tcp
            timeout connect 5s
            timeout client 10m
            timeout server 10m
            option splice-auto
            option tcp-smart-accept
            option tcp-smart-connect
        frontend public
            bind {GATEWAY}:{PORT} shards by-thread backlog 4096
            {peek if self.tls else "default_backend web"}
        backend web
            server backend {BACKEND}:{PORT}
        """


class Nginx(Proxy):
    program = "nginx"
    arguments = ("-e", "stderr", "-c")

    def config(self):
        module = glob.glob("/usr/lib/nginx/modules/ngx_stream_module.so")
        target = f"{BACKEND}:{PORT}"
        return f"""
        {f"load_module {module[0]};" if module else ""}
        daemon off;
        pid {self.net.dir}/nginx.pid;
        error_log stderr warn;
        worker_processes {WORKERS};
        worker_rlimit_nofile {FDS_MAX};
        events {{ worker_connections {2 * CONNECTIONS_MAX}; }}
        stream {{
            map $ssl_preread_server_name $to {{ {TLS_NAME} {target}; }}
            server {{
                listen {GATEWAY}:{PORT} reuseport backlog=4096;
                {"ssl_preread on;" if self.tls else ""}
                proxy_pass {"$to" if self.tls else target};
                proxy_timeout 10m;
            }}
        }}
        """


class HaproxyTls(Haproxy):
    way = "tls"


class NginxTls(Nginx):
    way = "tls"


class Sslh(Proxy):
    """The variant with one process for all; it takes no other number."""

    program = "sslh-select"
    way = "tls"

    def argv(self, path):
        return (f"-F{path}",)

    def config(self):
        return f"""
        foreground: true; inetd: false; numeric: true; timeout: 5;
        listen: ( {{ host: "{GATEWAY}"; port: "{PORT}"; }} );
        protocols: (
            {{ name: "tls"; host: "{BACKEND}"; port: "{PORT}"; sni_hostnames: [ "{TLS_NAME}" ]; log_level: 0; }}
        );
        """


class Sniproxy(Proxy):
    """One process: it takes no other number."""

    program = "sniproxy"
    arguments = ("-f", "-c")
    way = "tls"

    def config(self):
        return f"""
        user root
        pidfile {self.net.dir}/sniproxy.pid
        error_log {{
            filename {self.net.dir}/sniproxy.log
            priority warning
        }}
        listen {GATEWAY}:{PORT} {{
            proto tls
            table names
        }}
        table names {{
            {TLS_NAME} {BACKEND}:{PORT}
        }}
        """


class Microsocks(Proxy):
    """A thread per connection. It writes a line for each, too."""

    program = "microsocks"
    way = "socks"

    def argv(self, path):
        return "-i", GATEWAY, "-p", str(PORT)

    def config(self):
        return ""  # it has no file


class Dante(Proxy):
    program = "danted"
    way = "socks"

    def argv(self, path):
        return "-N", str(WORKERS), "-p", f"{self.net.dir}/danted.pid", "-f", path

    def config(self):
        return f"""
        errorlog: stderr
        internal: {GATEWAY} port = {PORT}
        external: backend0
        clientmethod: none
        socksmethod: none
        user.privileged: root
        user.unprivileged: nobody
        client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
        socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
        """


SUBJECTS = {
    "forward": Forward,
    "dnat": Dnat,
    "firewall": Firewall,
    "flowtable": Flowtable,
    "learned": Learned,
    "ladon": Ladon,
    "relay": Relay,
    "haproxy": Haproxy,
    "nginx": Nginx,
    "ladon66": Ladon66,
    "ladon64": Ladon64,
    "ladon46": Ladon46,
    "ladon-tls": LadonTls,
    "ladon-socks": LadonSocks,
    "ladon-connect": LadonConnect,
    "haproxy-tls": HaproxyTls,
    "nginx-tls": NginxTls,
    "sslh": Sslh,
    "sniproxy": Sniproxy,
    "microsocks": Microsocks,
    "dante": Dante,
}


def ladon_of(build):
    """The subject of another build tree's ladond."""
    return type("LadonBefore", (Ladon,), {"build": os.path.abspath(build)})


def _terminate(process):
    """An orderly end: nginx's workers outlive a master that is killed."""
    process.terminate()
    process.wait(10)


def _entry_bytes(pid, key_bytes):
    """Kernel memory of an entry of the hash table with such keys, if it was set aside; else 0.

    To whole bytes: the table's own head is nobody's.
    """
    for table in _maps(pid):
        if table["map_type"] == 1 and table["key_size"] == key_bytes:
            preallocated = not table["map_flags"] & 1  # BPF_F_NO_PREALLOC
            return round(table["memlock"] / table["max_entries"]) if preallocated else 0
    return 0


def _maps(pid):
    """What a process's /proc/PID/fdinfo says of each BPF map."""
    with os.scandir(f"/proc/{pid}/fdinfo") as infos:
        return [found for info in infos if "map_type" in (found := _map_info(info.path))]


def _map_info(path):
    """What one file below /proc/PID/fdinfo says of a BPF map: {name: number}; {} if it is none."""
    names = ("map_type:", "key_size:", "value_size:", "max_entries:", "map_flags:", "memlock:")
    try:
        with open(path) as lines:
            pairs = [line.split() for line in lines]
    except FileNotFoundError:
        return {}
    return {p[0].rstrip(":"): int(p[1], 0) for p in pairs if p and p[0] in names}
