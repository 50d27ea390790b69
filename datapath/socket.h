/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * socket.h - find a socket of this host by its connection
 */
#ifndef LADON_SOCKET_H
#define LADON_SOCKET_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Not in the headers that a BPF program can include: net/tcp_states.h */
#define TCP_ESTABLISHED_STATE 1
#define TCP_LISTEN_STATE      10

static __always_inline bool is_ip4(const __be32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/** sock_tuple() - a key as the kernel's look-ups take it. Return: its size */
static __always_inline __u32 sock_tuple(const struct ladon_flow_key *key,
					struct bpf_sock_tuple *out)
{
	if (is_ip4(key->saddr)) {
		out->ipv4.saddr = key->saddr[3];
		out->ipv4.daddr = key->daddr[3];
		out->ipv4.sport = key->sport;
		out->ipv4.dport = key->dport;
		return sizeof(out->ipv4);
	}
	__builtin_memcpy(out->ipv6.saddr, key->saddr, 16);
	__builtin_memcpy(out->ipv6.daddr, key->daddr, 16);
	out->ipv6.sport = key->sport;
	out->ipv6.dport = key->dport;
	return sizeof(out->ipv6);
}

/**
 * sock_find() - a connected socket, or one that listens there
 * @key: as packets arrive: source is the peer
 *
 * Return: NULL, or what is to be released.
 */
static __always_inline struct bpf_sock *sock_find(struct __sk_buff *skb,
						  const struct ladon_flow_key *key)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sock_tuple(key, &tuple);

	return bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

#endif
