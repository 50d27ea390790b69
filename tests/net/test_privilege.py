# SPDX-License-Identifier: GPL-2.0-only
"""After the start ladond holds two capabilities, and its control socket serves whom it should.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import json
import os
import time

import pytest

from lib import ends
from lib.gateway import BUILD, FAMILIES, ROOT
from lib.net import until

ONE_POOL = FAMILIES[0][2]
NOBODY = 65534

# include/uapi/linux/capability.h
CAPS = {"CAP_CHOWN": 0, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10,
        "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_PERFMON": 38, "CAP_BPF": 39}


def mask(*names):
    return sum(1 << CAPS[name] for name in names)


NOTHING = mask()
LOW_PORTS = mask("CAP_NET_BIND_SERVICE")
LASTING = mask("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE")


def rights(ladon):
    """What each thread has: {(uid, permitted, effective, inheritable, ambient, no_new_privs)}."""
    found = set()
    for task in os.listdir(f"/proc/{ladon.pid}/task"):
        with open(f"/proc/{ladon.pid}/task/{task}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        found.add((int(status["Uid"].split()[0]),
                   *(int(status[cap], 16) for cap in ("CapPrm", "CapEff", "CapInh", "CapAmb")),
                   int(status["NoNewPrivs"])))
    return found


def unit():
    """The shipped unit's [Service] settings: {key: value}."""
    with open(f"{ROOT}/contrib/systemd/ladond.service") as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line and line[0] != "#")


@pytest.mark.parametrize("setting, uid", [("", 0), ("user: nobody\n", NOBODY)], ids=("root", "user"))
def test_two_capabilities_are_left_and_suffice(net, setting, uid):
    """Handoff, ends, interfaces that come, killing, acknowledging by hand: all of it afterwards."""
    ladon = net.ladond(ONE_POOL + setting)
    ends.Server(net.backend, ends.echo)

    assert rights(ladon) == {(uid, LASTING, LASTING, 0, 0, 1)}
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
    until(lambda: ladon.flows() == [], "the flow has ended")
    net.gateway.ip("link add late0 type veth peer name late1", "link set late0 up",
                   "link set late1 up")
    until(lambda: {"late0", "late1"} <= set(ladon.ask("summary show")["interfaces"]),
          "interfaces that came later are attached to")
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off(2)
        assert ladon.ask("flow kill", all=True) == {"killed": 1}
        with pytest.raises(ConnectionResetError):
            sock.sendall(b"anybody there?")
            sock.recv(1)
    assert ladon.stop() == 0
    if uid == 0:
        assert not os.path.exists(ladon.control)
    assert net.client.counter("TcpRetransSegs") == 0


def test_a_slow_backend_is_no_reason_to_keep_the_client_waiting(net):
    """The acknowledgement by hand leaves by a raw socket that was opened before."""
    ladon = net.ladond(ONE_POOL + "user: nobody\n")
    lost = net.backend.lose("tcp dport 8080")
    with ends.connect(net.client) as sock:
        began = time.monotonic()
        sock.sendall(b"first bytes")
        assert ends.unacknowledged(sock) or time.monotonic() - began > 0.05, "in flight"
        until(lambda: not ends.unacknowledged(sock), "they are acknowledged")
    assert lost()
    assert net.client.counter("TcpRetransSegs") == 0
    assert rights(ladon) == {(NOBODY, LASTING, LASTING, 0, 0, 1)}


def test_without_the_handoff_only_low_ports_are_left(net):
    ladon = net.ladond(ONE_POOL.replace(":8080", ":80", 1) + "handoff: no\n")

    assert rights(ladon) == {(0, LOW_PORTS, LOW_PORTS, 0, 0, 1)}


def test_started_without_rights_it_stays_who_it_is(net):
    ladon = net.ladond(ONE_POOL + "user: root\n", user="nobody")

    assert rights(ladon) == {(NOBODY, NOTHING, NOTHING, 0, 0, 1)}
    ladon.wait_said("user: to become root takes root's rights; going on as user 65534")


def test_a_log_in_a_directory_of_root_s_is_the_user_s(net):
    logs = os.path.join(net.dir, "logs")
    os.mkdir(logs, 0o755)
    ladon = net.ladond(ONE_POOL + f"user: nobody\naccess-log: {{to: {logs}/access.log}}\n")
    ends.Server(net.backend, ends.echo)

    assert os.stat(f"{logs}/access.log").st_uid == NOBODY
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
    until(lambda: os.stat(f"{logs}/access.log").st_size, "its first line")


@pytest.mark.parametrize("setting, complaint", [
    ("user: no-such-user\n", 'user: no user is named "no-such-user"'),
    ("control-group: no-such-group\n", 'control-group: no group is named "no-such-group"')])
def test_an_unknown_account_is_refused(net, setting, complaint):
    ladon = net.ladond(ONE_POOL + setting, wait=False)

    assert ladon.process.wait(20) == 1
    ladon.wait_said(complaint)


def test_the_capabilities_of_the_shipped_unit_suffice(net):
    """With no others in its bounding set ladond hands off, changes its user, and shares its socket."""
    bounding = unit()["CapabilityBoundingSet"].split()
    assert mask(*bounding) & LASTING == LASTING
    ladon = net.ladond(ONE_POOL + "user: nobody\ncontrol-group: daemon\n",
                       prefix=["setpriv", "--no-new-privs", "--bounding-set=-all,"
                               + ",".join("+" + cap[4:].lower() for cap in bounding)])
    ends.Server(net.backend, ends.echo)

    assert rights(ladon) == {(NOBODY, LASTING, LASTING, 0, 0, 1)}
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()


def ladon8(ladon, *setpriv):
    """ladon(8) as somebody else."""
    return ladon.space.run("setpriv", "--reuid=65534", *setpriv, os.path.join(BUILD, "ladon"),
                           "-j", "-s", ladon.control, "pool")


def test_the_control_group_may_and_others_are_told_so(net):
    ladon = net.ladond(ONE_POOL + "control-group: daemon\n")

    for member in (("--regid=daemon", "--clear-groups"), ("--regid=nogroup", "--groups=daemon")):
        done = ladon8(ladon, *member)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["pools"]
    done = ladon8(ladon, "--regid=nogroup", "--clear-groups")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"ladon: {ladon.control}: Permission denied; "
                           "only root and the group daemon may\n")


def test_without_a_control_group_only_root_and_the_daemon_s_user_may(net):
    ladon = net.ladond(ONE_POOL + "user: daemon\n")

    done = ladon8(ladon, "--regid=nogroup", "--clear-groups")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("Permission denied; only root and daemon may\n")
    os.chmod(ladon.control, 0o666)
    done = ladon8(ladon, "--regid=nogroup", "--clear-groups")
    assert (done.returncode, done.stdout) == (1, "")
    assert "permission denied: neither root, nor the daemon's user" in done.stderr
    assert ladon.command("pool").returncode == 0
