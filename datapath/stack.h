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
 * An ICMP error that the stack raises about a client's segment quotes it as conntrack
 * saw it, and NAT takes only the addresses back: the numbers are taken back at egress.
 *
 * A packet that NAT has missed comes to the local stack, whose RST does not leave
 * (local_said() in handoff.bpf.c).
 */
#ifndef LADON_STACK_H
#define LADON_STACK_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ctx.h"
#include "flow.h"
#include "jumps.h"
#include "life.h"
#include "packet.h"
#include "quote.h"
#include "translate.h"

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
 * stack_pass() - give a flow's packet to the stack
 * @is_probe: a constant: nobody spoke, see probe.h
 *
 * Return: VERDICT_STACK, or VERDICT_DROP and pkt->why.
 */
static __always_inline enum verdict stack_pass(ctx_t *ctx, struct packet *pkt,
					       struct ladon_entry *flow, bool is_probe)
{
	struct csum_delta d = {};
	bool turns = !is_probe && life_turns(ctx, pkt, flow);

	if (!(flow->what & LADON_FLOW_TO_CLIENT) &&
	    translate_numbers(ctx, pkt, flow, &d) != VERDICT_CONTINUE)
		return VERDICT_DROP;
	if (!is_probe)
		life_follow(pkt, flow, flow_now_ms(), turns);
	if (!(flow->what & LADON_FLOW_TO_CLIENT))
		return stack_fix_csum(ctx, pkt, &d);
	ctx->tc_index = STACK_MARK;
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
	struct ladon_entry *flow = NULL;

	packet_pull(ctx);
	if (packet_parse(ctx, pkt) == VERDICT_CONTINUE)
		flow = flow_find(&pkt->key);
	if (!flow) /* gone since pipeline() found it */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	return stack_pass(ctx, pkt, flow, false);
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
	packet_reverse_key(&pkt->key, &key);
	flow = flow_find(&key);
	if (flow)
		flow = flow_twin(flow);
	if (!flow)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	if (translate_numbers(ctx, pkt, flow, &d) != VERDICT_CONTINUE)
		return VERDICT_DROP;
	return stack_fix_csum(ctx, pkt, &d);
}

/* The checksum of the quoted header makes up for its numbers, and the error's own has nothing to. */
static __noinline void stack_tell_numbers(word32_t *tcp, const struct ladon_entry *flow)
{
	word16_t *check = (word16_t *)tcp + 8;
	__u64 delta = 0;

	translate_word(tcp + 1, 0 - flow->d_seq, &delta);
	if (tcp[3] & bpf_htonl(TCP_ACK << 16))
		translate_word(tcp + 2, 0 - flow->d_ack, &delta);
	*check = csum_mend(*check, delta);
}

/**
 * stack_tell() - tc egress: an ICMP message of this host's
 * @pkt: zeroed by the caller
 *
 * The stack quotes more than a whole header of TCP, always.
 *
 * Return: VERDICT_STACK; VERDICT_ICMP: it is about a packet of a flow that is not the stack's, which
 * this host has sent with another's address: pipeline_icmp() is to translate it.
 */
static __always_inline enum verdict stack_tell(ctx_t *ctx, struct packet *pkt)
{
	struct ladon_flow_key crossed = {}, key;
	struct quote quote = {};
	const struct ladon_entry *flow;
	word32_t *tcp;

	ctx_pull(ctx, QUOTE_HEADERS_MAX);
	if (!quote_parse(ctx, pkt, &quote, &crossed) || !quote.is_to_sender || !quote.is_whole)
		return VERDICT_STACK;
	if (flow_find(&crossed))
		return VERDICT_ICMP;
	packet_reverse_key(&crossed, &key);
	flow = flow_find(&key);
	if (!flow || !(flow->state & LADON_STATE_STACK) || flow->what & LADON_FLOW_TO_CLIENT)
		return VERDICT_STACK;
	tcp = ctx_data(ctx) + sizeof(struct ethhdr) + sizeof(struct icmp_header) +
	      2 * (pkt->is_ip6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if ((void *)(tcp + 5) <= ctx_end(ctx))
		stack_tell_numbers(tcp, flow);
	return VERDICT_STACK;
}

#endif
