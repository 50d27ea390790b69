/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * deliver.h - what is for a socket of this host, though its address is another's
 *
 * A back socket with its client's address hears nothing: what the backend answers would be
 * routed to the client. So what belongs to a connected socket here gets a mark, by which a
 * routing rule (lib/foreign.c) makes it this host's. ICMP errors about what it said, too.
 *
 * Who listens is not looked at: a wildcard hears for addresses of this host only.
 */
#ifndef LADON_DELIVER_H
#define LADON_DELIVER_H

#include "packet.h"
#include "quote.h"
#include "socket.h"

/* Return: false: the packet belongs to no connection */
static __always_inline bool deliver_key(struct __sk_buff *skb, struct ladon_flow_key *key)
{
	struct packet pkt = {};
	struct quote quote = {};

	if (packet_parse(skb, &pkt) == VERDICT_ICMP) {
		ctx_pull(skb, QUOTE_HEADERS_MAX);
		return quote_parse(skb, &pkt, &quote, key) && quote.is_to_sender;
	}
	*key = pkt.key;
	return pkt.has_key;
}

static __always_inline void deliver(struct __sk_buff *skb)
{
	struct ladon_flow_key key = {};
	struct bpf_sock *sk;

	if (!deliver_key(skb, &key))
		return;
	sk = sock_find(skb, &key);
	if (!sk)
		return;
	if (sk->state != TCP_LISTEN_STATE)
		skb->mark |= LADON_MARK;
	bpf_sk_release(sk);
}

#endif
