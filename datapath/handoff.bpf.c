// SPDX-License-Identifier: GPL-2.0-only
/*
 * handoff.bpf.c - measure two sockets, make their flow, and undo both
 *
 * These programs are never attached: libladon runs each with
 * BPF_PROG_TEST_RUN, on a "packet" that is a struct ladon_request, in the
 * network namespace of the caller. That way two sockets are read and both
 * flow entries made in one system call of two microseconds.
 *
 * What makes an early handoff safe: a guarded socket (quiet.h) has
 * acknowledged nothing that its peer has not got through to the other end. So
 * whatever ladon has read, or has not read yet, the sender still keeps and will
 * send again, now through the flow. activate() refuses whenever that cannot be
 * shown by the sockets' own numbers.
 *
 * Only the caller's thread moves copied_seq and write_seq, so those stand
 * still. rcv_nxt, bytes_received and ts_recent may move under our eyes, on
 * another CPU: the first two are read until they agree, and the last is read once.
 *
 * Pointers that only lead on are read by BPF_CORE_READ(): for each plain load of one the
 * verifier of newer kernels looks through all of the kernel's types for a name, on every way
 * that leads there. That doubled the time to load.
 */
#include <linux/bpf.h>

#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "flow.h"
#include "guard.h"
#include "hop.h"
#include "kernel.h"
#include "life.h"
#include "probe.h"
#include "quiet.h"
#include "socket.h"
#include "stack.h"

/* What libladon has to remember of flows in entries: see lib/limits.h. Not used here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LADON_LIMITS);
	__type(key, __u32);
	__type(value, struct ladon_limits);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_limits SEC(".maps");

/* IFF_LOOPBACK: linux/if.h is not for BPF programs */
#define IFF_LOOPBACK_BIT  8
#define IP4_AND_TCP_BYTES 40
#define IP6_AND_TCP_BYTES 60

#define LOOKS 4 /* at two numbers of a socket that do not stand still */

/* One of the two sockets, measured. */
struct side {
	struct tcp_sock *tp;
	struct ladon_guard *guard;
	bool is_ip6;
	__u32 next;    /* sequence number of the first byte that is not yet forwarded */
	__u32 pending; /* read by ladon and not forwarded, or not yet read */
	__u32 room;    /* bytes that can be sent at once */
	__u32 clock;   /* TSval: what the peer has heard last, or what it would be now */
	__u32 heard;   /* TSval: what the peer has said last */
	__u32 hop;     /* where its peer is, see hop.h */
	__u32 route_gen;
	__u32 mode; /* of the guard, before */
};

static __always_inline struct ladon_request *request(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	return data + sizeof(struct ladon_request) <= end ? data : NULL;
}

