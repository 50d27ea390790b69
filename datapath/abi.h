/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * abi.h - everything that the kernel side and user space share
 *
 * Every map key, map value, event and test-run argument, and nothing else.
 * Widths are fixed and padding is spelled out. Addresses have one form, 16
 * bytes with IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that there
 * is one key and one table. Sequence and acknowledgement numbers, timestamps
 * and windows are in host byte order, addresses and ports in network order.
 *
 * Maps are pinned and outlive the daemon, and the next one may be of another
 * version: see LADON_ABI.
 */
#ifndef LADON_ABI_H
#define LADON_ABI_H

#include <linux/types.h>

#include "reasons.h"

/*
 * What the bytes of pinned maps mean; written into the map ladon_layout (lib/layout.c).
 * Raised by every change that an older build would misread, a new bit included.
 * Flows of LADON_ABI_OLDEST and later are taken over: raise that, too, if theirs
 * cannot be read any more. Counters and events may change without either.
 */
#define LADON_ABI	    5
#define LADON_ABI_OLDEST    3
#define LADON_ABI_UNWRITTEN 3 /* the last that was not written anywhere */

/* One direction of one connection, as its packets arrive. */
struct ladon_flow_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};
_Static_assert(sizeof(struct ladon_flow_key) == 36,
	       "hash keys are compared as bytes: no padding allowed");

/* ladon_entry.what: fixed when the entry is made */
enum {
	LADON_FLOW_TO_CLIENT = 1 << 0, /* backend to client; else client to backend */
	LADON_FLOW_TS = 1 << 1,	       /* translate timestamps: both ends speak them */
	LADON_FLOW_NO_TS = 1 << 2,     /* NOP timestamps: the receiver has none */
	LADON_FLOW_NO_SACK = 1 << 3,   /* NOP SACK blocks: the receiver has none */
	LADON_FLOW_NO_ECN = 1 << 4,    /* clear ECT, ECE and CWR: not agreed on both legs */
	LADON_FLOW_STACK = 1 << 5,     /* the stack is to forward, once conntrack knows how */
	LADON_FLOW_CROSS = 1 << 6,     /* arrives in one address family, leaves in the other */
	LADON_FLOW_UNCOUNTED = 1 << 7, /* client's direction: the source port is none of lib/source.c's */
};

/* ladon_entry.state: changed by atomic or/and only */
enum {
	LADON_STATE_HOLD_ACK = 1 << 0, /* drop pure ACKs before .edge, until one is not */
	LADON_STATE_HOLD_SEQ = 1 << 1, /* drop segments that, translated, begin before it */
	LADON_STATE_FIN = 1 << 2,      /* this direction's sender sent a FIN */
	LADON_STATE_PEER_FIN = 1 << 3, /* its peer sent one; .edge is its end */
	LADON_STATE_DONE = 1 << 4,     /* ... and the sender acknowledged it */
	LADON_STATE_CLOSED = 1 << 5,   /* both DONE, or a RST; set in both entries */
	LADON_STATE_RESET = 1 << 6,    /* ... by a RST, which this sender sent */
	LADON_STATE_KILLED = 1 << 7,   /* answer whatever comes with a RST */
	LADON_STATE_FIRST = 1 << 8,    /* this sender's FIN came before its peer's */
	LADON_STATE_STACK = 1 << 9,    /* it does: see stack.h; in both entries */
	LADON_STATE_TOLD = 1 << 10,    /* KILLED, and this sender was sent a RST, or sent one */
	LADON_STATE_WAITS = 1 << 11,   /* a probe of its peer is unanswered */
	LADON_STATE_HIGH = 1 << 12,    /* what this sender hears has timestamps from 2^31 on */

	LADON_STATE_PROBE = 1 << 16,   /* how many probes of this sender are unanswered, ... */
	LADON_STATE_PROBES = 63 << 16, /* ... in these bits: see probe.h */
};

