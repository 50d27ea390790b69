# SPDX-License-Identifier: GPL-2.0-only
"""A segment without payload from before the window is answered with an acknowledgement, if its timestamp
is new, whatever it acknowledges; and its timestamp is not remembered. The answer is a pure one.

datapath/probe.h: that is what a probe is. (With an old timestamp it is answered before Linux 6.14 only.)
"""
import socket
import struct

from lib import wire
from lib.net import CLIENT, GATEWAY, Net, until

TIMESTAMP = 8


def check():
    net = Net()
    try:
        for _ in range(8):  # other numbers, and other halves of the circle, each time
            answered(net)
    finally:
        net.close()


def answered(net):
    with net.gateway.socket(GATEWAY) as listener, net.client.socket(GATEWAY) as sock, \
            wire.capture(net.client) as seen:
        listener.bind((GATEWAY, 0))
        listener.listen()
        sock.connect(listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            sock.sendall(b"x")
            peer.sendall(peer.recv(1))
            assert sock.recv(1) == b"x"
            mine = until(lambda: [s for s in seen.segments if not s.incoming and s.length], "a segment")[-1]
            his = until(lambda: [s for s in seen.segments if s.incoming and s.length], "another")[-1]
            tsval = struct.unpack("!I", dict(wire.options(his))[TIMESTAMP][:4])[0]
            before = len(seen.segments)
            inject(net.gateway, his, seq=his.seq - 40000, ack=mine.seq - 40000,
                   tsval=0xFFFFFFFF if tsval >> 31 else 0x7FFFFFFF)
            answer = until(lambda: [s for s in seen.segments[before:] if not s.incoming], "an answer")[0]
            assert (answer.seq, answer.ack) == (mine.seq + 1, his.seq + 1)
            assert (answer.flags, answer.length) == (wire.ACK, 0)
            options = dict(wire.options(answer))
            assert list(options) == [TIMESTAMP] and struct.unpack("!I", options[TIMESTAMP][4:])[0] == tsval
            peer.sendall(b"y")
            assert sock.recv(1) == b"y"
    assert net.client.counter("TcpExtPAWSEstab") == 0


def inject(space, like, seq, ack, tsval):
    """A segment of the gateway's, with numbers of our own."""
    options = b"\x01\x01\x08\x0a" + struct.pack("!II", tsval, 0)
    header = struct.pack("!HHIIBBHHH", like.sport, like.dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 8 << 4,
                         wire.ACK, 1000, 0, 0) + options
    words = socket.inet_aton(GATEWAY) + socket.inet_aton(CLIENT) + \
        struct.pack("!HH", socket.IPPROTO_TCP, len(header)) + header
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    with space.enter(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:], (CLIENT, 0))
