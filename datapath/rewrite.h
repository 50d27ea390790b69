/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rewrite.h - make of a packet what the stack made of others of its flow
 *
 * Other MAC addresses, other addresses and ports where there is NAT, and one hop less. Checksums
 * are brought up to date: one that was wrong stays as wrong.
 */
#ifndef LADON_REWRITE_H
#define LADON_REWRITE_H

#include "passing.h"

/** rewrite_fits() - may a packet go past the stack, which would have nothing to say about it? */
static __always_inline bool rewrite_fits(const ctx_t *ctx, const struct passing *p,
					 const struct ladon_learned *learned)
{
	__u32 gso_bytes = ctx_gso_bytes(ctx);

	if ((gso_bytes ? p->headers_bytes + gso_bytes : p->len_bytes) >
	    LADON_LEARNED_MTU(learned->state))
		return false;
	if (LADON_VIA_PROTOCOL(p->key.via) == IPPROTO_TCP) {
		if (!(p->flags & TCP_ACK))
			return false; /* only SYN and RST may lack it: RFC 9293 section 3.10.7.4 */
	} else if (!*p->check && learned->state & LADON_LEARNED_NAT) {
		return false; /* UDP without a checksum: RFC 768 */
	}
	return (p->is_ip6 ? p->ip6->hop_limit : p->ip4->ttl) > 1;
}

/* What new addresses and ports change in the checksums */
static __always_inline void rewrite_delta(const struct passing *p,
					  const struct ladon_learned *learned, struct csum_delta *d)
{
	for (int i = p->is_ip6 ? 0 : 3; i < 4; i++) {
		csum_change32(&d->addrs, p->key.saddr[i], learned->saddr[i]);
		csum_change32(&d->addrs, p->key.daddr[i], learned->daddr[i]);
	}
	csum_change16(&d->rest, p->key.sport, learned->sport);
	csum_change16(&d->rest, p->key.dport, learned->dport);
}

static __always_inline void rewrite_addresses(struct passing *p,
					      const struct ladon_learned *learned)
{
	if (p->is_ip6) {
		__builtin_memcpy(&p->ip6->saddr, learned->saddr, sizeof(learned->saddr));
		__builtin_memcpy(&p->ip6->daddr, learned->daddr, sizeof(learned->daddr));
	} else {
		p->ip4->saddr = learned->saddr[3];
		p->ip4->daddr = learned->daddr[3];
	}
	p->ports[0] = learned->sport;
	p->ports[1] = learned->dport;
}

/* One hop less. @d: .ip takes up the change, and IPv4's header checksum all of it */
static __always_inline void rewrite_age(struct passing *p, struct csum_delta *d)
{
	if (p->is_ip6) {
		csum_lower8_at(&d->ip, offsetof(struct ipv6hdr, hop_limit), &p->ip6->hop_limit);
		return;
	}
	csum_lower8_at(&d->ip, offsetof(struct iphdr, ttl), &p->ip4->ttl);
	p->ip4->check = csum_mend(p->ip4->check, d->ip + d->addrs);
}

/**
 * rewrite() - what the stack would make of it; after rewrite_fits()
 *
 * Return: 0 or a negative errno; then the packet is spoilt. Ends all packet pointers.
 */
static __always_inline long rewrite(ctx_t *ctx, struct passing *p,
				    const struct ladon_learned *learned)
{
	struct csum_delta d = {};
	word16_t *check = p->check;

	__builtin_memcpy(p->eth->h_dest, learned->to, sizeof(learned->to));
	__builtin_memcpy(p->eth->h_source, learned->from, sizeof(learned->from));
	if (learned->state & LADON_LEARNED_NAT) {
		rewrite_delta(p, learned, &d);
		rewrite_addresses(p, learned);
	}
	rewrite_age(p, &d);
	if (!p->is_ip6 && !(learned->state & LADON_LEARNED_NAT))
		return 0; /* the header's checksum has made up for all */
	/* its offset is of use before Linux 6.2 only, where nothing is learned */
	if (ctx_fix_csum(ctx, check, 0, p->is_ip6, &d) < 0)
		return -1;
	if (!p->flags && !*check && learned->state & LADON_LEARNED_NAT)
		*check = 0xffff; /* 0 would say that there is none */
	return 0;
}

#endif
