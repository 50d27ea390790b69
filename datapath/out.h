/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.h - age a packet and send it on its way
 *
 * The kernel finds the neighbour for each packet. An entry remembers the route, and the
 * kernel is asked again as soon as any route has changed, so that changes of either
 * act at once, with no daemon alive.
 *
 * It is asked as for a socket of this machine, the one that the packet's receiver
 * believes to talk to: rules by addresses and ports are honoured, and `iif lo`, and not
 * the interface that the packet came in by. Marks and users are not: those
 * of the socket went with it. bpf_fib_lookup() answers such a question
 * only where forwarding is on for lo, which libladon sees to (lib/forward.c); all else
 * works with forwarding off. Where it is off for lo, too, the kernel routes each packet
 * after a change, but the interface stays the one of the handoff.
 *
 * It does not look at the size of what it is given: that is done here. A route's MTU
 * comes with the route; an interface's is asked for at most once in a jiffy. Of the MTU that
 * an operator gave a route bpf_fib_lookup() tells if it is locked, or
 * net.ipv4.ip_forward_use_pmtu is on; and always of what this host has learnt for a destination.
 *
 * That a neighbour does not answer the kernel finds out: it keeps what is for it, asks
 * three times in three seconds, and gives up. The sender of a packet that it kept it tells then,
 * if the packet has a route, and only if the kernel has looked for the route itself it
 * has. So that is left to it while the neighbour is not known. The sender is this machine,
 * for the packet is translated: the error arrives on lo, and ladon_local (tc.bpf.c) has it
 * translated back like any router's. Whether the neighbour is known is asked with
 * the route, and for the first packet of each flow in OUT_AGAIN_MS; and for every packet
 * while it is not.
 */
#ifndef LADON_OUT_H
#define LADON_OUT_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "ctx.h"
#include "hop.h"
#include "packet.h"

/**
 * out_age() - lower the time to live, as whoever forwards a packet must (RFC 1812 section 5.3.1)
 * @d: .ip takes up the change; the header's checksum is left to translate()
 *
 * Return: VERDICT_RAISE when it is used up; nothing was changed then.
 */
static __always_inline enum verdict out_age(struct packet *pkt, struct csum_delta *d)
{
	__u8 *ttl = pkt->is_ip6 ? &pkt->ip6->hop_limit : &pkt->ip4->ttl;

	if (*ttl <= 1)
		return packet_end(pkt, VERDICT_RAISE, LADON_REASON_TTL);
	if (pkt->is_ip6)
		csum_lower8_at(&d->ip, offsetof(struct ipv6hdr, hop_limit), ttl);
	else
		csum_lower8_at(&d->ip, offsetof(struct iphdr, ttl), ttl);
	return VERDICT_CONTINUE;
}

/**
 * struct way - how a packet leaves
 * @ifindex: interface
 * @hop: index into ladon_hops
 * @mtu: of a packet as it arrives, the largest that the route and the interface take; 0: that is
 *	gone
 * @is_known: the next hop is @next; else the kernel looks for the route
 */
struct way {
	__u32 ifindex;
	__u32 hop;
	__u32 mtu;
	bool is_known;
	struct bpf_redir_neigh next;
};

/* include/net/flow.h: LOOPBACK_IFINDEX, where packets of this machine's own come from */
#define OUT_LOOPBACK_IFINDEX 1

/* Or from the VRF that they are in; then forwarding is not switched on, it would be for the whole VRF. */
const volatile __u32 out_from = OUT_LOOPBACK_IFINDEX;

/* The answer of a look-up, as a hop: without a gateway where the receiver is on the link */
static __always_inline void out_hop(const struct bpf_fib_lookup *answer,
				    const struct ladon_entry *flow, struct ladon_hop *hop)
{
	const __u32 *to = flow->daddr, *next = answer->ipv6_dst;

	hop->ifindex = answer->ifindex;
	if (answer->family == FAMILY_IP4) {
		if (answer->ipv4_dst == to[3])
			return;
		hop->gateway[0] = answer->ipv4_dst;
	} else {
		if (next[0] == to[0] && next[1] == to[1] && next[2] == to[2] && next[3] == to[3])
			return;
		__builtin_memcpy(hop->gateway, next, sizeof(hop->gateway));
	}
	hop->family = answer->family;
}

/* A power of two. Who sends into the void repeats it, after pauses that soon are longer. */
#define OUT_AGAIN_MS 2048

/* Is this the first packet of its flow for some time? */
static __always_inline bool out_is_due(const struct ladon_entry *flow, __u32 now_ms)
{
	return (flow->seen_ms ^ now_ms) >= OUT_AGAIN_MS;
}

