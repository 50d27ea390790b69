/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment.h - what the assumptions' programs look at: TCP over IPv4 or IPv6
 *
 * Only what a namespace of their own sends: no IP options, nothing broken.
 */
#ifndef LADON_TESTS_SEGMENT_H
#define LADON_TESTS_SEGMENT_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Read, and sometimes written, by bpf.py */
volatile __u32 seen[16];

/* Return: where the header behind IP begins; 0: not IP */
static __always_inline __u32 segment_offset(const struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ETH_HLEN + sizeof(struct iphdr);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ETH_HLEN + sizeof(struct ipv6hdr);
	return 0;
}

/* Return: 0, or a negative errno when it is no TCP segment */
static __always_inline long segment_read(struct __sk_buff *skb, struct tcphdr *out)
{
	__u32 tcp = segment_offset(skb);

	return tcp ? bpf_skb_load_bytes(skb, tcp, out, sizeof(*out)) : -1;
}

#endif
