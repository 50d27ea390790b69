/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * learned.h - flows that ladon did not make: what the stack does with them, done again
 *
 * Conntrack, NAT, the firewall and the routes have the first word about each connection that
 * this machine forwards. What came of it is learned where its packets leave (learn.h), one
 * direction at a time, and done again here with those that follow: one look-up, other
 * addresses, and out.
 *
 * It counts as long as nothing has changed that it came of. The kernel numbers the changes of
 * its routes and rules, and ladon_neighbour those of MAC addresses: an entry of another
 * generation is not used until a packet has gone through the stack again, and come out. So it
 * is, whatever the generation, for one packet in every learned_ask_ms, or a copy of it, which keeps conntrack's clock
 * running, and finds what has no number. An entry that nobody has confirmed for twice as long is not
 * used. None of this needs a process.
 *
 * What begins or ends a connection is conntrack's to see. It takes a RST for one only if the
 * number is what it has seen last, as the receiver does (RFC 5961 section 3.2); and since it has not seen
 * that, it is told (learn.h) if the number is what has been seen here. What the stack would
 * answer by ICMP, fragment or drop is left to it.
 */
#ifndef LADON_LEARNED_H
#define LADON_LEARNED_H

#include "flow.h"
#include "jumps.h"
#include "passing.h"
#include "peer.h"
#include "rewrite.h"
#include "table.h"
#include "young.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ladon_accelerate);
} ladon_accelerate SEC(".maps");

/*
 * How long nobody asks the stack; twice as long without an answer, and an entry is not used. User space
 * writes it, and nothing else of its section: many flows ask less often (lib/learned.c)
 */
volatile __u32 learned_ask_ms SEC(".data.ask") = 1000;

/* How often a neighbour has got another MAC address: ladon_neighbour() in learn.bpf.c */
static volatile __u32 learned_moves;

/* The network namespace that this is all about; ladon_why() finds out */
static volatile __u64 learned_net;

/** learned_generation_of() - it moves with every change of what a learned flow came of */
static __always_inline __u32 learned_generation_of(struct net *net, bool is_ip6)
{
	return kernel_route_gen(net, is_ip6) + kernel_rule_gen(net) * 0x9e3779b1 + learned_moves;
}

/** learned_generation() - Return: false where the kernel does not let us look. */
static __always_inline bool learned_generation(const ctx_t *ctx, bool is_ip6, __u32 *out)
{
	struct sk_buff *skb = ctx_kernel(ctx);

	if (!skb)
		return false;
	*out = learned_generation_of(skb->dev->nd_net.net, is_ip6);
	return true;
}

/** learned_twin_key() - of the entry of the other direction, if it was learned */
static __always_inline void learned_twin_key(const struct ladon_learned_key *key,
					     const struct ladon_learned *learned,
					     struct ladon_learned_key *out)
{
	__builtin_memcpy(out->saddr, learned->daddr, sizeof(out->saddr));
	__builtin_memcpy(out->daddr, learned->saddr, sizeof(out->daddr));
	out->sport = learned->dport;
	out->dport = learned->sport;
	out->via = LADON_VIA(learned->ifindex, LADON_VIA_PROTOCOL(key->via));
}

/* Whose turn it is to ask the stack */
static __always_inline bool learned_asks(struct ladon_learned *learned, __u32 age_ms)
{
	if (age_ms < learned_ask_ms || learned->state & LADON_LEARNED_ASKED)
		return false;
	return !(__sync_fetch_and_or(&learned->state, LADON_LEARNED_ASKED) & LADON_LEARNED_ASKED);
}

/*
 * Ask with a copy, which the stack gets as if it had come just now, and which ends where it would leave: whoever
 * goes ahead (peer.h) must not wait for it, nor overtake it.
 *
 * Return: false: then the packet itself is to ask. Ends all packet pointers, and sets those of @p anew.
 */
