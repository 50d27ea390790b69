# SPDX-License-Identifier: GPL-2.0-only
"""tls.py - certificates for real handshakes, and hellos made by hand for odd ones"""
import os
import ssl
import struct

from .net import run

ALERT_UNEXPECTED_MESSAGE = 10
ALERT_RECORD_OVERFLOW = 22
ALERT_ILLEGAL_PARAMETER = 47
ALERT_ACCESS_DENIED = 49
ALERT_DECODE_ERROR = 50
ALERT_INTERNAL_ERROR = 80
ALERT_UNRECOGNIZED_NAME = 112


class Certificates:
    """One self-signed certificate for some names, if nothing is said all of the tests; `ca` is what clients trust."""

    def __init__(self, directory, *names):
        os.makedirs(directory, exist_ok=True)
        self.ca = os.path.join(directory, "cert.pem")
        self.key = os.path.join(directory, "key.pem")
        names = ",".join(f"DNS:{n}" for n in names or ("example.org", "*.example.org", "example.net",
                                                        "*.example.net"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=ladon tests", "-addext",
            f"subjectAltName={names}", "-keyout", self.key, "-out", self.ca)

    def server(self, *alpn):
        """A context for Server(tls=)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, self.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def client(self, *alpn):
        context = ssl.create_default_context(cafile=self.ca)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def _vector(width, data):
    """A TLS vector: length in `width` bytes, then the data (RFC 8446 section 3.4)."""
    return len(data).to_bytes(width, "big") + data


def extension(number, data):
    return struct.pack("!H", number) + _vector(2, data)


def server_names(*names):
    """RFC 6066 section 3."""
    entries = b"".join(b"\0" + _vector(2, name.encode()) for name in names)
    return extension(0, _vector(2, entries))


def alpn_offer(*protocols):
    """RFC 7301 section 3.1."""
    return extension(16, _vector(2, b"".join(_vector(1, p.encode()) for p in protocols)))


def records(handshake, most=16384):
    """The handshake message in records of at most `most` bytes."""
    return b"".join(b"\x16\x03\x01" + _vector(2, handshake[at:at + most])
                    for at in range(0, len(handshake), most))


def hello(*names, alpn=(), size=0, most=16384):
    """A ClientHello (RFC 8446 section 4.1.2), padded to at least `size` bytes (RFC 7685)."""
    extensions = extension(0x0A0A, b"")  # GREASE, RFC 8701
    if names:
        extensions += server_names(*names)
    if alpn:
        extensions += alpn_offer(*alpn)
    extensions += extension(43, b"\x02\x03\x04")  # TLS 1.3
    body = b"\x03\x03" + bytes(range(32)) + _vector(1, bytes(32)) + \
        _vector(2, b"\x0a\x0a\x13\x01\x13\x02") + _vector(1, b"\0")
    padding = size - len(body) - 2 - len(extensions) - 4 - 4 - 5
    if padding > 0:
        extensions += extension(21, bytes(padding))
    return records(b"\x01" + _vector(3, body + _vector(2, extensions)), most)


def alert(data):
    """The description in a fatal alert record, or None if the bytes are something else."""
    if len(data) == 7 and data[:1] == b"\x15" and data[3:6] == b"\0\x02\x02":
        return data[6]
    return None
