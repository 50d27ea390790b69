/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reasons.h - why something was refused, relayed, closed or left the fast path
 *
 * The one list. Each line yields an enumerator, the word that `ladon stats`
 * prints and the sentence beside it. PACKET reasons are counted per packet by
 * the datapath, RELAY reasons per connection that stayed in user space instead
 * of being handed off, CLOSED reasons per connection that ladon itself ended.
 *
 * A number is a name for one build only; words and sentences are the
 * interface. Add at the end of a group, and add the test with it.
 */
#ifndef LADON_REASONS_H
#define LADON_REASONS_H

/* clang-format off */
#define LADON_REASONS(X)                                                            \
	/* packets: what became of those that did not take the fast path */         \
	X(PACKET, NOT_IP,         "not IPv4 or IPv6; left to the stack")            \
	X(PACKET, NOT_TCP,        "not TCP; left to the stack")                     \
	X(PACKET, FRAGMENT,       "a fragment; left to the stack")                  \
	X(PACKET, IP_OPTIONS,     "IP options or extension headers; left to the stack") \
	X(PACKET, SHORT,          "shorter than its headers say; left to the stack") \
	X(PACKET, NO_FLOW,        "no such flow; left to the stack")                \
	X(PACKET, NOT_OURS,       "a flow's packet that cannot be translated; dropped") \
	X(PACKET, TTL,            "time to live used up; dropped, the sender was told by ICMP")             \
	X(PACKET, HELD_ACK,       "acknowledges first bytes that have not left yet; dropped") \
	X(PACKET, HELD_DATA,      "repeats first bytes that have not left yet; dropped") \
	X(PACKET, REOPENED,       "a new connection on a closed flow; left to the stack") \
	X(PACKET, KILLED,         "the flow was killed; answered with a reset")     \
	X(PACKET, CSUM,           "the checksum could not be mended; dropped")      \
	X(PACKET, QUIET_ACK,      "an acknowledgement of ladon's own, kept back before a handoff") \
	X(PACKET, QUIET_END,      "a FIN or RST of a vanishing socket, kept back")  \
	X(PACKET, VLAN,           "carries a VLAN tag; left to the VLAN's own interface") \
	X(PACKET, OTHER_HOST,     "sent to another MAC address; left to the stack") \
	X(PACKET, ICMP_ERROR,     "an ICMP error about a flow; translated")         \
	X(PACKET, ICMP_ASTRAY,    "an ICMP error about a flow, sent to another than it quotes; dropped") \
	X(PACKET, ICMP_UNSENT,    "an ICMP error about a flow, too large or its own time to live used up; dropped") \
	X(PACKET, TOO_LARGE,      "larger than the next link takes; dropped, the sender was told by ICMP") \
	X(PACKET, TOO_LARGE_DF,   "the same, without DF, but ladon does not fragment; dropped, the sender was told by ICMP") \
	X(PACKET, NO_LINK,        "the interface to leave by is gone; dropped, the sender was told by ICMP") \
	X(PACKET, UNREACHABLE,    "no route to the other end any more; dropped, the sender was told by ICMP") \
	X(PACKET, PROHIBITED,     "the route to the other end prohibits it; dropped, the sender was told by ICMP") \
	X(PACKET, BLACKHOLE,      "the route to the other end is a blackhole; dropped") \
	X(PACKET, REOPEN_LATER,   "a new connection on a closed flow, which could not be told of yet; dropped") \
	X(PACKET, UNTOLD,         "the sender was to be told by ICMP, but is told too much already; dropped") \
	X(PACKET, HEADER_CSUM,    "a wrong IPv4 header checksum, which IPv6 has none to show; dropped") \
	X(PACKET, ICMP_NO_WORD,   "an ICMP error about a flow that the other address family has no word for; dropped") \
	X(PACKET, PROBE,          "a probe of ladon's own, to an end that was silent or has to be told; sent") \
	X(PACKET, PROBE_RESET,    "a reset that answers a probe; kept, and the other end is told") \
	X(PACKET, LEARNED,        "of a learned flow; sent past the stack")                 \
	X(PACKET, LEARNED_STALE,  "of a learned flow that the stack has to confirm again, as after a change of routes or rules; left to the stack") \
	X(PACKET, LEARNED_ENDS,   "SYN, FIN or RST of a learned flow; left to the stack")   \
	X(PACKET, LEARNED_UNFIT,  "of a learned flow, but too large, its time to live used up, or without a checksum; left to the stack") \
	X(PACKET, UNLEARNED_YOUNG, "of a flow with too few packets to be learned yet; left to the stack") \
	X(PACKET, UNLEARNED_STATE, "forwarded, of a flow that conntrack does not take for established, both ways") \
	X(PACKET, UNLEARNED_HELP, "forwarded, of a flow that conntrack must see whole: a helper, changed sequence numbers, a fixed time limit, another zone, or IPsec") \
	X(PACKET, UNLEARNED_SPARED, "forwarded, of a flow that the configuration excepts from being learned") \
	X(PACKET, UNLEARNED_STRICT, "forwarded, of a TCP connection whose window conntrack still checks; ladond asks it not to") \
	X(PACKET, UNLEARNED_CHANGED, "forwarded within 20 ms of a change of routes or rules, which may not have seen it") \
	X(PACKET, UNLEARNED_FULL, "forwarded, of a flow that has no room in the table of learned ones") \
	X(PACKET, FIREWALL_DROPS, "of a flow whose packets the firewall drops; dropped before it") \
	/* connections that were relayed */                                         \
	X(RELAY, HANDOFF_OFF,     "the handoff is switched off in the configuration") \
	X(RELAY, NO_PRIVILEGE,    "ladond may not load BPF programs (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)") \
	X(RELAY, NO_BPF,          "the kernel refused the BPF programs")            \
	X(RELAY, NO_SOCKET,       "the kernel did not find the socket by its addresses") \
	X(RELAY, NO_INTERFACE,    "the way to the client or backend leads through an interface ladon is not on") \
	X(RELAY, NOT_ESTABLISHED, "a socket was not ESTABLISHED: one end had closed already") \
	X(RELAY, FAMILY,          "mode stack, and the client speaks IPv4 and the backend IPv6, or the reverse") \
	X(RELAY, LOCAL,           "the client or the backend is this very host")    \
	X(RELAY, NAT,             "mode stack, and netfilter changes the client's connection on its way to the socket") \
	X(RELAY, TABLE_FULL,      "the flow table is full")                         \
	X(RELAY, EXISTS,          "the flow table has a flow of these addresses and ports already") \
	X(RELAY, TIMESTAMPS,      "the client uses TCP timestamps and the backend does not") \
	X(RELAY, MSS,             "the client may send larger segments than the way to the backend takes") \
	X(RELAY, ECN,             "accurate ECN counters cannot be translated")     \
	X(RELAY, AUTHENTICATED,   "TCP-MD5, TCP-AO, MPTCP or kernel TLS: segments must not be changed") \
	X(RELAY, UNACKED,         "bytes that ladon sent were not acknowledged yet") \
	X(RELAY, ACKED,           "bytes were acknowledged that only ladon has")    \
	X(RELAY, NO_PORT,         "no source port is free for this backend")        \
	X(RELAY, SLOW_CONNECT,    "the backend took too long to keep the client waiting unacknowledged") \
	X(RELAY, BUSY,            "the connection is never quiet")                  \
	X(RELAY, UNTRACKED,       "mode stack, and conntrack does not know the connection") \
	X(RELAY, NO_FORWARDING,   "mode stack, and IP forwarding is off")           \
	X(RELAY, NO_KERNEL_MEMORY, "the kernel had no memory for the handoff")      \
	X(RELAY, VRF,             "in another VRF than ladond, bound to an interface, or mode stack in a VRF") \
	/* connections that ladon closed */                                         \
	X(CLOSED, CLIENT_GONE,    "the client closed before it said what it wants") \
	X(CLOSED, FIRST_BYTES,    "the first bytes did not come in time")           \
	X(CLOSED, PEEK_LENGTH,    "the first bytes grew too long without an answer in them") \
	X(CLOSED, PEEK_MALFORMED, "the first bytes are malformed")                  \
	X(CLOSED, SEVERAL_NAMES,  "the TLS hello names several servers")            \
	X(CLOSED, NO_ROUTE,       "no route matches and there is no default")       \
	X(CLOSED, NO_BACKEND,     "no backend of the pool answered")                \
	X(CLOSED, NO_MEMORY,      "out of memory")                                  \
	X(CLOSED, NO_DESCRIPTOR,  "out of file descriptors")                        \
	X(CLOSED, IDLE,           "a relayed connection was idle for too long")     \
	X(CLOSED, CUT,            "cut by the operator")                            \
	X(CLOSED, RELAY_ERROR,    "one end of a relayed connection failed")         \
	X(CLOSED, REMOVED,        "the backend of a relayed connection was removed from the configuration") \
	X(CLOSED, NO_LOCAL_PORT,  "no source address had a port left, not even one of the kernel's") \
	X(CLOSED, NO_USER,        "no user was named, or not with the right password") \
	X(CLOSED, NO_COMMAND,     "SOCKS asked for something else than a connection") \
	X(CLOSED, NO_TARGET,      "the target's name has no address")              \
	X(CLOSED, TARGET_REFUSED, "nobody may be connected to this target") \
	X(CLOSED, SOURCE_DENIED,  "the listener's allow and deny do not let the client's address in") \
	X(CLOSED, ROUTE_DENIED,   "the route's allow and deny do not let the client's address in") \
	X(CLOSED, SOURCE_LIMIT,   "the client's address had as many connections as the listener's limits allow") \
	X(CLOSED, UNDECIDED_LIMIT, "as many connections as the listener's limits allow had not said what they want") \
	X(CLOSED, USERS_BUSY,     "too many passwords were being checked") \
	X(CLOSED, NAMES_BUSY,     "too many names of targets were being looked up") \
	X(CLOSED, PROXY_MISSING,  "a source that must begin with a PROXY header began otherwise") \
	X(CLOSED, PROXY_MALFORMED, "the PROXY header is malformed")                 \
	X(CLOSED, PROXY_LENGTH,   "the PROXY header is longer than 4096 bytes")     \
	X(CLOSED, PROXY_CHECKSUM, "the checksum in the PROXY header is wrong")      \
	X(CLOSED, PROXY_UNTRUSTED, "a PROXY header from a source whose word is not taken") \
	X(CLOSED, BACKENDS_DOWN,  "all backends of the pool are down or draining")  \
	X(CLOSED, BACKENDS_FULL,  "all backends of the pool have as many flows as max-flows says") \
	X(CLOSED, WENT_DOWN,      "the backend of a relayed connection went down, and its pool says when-down: reset") \
	X(CLOSED, REGEX_LIMIT,    "a route's regex took too long for the first bytes") \
	X(CLOSED, PREFIX_MALFORMED, "the ladon prefix is malformed")                \
	X(CLOSED, PREFIX_UNSUPPORTED, "the ladon prefix has a version, a flag or a critical extension that this ladon does not know") \
	X(CLOSED, TOKEN_MISSING,  "a ladon prefix without a token, where one is required") \
	X(CLOSED, TOKEN_UNKNOWN_KEY, "a token of a key that the listener does not have") \
	X(CLOSED, TOKEN_FORGED,   "a token that was not made with the key that it names") \
	X(CLOSED, TOKEN_EXPIRED,  "a token whose time is over")                     \
	X(CLOSED, TOKEN_ELSEWHERE, "a token for another target than the client asked for") \
	X(CLOSED, NOT_REDIRECTED, "the pool's backends are original, and the client was headed for the listener itself") \
	X(CLOSED, SOURCE_FAMILY,  "the backend was to see the client's address, and is of the other address family") \
	X(CLOSED, SOURCE_UNUSABLE, "the backend was to see the client's address, which is nobody's, the gateway's or the backend's own")
/* clang-format on */

#define LADON_REASON_ENUM(kind, name, text) LADON_REASON_##name,
enum ladon_reason {
	LADON_REASON_NONE,
	LADON_REASONS(LADON_REASON_ENUM)
	LADON_REASON_COUNT,
};
#undef LADON_REASON_ENUM

#endif
