# SPDX-License-Identifier: GPL-2.0-only
"""ladond --cleanup takes off everything that is ladon's, and nothing that is not.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import ctypes
import json
import os
import platform
import struct

import pytest

from lib import ends
from lib.gateway import BUILD, FAMILIES, Ladond
from lib.net import run

ONE_POOL = FAMILIES[0][2]
DEVICES = ("client0", "backend0")
FOREIGN = "protocol ip u32 match ip src 255.255.255.255/32 flowid 1:1"


# include/uapi/linux/bpf.h, and each machine's table of system calls
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, OBJ_PIN, TYPE_XDP = 5, 6, 6
PASS = bytes.fromhex("b700000002000000" "9500000000000000")  # r0 = XDP_PASS; exit


def cleanup(ladon, config=None):
    return ladon.space.run(os.path.join(BUILD, "ladond"), "--cleanup", config or ladon.config)


def bpf(command, attributes):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(BPF_SYSCALL[platform.machine()], command, attributes, len(attributes))
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


def pin_foreign_xdp(path):
    """A program that lets everything pass, pinned there."""
    code, licence, name = (ctypes.create_string_buffer(s) for s in (PASS, b"GPL", path.encode()))
    prog = bpf(PROG_LOAD, struct.pack("=IIQQ24x", TYPE_XDP, len(PASS) // 8, ctypes.addressof(code),
                                      ctypes.addressof(licence)))
    bpf(OBJ_PIN, struct.pack("=QII", ctypes.addressof(name), prog, 0))
    os.close(prog)


def xdp(net, device):
    """The id of its XDP program."""
    link, = json.loads(net.gateway.run("ip", "-j", "-d", "link", "show", "dev", device).stdout)
    return link.get("xdp", {}).get("prog", {}).get("id")


def tc(net, words):
    done = net.gateway.run("tc", *words.split())
    assert done.returncode == 0, done.stderr
    return done.stdout


def filters(net, device):
    return tc(net, f"filter show dev {device} ingress") + tc(net, f"filter show dev {device} egress")


def one_flow(net):
    ends.Server(net.backend, ends.echo)
    ladon = net.ladond(ONE_POOL)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
        ladon.wait_handed_off()
    return ladon


def test_nothing_is_left(net):
    ladon = one_flow(net)
    assert all("ladon_ingress" in filters(net, device) for device in DEVICES)
    assert "ladon_local" in filters(net, "lo")
    ladon.stop()

    done = cleanup(ladon)

    assert done.returncode == 0, done.stderr
    for device in (*DEVICES, "lo"):
        assert filters(net, device) == ""
        assert "clsact" not in tc(net, f"qdisc show dev {device}")
    assert "ladon" not in os.listdir(net.bpffs())
    assert cleanup(ladon).returncode == 0  # nothing to do is no failure
    ladon = net.ladond(ONE_POOL)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_what_others_have_there_stays(net, when):
    """A qdisc that was there before ladon, and a filter beside ladon's; after a restart, too."""
    tc(net, "qdisc add dev lo clsact")
    if when in ("before", "both"):
        tc(net, "qdisc add dev client0 clsact")
    if when == "both":
        tc(net, f"filter add dev client0 ingress pref 100 {FOREIGN}")
    ladon = one_flow(net)
    ladon.kill9()
    ladon = net.ladond(ONE_POOL)
    if when == "after":
        tc(net, f"filter add dev client0 ingress pref 100 {FOREIGN}")
    net.gateway.nft("""table inet others {
        chain forward {
            type filter hook forward priority 0
        }
    }""")
    ladon.stop()

    done = cleanup(ladon)

    assert done.returncode == 0, done.stderr
    assert "ladon" not in filters(net, "client0")
    assert ("u32" in filters(net, "client0")) == (when != "before")
    assert "clsact" in tc(net, "qdisc show dev client0")
    assert "clsact" in tc(net, "qdisc show dev lo")
    assert filters(net, "lo") == ""
    assert "clsact" not in tc(net, "qdisc show dev backend0")
    assert "others" in net.gateway.run("nft", "list", "tables").stdout


