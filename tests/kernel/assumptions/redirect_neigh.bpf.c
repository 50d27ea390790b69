// SPDX-License-Identifier: GPL-2.0-only
/* redirect_neigh.bpf.c - send UDP on by the interface that seen[0] names */
#include <linux/in.h>

#include "segment.h"

SEC("tc")
int forward(struct __sk_buff *skb)
{
	__u32 at = skb->protocol == bpf_htons(ETH_P_IP) ? offsetof(struct iphdr, protocol)
							: offsetof(struct ipv6hdr, nexthdr);
	__u8 protocol = 0;

	if (!segment_offset(skb) || bpf_skb_load_bytes(skb, ETH_HLEN + at, &protocol, 1) ||
	    protocol != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	return bpf_redirect_neigh(seen[0], NULL, 0, 0);
}

char _license[] SEC("license") = "GPL";
