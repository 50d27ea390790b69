/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * raise.h - tell a sender by ICMP why its packet goes no further
 *
 * As a router would, and about the packet as it came: nothing of it has been
 * translated yet. Only packets of flows get this far, so the rules about whom not
 * to answer (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e) are kept: those are TCP, no
 * fragments, from one address to one. Their sender is told a limited number of
 * times in a second, whatever it sends (RFC 1812 section 4.3.2.8, RFC 4443 section
 * 2.4 f).
 *
 * How it works: the packet is cut to what is to be quoted, and an IP and an ICMP
 * header put before it. The ICMP checksum is summed up over it all. A packet whose
 * TCP checksum is only half made (CHECKSUM_PARTIAL) stays one, and whoever sends it
 * at last writes the missing half into the quote. That changes the sum over the
 * quoted segment, but to something that is known: with p, the half that is there,
 * and s, the sum of all, p included, the field becomes ~s, and the sum s - p + ~s,
 * which is -p, or ~p.
 */
#ifndef LADON_RAISE_H
#define LADON_RAISE_H

#include "answer.h"
#include "csum.h"
#include "ctx.h"
#include "icmp_header.h"
#include "packet.h"

/* What an error may have in all: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c */
#define RAISE_BYTES_IP4 576
#define RAISE_BYTES_IP6 1280

/* RFC 1812 section 4.3.2.5 */
#define RAISE_TOS 0xc0

/* ---- how often ---- */

#define RAISE_SENDERS 256 /* those of one hash share */
#define RAISE_PER_S   100
#define RAISE_BURST   50
#define RAISE_GAP_NS  (1000000000ull / RAISE_PER_S)

/* When each sender's allowance will be whole again; CLOCK_MONOTONIC */
static __u64 raise_due_ns[RAISE_SENDERS];

/** raise_sender() - a sender's place among the allowances */
static __always_inline __u32 raise_sender(const __be32 saddr[4])
{
	__u32 h = saddr[0] ^ saddr[1] ^ saddr[2] ^ saddr[3];

	return h * 0x9e3779b1 >> 24; /* 2^32 by the golden ratio; one of 256 */
}

/**
 * raise_is_allowed() - may this sender be told once more?
 *
 * A leaky bucket whose level is a time. Two CPUs at once: one of them may not.
 */
static __always_inline bool raise_is_allowed(__u32 sender, __u64 now_ns)
{
	__u64 *due = &raise_due_ns[sender % RAISE_SENDERS];
	__u64 was = *due;
	__u64 from = was > now_ns ? was : now_ns;

	if (from - now_ns > (RAISE_BURST - 1) * RAISE_GAP_NS)
		return false;
	return __sync_val_compare_and_swap(due, was, from + RAISE_GAP_NS) == was;
}

/* ---- what ---- */

static __always_inline struct icmp_header raise_icmp(__u8 type, __u8 code, __u32 rest)
{
	return (struct icmp_header){ .type = type, .code = code, .rest = bpf_htonl(rest) };
}

/* A reason in ICMP's words, and the MTU where there is one: RFC 1191 section 4 */
static __always_inline struct icmp_header raise_icmp4(__u32 why, __u32 mtu)
{
	switch (why) {
	case LADON_REASON_TTL:
		return raise_icmp(ICMP4_TIME_EXCEEDED, ICMP4_IN_TRANSIT, 0);
	case LADON_REASON_NO_LINK:
		return raise_icmp(ICMP4_UNREACHABLE, ICMP4_HOST, 0);
	case LADON_REASON_UNREACHABLE:
		return raise_icmp(ICMP4_UNREACHABLE, ICMP4_NET, 0);
	case LADON_REASON_PROHIBITED:
		return raise_icmp(ICMP4_UNREACHABLE, ICMP4_PROHIBITED, 0);
	default:
		return raise_icmp(ICMP4_UNREACHABLE, ICMP4_FRAGMENTATION_NEEDED,
				  mtu > 0xffff ? 0xffff : mtu);
	}
}

