# SPDX-License-Identifier: GPL-2.0-only
"""net.py - network namespaces, the links between them, and what one can turn and read there

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2 .3 .4
              fd00:1::/64             fd00:2::/64

setns(2) moves one thread, so a test opens its sockets in any namespace and
uses them from anywhere: most ends need no process of their own. Names begin
with "ladon-PID-"; what a killed run left behind is swept by the next one.
"""
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
MS_BIND = 1 << 12
MNT_DETACH = 2
NETNS = "/run/netns"  # ip-netns(8)
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
LINUX = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
CPUS = f"{(1 << os.cpu_count()) - 1:x}"  # all of them, as a mask

CLIENT = "10.0.1.1"
GATEWAY = "10.0.1.9"
GATEWAY_BACK = "10.0.2.9"
BACKENDS = ("10.0.2.2", "10.0.2.3", "10.0.2.4")
CLIENT6 = "fd00:1::1"
GATEWAY6 = "fd00:1::9"
GATEWAY_BACK6 = "fd00:2::9"
BACKENDS6 = ("fd00:2::2", "fd00:2::3", "fd00:2::4")

# Segments that came twice, late, damaged or out of order; each of the latter is a duplicate ACK.
# Not PAWSOldAck: the last acknowledgement of ladon's handshake may be overtaken by data of the flow, another CPU's; it is old
# then, and of no use to anybody. A wrong clock is seen by the three that are here.
TROUBLE = (
    "TcpRetransSegs",
    "TcpInErrs",
    "TcpInCsumErrors",
    "TcpOutRsts",
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtTSEcrRejected",
    "TcpExtBeyondWindow",
    "TcpExtTCPOFOQueue",
    "TcpExtTCPSACKDiscard",
    "TcpExtTCPDSACKRecv",
    "TcpExtTCPDSACKOldSent",
    "TcpExtTCPTimeouts",
    "TcpExtTCPSpuriousRtxHostQueues",
)

RTO_MIN = "/proc/sys/net/ipv4/tcp_rto_min_us"


# include/net/tcp_states.h, as /proc/net/tcp writes them
ESTABLISHED = "01"
SYN_SENT = "02"
TIME_WAIT = "06"
LISTEN = "0A"


