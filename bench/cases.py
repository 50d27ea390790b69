# SPDX-License-Identifier: GPL-2.0-only
"""cases.py - what is measured: one subject at a time, in a network of its own

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
       '------------------- 10.0.3.0/24 -----------------'
         .1                (subject "direct")           .2

A case is a function of a Turn; it returns {figure: value}. bench/README.md says
exactly what each figure is.
"""
import contextlib
import json
import os
import re
import statistics
import subprocess
import time

from lib.gateway import BUILD, ROOT, Ladond
from lib.net import Net, is_ipv6, join, run

from flood import Flood, asked, both_ways, settle, taken, tracked
from subjects import BACKEND, CONNECTIONS_MAX, DIRECT, PORT

LOAD = os.path.join(BUILD, "bench/load")
TEST_RUN = os.path.join(BUILD, "prog/tc")
CHOICES = os.path.join(BUILD, "bench/pool")
PEEKS = os.path.join(BUILD, "bench/peek")
FIRST_BYTES = os.path.join(ROOT, "tests/fuzz/corpus/peek")
PEEKED = ("tls13", "tls-pq", "http-get", "socks5", "connect", "prefix-ip4")
RELOAD_ROUTES = 10000
BULK_CONNECTIONS = 4
PARALLEL = 256  # connections being made at once; see bench/README.md
IDLE_CONNECTIONS = min(10000, CONNECTIONS_MAX)
TURN_SECONDS = 120  # no turn takes longer: the server's limit
MTU = 1500
NEW_FLOWS = 20000
RULES = (0, 100, 10000)
ROUTES = 10000
FLOWS = (1000, 100000, 1000000)
FLOWS_ROOM = 1 << 20  # a power of two, as the table's hash has
SEGMENTATION_OFF = {"tso": False, "gso": False, "gro": False}
GB = 1e9
KERNEL_MEMORY = ("Slab", "KernelStack", "Percpu", "VmallocUsed")


