/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel.h - the few fields of the kernel's own structs that ladon reads
 *
 * Only names count here: offsets, sizes and bit positions are corrected by
 * CO-RE against the running kernel's BTF when the programs are loaded, so
 * fields may stand in any order and the rest is left out. Checked by BTF of
 * 6.1, 6.12 and 6.18. What a kernel may lack is marked, and asked for with
 * bpf_core_field_exists() before it is read.
 */
#ifndef LADON_KERNEL_H
#define LADON_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct counter { /* atomic_t */
	int counter;
};

struct netns_ipv4 {
	struct counter rt_genid;
};

struct rt6_statistics {
	__u32 fib_discarded_routes;
};

struct netns_ipv6 {
	struct counter fib6_sernum;
	struct rt6_statistics *rt6_stats;
};

struct nf_hook_entries;

struct netns_nf { /* CONFIG_NETFILTER; by enum nf_inet_hooks */
	struct nf_hook_entries *hooks_ipv4[5];
	struct nf_hook_entries *hooks_ipv6[5];
};

struct net {
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
	struct netns_nf nf;
};

struct net_ref { /* possible_net_t */
	struct net *net;
};

struct net_device {
	int ifindex;
	unsigned int flags; /* IFF_* */
	struct net_ref nd_net;
};

struct sk_buff {
	struct net_device *dev;
	__u8 ip_summed : 2;
};

struct dst_entry {
	struct net_device *dev;
};

struct in6 { /* in6_addr */
	__be32 word[4];
};

struct rtable { /* begins with a dst_entry */
	int rt_genid;
	__u8 rt_gw_family; /* 0: on the link */
	__be32 rt_gw4;	   /* these two share their place */
	struct in6 rt_gw6;
};

struct fib6_node {
	int fn_sernum;
};

struct fib6_info {
	struct fib6_node *fib6_node; /* NULL: gone from the tree */
};

struct rt6_info { /* begins with a dst_entry */
	struct fib6_info *from;
	struct in6 rt6i_gateway;
	__u32 rt6i_flags; /* RTF_GATEWAY and others */
};

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct net_ref skc_net;
};

struct sock {
	struct sock_common __sk_common;
	struct dst_entry *sk_dst_cache;
};

struct ipv6_pinfo {
	__u32 dst_cookie; /* of sk_dst_cache: the node's fn_sernum at that time */
};

struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	const void *icsk_ulp_ops; /* kernel TLS, MPTCP */
	__u32 icsk_pmtu_cookie;	  /* bytes, IP header included */
};

struct rb_node;

struct rb_root {
	struct rb_node *rb_node;
};

struct tcp_options_received {
	__u32 ts_recent;
	__u16 tstamp_ok : 1, sack_ok : 3, snd_wscale : 4, rcv_wscale : 4;
	__u16 mss_clamp;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 tsoffset;
	__u32 snd_wnd;
	__u32 srtt_us; /* eighths of a microsecond */
	__u32 mss_cache;
	__u32 snd_cwnd;
	__u32 packets_out;
	__u32 copied_seq;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 rcv_wup;
	__u32 rcv_wnd;
	__u32 snd_una;
	__u32 snd_nxt;
	__u16 advmss;
	__u8 ecn_flags;
	__u64 bytes_received;
	struct rb_root out_of_order_queue;
	struct tcp_options_received rx_opt;
	__u8 tcp_usec_ts : 1;	 /* since 6.7 */
	bool is_mptcp;		 /* CONFIG_MPTCP */
	const void *md5sig_info; /* CONFIG_TCP_MD5SIG */
	const void *ao_info;	 /* since 6.7, CONFIG_TCP_AO */
};

#pragma clang attribute pop

/**
 * kernel_route_gen() - moves with every change of a route or rule
 *
 * rt_genid is raised by rt_cache_flush() (net/ipv4/route.c). In net/ipv6/ip6_fib.c
 * fib6_sernum is raised by routes and rules that come, and fib_discarded_routes by
 * routes that go; neither ever falls, so their sum tells of both. An entry has room
 * for 22 bits of it: four million changes later it looks the same again.
 */
static __always_inline __u32 kernel_route_gen(struct net *net, bool is_ip6)
{
	if (!is_ip6)
		return net->ipv4.rt_genid.counter;
	return net->ipv6.fib6_sernum.counter + net->ipv6.rt6_stats->fib_discarded_routes;
}

/* include/uapi/linux/netfilter.h */
#define NF_PRE_ROUTING 0

/**
 * kernel_has_hooks() - may netfilter know of connections of this host?
 *
 * Conntrack and NAT look at what arrives, so as long as nobody does, neither is active
 * (net/netfilter/nf_conntrack_proto.c: nf_ct_netns_get()).
 */
static __always_inline bool kernel_has_hooks(struct net *net)
{
	if (!bpf_core_field_exists(net->nf))
		return false;
	return net->nf.hooks_ipv4[NF_PRE_ROUTING] || net->nf.hooks_ipv6[NF_PRE_ROUTING];
}

/* include/uapi/linux/ipv6_route.h */
#define RTF_GATEWAY_FLAG 0x0002

/* include/net/tcp.h; accurate ECN since 6.18 */
enum {
	ECN_RFC3168 = 1 << 0,
	ECN_ACCURATE = 1 << 4,
};

#endif