def until(condition, what, seconds=10.0):
    """Wait for condition() to be true and return its value; AssertionError names `what`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def run(*argv, **kwargs):
    """A command that must succeed; its output is in the exception if it does not."""
    done = subprocess.run(argv, capture_output=True, text=True, **{"timeout": 30, **kwargs})
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout


def is_ipv6(address):
    return ":" in address


def join(address, port):
    """ADDRESS:PORT as the configuration writes it."""
    return f"[{address}]:{port}" if is_ipv6(address) else f"{address}:{port}"


def sacks_are_right(one, other):
    """Did both believe what the other told of segments out of order? Wrong numbers all are discarded, else overtaken ones."""
    return all(end.counter("TcpExtTCPSACKDiscard") <= peer.counter("TcpExtTCPOFOQueue") / 10
               for end, peer in ((one, other), (other, one)))


class Namespace:
    """One network namespace. Sockets, files below /proc/sys/net and children made inside `enter()` are its own."""

    def __init__(self, name, of=None):
        """of: a process that is in it; None: a new one"""
        self.name = name
        self.closers = []
        self.forgotten = {}
        _attach(name, of)
        self.fd = os.open(f"{NETNS}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        self.orders_all = os.path.exists("/proc/sys/net/core/rps_default_mask")
        if self.orders_all:
            self.sysctl("net.core.rps_default_mask", CPUS)
        self.sysctl("net.ipv4.tcp_early_retrans", 0)  # loss probes fire on a busy machine without loss
        self.repeat_after(1000)
        with self.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))

    def repeat_after(self, milliseconds):
        """The shortest retransmission timeout of sockets made from now on; the kernel's own is 200 ms.

        It is longer here, since a busy machine may keep ladond or a CPU for that long from what is no loss.
        """
        if os.path.exists(RTO_MIN):  # since 6.11
            self.sysctl("net.ipv4.tcp_rto_min_us", milliseconds * 1000)

    @contextlib.contextmanager
    def enter(self):
        """This thread is inside; other threads stay where they are."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.fd)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    # ---- what can be turned ----

    def ip(self, *lines):
        """ip(8) commands, in one process."""
        run("ip", "-n", self.name, "-batch", "-", input="\n".join(lines) + "\n")

    def sysctl(self, name, value=None):
        """Set, or read when value is None."""
        with self.enter():
            path = "/proc/sys/" + name.replace(".", "/")
            if value is None:
                with open(path) as file:
                    return file.read().strip()
            with open(path, "w") as file:
                return file.write(str(value))

    def devices(self):
        """Names of all network devices, "default" among them: those with settings of their own."""
        with self.enter():
            return [name for name in os.listdir("/proc/sys/net/ipv4/conf") if name != "all"]

    def nft(self, rules):
        """Add an nft(8) ruleset."""
        with self.enter():
            run("nft", "-f", "-", input=rules)

    def offload(self, device, **features):
        """ethtool -K: offload("eth0", tx=False, tso=False). A feature that is fixed stays as it is."""
        words = [w for f, on in features.items() for w in (f, "on" if on else "off")]
        with self.enter():
            run("ethtool", "-K", device, *words)

    def is_up(self, device):
        """Has it been made ready since its other end is? With that it gets its own IPv6 address; what is sent before is lost."""
        with self.enter(), open("/proc/thread-self/net/if_inet6") as file:
            return any(line.startswith("fe80") and line.split()[-1] == device for line in file)

    def keep_order(self, device):
        """One CPU per flow (RPS), as a NIC's queues would: else a sender that changes CPU overtakes itself on a veth.

        From Linux 6.3 on a namespace can be told so for all the devices that will be made in it.
        """
        if not self.orders_all:
            run("ip", "netns", "exec", self.name, "sh", "-c",
                f"echo {CPUS} > /sys/class/net/{device}/queues/rx-0/rps_cpus")

    def lose(self, match, *, percent=None, once=False):
        """Drop what comes in and matches (nft syntax): a percentage of it, the first packet only, or all.

        Return: a function that says how many packets were dropped.
        """
        which = ""
        if percent is not None:
            which = f"numgen random mod 1000 < {int(percent * 10)}"
        elif once:
            which = "numgen inc mod 4294967295 0"
        table = f"lose{len(self.closers)}"
        self.closers.append(lambda: None)
        self.nft(f"""table inet {table} {{
            counter lost {{ }}
            chain in {{
                type filter hook prerouting priority -300
                {match} {which} counter name lost drop
            }}
        }}""")

        def lost():
            return self.named_counter(table, "lost")

        lost.stop = lambda: self.nft(f"delete table inet {table}")
        return lost

    def hosts(self, text):
        """/etc/hosts for what is run by `ip netns exec` from now on."""
        path = f"/etc/netns/{self.name}"
        os.makedirs(path, exist_ok=True)
        self.closers.append(lambda: shutil.rmtree(path, ignore_errors=True))
        with open(f"{path}/hosts", "w") as file:
            file.write("127.0.0.1 localhost\n" + text + "\n")

    # ---- what can be read ----

    def counters(self):
        """All of /proc/net/snmp and netstat by nstat(8)'s names: {"TcpRetransSegs": 0, ...}."""
        out = {}
        with self.enter():
            for file in ("snmp", "netstat"):
                with open(f"/proc/thread-self/net/{file}") as lines:
                    for names in lines:
                        prefix = names.split(":")[0]
                        values = next(lines).split()[1:]
                        for name, value in zip(names.split()[1:], values):
                            out[prefix + name] = int(value)
        return out

    def counter(self, name):
        return self.counters()[name]

    def trouble(self):
        """The counters of TROUBLE that are not zero; {} is the hoped-for answer."""
        now = self.counters()
        return {name: count for name in TROUBLE if (count := now.get(name, 0) - self.forgotten.get(name, 0))}

    def forget_trouble(self):
        """What has been counted so far is no trouble of whoever asks later."""
        self.forgotten = self.counters()

    def tracked(self):
        """TCP connections that conntrack knows, as lines of conntrack(8)."""
        with self.enter():
            return [line for family in ("ipv4", "ipv6")
                    for line in run("conntrack", "-L", "-p", "tcp", "-f", family).splitlines()]

    def named_counter(self, table, name):
        """Packets that a named counter of an inet table has seen."""
        return self.named_count(table, name)[0]

    def named_count(self, table, name):
        """... and their bytes."""
        with self.enter():
            text = run("nft", "list", "counter", "inet", table, name)
        return tuple(int(text.split(unit)[1].split()[0]) for unit in ("packets", "bytes"))

    def sockets(self, but=(LISTEN, TIME_WAIT)):
        """TCP sockets in other states than these, as lines of /proc/net/tcp and tcp6."""
        out = []
        with self.enter():
            for file in ("tcp", "tcp6"):
                with open(f"/proc/thread-self/net/{file}") as lines:
                    out += [line.split() for line in list(lines)[1:]]
        return [fields for fields in out if fields[3] not in but]

    def wait_acknowledged(self):
        """Until all that its TCP sockets have sent has been acknowledged."""
        until(lambda: not any(int(fields[4].split(":")[0], 16) for fields in self.sockets()), "all acknowledged")

    # ---- what can live here ----

    def socket(self, address, kind=socket.SOCK_STREAM):
        """A socket of this namespace, of the address's family, with a time limit."""
        family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
        with self.enter():
            sock = socket.socket(family, kind)
        sock.settimeout(30)
        return sock

    def run(self, *argv, timeout=60, **kwargs):
        """A command inside; its outcome, whatever it is."""
        kwargs.setdefault("capture_output", True)
        kwargs.setdefault("text", True)
        with self.enter():
            return subprocess.run(argv, timeout=timeout, **kwargs)

    def popen(self, *argv, **kwargs):
        """A process inside; killed when the namespace is closed."""
        with self.enter():
            process = subprocess.Popen(argv, **kwargs)
        self.closers.append(lambda: _kill(process))
        return process

    def close(self):
        while self.closers:
            self.closers.pop()()
        os.close(self.fd)
        _detach(self.name)