static __always_inline struct icmp_header raise_icmp6(__u32 why, __u32 mtu)
{
	switch (why) {
	case LADON_REASON_TTL:
		return raise_icmp(ICMP6_TIME_EXCEEDED, ICMP6_IN_TRANSIT, 0);
	case LADON_REASON_NO_LINK:
		return raise_icmp(ICMP6_UNREACHABLE, ICMP6_ADDRESS, 0);
	case LADON_REASON_UNREACHABLE:
		return raise_icmp(ICMP6_UNREACHABLE, ICMP6_NO_ROUTE, 0);
	case LADON_REASON_PROHIBITED:
		return raise_icmp(ICMP6_UNREACHABLE, ICMP6_PROHIBITED, 0);
	default:
		/* No IPv6 sender believes in less (RFC 8200 section 5), whatever IPv4 takes. */
		return raise_icmp(ICMP6_TOO_BIG, 0, mtu < RAISE_BYTES_IP6 ? RAISE_BYTES_IP6 : mtu);
	}
}

/* Return: the sum over @count words */
static __always_inline __u64 raise_sum(const word16_t *words, int count)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/* Bytes to be summed up. @end: of the linear bytes, all that are looked at */
struct raise_walk {
	const __u8 *bytes;
	const void *end;
	__u64 sum;
	__u32 len_bytes;
};

/* Four bytes more. Return: 1 after the last ones. */
static long raise_step(__u32 index, void *arg)
{
	struct raise_walk *w = arg;
	__u32 offset = (index & 1023) * 4; /* below 1280: this says so to the verifier */
	const __u8 *p = w->bytes + offset;
	__u32 i;

	if (offset >= w->len_bytes)
		return 1;
	if (offset + 4 <= w->len_bytes && (const void *)(p + 4) <= w->end) {
		w->sum += *(const word32_t *)p;
		return 0;
	}
	for (i = 0; i < 3; i++)
		if (offset + i < w->len_bytes && (const void *)(p + i + 1) <= w->end)
			csum_change8_at(&w->sum, i, 0, p[i]);
	return 1;
}

static __always_inline __u64 raise_sum_bytes(const void *bytes, __u32 len_bytes, const void *end)
{
	struct raise_walk w = { .bytes = bytes, .end = end, .len_bytes = len_bytes };

	ctx_loop(RAISE_BYTES_IP6 / 4, raise_step, &w);
	return w.sum;
}

/* ---- the headers ---- */

/* Before the packet that is to be quoted stand zeroes; of its TCP header 20 bytes are there. */
static __always_inline void raise_ip4(struct iphdr *ip, const struct iphdr *quote,
				      __u32 quote_bytes)
{
	*(word16_t *)ip = bpf_htons(0x4500 | RAISE_TOS);
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct icmp_header) + quote_bytes);
	ip->frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	ip->ttl = ANSWER_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = quote->daddr;
	ip->daddr = quote->saddr;
	ip->check = ~csum_fold16(raise_sum((void *)ip, sizeof(*ip) / 2));
}

/* Return: the sum of the pseudo header (RFC 8200 section 8.1) */
static __always_inline __u64 raise_ip6(struct ipv6hdr *ip, const struct ipv6hdr *quote,
				       __u32 quote_bytes)
{
	const word32_t *from = (const void *)&quote->saddr, *to = (const void *)&quote->daddr;
	word32_t *saddr = (void *)&ip->saddr, *daddr = (void *)&ip->daddr;
	__u64 sum = 0;
	int i;

	*(word32_t *)ip = bpf_htonl(6 << 28);
	ip->payload_len = bpf_htons(sizeof(struct icmp_header) + quote_bytes);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ANSWER_TTL;
	for (i = 0; i < 4; i++) {
		saddr[i] = to[i];
		daddr[i] = from[i];
		sum += (__u64)to[i] + from[i];
	}
	return sum + ip->payload_len + bpf_htons(IPPROTO_ICMPV6);
}

