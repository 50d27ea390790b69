/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stack.h - flows that the kernel's own stack forwards
 *
 * Of such a flow, tc changes only what NAT cannot: sequence and acknowledgement
 * numbers, timestamps, SACK blocks, windows, ECN. Addresses and ports are
 * conntrack's, TTL and route the stack's, and every rule of FORWARD sees each packet.
 *
 *	client  → tc ingress: numbers → conntrack, NAT, FORWARD →              → backend
 *	backend → tc ingress: marked  → conntrack, NAT, FORWARD → tc egress: numbers → client
 *
 * Both are translated on the client's side of conntrack, which so sees the
 * backend's numbers in both directions. Were it to see a pair that does not match,
 * it would take every other RST for a forged one and leave it without NAT. The mark
 * is skb->tc_index, which nothing on that way touches or asks for.
 *
 * A packet that NAT has missed comes to the local stack, whose RST does not leave
 * (quiet_reset() in quiet.h).
 */
#ifndef LADON_STACK_H
#define LADON_STACK_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ctx.h"
#include "flow.h"
#include "life.h"
#include "packet.h"
#include "translate.h"

/* In skb->tc_index: its numbers are still the backend's. Any value that nobody else uses */
#define STACK_MARK 0x1ad0

/*
 * What only such flows need stands in programs of its own: on the stack of
 * ladon_ingress it would not fit, and ladon_egress must not write into packets, or
 * the kernel would copy the headers of each that a local socket still holds.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LADON_JUMPS);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_jumps SEC(".maps");

static __always_inline enum verdict stack_fix_csum(ctx_t *ctx, struct packet *pkt,
						   const struct csum_delta *d)
{
	if (ctx_fix_csum(ctx, &pkt->tcp->check,
			 packet_tcp_offset(pkt) + offsetof(struct tcphdr, check), pkt->is_ip6,
			 d) < 0) /* last: ends the packet pointers */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_CSUM);
	return packet_end(pkt, VERDICT_STACK, LADON_REASON_NONE);
}

/**
 * stack_enter() - tc ingress: what pipeline() called VERDICT_FORWARD
 * @pkt: zeroed by the caller
 *
 * Return: VERDICT_STACK, or VERDICT_DROP and pkt->why.
 */
static __always_inline enum verdict stack_enter(ctx_t *ctx, struct packet *pkt)
{
	struct csum_delta d = {};
	struct ladon_entry *flow = NULL;

	packet_pull(ctx);
	if (packet_parse(ctx, pkt) == VERDICT_CONTINUE)
		flow = flow_find(&pkt->key);
	if (!flow) /* gone since pipeline() found it */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	if (!(flow->what & LADON_FLOW_TO_CLIENT) &&
	    translate_numbers(pkt, flow, &d) != VERDICT_CONTINUE)
		return VERDICT_DROP;
	life_follow(pkt, flow, flow_now_ms());
	if (!(flow->what & LADON_FLOW_TO_CLIENT))
		return stack_fix_csum(ctx, pkt, &d);
	ctx->tc_index = STACK_MARK;
	return packet_end(pkt, VERDICT_STACK, LADON_REASON_NONE);
}

/**
 * stack_leave() - tc egress: a packet with the mark, on its way to the client
 * @pkt: zeroed by the caller
 *
 * Return: VERDICT_STACK, or VERDICT_DROP and pkt->why.
 */
static __always_inline enum verdict stack_leave(ctx_t *ctx, struct packet *pkt)
{
	struct csum_delta d = {};
	struct ladon_flow_key key;
	struct ladon_entry *flow;

	ctx->tc_index = 0; /* a VLAN's packets leave twice */
	packet_pull(ctx);
	if (packet_parse(ctx, pkt) != VERDICT_CONTINUE)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	packet_reverse_key(pkt, &key);
	flow = flow_find(&key);
	if (flow)
		flow = flow_twin(flow);
	if (!flow)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	if (translate_numbers(pkt, flow, &d) != VERDICT_CONTINUE)
		return VERDICT_DROP;
	return stack_fix_csum(ctx, pkt, &d);
}

#endif
