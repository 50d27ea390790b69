/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.h - age a packet and send it on its way
 *
 * The kernel finds the neighbour for each packet, and the route as soon as any
 * route has changed, so that changes of either act at once, with no daemon
 * alive. The look-up of a route costs more than all the rest of a packet's way. All
 * of it works with forwarding off on any interface.
 *
 * It does not look at the size of what it is given: that is done here. An
 * interface's MTU is asked for at most once in a jiffy.
 */
#ifndef LADON_OUT_H
#define LADON_OUT_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "ctx.h"
#include "hop.h"
#include "packet.h"

/* One less of the byte at an even or odd offset in its word. */
static __always_inline void out_lower(__u8 *byte, __u32 offset, __u64 *delta)
{
	csum_change8_at(delta, offset, *byte, *byte - 1);
	(*byte)--;
}

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
		out_lower(ttl, offsetof(struct ipv6hdr, hop_limit), &d->ip);
	else
		out_lower(ttl, offsetof(struct iphdr, ttl), &d->ip);
	return VERDICT_CONTINUE;
}

/**
 * struct way - how a packet leaves
 * @ifindex: interface
 * @mtu: the interface's; 0: it is gone
 * @is_known: the next hop is @next; else the kernel looks for the route
 */
struct way {
	__u32 ifindex;
	__u32 mtu;
	bool is_known;
	struct bpf_redir_neigh next;
};

/**
 * out_find() - where the packets of a flow leave
 *
 * The next hop was found when the flow was made. It counts as long as no route
 * has changed since; then the kernel is asked for each packet.
 *
 * Return: VERDICT_DROP if the flow has no hop, which is a bug of ladon's.
 */
static __always_inline enum verdict out_find(const ctx_t *ctx, struct packet *pkt,
					     const struct ladon_entry *flow, struct way *way)
{
	const struct ladon_hop *hop = hop_get(flow->hop);
	__u16 generation;

	if (!hop)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	way->ifindex = hop->ifindex;
	if (!ctx_route_gen(ctx, pkt->is_ip6, &generation) || generation != flow->route_gen)
		return VERDICT_CONTINUE;
	way->is_known = true;
	way->next.nh_family = hop->family;
	__builtin_memcpy(way->next.ipv6_nh, hop->gateway, sizeof(way->next.ipv6_nh));
	if (hop->family)
		return VERDICT_CONTINUE;
	if (pkt->is_ip6) {
		way->next.nh_family = FAMILY_IP6;
		__builtin_memcpy(way->next.ipv6_nh, flow->daddr, sizeof(way->next.ipv6_nh));
	} else {
		way->next.nh_family = FAMILY_IP4;
		way->next.ipv4_nh = flow->daddr[3];
	}
	return VERDICT_CONTINUE;
}

/* Of each hop, milliseconds and the MTU that was found in them, both truncated */
static volatile __u64 out_mtus[LADON_HOPS];

static __noinline __u32 out_ask_mtu(ctx_t *ctx, __u32 hop, __u32 ifindex, __u32 now_ms)
{
	__u32 mtu = ctx_mtu(ctx, ifindex);

	out_mtus[hop % LADON_HOPS] = (__u64)now_ms << 32 | mtu;
	return mtu;
}

static __always_inline __u32 out_mtu(ctx_t *ctx, __u32 hop, __u32 ifindex, __u32 now_ms)
{
	__u64 last = out_mtus[hop % LADON_HOPS]; /* both halves at once */

	return last >> 32 == now_ms ? (__u32)last : out_ask_mtu(ctx, hop, ifindex, now_ms);
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
 * @way: from out_find(); .mtu is filled in
 *
 * Who forwards a packet that is too large fragments it, where that is allowed (IPv4
 * without DF). A program cannot, and the stack would have to be shown the translated
 * packet, whose sender it is itself. So its sender is told like any other: today's
 * set DF, all but those that were told not to.
 *
 * Return: VERDICT_RAISE if not
 */
static __always_inline enum verdict out_fits(ctx_t *ctx, struct packet *pkt,
					     const struct ladon_entry *flow, __u32 now_ms,
					     struct way *way)
{
	way->mtu = out_mtu(ctx, flow->hop, way->ifindex, now_ms);
	return pkt->len_bytes <= way->mtu ? VERDICT_CONTINUE : out_too_large(ctx, pkt, way);
}

/** out_send() - Return: what tc is to be told */
static __always_inline int out_send(struct way *way)
{
	if (way->is_known)
		return bpf_redirect_neigh(way->ifindex, &way->next, sizeof(way->next), 0);
	return bpf_redirect_neigh(way->ifindex, NULL, 0, 0);
}

#endif
