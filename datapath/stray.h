/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stray.h - a segment to one of ladon's ports that nobody knows
 *
 * A handed-off flow has no socket. Should its entries be missing (deleted too
 * early, another gateway's), the stack would answer the client's next segment
 * with a RST. So what comes to a listener's address is dropped when neither a
 * flow nor a socket wants it. SYNs and everything that is merely routed through
 * this machine pass. So does what comes to the ports that ladon connects from:
 * nobody can tell it from a forwarded or masqueraded connection of this
 * machine's, which netfilter is about to recognise.
 *
 * The questions stand in order of cost: most packets without a flow are
 * somebody else's, and leave after the first.
 */
#ifndef LADON_STRAY_H
#define LADON_STRAY_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ctx.h"
#include "hop.h"
#include "packet.h"

/* Listeners. Far more than anybody configures; allocated as they are added. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ladon_port_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_ports SEC(".maps");

static __always_inline bool stray_port_is_ladons(const struct packet *pkt)
{
	struct ladon_port_key key = { .port = pkt->key.dport };

	if (bpf_map_lookup_elem(&ladon_ports, &key))
		return true;
	__builtin_memcpy(key.addr, pkt->key.daddr, sizeof(key.addr));
	return bpf_map_lookup_elem(&ladon_ports, &key);
}

/* A listening socket wants a segment that carries a SYN cookie of its own. */
static __always_inline bool stray_is_cookie(struct bpf_sock *sk, const struct packet *pkt)
{
	if ((void *)(pkt->tcp + 1) > pkt->end)
		return false; /* never; the verifier of 6.1 forgot it over the calls */
	if (pkt->is_ip6)
		return !bpf_tcp_check_syncookie(sk, pkt->ip6, sizeof(*pkt->ip6), pkt->tcp,
						sizeof(*pkt->tcp));
	return !bpf_tcp_check_syncookie(sk, pkt->ip4, sizeof(*pkt->ip4), pkt->tcp,
					sizeof(*pkt->tcp));
}

/* Does a socket of this network namespace wait for it, in any state? */
static __always_inline bool stray_has_socket(ctx_t *ctx, const struct packet *pkt)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool wanted;

	if (pkt->is_ip6) {
		__builtin_memcpy(tuple.ipv6.saddr, pkt->key.saddr, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, pkt->key.daddr, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = pkt->key.sport;
		tuple.ipv6.dport = pkt->key.dport;
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = pkt->key.saddr[3];
		tuple.ipv4.daddr = pkt->key.daddr[3];
		tuple.ipv4.sport = pkt->key.sport;
		tuple.ipv4.dport = pkt->key.dport;
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return false;
	wanted = sk->state != BPF_TCP_LISTEN || stray_is_cookie(sk, pkt);
	bpf_sk_release(sk);
	return wanted;
}

/*
 * Is it routed to another machine? With forwarding off on the interface nothing
 * is; the kernel says then that it did not look.
 */
static __always_inline bool stray_is_routed(ctx_t *ctx, const struct packet *pkt)
{
	struct bpf_fib_lookup fib = {
		.family = pkt->is_ip6 ? FAMILY_IP6 : FAMILY_IP4,
		.l4_protocol = IPPROTO_TCP,
		.ifindex = ctx->ifindex,
	};

	if (pkt->is_ip6) {
		__builtin_memcpy(fib.ipv6_src, pkt->key.saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, pkt->key.daddr, sizeof(fib.ipv6_dst));
	} else {
		fib.ipv4_src = pkt->key.saddr[3];
		fib.ipv4_dst = pkt->key.daddr[3];
	}
	switch (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_NOT_FWDED:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return false;
	default:
		return true;
	}
}

/**
 * stray_check() - what is to become of a packet that has no flow
 * @pkt: from packet_parse(), which must have said VERDICT_CONTINUE
 *
 * Return: VERDICT_STACK (NO_FLOW) or VERDICT_DROP (STRAY)
 */
static __always_inline enum verdict stray_check(ctx_t *ctx, struct packet *pkt)
{
	if (packet_is_opening(pkt) || !stray_port_is_ladons(pkt) || stray_has_socket(ctx, pkt) ||
	    stray_is_routed(ctx, pkt))
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_NO_FLOW);
	return packet_end(pkt, VERDICT_DROP, LADON_REASON_STRAY);
}

#endif
