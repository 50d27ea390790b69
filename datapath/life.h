/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * life.h - how a flow begins and ends
 *
 * It begins with holds. The entries are made while the first bytes are still
 * ladon's to send, so what comes through the flow may overtake them. What would
 * cause harm by that is dropped, and comes again:
 *
 *	HOLD_ACK	pure ACKs before .edge, the end of the first bytes: the
 *			receiver says that they are missing, and will have them
 *			before the sender can repeat them
 *	HOLD_SEQ	segments before .edge: the sender repeats them; had they
 *			come first, ladon's would look old (RFC 7323 section 5)
 *
 * HOLD_SEQ ends when the first bytes leave (quiet.h), HOLD_ACK when the receiver has
 * them; LADON_HOLD_MS ends both, or a lost tail would be waited for for ever.
 *
 * It ends in steps. E is the entry of the packet, T its twin:
 *
 *	FIN	E: FIN, and FIRST unless T has FIN; T: .edge = end of the FIN in
 *		the numbers of T's sender, then PEER_FIN
 *	ACK	of what came before .edge, E has PEER_FIN: E: DONE; when T is DONE
 *		too: both CLOSED
 *	RST	E: RESET; both CLOSED. If E's sender then says anything else the RST
 *		was forged, or came late: neither RESET nor CLOSED any more
 *
 * and CLOSED for the first time sends one event: the bit in the client's entry
 * decides. Packets of a closed flow are translated as before (a last ACK may be
 * lost, a FIN repeated), until user space has deleted the entries. A SYN without
 * ACK is a new connection with the old port; it deletes them at once.
 *
 * Each of these counts only if its checksum is right (sound.h): what is damaged, its receiver
 * drops, and nothing has ended.
 *
 * .edge has two uses; a FIN gives up the hold that it meets.
 *
 * The order of things is that of the pipeline: life_admit() before translation
 * refuses packets and changes nothing that a later drop could make untrue,
 * life_follow() after it notes what passes.
 */
#ifndef LADON_LIFE_H
#define LADON_LIFE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ctx.h"
#include "events.h"
#include "flow.h"
#include "packet.h"
#include "sound.h"

/* How far the clock that .made_ms was read from may be ahead of flow_now_ms() */
#define LIFE_AHEAD_MS 1000

#define LIFE_HOLDS (LADON_STATE_HOLD_ACK | LADON_STATE_HOLD_SEQ)

/* Sequence numbers are compared on a circle: RFC 9293 section 3.4. */
static __always_inline bool life_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline void life_describe(const struct ladon_entry *client,
					  const struct ladon_entry *back, __u32 type,
					  struct ladon_event *event)
{
	flow_twin_key(back, &event->key);
	event->type = type;
	event->flow = *client;
	event->back.packets = back->packets;
	event->back.bytes = back->bytes;
	event->back_seen_ms = back->seen_ms;
	event->back_made_ms = back->made_ms;
	event->reset = !!((client->state | back->state) & LADON_STATE_RESET);
	event->by_client =
		!!(client->state & (event->reset ? LADON_STATE_RESET : LADON_STATE_FIRST));
}

/* Lost when the ring is full: user space, which walks the table for idle flows, finds the entries CLOSED. */
static __noinline void life_event(const struct ladon_entry *client, const struct ladon_entry *back,
				  __u32 type)
{
	struct ladon_event *event = bpf_ringbuf_reserve(&ladon_events, sizeof(*event), 0);

	if (!event)
		return;
	life_describe(client, back, type, event);
	events_submit(event);
}

/* The client's direction of a pair, and the other one */
static __always_inline void life_sides(struct ladon_entry *flow, struct ladon_entry *twin,
				       struct ladon_entry **client, struct ladon_entry **back)
{
	bool to_client = flow->what & LADON_FLOW_TO_CLIENT;

	*client = to_client ? twin : flow;
	*back = to_client ? flow : twin;
}

static __always_inline void life_close(struct ladon_entry *flow, struct ladon_entry *twin)
{
	struct ladon_entry *client, *back;

	life_sides(flow, twin, &client, &back);
	__sync_fetch_and_or(&back->state, LADON_STATE_CLOSED);
	if (__sync_fetch_and_or(&client->state, LADON_STATE_CLOSED) & LADON_STATE_CLOSED)
		return;
	life_event(client, back, LADON_EVENT_CLOSED);
}

