/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reset.h - turn a segment into the RST that answers it
 *
 * For flows that were killed: whoever speaks is told, by its own numbers, that
 * the connection is gone. A RST is never answered.
 */
#ifndef LADON_RESET_H
#define LADON_RESET_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "answer.h"
#include "bytes.h"
#include "csum.h"
#include "ctx.h"
#include "packet.h"

/* The answer's numbers, read before the packet changes; host byte order */
struct reset {
	__u32 seq;
	__u32 ack;
	__u32 flags;
};

/* RFC 9293 section 3.10.7.1: as if the connection had never been. */
static __always_inline struct reset reset_numbers(const struct packet *pkt)
{
	struct reset r = { .flags = TCP_RST };

	if (pkt->flags & TCP_ACK) {
		r.seq = pkt->ack;
	} else {
		r.ack = pkt->seq + pkt->payload_bytes + !!(pkt->flags & TCP_SYN) +
			!!(pkt->flags & TCP_FIN);
		r.flags |= TCP_ACK;
	}
	return r;
}

/* Return: the sum of the pseudo header's addresses */
static __always_inline __u64 reset_ip4(struct iphdr *ip)
{
	const word16_t *words = (void *)ip;
	__u64 sum = 0;
	int i;

	answer_swap((void *)&ip->saddr, (void *)&ip->daddr, 1);
	ip->tos = 0;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tcphdr));
	ip->frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	ip->ttl = ANSWER_TTL;
	ip->check = 0;
	for (i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += words[i];
	ip->check = ~csum_fold16(sum);
	return (__u64)ip->saddr + ip->daddr;
}

static __always_inline __u64 reset_ip6(struct ipv6hdr *ip)
{
	word32_t *saddr = (void *)&ip->saddr;
	__u64 sum = 0;
	int i;

	answer_swap(saddr, (void *)&ip->daddr, 4);
	*(word32_t *)ip = bpf_htonl(6 << 28);
	ip->payload_len = bpf_htons(sizeof(struct tcphdr));
	ip->hop_limit = ANSWER_TTL;
	for (i = 0; i < 8; i++)
		sum += saddr[i];
	return sum;
}

/*
 * @pseudo: the sum of the pseudo header, which the checksum field is left with.
 * Return: the sum of the rest.
 */
static __always_inline __u64 reset_tcp(word32_t *tcp, const struct reset *r, __u64 pseudo)
{
	__u64 sum = 0;
	int i;

	tcp[0] = tcp[0] << 16 | tcp[0] >> 16; /* the ports */
	tcp[1] = bpf_htonl(r->seq);
	tcp[2] = bpf_htonl(r->ack);
	tcp[3] = bpf_htonl((__u32)sizeof(struct tcphdr) / 4 << 28 | r->flags << 16);
	tcp[4] = 0; /* checksum and urgent pointer */
	for (i = 0; i < 4; i++)
		sum += tcp[i];
	((struct tcphdr *)tcp)->check = csum_fold16(pseudo);
	return sum;
}

/*
 * With the pseudo header's sum in the field, a CHECKSUM_PARTIAL packet is right
 * as it is, and the helper leaves it alone. For all others it makes a field c
 * into ~(~c + delta): to end with ~(pseudo + rest), delta is pseudo + rest - ~c,
 * and in ones' complement -~c is c, the pseudo header's sum once more.
 */
static __always_inline long reset_csum(ctx_t *ctx, __u32 offset, __u64 pseudo, __u64 rest)
{
	return bpf_l4_csum_replace(ctx, offset, 0, csum_fold32(2 * pseudo + rest), 0);
}

/**
 * reset_answer() - make the packet the RST that answers it, headed where it came from
 * @pkt: as parsed; its pointers are gone afterwards
 *
 * No options and no payload. Return: VERDICT_RESET, or VERDICT_DROP when there
 * is nothing to be answered or the packet could not be changed.
 */
static __always_inline enum verdict reset_answer(ctx_t *ctx, const struct packet *pkt)
{
	struct reset r = reset_numbers(pkt);
	__u32 tcp_offset = packet_tcp_offset(pkt);
	__u64 pseudo = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(struct tcphdr));
	struct ethhdr *eth;
	void *tcp;
	__u64 rest;

	if (pkt->flags & TCP_RST ||
	    bpf_skb_change_tail(ctx, tcp_offset + sizeof(struct tcphdr), 0) < 0)
		return VERDICT_DROP;
	eth = ctx_data(ctx);
	if (pkt->is_ip6) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		tcp = ip + 1;
		if (tcp + sizeof(struct tcphdr) > ctx_end(ctx))
			return VERDICT_DROP;
		pseudo += reset_ip6(ip);
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		tcp = ip + 1;
		if (tcp + sizeof(struct tcphdr) > ctx_end(ctx))
			return VERDICT_DROP;
		pseudo += reset_ip4(ip);
	}
	answer_ethernet(eth);
	rest = reset_tcp(tcp, &r, pseudo);
	if (reset_csum(ctx, tcp_offset + offsetof(struct tcphdr, check), pseudo, rest) < 0)
		return VERDICT_DROP;
	return VERDICT_RESET;
}

#endif
