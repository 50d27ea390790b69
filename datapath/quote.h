/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * quote.h - what an ICMP error quotes: bounds are checked here, and it only reads
 *
 * An error begins with 8 bytes of its own and goes on with the packet that it is
 * about, from the IP header on: at least 8 bytes of what follows that (RFC 792),
 * which of TCP are the ports and the sequence number, and as much more as whoever
 * made it liked. Nothing in it can be believed: anybody may have sent it.
 *
 * A packet that ladon has sent has neither IP options nor extension headers. A
 * quote that has is none of ladon's.
 */
#ifndef LADON_QUOTE_H
#define LADON_QUOTE_H

#include "icmp_header.h"
#include "packet.h"

/* Ethernet, and twice IPv6: of the error and of what it quotes */
#define QUOTE_HEADERS_MAX                                                                          \
	(sizeof(struct ethhdr) + 2 * sizeof(struct ipv6hdr) + sizeof(struct icmp_header) +         \
	 sizeof(struct tcphdr))

/**
 * struct quote - what is quoted, where the rest of a struct packet does not say it
 * @is_whole: of the TCP header all is there, but perhaps for the options; else its first 8
 *	bytes are
 * @is_to_sender: the error goes to whom it quotes, as all errors do
 */
struct quote {
	bool is_whole;
	bool is_to_sender;
};

/* Redirects and queries are the stack's. */
static __always_inline bool quote_is_error4(__u8 type)
{
	return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED ||
	       type == ICMP4_PARAMETER_PROBLEM;
}

static __always_inline bool quote_is_error6(__u8 type)
{
	return type == ICMP6_UNREACHABLE || type == ICMP6_TOO_BIG || type == ICMP6_TIME_EXCEEDED ||
	       type == ICMP6_PARAMETER_PROBLEM;
}

/*
 * @offset: of the quoted TCP header, from the error's IP header on. Bytes behind the
 * length that the IP header says are padding, and not the quote's.
 */
static __always_inline bool quote_tcp(struct packet *pkt, struct quote *q,
				      struct ladon_flow_key *key, const void *header, __u32 offset)
{
	const word32_t *tcp = header;

	if ((const void *)(tcp + 2) > pkt->end || offset + 8 > pkt->len_bytes)
		return false;
	q->is_whole = offset + sizeof(struct tcphdr) <= pkt->len_bytes &&
		      (const void *)(tcp + 5) <= pkt->end;
	key->sport = ((const word16_t *)tcp)[1]; /* crossed, see quote_parse() */
	key->dport = ((const word16_t *)tcp)[0];
	return true;
}

static __always_inline bool quote_ip4(const ctx_t *ctx, struct packet *pkt, struct quote *q,
				      struct ladon_flow_key *key, struct iphdr *ip)
{
	const struct icmp_header *icmp = (void *)(ip + 1);
	const struct iphdr *quote = (void *)(icmp + 1);

	if ((void *)(quote + 1) > pkt->end || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP ||
	    ip->frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_OFFSET_MASK) ||
	    !packet_len(ctx, bpf_ntohs(ip->tot_len), &pkt->len_bytes))
		return false;
	if (!quote_is_error4(icmp->type) || quote->version != 4 || quote->ihl != 5 ||
	    quote->protocol != IPPROTO_TCP || quote->frag_off & bpf_htons(IP4_OFFSET_MASK))
		return false;
	pkt->ip4 = ip;
	q->is_to_sender = ip->daddr == quote->saddr;
	key->saddr[2] = key->daddr[2] = bpf_htonl(0xffff);
	key->saddr[3] = quote->daddr;
	key->daddr[3] = quote->saddr;
	return quote_tcp(pkt, q, key, quote + 1, 2 * sizeof(*ip) + sizeof(struct icmp_header));
}

static __always_inline bool quote_ip6(const ctx_t *ctx, struct packet *pkt, struct quote *q,
				      struct ladon_flow_key *key, struct ipv6hdr *ip)
{
	const struct icmp_header *icmp = (void *)(ip + 1);
	const struct ipv6hdr *quote = (void *)(icmp + 1);
	const word32_t *to = (const void *)&ip->daddr, *sender = (const void *)&quote->saddr;

	if ((void *)(quote + 1) > pkt->end || ip->nexthdr != IPPROTO_ICMPV6 ||
	    !packet_len(ctx, bpf_ntohs(ip->payload_len) + sizeof(*ip), &pkt->len_bytes))
		return false;
	if (!quote_is_error6(icmp->type) || quote->version != 6 || quote->nexthdr != IPPROTO_TCP)
		return false;
	pkt->is_ip6 = true;
	pkt->ip6 = ip;
	q->is_to_sender = to[0] == sender[0] && to[1] == sender[1] && to[2] == sender[2] &&
			  to[3] == sender[3];
	__builtin_memcpy(key->saddr, &quote->daddr, sizeof(key->saddr));
	__builtin_memcpy(key->daddr, &quote->saddr, sizeof(key->daddr));
	return quote_tcp(pkt, q, key, quote + 1, 2 * sizeof(*ip) + sizeof(struct icmp_header));
}

/**
 * quote_parse() - read an ICMP error and what it quotes
 * @ctx: its first QUOTE_HEADERS_MAX bytes, or all, should be linear
 * @pkt: zeroed by the caller; becomes the error: .ip4 or .ip6 is its own header, .len_bytes
 *	its length; .key is left alone
 * @q: zeroed by the caller
 * @key: zeroed by the caller; what the receiver of the quoted packet sends to its sender,
 *	for that is what an entry turns into what the sender knows. Apart from @pkt, which
 *	then needs no stack
 *
 * Return: false: not an ICMP error, or it does not quote TCP as ladon sends it.
 */
static __always_inline bool quote_parse(const ctx_t *ctx, struct packet *pkt, struct quote *q,
					struct ladon_flow_key *key)
{
	struct ethhdr *eth = ctx_data(ctx);

	pkt->end = ctx_end(ctx);
	if ((void *)(eth + 1) > pkt->end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return quote_ip4(ctx, pkt, q, key, (void *)(eth + 1));
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return quote_ip6(ctx, pkt, q, key, (void *)(eth + 1));
	return false;
}

/** quote_check() - the error's own checksum, in a packet that quote_parse() found good */
static __always_inline word16_t *quote_check(const struct packet *pkt)
{
	struct icmp_header *icmp = pkt->is_ip6 ? (void *)(pkt->ip6 + 1) : (void *)(pkt->ip4 + 1);

	return &icmp->checksum;
}

#endif
