# SPDX-License-Identifier: GPL-2.0-only
"""The shipped unit, sysusers and logrotate files do what they say under a real systemd.

    client -- 10.0.1.0/24 -- this machine -- 10.0.2.0/24 -- backend
      .1                   .9               .9           .2

Only in a guest (guest.py --systemd): ladon is installed, from `stage` below the build
directory, and this machine is the gateway.
"""
import glob
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../net"))

from lib import ends  # noqa: E402
from lib.flow import BOTH, SIZE  # noqa: E402
from lib.gateway import DUAL  # noqa: E402
from lib.net import Net, run, until  # noqa: E402

STAGE = os.path.join(os.environ["LADON_BUILD"], "kernel/stage")
CONFIG = "/etc/ladon/ladon.yaml"
LOG = "/var/log/ladon/access.log"
SETTINGS = f"workers: 2\nuser: ladon\naccess-log: {{to: {LOG}}}\n"
MORE = DUAL.replace("pools:", '  - {listen: "0.0.0.0:8081", pool: four}\n    pools:')

pytestmark = pytest.mark.skipif(os.environ.get("LADON_GUEST") != "systemd", reason="not in a guest")


def systemctl(*words):
    return subprocess.run(("systemctl", *words), capture_output=True, text=True, timeout=60, check=False)


def shown(name):
    return systemctl("show", "--value", "-p", name, "ladond").stdout.strip()


def journal(*options):
    """Entries of this boot that are ladond's or about it."""
    lines = run("journalctl", "-b", "-u", "ladond", "-o", "json", "--no-pager", *options).splitlines()
    return [json.loads(line) for line in lines]


def configure(listeners):
    with open(CONFIG, "w") as file:
        file.write(SETTINGS + "\n".join(line[4:] for line in listeners.splitlines()) + "\n")


@pytest.fixture(scope="module")
def net():
    """ladon is installed and runs, and the backend answers. A test that changes that changes it back."""
    run("cp", "-a", f"{STAGE}/.", "/")
    run("systemd-sysusers")
    run("systemctl", "daemon-reload")
    configure(DUAL)
    network = Net(gateway_of=1)
    network.servers = {family: ends.Server(network.backend, ends.answer_and_exchange(SIZE, say=1), address=family.backend)
                       for family in BOTH}
    try:
        started = systemctl("start", "ladond")
        assert started.returncode == 0, started.stderr + str([entry["MESSAGE"] for entry in journal()])
        yield network
    finally:
        systemctl("stop", "ladond")
        network.close()


def stats():
    return json.loads(run("ladon", "-j", "stats"))


class Flow:
    """Handed off; in the end both sides say SIZE."""

    def __init__(self, net, family, port=8080):
        before = stats()["connections"]["handed_off"]
        self.server = net.servers[family]
        self.sock = ends.connect(net.client, family.gateway, port)
        ends.ask(self.sock)
        until(lambda: stats()["connections"]["handed_off"] > before, "the handoff")

    def finish(self):
        with self.sock:
            assert ends.exchange(self.sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert self.server.result() == ends.expected(SIZE, 2)


def finish_untroubled(net, flows):
    for flow in flows:
        flow.finish()
    for space in net.spaces:
        assert space.counter("TcpOutRsts") == space.counter("TcpInCsumErrors") == 0, space.name


def test_it_starts_and_hands_off(net):
    assert shown("ActiveState") == "active"
    assert shown("StatusText") == "2 listeners, handoff on"
    finish_untroubled(net, [Flow(net, family) for family in BOTH])
    assert stats()["connections"]["relayed"] == 0


def test_nothing_is_refused_and_levels_are_kept(net):
    """The hardening takes nothing that ladond needs: nothing is complained about."""
    said = journal("-p", "notice", f"_PID={shown('MainPID')}")
    assert [entry["MESSAGE"] for entry in said] == []
    levels = {entry["MESSAGE"]: entry["PRIORITY"] for entry in journal(f"_PID={shown('MainPID')}")}
    assert levels["interface client0: attached"] == "6"
    for family in ("ipv4", "ipv6"):
        assert net.gateway.sysctl(f"net.{family}.conf.lo.forwarding") == "2"
    assert os.path.exists("/sys/fs/bpf/ladon/ladon_flows")


def test_it_is_confined(net):
    with open(f"/proc/{shown('MainPID')}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert run("id", "-nu", status["Uid"].split()[0]).strip() == "ladon"
    assert status["CapEff"] == status["CapPrm"] == f"{1 << 10 | 1 << 12:016x}"  # NET_BIND_SERVICE, NET_ADMIN


def test_reload(net):
    flow = Flow(net, BOTH[0])
    configure(MORE)
    done = systemctl("reload", "ladond")

    assert done.returncode == 0, done.stderr + str([entry["MESSAGE"] for entry in journal()][-5:])
    assert shown("StatusText").startswith("3 listeners, handoff on")
    assert shown("ActiveState") == "active"
    finish_untroubled(net, [flow])
    finish_untroubled(net, [Flow(net, BOTH[0], 8081)])


def test_a_reload_that_fails_says_so_and_changes_nothing(net):
    configure(DUAL.replace("pool: six", "pool: seven"))
    done = systemctl("reload", "ladond")
    configure(DUAL)

    assert done.returncode != 0
    assert shown("ActiveState") == "active"
    assert any('no pool is named "seven"' in entry["MESSAGE"] for entry in journal("-p", "err"))
    finish_untroubled(net, [Flow(net, family) for family in BOTH])


def test_flows_go_on_over_a_restart(net):
    flows = [Flow(net, family) for family in BOTH]
    before = shown("MainPID")
    done = systemctl("restart", "ladond")

    assert done.returncode == 0, done.stderr
    assert shown("MainPID") != before
    finish_untroubled(net, flows)
    finish_untroubled(net, [Flow(net, family) for family in BOTH])


def test_killed_it_is_started_again(net):
    flow = Flow(net, BOTH[0])
    before = shown("MainPID")
    systemctl("kill", "--kill-whom=main", "--signal=KILL", "ladond")
    until(lambda: shown("MainPID") not in (before, "0") and shown("ActiveState") == "active", "another one runs", 30)

    finish_untroubled(net, [flow])
    finish_untroubled(net, [Flow(net, BOTH[0])])


def lines():
    with open(LOG) as file:
        return file.readlines()


def test_the_access_log_is_rotated(net):
    Flow(net, BOTH[0]).finish()
    until(lines, "the line of that flow")
    run("logrotate", "--force", "--state", "/run/logrotate", "/etc/logrotate.d/ladon")
    until(lambda: any("opened anew" in entry["MESSAGE"] for entry in journal()), "the new file is open")
    Flow(net, BOTH[0]).finish()

    until(lines, "the line of the second flow, in the new file")
    assert glob.glob(f"{LOG}.1")


def test_flows_go_on_when_it_is_stopped(net):
    flows = [Flow(net, family) for family in BOTH]
    done = systemctl("stop", "ladond")

    assert done.returncode == 0, done.stderr
    assert (shown("ActiveState"), shown("Result")) == ("inactive", "success")
    finish_untroubled(net, flows)
