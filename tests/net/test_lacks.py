# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel or its permissions lack costs only itself, and is named in one line at the start.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
from lib import ends
from lib.gateway import FAMILIES
from lib.net import LINUX

ONE_POOL = FAMILIES[0][2]

OLD_KERNEL = "Linux before 6.2: "
NO_RAW = "raw socket: Operation not permitted (needs CAP_NET_RAW); "


def named(ladon):
    """Which of the lines that name a lack were printed, and how often."""
    return {line: n for line in (OLD_KERNEL, NO_RAW) if (n := ladon.log().count(f"info: {line}"))}


def is_handed_off(net, ladon):
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client) as sock:
        ends.ask(sock)
        ladon.wait_handed_off()
        ends.ask(sock)
    assert ladon.reasons() == {}


def test_what_this_kernel_lacks_is_named(net):
    ladon = net.ladond(ONE_POOL)

    assert named(ladon) == ({OLD_KERNEL: 1} if LINUX < (6, 2) else {})
    is_handed_off(net, ladon)


def test_without_raw_sockets(net):
    ladon = net.ladond(ONE_POOL, prefix=("setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw"))

    assert named(ladon).get(NO_RAW) == 1
    is_handed_off(net, ladon)
