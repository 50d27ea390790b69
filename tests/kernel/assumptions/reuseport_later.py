# SPDX-License-Identifier: GPL-2.0-only
"""SO_REUSEPORT that is set after bind() lets others join from then on, and nobody before.

gateway/listen.c, listener_bind(): the workers share a port, and a second ladond does not join them.
"""
import errno
import socket

import place


def joins(space, address, port):
    """Return: the joined socket, or the errno."""
    sock = space.socket(address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((address, port))
        return sock
    except OSError as error:
        sock.close()
        return error.errno


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space, space.socket(address) as first:
            first.bind((address, 0))
            port = first.getsockname()[1]
            found = joins(space, address, port)
            assert found == errno.EADDRINUSE, f"{address}: before: {found}"
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found = joins(space, address, port)
            assert isinstance(found, socket.socket), f"{address}: after: {found}"
            with found as second:
                first.listen()
                second.listen()
