# SPDX-License-Identifier: GPL-2.0-only
"""gateway.py - ladond in a namespace: its configuration, its life, and what ladon(8) says of it"""
import json
import os
import shutil
import signal
import socket
import subprocess
import textwrap

from .net import until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
BUILD = os.path.join(ROOT, os.environ.get("LADON_BUILD", "build"))


class Ladond:
    """A running ladond. `config` is YAML without `control`, `pin` and `workers`, which are added.

    user="nobody" takes every privilege away. args are options of ladond(8).
    """

    def __init__(self, net, config, *args, user=None, wait=True, **environment):
        self.net = net
        self.space = net.gateway
        self.dir = os.path.join(net.dir, "nobody" if user else "root")
        self.control = os.path.join(self.dir, "control")
        os.makedirs(self.dir, exist_ok=True)
        if user:
            os.chown(self.dir, 65534, 65534)
        self.config = os.path.join(net.dir, "ladon.yaml")
        with open(self.config, "w") as file:
            file.write(self.settings() + textwrap.dedent(config))
        self.log_path = os.path.join(net.dir, "ladond.log")
        self.process = None
        self._start(args, user, environment)
        net.daemons.append(self)
        net.gateway.closers.append(self._end)
        if wait:
            self._wait_ready()
        self.fds_at_start = self.fds()

    def settings(self):
        return f"control: {self.control}\npin: {self.net.bpffs()}/ladon\nworkers: 2\n"

    def _start(self, args, user, environment):
        binary = os.path.join(BUILD, "ladond")
        argv = ["ip", "netns", "exec", self.space.name]
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

        until(ready, "ladond is ready", 20)

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
        if self.process.poll() is None:
            self.kill9()
        self.notify.close()

    def fds(self):
        """How many descriptors it holds."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except FileNotFoundError:
            return 0

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    # ---- what ladon(8) says ----

    def command(self, *words, json_output=False):
        """ladon(8), its outcome whatever it is."""
        options = ["-s", self.control] + (["-j"] if json_output else [])
        return self.space.run(os.path.join(BUILD, "ladon"), *options, *words)

    def ask(self, *words):
        """ladon -j, parsed; a failure is an AssertionError with its text."""
        done = self.command(*words, json_output=True)
        assert done.returncode == 0, f"ladon -j {' '.join(words)}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def stats(self):
        return self.ask("stats")

    def flows(self):
        """Live flows: those that have not ended."""
        return [f for f in self.ask("flow", "show")["flows"] if f["state"] in ("open", "half-closed")]

    def connections(self):
        """{"accepted": n, "handed_off": n, "relayed": n, "closed": n}"""
        return self.stats()["connections"]

    def reasons(self):
        """{word: count}, only those that happened; without those of single packets."""
        return {word: r["count"] for word, r in self.stats()["reasons"].items()
                if r["count"] and r["group"] != "packet"}

    def relayed_bytes(self):
        relay = self.stats()["relay"]
        return relay["bytes_in"] + relay["bytes_out"]

    # ---- what tests wait for ----

    def wait_handed_off(self, count=1, seconds=10):
        until(lambda: self.connections()["handed_off"] >= count,
              f"{count} connections handed off; {self.connections()}, {self.reasons()}", seconds)

    def wait_reason(self, word, count=1, seconds=10):
        until(lambda: self.reasons().get(word, 0) >= count, f"reason {word}; {self.reasons()}",
              seconds)

    def wait_gone(self):
        """No socket but the listening ones, no descriptor more than at the start."""
        until(lambda: not self.space.sockets(), f"no sockets: {self.space.sockets()}")
        until(lambda: self.fds() <= self.fds_at_start, f"fds back to {self.fds_at_start}")