/* The upper bits, set when the entry is made: an index into ladon_limits. 0: of a former build */
#define LADON_STATE_LIMITS(set)	     ((__u32)(set) << 24)
#define LADON_STATE_LIMITS_OF(state) ((__u32)(state) >> 24)
#define LADON_LIMITS		     256
#define LADON_PROBES_MAX	     63

/* A hold that has not ended by then is void: its maker died, or bytes were lost. */
#define LADON_HOLD_MS 100

/**
 * struct ladon_entry - how to turn one direction's packets into the other leg's
 *
 * The reverse of (saddr, daddr, sport, dport) is the key of the twin, the
 * entry of the other direction. First cache line: read by every packet.
 *
 * @saddr, @daddr, @sport, @dport: what the packet leaves with
 * @d_seq: added to the sequence number
 * @d_ack: added to the acknowledgement number and the SACK edges
 * @d_tsval, @d_tsecr: added to TSval and to TSecr
 * @wscale_in: how far the sender's window field is to be shifted left
 * @wscale_out: ... and then right: what the receiver believes
 * @what: LADON_FLOW_*
 * @acked: upper half of the acknowledgement number that the sender wrote last
 * @state: LADON_STATE_*
 * @route: where the packet leaves, LADON_ROUTE(). Written by any CPU at any time, and
 *	read at once: the two halves of it belong together
 * @packets, @bytes: forwarded; bytes are IP lengths. Not atomic: a packet may
 *	be missed when a flow changes CPU
 * @seen_ms: when the sender spoke last; answers to probes do not count. CLOCK_MONOTONIC,
 *	truncated: compare signed
 * @made_ms: when the flow was made, by the same clock. In the client's direction, once it
 *	was probed: when it last was
 * @id: the same in both entries, unique among live flows
 * @edge: with HOLD_ACK or PEER_FIN an acknowledgement number as the sender
 *	writes it; with HOLD_SEQ a sequence number as the receiver sees it
 */
struct ladon_entry {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 d_seq;
	__u32 d_ack;
	__u32 d_tsval;
	__u32 d_tsecr;
	__u8 wscale_in : 4, wscale_out : 4;
	__u8 what;
	__u16 acked;
	__u32 state;
	__u32 route;

	__u64 packets;
	__u64 bytes;
	__u32 seen_ms;
	__u32 made_ms;
	__u32 id;
	__u32 edge;
};
_Static_assert(sizeof(struct ladon_entry) == 96,
	       "two entries and their hash buckets fit in 400 bytes");

/**
 * struct ladon_limits - how long flows may be silent: a set that many flows share
 *
 * Value of ladon_limits, by LADON_STATE_LIMITS_OF(). The datapath does not read it.
 *
 * @idle_ms: without a packet; 0: the set is not in use
 * @half_closed_ms: ... when one end has sent a FIN
 * @probe_after_ms: silence after which the ends are probed; 0: never
 * @probe_interval_ms: until an end that did not answer is probed again
 * @probes: that an end leaves unanswered when it is dead
 */
struct ladon_limits {
	__u32 idle_ms;
	__u32 half_closed_ms;
	__u32 probe_after_ms;
	__u32 probe_interval_ms;
	__u32 probes;
};

/**
 * struct ladon_hop - an interface and a gateway, shared by the flows that leave there
 * @state: LADON_HOP_*; all else changes only while it is FILLING
 * @ifindex: interface
 * @family: AF_INET or AF_INET6: of @gateway; 0: the destination is on the link
 * @mtu: of the route, bytes; 0: not known, or of an older build
 */
struct ladon_hop {
	__u32 state;
	__u32 ifindex;
	__u16 family;
	__u16 mtu;
	__be32 gateway[4]; /* IPv4: the first */
};

#define LADON_HOPS 1024

/* An index into ladon_hops, and the generation of the routes, truncated, in which it was found */
#define LADON_ROUTE(hop, generation) ((__u32)(generation)*LADON_HOPS + (hop))
#define LADON_ROUTE_HOP(route)	     ((route) % LADON_HOPS)

enum {
	LADON_HOP_FREE,
	LADON_HOP_FILLING,
	LADON_HOP_READY,
	LADON_HOP_RETIRED, /* good for the flows that have it, and no others */
};

