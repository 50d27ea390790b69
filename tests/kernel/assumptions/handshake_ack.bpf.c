// SPDX-License-Identifier: GPL-2.0-only
/* handshake_ack.bpf.c - seen: empty segments to a port before the first one with data; is there one; the port */
#include "segment.h"

SEC("tc")
int count(struct __sk_buff *skb)
{
	struct tcphdr tcp;

	if (segment_read(skb, &tcp) || tcp.syn || tcp.dest != bpf_htons(seen[2]) || seen[1])
		return TC_ACT_UNSPEC;
	if (tcp.psh)
		seen[1] = 1;
	else
		seen[0]++;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
