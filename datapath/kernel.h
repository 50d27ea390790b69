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

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net_device {
	int ifindex;
	unsigned int flags; /* IFF_* */
};

struct dst_entry {
	struct net_device *dev;
};

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
};

struct sock {
	struct sock_common __sk_common;
	struct dst_entry *sk_dst_cache;
};

struct inet_sock {
	struct sock sk;
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

/* include/net/tcp.h; accurate ECN since 6.18 */
enum {
	ECN_RFC3168 = 1 << 0,
	ECN_ACCURATE = 1 << 4,
};

#endif