/*
 * Ask the kernel for the way of a flow's packets, and remember it. A function of its
 * own, with its own stack, that is given values and returns one: what others point to cannot
 * stay in registers, not even for the packets that do not come here.
 *
 * @generation: that of the routes, read before
 *
 * Return: what bpf_fib_lookup() said. SUCCESS: flow->route is the way; NO_NEIGH: so it is, but
 * the neighbour is not known, nor then the MTU, and the next packet asks again; else it is
 * what it was before, and so it is if the table of hops is full.
 */
ctx_global __u32 out_ask(ctx_t *ctx, struct ladon_entry *flow, bool is_ip6, __u32 generation)
{
	struct bpf_fib_lookup ask = {
		.family = is_ip6 ? FAMILY_IP6 : FAMILY_IP4,
		.l4_protocol = IPPROTO_TCP,
		.ifindex = out_from,
		.tot_len = 1, /* else it does not look for the route's MTU */
	};
	struct ladon_hop hop = {};
	__u32 index, route, rc;

	if (!flow)
		return BPF_FIB_LKUP_RET_FWD_DISABLED; /* never */
	ask.sport = flow->sport;
	ask.dport = flow->dport;
	if (is_ip6) {
		__builtin_memcpy(ask.ipv6_src, flow->saddr, sizeof(ask.ipv6_src));
		__builtin_memcpy(ask.ipv6_dst, flow->daddr, sizeof(ask.ipv6_dst));
	} else {
		ask.ipv4_src = flow->saddr[3];
		ask.ipv4_dst = flow->daddr[3];
	}
	rc = bpf_fib_lookup(ctx, &ask, sizeof(ask), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH)
		return rc;
	out_hop(&ask, flow, &hop);
	if (rc == BPF_FIB_LKUP_RET_SUCCESS)
		hop.mtu = ask.mtu_result;
	index = hop_intern(&hop);
	if (index >= LADON_HOPS)
		return BPF_FIB_LKUP_RET_SUCCESS; /* by the old way, until there is room */
	route = LADON_ROUTE(index, rc == BPF_FIB_LKUP_RET_SUCCESS ? generation : ~generation);
	if (flow->route != route) /* others read this cache line */
		*(volatile __u32 *)&flow->route = route;
	return rc;
}

/* There is no way: say so as a router would. Else the kernel shall look for each packet. */
static __always_inline enum verdict out_refused(struct packet *pkt, __u32 rc)
{
	switch (rc) {
	case BPF_FIB_LKUP_RET_NOT_FWDED:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
		return packet_end(pkt, VERDICT_RAISE, LADON_REASON_UNREACHABLE);
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return packet_end(pkt, VERDICT_RAISE, LADON_REASON_PROHIBITED);
	case BPF_FIB_LKUP_RET_BLACKHOLE:
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_BLACKHOLE);
	default:
		return VERDICT_CONTINUE;
	}
}

static __always_inline void out_take(struct way *way, const struct ladon_hop *hop,
				     const struct ladon_entry *flow, bool is_ip6)
{
	way->is_known = true;
	way->next.nh_family = hop->family;
	__builtin_memcpy(way->next.ipv6_nh, hop->gateway, sizeof(way->next.ipv6_nh));
	if (hop->family)
		return;
	if (is_ip6) {
		way->next.nh_family = FAMILY_IP6;
		__builtin_memcpy(way->next.ipv6_nh, flow->daddr, sizeof(way->next.ipv6_nh));
	} else {
		way->next.nh_family = FAMILY_IP4;
		way->next.ipv4_nh = flow->daddr[3];
	}
}

/**
 * out_find() - where the packets of a flow leave
 * @is_ip6: the family that they leave in
 *
 * What the entry remembers counts as long as no route has changed since. The generation
 * is read before the kernel is asked: an answer that a change overtakes is asked for
 * again. Before Linux 6.2 nobody can see it, and each packet asks.
 *
 * Return: VERDICT_DROP if the flow has no hop, which is a bug of ladon's, or what
 * is to become of a packet that has no way.
 */
static __always_inline enum verdict out_find(ctx_t *ctx, struct packet *pkt,
					     struct ladon_entry *flow, bool is_ip6, __u32 now_ms,
					     struct way *way)
{
	__u32 route = *(volatile __u32 *)&flow->route, generation = 0, refused = 0;
	const struct ladon_hop *hop;
	enum verdict verdict;

