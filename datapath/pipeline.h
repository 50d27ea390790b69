/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipeline.h - a packet's way: parse, flow, translate, out
 */
#ifndef LADON_PIPELINE_H
#define LADON_PIPELINE_H

#include "cross.h"
#include "cross_icmp.h"
#include "ctx.h"
#include "flow.h"
#include "icmp.h"
#include "icmp_header.h"
#include "life.h"
#include "out.h"
#include "packet.h"
#include "probe.h"
#include "quote.h"
#include "stack.h"
#include "translate.h"

/* Flows that are not for the ordinary path. Return: VERDICT_CONTINUE: this one is, for now */
static __always_inline enum verdict pipeline_aside(const struct ladon_entry *flow)
{
	if (flow->what & LADON_FLOW_CROSS)
		return VERDICT_CROSS;
	return flow->state & LADON_STATE_STACK ? VERDICT_FORWARD : VERDICT_CONTINUE;
}

/*
 * What is left for a packet that may pass. @is_probe: a constant: nobody spoke, see probe.h.
 * Return: VERDICT_CONTINUE, or another one and pkt->why.
 */
static __always_inline enum verdict pipeline_pass(ctx_t *ctx, struct packet *pkt,
						  struct ladon_entry *flow, __u32 now_ms,
						  struct way *way, bool is_probe)
{
	struct csum_delta d = {};
	enum verdict verdict = out_way(ctx, pkt, flow, pkt->is_ip6, 0, now_ms, way, &d);
	bool turns = false;

	if (verdict == VERDICT_CONTINUE) {
		turns = !is_probe && life_turns(ctx, pkt, flow);
		verdict = translate(ctx, pkt, flow, &d);
	}
	if (verdict != VERDICT_CONTINUE)
		return verdict;

	if (!is_probe)
		life_follow(pkt, flow, now_ms, turns);
	if (ctx_fix_csum(ctx, &pkt->tcp->check,
			 packet_tcp_offset(pkt) + offsetof(struct tcphdr, check), pkt->is_ip6,
			 &d) < 0) /* last: ends the packet pointers */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_CSUM);
	return VERDICT_CONTINUE;
}

/**
 * pipeline() - decide about one packet, and translate it
 * @pkt: zeroed by the caller
 * @way: zeroed by the caller; on VERDICT_CONTINUE: how the packet, complete but
 *	for its MAC addresses, leaves
 *
 * Return: VERDICT_CONTINUE, VERDICT_FORWARD, VERDICT_CROSS, or another one and pkt->why.
 */
static __always_inline enum verdict pipeline(ctx_t *ctx, struct packet *pkt, struct way *way)
{
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
	if (verdict == VERDICT_CONTINUE && flow->what & (LADON_FLOW_STACK | LADON_FLOW_CROSS))
		verdict = pipeline_aside(flow);
	if (verdict != VERDICT_CONTINUE)
		return verdict;
	return pipeline_pass(ctx, pkt, flow, now_ms, way, false);
}

/**
 * pipeline_cross() - the rest of the way of what pipeline() called VERDICT_CROSS
 *
 * Parameters and return values are the same.
 */
static __always_inline enum verdict pipeline_cross(ctx_t *ctx, struct packet *pkt, struct way *way)
{
	bool is_probe = ctx->tc_index == PROBE_MARK, turns;
	struct csum_delta d = {};
	struct ladon_entry *flow = NULL;
	enum verdict verdict;
	__u32 now_ms;

	if (is_probe)
		ctx->tc_index = 0;
	packet_pull(ctx);
	if (packet_parse(ctx, pkt) == VERDICT_CONTINUE)
		flow = flow_find(&pkt->key);
	if (!flow) /* gone since pipeline() found it */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	if (!pkt->is_ip6 && !cross_is_sound(pkt->ip4))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_HEADER_CSUM);

	now_ms = flow_now_ms();
	verdict = out_way(ctx, pkt, flow, !pkt->is_ip6, pkt->is_ip6 ? -CROSS_BYTES : CROSS_BYTES,
			  now_ms, way, &d);
	if (is_probe && verdict == VERDICT_RAISE)
		return VERDICT_DROP; /* ladon knows */
	if (verdict != VERDICT_CONTINUE)
		return verdict;
	turns = !is_probe && life_turns(ctx, pkt, flow);
	verdict = cross_tcp(ctx, pkt, flow, &d);
	if (verdict != VERDICT_CONTINUE)
		return verdict;
	if (is_probe)
		return packet_end(pkt, verdict, LADON_REASON_PROBE);
	life_follow(pkt, flow, now_ms, turns);
	return verdict;
}

