/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * icmp.h - ICMP errors about a flow, translated back
 *
 * A router beyond ladon, or an end, finds fault with a packet that ladon has
 * translated, and tells the address that it came from: ladon's. But the one who
 * sent it is the other leg's end. So the error goes on to there, as if that end's
 * own packet were quoted:
 *
 *	error	from whoever to ladon	->  from ladon to the sender
 *	quote	from ladon to receiver	->  from the sender to ladon
 *
 * Both are the work of one entry, the one that turns what the receiver sends into
 * what the sender hears: what that says of acknowledgement numbers is true of the
 * sequence numbers that they acknowledge. A sender that gets an error compares the
 * quoted sequence number with what it has in flight (RFC 5927 section 4); the number
 * is moved and not judged here, so what was forged or is late stays so.
 *
 * Timestamps, SACK blocks and the window of a quote are left as they are: nobody
 * compares them. Its checksums are mended for what is changed. What the error says,
 * a next hop's MTU included, is left too: the sender knows what it can believe.
 */
#ifndef LADON_ICMP_H
#define LADON_ICMP_H

#include "ctx.h"
#include "packet.h"
#include "quote.h"
#include "translate.h"

/* Return: what the change of a sum does to one that a checksum within makes up for */
static __always_inline __u64 icmp_made_up(__u64 delta)
{
	return (__u32)~csum_fold32(delta);
}

static __always_inline void icmp_address(word32_t *address, const __be32 *to, int words,
					 __u64 *delta)
{
	int i;

	/* Unrolled it would need a stack for all words at once. */
#pragma GCC unroll 1
	for (i = 0; i < words; i++) {
		csum_change32(delta, address[i], to[i]);
		address[i] = to[i];
	}
}

/*
 * The quoted TCP header. @addrs: what was changed of the addresses; @end: of the linear bytes.
 * Return: by how much the sum over what is quoted of it has changed.
 */
static __always_inline __u64 icmp_quoted_tcp(word32_t *tcp, bool is_whole, const void *end,
					     const struct ladon_entry *flow, __u64 addrs)
{
	word32_t ports = *(const word32_t *)&flow->sport;
	word16_t *check = (word16_t *)tcp + 8;
	__u64 delta = 0;

	ports = ports << 16 | ports >> 16;
	csum_change32(&delta, tcp[0], ports);
	tcp[0] = ports;
	translate_word(tcp + 1, flow->d_ack, &delta);
	if (!is_whole || (const void *)(tcp + 5) > end)
		return delta;
	if (tcp[3] & bpf_htonl(TCP_ACK << 16))
		translate_word(tcp + 2, flow->d_seq, &delta);
	*check = csum_mend(*check, addrs + delta);
	return icmp_made_up(addrs);
}

/*
 * Functions of their own, with a stack of their own. Bounds were checked by quote_parse(),
 * but the verifier does not remember for which family.
 *
 * IPv4: the header's checksum, in the quote too, makes up for the addresses, and ICMP has
 * no pseudo header (RFC 792).
 */
static __noinline void icmp_ip4(struct iphdr *ip, bool is_whole, const void *end,
				const struct ladon_entry *flow, struct csum_delta *d)
{
	struct iphdr *quote = (void *)((struct icmp_header *)(ip + 1) + 1);
	word32_t *tcp = (void *)(quote + 1);
	__u64 addrs = 0, quoted = 0;

	if ((void *)(tcp + 2) > end)
		return;
	icmp_address((word32_t *)&ip->saddr, &flow->saddr[3], 1, &addrs);
	icmp_address((word32_t *)&ip->daddr, &flow->daddr[3], 1, &addrs);
	ip->check = csum_mend(ip->check, addrs + d->ip);
	icmp_address((word32_t *)&quote->saddr, &flow->daddr[3], 1, &quoted);
	icmp_address((word32_t *)&quote->daddr, &flow->saddr[3], 1, &quoted);
	quote->check = csum_mend(quote->check, quoted);
	d->rest = icmp_quoted_tcp(tcp, is_whole, end, flow, quoted);
}

/* IPv6 has no header checksum, and ICMPv6 a pseudo header (RFC 4443 section 2.3). */
static __noinline void icmp_ip6(struct ipv6hdr *ip, bool is_whole, const void *end,
				const struct ladon_entry *flow, struct csum_delta *d)
{
	struct ipv6hdr *quote = (void *)((struct icmp_header *)(ip + 1) + 1);
	word32_t *tcp = (void *)(quote + 1);
	__u64 quoted = 0;

	if ((void *)(tcp + 2) > end)
		return;
	icmp_address((word32_t *)&ip->saddr, flow->saddr, 4, &d->addrs);
	icmp_address((word32_t *)&ip->daddr, flow->daddr, 4, &d->addrs);
	icmp_address((word32_t *)&quote->saddr, flow->daddr, 4, &quoted);
	icmp_address((word32_t *)&quote->daddr, flow->saddr, 4, &quoted);
	d->rest = quoted + icmp_quoted_tcp(tcp, is_whole, end, flow, quoted);
}

/**
 * icmp_translate() - everything in an error but its TTL and its ICMP checksum
 * @pkt, @q: from quote_parse()
 * @flow: of the key that quote_parse() found
 * @d: .ip as for translate(); .addrs and .rest, zero before, are what is to be done to
 *	the ICMP checksum: give it to ctx_fix_csum()
 */
static __always_inline void icmp_translate(struct packet *pkt, const struct quote *q,
					   const struct ladon_entry *flow, struct csum_delta *d)
{
	if (pkt->is_ip6)
		icmp_ip6(pkt->ip6, q->is_whole, pkt->end, flow, d);
	else
		icmp_ip4(pkt->ip4, q->is_whole, pkt->end, flow, d);
}

#endif
