// SPDX-License-Identifier: GPL-2.0-only
/* test_run.bpf.c - is there a socket for the addresses behind the Ethernet header? */
#include "segment.h"

struct request {
	__u8 ethernet[ETH_HLEN];
	__u8 found;
	__u8 pad;
	__u8 tuple[12]; /* of struct bpf_sock_tuple, IPv4 */
};

SEC("tc")
int find(struct __sk_buff *skb)
{
	struct request *req = (void *)(long)skb->data;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;

	if ((void *)(req + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	__builtin_memcpy(&tuple.ipv4, req->tuple, sizeof(tuple.ipv4));
	sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (sk) {
		req->found = sk->state;
		bpf_sk_release(sk);
	}
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
