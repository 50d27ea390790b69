// SPDX-License-Identifier: GPL-2.0-only
/*
 * learn.bpf.c - learned flows: what ladon.bpf.c jumps to where they are asked for
 *
 * An object of its own, so that who does not want it does not wait for it at the start.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "count.h"
#include "dropped.h"
#include "jumps.h"
#include "learn.h"
#include "learned.h"

/* It goes through the stack: with what it carries, if its flow may be learned then. Copies are behind nobody. */
static __always_inline void prepare(struct __sk_buff *skb, __u32 carried,
				    struct ladon_learned *learned)
{
	bool is_copy = skb->tc_index == CARRIED_COPY;

	skb->tc_index = carried ? CARRIED_MARK | carried : 0;
	if (is_copy)
		skb->tc_index |= CARRIED_COPY;
	else if (learned && learned->state & LADON_LEARNED_AHEAD)
		__sync_fetch_and_and(&learned->state, ~(__u32)LADON_LEARNED_AHEAD);
}

/* tc ingress: of no flow of ladon's own */
SEC("tc")
int ladon_learned(struct __sk_buff *skb)
{
	struct ladon_learned *learned = NULL;
	struct passing p = {};
	const struct ladon_marks *marks = NULL;
	__u32 why;
	enum verdict verdict = learned_pass(skb, &p, &learned, &marks, &why);

	if (verdict == VERDICT_STACK && dropped_again(skb, &p)) {
		verdict = VERDICT_DROP;
		why = LADON_REASON_FIREWALL_DROPS;
	}
	count(why, skb->len - sizeof(struct ethhdr));
	if (verdict == VERDICT_DROP)
		return TC_ACT_SHOT;
	if (verdict != VERDICT_CONTINUE || !learned) {
		prepare(skb, why == LADON_REASON_UNLEARNED_YOUNG ? 0 : p.carried, learned);
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_DELIVER);
		return TC_ACT_UNSPEC;
	}
	ctx_untag(skb);
	if (peer_goes_ahead(learned)) {
		skb->priority = 0; /* as drivers/net/veth.c; marks stay here, too */
		skb->tc_index = 0;
		return bpf_redirect_peer(learned->ifindex, 0);
	}
	skb->tc_index = LEARNED_MARK;
	skb->priority = marks ? marks->priority : 0;
	skb->mark = marks ? marks->mark : 0;
	return bpf_redirect(learned->ifindex, 0);
}

/* tc egress: forwarded by the stack */
SEC("tc")
int ladon_learn(struct __sk_buff *skb)
{
	__u32 carried = skb->tc_index;
	__u32 why = carried & CARRIED_MARK ? learn(skb) : LADON_REASON_NONE;

	dropped_forget(skb);
	skb->tc_index = 0; /* a VLAN's packets leave twice */
	if (why)
		count(why, skb->len - sizeof(struct ethhdr));
	return carried & CARRIED_COPY ? TC_ACT_STOLEN : TC_ACT_UNSPEC;
}

/* include/trace/events/skb.h: a packet is thrown away. Attached only where drops are wanted */
SEC("tp_btf/kfree_skb")
int ladon_drop(__u64 *args)
{
	if ((__u32)args[2] ==
	    bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NETFILTER_DROP))
		dropped_note((const struct sk_buff *)args[0]);
	return 0;
}

/* A test run: see struct ladon_question */
SEC("tc")
int ladon_why(struct __sk_buff *skb)
{
	struct ladon_question *question = ctx_data(skb);
	const struct sk_buff *kernel = ctx_kernel(skb);
	struct ladon_learned_key key;
	__u32 why;

	if (kernel)
		learned_net = (unsigned long)kernel->dev->nd_net.net;
	if ((void *)(question + 1) > ctx_end(skb))
		return TC_ACT_SHOT;
	key = question->key;
	why = learn_why(skb, &key);
	if (why && dropped_counts(skb, &key, !is_ip4(key.saddr)))
		why = LADON_REASON_FIREWALL_DROPS;
	question = ctx_data(skb);
	if ((void *)(question + 1) > ctx_end(skb))
		return TC_ACT_SHOT;
	question->why = why;
	return TC_ACT_OK;
}

#define NEIGHBOUR_VALID 0xde /* include/net/neighbour.h: NUD_VALID */

/*
 * net/core/neighbour.c: a neighbour is about to change. One that was not known before is no change: nothing was
 * sent there.
 */
SEC("tp_btf/neigh_update")
int ladon_neighbour(__u64 *args)
{
	const struct neighbour *neighbour = (const void *)args[0];
	const void *address = (const void *)args[1];
	__u64 now = 0, former = 0;

	if (!(neighbour->nud_state & NEIGHBOUR_VALID) ||
	    (unsigned long)neighbour->dev->nd_net.net != learned_net)
		return 0;
	bpf_probe_read_kernel(&former, ETH_ALEN, neighbour->ha);
	if (address)
		bpf_probe_read_kernel(&now, ETH_ALEN, address);
	else
		now = args[2] & NEIGHBOUR_VALID ? former : 0;
	if (now != former)
		__sync_fetch_and_add(&learned_moves, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
