# SPDX-License-Identifier: GPL-2.0-only
"""With SO_REUSEADDR one source port serves towards many backends, but never twice towards one,
and cannot be bound while somebody listens on it.

lib/guard.c, source_bind_one(); lib/source.h counts ports per backend.
"""
import errno
import socket

import place

PORT = 20000


def bound(space, address):
    """A socket as ladon_connect() binds it: no address, a port of its own choice."""
    sock = space.socket(address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", PORT))
    return sock


def refused(call, *args):
    """The errno it is refused with; 0: it is not."""
    try:
        call(*args)
        return 0
    except OSError as error:
        return error.errno


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space, place.listen(space, address) as one, \
                place.listen(space, address) as other:
            with bound(space, address) as a, bound(space, address) as b, bound(space, address) as c:
                a.connect(one.getsockname()[:2])
                found = refused(b.connect, other.getsockname()[:2])
                assert not found, f"towards another backend: {errno.errorcode[found]}"
                found = refused(c.connect, one.getsockname()[:2])
                assert found == errno.EADDRNOTAVAIL, f"twice towards one backend: {found}"
        with place.namespace() as space, place.listen(space, address, PORT):
            found = refused(bound, space, address)
            assert found == errno.EADDRINUSE, f"while somebody listens: {found}"
