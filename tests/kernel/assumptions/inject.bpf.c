// SPDX-License-Identifier: GPL-2.0-only
/* inject.bpf.c - a test run puts its packet into an interface; count it there, with its mark */
#include "segment.h"

#define MARK 0x1ad1

SEC("tc")
int put(struct __sk_buff *skb)
{
	skb->tc_index = MARK;
	return bpf_clone_redirect(skb, skb->cb[0], BPF_F_INGRESS);
}

SEC("tc")
int enter(struct __sk_buff *skb)
{
	if (skb->tc_index != MARK)
		return TC_ACT_UNSPEC;
	seen[0]++;
	seen[1] = skb->pkt_type;
	seen[2] = bpf_skb_change_type(skb, 0) == 0 ? skb->pkt_type : 99;
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