/* tcp_clock_ts() of net/ipv4/tcp.c plus the socket's own offset. */
static __always_inline __u32 side_clock(struct tcp_sock *tp)
{
	__u64 now = bpf_ktime_get_ns();

	if (bpf_core_field_exists(tp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD(tp, tcp_usec_ts))
		return (__u32)(now / 1000) + tp->tsoffset;
	return (__u32)(now / 1000000) + tp->tsoffset;
}

/*
 * What the client echoes is to be what the backend's last segment said, to the millisecond:
 * until the backend takes the connection for established (its handshake's last segment may be
 * lost, or it waits for data, TCP_DEFER_ACCEPT) it drops whatever echoes anything else (net/ipv4/
 * tcp_minisocks.c: tcp_check_req(), since Linux 6.15), and finds options in it that were never
 * agreed on, if it sends SYN cookies. So the flow's clock towards the client goes on from what
 * the client was told last, and not from now.
 */
static __always_inline __u32 side_told(const struct side *s)
{
	__u32 echo = s->tp->rx_opt.rcv_tsecr;

	if (s->guard->told == LADON_TOLD_TSVAL)
		return s->guard->tsval;
	return s->guard->told == LADON_TOLD_SYN && echo ? echo + s->tp->tsoffset : s->clock;
}

static __always_inline bool side_has_ts(const struct side *s)
{
	return BPF_CORE_READ_BITFIELD(s->tp, rx_opt.tstamp_ok);
}

static __always_inline bool side_has_sack(const struct side *s)
{
	return BPF_CORE_READ_BITFIELD(s->tp, rx_opt.sack_ok);
}

/* What may leave now: congestion window and the peer's window, both unused. */
static __always_inline __u32 side_room(struct tcp_sock *tp)
{
	__u32 cwnd = tp->snd_cwnd * tp->mss_cache;

	return cwnd < tp->snd_wnd ? cwnd : tp->snd_wnd;
}

/* Segments whose bytes only the two ends may make: MACs, subflows, records. */
static __always_inline bool side_is_authenticated(struct tcp_sock *tp)
{
	if (BPF_CORE_READ(tp, inet_conn.icsk_ulp_ops))
		return true;
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		return true;
	if (bpf_core_field_exists(tp->md5sig_info) && BPF_CORE_READ(tp, md5sig_info))
		return true;
	return bpf_core_field_exists(tp->ao_info) && BPF_CORE_READ(tp, ao_info);
}

/* Was it, before this handoff was tried? */
static __always_inline bool side_is_guarded(const struct side *s)
{
	return s->mode == LADON_GUARD_QUIET;
}

/*
 * Lay the guard on a socket that had none. Whoever acknowledged a byte on
 * another CPU before the guard was seen has counted that byte before; the
 * second look at bytes_received finds it.
 */
static __always_inline bool side_hush(struct side *s)
{
	__u64 received = s->tp->bytes_received;

	s->guard->base = received;
	s->guard->told = LADON_TOLD_ANY;
	s->guard->mode = LADON_GUARD_QUIET;
	barrier();
	return s->tp->bytes_received == received && s->tp->rcv_wup == s->tp->rcv_nxt;
}

/*
 * A generation in which an IPv6 socket's route is what the kernel would find: the one that is
 * now, read before the route is looked at; else one that never was. A silent socket may have a
 * route that is long outdated: it looks again when it sends (ip6_dst_check() of
 * net/ipv6/route.c, which this follows).
 */
static __always_inline __u32 side_route_gen6(const struct side *s, const struct rt6_info *rt6)
{
	const struct inet_sock *inet = &s->tp->inet_conn.icsk_inet;
	__u32 now = kernel_route_gen(inet->sk.__sk_common.skc_net.net, true);
	const struct fib6_node *node;

	barrier();
	node = BPF_CORE_READ(rt6, from, fib6_node);
	if (!node || (__u32)BPF_CORE_READ(node, fn_sernum) != inet->pinet6->dst_cookie)
		return ~now;
	return now;
}

/*
 * The route that the socket uses, and the generation it was found in. The
 * kernel's rtable and rt6_info stand around the dst_entry, where the verifier lets
 * nobody read directly.
 */
static __always_inline void side_gateway(struct side *s, struct dst_entry *dst,
					 struct ladon_hop *hop)
{
	struct rtable *rt4 = (void *)dst;
	struct rt6_info *rt6 = (void *)dst;

	if (s->is_ip6) {
		s->route_gen = side_route_gen6(s, rt6);
		if (!(BPF_CORE_READ(rt6, rt6i_flags) & RTF_GATEWAY_FLAG))
			return;
		hop->family = FAMILY_IP6;
		BPF_CORE_READ_INTO(&hop->gateway, rt6, rt6i_gateway);
		return;
	}
	s->route_gen = BPF_CORE_READ(rt4, rt_genid);
	hop->family = BPF_CORE_READ(rt4, rt_gw_family);
	if (hop->family == FAMILY_IP4)
		hop->gateway[0] = BPF_CORE_READ(rt4, rt_gw4);
	else if (hop->family == FAMILY_IP6)
		BPF_CORE_READ_INTO(&hop->gateway, rt4, rt_gw6);
}

/* Where packets to the peer leave */
static __always_inline __u32 side_way(struct side *s)
{
	struct tcp_sock *tp = s->tp;
	struct dst_entry *dst = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_dst_cache);
	struct ladon_hop hop = {};

	if (!dst)
		return LADON_REASON_NO_INTERFACE;
	if (BPF_CORE_READ(dst, dev, flags) & IFF_LOOPBACK_BIT)
		return LADON_REASON_LOCAL;
	hop.ifindex = BPF_CORE_READ(dst, dev, ifindex);
	if (!bpf_map_lookup_elem(&ladon_interfaces, &hop.ifindex))
		return LADON_REASON_NO_INTERFACE;
	side_gateway(s, dst, &hop);
	s->hop = hop_intern(&hop);
	return s->hop < LADON_HOPS ? LADON_REASON_NONE : LADON_REASON_TABLE_FULL;
}