/*
 * ---- learned flows: connections of others, which this machine forwards; see learned.h ----
 */

/* How packets of one direction arrive. .via is LADON_VIA() */
struct ladon_learned_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 via;
} __attribute__((aligned(8))); /* it is hashed by words of eight bytes */
_Static_assert(sizeof(struct ladon_learned_key) == 40,
	       "hash keys are compared as bytes: no padding allowed");

/* The interface, and IPPROTO_TCP or IPPROTO_UDP. Interfaces of larger numbers are left out. */
#define LADON_VIA(ifindex, protocol) ((__u32)(ifindex) << 8 | (protocol))
#define LADON_VIA_IFINDEX(via)	     ((via) >> 8)
#define LADON_VIA_PROTOCOL(via)	     ((via)&0xff)
#define LADON_VIA_IFINDEX_MAX	     0xffffff

/* ladon_learned.state: the upper half is the MTU of the way out, bytes */
enum {
	LADON_LEARNED_NAT = 1 << 0,   /* addresses or ports change */
	LADON_LEARNED_ASKED = 1 << 1, /* a packet is on its way through the stack, to confirm it */
	LADON_LEARNED_REPLY = 1 << 2, /* what answers whoever opened the connection */
	LADON_LEARNED_RESET = 1 << 3, /* TCP: a RST that its receiver will believe has come */
	LADON_LEARNED_PEER = 1 << 4,  /* packets may go on at the peer of .ifindex: see peer.h */
	LADON_LEARNED_AHEAD = 1 << 5, /* ... and do: none of those before them is queued any more */
	LADON_LEARNED_MARKED = 1 << 6, /* there is a struct ladon_marks that is not 0 */

	/* ... or when the last one was, a byte of its own that is written as such: see peer_is_next() */
	LADON_LEARNED_QUEUED = 0xff << 8,
};
#define LADON_LEARNED_MTU(state) ((state) >> 16)

/**
 * struct ladon_learned - what the stack does with one direction's packets: the value of ladon_learned_flows
 *
 * Two cache lines. Where it stands in the table is bucket.h's.
 *
 * @key: whose it is. .via is 0: nobody's
 * @packets, @bytes: that did not take the stack; bytes are IP lengths, not exact, as in ladon_entry
 * @generation: of routes, rules and neighbours when it was confirmed last
 * @confirmed_ms: when a packet that took the stack left last; of a place that is free: when it became so.
 *	CLOCK_MONOTONIC, truncated: compare signed
 * @saddr, @daddr, @sport, @dport: what the packet leaves with
 * @to, @from: ... and its MAC addresses
 * @ifindex: where it leaves
 * @state: LADON_LEARNED_*. Changed by atomic or/and only
 * @next: TCP: the sequence number after the last segment, host byte order
 * @confirmed: packets that took the stack, since it was learned
 */
struct ladon_learned {
	struct ladon_learned_key key;
	__u64 packets;
	__u64 bytes;
	__u32 generation;
	__u32 confirmed_ms;

	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 to[6];
	__u8 from[6];
	__u32 ifindex;
	__u32 state;
	__u32 next;
	__u32 confirmed;
};
_Static_assert(sizeof(struct ladon_learned) == 128, "an entry is two cache lines");

/* What few have: of the skb when the packet left */
struct ladon_marks {
	__u32 mark;
	__u32 priority;
};

/*
 * The table is made of as many buckets as values of each of these maps: ladon_learned_tags, a line each,
 * ladon_learned_flows, a page each, and ladon_learned_marks. See bucket.h
 */
#define LADON_PLACES 32

struct ladon_tags {
	union {
		__u16 of[LADON_PLACES];
		__u64 words[LADON_PLACES / 4];
	};
};

struct ladon_entries {
	struct ladon_learned of[LADON_PLACES];
};

struct ladon_learned_marks {
	struct ladon_marks of[LADON_PLACES];
};

/* The value of ladon_learned_filter: how many entries there are of each two tags */
struct ladon_filter {
	union {
		__u16 of[1 << 15];
		__u32 words[1 << 14];
	};
};

