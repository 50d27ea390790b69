# SPDX-License-Identifier: GPL-2.0-only
"""What runs out pauses what needs it, is said once, lets live flows alone, and is used again when it is there.

Descriptors, memory, source ports; and what else connect(2) may say, at once or later.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9 .10              .2
"""
import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
import termios
import time

import pytest

from lib import ends
from lib.gateway import FAMILIES, one_pool
from lib.net import BACKENDS, until
from lib.strace import Strace

ONE_POOL = FAMILIES[0][2]
TWO_WAYS = """
listeners:
  - {listen: "0.0.0.0:8080", pool: only}
  - {listen: "0.0.0.0:8081", pool: only, handoff: no}
pools:
  - {name: only, backends: ["10.0.2.2:8080"]}
"""
PATIENT = "timeouts: {connect: 30s}\n"
BEGUN = "nobody is accepted until there is more"
OVER = "there is enough again"

SOURCES = ("10.0.2.9", "10.0.2.10")
PORTS = range(20000, 20004)
FOUR_PORTS = f"source-ports: {PORTS[0]}-{PORTS[-1]}\n"


def visit(net):
    """A connection that has been answered once, and stays."""
    sock = ends.connect(net.client)
    chat(sock)
    return sock


def chat(sock):
    sock.sendall(b"word")
    assert ends.receive_exactly(sock, 4) == b"word"


def recording_backend(net, talk=ends.echo):
    """A server. Return: the list of (source address, port) that it goes on to fill."""
    peers = []

    def record(sock):
        peers.append(sock.getpeername())
        talk(sock)

    ends.Server(net.backend, record)
    return peers


def occupy(net, port):
    """A connection of the gateway's own from this port to the backend, as a former daemon may leave one."""
    sock = net.gateway.socket(BACKENDS[0])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((SOURCES[0], port))
    sock.connect((BACKENDS[0], 8080))
    return sock


def test_a_port_in_use_towards_the_backend_means_the_next_one(net):
    """bind(2) allows it, only connect(2) sees that the port is taken."""
    peers = recording_backend(net)
    taken = [occupy(net, port) for port in PORTS[:3]]
    until(lambda: len(peers) == 3, "the backend has accepted them")
    ladon = net.ladond(ONE_POOL + FOUR_PORTS)

    with visit(net) as sock:
        ladon.wait_handed_off()
        chat(sock)
        assert peers[3:] == [(SOURCES[0], PORTS[3])]
        assert ladon.reasons() == {}
    for sock in taken:
        chat(sock)
        sock.close()
    assert net.trouble() == {}


def test_all_ports_in_use_towards_the_backend_mean_relay(net):
    peers = recording_backend(net)
    taken = [occupy(net, port) for port in PORTS]
    until(lambda: len(peers) == 4, "the backend has accepted them")
    ladon = net.ladond(ONE_POOL + FOUR_PORTS)

    with visit(net) as sock:
        chat(sock)
        assert peers[4][1] not in PORTS
        assert ladon.reasons() == {"no_port": 1}
    for sock in taken:
        chat(sock)
        sock.close()


def ask_and_end(sock):
    """A backend that says a word back, and goes when it hears nothing more. Its port is the one in TIME_WAIT."""
    while data := sock.recv(4):
        if data == b"quit":
            return
        sock.sendall(data)


def test_the_next_source_address_then_relay_then_refused_and_all_recovers(net):
    """Two addresses with four ports each for flows, and of the kernel two for each."""
    net.gateway.ip(f"addr add {SOURCES[1]}/24 dev backend0")
    net.gateway.sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    peers = recording_backend(net, ask_and_end)
    ladon = net.ladond(ONE_POOL + FOUR_PORTS + f"sources: [{', '.join(SOURCES)}]\n")

    flows = [visit(net) for _ in range(8)]
    ladon.wait_handed_off(8)
    assert peers == [(source, port) for source in SOURCES for port in PORTS]
    assert ladon.reasons() == {}

    relayed = [visit(net) for _ in range(4)]
    assert ladon.reasons() == {"no_port": 4}
    assert {source for source, _ in peers[8:]} == set(SOURCES)
    assert {port for _, port in peers[8:]} == {40000, 40001}
    assert net.trouble() == {}

    for _ in range(3):
        is_turned_away(net)
    assert ladon.reasons() == {"no_port": 4, "no_local_port": 3}
    assert ladon.ask("pool show")["pools"][0]["backends"][0]["failed"] == 0
    for sock in (*flows, *relayed):
        chat(sock)
    # The gateway's ACK of "word" and its FIN may leave on two CPUs, and change places.
    assert net.trouble() in ({}, {"c": {"TcpOutRsts": 1}})

    end(relayed.pop())
    until(lambda: ladon.connections()["open"] == 3, "a relayed connection has ended")
    relayed.append(visit(net))
    assert ladon.reasons() == {"no_port": 5, "no_local_port": 3}
    for sock in (*flows, *relayed):
        end(sock)
    until(lambda: not ladon.flows(), "all flows have ended")

    def handed_off_again():
        end(visit(net))
        return ladon.connections()["handed_off"] > 8

    until(handed_off_again, "a port has rested", 20)
    assert peers[-1][1] in PORTS


