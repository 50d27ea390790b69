# SPDX-License-Identifier: GPL-2.0-only
"""gateway.py - ladond in a namespace: its configuration, its life, and what ladon(8) says of it"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import textwrap
import time

from .net import BACKENDS, BACKENDS6, GATEWAY, GATEWAY6, Namespace, until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
SANITIZER = re.compile(r"(ERROR|WARNING|FATAL): \w+Sanitizer|: runtime error: ")
BUILD = os.path.join(ROOT, os.environ.get("LADON_BUILD", "build"))


class Ladond:
    """A running ladond. `config` is YAML without `control`, `pin` and `workers`, which are added.

    So is `flows`, where it does not say: to make the default's table takes a tenth of a second, to make this one a hundredth.

    user="nobody" takes every privilege away; prefix is a command that runs it; build is where it
    comes from. args are options of ladond(8).
    """

    flows_setting = "flows: 4096\n"

    def __init__(self, net, config, *args, user=None, prefix=(), build=BUILD, wait=True,
                 **environment):
        self.net = net
        self.space = net.gateway
        self.dir = os.path.join(net.dir, "nobody" if user else "root")
        self.control = os.path.join(self.dir, "control")
        os.makedirs(self.dir, exist_ok=True)
        if user:
            os.chown(self.dir, 65534, 65534)
        self.config = os.path.join(net.dir, "ladon.yaml")
        with open(self.config, "w") as file:
            file.write(self.complete(config))
        self.log_path = os.path.join(net.dir, "ladond.log")
        self.process = None
        self._start(os.path.join(build, "ladond"), args, user, prefix, environment)
        net.daemons.append(self)
        net.gateway.closers.append(self._end)
        if wait:
            self._wait_ready()
        self.fds_at_start = self.fds()

    def write(self, config):
        """What the daemon's file says from now on."""
        with open(self.config + ".new", "w") as file:
            file.write(self.complete(config))
        os.rename(self.config + ".new", self.config)

    def reload(self, config):
        """Write it, and let the daemon read it. Return: the outcome of ladon(8)."""
        self.write(config)
        done = self.command("reload")
        for _ in range(2):  # RELOADING and READY, or the socket's queue is full one day
            self.notify.recv(4096)
        return done

    def settings(self):
        return f"control: {self.control}\npin: {self.net.bpffs()}/ladon\nworkers: 2\n"

    def complete(self, config):
        """What the file says."""
        config = textwrap.dedent(config).rstrip() + "\n"
        flows = "" if re.search("^flows:", config, re.M) else self.flows_setting
        return self.settings() + config + flows

    def _start(self, binary, args, user, prefix, environment):
        argv = ["ip", "netns", "exec", self.space.name, *prefix]
        if user:
            binary = shutil.copy(binary, self.dir)
            argv += ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                     "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        notify = os.path.join(self.dir, "notify")
        if os.path.exists(notify):
            os.unlink(notify)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify)
        os.chmod(notify, 0o666)
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                argv + [binary, "--log", "debug", *args, "-c", self.config],
                env={**os.environ, "NOTIFY_SOCKET": notify, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_ready(self):
        self.notify.settimeout(0.05)

        def ready():
            assert self.process.poll() is None, f"ladond ended: {self.log()}"
            try:
                return b"READY=1" in self.notify.recv(4096)
            except TimeoutError:
                return False

        until(ready, "ladond is ready", 120)

    # ---- its life ----

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=20):
        """SIGTERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill9(self):
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def _end(self):
        """What a sanitizer said (make check-sanitize) fails the test, whatever it is."""
        if self.process.poll() is None:
            self.kill9()
        self.notify.close()
        assert not SANITIZER.search(self.log()), self.log()[SANITIZER.search(self.log()).start():][:4000]

    def fds(self):
        """How many descriptors it holds."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except FileNotFoundError:
            return 0

    def cpu_seconds(self):
        """User and system time it has used."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads(self):
        """What each of its threads does, and where in the kernel it waits: for whoever looks into a failure."""
        def read(task, name):
            with open(os.path.join(task, name)) as file:
                return file.read()

        out = ""
        for task in sorted(glob.glob(f"/proc/{self.pid}/task/*"), key=lambda path: int(os.path.basename(path))):
            with contextlib.suppress(OSError):  # it has ended
                name, state = read(task, "stat").split("(", 1)[1].rsplit(") ", 1)
                out += f"{name}: {state[0]}\n" + read(task, "stack")
        return out

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    # ---- what it says of itself ----

    def command(self, *words, json_output=False):
        """ladon(8), its outcome whatever it is."""
        options = ["-s", self.control] + (["-j"] if json_output else [])
        return self.space.run(os.path.join(BUILD, "ladon"), *options, *words)

    def ask(self, command, **keys):
        """One request to the control socket, as gateway/control.h describes it; no process per question."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.control)
            sock.sendall(json.dumps({"command": command, **keys}).encode() + b"\n")
            with sock.makefile() as answer:
                answer = json.load(answer)
        assert "error" not in answer, answer["error"]
        return answer

    def stats(self):
        return self.ask("stats show")

    def flows(self):
        """Flows that have not ended."""
        return [f for f in self.ask("flow show")["flows"] if f["state"] in ("open", "half_closed")]

    def connections(self):
        """{"accepted": n, "handed_off": n, "relayed": n, "closed": n, "open": n}"""
        return self.stats()["connections"]

    def reasons(self, *groups):
        """{word: count} of those that happened; groups are packet, relay, closed; none: relay and closed."""
        return {word: r["count"] for word, r in self.stats()["reasons"].items()
                if r["count"] and r["group"] in (groups or ("relay", "closed"))}

    def relayed_bytes(self):
        relay = self.stats()["relay"]
        return relay["bytes_in"] + relay["bytes_out"]

    # ---- what tests wait for ----

    def wait_handed_off(self, count=1, seconds=10):
        """So many are; an answer may be there before its connection is counted."""
        until(lambda: self.connections()["handed_off"] >= count,
              f"{count} connections handed off; {self.connections()}, {self.reasons()}", seconds)
        assert self.connections()["handed_off"] == count, self.reasons()

    def wait_reason(self, word, count=1, seconds=10):
        until(lambda: self.reasons().get(word, 0) >= count, f"reason {word}; {self.reasons()}",
              seconds)

    def wait_said(self, words, seconds=10):
        """What ladon(8) shows may be there before the log says it."""
        until(lambda: words in self.log(), f"the log says: {words}", seconds)

    def wait_still(self, read, seconds=10):
        """Wait until read() says the same for a quarter of a second. Return: that value."""
        seen, since = read(), time.monotonic()

        def still():
            nonlocal seen, since
            now = read()
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > 0.25

        until(still, "nothing changes any more", seconds)
        return seen

    def wait_gone(self):
        """No socket but the listening ones, no descriptor more than at the start."""
        until(lambda: not self.space.sockets(), "no sockets on the gateway")
        until(lambda: self.fds() <= self.fds_at_start, f"fds back to {self.fds_at_start}")


