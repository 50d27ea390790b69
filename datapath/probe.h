/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * probe.h - ask an end of a flow whether it is still there
 *
 * The sockets that would have sent keepalive probes are gone. A probe is what they would
 * send: a segment without payload, from before the window, which every TCP answers
 * with an acknowledgement (RFC 9293 section 3.10.7.4). It is written by libladon as a
 * packet of the end's peer, and put into the ingress of the interface that the peer's
 * packets come in by. There it is translated, routed, and in mode stack shown to
 * netfilter, like any other; but nobody spoke, so nothing is noted about the peer.
 *
 *	lib/probe.c → ladon_ask: probe_ask() → tc ingress → ladon_probe: pipeline_probe()
 *
 * A raw socket would not do: its packets meet the rules of OUTPUT, and conntrack would
 * make an entry of them, or in mode stack move them to another port.
 *
 * What tells it from other packets is a mark that no packet has that comes from outside, and
 * the broadcast address that it is sent to, which keeps the question for the mark
 * away from them: they never get so far.
 *
 * An answer clears the count of unanswered probes (life.h). If the flow is killed it meets
 * that, and a RST goes back, with exactly the number that its sender expects: so whoever has
 * to hear that a flow is over is probed.
 *
 * Timestamps: Linux since 6.14 drops an old segment with an old timestamp without an
 * answer, others drop what has none (RFC 7323 section 3.2). What the end has heard last is
 * not known; but to a timestamp of either half of the circle, the end of that half is new.
 * LADON_STATE_HIGH says which half it was, at first by the clock of ladon's socket. Where
 * no answer comes, the next probe tries the other one.
 */
#ifndef LADON_PROBE_H
#define LADON_PROBE_H

#include <linux/bpf.h>
#include <linux/if_packet.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ctx.h"
#include "flow.h"
#include "life.h"
#include "packet.h"

/* In skb->tc_index, as STACK_MARK of stack.h */
#define PROBE_MARK 0x1ad1

static __always_inline bool probe_is_one(const ctx_t *ctx, const struct packet *pkt)
{
	return pkt->why == LADON_REASON_OTHER_HOST && ctx->tc_index == PROBE_MARK;
}

/* Parse it in spite of the address that it is sent to. Return: the peer's entry, or NULL */
static __always_inline struct ladon_entry *probe_parse(ctx_t *ctx, struct packet *pkt)
{
	bpf_skb_change_type(ctx, PACKET_HOST);
	packet_pull(ctx);
	if (packet_parse(ctx, pkt) != VERDICT_CONTINUE)
		return NULL;
	return flow_find(&pkt->key);
}

/* From here on it is addressed like any other: bpf_redirect_neigh() drops what is broadcast. */
static __always_inline void probe_readdress(ctx_t *ctx, const struct packet *pkt)
{
	struct ethhdr *eth = ctx_data(ctx);

	if ((void *)(eth + 1) <= pkt->end)
		__builtin_memset(eth->h_dest, 0, sizeof(eth->h_dest));
}

/* The answer may come before bpf_clone_redirect() returns, so it is counted before. */
static __always_inline bool probe_send(ctx_t *ctx, struct ladon_entry *asked,
				       struct ladon_entry *peer)
{
	bool counts = (asked->state & LADON_STATE_PROBES) != LADON_STATE_PROBES;

	__sync_fetch_and_or(&peer->state, LADON_STATE_WAITS);
	if (counts)
		__sync_fetch_and_add(&asked->state, LADON_STATE_PROBE);
	ctx->tc_index = PROBE_MARK;
	if (bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS) == 0)
		return true;
	if (counts)
		__sync_fetch_and_sub(&asked->state, LADON_STATE_PROBE);
	return false;
}

/**
 * probe_ask() - test run: send a probe
 * @ctx: the probe, on the interface to put it into; cb[0]: the flow's id
 *
 * Holds end: whoever is silent has none, and the time that they are measured from is
 * written over.
 *
 * Return: false if it could not be sent, and there is no trace of it
 */
static __always_inline bool probe_ask(ctx_t *ctx)
{
	struct packet pkt = {};
	struct ladon_entry *peer = probe_parse(ctx, &pkt), *asked, *client, *back;

	if (!peer || peer->id != ctx->cb[0])
		return false;
	asked = flow_twin(peer);
	if (!asked)
		return false;
	__sync_fetch_and_and(&asked->state, ~LIFE_HOLDS);
	__sync_fetch_and_and(&peer->state, ~LIFE_HOLDS);
	if (!probe_send(ctx, asked, peer))
		return false;
	life_sides(asked, peer, &client, &back);
	client->made_ms = (__u32)(bpf_ktime_get_ns() / 1000000);
	return true;
}

#endif
