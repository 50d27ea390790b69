/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cross_icmp.h - ICMP errors about flows whose ends speak unlike families
 *
 * As icmp.h does it, and both IP headers change their family, the error's own and the quoted
 * one: it grows or shrinks by twice 20 bytes, before what is quoted of TCP and behind. That stays
 * where it is, as much as there was of it. Types and codes are those of RFC 7915 sections 4.2 and 5.2;
 * what has no equivalent there is dropped with a reason.
 *
 * Attributes of RFC 4884 are not kept: its length is set to 0, and what stood behind the quote
 * becomes its end, which nobody reads.
 *
 * The checksum is mended, not made: an error that was damaged stays so.
 */
#ifndef LADON_CROSS_ICMP_H
#define LADON_CROSS_ICMP_H

#include "cross.h"
#include "icmp.h"

/* RFC 4443 section 2.4 c */
#define CROSS_ICMP_BYTES 1280

static __always_inline struct icmp_header cross_error(__u8 type, __u8 code, __u32 rest)
{
	return (struct icmp_header){ .type = type, .code = code, .rest = bpf_htonl(rest) };
}

/* RFC 1191 section 7: the MTUs that links have had, for routers that do not tell theirs */
static __always_inline __u32 cross_plateau(__u32 len_bytes)
{
	return len_bytes > 32000   ? 32000
	       : len_bytes > 17914 ? 17914
	       : len_bytes > 8166  ? 8166
	       : len_bytes > 4352  ? 4352
	       : len_bytes > 2002  ? 2002
	       : len_bytes > 1492  ? 1492
				   : 0;
}

/* @quoted_bytes: IPv4 length of what did not fit */
static __always_inline __u32 cross_mtu6(__u32 mtu, __u32 quoted_bytes)
{
	mtu = (mtu ? mtu : cross_plateau(quoted_bytes)) + CROSS_BYTES;
	return mtu < CROSS_ICMP_BYTES ? CROSS_ICMP_BYTES : mtu;
}

/* 68: RFC 791 section 3.2; a smaller number would be no MTU, and 0 mean another thing. */
static __always_inline __u32 cross_mtu4(__u32 mtu)
{
	if (mtu < 68 + CROSS_BYTES)
		return 68;
	mtu -= CROSS_BYTES;
	return mtu > 0xffff ? 0xffff : mtu;
}

#define CROSS_NOWHERE 0xff /* a field that the other header does not have */

/* RFC 7915 figure 3: where a field of IPv4's header stands in IPv6's */
static __always_inline __u32 cross_pointer6(__u32 pointer)
{
	if (pointer < 2)
		return pointer; /* version, type of service */
	if (pointer < 4)
		return 4; /* total length */
	if (pointer == 8)
		return 7; /* TTL */
	if (pointer == 9)
		return 6; /* protocol */
	if (pointer >= 12 && pointer < 16)
		return 8;
	return pointer >= 16 && pointer < 20 ? 24 : CROSS_NOWHERE;
}

/* RFC 7915 figure 6: and the reverse */
static __always_inline __u32 cross_pointer4(__u32 pointer)
{
	if (pointer < 2)
		return pointer;
	if (pointer == 4 || pointer == 5)
		return 2;
	if (pointer == 6)
		return 9;
	if (pointer == 7)
		return 8;
	if (pointer >= 8 && pointer < 24)
		return 12;
	return pointer >= 24 && pointer < 40 ? 16 : CROSS_NOWHERE;
}

static __always_inline bool cross_unreachable6(__u8 code, __u32 rest, __u32 quoted_bytes,
					       struct icmp_header *out)
{
	switch (code) {
	case ICMP4_PROTOCOL:
		*out = cross_error(ICMP6_PARAMETER_PROBLEM, ICMP6_NEXT_HEADER, 6);
		return true;
	case ICMP4_PORT:
		*out = cross_error(ICMP6_UNREACHABLE, ICMP6_PORT, 0);
		return true;
	case ICMP4_FRAGMENTATION_NEEDED:
		*out = cross_error(ICMP6_TOO_BIG, 0, cross_mtu6(rest & 0xffff, quoted_bytes));
		return true;
	case 9: /* to the network, to the host, by a filter; precedence cut off */
	case ICMP4_HOST_PROHIBITED:
	case ICMP4_PROHIBITED:
	case 15:
		*out = cross_error(ICMP6_UNREACHABLE, ICMP6_PROHIBITED, 0);
		return true;
	default: /* 14: the host's precedence */
		*out = cross_error(ICMP6_UNREACHABLE, ICMP6_NO_ROUTE, 0);
		return code < 13;
	}
}

static __always_inline bool cross_unreachable4(__u8 code, struct icmp_header *out)
{
	__u8 to = code == ICMP6_PROHIBITED ? ICMP4_HOST_PROHIBITED
		  : code == ICMP6_PORT	   ? ICMP4_PORT
					   : ICMP4_HOST;

	*out = cross_error(ICMP4_UNREACHABLE, to, 0);
	return code <= ICMP6_PORT;
}