/*
 * Has its peer been told that anything has come which is yet to be forwarded? Notes how much that is.
 *
 * Both numbers grow when a segment comes (net/ipv4/tcp_input.c: tcp_rcv_nxt_update()). What comes on another CPU
 * between the two reads seems to have been acknowledged, and is not, when they are read again.
 */
static __always_inline bool side_has_acked(struct side *s)
{
	const struct tcp_sock *tp = s->tp;
	__u64 unacked;

	for (int i = 0; i < LOOKS; i++) {
		unacked = tp->bytes_received - s->guard->base;
		barrier();
		s->pending = tp->rcv_nxt - s->next;
		barrier();
		if (s->pending <= unacked)
			return false;
	}
	return true;
}

static __always_inline __u32 side_measure(struct side *s, __u32 read)
{
	struct tcp_sock *tp = s->tp;
	__u32 reason;

	if (tp->inet_conn.icsk_inet.sk.__sk_common.skc_state != TCP_ESTABLISHED_STATE)
		return LADON_REASON_NOT_ESTABLISHED;
	reason = side_way(s);
	if (reason)
		return reason;
	if (side_is_authenticated(tp))
		return LADON_REASON_AUTHENTICATED;
	if (tp->ecn_flags & ECN_ACCURATE)
		return LADON_REASON_ECN;
	if (tp->snd_una != tp->write_seq)
		return LADON_REASON_UNACKED;

	if (!side_is_guarded(s) && !side_hush(s))
		return LADON_REASON_ACKED;
	s->next = tp->copied_seq - read;
	if (side_has_acked(s) ||
	    (!side_is_guarded(s) && BPF_CORE_READ(tp, out_of_order_queue.rb_node)))
		return LADON_REASON_ACKED;
	s->room = side_room(tp);
	s->clock = side_clock(tp);
	s->heard = tp->rx_opt.ts_recent; /* once: what both directions are moved by must be the same */
	return LADON_REASON_NONE;
}

/* Largest payload plus options that the way to the peer takes. */
static __always_inline __u32 side_mss(const struct side *s)
{
	__u32 headers = s->is_ip6 ? IP6_AND_TCP_BYTES : IP4_AND_TCP_BYTES;
	__u32 path = s->tp->inet_conn.icsk_pmtu_cookie - headers;
	__u32 peer = s->tp->rx_opt.mss_clamp;

	return path < peer ? path : peer;
}

/* What the peer was told to send at most: net/ipv4/tcp_output.c; quiet_syn() may have lowered it. */
static __always_inline __u32 side_announced(const struct side *s)
{
	return s->guard->announced ? s->guard->announced : s->tp->advmss;
}

static __always_inline __u32 pair_check(const struct side *f, const struct side *b)
{
	if (side_has_ts(f) != side_has_ts(b))
		return LADON_REASON_TIMESTAMPS;
	if (f->tp->advmss > side_mss(b) || side_announced(b) > side_mss(f))
		return LADON_REASON_MSS;
	return LADON_REASON_NONE;
}

/*
 * The entry for what @from's peer sends: it leaves as if @to had sent it.
 * Read with @twin's arguments swapped it gives the other direction.
 */
