# SPDX-License-Identifier: GPL-2.0-only
"""dns.py - a name server whose answers the test decides, and may change (RFC 1035)"""
import contextlib
import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


class NameServer:
    """On an address of a namespace, UDP port 53.

    names: of each name the addresses it has now, or, of one for SRV, (priority, weight, port, target) of
    each record; None: the server fails; "silent": it does not answer; missing: there is no such name.
    ttls: of the names whose records live for another time than the others'.
    asked: every (name, type) that was asked for.
    """

    def __init__(self, space, address, ttl=1):
        self.names, self.ttls, self.asked, self.ttl = {}, {}, [], ttl
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
                    answer = self._answer(query)
                    if answer:
                        self.socket.sendto(answer, peer)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack_from("!H", query, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        addresses, ttl = self.names.get(name, ()), self.ttls.get(name, self.ttl)
        if addresses == "silent":
            return None
        code = SERVFAIL if addresses is None else NOERROR if name in self.names else NXDOMAIN
        records = [struct.pack("!HHHIH", 0xc00c, kind, 1, ttl, len(data)) + data
                   for data in self._data(kind, addresses or ())]
        return (query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + query[12:at + 5]
                + b"".join(records))

    @staticmethod
    def _data(kind, addresses):
        if kind == SRV:
            return [struct.pack("!HHH", *numbers) + b"".join(
                bytes([len(label)]) + label.encode() for label in target.split(".") if label) + b"\0"
                for *numbers, target in addresses]
        family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
        return [socket.inet_pton(family, address) for address in addresses
                if isinstance(address, str) and (":" in address) == (kind == AAAA)]
