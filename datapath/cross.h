/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cross.h - a packet changes its address family: RFC 7915
 *
 * Where client and backend speak unlike families, an entry arrives in one and leaves in the
 * other. What TCP says is translated as ever (translate.h). Then one IP header is read, the
 * packet grows or shrinks by 20 bytes, and the other header is written:
 *
 *	traffic class  <-> type of service, ECN included
 *	hop limit      <-> TTL
 *	payload length <-> total length, less its header
 *	flow label         0: senders may leave it so (RFC 6437 section 3)
 *	DF, identification: see cross_identify()
 *	header checksum    from scratch
 *
 * IPv4 options, fragments and extension headers do not come this far: of a flow they are
 * dropped in either family.
 *
 * The TCP checksum covers the addresses through its pseudo header, which has the same
 * sum in both families but for them: length and protocol are the same numbers. So the delta of
 * the addresses is all there is to it, CHECKSUM_PARTIAL included (csum.h).
 *
 * Pure, but for the one step that moves the bytes (ctx_change_family()).
 */
#ifndef LADON_CROSS_H
#define LADON_CROSS_H

#include "abi.h"
#include "bytes.h"
#include "csum.h"
#include "ctx.h"
#include "packet.h"
#include "translate.h"

/* By how much IPv6's header is the longer one */
#define CROSS_BYTES ((__s32)(sizeof(struct ipv6hdr) - sizeof(struct iphdr)))

/* What an IPv6 sender may send whatever the path: 1280 bytes, as IPv4 */
#define CROSS_SMALL_BYTES (1280 - CROSS_BYTES)

/**
 * struct cross_header - what the headers of both families say
 * @payload_bytes: behind the header
 * @protocol: as the header that it is written to calls it
 * @id, @dont_fragment: IPv4 only
 */
struct cross_header {
	__u32 payload_bytes;
	__u32 id;
	__u8 tos;
	__u8 ttl;
	__u8 protocol;
	bool dont_fragment;
};

static __always_inline void cross_read4(const struct iphdr *ip, struct cross_header *h)
{
	h->tos = ip->tos;
	h->ttl = ip->ttl;
	h->payload_bytes = bpf_ntohs(ip->tot_len) - sizeof(*ip);
}

static __always_inline void cross_read6(const struct ipv6hdr *ip, struct cross_header *h)
{
	h->tos = bpf_ntohl(*(const word32_t *)ip) >> 20;
	h->ttl = ip->hop_limit;
	h->payload_bytes = bpf_ntohs(ip->payload_len);
}

/* A length field; what is longer than it can say travels as 0 (see packet_len()). */
static __always_inline __u32 cross_len(__u32 len_bytes)
{
	return len_bytes > 0xffff ? 0 : len_bytes;
}

/* The header's checksum is right, whatever the length: its sum is 0. */
static __always_inline void cross_write4(struct iphdr *ip, const struct cross_header *h,
					 __be32 saddr, __be32 daddr)
{
	word32_t *words = (void *)ip;

	words[0] = bpf_htonl(0x45000000 | (__u32)h->tos << 16 |
			     cross_len(h->payload_bytes + sizeof(*ip)));
	words[1] = bpf_htonl(h->id << 16 | (h->dont_fragment ? IP4_DONT_FRAGMENT : 0));
	words[2] = bpf_htonl((__u32)h->ttl << 24 | (__u32)h->protocol << 16);
	words[3] = saddr;
	words[4] = daddr;
	ip->check = ~csum_fold16(csum_words(words, 5));
}

/* Return: the header's sum */
static __always_inline __u64 cross_write6(struct ipv6hdr *ip, const struct cross_header *h,
					  const __be32 saddr[4], const __be32 daddr[4])
{
	word32_t *words = (void *)ip;
	__u64 sum;
	int i;

	words[0] = bpf_htonl(6u << 28 | (__u32)h->tos << 20);
	words[1] = bpf_htonl(cross_len(h->payload_bytes) << 16 | (__u32)h->protocol << 8 | h->ttl);
	sum = (__u64)words[0] + words[1];
	for (i = 0; i < 4; i++) {
		words[2 + i] = saddr[i];
		words[6 + i] = daddr[i];
		sum += (__u64)saddr[i] + daddr[i];
	}
	return sum;
}

/**
 * cross_is_sound() - is the IPv4 header what its sender wrote?
 *
 * Who forwards in one family mends the checksum, and leaves it wrong if it was; IPv6 has none that
 * would tell.
 */
static __always_inline bool cross_is_sound(const struct iphdr *ip)
{
	return csum_fold16(csum_words((const void *)ip, sizeof(*ip) / 4)) == 0xffff;
}