def is_turned_away(net):
    with ends.connect(net.client) as sock:
        sock.sendall(b"word")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""


def end(sock):
    """... by the backend."""
    with sock:
        sock.sendall(b"quit")
        assert sock.recv(1) == b""


def test_a_flow_that_the_daemon_adopted_gives_its_port_back_once(net):
    """It ends before the range has been used so far; then its port rests, and serves one connection."""
    peers = recording_backend(net, ask_and_end)
    first = net.ladond(ONE_POOL + FOUR_PORTS)
    adopted = visit(net)
    first.wait_handed_off()
    first.kill9()
    ladon = net.ladond(ONE_POOL + FOUR_PORTS)

    end(adopted)
    until(lambda: not ladon.flows(), "the flow has ended")
    ladon.wait_still(lambda: ladon.stats()["flows"]["live"])
    socks = []

    def handed_off_with_all_four():
        socks.append(visit(net))
        return ladon.connections()["handed_off"] == 4

    until(handed_off_with_all_four, "four ports are used", 20)
    socks.append(visit(net))
    live = [flow["source"] for flow in ladon.flows()]
    assert len(live) == len(set(live)) == 4
    assert peers[-1][1] not in PORTS
    for sock in socks:
        chat(sock)


# ---- descriptors ----


def visit_at(net, port):
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(ends.connect(net.client, port=port))
        chat(sock)
        stack.pop_all()
    return sock


class Live:
    """A handed-off and a relayed connection, which are to live on."""

    def __init__(self, net, ladon):
        self.socks = [visit_at(net, 8080), visit_at(net, 8081)]
        ladon.wait_handed_off()

    def talk(self, seed):
        for sock in self.socks:
            assert ends.swap(sock, 200_000, seed) == ends.expected(200_000, seed)


class Limit:
    """Of open files: as many more as are said, from the lowest one that is free."""

    def __init__(self, ladon, more):
        self.pid = ladon.pid
        self.before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        used = ladon.wait_still(lambda: {int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")})
        free = [fd for fd in range(len(used) + more + 1) if fd not in used]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (free[more], self.before[1]))

    def lift(self):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before)


def said(ladon, *words):
    """How often each was."""
    return [ladon.log().count(word) for word in words]


def wakings(ladon):
    """How often its threads have gone to sleep."""
    total = 0
    for task in os.listdir(f"/proc/{ladon.pid}/task"):
        with open(f"/proc/{ladon.pid}/task/{task}/status") as file:
            total += int(file.read().split("voluntary_ctxt_switches:")[1].split()[0])
    return total


def speak(net, port=8080):
    """A client that says a word and does not wait."""
    sock = ends.connect(net.client, port=port)
    sock.sendall(b"word")
    return sock


def hears(net, port):
    """Does a client that speaks hear something, or is it turned away?"""
    try:
        with speak(net, port) as sock:
            return ends.receive_exactly(sock, 4) == b"word"
    except (ConnectionResetError, BrokenPipeError):
        return False


def is_answered(sock):
    with sock:
        assert ends.receive_exactly(sock, 4) == b"word"
        chat(sock)


