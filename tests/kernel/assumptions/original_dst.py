# SPDX-License-Identifier: GPL-2.0-only
"""SO_ORIGINAL_DST of an accepted socket: an error when conntrack does not know the connection, the socket's
own address when it does, and another one only behind NAT.

lib/handoff.c, tracking_look(), and gateway/original.c: such a connection's packets carry that destination, and its
socket has another one.
"""
import errno
import socket

import place

ORIGINAL_DST = 80  # SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
PORT, REDIRECTED, UNTRACKED = 8080, 8081, 8082
RULES = f"""
table inet nat {{
    chain out {{
        type nat hook output priority -100
        tcp dport {REDIRECTED} redirect to :{PORT}
    }}
}}
table inet raw {{
    chain out {{
        type filter hook output priority -300
        tcp dport {UNTRACKED} notrack
        tcp sport {UNTRACKED} notrack
    }}
}}
"""


def original_port(space, address, listener, port):
    """Of a connection to that port; or the errno's name."""
    level = socket.IPPROTO_IPV6 if ":" in address else socket.IPPROTO_IP
    with space.socket(address) as front:
        front.connect((address, port))
        with listener.accept()[0] as back:
            try:
                return int.from_bytes(back.getsockopt(level, ORIGINAL_DST, 28)[2:4], "big")
            except OSError as error:
                return errno.errorcode[error.errno]


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space, place.listen(space, address, PORT) as listener, \
                place.listen(space, address, UNTRACKED) as untracked:
            found = original_port(space, address, listener, PORT)
            assert found in ("ENOENT", "ENOPROTOOPT"), f"{address}: without conntrack: {found}"
            space.nft(RULES)
            for sock, port, expected in ((listener, PORT, PORT), (listener, REDIRECTED, REDIRECTED),
                                         (untracked, UNTRACKED, "ENOENT")):
                found = original_port(space, address, sock, port)
                assert found == expected, f"{address}: to port {port}: {found} instead of {expected}"
