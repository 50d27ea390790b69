/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * quiet.h - what a guarded socket may say
 *
 * Until its handoff, a socket acknowledges nothing that its peer might have to
 * repeat: a pure acknowledgement does not leave, one that rides on data goes
 * back to where the guard was laid on. Once the flow is active the socket is a
 * shadow: only the first bytes still leave, with the clock's value of the
 * activation (a later one would make the other end drop what it gets through
 * the flow as old, RFC 7323 section 5), and when the last of them does, the hold
 * of repetitions ends. It ends here and not on arrival, or a lost tail would never
 * be repeated. And the last acknowledgement of its handshake leaves: TCP wakes who
 * waits for the connection before it sends that (net/ipv4/tcp_input.c:
 * tcp_rcv_synsent_state_process()), and without it the peer has none.
 *
 * Dropped packets are STOLEN: SHOT tells TCP that the device is congested, and
 * it shrinks its window.
 */
#ifndef LADON_QUIET_H
#define LADON_QUIET_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "count.h"
#include "flow.h"
#include "guard.h"
#include "options.h"
#include "packet.h"

static __always_inline int quiet_steal(enum ladon_reason why)
{
	count(why, 0);
	return TC_ACT_STOLEN;
}

/* The highest number this socket may acknowledge now. bytes_received counts a FIN as one. */
static __always_inline __u32 quiet_limit(const struct bpf_tcp_sock *tp,
					 const struct ladon_guard *guard)
{
	return tp->rcv_nxt - (__u32)(tp->bytes_received - guard->base);
}

static __always_inline long quiet_store32(struct __sk_buff *skb, const struct packet *pkt,
					  __u32 offset, __be32 old, __be32 new)
{
	__u32 tcp = packet_tcp_offset(pkt);

	bpf_l4_csum_replace(skb, tcp + offsetof(struct tcphdr, check), old, new, 4);
	return bpf_skb_store_bytes(skb, tcp + offset, &new, sizeof(new), 0);
}

/* Options of a segment copied to the stack, walked, and written back. */
struct quiet_walk {
	__u8 options[OPTIONS_BYTES_MAX];
	__u32 len;
	__u32 at;
	__u32 mirror; /* of a SYN: LADON_MIRROR_*: overwrite these with NOPs */
	__u32 mss;    /* of a SYN: announce no more than this, unless it is 0 */
	__u32 tsval;  /* of others: set TSval to this */
	__u32 is_syn;
};

static __always_inline bool quiet_is_unwanted(const struct quiet_walk *w, __u8 kind)
{
	return (kind == OPTION_TS && w->mirror & LADON_MIRROR_NO_TS) ||
	       (kind == OPTION_SACK_PERMITTED && w->mirror & LADON_MIRROR_NO_SACK) ||
	       (kind == OPTION_WINDOW && w->mirror & LADON_MIRROR_NO_WSCALE);
}

static long quiet_step(__u32 i __attribute__((unused)), void *arg)
{
	struct quiet_walk *w = arg;
	__u32 at = w->at, len, n;

	if (at >= w->len || at >= OPTIONS_BYTES_MAX - 1 || w->options[at] == 0)
		return 1;
	if (w->options[at] == OPTION_NOP) {
		w->at++;
		return 0;
	}
	len = w->options[at + 1];
	if (len < 2 || at + len > w->len)
		return 1;
	if (quiet_is_unwanted(w, w->options[at])) {
		for (n = 0; n < 10; n++) /* none of them is longer */
			if (n < len && at + n < OPTIONS_BYTES_MAX)
				w->options[at + n] = OPTION_NOP;
	} else if (w->options[at] == OPTION_MSS && len == OPTION_MSS_BYTES && w->mss &&
		   at <= OPTIONS_BYTES_MAX - OPTION_MSS_BYTES) {
		if (((__u32)w->options[at + 2] << 8 | w->options[at + 3]) > w->mss) {
			w->options[at + 2] = w->mss >> 8;
			w->options[at + 3] = w->mss;
		}
	} else if (!w->is_syn && w->options[at] == OPTION_TS && len == OPTION_TS_BYTES &&
		   at <= OPTIONS_BYTES_MAX - 6) {
		w->options[at + 2] = w->tsval >> 24;
		w->options[at + 3] = w->tsval >> 16;
		w->options[at + 4] = w->tsval >> 8;
		w->options[at + 5] = w->tsval;
	}
	w->at += len;
	return 0;
}

