# SPDX-License-Identifier: GPL-2.0-only
"""stage.py - what the demo plays on: a network, three backends, a large file, ladond

The ends are programs that everybody knows: curl, and openssl s_server with a
certificate of its own for each name. Only the backend without TLS is ours.
"""
import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time

from lib import ends
from lib.gateway import Ladond
from lib.net import BACKENDS, GATEWAY, Net, run

RED, BLUE, GREEN = BACKENDS
FILE_BYTES = 400 * ends.MB
PIECE = 16 * ends.MB  # of the file; each one differs
SECONDS_MAX = 60  # for a download, on however slow a machine
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ROUTES = f"""\
listeners:
  - listen: "{GATEWAY}:443"
    routes:
      - tls: red.example
        pool: red
      - tls: blue.example
        pool: blue
      - http: green.example
        pool: green
pools:
  - name: red
    backends: "{RED}:443"
  - name: blue
    backends: "{BLUE}:443"
  - name: green
    backends: "{GREEN}:80"
"""


class Wrong(Exception):
    """Something is not as promised; the text says what."""


def demand(condition, what):
    if not condition:
        raise Wrong(what)


# ---- nothing is left behind ----

@contextlib.contextmanager
def masked(how):
    """SIG_BLOCK: signals wait; SIG_UNBLOCK: those that wait come now. Undone in the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(how, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def whole(manager):
    """The same context manager, entered and left without being interrupted."""
    with masked(signal.SIG_BLOCK), manager as thing, masked(signal.SIG_UNBLOCK):
        yield thing


# ---- the stage ----

class Stage:
    """The network with its backends; a context manager. `sha256` is of the file big at red.example."""

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self.net = Net()
            undo.callback(self.net.close)
            self.environment = {"PATH": os.environ["PATH"], "HOME": self.net.dir}
            self.sha256 = self._write_file()
            self._serve_tls("red", RED)
            self._serve_tls("blue", BLUE)
            ends.Server(self.net.backend, ends.http(f"green, at {GREEN}"), address=GREEN, port=80)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self._undo.close()

    def _write_file(self):
        sha = hashlib.sha256()
        with open(os.path.join(self._directory("red"), "big"), "wb") as file:
            for seed in range(FILE_BYTES // PIECE):
                piece = ends.pattern(PIECE, seed)
                file.write(piece)
                sha.update(piece)
        return sha.hexdigest()

    def _directory(self, name):
        path = os.path.join(self.net.dir, name)
        os.makedirs(path, exist_ok=True)
        return path

    def _serve_tls(self, name, address):
        """openssl s_server, which gives away the files of its directory."""
        directory = self._directory(name)
        with open(os.path.join(directory, "who"), "w") as file:
            file.write(f"{name}, at {address}\n")
        certificate, key = f"../{name}.pem", f"../{name}.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}.example", "-addext",
            f"subjectAltName=DNS:{name}.example", "-keyout", key, "-out", certificate,
            cwd=directory)
        server = self.net.backend.popen(
            "openssl", "s_server", "-accept", f"{address}:443", "-cert", certificate, "-key", key,
            "-WWW", cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        demand(any(line == b"ACCEPT\n" for line in server.stdout), f"{name}: no server")

    @contextlib.contextmanager
    def ladond(self, handoff=True):
        """ladond on the gateway, ended in the end if it still runs."""
        daemon = Ladond(self.net, ROUTES + ("" if handoff else "handoff: no\n"), "--log", "warn")
        daemon.cpu_at_start = daemon.cpu_seconds()
        yield daemon
        if daemon.process.poll() is None:
            demand(daemon.stop() == 0, f"ladond did not end well: {daemon.log()}")

    def at_client(self, argv):
        """Run a command there. Return: what it printed."""
        done = self.net.client.run(*argv, cwd=self.net.dir, env=self.environment)
        demand(done.returncode == 0, f"{' '.join(argv)}: {done.stderr}")
        return done.stdout


def curl(name, path, *options, scheme="https"):
    """The command of a client that knows where the gateway is, and the backend's certificate."""
    trust = ["--cacert", f"{name}.pem"] if scheme == "https" else []
    return ["curl", "-sS", *trust, *options, "--resolve", f"{name}.example:443:{GATEWAY}",
            f"{scheme}://{name}.example{'' if scheme == 'https' else ':443'}/{path}"]


class Download:
    """curl fetches the file from red.example, which is hashed as it comes."""

    def __init__(self, stage):
        self.stage = stage
        self.received = 0  # bytes so far
        self._begun = threading.Event()
        self._since = time.monotonic()
        argv = [*curl("red", "big"), "--max-time", str(SECONDS_MAX)]
        with masked(signal.SIG_BLOCK):  # signals are the main thread's
            self._process = stage.net.client.popen(
                *argv, cwd=stage.net.dir, env=stage.environment, stdout=subprocess.PIPE)
            self._sha256 = ends.spawn(self._receive)

    def _receive(self):
        sha = hashlib.sha256()
        while data := self._process.stdout.read1(ends.MB):
            sha.update(data)
            self.received += len(data)
            if self.received > FILE_BYTES // 4:
                self._begun.set()
        self._begun.set()
        return sha.hexdigest()

    def wait_begun(self):
        """Return when a quarter has arrived."""
        self._begun.wait(SECONDS_MAX)
        self.demand_under_way()

    def demand_under_way(self):
        demand(0 < self.received < FILE_BYTES,
               f"the download was not under way any more, but at {self.received} bytes")

    def wait_right(self):
        """Wait for the end; every byte must be right. Return: seconds since the start."""
        sha256 = self._sha256.result(SECONDS_MAX)
        seconds = time.monotonic() - self._since
        code = self._process.wait(SECONDS_MAX)
        demand(code == 0, f"curl: exit status {code} after {self.received} bytes")
        demand(sha256 == self.stage.sha256, "the sha256 of the download is wrong")
        return seconds