FAR_CLIENT, FAR_GATEWAY, FAR_GATEWAY_BACK, FAR_NEXT = "10.0.7.1", "10.0.7.9", "198.51.100.1", "198.51.100.2"
FAR_CLIENT6, FAR_GATEWAY6, FAR_GATEWAY_BACK6, FAR_NEXT6 = "fd00:7::1", "fd00:7::9", "2001:db8:51::1", "2001:db8:51::2"


class Far:
    """What Ladond() wants of a network, for a gateway more: one before the other.

        client -- 10.0.7.0/24 -- far -- 198.51.100.0/24 -- gateway
    """

    def __init__(self, net):
        self.gateway = Namespace(net.gateway.name + "1")
        net.closers.append(self.gateway.close)
        self.dir = os.path.join(net.dir, "far")
        os.makedirs(self.dir)
        self.daemons = net.daemons
        self.bpffs = lambda: os.path.join(net.bpffs(), "far")
        for space, device, at, at6, far, far6 in (
                (net.client, "eth1", FAR_CLIENT, FAR_CLIENT6, FAR_GATEWAY, FAR_GATEWAY6),
                (net.gateway, "eth2", FAR_NEXT, FAR_NEXT6, FAR_GATEWAY_BACK, FAR_GATEWAY_BACK6)):
            own = f"{space.name[-1]}0"
            space.ip(f"link add {device} type veth peer name {own} netns {self.gateway.name}",
                     f"link set {device} up", f"addr add {at}/24 dev {device}", f"addr add {at6}/64 dev {device} nodad")
            self.gateway.ip(f"link set {own} up", f"addr add {far}/24 dev {own}", f"addr add {far6}/64 dev {own} nodad")
            space.keep_order(device)
            self.gateway.keep_order(own)


def example(net, name):
    """contrib/config/NAME.yaml, word for word but for the directories of an installed system, which are the network's own.

    Ladond() has its own control, pin, workers and user.
    """
    with open(os.path.join(ROOT, "contrib/config", f"{name}.yaml")) as file:
        text = file.read()
    for directory in ("/etc/ladon/", "/var/log/ladon/", "/usr/local/bin/"):
        text = text.replace(directory, net.dir + "/")
    return re.sub("^(control|pin|workers|user):.*\n", "", text, flags=re.M)


def one_pool(*backends, listen="0.0.0.0:8080", more=""):
    """A configuration with one listener, nothing peeked, and one pool; `more` are keys of the top level."""
    def quoted(addresses):
        return ", ".join(f'"{a}"' for a in addresses)

    return f"""
listeners:
  - listen: [{quoted([listen] if isinstance(listen, str) else listen)}]
    pool: only
pools:
  - name: only
    backends: [{quoted(backends)}]
{more}"""


def one_host(backend, host="example.org", more=""):
    """A configuration that peeks: what asks for this HTTP host goes to the backend."""
    return f"""
listeners:
  - listen: "0.0.0.0:8080"
    routes:
      - http: {host}
        pool: only
pools:
  - name: only
    backends: ["{backend}"]
{more}"""


# What a test of both families is parametrised with: (the gateway's address, the backend's, one pool)
FAMILIES = [
    (GATEWAY, BACKENDS[0], one_pool("10.0.2.2:8080")),
    (GATEWAY6, BACKENDS6[0], one_pool("[fd00:2::2]:8080", listen="[::]:8080")),
]

# A way out, to whatever clients ask for
EXIT = """
listeners:
  - {listen: ["0.0.0.0:8080", "[::]:8080"], routes: [{target: "*", pool: exit}]}
pools:
  - {name: exit, backends: requested}
"""

# Both at once
DUAL = """
    listeners:
      - {listen: "0.0.0.0:8080", pool: four}
      - {listen: "[::]:8080", pool: six}
    pools:
      - {name: four, backends: ["10.0.2.2:8080"]}
      - {name: six, backends: ["[fd00:2::2]:8080"]}
"""
