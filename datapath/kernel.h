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

struct nf_hook_entries;

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

struct netns_nf { /* CONFIG_NETFILTER; by enum nf_inet_hooks */
	struct nf_hook_entries *hooks_ipv4[5];
	struct nf_hook_entries *hooks_ipv6[5];
};

struct netns_nftables {
	unsigned int base_seq; /* since 6.12 */
	__u8 gencursor;
};

struct list_head {
	struct list_head *next;
};

struct net {
	struct list_head ptype_all; /* who captures on all devices; since 6.15, before not to be seen */
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
	struct netns_nf nf;
	struct netns_nftables nft;
};

struct net_ref { /* possible_net_t */
	struct net *net;
};

struct ipv6_devconf {
	__s32 mtu6; /* net.ipv6.conf.*.mtu, or what a router has advertised */
};

struct inet6_dev {
	struct ipv6_devconf cnf;
};

struct tcf_proto {
	struct tcf_proto *next;
};

struct mini_Qdisc {
	struct tcf_proto *filter_list;
};

struct bpf_mprog_bundle {
	__u32 count;
};

struct bpf_mprog_entry {
	struct bpf_mprog_bundle *parent;
};

struct tcx_entry {
	struct mini_Qdisc *miniq;
	struct bpf_mprog_bundle bundle;
};

struct Qdisc {
	void *enqueue; /* NULL: noqueue */
};

struct rtnl_link_ops {
	const char *kind;
};

struct rps_map;

struct netdev_rx_queue {
	struct rps_map *rps_map; /* CONFIG_RPS */
};

struct net_device {
	int ifindex;
	unsigned int flags; /* IFF_* */
	unsigned int mtu;
	struct inet6_dev *ip6_ptr;
	struct net_ref nd_net;
	struct rtnl_link_ops *rtnl_link_ops;
	struct Qdisc *qdisc;
	struct netdev_rx_queue *_rx;
	struct list_head ptype_all;
	struct bpf_mprog_entry *tcx_egress;   /* since 6.6 */
	struct mini_Qdisc *miniq_egress;      /* before */
	struct nf_hook_entries *nf_hooks_egress; /* CONFIG_NETFILTER_EGRESS */
	__u8 priv[0];			      /* since 6.10; before, it just follows */
};

struct napi_struct;

struct veth_rq {
	struct napi_struct *napi; /* NULL: what arrives goes to the CPU's own queue */
};

struct veth_priv { /* CONFIG_VETH, and maybe in a module */
	struct net_device *peer;
	struct veth_rq *rq;
	struct bpf_prog *_xdp_prog;
};

struct sk_buff {
	struct net_device *dev;
	int skb_iif; /* the interface it came by */
	__u32 mark;
	unsigned char *head;
	__u16 network_header; /* from .head */
	unsigned long _nfct; /* CONFIG_NF_CONNTRACK: struct nf_conn, and enum ip_conntrack_info */
	unsigned long _skb_refdst; /* struct dst_entry, and SKB_DST_NOREF */
	__u8 active_extensions;	   /* CONFIG_SKB_EXTENSIONS */
	__u8 ip_summed : 2;
};

enum skb_drop_reason {
	SKB_DROP_REASON_NETFILTER_DROP = 6, /* since 5.18 */
};

enum skb_ext_id { /* CONFIG_SKB_EXTENSIONS; some only with what they are for */
	SKB_EXT_SEC_PATH = 1,
};

struct xfrm_state;

struct dst_entry {
	struct net_device *dev;
	unsigned short flags;	 /* DST_* */
	unsigned long _metrics;	 /* u32 by RTAX_* - 1, and two flags */
	struct xfrm_state *xfrm; /* CONFIG_XFRM */
};

struct neighbour {
	struct net_device *dev;
	__u8 nud_state;
	unsigned char ha[32];
};

union nf_inet_addr {
	__be32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conntrack_zone {
	__u16 id;
};

struct ip_ct_tcp_state {
	__u8 flags;
};

struct ip_ct_tcp {
	struct ip_ct_tcp_state seen[2];
	__u8 state;
};

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
};

enum nf_ct_ext_id {
	NF_CT_EXT_HELPER,
};

struct nf_ct_ext {
	__u8 offset[4]; /* by enum nf_ct_ext_id; 0: it has none */
};

struct nf_conn {
	struct nf_conntrack_zone zone; /* CONFIG_NF_CONNTRACK_ZONES */
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status; /* IPS_* */
	struct nf_ct_ext *ext;
	union nf_conntrack_proto proto;
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
	__u32 rcv_tsecr; /* without the socket's own offset; 0: none */
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

/* net_device.flags: include/uapi/linux/if.h */
enum {
	DEVICE_UP = 0x1,
	DEVICE_LOOPBACK = 0x8,
};

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak; /* Linux 6.2 */

/* What is at an address, as a pointer whose fields can be read like any other's; what cannot be is 0 */
#define kernel_cast(pointer, type)                                                                 \
	((type *)bpf_rdonly_cast((void *)(pointer), bpf_core_type_id_kernel(type)))

/**
 * kernel_route_gen() - moves with every change of a route or rule
 *
 * rt_genid is raised by rt_cache_flush() (net/ipv4/route.c). In net/ipv6/ip6_fib.c
 * fib6_sernum is raised by routes and rules that come, and fib_discarded_routes by
 * routes that go; neither ever falls, so their sum tells of both. An entry has room
 * for 22 bits of it: four million changes later it looks the same again. A link's MTU moves
 * none of these, but rt_genid.
 */
static __always_inline __u32 kernel_route_gen(struct net *net, bool is_ip6)
{
	if (!is_ip6)
		return net->ipv4.rt_genid.counter;
	return net->ipv6.fib6_sernum.counter + net->ipv6.rt6_stats->fib_discarded_routes +
	       net->ipv4.rt_genid.counter;
}

/**
 * kernel_rule_gen() - moves with every change of the rules of nf_tables, iptables-nft's included
 *
 * net/netfilter/nf_tables_api.c: nf_tables_commit(). Where the count is not to be seen, its lowest bit is.
 */
static __always_inline __u32 kernel_rule_gen(struct net *net)
{
	if (bpf_core_field_exists(net->nft.base_seq))
		return net->nft.base_seq;
	return bpf_core_field_exists(net->nft) ? net->nft.gencursor : 0;
}

/**
 * kernel_rules_are() - have the rules not changed since that generation, as nf_tables' netlink tells it?
 *
 * False where the count is not to be seen: the lowest bit of another one may happen to be equal.
 */
static __always_inline bool kernel_rules_are(struct net *net, __u32 generation)
{
	return bpf_core_field_exists(net->nft.base_seq) && net->nft.base_seq == generation;
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
