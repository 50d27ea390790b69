/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.h - age a packet and send it on its way
 *
 * The kernel finds route and neighbour for each packet, by its new destination
 * and the interface of its flow, so that changes of either act at once. That
 * works with forwarding off on any interface.
 */
#ifndef LADON_OUT_H
#define LADON_OUT_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "ctx.h"
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

/** out_send() - Return: what tc is to be told */
static __always_inline int out_send(__u32 ifindex)
{
	return bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

#endif