/**
 * cross_error6() - an ICMP error in ICMPv6's words; RFC 7915 section 4.2
 * @out: without a checksum
 *
 * A global function, or the verifier would go on once for every word there is.
 *
 * Return: false: ICMPv6 has none.
 */
ctx_global bool cross_error6(const struct icmp_header *in, __u32 quoted_bytes,
			     struct icmp_header *out)
{
	__u32 rest, pointer;

	if (!in || !out)
		return false; /* never */
	rest = bpf_ntohl(in->rest);
	switch (in->type) {
	case ICMP4_UNREACHABLE:
		return cross_unreachable6(in->code, rest, quoted_bytes, out);
	case ICMP4_TIME_EXCEEDED:
		*out = cross_error(ICMP6_TIME_EXCEEDED, in->code, 0);
		return true;
	default: /* a parameter problem: quote_parse() */
		pointer = cross_pointer6(rest >> 24);
		*out = cross_error(ICMP6_PARAMETER_PROBLEM, 0, pointer);
		return (in->code == 0 || in->code == 2) && pointer != CROSS_NOWHERE;
	}
}

/** cross_error4() - the reverse; RFC 7915 section 5.2 */
ctx_global bool cross_error4(const struct icmp_header *in, struct icmp_header *out)
{
	__u32 rest, pointer;

	if (!in || !out)
		return false; /* never */
	rest = bpf_ntohl(in->rest);
	switch (in->type) {
	case ICMP6_UNREACHABLE:
		return cross_unreachable4(in->code, out);
	case ICMP6_TOO_BIG:
		*out = cross_error(ICMP4_UNREACHABLE, ICMP4_FRAGMENTATION_NEEDED, cross_mtu4(rest));
		return true;
	case ICMP6_TIME_EXCEEDED:
		*out = cross_error(ICMP4_TIME_EXCEEDED, in->code, 0);
		return true;
	default:
		if (in->code == ICMP6_NEXT_HEADER) {
			*out = cross_error(ICMP4_UNREACHABLE, ICMP4_PROTOCOL, 0);
			return true;
		}
		pointer = rest < 40 ? cross_pointer4(rest) : CROSS_NOWHERE;
		*out = cross_error(ICMP4_PARAMETER_PROBLEM, 0, pointer << 24);
		return in->code == 0 && pointer != CROSS_NOWHERE;
	}
}

/** cross_icmp_is_long() - longer than an ICMPv6 error may be, once it is one */
static __always_inline bool cross_icmp_is_long(const struct packet *pkt)
{
	return !pkt->is_ip6 && pkt->len_bytes + 2 * CROSS_BYTES > CROSS_ICMP_BYTES;
}

/* The sum of ICMPv6's pseudo header without the addresses */
static __always_inline __u64 cross_pseudo(__u32 message_bytes)
{
	return (__u64)bpf_htonl(message_bytes) + bpf_htonl(IPPROTO_ICMPV6);
}

/* By how much the first 8 bytes have changed, the checksum apart */
static __always_inline __u64 cross_icmp_delta(const struct icmp_header *from,
					      const struct icmp_header *to)
{
	__u64 delta = 0;

	csum_change16(&delta, *(const word16_t *)from, *(const word16_t *)to);
	csum_change32(&delta, from->rest, to->rest);
	return delta;
}

/* Return: what takes up to ten words out of a sum. In line it would need a stack for all of them */
static __noinline __u64 cross_without(const word32_t *words, int count, const void *end)
{
	__u64 sum = 0;
	int i;

#pragma GCC unroll 1
	for (i = 0; i < count && i < 10; i++)
		if ((const void *)(words + i + 1) <= end)
			sum += words[i];
	return (__u32)~csum_fold32(sum);
}

/*
 * To IPv6. Functions of their own, with a stack of their own. What a COMPLETE sum must
 * know: the old message's sum was 0, as that of its header; the new one's makes up for the
 * pseudo header.
 */
