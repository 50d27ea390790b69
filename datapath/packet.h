/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * packet.h - what a packet is: the only place that checks bounds
 *
 * It only reads. What it learns goes into a struct packet by name; its pointers
 * are good until a helper changes the packet.
 *
 * A packet that cannot be translated (a fragment, IP options) may still belong
 * to a flow; then the stack must not see it, for it would answer with a RST. So
 * addresses and ports are read wherever they can be.
 */
#ifndef LADON_PACKET_H
#define LADON_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include "abi.h"
#include "bytes.h"
#include "ctx.h"

/* Ethernet, IPv6, and TCP with all its options */
#define PACKET_HEADERS_MAX (sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + 60)

/* IPv6 extension headers that are stepped over to find the ports */
#define PACKET_EXTENSIONS_MAX 6

/* RFC 791 section 3.1: the flags and offset field, host byte order */
#define IP4_DONT_FRAGMENT  0x4000
#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_OFFSET_MASK	   0x1fff

/* RFC 9293 section 3.1: the control bits */
enum {
	TCP_FIN = 1 << 0,
	TCP_SYN = 1 << 1,
	TCP_RST = 1 << 2,
	TCP_ACK = 1 << 4,
	TCP_ECE = 1 << 6,
	TCP_CWR = 1 << 7,
};

/**
 * struct packet - one packet, as it arrived
 * @key: addresses and ports
 * @has_key: @key was filled in: the packet is TCP and its ports are there to see
 * @is_ip6: ip6 of the union, else ip4
 * @tcp: the TCP header, with all of its options before @end
 * @end: of the linear bytes
 * @len_bytes: IP length, header included; of a GSO packet that of the whole
 *	super-packet, with one header. 0: not known
 * @payload_bytes: of TCP
 * @options_bytes: of TCP: 0 to 40
 * @flags: TCP_*
 * @seq, @ack: as the sender wrote them, host byte order
 * @why: set by the step that ends the packet's way
 */
struct packet {
	struct ladon_flow_key key;
	bool has_key;
	bool is_ip6;
	union {
		struct iphdr *ip4;
		struct ipv6hdr *ip6;
	};
	struct tcphdr *tcp;
	void *end;
	__u32 len_bytes;
	__u32 payload_bytes;
	__u32 options_bytes;
	__u32 flags;
	__u32 seq;
	__u32 ack;
	enum ladon_reason why;
};