static __always_inline void entry_fill(struct ladon_entry *e, const struct side *from,
				       const struct side *to, const struct ladon_flow_key *out)
{
	bool ecn = from->tp->ecn_flags & to->tp->ecn_flags & ECN_RFC3168;

	__builtin_memcpy(e->saddr, out->daddr, 16);
	__builtin_memcpy(e->daddr, out->saddr, 16);
	e->sport = out->dport;
	e->dport = out->sport;
	e->d_seq = to->tp->write_seq - from->next;
	e->d_ack = to->next - from->tp->write_seq;
	if (side_has_ts(from)) {
		e->what |= LADON_FLOW_TS;
		e->d_tsval = to->clock - from->heard;
		e->d_tsecr = to->heard - from->clock;
	}
	if (!side_has_sack(to))
		e->what |= LADON_FLOW_NO_SACK;
	if (!ecn)
		e->what |= LADON_FLOW_NO_ECN;
	if (from->is_ip6 != to->is_ip6)
		e->what |= LADON_FLOW_CROSS;
	e->acked = from->tp->snd_una >> 16;
	if (from->clock >> 31)
		e->state |= LADON_STATE_HIGH;
	e->wscale_in = BPF_CORE_READ_BITFIELD(from->tp, rx_opt.snd_wscale);
	e->wscale_out = BPF_CORE_READ_BITFIELD(to->tp, rx_opt.rcv_wscale);
	e->route = LADON_ROUTE(to->hop, to->route_gen);
}

/* Where the first bytes end that wait for the socket @to, in its own numbers. */
static __always_inline __u32 first_end(const struct side *to, __u32 pending)
{
	return to->tp->write_seq + (pending < to->room ? pending : to->room);
}

static __always_inline void hold(struct ladon_entry *entry, __u32 state, __u32 edge)
{
	entry->state |= state;
	entry->edge = edge;
}

/* The holds of life.h. An entry has one edge: when both ends spoke first, it is
 * that of the acknowledgements.
 */
static __always_inline void pair_hold(struct ladon_entry *c2b, struct ladon_entry *b2c,
				      struct side *f, struct side *b)
{
	bool in = f->pending && b->room, out = b->pending && f->room;
	__u32 in_end = first_end(b, f->pending), out_end = first_end(f, b->pending);

	if (in)
		hold(b2c, LADON_STATE_HOLD_ACK, in_end);
	if (out)
		hold(c2b, LADON_STATE_HOLD_ACK, out_end);
	if (in && !out) {
		hold(c2b, LADON_STATE_HOLD_SEQ, in_end);
		b->guard->hold_end = in_end;
		b->guard->hold = 1;
	} else if (out && !in) {
		hold(b2c, LADON_STATE_HOLD_SEQ, out_end);
		f->guard->hold_end = out_end;
		f->guard->hold = 1;
	}
}

static __always_inline void side_activate(struct side *s)
{
	s->guard->hold = 0;
	s->guard->tsval = s->clock;
	s->guard->mode = LADON_GUARD_ACTIVE;
}

static __always_inline void side_restore(struct side *s)
{
	s->guard->hold = 0;
	s->guard->mode = s->mode;
}

static __always_inline __u32 insert_reason(long err)
{
	return err == -17 /* EEXIST */ ? LADON_REASON_EXISTS : LADON_REASON_TABLE_FULL;
}

/* Backend's direction first: from the client's on, bytes flow both ways. */
static __always_inline __u32 pair_insert(struct ladon_request *req, struct ladon_entry *c2b,
					 struct ladon_entry *b2c)
{
	struct ladon_flow_key key = req->back;
	long err;

	err = bpf_map_update_elem(&ladon_flows, &key, b2c, BPF_NOEXIST);
	if (err)
		return insert_reason(err);
	key = req->front;
	err = bpf_map_update_elem(&ladon_flows, &key, c2b, BPF_NOEXIST);
	if (err) {
		key = req->back;
		bpf_map_delete_elem(&ladon_flows, &key);
		return insert_reason(err);
	}
	flow_count(1);
	return LADON_REASON_NONE;
}