class Turn:
    """One subject, started in a fresh network with a server behind it; a context manager."""

    def __init__(self, subject, *, seconds, tls):
        self.subject_class = subject
        self.seconds = seconds
        self.tls = tls

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self.net = Net()
            self.net.daemons = []
            undo.callback(self.net.close)
            self._prepare()
            self.subject = self.subject_class(self.net, self.tls)
            self.server = self._serve()
            self.subject.start()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self._undo.close()

    def _prepare(self):
        """The link past the gateway, and room for many connections a second."""
        net = self.net
        net.client.ip(f"link add direct type veth peer name direct netns {net.backend.name}",
                      "link set direct up", f"addr add {DIRECT[0]}/24 dev direct")
        net.backend.ip("link set direct up", f"addr add {DIRECT[1]}/24 dev direct")
        net.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        for space in net.spaces:
            space.sysctl("net.ipv4.tcp_tw_reuse", 1)
            space.sysctl("net.core.somaxconn", 4096)
            space.sysctl("net.ipv4.tcp_max_syn_backlog", 4096)
        self.steer(False)

    def _serve(self):
        anywhere = join("::" if is_ipv6(self.subject.backend) else "0.0.0.0", PORT)
        server = self.net.backend.popen(LOAD, "serve", anywhere, str(TURN_SECONDS),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        server.stdout.readline()
        return server

    def _argv(self, what, seconds, n):
        return [LOAD, what, *self.subject.asked(), "-n", str(n),
                join(self.subject.address, PORT), str(seconds)]

    def load(self, what, *, n=1, cpu=None):
        """Run a client, on that CPU if one is given, and return what it printed."""
        done = self.net.client.run(*self._argv(what, self.seconds, n), timeout=self.seconds + 10,
                                   preexec_fn=None if cpu is None else lambda: pin(0, cpu))
        if done.returncode:
            raise RuntimeError(f"load {what}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def held(self, n):
        """n connections that have said something once and are quiet now."""
        client = self.net.client.popen(*self._argv("hold", TURN_SECONDS, n),
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        outcome = json.loads(client.stdout.readline() or "{}")
        if outcome != {"connections": n, "errors": 0}:
            raise RuntimeError(f"{n} idle connections: {outcome}")
        yield
        client.stdin.close()
        client.wait(10)

    def steer(self, on):
        """RPS: all packets of a flow are received on one CPU, as a NIC's queues see to it.

        Without it a veth's packets are received where they are sent, and a sender that
        changes CPU overtakes itself.
        """
        cpus = (1 << os.cpu_count()) - 1 if on else 0
        for space in self.net.spaces:
            run("ip", "netns", "exec", space.name, "sh", "-c",
                f"for q in /sys/class/net/*/queues/rx-*/rps_cpus; do echo {cpus:x} > $q; done")

    def segment_to_mtu(self):
        """No packet on any link is larger than its MTU from now on."""
        self.net.offload(**SEGMENTATION_OFF)
        self.net.client.offload("direct", **SEGMENTATION_OFF)
        self.net.backend.offload("direct", **SEGMENTATION_OFF)


def pin(pid, cpu):
    os.sched_setaffinity(pid, {cpu})


# ---- the cases ----

def bulk_gso(turn):
    """Download, offloads as they are."""
    return {"bulk_gso": _gbits(_bulk(turn))}


def bulk_mtu(turn):
    """Download in MTU-sized packets, which stay so (it comes last), and what a gigabyte costs."""
    turn.segment_to_mtu()
    got = _bulk(turn)
    return {"bulk_mtu": _gbits(got), "busy_per_gb": got["busy_s"] / (got["bytes"] / GB)}


def _bulk(turn):
    turn.steer(True)
    got = turn.load("bulk", n=BULK_CONNECTIONS)
    turn.steer(False)
    return got


def _gbits(got):
    return got["bytes"] * 8 / got["seconds"] / 1e9


def round_trip(turn):
    """One byte there and back: both ends on one CPU, and on two."""
    cpus = sorted(os.sched_getaffinity(0))
    out = {}
    for n in (1, 2) if len(cpus) > 1 else (1,):
        pin(turn.server.pid, cpus[0])
        got = turn.load("ping", cpu=cpus[n - 1])
        if not got["round_trips"]:
            raise RuntimeError("no round trip in time")
        out |= {f"rtt_p50/{n}": got["p50_us"], f"rtt_p99/{n}": got["p99_us"]}
    os.sched_setaffinity(turn.server.pid, cpus)
    return out


def connections(turn):
    """Connect, 64 bytes there and back, close; as many as go, and what one costs."""
    got = turn.load("connect", n=PARALLEL)
    if not got["connections"]:
        raise RuntimeError(f"none of {got['errors']} connections worked")
    return {"connections": got["connections"] / got["seconds"],
            "errors": got["errors"] and f"{got['errors']} connections failed, the first by {got['trouble']}",
            "busy_per_connection": got["busy_s"] * 1e6 / got["connections"]}


def forwarded(turn):
    """What the gateway costs per packet that it forwards: small datagrams, and segments that are full."""
    net = turn.net
    settle(turn)
    with Flood(turn, "tcp", size=MTU) as flood, taken((net.backend, "eth0"), (net.backend, "direct")):
        tcp = flood.measure(turn.seconds)
    with asked(turn, 1) as flood:
        udp = flood.measure(turn.seconds)
    return {"forwarded_udp": udp, "forwarded_tcp": tcp}


def setup(turn):
    """The cost of a UDP flow's first question and first answer."""
    settle(turn)
    with both_ways(turn, NEW_FLOWS) as (questions, answers):
        return {"setup_udp": questions.each() + answers.each()}


def rules(turn):
    """The cost of a small datagram with so many rules, and routes, that are about others."""
    net, seconds = turn.net, turn.seconds / 2
    settle(turn)
    costs = {}
    with asked(turn, 1) as flood:
        for count in RULES:
            turn.subject.rules(count)
            costs[f"rules_{count}"] = flood.measure(seconds)
        turn.subject.rules(0)
        net.gateway.ip(*(f"route add 172.16.{n >> 8}.{n & 255} via {BACKEND}" for n in range(ROUTES)))
        costs[f"routes_{ROUTES}"] = flood.measure(seconds)
    return costs


def flows(turn):
    """The cost of a small datagram of one of so many flows, at random, and the memory that each of them takes."""
    settle(turn)
    costs = {}
    with tracked(2 * FLOWS_ROOM):
        turn.subject.make_room(FLOWS_ROOM)
        for count in FLOWS:
            with asked(turn, count, times=2) as flood:
                before = turn.subject.short_way()
                costs[f"flows_{count}"] = flood.measure(turn.seconds)
                costs[f"short_{count}"] = 100 * (turn.subject.short_way() - before) / flood.sent
    taken = turn.subject.flow_bytes()
    return costs | ({"flow_memory": taken} if taken else {})


def memory(turn):
    """What as many quiet connections as may be take: the subject's processes and the kernel."""
    before = _memory_settled(turn)
    with turn.held(IDLE_CONNECTIONS):
        used = _memory_settled(turn) - before
    return {"memory": used / IDLE_CONNECTIONS + turn.subject.flow_bytes()}


def handoff(turn):
    """How long the handoffs of this turn took, if the subject makes any."""
    daemon = getattr(turn.subject, "daemon", None)
    took = daemon.stats()["handoff"] if daemon else {"count": 0}
    if not took["count"]:
        return {}
    return {"handoff_p50": took["p50_ns"] / 1e3, "histogram": took["histogram"]}


def translate():
    """ns per packet of the tc program in a test run, less what the run of an empty program costs.

    As its test prints them; None if it cannot.
    """
    try:
        done = subprocess.run([TEST_RUN], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    costs = [re.search(rf"cost: {name} +(\d+) ns per packet", done.stdout + done.stderr)
             for name in ("IPv4, hit, timestamps", "none, an empty program")]
    return float(costs[0][1]) - float(costs[1][1]) if all(costs) else None


def parts():
    """ns for parts of what ladond does for a connection, {figure: value}; None if that cannot be told."""
    try:
        peeks = subprocess.run([PEEKS, *(os.path.join(FIRST_BYTES, name) for name in PEEKED)],
                               capture_output=True, text=True, timeout=60)
        choices = subprocess.run([CHOICES], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    costs = (re.findall(r"^(\S+) (\d+) ns$", peeks.stdout, re.MULTILINE)
             + [(f"choice_{policy}", ns) for policy, ns in re.findall(r"^(\S+) (\d+) ns$", choices.stdout, re.MULTILINE)])
    return {name.replace("-", "_"): float(ns) for name, ns in costs} or None


def reload_ms():
    """Of a file with RELOAD_ROUTES routes, changed, by a ladond that runs: ladon(8) and all."""
    def config(version):
        rules = "".join(f"      - {{tls: '{'*.' if i % 10 == 0 else ''}site{i}.example.org', pool: p{i % 100}}}\n"
                        for i in range(RELOAD_ROUTES - 1))
        pools = "".join(f"  - {{name: p{i}, backends: ['127.0.0.1:{20000 + i}']}}\n" for i in range(100))
        return ("handoff: no\nlisteners:\n  - listen: '127.0.0.1:443'\n    routes:\n" + rules
                + f"      - {{tls: version{version}.example.org, pool: p0}}\npools:\n" + pools)

    net = Net()
    net.daemons = []
    try:
        daemon = Ladond(net, config(0), "--log", "warn")
        took = []
        for version in range(1, 6):
            daemon.write(config(version))
            began = time.monotonic()
            if daemon.command("reload").returncode:
                return None
            took.append((time.monotonic() - began) * 1000)
        return statistics.median(took)
    finally:
        net.close()


def _memory_used(turn):
    """Bytes: of the processes in the gateway's namespace, and of the machine's kernel objects."""
    kib = _kib("/proc/meminfo")
    used = sum(kib[name] for name in KERNEL_MEMORY)
    for pid in run("ip", "netns", "pids", turn.net.gateway.name).split():
        used += _kib(f"/proc/{pid}/status").get("RssAnon", 0)
    return 1024 * used


def _kib(path):
    """{name: KiB} of a file of lines like "Slab: 123 kB"; empty if its process is gone."""
    try:
        with open(path) as lines:
            words = [line.split() for line in lines]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {w[0].rstrip(":"): int(w[1]) for w in words if w[2:] == ["kB"]}


def _memory_settled(turn):
    """The same, once it stands still for a second: much is freed a moment after its end.

    Network namespaces by a worker of the kernel, sockets after a grace period, and what is
    freed in batches (kfree_rcu) up to five seconds later.
    """
    seen = [_memory_used(turn)]
    for _ in range(80):
        time.sleep(0.1)
        seen = [*seen[-10:], _memory_used(turn)]
        if len(seen) > 10 and max(seen) - min(seen) < 256 << 10:
            break
    return seen[-1]
