# SPDX-License-Identifier: GPL-2.0-only
"""A wrong configuration is refused with file, line and key; every shipped one is right.

    gateway (alone)
"""
import glob
import os
import re
import textwrap

import pytest

from lib.gateway import BUILD, ROOT

SHIPPED = sorted(glob.glob(os.path.join(ROOT, "contrib/config/*.yaml")))
RIGHT = textwrap.dedent("""\
    listeners:
      - listen: "0.0.0.0:443"
        routes:
          - tls: example.org
            pool: web
    pools:
      - name: web
        backends: ["10.0.2.2:443"]
    """)
WRONG = {
    "a typing error in a pool's name":
        ("pool: web", "pool: wbe", 5,
         'listeners[0].routes[0].pool: no pool is named "wbe"; did you mean "web"?'),
    "an unknown key": ("listen:", "lisen:", 2, 'did you mean "listen"?'),
    "an address without a port":
        ('"10.0.2.2:443"', '"10.0.2.2"', 8, "pools[0].backends[0]"),
    "a wildcard in the middle": ("tls: example.org", 'tls: "www.*.org"', 4, "*.example.org"),
    "not YAML": ("pools:", "pools: [", 9, "not YAML"),
    "a tab": ("  - name", "\t- name", 7, "tabs"),
}


def ladond(net, *args):
    return net.gateway.run(os.path.join(BUILD, "ladond"), *args, timeout=20)


def write(net, text, name="own.yaml"):
    path = os.path.join(net.dir, name)
    with open(path, "w") as file:
        file.write(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=os.path.basename)
def test_every_shipped_configuration_is_right(net, path):
    users = write(net, "me:$6$rounds=1000$salt$" + "x" * 86 + "\n", "users")
    keys = write(net, "1:" + "0" * 64 + "\n", "keys")
    os.chmod(keys, 0o640)
    with open(path) as file:
        own = write(net, file.read().replace("/etc/ladon/users", users).replace("/etc/ladon/keys", keys))
    done = ladond(net, "--check", own)

    assert done.returncode == 0, done.stderr


def test_what_the_migration_notes_say_is_right(net):
    with open(os.path.join(ROOT, "MIGRATION.md")) as file:
        examples = re.findall(r"```yaml\n(.*?)```", file.read(), re.S)
    assert len(examples) >= 4
    for example in examples:
        done = ladond(net, "--check", write(net, example))
        assert done.returncode == 0, done.stderr


def test_there_are_shipped_configurations():
    assert len(SHIPPED) >= 6


def test_a_right_one_is_said_to_be_right(net):
    assert ladond(net, "--check", write(net, RIGHT)).returncode == 0


@pytest.mark.parametrize("old, new, line, says", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("start", [("--check",), ("-c",)], ids=("check", "start"))
def test_a_wrong_one_is_refused_with_file_line_and_key(net, old, new, line, says, start):
    assert old in RIGHT
    path = write(net, RIGHT.replace(old, new, 1))

    done = ladond(net, *start, path)

    assert done.returncode == 1
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"{path}:"), first
    assert says in first
    if says != "not YAML":
        assert first.startswith(f"{path}:{line}: "), first


def test_a_file_that_is_not_there(net):
    done = ladond(net, "--check", "/no/such/file.yaml")

    assert done.returncode == 1
    assert "/no/such/file.yaml" in done.stderr


def test_misuse_is_2(net):
    assert ladond(net, "--no-such-option").returncode == 2


def test_an_address_in_use_is_said_with_the_listener(net):
    path = write(net, RIGHT + f"control: {net.dir}/control\npin: {net.bpffs()}/ladon\n")
    with net.gateway.socket("0.0.0.0") as taken:
        taken.bind(("0.0.0.0", 443))
        taken.listen()

        done = ladond(net, "-c", path)

    assert done.returncode == 1
    assert "0.0.0.0:443" in done.stderr and "Address already in use" in done.stderr


def test_an_interface_that_is_not_there(net):
    path = write(net, RIGHT + f"control: {net.dir}/control\npin: {net.bpffs()}/ladon\n"
                 "interfaces: [nosuch0]\n")

    done = ladond(net, "-c", path)

    assert done.returncode == 1
    assert "nosuch0" in done.stderr
