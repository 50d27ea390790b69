# SPDX-License-Identifier: GPL-2.0-only
"""dns.py - a name server whose answers the test decides, and may change (RFC 1035)"""
import contextlib
import socket
import struct
import threading

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


class NameServer:
    """On an address of a namespace, UDP port 53.

    names: of each name the addresses it has now; None: the server fails; missing: there is no such name.
    asked: every (name, type) that was asked for.
    """

    def __init__(self, space, address, ttl=1):
        self.names, self.asked, self.ttl = {}, [], ttl
        self.is_closed = False
        self.socket = space.socket(address, socket.SOCK_DGRAM)
        self.socket.settimeout(1)
        self.socket.bind((address, 53))
        space.closers.append(self.close)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.is_closed = True

    def _serve(self):
        with self.socket:
            while not self.is_closed:
                with contextlib.suppress(TimeoutError):
                    query, peer = self.socket.recvfrom(512)
                    self.socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack_from("!H", query, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        addresses = self.names.get(name, ())
        code = SERVFAIL if addresses is None else NOERROR if name in self.names else NXDOMAIN
        family, size = (socket.AF_INET6, 16) if kind == AAAA else (socket.AF_INET, 4)
        records = b"".join(
            struct.pack("!HHHIH", 0xc00c, kind, 1, self.ttl, size) + socket.inet_pton(family, address)
            for address in addresses or () if (":" in address) == (kind == AAAA))
        count = len(records) // (12 + size)
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + query[12:at + 5] + records
