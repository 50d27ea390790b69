// SPDX-License-Identifier: GPL-2.0-only
/* unspec.bpf.c - two programs on one hook; seen: what the second one gets */
#include "segment.h"

SEC("tc")
int first(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_UNSPEC;
}

SEC("tc")
int second(struct __sk_buff *skb __attribute__((unused)))
{
	seen[0]++;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