static __always_inline __u32 pair_activate(struct ladon_request *req, struct side *f,
					   struct side *b)
{
	struct ladon_entry c2b = {}, b2c = {};
	__u32 now_ms = (__u32)(bpf_ktime_get_ns() / 1000000);
	__u32 reason;

	entry_fill(&c2b, f, b, &req->back);
	entry_fill(&b2c, b, f, &req->front);
	b2c.what |= LADON_FLOW_TO_CLIENT;
	if (req->op == LADON_EDIT_STACK) {
		c2b.what |= LADON_FLOW_STACK;
		b2c.what |= LADON_FLOW_STACK;
	}
	if (req->uncounted)
		c2b.what |= LADON_FLOW_UNCOUNTED;
	c2b.id = b2c.id = req->id;
	c2b.state |= LADON_STATE_LIMITS(req->limits);
	b2c.state |= LADON_STATE_LIMITS(req->limits);
	c2b.made_ms = b2c.made_ms = now_ms;
	c2b.seen_ms = b2c.seen_ms = now_ms;

	side_activate(f);
	side_activate(b);
	pair_hold(&c2b, &b2c, f, b);

	reason = pair_insert(req, &c2b, &b2c);
	if (reason) {
		side_restore(f);
		side_restore(b);
	}
	return reason;
}

static __always_inline bool side_open(struct side *s, struct bpf_sock *sk,
				      const struct ladon_flow_key *key)
{
	struct ladon_guard fresh = {};

	s->tp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!s->tp)
		return false;
	s->guard = bpf_sk_storage_get(&ladon_guards, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s->guard)
		return false;
	s->mode = s->guard->mode;
	s->is_ip6 = !is_ip4(key->saddr);
	return true;
}

/* Rules of this host: has conntrack been asked what it knows, if it may know something? */
static __always_inline bool pair_is_unasked(struct ladon_request *req, const struct side *b)
{
	bool asked = req->netfilter;

	req->netfilter = kernel_has_hooks(b->tp->inet_conn.icsk_inet.sk.__sk_common.skc_net.net);
	return req->netfilter && !asked;
}

static __always_inline __u32 pair_handoff(struct ladon_request *req, struct bpf_sock *front,
					  struct bpf_sock *back)
{
	struct side f = {}, b = {};
	__u32 reason;

	/* A socket that is not full (TIME_WAIT, a request) has no storage. */
	if (!side_open(&f, front, &req->front_socket) || !side_open(&b, back, &req->back))
		return LADON_REASON_NOT_ESTABLISHED;
	if (f.mode == LADON_GUARD_ACTIVE || b.mode == LADON_GUARD_ACTIVE)
		return LADON_REASON_EXISTS;
	/* A wrong guess may be right about another's socket; but that is not guarded. */
	if (req->back_guess && !side_is_guarded(&b))
		return LADON_REASON_NO_SOCKET;
	if (pair_is_unasked(req, &b))
		return LADON_REASON_NAT;
	reason = side_measure(&f, req->front_pending);
	f.clock = side_told(&f);
	if (!reason)
		reason = side_measure(&b, req->back_pending);
	if (!reason)
		reason = pair_check(&f, &b);
	if (reason) {
		side_restore(&f);
		side_restore(&b);
		return reason;
	}
	req->front_pending = f.pending;
	req->back_pending = b.pending;
	req->front_room = f.room;
	req->back_room = b.room;
	req->front_rtt_us = f.tp->srtt_us >> 3;
	req->back_rtt_us = b.tp->srtt_us >> 3;
	return pair_activate(req, &f, &b);
}

/**
 * ladon_activate() - test run: make the flow of two sockets, or say why not
 *
 * In: op, front, front_socket, back, front_pending, back_pending, id, limits, back_guess, netfilter. Out: reason,
 * pendings, rooms, round trip times, netfilter.
 */
