// SPDX-License-Identifier: GPL-2.0-only
/* socket_clock.bpf.c - seen: how far the clock of a socket is ahead of its segment's TSval; segments */
#include <stdbool.h>

#include "segment.h"

#include "../../../datapath/kernel.h"

SEC("tc")
int compare(struct __sk_buff *skb)
{
	struct {
		struct tcphdr tcp;
		__be32 nop_nop_ts;
		__be32 tsval;
	} head;
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp;

	if (!sk || !segment_offset(skb) ||
	    bpf_skb_load_bytes(skb, segment_offset(skb), &head, sizeof(head)) || !head.tcp.psh ||
	    head.nop_nop_ts != bpf_htonl(0x0101080a))
		return TC_ACT_UNSPEC;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return TC_ACT_UNSPEC;
	seen[0] = (__u32)(bpf_ktime_get_ns() / 1000000) + tp->tsoffset - bpf_ntohl(head.tsval);
	seen[1]++;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
