/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.h - age a packet and send it on its way
 *
 * The kernel finds the neighbour for each packet, and the route as soon as any
 * route has changed, so that changes of either act at once, with no daemon
 * alive. The look-up of a route costs more than all the rest of a packet's way. All
 * of it works with forwarding off on any interface.
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
 * Return: VERDICT_DROP when it is used up; nothing was changed then.
 */
static __always_inline enum verdict out_age(struct packet *pkt, struct csum_delta *d)
{
	__u8 *ttl = pkt->is_ip6 ? &pkt->ip6->hop_limit : &pkt->ip4->ttl;

	if (*ttl <= 1)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_TTL);
	if (pkt->is_ip6)
		out_lower(ttl, offsetof(struct ipv6hdr, hop_limit), &d->ip);
	else
		out_lower(ttl, offsetof(struct iphdr, ttl), &d->ip);
	return VERDICT_CONTINUE;
}

/**
 * struct way - how a packet leaves
 * @ifindex: interface
 * @is_known: the next hop is @next; else the kernel looks for the route
 */
struct way {
	__u32 ifindex;
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

/** out_send() - Return: what tc is to be told */
static __always_inline int out_send(struct way *way)
{
	if (way->is_known)
		return bpf_redirect_neigh(way->ifindex, &way->next, sizeof(way->next), 0);
	return bpf_redirect_neigh(way->ifindex, NULL, 0, 0);
}

#endif