SEC("tc")
int ladon_activate(struct __sk_buff *skb)
{
	struct ladon_request *req = request(skb);
	struct bpf_sock *front, *back;

	if (!req)
		return TC_ACT_SHOT;
	req->reason = LADON_REASON_NO_SOCKET;
	if (req->op == LADON_EDIT_STACK && is_ip4(req->front.saddr) != is_ip4(req->back.saddr)) {
		req->reason = LADON_REASON_FAMILY; /* conntrack's NAT keeps the family */
		return TC_ACT_OK;
	}
	front = sock_find(skb, &req->front_socket);
	if (!front)
		return TC_ACT_OK;
	back = sock_find(skb, &req->back);
	if (back) {
		req->reason = pair_handoff(req, front, back);
		bpf_sk_release(back);
	}
	bpf_sk_release(front);
	return TC_ACT_OK;
}

static __always_inline void flow_kill(struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_or(&flow->state, LADON_STATE_KILLED);
	if (twin)
		__sync_fetch_and_or(&twin->state, LADON_STATE_KILLED);
}

/* Conntrack knows the flow: its packets may meet the stack. */
static __always_inline void flow_forward(struct ladon_entry *flow)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_or(&flow->state, LADON_STATE_STACK);
	if (twin)
		__sync_fetch_and_or(&twin->state, LADON_STATE_STACK);
}

static __always_inline bool flow_edit(struct ladon_request *req, struct ladon_entry *flow)
{
	switch (req->op) {
	case LADON_EDIT_KILL:
		if (flow->state & (LADON_STATE_CLOSED | LADON_STATE_KILLED))
			return false;
		flow_kill(flow);
		return true;
	case LADON_EDIT_SETTLE:
		flow_release(flow, LADON_STATE_HOLD_ACK | LADON_STATE_HOLD_SEQ);
		return true;
	case LADON_EDIT_STACK:
		flow_forward(flow);
		return true;
	}
	return false;
}

/**
 * ladon_edit() - test run: kill, settle or give to the stack the flow of a key and an id; or
 * change the state of a hop
 *
 * In: op, front, id. Out: reason, NO_FLOW if there is none with this id, or it
 * is over, or the hop is in another state.
 */
SEC("tc")
int ladon_edit(struct __sk_buff *skb)
{
	struct ladon_request *req = request(skb);
	struct ladon_flow_key key;
	struct ladon_entry *flow;

	if (!req)
		return TC_ACT_SHOT;
	req->reason = LADON_REASON_NO_FLOW;
	if (req->op >= LADON_EDIT_HOP_RETIRE && req->op <= LADON_EDIT_HOP_FREE) {
		if (hop_edit(req->id, req->op))
			req->reason = LADON_REASON_NONE;
		return TC_ACT_OK;
	}
	key = req->front;
	flow = flow_find(&key);
	if (!flow || flow->id != req->id)
		return TC_ACT_OK;
	if (flow_edit(req, flow))
		req->reason = LADON_REASON_NONE;
	return TC_ACT_OK;
}

/** ladon_ask() - test run on a probe (probe.h): send it. TC_ACT_SHOT: it could not be sent */
SEC("tc")
int ladon_ask(struct __sk_buff *skb)
{
	return probe_ask(skb) ? TC_ACT_OK : TC_ACT_SHOT;
}

static __noinline void reap(struct ladon_event *ended, bool only_closed)
{
	struct ladon_flow_key key = ended->key;
	struct ladon_entry *flow = flow_find(&key);
	struct ladon_entry *twin;

	if (!flow || flow->id != ended->flow.id ||
	    (only_closed && !(flow->state & LADON_STATE_CLOSED)))
		return;
	twin = flow_twin(flow);
	if (twin)
		life_describe(flow, twin, LADON_EVENT_ENDED, ended);
	else
		ended->flow = *flow;
	ended->type = flow_delete(&key, flow) == 0 ? LADON_EVENT_ENDED : 0;
}

