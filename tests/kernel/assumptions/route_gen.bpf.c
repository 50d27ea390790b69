// SPDX-License-Identifier: GPL-2.0-only
/* route_gen.bpf.c - seen: the generations of IPv4's and IPv6's routes in the namespace of a sender; segments */
#include <stdbool.h>

#include "segment.h"

#include "../../../datapath/kernel.h"

SEC("tc")
int look(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp = sk ? (void *)bpf_skc_to_tcp_sock(sk) : NULL;
	struct net *net;

	if (!tp)
		return TC_ACT_UNSPEC;
	net = tp->inet_conn.icsk_inet.sk.__sk_common.skc_net.net;
	seen[0] = kernel_route_gen(net, false);
	seen[1] = kernel_route_gen(net, true);
	seen[2]++;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
