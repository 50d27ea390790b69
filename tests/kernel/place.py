# SPDX-License-Identifier: GPL-2.0-only
"""place.py - a namespace with a loopback device, and connections in it"""
import contextlib
import os
import socket

from lib.net import Namespace, is_ipv6, sweep

LOOPBACKS = ("127.0.0.1", "::1")


@contextlib.contextmanager
def namespace(name="a"):
    """A network namespace that this thread can enter()."""
    sweep()
    space = Namespace(f"ladon-{os.getpid()}-{name}")
    try:
        yield space
    finally:
        space.close()


def listen(space, address, port=0):
    sock = space.socket(address)
    if is_ipv6(address):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    sock.listen(8)
    return sock


def connect(listener, sock):
    """Return: the accepted end."""
    sock.connect(listener.getsockname()[:2])
    return listener.accept()[0]


@contextlib.contextmanager
def connection(space, address):
    """Two ends of a connection over the loopback device: who connected, who accepted."""
    with listen(space, address) as listener, space.socket(address) as front, \
            connect(listener, front) as back:
        yield front, back