def test_without_descriptors_clients_wait_and_live_connections_go_on(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + PATIENT)
    live = Live(net, ladon)
    limit = Limit(ladon, 0)

    waiting = [speak(net, port) for port in (8080, 8081) for _ in range(5)]
    until(lambda: said(ladon, BEGUN) == [1], "it is said")
    begin, before, cpu = time.monotonic(), wakings(ladon), ladon.cpu_seconds()
    for seed in range(3):
        live.talk(seed)
    seconds = time.monotonic() - begin
    print(f"{wakings(ladon) - before} wakings, {ladon.cpu_seconds() - cpu:.2f} s in {seconds:.2f} s")

    stats = ladon.stats()  # there is always a descriptor for ladon(8)
    assert stats["shortage"] == {"now": True, "count": 1}
    assert stats["connections"]["accepted"] <= 3  # a worker may have been faster than ladon(8) at its descriptor
    ladon.wait_said("Too many open files")
    assert ladon.command("stats").returncode == 0
    limit.lift()

    for sock in waiting:
        is_answered(sock)
    live.talk(4)
    until(lambda: said(ladon, BEGUN, OVER) == [1, 1], "it is said that it is over")
    assert ladon.stats()["shortage"] == {"now": False, "count": 1}
    ladon.wait_said(" 0 clients were turned away")
    assert ladon.reasons() == {"handoff_off": 6}
    assert ladon.connections()["closed"] == 0
    assert net.gateway.counter("TcpOutRsts") == 0  # those who waited have repeated what they said
    is_answered(speak(net))


def test_a_pause_costs_next_to_nothing(net):
    """Ten looks a second for each of the two workers, whatever waits."""
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS)
    limit = Limit(ladon, 0)
    waiting = [speak(net, port) for port in (8080, 8081) for _ in range(50)]
    until(lambda: said(ladon, BEGUN) == [1], "it is said")

    begin, before = time.monotonic(), wakings(ladon)
    time.sleep(1)  # the one thing that cannot be waited for is that nothing happens
    seconds = time.monotonic() - begin
    assert wakings(ladon) - before < 60 * seconds  # 20, and main's own ticks
    limit.lift()
    for sock in waiting:
        is_answered(sock)


def test_a_client_that_was_accepted_waits_for_a_socket_to_the_backend(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + PATIENT)
    live = Live(net, ladon)
    limit = Limit(ladon, 1)

    first = speak(net)
    until(lambda: said(ladon, BEGUN) == [1], "it is said")
    until(lambda: ends.unacknowledged(first) == 0, "it is not kept waiting unacknowledged")
    others = [speak(net) for _ in range(8)]  # for both workers
    live.talk(1)
    assert ladon.connections()["accepted"] == 3
    limit.lift()

    for sock in (first, *others):
        is_answered(sock)
    live.talk(2)
    until(lambda: said(ladon, BEGUN, OVER) == [1, 1], "it is said that it is over")
    assert ladon.reasons().keys() <= {"handoff_off", "slow_connect", "acked", "busy"}
    assert ladon.connections()["closed"] == 0


def test_a_client_for_whom_there_is_no_socket_in_time_is_turned_away(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + "timeouts: {connect: 1500ms}\n")  # there must be time to speak, or its end is a FIN
    limit = Limit(ladon, 1)

    with speak(net) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    ladon.wait_reason("no_descriptor")
    limit.lift()

    is_answered(speak(net))
    until(lambda: said(ladon, BEGUN, OVER) == [1, 1], "it is said that it is over")
    ladon.wait_said(" 1 clients were turned away")
    assert ladon.reasons() == {"no_descriptor": 1}
    assert ladon.ask("pool show")["pools"][0]["backends"][0]["failed"] == 0


def test_clients_that_go_while_they_wait_leave_nothing(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + PATIENT)
    limit = Limit(ladon, 3)  # as many as wait for a socket at last
    waiting = [speak(net) for _ in range(8)]
    until(lambda: said(ladon, BEGUN) == [1], "it is said")
    for sock in waiting:
        ends.reset(sock)
    limit.lift()

    is_answered(speak(net))
    until(lambda: ladon.connections()["open"] == 0, "none is open")
    ladon.wait_gone()


# ---- what the kernel may refuse ----


def has_met(ladon):
    return said(ladon, BEGUN) == [1]