/*
 * So many that of as many entries as there are to be hardly any finds its bucket full (one in 500, as chance deals them
 * out), and that two entries take no more than 400 bytes
 */
#define LADON_BUCKETS(entries)                                                                     \
	((__u32)(((__u64)(entries)*23 / 16 + LADON_PLACES - 1) / LADON_PLACES))
_Static_assert((sizeof(struct ladon_tags) + sizeof(struct ladon_entries) +
		sizeof(struct ladon_learned_marks)) *
			       2 * 23 / 16 <=
		       400 * LADON_PLACES,
	       "a flow has two entries");

/**
 * struct ladon_dropped - a direction that the firewall drops: the value of ladon_dropped
 * @generation: as of struct ladon_learned
 * @since_ms: when netfilter was last seen to drop it. CLOCK_MONOTONIC, truncated
 */
struct ladon_dropped {
	__u32 generation;
	__u32 since_ms;
};

/* ladon_accelerate.what */
enum {
	LADON_ACCELERATE_TCP = 1 << 0,
	LADON_ACCELERATE_UDP = 1 << 1,
	LADON_ACCELERATE_NAMED = 1 << 2, /* between the interfaces of ladon_accelerated only */
	LADON_ACCELERATE_SPARED = 1 << 3, /* not those of addresses in ladon_spared */

	/* as long as .judged is the generation of the rules */
	LADON_ACCELERATE_DROPS = 1 << 4,     /* what the firewall drops is dropped before it */
	LADON_ACCELERATE_UNTRACKED = 1 << 5, /* what rules spare conntrack leaves as it came */
	LADON_ACCELERATE_TRACKLESS = 1 << 6, /* there is no conntrack, all leaves as it came */
};

#define LADON_SPARED_PORTS 32
#define LADON_SPARED_MARKS 8

/**
 * struct ladon_accelerate - which flows are learned: the value of ladon_accelerate
 * @what: LADON_ACCELERATE_*
 * @packets: of one direction that the stack has forwarded, before that is learned
 * @judged: the generation of the rules that were looked at (lib/rules.c)
 * @reset_ms: TCP: how long conntrack waits for what comes after a RST; 0: not known
 * @established_ms: TCP: how long conntrack waits for a connection that is silent; 0: not known
 * @ports: whose flows are not, at either end, before or after NAT; host byte order. .to 0: no more
 * @marks: likewise, of packets as they leave: .value after .mask. That 0: no more
 */
struct ladon_accelerate {
	__u32 what;
	__u32 packets;
	__u32 judged;
	__u32 reset_ms;
	__u32 established_ms;
	struct {
		__u16 from, to;
	} ports[LADON_SPARED_PORTS];
	struct {
		__u32 value, mask;
	} marks[LADON_SPARED_MARKS];
};

/* Key of ladon_spared, a trie; of IPv4 @bits has 96 more. Its value: are flows of these addresses spared? */
struct ladon_spared {
	__u32 bits;
	__be32 addr[4];
};

/**
 * struct ladon_question - packet of a test run of ladon_why
 * @key: how packets of a connection arrive
 * @why: answer: a reason; LADON_REASON_NONE: past the stack
 */
struct ladon_question {
	__u8 ethernet[14];
	__u16 pad;
	struct ladon_learned_key key;
	__u32 why;
};

/*
 * Places in the map of programs ladon_jumps. Programs of a former build jump through it until
 * they are replaced: add at the end.
 */