/* Where things stand in a packet that packet_parse() let pass */
static __always_inline __u32 packet_tcp_offset(const struct packet *pkt)
{
	return sizeof(struct ethhdr) +
	       (pkt->is_ip6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

static __always_inline bool packet_is_pure_ack(const struct packet *pkt)
{
	return !pkt->payload_bytes && !(pkt->flags & (TCP_SYN | TCP_FIN | TCP_RST));
}

/** packet_is_opening() - a SYN of a new connection, not the answer to one */
static __always_inline bool packet_is_opening(const struct packet *pkt)
{
	return (pkt->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/** packet_reverse_key() - the key of what the receiver of a packet with this one sends */
static __always_inline void packet_reverse_key(const struct ladon_flow_key *key,
					       struct ladon_flow_key *out)
{
	__builtin_memcpy(out->saddr, key->daddr, sizeof(out->saddr));
	__builtin_memcpy(out->daddr, key->saddr, sizeof(out->daddr));
	out->sport = key->dport;
	out->dport = key->sport;
}

static __always_inline enum verdict packet_end(struct packet *pkt, enum verdict verdict,
					       enum ladon_reason why)
{
	pkt->why = why;
	return verdict;
}

static __always_inline void packet_ports(struct packet *pkt, const void *l4)
{
	const word16_t *ports = l4;

	if ((const void *)(ports + 2) > pkt->end)
		return;
	pkt->key.sport = ports[0];
	pkt->key.dport = ports[1];
	pkt->has_key = true;
}

/* @ip_header_bytes: 20 or 40; the TCP header begins there. */
static __always_inline enum verdict packet_tcp(struct packet *pkt, struct tcphdr *tcp,
					       __u32 ip_header_bytes)
{
	__u32 header_bytes;

	packet_ports(pkt, tcp);
	if ((void *)(tcp + 1) > pkt->end)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);
	header_bytes = tcp->doff * 4;
	if (header_bytes < sizeof(*tcp) || ip_header_bytes + header_bytes > pkt->len_bytes ||
	    (__u8 *)tcp + header_bytes > (__u8 *)pkt->end)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);

	pkt->tcp = tcp;
	pkt->options_bytes = header_bytes - sizeof(*tcp);
	pkt->payload_bytes = pkt->len_bytes - ip_header_bytes - header_bytes;
	pkt->flags = ((const __u8 *)tcp)[13];
	pkt->seq = bpf_ntohl(tcp->seq);
	pkt->ack = bpf_ntohl(tcp->ack_seq);
	return VERDICT_CONTINUE;
}

/*
 * The length that the IP header says, if the packet is as long; padding behind
 * it is fine. 0 stands for a super-packet of more than 64 KB (BIG TCP).
 */
static __always_inline bool packet_len(const ctx_t *ctx, __u32 said_bytes, __u32 *out)
{
	__u32 there_bytes = ctx_len(ctx) - sizeof(struct ethhdr);

	if (!said_bytes && ctx_gso_bytes(ctx))
		said_bytes = there_bytes;
	if (said_bytes > there_bytes)
		return false;
	*out = said_bytes;
	return true;
}

static __always_inline enum verdict packet_ip4(const ctx_t *ctx, struct packet *pkt,
					       struct iphdr *ip)
{
	__u32 fragment;

	if ((void *)(ip + 1) > pkt->end || ip->version != 4 || ip->ihl < 5 ||
	    !packet_len(ctx, bpf_ntohs(ip->tot_len), &pkt->len_bytes))
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);
	if (ip->protocol == IPPROTO_ICMP)
		return packet_end(pkt, VERDICT_ICMP, LADON_REASON_NOT_TCP);
	if (ip->protocol != IPPROTO_TCP)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_NOT_TCP);

	pkt->ip4 = ip;
	pkt->key.saddr[2] = pkt->key.daddr[2] = bpf_htonl(0xffff);
	pkt->key.saddr[3] = ip->saddr;
	pkt->key.daddr[3] = ip->daddr;

	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & (IP4_MORE_FRAGMENTS | IP4_OFFSET_MASK)) {
		if (!(fragment & IP4_OFFSET_MASK))
			packet_ports(pkt, (__u8 *)ip + ip->ihl * 4);
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_FRAGMENT);
	}
	if (ip->ihl > 5) {
		packet_ports(pkt, (__u8 *)ip + ip->ihl * 4);
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_IP_OPTIONS);
	}
	return packet_tcp(pkt, (void *)(ip + 1), sizeof(*ip));
}

/*
 * Step over extension headers (RFC 8200 section 4): the stack gets the packet,
 * unless there are ports behind them that belong to a flow.
 */
static __always_inline enum verdict packet_extensions(struct packet *pkt, const __u8 *header,
						      __u32 next)
{
	enum ladon_reason why = LADON_REASON_IP_OPTIONS;
	__u32 offset = 0;
	int i;

	for (i = 0; i <= PACKET_EXTENSIONS_MAX; i++) {
		const __u8 *h = header + offset;

		if (next == IPPROTO_TCP) {
			packet_ports(pkt, h);
			break;
		}
		if (i == PACKET_EXTENSIONS_MAX || h + 8 > (const __u8 *)pkt->end)
			break;
		if (next == IPPROTO_FRAGMENT) {
			why = LADON_REASON_FRAGMENT;
			if (((h[2] << 8 | h[3]) & ~7) != 0)
				break; /* not the first one: no ports */
			offset += 8;
		} else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			   next == IPPROTO_DSTOPTS) {
			offset += (h[1] + 1) * 8;
		} else {
			why = LADON_REASON_NOT_TCP;
			break;
		}
		next = h[0];
	}
	return packet_end(pkt, VERDICT_STACK, why);
}