@pytest.mark.parametrize("call, error, words", [
    ("accept4", "ENFILE", "accept: Too many open files in system;"),
    ("accept4", "ENOBUFS", "accept: No buffer space available;"),
    ("socket", "EMFILE", "connect: Too many open files;"),
    ("socket", "ENOMEM", "connect: Cannot allocate memory;"),
    ("connect", "ENOBUFS", "connect: No buffer space available;"),
    ("connect", "EAGAIN", "connect: "),
])
def test_a_call_that_fails_for_want_of_something_is_made_again(net, call, error, words):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + PATIENT)
    live = Live(net, ladon)

    with Strace(ladon, f"{call}:error={error}:when=1..10"):
        waiting = [speak(net, port) for port in (8080, 8081) for _ in range(5)]
        until(lambda: has_met(ladon), "it is said")
        live.talk(1)
        for sock in waiting:
            is_answered(sock)
    until(lambda: said(ladon, BEGUN, OVER) == [1, 1], "it is said that it is over")
    ladon.wait_said(words)
    assert ladon.connections()["closed"] == 0
    assert ladon.ask("pool show")["pools"][0]["backends"][0]["failed"] == 0


def test_a_client_s_own_error_does_not_stop_others(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS)
    with Strace(ladon, "accept4:error=ECONNABORTED:when=1..3"):
        is_answered(speak(net))
    assert said(ladon, BEGUN) == [0]


def test_an_error_of_accept_that_stays_is_no_reason_to_spin(net):
    """As what a security module refuses: the client stays in the queue."""
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS)
    begin = time.monotonic()
    with Strace(ladon, "accept4:error=EPERM:when=1..10"):
        is_answered(speak(net))
    assert has_met(ladon) and time.monotonic() - begin > 0.5  # ten a second


def test_a_client_that_epoll_has_no_room_for_is_turned_away(net):
    """A first one: after that nobody is accepted until there is room."""
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS)
    with Strace(ladon, "epoll_ctl:error=ENOSPC:when=1"):  # who meets whose first one is up to the kernel
        turned_away = sum(not hears(net, 8081) for _ in range(32))
    assert turned_away in (1, 2)
    until(lambda: said(ladon, "epoll: No space left on device;", OVER) in ([1, 1], [2, 2]),
          "it is said, and that it is over")
    assert ladon.reasons() == {"no_memory": turned_away, "handoff_off": 32 - turned_away}


def test_as_long_as_one_connection_waits_no_worker_accepts_another(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + PATIENT)

    with Strace(ladon, "socket:error=ENOBUFS:when=1..10") as strace:
        first = speak(net)
        until(lambda: has_met(ladon), "it is said")
        others = [speak(net) for _ in range(16)]
        for sock in (first, *others):
            is_answered(sock)
        calls = strace.results()
    begin = calls.index(("socket", "ENOBUFS"))
    end = next(i for i in range(begin, len(calls)) if calls[i][0] == "socket" and calls[i][1].isdigit())
    assert not [call for call in calls[begin:end] if call[0] == "accept4" and call[1].isdigit()]


@pytest.mark.parametrize("failing, ends_as", [
    ("1", "relayed"),  # the rule that keeps the back socket quiet
    ("1..3", "relayed"),  # ... and the look for an acknowledgement by hand, and lifting the front socket's rule
    ("3", "handed_off"),  # the handoff itself; the second makes the set of limits
    ("2..4", "handed_off"),
])
def test_without_memory_for_bpf_a_connection_is_relayed(net, failing, ends_as):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(one_pool("10.0.2.2:8080"))

    with Strace(ladon, f"bpf:error=ENOMEM:when={failing}") as strace:
        sock = speak(net)
        assert ends.receive_exactly(sock, 4) == b"word"
        ladon.wait_reason("no_kernel_memory")
        until(lambda: ends.unacknowledged(sock) == 0, "what the client said is acknowledged")
        assert ("bpf", "ENOMEM") in strace.results()
    with sock:
        assert ends.swap(sock, 500_000, 3) == ends.expected(500_000, 3)
        until(lambda: ladon.connections()[ends_as], f"{ends_as}: {ladon.connections()}")
        chat(sock)
    assert ladon.reasons().keys() <= {"no_kernel_memory", "busy"}
    assert ladon.ask("pool show")["pools"][0]["backends"][0]["failed"] == 0


# ---- what connect(2) says ----

TWO_BACKENDS = one_pool("10.0.2.3:8080", "10.0.2.2:8080")


def lose_first_syn(net):
    net.backend.lose("ip daddr 10.0.2.3 tcp dport 8080", once=True)


def reject(kind):
    def prepare(net):
        net.backend.nft(f"""table inet unwilling {{
            chain in {{
                type filter hook input priority 0
                ip daddr 10.0.2.3 reject with {kind}
            }}
        }}""")
    return prepare