enum {
	LADON_JUMP_ENTER,      /* ladon_enter, of tc.bpf.c: from ladon_ingress */
	LADON_JUMP_ICMP,       /* ladon_icmp, of tc.bpf.c: from ladon_ingress, ladon_local */
	LADON_JUMP_LEAVE,      /* ladon_leave, of tc.bpf.c: from ladon_egress */
	LADON_JUMP_TELL,       /* ladon_tell, of tc.bpf.c: from ladon_egress */
	LADON_JUMP_CROSS,      /* ladon_cross, of tc.bpf.c: from ladon_ingress, ladon_probe */
	LADON_JUMP_CROSS_ICMP, /* ladon_cross_icmp, of tc.bpf.c: from ladon_icmp */
	LADON_JUMP_PROBE,      /* ladon_probe, of tc.bpf.c: from ladon_ingress */
	LADON_JUMP_DELIVER,    /* ladon_deliver, of tc.bpf.c: from ladon_ingress, ladon_icmp. Empty:
				* no socket has an address of somebody else, see lib/foreign.c
				*/
	LADON_JUMP_LEARNED,    /* ladon_learned, of learn.bpf.c: from ladon_ingress. Empty: nothing
				* is learned, see lib/learned.c
				*/
	LADON_JUMP_LEARN,      /* ladon_learn, of learn.bpf.c: from ladon_egress. Empty: likewise */
	LADON_JUMPS,
};

/*
 * By this bit of a packet's mark it is this host's, whatever its address: see deliver.h. The
 * rule and the table of routes that make it so have this number.
 */
#define LADON_MARK	 0x8000000
#define LADON_MARK_TABLE 2768

/* Value of a counter of the per-CPU map ladon_counters, by enum ladon_reason;
 * index 0 (LADON_REASON_NONE) counts translated packets.
 */
struct ladon_count {
	__u64 packets;
	__u64 bytes;
};

/* Value of ladon_interfaces, by ifindex: who made the clsact qdisc that ladon is attached to */
enum {
	LADON_QDISC_FOUND = 1,
	LADON_QDISC_MADE = 2, /* ladon: it goes when ladon does, unless others use it */
};

/* Why an event was sent on the ring buffer ladon_events */
enum ladon_event_type {
	LADON_EVENT_CLOSED = 1, /* both entries are CLOSED: reap after a linger */
	LADON_EVENT_ENDED,	/* the entries are gone: free the port */
	LADON_EVENT_STRICT,	/* a struct ladon_strict */
};

/**
 * struct ladon_strict - a TCP connection that conntrack is too strict about to be learned
 * @key: how conntrack's original direction arrives
 * @type: LADON_EVENT_STRICT, in the place where a ladon_event has its own
 */
struct ladon_strict {
	struct ladon_flow_key key;
	__u32 type;
};

/**
 * struct ladon_event - a flow at its end
 * @key: the client's direction as it arrives (client to listener)
 * @flow: that direction's entry when the event was sent
 * @back: packets and bytes of the other direction
 * @type: enum ladon_event_type
 * @by_client: the client sent the first FIN, or the RST
 * @reset: it ended by a RST
 * @back_seen_ms, @back_made_ms: .seen_ms and .made_ms of the other direction
 */
struct ladon_event {
	struct ladon_flow_key key;
	__u32 type;
	struct ladon_entry flow;
	struct ladon_count back;
	__u32 by_client;
	__u32 reset;
	__u32 back_seen_ms;
	__u32 back_made_ms;
};

/* ladon_guard.mode */
enum {
	LADON_GUARD_OFF,    /* an ordinary socket */
	LADON_GUARD_QUIET,  /* acknowledges nothing beyond .base received bytes */
	LADON_GUARD_ACTIVE, /* its flow is in the table: says only what it must */
};

/* ladon_guard.mirror: what the socket's SYN must not offer */
enum {
	LADON_MIRROR_NO_TS = 1 << 0,
	LADON_MIRROR_NO_SACK = 1 << 1,
	LADON_MIRROR_NO_WSCALE = 1 << 2,
};

/* ladon_guard.told: what its peer has heard of the socket's clock */
enum {
	LADON_TOLD_ANY,	  /* not known */
	LADON_TOLD_SYN,	  /* what the SYN said, or the SYN-ACK, and nothing since */
	LADON_TOLD_TSVAL, /* .tsval, or what came before it */
};