static __always_inline enum verdict packet_ip6(const ctx_t *ctx, struct packet *pkt,
					       struct ipv6hdr *ip)
{
	__u32 payload_bytes;

	if ((void *)(ip + 1) > pkt->end || ip->version != 6)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);
	payload_bytes = bpf_ntohs(ip->payload_len);
	if (!packet_len(ctx, payload_bytes ? payload_bytes + sizeof(*ip) : 0, &pkt->len_bytes))
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);

	pkt->is_ip6 = true;
	pkt->ip6 = ip;
	__builtin_memcpy(pkt->key.saddr, &ip->saddr, sizeof(pkt->key.saddr));
	__builtin_memcpy(pkt->key.daddr, &ip->daddr, sizeof(pkt->key.daddr));
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return packet_end(pkt, VERDICT_ICMP, LADON_REASON_NOT_TCP);
	if (ip->nexthdr != IPPROTO_TCP)
		return packet_extensions(pkt, (void *)(ip + 1), ip->nexthdr);
	return packet_tcp(pkt, (void *)(ip + 1), sizeof(*ip));
}

/*
 * Is there all that packet_parse() reads? Of a segment without IP options or extension
 * headers that is its headers; of all else it may be any of the first bytes.
 */
static __always_inline bool packet_is_linear(const ctx_t *ctx)
{
	const struct ethhdr *eth = ctx_data(ctx);
	const __u8 *ip = (const void *)(eth + 1), *tcp, *end = ctx_end(ctx);

	if ((const __u8 *)eth + PACKET_HEADERS_MAX <= end)
		return true;
	if (ip + sizeof(struct iphdr) + sizeof(struct tcphdr) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (ip[0] != 0x45 || ip[offsetof(struct iphdr, protocol)] != IPPROTO_TCP)
			return false;
		tcp = ip + sizeof(struct iphdr);
	} else {
		if (eth->h_proto != bpf_htons(ETH_P_IPV6) ||
		    ip[offsetof(struct ipv6hdr, nexthdr)] != IPPROTO_TCP)
			return false;
		tcp = ip + sizeof(struct ipv6hdr);
	}
	return tcp + sizeof(struct tcphdr) <= end && tcp + (tcp[12] >> 4) * 4 <= end;
}

/**
 * packet_pull() - make linear what packet_parse() reads; ends all packet pointers
 *
 * And not a byte more: a local sender's segment has its headers there and its payload
 * elsewhere. To move payload behind the headers, the kernel must first copy those, because
 * the sender keeps the segment too, and count itself in on each of its pages.
 */
static __always_inline void packet_pull(ctx_t *ctx)
{
	if (!packet_is_linear(ctx))
		ctx_pull(ctx, PACKET_HEADERS_MAX);
}

/**
 * packet_parse() - read Ethernet, IP and TCP headers
 * @ctx: after packet_pull()
 * @pkt: zeroed by the caller
 *
 * Return: VERDICT_CONTINUE: a TCP segment that can be translated; else
 * VERDICT_ICMP or VERDICT_STACK and pkt->why, and perhaps pkt->has_key.
 */
static __always_inline enum verdict packet_parse(const ctx_t *ctx, struct packet *pkt)
{
	enum ladon_reason foreign = ctx_foreign(ctx);
	struct ethhdr *eth = ctx_data(ctx);

	if (foreign)
		return packet_end(pkt, VERDICT_STACK, foreign);
	pkt->end = ctx_end(ctx);
	if ((void *)(eth + 1) > pkt->end)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_SHORT);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return packet_ip4(ctx, pkt, (void *)(eth + 1));
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return packet_ip6(ctx, pkt, (void *)(eth + 1));
	return packet_end(pkt, VERDICT_STACK, LADON_REASON_NOT_IP);
}

#endif