def route(kind):
    return lambda net: net.gateway.ip(f"route add {kind} 10.0.2.3/32")


@pytest.mark.parametrize("prepare, results, words", [
    (lose_first_syn, ["EINPROGRESS", "EALREADY"], "Connection refused"),
    (reject("icmp host-unreachable"), ["EINPROGRESS"], "No route to host"),
    (reject("icmp admin-prohibited"), ["EINPROGRESS"], "No route to host"),
    (route("unreachable"), ["EHOSTUNREACH"], "No route to host"),
    (route("prohibit"), ["EACCES"], "Permission denied"),
    (route("blackhole"), ["EINVAL"], "Invalid argument"),
], ids=("refused-later", "unreachable", "admin-prohibited", "no-route", "prohibited", "blackhole"))
def test_a_backend_that_cannot_be_connected_to_is_passed_over(net, prepare, results, words):
    """Whoever says so, at once or before the socket was ever writable: the next one serves."""
    ends.Server(net.backend, ends.echo)
    prepare(net)
    ladon = net.ladond(TWO_BACKENDS)

    with Strace(ladon) as strace:
        is_answered(speak(net))
        assert results_of(strace, "connect")[:len(results)] == results
    ladon.wait_said(f"connect: 10.0.2.3:8080: {words}")
    backends = ladon.ask("pool show")["pools"][0]["backends"]
    assert [backend["failed"] for backend in backends] == [1, 0]
    assert ladon.reasons().keys() <= {"slow_connect", "busy"}
    assert ladon.connections()["closed"] == 0


def results_of(strace, call):
    return [result for name, result in strace.results() if name == call]


@pytest.mark.parametrize("backends, results", [
    (["10.0.2.2:8080"], ["EINPROGRESS", "0"]),
    (["10.0.2.3:8080", "10.0.2.2:8080"], ["EINPROGRESS", "ECONNREFUSED"]),
], ids=("connected", "refused"))
def test_an_answer_that_is_there_at_once_is_seen_at_once(net, backends, results):
    """A veth hands packets over within connect(2), if no other CPU is to do it and the neighbour is known."""
    ends.Server(net.backend, ends.echo)
    for space, device in ((net.gateway, "backend0"), (net.backend, "eth0")):
        space.run("ip", "netns", "exec", space.name, "sh", "-c",
                  f"echo 0 > /sys/class/net/{device}/queues/rx-0/rps_cpus")
    ladon = net.ladond(one_pool(*backends))

    def seen():
        with Strace(ladon) as strace:
            is_answered(speak(net))
            return results_of(strace, "connect")[:2] == results

    until(seen, f"connect(2) says {results}", 30)
    assert ladon.connections()["closed"] == 0


def test_a_connection_that_is_made_later_is_waited_for(net):
    ends.Server(net.backend, ends.echo)
    net.backend.lose("tcp dport 8080", once=True)
    ladon = net.ladond(ONE_POOL)

    with Strace(ladon) as strace:
        is_answered(speak(net))
        assert results_of(strace, "connect") == ["EINPROGRESS", "EALREADY"]
    reasons = ladon.reasons()
    assert reasons["slow_connect"] == 1
    assert reasons.keys() <= {"slow_connect", "busy"}  # busy: tried again while its client takes its time


# ---- memory ----

CROWD = 4000
BYTES = 8000
ONE_HEAP = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}
PEEKED = """
listeners:
  - listen: "0.0.0.0:8080"
    routes: [{http: example.org, pool: only}]
  - {listen: "0.0.0.0:8081", pool: only, handoff: no}
  - {listen: "0.0.0.0:8082", pool: only}
pools:
  - {name: only, backends: ["10.0.2.2:8080"]}
timeouts: {first-bytes: 60s}
"""


def fill_memory(net, ladon):
    """Return: the limit to be restored, and the clients that do it."""
    before = resource.prlimit(ladon.pid, resource.RLIMIT_DATA, (1, resource.RLIM_INFINITY))
    crowd = []
    while len(crowd) < CROWD and not has_met(ladon):
        crowd.append(ends.connect(net.client))
        crowd[-1].sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * BYTES)
    until(lambda: has_met(ladon), f"it is said; {len(crowd)} clients")
    return before, crowd


