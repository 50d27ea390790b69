/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipeline.h - a packet's way: parse, flow, translate, out
 */
#ifndef LADON_PIPELINE_H
#define LADON_PIPELINE_H

#include "ctx.h"
#include "flow.h"
#include "icmp.h"
#include "icmp_header.h"
#include "life.h"
#include "out.h"
#include "packet.h"
#include "quote.h"
#include "translate.h"

/**
 * pipeline() - decide about one packet, and translate it
 * @pkt: zeroed by the caller
 * @way: zeroed by the caller; on VERDICT_CONTINUE: how the packet, complete but
 *	for its MAC addresses, leaves
 *
 * Return: VERDICT_CONTINUE, VERDICT_FORWARD, or another one and pkt->why.
 */
static __always_inline enum verdict pipeline(ctx_t *ctx, struct packet *pkt, struct way *way)
{
	struct csum_delta d = {};
	struct ladon_entry *flow = NULL;
	enum verdict verdict;
	__u32 now_ms;

	packet_pull(ctx);
	verdict = packet_parse(ctx, pkt);
	if (pkt->has_key)
		flow = flow_find(&pkt->key);
	if (verdict != VERDICT_CONTINUE) /* the stack would answer a flow's with a RST */
		return flow ? packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS) : verdict;
	if (!flow)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_NO_FLOW);

	now_ms = flow_now_ms();
	verdict = life_admit(pkt, flow, now_ms);
	if (verdict == VERDICT_CONTINUE && flow->state & LADON_STATE_STACK)
		return VERDICT_FORWARD;
	if (verdict == VERDICT_CONTINUE)
		verdict = out_find(ctx, pkt, flow, way);
	if (verdict == VERDICT_CONTINUE)
		verdict = out_fits(ctx, pkt, now_ms, way);
	if (verdict == VERDICT_CONTINUE)
		verdict = out_age(pkt, &d);
	if (verdict == VERDICT_CONTINUE)
		verdict = translate(pkt, flow, &d);
	if (verdict != VERDICT_CONTINUE)
		return verdict;

	life_follow(pkt, flow, now_ms);
	if (ctx_fix_csum(ctx, &pkt->tcp->check,
			 packet_tcp_offset(pkt) + offsetof(struct tcphdr, check), pkt->is_ip6,
			 &d) < 0) /* last: ends the packet pointers */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_CSUM);
	return VERDICT_CONTINUE;
}

/**
 * pipeline_icmp() - the same for what pipeline() called VERDICT_ICMP
 *
 * An error about a flow is translated and goes the way of the flow's packets, to the
 * sender of what it quotes; the stack does not see it. All else is the stack's.
 */
static __always_inline enum verdict pipeline_icmp(ctx_t *ctx, struct packet *pkt, struct way *way)
{
	struct csum_delta d = {};
	struct ladon_entry *flow = NULL;
	struct ladon_flow_key key = {};
	struct quote quote = {};
	enum verdict verdict;

	ctx_pull(ctx, QUOTE_HEADERS_MAX);
	if (quote_parse(ctx, pkt, &quote, &key))
		flow = flow_find(&key);
	if (!flow)
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_NOT_TCP);
	if (!quote.is_to_sender)
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_ICMP_ASTRAY);

	verdict = out_find(ctx, pkt, flow, way);
	if (verdict == VERDICT_CONTINUE)
		verdict = out_fits(ctx, pkt, flow_now_ms(), way);
	if (verdict == VERDICT_CONTINUE)
		verdict = out_age(pkt, &d);
	if (verdict == VERDICT_RAISE) /* no error about an error: RFC 1122 section 3.2.2 */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_ICMP_UNSENT);
	if (verdict != VERDICT_CONTINUE)
		return verdict;

	icmp_translate(pkt, &quote, flow, &d);
	if (ctx_fix_csum(ctx, quote_check(pkt),
			 packet_tcp_offset(pkt) + offsetof(struct icmp_header, checksum),
			 pkt->is_ip6, &d) < 0) /* last: ends the packet pointers */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_CSUM);
	return packet_end(pkt, VERDICT_CONTINUE, LADON_REASON_ICMP_ERROR);
}

#endif