static __always_inline bool learned_asks_by_copy(ctx_t *ctx, struct passing *p)
{
	__u32 via = p->key.via;
	long rc;

	ctx->tc_index = CARRIED_COPY;
	rc = bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS);
	ctx->tc_index = 0;
	__builtin_memset(p, 0, sizeof(*p));
	if (!passing_parse(ctx, p))
		return false; /* never: it was read before */
	p->key.via = via;
	return rc == 0;
}

/** learned_counts() - has nothing changed since an entry was confirmed, @age_ms ago, and is that recent? */
static __always_inline bool learned_counts(const ctx_t *ctx, const struct ladon_learned *learned,
					   bool is_ip6, __u32 age_ms)
{
	__u32 generation;

	return learned_generation(ctx, is_ip6, &generation) && learned->generation == generation &&
	       age_ms < 2 * learned_ask_ms;
}

static __always_inline bool learned_is_fresh(ctx_t *ctx, struct passing *p,
					     struct ladon_learned *learned)
{
	__u32 age_ms = flow_now_ms() - learned->confirmed_ms;

	if (!learned_counts(ctx, learned, p->is_ip6, age_ms))
		return false;
	if (!learned_asks(learned, age_ms))
		return true;
	return peer_goes_ahead(learned) && learned_asks_by_copy(ctx, p);
}

/* One that was not learned: has it so few packets that nobody need look where it leaves? */
static __always_inline bool learned_is_young(const struct spot *spot)
{
	const struct ladon_accelerate *how;
	__u32 zero = 0;

	how = bpf_map_lookup_elem(&ladon_accelerate, &zero);
	return !how || young_count(spot->hash) < how->packets;
}

/**
 * learned_pass() - do with a packet what the stack does with its flow's
 * @p: zeroed by the caller
 * @out: its entry, if it has one
 * @marks: ... and what that has in the way of marks, or NULL
 *
 * Return: VERDICT_CONTINUE: it is ready to leave; VERDICT_STACK; or VERDICT_DROP. @why is set.
 */
static __always_inline enum verdict learned_pass(ctx_t *ctx, struct passing *p,
						 struct ladon_learned **out,
						 const struct ladon_marks **marks, __u32 *why)
{
	struct ladon_learned *learned;
	struct spot spot;
	__u32 place;

	*why = LADON_REASON_NOT_TCP;
	if (ctx_foreign(ctx) || ctx->ifindex > LADON_VIA_IFINDEX_MAX || !passing_parse(ctx, p))
		return VERDICT_STACK;
	if (p->flags)
		*why = LADON_REASON_NO_FLOW;
	p->key.via = LADON_VIA(ctx->ifindex, p->key.via);
	spot = table_spot(&p->key);
	learned = table_find(&p->key, &spot, &place);
	*out = learned;
	if (!learned) {
		if (learned_is_young(&spot))
			*why = LADON_REASON_UNLEARNED_YOUNG;
		return VERDICT_STACK;
	}
	*why = LADON_REASON_LEARNED_ENDS;
	if (p->flags & (TCP_SYN | TCP_FIN | TCP_RST)) {
		if (p->flags & TCP_RST && p->seq == learned->next)
			__sync_fetch_and_or(&learned->state, LADON_LEARNED_RESET);
		return VERDICT_STACK;
	}
	*why = LADON_REASON_LEARNED_STALE;
	if (ctx->mark || ctx->tc_index == CARRIED_COPY || !learned_is_fresh(ctx, p, learned))
		return VERDICT_STACK;
	*why = LADON_REASON_LEARNED_UNFIT;
	if (!rewrite_fits(ctx, p, learned))
		return VERDICT_STACK;
	*why = LADON_REASON_CSUM;
	if (rewrite(ctx, p, learned) < 0)
		return VERDICT_DROP;
	if (learned->state & LADON_LEARNED_MARKED)
		*marks = table_marks(&spot, place);
	*why = LADON_REASON_LEARNED;
	learned->packets++;
	learned->bytes += p->len_bytes;
	learned->next = passing_next(p);
	return VERDICT_CONTINUE;
}

#endif