class Net:
    """The three namespaces of the drawing above, and a directory for files."""

    serial = 0

    def __init__(self, gateway_of=None):
        """gateway_of: a process whose namespace is the gateway; None: a new one is"""
        sweep()
        Net.serial += 1
        prefix = f"ladon-{os.getpid()}-{Net.serial}"
        self.closers = []
        self.daemons = []  # every ladond that was started here
        self.dir = tempfile.mkdtemp(prefix="ladon-net-")
        os.chmod(self.dir, 0o755)
        self.spaces = []
        try:
            for name in ("client", "gateway", "backend"):
                space = Namespace(f"{prefix}-{name[0]}", gateway_of if name == "gateway" else None)
                self.spaces.append(space)
                setattr(self, name, space)
            self._link(self.client, "client0", 1, (CLIENT,), (CLIENT6,))
            self._link(self.backend, "backend0", 2, BACKENDS, BACKENDS6)
            self.gateway.ip(*(line for net, device in enumerate(("client0", "backend0"), 1) for line in (
                f"link set {device} up",
                f"addr add 10.0.{net}.9/24 dev {device}",
                f"addr add fd00:{net}::9/64 dev {device} nodad")))
            until(lambda: self.client.is_up("eth0") and self.backend.is_up("eth0"), "the links have a carrier")
        except BaseException:
            self.close()
            raise

    def _link(self, end, device, net, addresses, addresses6):
        """A veth pair: eth0 in `end`, and `device` in the gateway, where it is still to be set up."""
        end.ip(f"link add eth0 type veth peer name {device} netns {self.gateway.name}",
               "link set eth0 up",
               *(f"addr add {a}/24 dev eth0" for a in addresses),
               *(f"addr add {a}/64 dev eth0 nodad" for a in addresses6),
               f"route add default via 10.0.{net}.9",
               f"route add ::/0 via fd00:{net}::9")
        end.keep_order("eth0")
        self.gateway.keep_order(device)

    def offload(self, **features):
        """The same features on all four ends of the links.

        Without GSO each segment is a packet, and a CPU's backlog holds 1,000 of them (net.core.netdev_max_backlog), of all
        that runs on this machine: a socket may then have some hundreds under way, or a busy machine drops some.
        """
        if features.get("gso") is False:
            for space in self.spaces:
                space.sysctl("net.ipv4.tcp_wmem", "4096 16384 524288")
        self.client.offload("eth0", **features)
        self.backend.offload("eth0", **features)
        self.gateway.offload("client0", **features)
        self.gateway.offload("backend0", **features)

    def forward(self, on=True):
        """Plain forwarding on the gateway: off unless a test wants it."""
        self.gateway.sysctl("net.ipv4.ip_forward", int(on))
        self.gateway.sysctl("net.ipv6.conf.all.forwarding", int(on))

    def lossy(self, percent=1):
        """client and backend lose so many of the segments that come in, but no SYN: whoever is slow to connect is relayed.

        Return: what Namespace.lose() returns, of both.
        """
        for space in self.spaces:
            space.repeat_after(200)
        return [space.lose(f"tcp {port} 8080 tcp flags ! syn", percent=percent)
                for space, port in ((self.backend, "dport"), (self.client, "sport"))]

    def trouble(self):
        """Per namespace, the counters that should have stayed zero."""
        return {s.name[-1]: t for s in self.spaces if (t := s.trouble())}

    def forget_trouble(self):
        for space in self.spaces:
            space.forget_trouble()

    def only_repetitions(self, most=10, also=()):
        """Both ends spoke at once, in the very moment of the handoff.

        What one says after its first bytes may arrive before them, which the other says in its
        next data, and what is between tc and a socket when that vanishes is not acknowledged:
        either way a few segments are repeated, a lone one after its time. Nothing else may happen, but for `also`.
        """
        for space, counters in self.trouble().items():
            assert space != "g" and set(counters) <= {
                "TcpExtTCPOFOQueue", "TcpRetransSegs", "TcpExtTCPTimeouts",
                "TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKRecv", *also}, (space, counters)
            assert counters.get("TcpRetransSegs", 0) <= most

    def sockets(self):
        """All TCP sockets of the three, with what the kernel knows of each: for whoever looks into a failure."""
        return "".join(f"{s.name}:\n{s.run('ss', '-tanieO').stdout}" for s in self.spaces)

    def bpffs(self):
        """A BPF file system of this network's own; the same one at every call."""
        path = os.path.join(self.dir, "bpf")
        if not os.path.ismount(path):
            os.makedirs(path, exist_ok=True)
            _mount("bpf", path, "bpf")
            self.closers.append(lambda: _umount(path))
        return path

    def close(self):
        with contextlib.ExitStack() as all_of_it:
            all_of_it.callback(shutil.rmtree, self.dir, ignore_errors=True)
            for space in self.spaces:
                all_of_it.callback(space.close)
            for closer in self.closers:
                all_of_it.callback(closer)


