/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * passing.h - packets that this machine forwards, as learned flows see them
 *
 * TCP and UDP, with no IP options, extension headers or fragments: all else is the stack's. It
 * only reads; the pointers are good until a helper changes the packet.
 */
#ifndef LADON_PASSING_H
#define LADON_PASSING_H

#include <linux/udp.h>

#include "packet.h"

/**
 * struct passing - one packet
 * @key: addresses, ports and protocol; its interface is the caller's to add
 * @is_ip6: ip6 of the union, else ip4
 * @ports: source and destination
 * @check: the checksum of TCP or UDP
 * @len_bytes: as the IP header says; of a super-packet, of all of it
 * @headers_bytes: of IP and TCP or UDP
 * @flags: of TCP, TCP_*; 0: UDP
 * @seq: of TCP, host byte order
 * @carried: DSCP, and time to live in its lower byte
 */
struct passing {
	struct ladon_learned_key key;
	bool is_ip6;
	struct ethhdr *eth;
	union {
		struct iphdr *ip4;
		struct ipv6hdr *ip6;
	};
	word16_t *ports;
	word16_t *check;
	__u32 len_bytes;
	__u32 headers_bytes;
	__u32 flags;
	__u32 seq;
	__u32 carried;
};

/* What conntrack calls invalid: net/netfilter/nf_conntrack_proto_udp.c, udp_error() */
static __always_inline bool passing_udp(struct passing *p, __u32 said_bytes)
{
	p->headers_bytes += sizeof(struct udphdr);
	return said_bytes >= sizeof(struct udphdr) &&
	       p->headers_bytes - sizeof(struct udphdr) + said_bytes <= p->len_bytes;
}

static __always_inline bool passing_l4(const ctx_t *ctx, struct passing *p, __u8 *l4,
				       __u32 protocol)
{
	void *end = ctx_end(ctx);

	if (l4 + sizeof(struct udphdr) > (__u8 *)end)
		return false;
	p->ports = (word16_t *)l4;
	p->key.sport = p->ports[0];
	p->key.dport = p->ports[1];
	p->key.via = protocol;
	if (protocol == IPPROTO_UDP) {
		p->check = &((word16_t *)l4)[3];
		return passing_udp(p, bpf_ntohs(((word16_t *)l4)[2]));
	}
	if (protocol != IPPROTO_TCP || l4 + sizeof(struct tcphdr) > (__u8 *)end)
		return false;
	p->check = &((word16_t *)l4)[8];
	p->headers_bytes += (l4[12] >> 4) * 4;
	p->flags = l4[13];
	p->seq = bpf_ntohl(((word32_t *)l4)[1]);
	return l4[12] >> 4 >= sizeof(struct tcphdr) / 4 && p->headers_bytes <= p->len_bytes;
}

/**
 * passing_parse() - what a packet is
 * @p: zeroed by the caller
 *
 * Return: false: none that could be of a learned flow
 */
static __always_inline bool passing_parse(ctx_t *ctx, struct passing *p)
{
	struct ethhdr *eth;
	void *end;

	packet_pull(ctx);
	eth = ctx_data(ctx);
	end = ctx_end(ctx);
	if ((void *)(eth + 1) > end)
		return false;
	p->eth = eth;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 ||
		    ip->frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_OFFSET_MASK))
			return false;
		p->ip4 = ip;
		p->key.saddr[2] = p->key.daddr[2] = bpf_htonl(0xffff);
		p->key.saddr[3] = ip->saddr;
		p->key.daddr[3] = ip->daddr;
		p->headers_bytes = sizeof(*ip);
		p->carried = (ip->tos >> 2) << 8 | ip->ttl;
		if (!packet_len(ctx, bpf_ntohs(ip->tot_len), &p->len_bytes))
			return false;
		return passing_l4(ctx, p, (void *)(ip + 1), ip->protocol);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->version != 6)
			return false;
		p->is_ip6 = true;
		p->ip6 = ip;
		__builtin_memcpy(p->key.saddr, &ip->saddr, sizeof(p->key.saddr));
		__builtin_memcpy(p->key.daddr, &ip->daddr, sizeof(p->key.daddr));
		p->headers_bytes = sizeof(*ip);
		p->carried = (bpf_ntohs(*(word16_t *)ip) >> 6 & 0x3f) << 8 | ip->hop_limit;
		if (!packet_len(ctx, ip->payload_len ? bpf_ntohs(ip->payload_len) + sizeof(*ip) : 0,
				&p->len_bytes))
			return false;
		return passing_l4(ctx, p, (void *)(ip + 1), ip->nexthdr);
	}
	return false;
}

/** passing_next() - the sequence number after a segment of TCP */
static __always_inline __u32 passing_next(const struct passing *p)
{
	return p->seq + p->len_bytes - p->headers_bytes;
}

#endif