/** ladon_reap() - test run on a struct ladon_reaping: delete many flows at once */
SEC("tc")
int ladon_reap(struct __sk_buff *skb)
{
	struct ladon_reaping *r = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if ((void *)(r + 1) > end)
		return TC_ACT_SHOT;
		/* Linux 6.1 loses the packet's bounds in a loop. */
#pragma GCC unroll 20
	for (__u32 i = 0; i < LADON_REAP_MAX && i < r->len; i++)
		reap(&r->flows[i], r->only_closed);
	return TC_ACT_OK;
}

static __always_inline struct ladon_guard *guard_find(struct bpf_sock *sk)
{
	return sk ? bpf_sk_storage_get(&ladon_guards, sk, 0, 0) : NULL;
}

static __always_inline void view_fill(struct ladon_view *v, struct bpf_sock *sk)
{
	struct tcp_sock *tp = (void *)bpf_skc_to_tcp_sock(sk);
	struct ladon_guard *guard = guard_find(sk);

	if (!tp)
		return;
	v->snd_nxt = tp->snd_nxt;
	v->rcv_nxt = tp->rcv_nxt;
	v->tsval = side_clock(tp);
	v->tsecr = tp->rx_opt.ts_recent;
	v->has_ts = BPF_CORE_READ_BITFIELD(tp, rx_opt.tstamp_ok);
	v->window = tp->rcv_wnd >> BPF_CORE_READ_BITFIELD(tp, rx_opt.rcv_wscale);
	if (guard && guard->mode == LADON_GUARD_QUIET) { /* who asks is about to say it */
		guard->tsval = v->tsval;
		guard->told = LADON_TOLD_TSVAL;
	}
}

/**
 * ladon_look() - test run: what an acknowledgement of a socket would say now
 *
 * In: front. Out: reason, view.
 */
SEC("tc")
int ladon_look(struct __sk_buff *skb)
{
	struct ladon_request *req = request(skb);
	struct bpf_sock *sk;

	if (!req)
		return TC_ACT_SHOT;
	req->reason = LADON_REASON_NO_SOCKET;
	sk = sock_find(skb, &req->front);
	if (!sk)
		return TC_ACT_OK;
	if (sk->state == TCP_ESTABLISHED_STATE) {
		view_fill(&req->view, sk);
		req->reason = LADON_REASON_NONE;
	}
	bpf_sk_release(sk);
	return TC_ACT_OK;
}

/* What no guarded socket of this host says: only RSTs and ICMP errors may be about flows. */
static __always_inline int local_said(struct __sk_buff *skb)
{
	struct packet pkt = {};

	switch (packet_parse(skb, &pkt)) {
	case VERDICT_ICMP:
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_TELL);
		break;
	case VERDICT_CONTINUE:
		if (pkt.flags & TCP_RST && quiet_is_astray(&pkt))
			return quiet_steal(LADON_REASON_QUIET_END);
		break;
	default:
		break;
	}
	return TC_ACT_UNSPEC;
}

/**
 * ladon_egress() - tc egress of every interface: guarded sockets keep quiet
 *
 * What is forwarded has come in by an interface and is waved through, unless its
 * numbers are still to be translated.
 */
SEC("tc")
int ladon_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct ladon_guard *guard;

	if (sk) {
		sk = bpf_sk_fullsock(sk); /* a SYN-ACK's is not: it passes */
		guard = guard_find(sk);
		if (sk && guard)
			return quiet(skb, sk, guard);
	}
	if (!skb->ingress_ifindex)
		return local_said(skb);
	if (skb->tc_index == LEARNED_MARK) {
		skb->tc_index = 0; /* a VLAN's packets leave twice */
		return TC_ACT_UNSPEC;
	}
	if (skb->tc_index != STACK_MARK) {
		bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_LEARN);
		return TC_ACT_UNSPEC;
	}
	bpf_tail_call(skb, &ladon_jumps, LADON_JUMP_LEAVE);
	return TC_ACT_SHOT; /* there is always something to jump to */
}