	way->hop = LADON_ROUTE_HOP(route);
	if (!ctx_route_gen(ctx, is_ip6, &generation) ||
	    LADON_ROUTE(way->hop, generation) != route || out_is_due(flow, now_ms)) {
		refused = out_ask(ctx, flow, is_ip6, generation);
		way->hop = LADON_ROUTE_HOP(*(volatile __u32 *)&flow->route);
	}
	verdict = refused ? out_refused(pkt, refused) : VERDICT_CONTINUE;
	if (verdict != VERDICT_CONTINUE)
		return verdict;
	hop = hop_get(way->hop);
	if (!hop)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	way->ifindex = hop->ifindex;
	way->mtu = hop->mtu;
	if (!refused)
		out_take(way, hop, flow, is_ip6);
	return VERDICT_CONTINUE;
}

/* Of each hop, milliseconds and the MTU that was found in them, both truncated */
static volatile __u64 out_mtus[LADON_HOPS];

/* @route: the route's MTU, or 0 */
static __noinline __u32 out_ask_mtu(ctx_t *ctx, __u32 hop, __u32 ifindex, __u32 route, __u32 now_ms)
{
	__u32 mtu = ctx_mtu(ctx, ifindex);

	if (route && route < mtu)
		mtu = route;
	out_mtus[hop % LADON_HOPS] = (__u64)now_ms << 32 | mtu;
	return mtu;
}

static __always_inline __u32 out_mtu(ctx_t *ctx, const struct way *way, __u32 now_ms)
{
	__u64 last = out_mtus[way->hop % LADON_HOPS]; /* both halves at once */

	if (last >> 32 == now_ms)
		return last;
	return out_ask_mtu(ctx, way->hop, way->ifindex, way->mtu, now_ms);
}

static __always_inline enum verdict out_too_large(const ctx_t *ctx, struct packet *pkt,
						  const struct way *way)
{
	__u32 gso_bytes = ctx_gso_bytes(ctx);

	if (gso_bytes && pkt->len_bytes - pkt->payload_bytes + gso_bytes <= way->mtu)
		return VERDICT_CONTINUE; /* the segments are what the link has to take */
	if (!way->mtu)
		return packet_end(pkt, VERDICT_RAISE, LADON_REASON_NO_LINK);
	if (!pkt->is_ip6 && !(pkt->ip4->frag_off & bpf_htons(IP4_DONT_FRAGMENT)))
		return packet_end(pkt, VERDICT_RAISE, LADON_REASON_TOO_LARGE_DF);
	return packet_end(pkt, VERDICT_RAISE, LADON_REASON_TOO_LARGE);
}

/**
 * out_fits() - does the link take a packet of this size?
 * @grows: by how many bytes the packet becomes longer until it leaves
 * @way: from out_find(), with the route's MTU; the interface's, if it is less, takes its place
 *
 * Who forwards a packet that is too large fragments it, where that is allowed (IPv4
 * without DF). A program cannot, and the stack would have to be shown the translated
 * packet, whose sender it is itself. So its sender is told like any other: today's
 * set DF, all but those that were told not to.
 *
 * Return: VERDICT_RAISE if not
 */
static __always_inline enum verdict out_fits(ctx_t *ctx, struct packet *pkt, __u32 now_ms,
					     __s32 grows, struct way *way)
{
	__u32 mtu = out_mtu(ctx, way, now_ms);

	way->mtu = mtu ? mtu - grows : 0;
	return pkt->len_bytes <= way->mtu ? VERDICT_CONTINUE : out_too_large(ctx, pkt, way);
}

/**
 * out_way() - find the way of a packet, see that it fits, and age it
 * @is_ip6, @grows: as for out_find() and out_fits()
 * @d: as for out_age()
 *
 * Return: VERDICT_CONTINUE, or what is to become of the packet; then it was not changed
 */
static __always_inline enum verdict out_way(ctx_t *ctx, struct packet *pkt,
					    struct ladon_entry *flow, bool is_ip6, __s32 grows,
					    __u32 now_ms, struct way *way, struct csum_delta *d)
{
	enum verdict verdict = out_find(ctx, pkt, flow, is_ip6, now_ms, way);

	if (verdict == VERDICT_CONTINUE)
		verdict = out_fits(ctx, pkt, now_ms, grows, way);
	return verdict == VERDICT_CONTINUE ? out_age(pkt, d) : verdict;
}

/** out_send() - Return: what tc is to be told. Ends all packet pointers. */
static __always_inline int out_send(ctx_t *ctx, struct way *way)
{
	ctx_untag(ctx);
	if (way->is_known)
		return bpf_redirect_neigh(way->ifindex, &way->next, sizeof(way->next), 0);
	return bpf_redirect_neigh(way->ifindex, NULL, 0, 0);
}

#endif
