// SPDX-License-Identifier: GPL-2.0-only
/* synack_socket.bpf.c - seen: SYN-ACKs; those with a full socket; SYNs; those with a full socket */
#include "segment.h"

SEC("tc")
int count(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcphdr tcp;
	__u32 i;

	if (segment_read(skb, &tcp) || !tcp.syn)
		return TC_ACT_UNSPEC;
	i = tcp.ack ? 0 : 2;
	seen[i]++;
	if (sk && bpf_sk_fullsock(sk))
		seen[i + 1]++;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
