// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc.bpf.c - the pipeline at tc ingress
 *
 * Attached to every interface that clients or backends are behind, and ladon_local to lo. What
 * is not ladon's goes on to whatever else is attached, and to the stack.
 *
 * No other is attached: these two and ladon_egress jump to them. Each is a
 * program of its own, so that what it needs costs other packets nothing, and its stack does not
 * stand upon theirs: BPF has 512 bytes.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "count.h"
#include "ctx.h"
#include "deliver.h"
#include "out.h"
#include "packet.h"
#include "pipeline.h"
#include "probe.h"
#include "raise.h"
#include "reset.h"
#include "stack.h"

/* What is left to do when the pipeline has decided. Return: what tc is to be told */
static __always_inline int conclude(struct __sk_buff *skb, struct packet *pkt, struct way *way,
				    enum verdict verdict)
{
	if (verdict == VERDICT_RAISE &&
	    !raise_is_allowed(raise_sender(pkt->key.saddr), bpf_ktime_get_ns()))
		verdict = packet_end(pkt, VERDICT_DROP, LADON_REASON_UNTOLD);
	count(pkt->why, pkt->len_bytes);
	switch (verdict) {
	case VERDICT_CONTINUE:
		return out_send(skb, way);
	case VERDICT_STACK:
		return TC_ACT_UNSPEC; /* the next program's, then the stack's */
	case VERDICT_RESET:
		if (reset_answer(skb, pkt) == VERDICT_RESET)
			return bpf_redirect(skb->ifindex, 0);
		return TC_ACT_SHOT;
	case VERDICT_RAISE:
		if (raise_answer(skb, pkt->len_bytes, pkt->is_ip6, pkt->why, way->mtu) ==
		    VERDICT_RAISE)
			return bpf_redirect(skb->ifindex, 0);
		return TC_ACT_SHOT;
	default:
		return TC_ACT_SHOT;
	}
}

/* ... of programs that neither answer nor jump */
static __always_inline int conclude_quietly(struct __sk_buff *skb, const struct packet *pkt,
					    struct way *way, enum verdict verdict)
{
	count(pkt->why, pkt->len_bytes);
	switch (verdict) {
	case VERDICT_CONTINUE:
		return out_send(skb, way);
	case VERDICT_STACK:
		return TC_ACT_UNSPEC;
	default:
		return TC_ACT_SHOT;
	}
}

/* It belongs to no flow, and the stack gets it, if need be with the mark of deliver.h. */
static __always_inline int leave(struct __sk_buff *skb, const struct packet *pkt)
{
	count(pkt->why, pkt->len_bytes);
	bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_DELIVER);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ladon_deliver(struct __sk_buff *skb)
{
	deliver(skb);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ladon_cross_icmp(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline_cross_icmp(skb, &pkt, &way);

	return conclude_quietly(skb, &pkt, &way, verdict);
}

SEC("tc")
int ladon_icmp(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline_icmp(skb, &pkt, &way);

	if (verdict == VERDICT_CROSS)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_CROSS_ICMP);
	if (verdict == VERDICT_STACK)
		return leave(skb, &pkt);
	return conclude_quietly(skb, &pkt, &way, verdict);
}

SEC("tc")
int ladon_cross(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline_cross(skb, &pkt, &way);

	return conclude(skb, &pkt, &way, verdict);
}

/* A probe of ladon's own */
SEC("tc")
int ladon_probe(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline_probe(skb, &pkt, &way);

	if (verdict == VERDICT_CROSS)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_CROSS);
	return conclude_quietly(skb, &pkt, &way, verdict);
}

SEC("tc")
int ladon_ingress(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline(skb, &pkt, &way);

	if (verdict == VERDICT_CROSS)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_CROSS);
	if (verdict == VERDICT_FORWARD)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_ENTER);
	if (verdict == VERDICT_ICMP) {
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_ICMP);
		return TC_ACT_UNSPEC; /* never */
	}
	if (verdict == VERDICT_STACK && probe_is_one(skb, &pkt))
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_PROBE);
	if (pkt.why == LADON_REASON_NO_FLOW || pkt.why == LADON_REASON_NOT_TCP)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_LEARNED);
	if (verdict == VERDICT_STACK && pkt.has_key)
		return leave(skb, &pkt);
	return conclude(skb, &pkt, &way, verdict);
}

/*
 * At ingress of lo: what this machine tells itself. ICMP errors about a flow's packets are among
 * that, because they leave with ladon's address: that a neighbour does not answer, say.
 */
SEC("tc")
int ladon_local(struct __sk_buff *skb)
{
	struct packet pkt = {};

	if (packet_parse(skb, &pkt) == VERDICT_ICMP)
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_ICMP);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ladon_enter(struct __sk_buff *skb)
{
	struct packet pkt = {};
	enum verdict verdict = stack_enter(skb, &pkt);

	count(pkt.why, pkt.len_bytes);
	return verdict == VERDICT_STACK ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

SEC("tc")
int ladon_leave(struct __sk_buff *skb)
{
	struct packet pkt = {};

	if (stack_leave(skb, &pkt) == VERDICT_STACK)
		return TC_ACT_UNSPEC; /* it was counted when it came */
	count(pkt.why, pkt.len_bytes);
	return TC_ACT_SHOT;
}

/*
 * What it translates leaves once more, by another device, and must not be translated again: both
 * legs of a flow may have the same addresses and ports.
 */
SEC("tc")
int ladon_tell(struct __sk_buff *skb)
{
	bool is_told = skb->tc_index == TELL_MARK;
	struct packet pkt = {};

	skb->tc_index = 0;
	if (is_told || stack_tell(skb, &pkt) != VERDICT_ICMP)
		return TC_ACT_UNSPEC;
	skb->tc_index = TELL_MARK;
	bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_ICMP);
	return TC_ACT_UNSPEC; /* never */
}