def test_without_memory_clients_wait_and_live_connections_go_on(net):
    """A crowd of clients that never say all that they want, until the heap may not grow any more."""
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(PEEKED, "--log", "info", **ONE_HEAP)
    socks = [visit_at(net, 8082), visit_at(net, 8081)]
    ladon.wait_handed_off()
    before = resource.prlimit(ladon.pid, resource.RLIMIT_DATA, (1, resource.RLIM_INFINITY))

    crowd = []
    while len(crowd) < CROWD and not has_met(ladon):
        crowd.append(ends.connect(net.client))
        crowd[-1].sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * BYTES)

    until(lambda: has_met(ladon), f"it is said; {len(crowd)} clients")
    assert "memory" in ladon.command("stats").stderr
    for sock in socks:
        assert ends.swap(sock, 200_000, 1) == ends.expected(200_000, 1)
    resource.prlimit(ladon.pid, resource.RLIMIT_DATA, before)

    with ends.connect(net.client) as sock:
        request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
        sock.sendall(request)
        assert ends.receive_exactly(sock, len(request)) == request
    until(lambda: said(ladon, BEGUN, OVER) == [1, 1], f"it is said that it is over: {said(ladon, BEGUN, OVER)}")
    assert ladon.reasons().get("no_memory", 0) < 20
    assert {"no_memory", "handoff_off"} >= ladon.reasons().keys()
    for sock in crowd:
        sock.close()


def unread(sock):
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_nothing_is_lost_for_want_of_memory(net):
    """A relayed client does not read what its backend says, and there are no pipes: so ladond does not read it either."""
    size = 32 * ends.MB
    ends.Server(net.backend, lambda sock: ends.send(sock, ends.receive_exactly(sock, 1)[0] * ends.MB))
    ladon = net.ladond(PEEKED, "--log", "info", **ONE_HEAP)
    with ends.connect(net.client, port=8081) as sock:
        until(lambda: ladon.connections()["relayed"], "it is relayed")
        before, crowd = fill_memory(net, ladon)
        with Strace(ladon, "pipe2:error=EMFILE"):
            sock.sendall(bytes([size // ends.MB]))
            until(lambda: unread(sock), "the first of it")
            assert ladon.wait_still(lambda: unread(sock)) < size
            assert ends.receive(sock) == ends.expected(size)
    resource.prlimit(ladon.pid, resource.RLIMIT_DATA, before)
    for end in crowd:
        end.close()


def test_a_reload_without_descriptors_changes_nothing(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS)
    with open(ladon.config, "a") as file:
        file.write("timeouts: {connect: 3s}\n")
    for more in range(4):  # none for the file, none for the file's parser, none for the new listener ...
        limit = Limit(ladon, more)
        with open(ladon.config) as file:
            text = file.read()
        with open(ladon.config, "w") as file:
            file.write(text.replace('"0.0.0.0:8081"', f'"0.0.0.0:{8090 + more}"'))
        done = ladon.command("reload")
        limit.lift()
        if done.returncode == 0:
            break
        assert "Too many open files" in done.stderr
        with open(ladon.config, "w") as file:
            file.write(text)
        is_answered(speak(net, 8081))
        is_answered(speak(net))
    assert more > 1
    is_answered(speak(net))
    ladon.wait_gone()


def test_an_interface_that_came_meanwhile_is_attached_later(net):
    ladon = net.ladond(ONE_POOL)
    limit = Limit(ladon, 0)
    net.gateway.ip("link add late0 type veth peer name late1", "link set late0 up")
    until(lambda: said(ladon, "interface late0: cannot attach: Too many open files; trying again") == [1],
          "it is said")
    limit.lift()
    until(lambda: said(ladon, "interface late0: attached") == [1], "it is attached")
    assert said(ladon, "cannot attach") == [1]


def test_an_access_log_is_opened_anew_later(net):
    path = os.path.join(net.dir, "access.log")
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(TWO_WAYS + f"access-log: {{to: {path}}}\n")
    limit = Limit(ladon, 0)
    os.rename(path, path + ".1")
    ladon.signal(signal.SIGUSR1)
    until(lambda: said(ladon, "going on with the old file, trying again") == [1], "it is said")
    limit.lift()
    until(lambda: said(ladon, "opened anew") == [1], "it is opened")
    is_answered(speak(net, 8081))
    until(lambda: os.path.getsize(path), "a line")
    assert os.path.getsize(path + ".1") == 0
    assert said(ladon, "going on with the old file") == [1]
