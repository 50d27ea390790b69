// SPDX-License-Identifier: GPL-2.0-only
/* stolen.bpf.c - two ways to lose everything */
#include "segment.h"

SEC("tc")
int stolen(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_STOLEN;
}

SEC("tc")
int shot(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