def test_a_foreign_filter_in_ladons_place_stays(net):
    ladon = one_flow(net)
    ladon.stop()
    for way in ("ingress", "egress"):
        tc(net, f"filter del dev client0 {way} pref 2768")
    tc(net, f"filter add dev client0 ingress pref 2768 {FOREIGN}")

    assert cleanup(ladon).returncode == 0

    assert "u32" in filters(net, "client0")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_foreign_xdp_program_and_foreign_pins_stay(net, when):
    """Also beside ladon's own, in its directory; and a flow passes both."""
    pins = net.bpffs()
    os.makedirs(f"{pins}/ladon", exist_ok=True)
    places = [f"{pins}/others", f"{pins}/ladon/others"]
    if when == "before":
        pin_foreign_xdp(places[0])
        net.gateway.ip(f"link set dev client0 xdp pinned {places[0]}")
    ladon = one_flow(net)
    if when == "after":
        pin_foreign_xdp(places[0])
        net.gateway.ip(f"link set dev client0 xdp pinned {places[0]}")
    pin_foreign_xdp(places[1])
    before = xdp(net, "client0")
    assert before
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
    ladon.stop()

    done = cleanup(ladon)

    assert done.returncode == 0, done.stderr
    assert xdp(net, "client0") == before
    assert "others" in os.listdir(pins)
    assert os.listdir(f"{pins}/ladon") == ["others"]
    assert "ladon" not in filters(net, "client0") + filters(net, "backend0")


def test_another_ladon_of_the_same_host_stays(net):
    """One pin directory, and interfaces of its own, for each."""
    def on(interface, pin):
        ladon = net.ladond(ONE_POOL.replace("8080", "8081" if pin == "second" else "8080", 1)
                           + f"interfaces: {interface}\n")
        ladon.stop()
        return ladon

    first = on("client0", "ladon")
    settings = Ladond.settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ladond, "settings", lambda self: settings(self).replace("/ladon\n", "/second\n"))
        second = on("backend0", "second")
    assert "ladon_ingress" in filters(net, "client0") and "ladon_ingress" in filters(net, "backend0")

    assert cleanup(second).returncode == 0

    assert "ladon_ingress" in filters(net, "client0")
    assert filters(net, "backend0") == ""
    assert "ladon" in os.listdir(net.bpffs()) and "second" not in os.listdir(net.bpffs())
    first.write(ONE_POOL)
    assert cleanup(first).returncode == 0
    assert filters(net, "client0") == "" and "ladon" not in os.listdir(net.bpffs())


def test_a_file_system_that_ladond_mounted_goes_too(net, monkeypatch):
    """Where none is mounted, as in a container; what another has put there keeps it."""
    pins, settings = f"{net.dir}/pins", Ladond.settings
    here = ("nsenter", "--target", str(os.getpid()), "--mount")  # "ip netns exec" has made another mount namespace
    monkeypatch.setattr(Ladond, "settings", lambda self: settings(self).replace(f"{net.bpffs()}/ladon", pins))
    ladon = net.ladond(ONE_POOL, prefix=here)
    net.closers.append(lambda: os.path.ismount(pins) and run("umount", "--lazy", pins))

    def clean():
        assert net.gateway.run(*here, os.path.join(BUILD, "ladond"), "--cleanup", ladon.config).returncode == 0

    ladon.stop()
    assert os.path.ismount(pins)
    os.mkdir(f"{pins}/another's")
    clean()
    assert os.path.ismount(pins) and [name for name in os.listdir(pins) if "." not in name] == ["another's"]
    os.rmdir(f"{pins}/another's")
    clean()
    assert not os.path.exists(pins)


def test_it_is_refused_while_a_daemon_runs_that_does_not_answer(net):
    """Its control socket is gone, or another file names another one."""
    ladon = one_flow(net)
    os.unlink(ladon.control)

    done = cleanup(ladon)

    assert done.returncode == 1
    assert "cleanup: another process uses the pin directory; stop it first" in done.stderr
    assert all("ladon_ingress" in filters(net, device) for device in DEVICES)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"


def test_a_second_daemon_with_the_same_pins_is_refused(net):
    """As with the same file in another network namespace, that has the same file system."""
    ladon = one_flow(net)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
        ladon.wait_handed_off(2)
        config = f"{net.dir}/second.yaml"
        with open(config, "w") as file:
            file.write(ladon.settings().replace("/control", "/control2") + ONE_POOL.replace("8080", "8081"))

        done = net.backend.run(os.path.join(BUILD, "ladond"), config)

        assert done.returncode == 1
        assert f"pin directory {net.bpffs()}/ladon: another process uses it" in done.stderr
        assert "ladon" not in net.backend.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout
        sock.sendall(b"pong")
        assert ends.receive_exactly(sock, 4) == b"pong"
    ladon.wait_handed_off(2)


def test_it_is_refused_while_a_daemon_runs(net):
    ladon = one_flow(net)

    done = cleanup(ladon)

    assert done.returncode == 1
    assert "stop it first" in done.stderr
    assert all("ladon_ingress" in filters(net, device) for device in DEVICES)
    with ends.connect(net.client) as sock:
        sock.sendall(b"ping")
        assert ends.receive_exactly(sock, 4) == b"ping"
