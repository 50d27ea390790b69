# SPDX-License-Identifier: GPL-2.0-only
"""wire.py - what really passes a link: a bounded capture of TCP headers

The capture sees segments as the device does: a GSO packet is one.
"""
import collections
import contextlib
import socket
import struct
import threading

Segment = collections.namedtuple(
    "Segment", "incoming source sport dest dport seq ack flags window length ttl tos ecn options")

FIN, SYN, RST, PSH, ACK, ECE, CWR = 1, 2, 4, 8, 16, 64, 128
TIMESTAMPS, SACK = 8, 5  # option kinds
HEADERS = 14 + 40 + 60
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33


def parse(frame, incoming):
    """Return: a Segment, or None if it is not TCP without IP options."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0800 and frame[14] == 0x45 and frame[23] == socket.IPPROTO_TCP:
        family, at, ttl, tos = socket.AF_INET, 34, frame[22], frame[15]
        total = struct.unpack_from("!H", frame, 16)[0] - 20
        source, dest = frame[26:30], frame[30:34]
    elif kind == 0x86DD and frame[20] == socket.IPPROTO_TCP:
        family, at, ttl, tos = socket.AF_INET6, 54, frame[21], struct.unpack_from("!H", frame, 14)[0] >> 4 & 0xFF
        total = struct.unpack_from("!H", frame, 18)[0]
        source, dest = frame[22:38], frame[38:54]
    else:
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", frame, at)
    header = (offset >> 4) * 4
    return Segment(incoming, socket.inet_ntop(family, source), sport,
                   socket.inet_ntop(family, dest), dport, seq, ack, flags, window,
                   total - header, ttl, tos, tos & 3, bytes(frame[at + 20:at + header]))


def options(segment):
    """[(kind, data)] of a segment's options, without NOPs."""
    out, data = [], segment.options
    while data and data[0]:
        if data[0] == 1:
            data = data[1:]
            continue
        if len(data) < 2 or data[1] < 2:
            break
        out.append((data[0], data[2:data[1]]))
        data = data[data[1]:]
    return out


class Capture:
    """Segments seen so far; at most `most`, then the rest is not looked at."""

    def __init__(self, space, device, most):
        self.segments = []
        self.most = most
        with space.enter():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self.sock.bind((device, ETH_P_ALL))
        self.sock.settimeout(0.1)
        self.stopping = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        buffer = bytearray(HEADERS)
        while len(self.segments) < self.most:
            try:
                n, address = self.sock.recvfrom_into(buffer)
            except TimeoutError:
                if self.stopping:
                    return
                continue
            if n < 54:
                continue
            segment = parse(buffer, address[2] != socket.PACKET_OUTGOING)
            if segment:
                self.segments.append(segment)

    def stop(self):
        """Read what is queued, then end."""
        self.stopping = True
        self.thread.join(10)
        self.sock.close()


@contextlib.contextmanager
def capture(space, device="eth0", most=200_000):
    """with capture(net.client) as seen: ...; afterwards seen.segments is complete."""
    seen = Capture(space, device, most)
    try:
        yield seen
    finally:
        seen.stop()


def duplicate_acks(segments):
    """Segments with SACK blocks (RFC 6675 section 2), and pure ACKs that repeat the last one, window and all (RFC 5681).

    But for probes of a window that was closed, which go back by one byte, and their answers, which
    say that it still is (RFC 9293 section 3.8.6.1): some reader was slow, no more.
    """
    last, ends, found = {}, {}, []
    for s in segments:
        way = (s.source, s.sport, s.dest, s.dport)
        what = (s.ack, s.window)
        is_pure = s.length == 0 and s.flags == ACK
        is_probing = is_pure and (s.window == 0 or s.seq == (ends.get(way, s.seq) - 1) % 2**32)
        if any(kind == SACK for kind, _ in options(s)) or (is_pure and not is_probing and last.get(way) == what):
            found.append(s)
        last[way] = what
        if not is_probing:
            ends[way] = (s.seq + s.length) % 2**32
    return found


def repeats(segments):
    """Segments with payload that begin before the end of what their sender had sent already."""
    edge, found = {}, []
    for s in segments:
        way = (s.source, s.sport, s.dest, s.dport)
        if s.flags & SYN:
            edge.pop(way, None)
        elif s.length:
            if way in edge and (s.seq - edge[way]) & 0x80000000:
                found.append(s)
            edge[way] = (s.seq + s.length) & 0xFFFFFFFF
    return found