def sweep():
    """Delete what belongs to runs whose process is gone."""
    for name in os.listdir(NETNS) if os.path.isdir(NETNS) else ():
        words = name.split("-")
        if words[0] == "ladon" and words[1].isdigit() and not os.path.exists(f"/proc/{words[1]}"):
            with contextlib.suppress(OSError):  # another run sweeps, too
                _detach(name)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


# ---- what ip-netns(8) does, without a process for each: tests make three thousand ----

def _attach(name, of):
    """Keep the network namespace of a process, or a new one, by a name."""
    with open("/proc/self/mountinfo") as mounts:
        is_shared = any(line.split()[4] == NETNS for line in mounts)
    if not is_shared:  # the first one since the machine has started: ip(8) makes the place
        run("ip", "netns", *(("add", name) if of is None else ("attach", name, str(of))))
        return
    path = f"{NETNS}/{name}"
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    if of is not None:
        _mount(f"/proc/{of}/ns/net", path, flags=MS_BIND)
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            _mount("/proc/thread-self/ns/net", path, flags=MS_BIND)
        finally:
            _setns(home)
    finally:
        os.close(home)


def _detach(name):
    path = f"{NETNS}/{name}"
    with contextlib.suppress(OSError):  # a run that was killed on its way here
        _umount(path)
    os.unlink(path)


def _mount(source, target, kind="none", flags=0):
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) < 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def _umount(target):
    if libc.umount2(target.encode(), MNT_DETACH) < 0:
        raise OSError(ctypes.get_errno(), f"umount {target}: {os.strerror(ctypes.get_errno())}")


def _setns(fd):
    if libc.setns(fd, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


def _kill(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
