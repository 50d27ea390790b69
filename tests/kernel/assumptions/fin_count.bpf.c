// SPDX-License-Identifier: GPL-2.0-only
/* fin_count.bpf.c - seen: rcv_nxt, bytes_received and state of the last sender of data */
#include "segment.h"

SEC("tc")
int look(struct __sk_buff *skb)
{
	const struct bpf_tcp_sock *tp;
	struct bpf_sock *sk = skb->sk;
	struct tcphdr tcp;

	if (!sk || segment_read(skb, &tcp) || !tcp.psh)
		return TC_ACT_UNSPEC;
	sk = bpf_sk_fullsock(sk);
	tp = sk ? bpf_tcp_sock(sk) : NULL;
	if (!tp)
		return TC_ACT_UNSPEC;
	seen[0] = tp->rcv_nxt;
	seen[1] = tp->bytes_received;
	seen[2] = sk->state;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