static __noinline int quiet_options(struct __sk_buff *skb, __u32 tcp, __u32 len,
				    const struct ladon_guard *guard, bool is_syn)
{
	struct quiet_walk w = { .len = len, .is_syn = is_syn };
	__u8 old[OPTIONS_BYTES_MAX];
	__s64 diff;

	if (is_syn) {
		w.mirror = guard->mirror;
		w.mss = guard->mss;
	} else {
		w.tsval = guard->tsval;
	}
	/* 6.1's verifier learns the bounds from arithmetic only */
	if (!len || len > OPTIONS_BYTES_MAX)
		return 0;
	len = ((len - 1) & 63) + 1;
	if (len > OPTIONS_BYTES_MAX)
		return 0;
	if (bpf_skb_load_bytes(skb, tcp + sizeof(struct tcphdr), w.options, len))
		return 0;
	__builtin_memcpy(old, w.options, sizeof(old));
	bpf_loop(OPTIONS_BYTES_MAX, quiet_step, &w, 0);
	diff = bpf_csum_diff((void *)old, sizeof(old), (void *)w.options, sizeof(w.options), 0);
	if (diff < 0)
		return 0;
	bpf_l4_csum_replace(skb, tcp + offsetof(struct tcphdr, check), 0, diff, 0);
	return bpf_skb_store_bytes(skb, tcp + sizeof(struct tcphdr), w.options, len, 0);
}

/* The last of the first bytes leaves: what repeats them comes after them from now on. */
static __always_inline void quiet_release(const struct packet *pkt, struct ladon_guard *guard)
{
	__u32 reach = pkt->seq + pkt->payload_bytes;
	struct ladon_flow_key key;
	struct ladon_entry *flow;

	if (!guard->hold || (__s32)(reach - guard->hold_end) < 0)
		return;
	guard->hold = 0;
	packet_reverse_key(&pkt->key, &key);
	flow = flow_find(&key);
	if (flow)
		flow_release(flow, LADON_STATE_HOLD_SEQ);
}

/*
 * Did the socket outlive its flow? Only one whose process was killed before it
 * vanished does: the kernel has closed it, and it waits for its FIN to be
 * acknowledged. It must speak again then, or whoever gets its addresses and ports
 * next would be answered by nobody. An open one has no flow for the moment
 * between side_activate() and pair_insert(), and must not speak.
 */
static __always_inline bool quiet_is_left_over(const struct bpf_sock *sk, const struct packet *pkt)
{
	struct ladon_flow_key key;

	if (sk->state == BPF_TCP_ESTABLISHED || sk->state == BPF_TCP_CLOSE_WAIT)
		return false;
	packet_reverse_key(&pkt->key, &key);
	return !flow_find(&key);
}

/* Has the socket neither said nor heard anything but its handshake? */
static __always_inline bool quiet_is_new(const struct bpf_tcp_sock *tp)
{
	return !tp->data_segs_out && !tp->bytes_received;
}

/*
 * A FIN may ride on first bytes: TCP merges the two when it repeats them for a
 * socket whose process was killed. The bytes are the sender's to repeat.
 */