/**
 * struct ladon_guard - socket storage: what a socket may say before a handoff
 * @base: bytes received when the guard was laid on; those are acknowledged
 * @mode: LADON_GUARD_*
 * @mirror: LADON_MIRROR_*
 * @tsval: ACTIVE: what data segments carry, what the peer had been told at activation;
 *	before: see .told
 * @hold_end: ACTIVE: the hold ends when a segment that reaches this leaves
 * @hold: ACTIVE: 1 until then
 * @told: QUIET: LADON_TOLD_*
 * @mss: the largest that its SYN may announce (RFC 9293 section 3.7.1); 0: any
 * @announced: what the SYN did announce; 0: it was not seen
 */
struct ladon_guard {
	__u64 base;
	__u32 mode;
	__u32 mirror;
	__u32 tsval;
	__u32 hold_end;
	__u16 hold;
	__u16 told;
	__u16 mss;
	__u16 announced;
};

/* ladon_request.op, for ladon_edit */
enum {
	LADON_EDIT_KILL = 1, /* answer both ends with a RST from now on */
	LADON_EDIT_SETTLE,   /* end the holds: what was to leave will not */
	LADON_EDIT_STACK,    /* the stack forwards from now on: conntrack knows how */

	/* of a hop, whose index is .id: see lib/hops.c */
	LADON_EDIT_HOP_RETIRE,
	LADON_EDIT_HOP_RENEW,
	LADON_EDIT_HOP_FREE,
};

/* As many as a test run takes: one page with the kernel's own room around it */
#define LADON_REAP_MAX 20

/**
 * struct ladon_reaping - packet of a test run of ladon_reap
 * @only_closed: spare flows that are not CLOSED, or not any more
 * @len: flows to be deleted
 * @flows: in: .key, .flow.id, and .type 0; out: of each that was deleted, the
 *	flow as it was, and .type LADON_EVENT_ENDED
 */
struct ladon_reaping {
	__u8 ethernet[14];
	__u8 only_closed;
	__u8 len;
	struct ladon_event flows[LADON_REAP_MAX];
};

/* What an acknowledgement that is written by hand must contain. */
struct ladon_view {
	__u32 snd_nxt;
	__u32 rcv_nxt;
	__u32 tsval;
	__u32 tsecr;
	__u16 window;
	__u8 has_ts;
	__u8 pad;
};

/**
 * struct ladon_request - packet of a test run of the programs in handoff.bpf.c
 *
 * A test run wants a packet that begins with an Ethernet header; this is one.
 *
 * @op: for ladon_edit: LADON_EDIT_*; for ladon_activate: LADON_EDIT_STACK, if that is to follow
 * @front: how the client's packets arrive: source is the client, destination ladon. Also
 *	names the flow for ladon_edit
 * @front_socket: for ladon_activate: the front socket: the same, unless NAT of this host
 *	gives it another destination
 * @back: the back socket: source is the backend, destination ladon
 * @front_pending: bytes read from the front socket and not yet sent to the back;
 *	answer: and those not yet read
 * @back_pending: the same of the back socket
 * @id: of the flow
 * @limits: for ladon_activate: the flow's set of limits
 * @reason: answer: LADON_REASON_NONE, or why not
 * @front_room, @back_room: answer: bytes that may be sent at once on each
 * @front_rtt_us, @back_rtt_us: answer: smoothed round trip times; 0: unknown
 * @back_guess: for ladon_activate: the address of ladon's in @back is a guess
 * @uncounted: for ladon_activate: LADON_FLOW_UNCOUNTED
 * @netfilter: for ladon_activate: conntrack was asked about the two sockets; answer: it may
 *	know them. If it was not asked and may, nothing else was done
 * @view: answer of ladon_look
 */
struct ladon_request {
	__u8 ethernet[14];
	__u16 op;
	struct ladon_flow_key front;
	struct ladon_flow_key front_socket;
	struct ladon_flow_key back;
	__u32 front_pending;
	__u32 back_pending;
	__u32 id;
	__u32 limits;
	__u32 reason;
	__u32 front_room;
	__u32 back_room;
	__u32 front_rtt_us;
	__u32 back_rtt_us;
	__u32 back_guess;
	__u32 uncounted;
	__u32 netfilter;
	struct ladon_view view;
};

#endif
