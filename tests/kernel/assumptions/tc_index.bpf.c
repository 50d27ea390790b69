// SPDX-License-Identifier: GPL-2.0-only
/* tc_index.bpf.c - mark UDP that comes in; count what leaves with the mark, and without */
#include <linux/in.h>
#include <stdbool.h>

#include "segment.h"

#define MARK 0x1ad0

static __always_inline bool is_udp(struct __sk_buff *skb)
{
	__u32 at = skb->protocol == bpf_htons(ETH_P_IP) ? offsetof(struct iphdr, protocol)
							: offsetof(struct ipv6hdr, nexthdr);
	__u8 protocol = 0;

	return segment_offset(skb) && !bpf_skb_load_bytes(skb, ETH_HLEN + at, &protocol, 1) &&
	       protocol == IPPROTO_UDP;
}

SEC("tc")
int enter(struct __sk_buff *skb)
{
	if (is_udp(skb))
		skb->tc_index = MARK;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int leave(struct __sk_buff *skb)
{
	if (is_udp(skb))
		__sync_fetch_and_add(&seen[skb->tc_index == MARK ? 0 : 1], 1);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