/**
 * pipeline_icmp() - the same for what pipeline() called VERDICT_ICMP
 *
 * An error about a flow is translated and goes the way of the flow's packets, to the
 * sender of what it quotes; the stack does not see it. All else is the stack's.
 *
 * Return: also VERDICT_CROSS: pipeline_cross_icmp() is to do that.
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
	if (flow->what & LADON_FLOW_CROSS)
		return VERDICT_CROSS;

	verdict = out_way(ctx, pkt, flow, pkt->is_ip6, 0, flow_now_ms(), way, &d);
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

/** pipeline_cross_icmp() - an error about a flow whose ends speak unlike families */
static __always_inline enum verdict pipeline_cross_icmp(ctx_t *ctx, struct packet *pkt,
							struct way *way)
{
	struct csum_delta d = {};
	struct ladon_entry *flow = NULL;
	struct ladon_flow_key key = {};
	struct quote quote = {};
	enum verdict verdict;

	ctx_pull(ctx, QUOTE_HEADERS_MAX);
	if (quote_parse(ctx, pkt, &quote, &key))
		flow = flow_find(&key);
	if (!flow) /* gone since pipeline_icmp() found it */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	if (!pkt->is_ip6 && !cross_is_sound(pkt->ip4))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_HEADER_CSUM);

	verdict = out_way(ctx, pkt, flow, !pkt->is_ip6,
			  pkt->is_ip6 ? -2 * CROSS_BYTES : 2 * CROSS_BYTES, flow_now_ms(), way, &d);
	if (verdict == VERDICT_RAISE || (verdict == VERDICT_CONTINUE && cross_icmp_is_long(pkt)))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_ICMP_UNSENT);
	if (verdict != VERDICT_CONTINUE)
		return verdict;
	return cross_icmp(ctx, pkt, &quote, flow, &d);
}

/**
 * pipeline_probe() - the same for a probe of ladon's own, see probe.h
 *
 * It goes the way of the flow's packets, whatever has become of the flow; but if that was
 * killed, conntrack may have forgotten it already, and the stack is left out.
 *
 * Return: also VERDICT_CROSS: pipeline_cross() is to do that, and knows it by its mark.
 */
static __always_inline enum verdict pipeline_probe(ctx_t *ctx, struct packet *pkt, struct way *way)
{
	struct ladon_entry *flow = probe_parse(ctx, pkt);
	enum verdict verdict;

	if (!flow) /* gone since it was sent */
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	probe_readdress(ctx, pkt);
	if (flow->what & LADON_FLOW_CROSS)
		return VERDICT_CROSS;
	ctx->tc_index = 0;
	if ((flow->state & (LADON_STATE_STACK | LADON_STATE_KILLED)) == LADON_STATE_STACK) {
		verdict = stack_pass(ctx, pkt, flow, true);
		return verdict == VERDICT_STACK ? packet_end(pkt, verdict, LADON_REASON_PROBE)
						: verdict;
	}
	verdict = pipeline_pass(ctx, pkt, flow, flow_now_ms(), way, true);
	if (verdict != VERDICT_CONTINUE)
		return verdict; /* also where others would be told: ladon knows */
	return packet_end(pkt, VERDICT_CONTINUE, LADON_REASON_PROBE);
}

#endif
