# SPDX-License-Identifier: GPL-2.0-only
"""A connect() that does not block says 0 when it is asked again after the handshake, and EALREADY before.

gateway/connect.c, connect_again(): a backend on this host has answered by then.
"""
import errno

import place


def twice(sock, to):
    sock.setblocking(False)
    return sock.connect_ex(to), sock.connect_ex(to)


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space, place.listen(space, address) as listener, \
                space.socket(address) as one, space.socket(address) as other:
            to = listener.getsockname()[:2]
            found = twice(one, to)
            assert found == (errno.EINPROGRESS, 0), f"{address}: {found}"
            space.lose(f"tcp dport {to[1]}")
            found = twice(other, to)
            assert found == (errno.EINPROGRESS, errno.EALREADY), f"{address}: nobody answers: {found}"
