# SPDX-License-Identifier: GPL-2.0-only
"""conntrack.py - entries as ctnetlink tells of them: conntrack(8) does not show all of their status and flags"""
import collections
import socket
import struct

NETLINK_NETFILTER = 12
CT_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3

# linux/netfilter/nfnetlink_conntrack.h
TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, TIMEOUT = 1, 2, 3, 4, 7
TUPLE_IP, TUPLE_PROTO = 1, 2
PROTO_NUM, PROTO_SPORT, PROTO_DPORT = 1, 2, 3
TCP_STATE, TCP_FLAGS_ORIG, TCP_FLAGS_REPLY = 1, 4, 5

ASSURED = 4  # of the status: linux/netfilter/nf_conntrack_common.h

# linux/netfilter/nf_conntrack_tcp.h: states, and flags of a direction
ESTABLISHED, CLOSE = 3, 8
WINDOW_SCALE, SACK, CLOSE_INIT = 1, 2, 4

# original, reply: (source, port, destination, port); timeout: seconds; state, flags: of TCP, (of the original direction, of the reply's)
Entry = collections.namedtuple("Entry", "protocol original reply status timeout state flags")


def attributes(data):
    """{type: payload} of a run of attributes."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def _tuple(data):
    nest = attributes(data)
    ip, proto = attributes(nest[TUPLE_IP]), attributes(nest[TUPLE_PROTO])
    source, dest = (socket.inet_ntop(socket.AF_INET6 if len(ip[kind]) == 16 else socket.AF_INET, ip[kind]) for kind in sorted(ip))
    sport, dport = (struct.unpack("!H", proto.get(kind, bytes(2)))[0] for kind in (PROTO_SPORT, PROTO_DPORT))
    return proto[PROTO_NUM][0], (source, sport, dest, dport)


def _entry(data):
    found = attributes(data)
    protocol, original = _tuple(found[TUPLE_ORIG])
    tcp = attributes(attributes(found.get(PROTOINFO, b"")).get(1, b""))
    return Entry(protocol, original, _tuple(found[TUPLE_REPLY])[1], struct.unpack("!I", found[STATUS])[0],
                 struct.unpack("!I", found.get(TIMEOUT, bytes(4)))[0], tcp.get(TCP_STATE, b"\0")[0],
                 tuple(tcp[kind][0] for kind in (TCP_FLAGS_ORIG, TCP_FLAGS_REPLY) if kind in tcp))


def entries(space):
    """All of a namespace."""
    with space.enter(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        sock.send(struct.pack("IHHII", 20, CT_GET, REQUEST_DUMP, 1, 0) + bytes(4))
        found = []
        while True:
            data = sock.recv(1 << 20)
            while data:
                length, kind = struct.unpack_from("IH", data)
                if kind == NLMSG_DONE:
                    return found
                assert kind != NLMSG_ERROR, struct.unpack_from("i", data, 16)
                found.append(_entry(data[20:length]))
                data = data[(length + 3) & ~3:]