static __noinline void life_fin(struct ladon_entry *flow, __u32 end)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_or(&flow->state, LADON_STATE_FIN);
	if (!twin || twin->state & LADON_STATE_DONE)
		return;
	__sync_fetch_and_and(&twin->state, ~LIFE_HOLDS);
	twin->edge = end;
	if (!(__sync_fetch_and_or(&twin->state, LADON_STATE_PEER_FIN) &
	      (LADON_STATE_FIN | LADON_STATE_PEER_FIN)))
		__sync_fetch_and_or(&flow->state, LADON_STATE_FIRST);
}

static __noinline void life_done(struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_or(&flow->state, LADON_STATE_DONE);
	if (twin && twin->state & LADON_STATE_DONE)
		life_close(flow, twin);
}

static __noinline void life_reset(struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	if (!(flow->state & LADON_STATE_CLOSED))
		__sync_fetch_and_or(&flow->state, LADON_STATE_RESET);
	if (twin)
		life_close(flow, twin);
	else
		__sync_fetch_and_or(&flow->state, LADON_STATE_CLOSED);
}

static __noinline void life_revive(struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_and(&flow->state, ~(LADON_STATE_RESET | LADON_STATE_CLOSED));
	if (twin)
		__sync_fetch_and_and(&twin->state, ~LADON_STATE_CLOSED);
}

/* A FIN has met this direction's sender, which has not acknowledged it yet: does it now? */
static __always_inline bool life_is_done(const struct packet *pkt, const struct ladon_entry *flow)
{
	return (flow->state & (LADON_STATE_PEER_FIN | LADON_STATE_DONE | LADON_STATE_RESET)) ==
		       LADON_STATE_PEER_FIN &&
	       pkt->flags & TCP_ACK && !life_before(pkt->ack, flow->edge);
}

/**
 * life_turns() - is this packet one that a flow ends by, or lives again by?
 * @pkt: not yet translated
 *
 * What is damaged is none: its receiver will not believe it either.
 */
static __always_inline bool life_turns(ctx_t *ctx, const struct packet *pkt,
				       const struct ladon_entry *flow)
{
	if (!(pkt->flags & (TCP_FIN | TCP_RST)) && !(flow->state & LADON_STATE_RESET) &&
	    !life_is_done(pkt, flow))
		return false;
	return packet_is_sound(ctx, pkt);
}

/*
 * The sender was probed (probe.h) and is there. Every other probe has timestamps of the
 * other half of the circle: the half that was answered is the one to begin with.
 *
 * Return: true: it did no more than answer.
 */
static __noinline bool life_answer(const struct packet *pkt, struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);
	__u32 probes = __sync_fetch_and_and(&flow->state, ~LADON_STATE_PROBES) & LADON_STATE_PROBES;

	if (twin)
		__sync_fetch_and_and(&twin->state, ~LADON_STATE_WAITS);
	if (!packet_is_pure_ack(pkt))
		return false;
	if (probes && !(probes & LADON_STATE_PROBE))
		__sync_fetch_and_xor(&flow->state, LADON_STATE_HIGH);
	return true;
}

/**
 * life_follow() - note what passes
 * @pkt: flags and numbers as they arrived
 * @turns: what life_turns() said
 */
static __always_inline void life_follow(const struct packet *pkt, struct ladon_entry *flow,
					__u32 now_ms, bool turns)
{
	if (!(flow->state & LADON_STATE_PROBES) || !life_answer(pkt, flow))
		flow->seen_ms = now_ms;
	flow->packets++;
	flow->bytes += pkt->len_bytes;
	if (pkt->flags & TCP_ACK && flow->acked != pkt->ack >> 16)
		flow->acked = pkt->ack >> 16;

	if (!turns)
		return;
	if (pkt->flags & TCP_RST) {
		life_reset(flow);
		return;
	}
	if (flow->state & LADON_STATE_RESET)
		life_revive(flow);
	if (pkt->flags & TCP_FIN)
		life_fin(flow, pkt->seq + flow->d_seq + pkt->payload_bytes + 1);
	if (life_is_done(pkt, flow))
		life_done(flow);
}

/*
 * A new connection with the addresses and ports of one that is over. Nothing else would
 * ever tell of that one's end, and whoever told of it has its port: no walk finds a flow
 * that is not there. So it stays until there is room to tell, and is told of by who deletes it.
 *
 * Return: false: there is no room
 */