/* @sum: of all else that the checksum covers */
static __always_inline void raise_icmp_write(struct icmp_header *icmp, struct icmp_header header,
					     __u64 sum)
{
	*icmp = header;
	icmp->checksum = ~csum_fold16(raise_sum((void *)icmp, sizeof(*icmp) / 2) + sum);
}

static __always_inline bool raise_write4(ctx_t *ctx, __u32 quote_bytes, __u32 why, __u32 mtu)
{
	struct ethhdr *eth = ctx_data(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct icmp_header *icmp = (void *)(ip + 1);
	const struct iphdr *quote = (void *)(icmp + 1);
	const struct tcphdr *tcp = (void *)(quote + 1);
	__u64 sum;

	if ((void *)(tcp + 1) > ctx_end(ctx))
		return false;
	answer_ethernet(eth);
	raise_ip4(ip, quote, quote_bytes);
	if (ctx_is_partial(ctx))
		sum = raise_sum((const void *)quote, sizeof(*quote) / 2) + (__u16)~tcp->check;
	else
		sum = raise_sum_bytes(quote, quote_bytes, ctx_end(ctx));
	raise_icmp_write(icmp, raise_icmp4(why, mtu), sum);
	ctx_inserted(ctx, raise_sum((void *)ip, (sizeof(*ip) + sizeof(*icmp)) / 2));
	return true;
}

static __always_inline bool raise_write6(ctx_t *ctx, __u32 quote_bytes, __u32 why, __u32 mtu)
{
	struct ethhdr *eth = ctx_data(ctx);
	struct ipv6hdr *ip = (void *)(eth + 1);
	struct icmp_header *icmp = (void *)(ip + 1);
	const struct ipv6hdr *quote = (void *)(icmp + 1);
	const struct tcphdr *tcp = (void *)(quote + 1);
	__u64 sum;

	if ((void *)(tcp + 1) > ctx_end(ctx))
		return false;
	answer_ethernet(eth);
	sum = raise_ip6(ip, quote, quote_bytes);
	if (ctx_is_partial(ctx))
		sum += raise_sum((const void *)quote, sizeof(*quote) / 2) + (__u16)~tcp->check;
	else
		sum += raise_sum_bytes(quote, quote_bytes, ctx_end(ctx));
	raise_icmp_write(icmp, raise_icmp6(why, mtu), sum);
	ctx_inserted(ctx, raise_sum((void *)ip, (sizeof(*ip) + sizeof(*icmp)) / 2));
	return true;
}

/**
 * raise_answer() - make the packet the ICMP error about it, headed where it came from
 * @ctx: a TCP packet without IP options or extension headers, as it came
 * @len_bytes: its IP length
 * @why: TTL, TOO_LARGE, TOO_LARGE_DF, NO_LINK, UNREACHABLE or PROHIBITED
 * @mtu: what would not have been too large
 *
 * Ends all packet pointers. Return: VERDICT_RAISE, or VERDICT_DROP if the packet could
 * not be changed.
 */
ctx_global enum verdict raise_answer(ctx_t *ctx, __u32 len_bytes, bool is_ip6, __u32 why,
					    __u32 mtu)
{
	__u32 added = (is_ip6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) +
		      sizeof(struct icmp_header);
	__u32 most = (is_ip6 ? RAISE_BYTES_IP6 : RAISE_BYTES_IP4) - added;
	__u32 quote_bytes = len_bytes < most ? len_bytes : most;
	bool ok;

	if (ctx_cut(ctx, sizeof(struct ethhdr) + quote_bytes) < 0 || ctx_insert(ctx, added) < 0)
		return VERDICT_DROP;
	ok = is_ip6 ? raise_write6(ctx, quote_bytes, why, mtu)
		    : raise_write4(ctx, quote_bytes, why, mtu);
	return ok ? VERDICT_RAISE : VERDICT_DROP;
}

#endif