static __always_inline int quiet_active(struct __sk_buff *skb, const struct bpf_tcp_sock *tp,
					struct packet *pkt, struct ladon_guard *guard)
{
	if (pkt->flags & (TCP_FIN | TCP_RST))
		return quiet_steal(LADON_REASON_QUIET_END);
	if (!pkt->payload_bytes && !quiet_is_new(tp))
		return quiet_steal(LADON_REASON_QUIET_ACK);
	quiet_release(pkt, guard);
	quiet_options(skb, packet_tcp_offset(pkt), pkt->options_bytes, guard, false);
	return TC_ACT_UNSPEC;
}

/*
 * Is a RST of this host's about a flow? A packet that was between tc ingress and its
 * socket when the flow began may find the socket gone, and the stack answers with one.
 * It must not leave: to both ends the connection lives.
 */
static __always_inline bool quiet_is_astray(const struct packet *pkt)
{
	struct ladon_flow_key key;

	packet_reverse_key(&pkt->key, &key);
	return flow_find(&key);
}

/* Linux writes this option first. Return: 0: it is not there */
static __always_inline __u32 quiet_mss(const struct packet *pkt)
{
	const __u8 *option = (const void *)(pkt->tcp + 1);

	if ((const void *)(option + 4) > pkt->end || option[0] != OPTION_MSS ||
	    option[1] != OPTION_MSS_BYTES)
		return 0;
	return (__u32)option[2] << 8 | option[3];
}

/* A back socket's SYN says no more than its client can do. */
static __always_inline void quiet_syn(struct __sk_buff *skb, const struct packet *pkt,
				      struct ladon_guard *guard)
{
	__u32 mss = quiet_mss(pkt);
	bool is_large = guard->mss && mss > guard->mss;

	guard->announced = is_large ? guard->mss : mss;
	if (guard->mirror || is_large)
		quiet_options(skb, packet_tcp_offset(pkt), pkt->options_bytes, guard, true);
}

/* Note the clock's value that leaves, where Linux writes it. */
static __always_inline void quiet_tell(const struct packet *pkt, struct ladon_guard *guard)
{
	const __be32 *words = (const void *)(pkt->tcp + 1);
	bool has_ts =
		(const void *)(words + 2) <= pkt->end && words[0] == bpf_htonl(OPTION_NOP_NOP_TS);

	if (has_ts)
		guard->tsval = bpf_ntohl(words[1]);
	guard->told = has_ts ? LADON_TOLD_TSVAL : LADON_TOLD_ANY;
}

/** quiet() - judge a segment of a guarded socket on its way out */
static __always_inline int quiet(struct __sk_buff *skb, struct bpf_sock *sk,
				 struct ladon_guard *guard)
{
	const struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);
	struct packet pkt = {};
	bool is_ahead;
	__u32 limit;

	if (!tp || packet_parse(skb, &pkt) != VERDICT_CONTINUE)
		return TC_ACT_UNSPEC;
	if (pkt.flags & TCP_SYN) {
		quiet_syn(skb, &pkt, guard);
		return TC_ACT_UNSPEC;
	}
	if (guard->mode == LADON_GUARD_OFF ||
	    (guard->mode == LADON_GUARD_ACTIVE && quiet_is_left_over(sk, &pkt)))
		return TC_ACT_UNSPEC;
	limit = quiet_limit(tp, guard);
	is_ahead = pkt.flags & TCP_ACK && (__s32)(pkt.ack - limit) > 0;
	if (is_ahead && packet_is_pure_ack(&pkt))
		return quiet_steal(LADON_REASON_QUIET_ACK);
	if (guard->mode == LADON_GUARD_QUIET)
		quiet_tell(&pkt, guard);
	if (is_ahead && quiet_store32(skb, &pkt, offsetof(struct tcphdr, ack_seq),
				      bpf_htonl(pkt.ack), bpf_htonl(limit)))
		return TC_ACT_UNSPEC;
	if (guard->mode == LADON_GUARD_ACTIVE)
		return quiet_active(skb, tp, &pkt, guard);
	return TC_ACT_UNSPEC;
}

#endif
