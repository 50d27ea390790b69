# SPDX-License-Identifier: GPL-2.0-only
"""Checksums are right whoever makes them, and segments arrive whoever cuts or joins them.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2

With tx off a sender completes its checksums and the receiver verifies them; with
it on they stay half made over a veth, and the gateway's device may have to
complete what ladon rewrote.
"""
import itertools

import pytest

from lib import ends
from lib.gateway import DUAL, FAMILIES

SIZE = 10 * ends.MB
SEGMENTATION = {
    "tso gso": dict(tso=True, gso=True),
    "gso": dict(tso=False, gso=True),
    "neither": dict(tso=False, gso=False),
    "neither, gro": dict(tso=False, gso=False, gro=True),
    "tso gso gro": dict(tso=True, gso=True, gro=True),
}


def set_offloads(net, tx, cut):
    """tx: checksums of the client, the gateway and the backend; cut: a key of SEGMENTATION."""
    net.offload(**SEGMENTATION[cut])
    for space, devices, on in ((net.client, ["eth0"], tx[0]),
                               (net.gateway, ["client0", "backend0"], tx[1]),
                               (net.backend, ["eth0"], tx[2])):
        for device in devices:
            space.offload(device, tx=on)
    for space in (net.client, net.backend):  # fewer packets in flight than a veth's queue takes
        space.sysctl("net.ipv4.tcp_wmem", "4096 65536 262144")


@pytest.mark.matrix
@pytest.mark.parametrize("cut", SEGMENTATION)
@pytest.mark.parametrize("tx", itertools.product((True, False), repeat=3),
                         ids=lambda tx: "tx " + "".join("01"[on] for on in tx))
def test_both_ways(net, tx, cut):
    """tx: of the client, the gateway and the backend. Both families in one test."""
    set_offloads(net, tx, cut)
    ladon = net.ladond(DUAL)
    for gateway, backend, _ in FAMILIES:
        server = ends.Server(net.backend, ends.answer_and_exchange(SIZE, say=1), address=backend)
        with ends.connect(net.client, gateway) as sock:
            ends.ask(sock)
            assert ends.exchange(sock, SIZE, say=2) == ends.expected(SIZE, 1)
        assert server.result() == ends.expected(SIZE, 2)

    ladon.wait_handed_off(2)
    assert net.trouble() == {}, ladon.reasons("packet")