static __noinline bool life_reopen(const struct ladon_flow_key *key, struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);
	struct ladon_entry *client, *back;
	struct ladon_event *event;

	if (!twin) {
		flow_delete(key, flow);
		return true;
	}
	event = bpf_ringbuf_reserve(&ladon_events, sizeof(*event), 0);
	if (!event)
		return false;
	life_sides(flow, twin, &client, &back);
	life_describe(client, back, LADON_EVENT_ENDED, event);
	if (flow_delete(key, flow) == 0)
		events_submit(event);
	else
		bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);
	return true;
}

/* Is it to be kept back? Ends holds that are void. */
static __always_inline enum ladon_reason life_held(const struct packet *pkt,
						   struct ladon_entry *flow, __u32 now_ms)
{
	__u32 state = flow->state;

	/* .made_ms may be ahead by a jiffy, and weeks behind: no signed comparison */
	if (now_ms - flow->made_ms + LIFE_AHEAD_MS > LADON_HOLD_MS + LIFE_AHEAD_MS) {
		__sync_fetch_and_and(&flow->state, ~LIFE_HOLDS);
		return LADON_REASON_NONE;
	}
	if (state & LADON_STATE_HOLD_ACK && pkt->flags & TCP_ACK) {
		if (!life_before(pkt->ack, flow->edge))
			__sync_fetch_and_and(&flow->state, ~LADON_STATE_HOLD_ACK);
		else if (packet_is_pure_ack(pkt))
			return LADON_REASON_HELD_ACK;
	}
	if (state & LADON_STATE_HOLD_SEQ && pkt->payload_bytes &&
	    life_before(pkt->seq + flow->d_seq, flow->edge))
		return LADON_REASON_HELD_DATA;
	return LADON_REASON_NONE;
}

/*
 * A RST: does it answer a probe? Then the host has no such connection any more: RFC 9293
 * section 3.10.7.1. Its number is the one that the probe has acknowledged; to
 * the peer, which expects another, it would mean nothing. So the flow is killed.
 */
static __noinline bool life_disowned(const struct packet *pkt, struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	if (!twin || pkt->seq != ((__u32)twin->acked << 16) + twin->d_ack)
		return false;
	__sync_fetch_and_or(&flow->state,
			    LADON_STATE_KILLED | LADON_STATE_RESET | LADON_STATE_TOLD);
	__sync_fetch_and_or(&twin->state, LADON_STATE_KILLED);
	return true;
}

/**
 * life_admit() - may this packet pass, as the flow stands?
 *
 * Return: VERDICT_CONTINUE, VERDICT_DROP (held, later, or the answer to a probe), VERDICT_STACK
 * (reopened: @flow is gone) or VERDICT_RESET (killed).
 */
static __always_inline enum verdict life_admit(struct packet *pkt, struct ladon_entry *flow,
					       __u32 now_ms)
{
	__u32 state = flow->state;
	enum ladon_reason held;

	if (!(state & (LIFE_HOLDS | LADON_STATE_CLOSED | LADON_STATE_KILLED | LADON_STATE_PROBES)))
		return VERDICT_CONTINUE;
	if (state & (LADON_STATE_CLOSED | LADON_STATE_KILLED) && packet_is_opening(pkt)) {
		if (!life_reopen(&pkt->key, flow))
			return packet_end(pkt, VERDICT_DROP, LADON_REASON_REOPEN_LATER);
		return packet_end(pkt, VERDICT_STACK, LADON_REASON_REOPENED);
	}
	if (state & LADON_STATE_KILLED) {
		if (!(state & LADON_STATE_TOLD))
			__sync_fetch_and_or(&flow->state, LADON_STATE_TOLD);
		return packet_end(pkt, VERDICT_RESET, LADON_REASON_KILLED);
	}
	if (state & LADON_STATE_PROBES && !(state & LADON_STATE_CLOSED) && pkt->flags & TCP_RST &&
	    life_disowned(pkt, flow))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_PROBE_RESET);
	if (!(state & LIFE_HOLDS))
		return VERDICT_CONTINUE;
	held = life_held(pkt, flow, now_ms);
	return held ? packet_end(pkt, VERDICT_DROP, held) : VERDICT_CONTINUE;
}

#endif