static __noinline enum verdict cross_icmp6(ctx_t *ctx, struct packet *pkt, bool is_whole,
					   const struct ladon_entry *flow)
{
	struct cross_header outer = { .protocol = IPPROTO_ICMPV6 };
	struct cross_header inner = { .protocol = IPPROTO_TCP };
	const struct icmp_header *was = (void *)(pkt->ip4 + 1);
	struct iphdr *quote4 = (void *)(was + 1);
	struct icmp_header now = {}, *icmp;
	struct ipv6hdr *ip, *quote;
	struct ethhdr *eth;
	__u64 delta, addrs, sum, pseudo, ours;

	if ((void *)((word32_t *)(quote4 + 1) + 2) > pkt->end ||
	    !cross_error6(was, bpf_ntohs(quote4->tot_len), &now))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_ICMP_NO_WORD);
	ours = cross_ours(flow);
	cross_read4(pkt->ip4, &outer);
	outer.payload_bytes = pkt->len_bytes - sizeof(*pkt->ip4) + CROSS_BYTES;
	cross_read4(quote4, &inner);
	addrs = cross_without((const word32_t *)quote4 + 3, 2, pkt->end) + ours;
	delta = cross_icmp_delta(was, &now);
	delta += cross_without((const void *)quote4, sizeof(*quote4) / 4, pkt->end);
	delta += icmp_quoted_tcp((void *)(quote4 + 1), is_whole, pkt->end, flow, addrs);
	now.checksum = was->checksum;

	if (ctx_change_family(ctx, true, CROSS_BYTES) < 0)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	eth = ctx_data(ctx);
	ip = (void *)(eth + 1);
	icmp = (void *)(ip + 1);
	quote = (void *)(icmp + 1);
	if ((void *)(quote + 1) > ctx_end(ctx))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	sum = cross_write6(ip, &outer, flow->saddr, flow->daddr);
	delta += cross_write6(quote, &inner, flow->daddr, flow->saddr);
	pseudo = ours + cross_pseudo(outer.payload_bytes);
	now.checksum = csum_mend(now.checksum, delta + pseudo);
	*icmp = now;
	ctx_inserted(ctx, sum + (__u32)~csum_fold32(pseudo));
	return packet_end(pkt, VERDICT_CONTINUE, LADON_REASON_ICMP_ERROR);
}

/*
 * To IPv4. @hop_delta: what the lower hop limit did to the old header, which goes out of a
 * COMPLETE sum as it stands now.
 */
static __noinline enum verdict cross_icmp4(ctx_t *ctx, struct packet *pkt, bool is_whole,
					   const struct ladon_entry *flow, __u64 hop_delta)
{
	struct cross_header outer = { .protocol = IPPROTO_ICMP, .dont_fragment = true };
	struct cross_header inner = { .protocol = IPPROTO_TCP, .dont_fragment = true };
	const struct icmp_header *was = (void *)(pkt->ip6 + 1);
	struct ipv6hdr *quote6 = (void *)(was + 1);
	struct icmp_header now = {}, *icmp;
	struct iphdr *ip, *quote;
	struct ethhdr *eth;
	__u64 delta, addrs, pseudo;

	if ((void *)((word32_t *)(quote6 + 1) + 2) > pkt->end || !cross_error4(was, &now))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_ICMP_NO_WORD);
	cross_read6(pkt->ip6, &outer);
	pseudo = cross_without((const word32_t *)pkt->ip6 + 2, 8, pkt->end) +
		 (__u32)~csum_fold32(cross_pseudo(pkt->len_bytes - sizeof(*pkt->ip6)));
	outer.payload_bytes = pkt->len_bytes - sizeof(*pkt->ip6) - CROSS_BYTES;
	cross_read6(quote6, &inner);
	addrs = cross_without((const word32_t *)quote6 + 2, 8, pkt->end) + cross_ours(flow);
	delta = cross_icmp_delta(was, &now) + pseudo;
	delta += cross_without((const void *)quote6, sizeof(*quote6) / 4, pkt->end);
	delta += icmp_quoted_tcp((void *)(quote6 + 1), is_whole, pkt->end, flow, addrs);
	now.checksum = csum_mend(was->checksum, delta);

	if (ctx_change_family(ctx, false, CROSS_BYTES) < 0)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	eth = ctx_data(ctx);
	ip = (void *)(eth + 1);
	icmp = (void *)(ip + 1);
	quote = (void *)(icmp + 1);
	if ((void *)(quote + 1) > ctx_end(ctx))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	eth->h_proto = bpf_htons(ETH_P_IP);
	cross_write4(ip, &outer, flow->saddr[3], flow->daddr[3]);
	cross_write4(quote, &inner, flow->daddr[3], flow->saddr[3]);
	*icmp = now;
	ctx_inserted(ctx, (__u32)~csum_fold32(pseudo) + hop_delta);
	return packet_end(pkt, VERDICT_CONTINUE, LADON_REASON_ICMP_ERROR);
}

/**
 * cross_icmp() - all that icmp_translate() does, and the change of family
 * @pkt, @q: from quote_parse(); not cross_icmp_is_long(), and aged by out_age()
 * @flow: of the key that quote_parse() found, with LADON_FLOW_CROSS
 * @d: .ip from out_age()
 *
 * Ends all packet pointers. Return: VERDICT_CONTINUE or VERDICT_DROP, and pkt->why.
 */
static __always_inline enum verdict cross_icmp(ctx_t *ctx, struct packet *pkt,
					       const struct quote *q,
					       const struct ladon_entry *flow,
					       const struct csum_delta *d)
{
	return pkt->is_ip6 ? cross_icmp4(ctx, pkt, q->is_whole, flow, d->ip)
			   : cross_icmp6(ctx, pkt, q->is_whole, flow);
}

#endif