/**
 * cross_identify() - DF and the identification of a segment that leaves as IPv4
 * @pkt: as it arrived
 * @segment_bytes: IP length of each segment as it leaves
 *
 * RFC 7915 section 5.1: no DF on what an IPv6 sender would not make smaller, whatever it is
 * told. Should a router cut it, the pieces are known by the identification. That is made from
 * the sequence number: it differs from segment to segment, and a repetition, whose bytes are
 * the same, may share it.
 */
static __always_inline void cross_identify(const struct packet *pkt, __u32 segment_bytes,
					   struct cross_header *h)
{
	h->dont_fragment = segment_bytes > CROSS_SMALL_BYTES;
	h->id = pkt->seq * 0x9e3779b1 >> 16; /* 2^32 by the golden ratio */
}

/* Return: the IP length of each segment when it leaves as IPv4 */
static __always_inline __u32 cross_segment_bytes(const ctx_t *ctx, const struct packet *pkt)
{
	__u32 gso_bytes = ctx_gso_bytes(ctx);
	__u32 payload_bytes =
		gso_bytes && gso_bytes < pkt->payload_bytes ? gso_bytes : pkt->payload_bytes;

	return pkt->len_bytes - pkt->payload_bytes + payload_bytes - CROSS_BYTES;
}

/* Where the bytes moved. Return: false: never */
static __always_inline bool cross_write_tcp4(ctx_t *ctx, const struct cross_header *h,
					     const struct ladon_entry *flow, __u64 addrs)
{
	struct ethhdr *eth = ctx_data(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	__u64 left;

	if ((void *)(ip + 1) > ctx_end(ctx))
		return false;
	eth->h_proto = bpf_htons(ETH_P_IP);
	left = csum_words((const void *)ip, sizeof(*ip) / 4); /* of IPv6's header */
	cross_write4(ip, h, flow->saddr[3], flow->daddr[3]);
	ctx_inserted(ctx, (__u32)~csum_fold32(left + addrs));
	return true;
}

static __always_inline bool cross_write_tcp6(ctx_t *ctx, const struct cross_header *h,
					     const struct ladon_entry *flow)
{
	struct ethhdr *eth = ctx_data(ctx);
	struct ipv6hdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > ctx_end(ctx))
		return false;
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	ctx_inserted(ctx, cross_write6(ip, h, flow->saddr, flow->daddr));
	return true;
}

/* The sum of both addresses that a packet leaves with: ::ffff: before two of IPv4 adds nothing */
static __always_inline __u64 cross_ours(const struct ladon_entry *flow)
{
	return csum_words((const void *)flow->saddr, 8);
}

/* What the change of addresses does to a sum over them */
static __always_inline __u64 cross_addresses(const struct packet *pkt,
					     const struct ladon_entry *flow)
{
	const word32_t *from = (const void *)pkt->ip4;
	__u64 was = pkt->is_ip6 ? csum_words(from + 2, 8) : csum_words(from + 3, 2);

	return cross_ours(flow) + (__u32)~csum_fold32(was);
}

/**
 * cross_tcp() - all that translate() does, and the change of family
 * @pkt: from packet_parse(), aged by out_age()
 * @flow: the packet's, with LADON_FLOW_CROSS
 * @d: .ip from out_age()
 *
 * A COMPLETE sum: ctx_fix_csum() takes what it says of a packet whose addresses it sees
 * change; the new header adds its own sum, which of IPv4 is 0, and what of the old one is
 * overwritten goes.
 *
 * Ends all packet pointers. Return: VERDICT_CONTINUE, or VERDICT_DROP and pkt->why.
 */
static __always_inline enum verdict cross_tcp(ctx_t *ctx, struct packet *pkt,
					      const struct ladon_entry *flow, struct csum_delta *d)
{
	struct cross_header h = { .protocol = IPPROTO_TCP };
	bool to_ip6 = !pkt->is_ip6, ok;

	if (to_ip6)
		cross_read4(pkt->ip4, &h);
	else
		cross_read6(pkt->ip6, &h);
	h.payload_bytes = pkt->len_bytes - packet_tcp_offset(pkt) + sizeof(struct ethhdr);
	if (flow->what & LADON_FLOW_NO_ECN)
		h.tos &= ~IP_ECN;
	cross_identify(pkt, cross_segment_bytes(ctx, pkt), &h);
	d->addrs = cross_addresses(pkt, flow);
	if (!translate_tcp(ctx, pkt, flow, d, true) ||
	    ctx_fix_csum(ctx, &pkt->tcp->check,
			 packet_tcp_offset(pkt) + offsetof(struct tcphdr, check), pkt->is_ip6,
			 d) < 0 ||
	    ctx_change_family(ctx, to_ip6, 0) < 0)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	ok = to_ip6 ? cross_write_tcp6(ctx, &h, flow) : cross_write_tcp4(ctx, &h, flow, d->addrs);
	return ok ? VERDICT_CONTINUE : packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
}

#endif
