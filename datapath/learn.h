/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * learn.h - what becomes of others' connections, seen where their packets leave
 *
 * A forwarded packet at tc egress has been accepted, translated and routed, and
 * conntrack's entry hangs on it: from the two, the packet's whole way is known. Of packets
 * that take the way of learned.h nothing hangs there any more.
 *
 * Some are left to the stack: what conntrack must see whole; what another device, below the
 * one that the route names, sends (a VLAN's, a bridge's); and multicast.
 *
 * What conntrack has nothing to do with leaves as it came, if the rules are such (lib/rules.c): only its route
 * is learned then.
 *
 * TCP: conntrack, which misses most segments then, would call the next one invalid, and NAT would
 * leave that alone. So it is to be liberal about the window first; user space has it
 * made so (lib/learned.c).
 */
#ifndef LADON_LEARN_H
#define LADON_LEARN_H

#include "events.h"
#include "jumps.h"
#include "learned.h"
#include "peer.h"
#include "socket.h"

#define LEARN_INTERFACES 1024

/* With LADON_ACCELERATE_NAMED, by ifindex */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LEARN_INTERFACES);
	__type(key, __u32);
	__type(value, __u8);
} ladon_accelerated SEC(".maps");

#define LEARN_SPARED 65536

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LEARN_SPARED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ladon_spared);
	__type(value, __u8);
} ladon_spared SEC(".maps");

/* net/netfilter/nf_conntrack_bpf.c, its first 12 bytes */
struct bpf_ct_opts___ladon {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

/*
 * Linux 6.0; in a module, perhaps, and then libbpf 1.1 cannot take their addresses to ask whether they are
 * there: who has conntrack's BTF has them.
 */
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
					 __u32 tuple_size, struct bpf_ct_opts___ladon *opts,
					 __u32 opts_size) __ksym __weak;
extern int bpf_ct_change_timeout(struct nf_conn *c, __u32 timeout_ms) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *c) __ksym __weak;

/* include/uapi/linux/netfilter/nf_conntrack_common.h and _tcp.h */
enum {
	CT_SEEN_REPLY = 1 << 1,
	CT_ASSURED = 1 << 2,
	CT_CONFIRMED = 1 << 3,
	CT_SEQ_ADJUST = 1 << 6,
	CT_DYING = 1 << 9,
	CT_FIXED_TIMEOUT = 1 << 10,
	CT_HELPER = 1 << 13,
	CT_OFFLOAD = 1 << 14, /* nf_tables' own flowtable has it */

	CT_TCP_ESTABLISHED = 3,
	CT_TCP_BE_LIBERAL = 1 << 3,
	CT_TCP_UNACKNOWLEDGED = 1 << 4,

	CT_REPLY = 3,	      /* enum ip_conntrack_info: from here on it is the reply's direction */
	CT_UNTRACKED = 7,     /* ... and a rule has spared conntrack the packet */
	CT_POINTER_BITS = 7,  /* include/linux/skbuff.h: NFCT_INFOMASK */
	DST_POINTER_BITS = 1, /* SKB_DST_NOREF */
	METRICS_POINTER_BITS = 3,
	METRIC_MTU = 1, /* RTAX_MTU - 1 */
};

/* Where conntrack's entry of a packet is, and its route; 0: it has none */
static __always_inline unsigned long skb_conntrack_at(const struct sk_buff *skb)
{
	return skb->_nfct & ~(unsigned long)CT_POINTER_BITS;
}

static __always_inline unsigned long skb_route_at(const struct sk_buff *skb)
{
	return skb->_skb_refdst & ~(unsigned long)DST_POINTER_BITS;
}

/* ---- changes ---- */

/*
 * Rules that were changed a moment ago have not judged what leaves now. By family: a
 * generation, and the milliseconds in which it was first seen.
 */
#define LEARN_AFTER_MS 20

/* More than a jiffy: by so much the precise clock may be ahead of flow_now_ms() */
#define LEARN_AHEAD_MS 16

static volatile __u64 learn_changes[2];

static __always_inline bool learn_is_settled(__u32 generation, bool is_ip6, __u32 now_ms)
{
	__u64 last = learn_changes[is_ip6]; /* both halves at once */

	if (last >> 32 == generation)
		return now_ms + LEARN_AHEAD_MS - (__u32)last >= LEARN_AFTER_MS + LEARN_AHEAD_MS;
	learn_changes[is_ip6] = (__u64)generation << 32 | now_ms;
	return false;
}

/* ---- what conntrack says ---- */

/*
 * Where its parts are that say it. There are two types of the name nf_conn, and which of them is meant
 * cannot be said: so the parts are cast, one by one, and what is no struct is copied.
 */
struct conntrack {
	const struct nf_conntrack_tuple_hash *original, *reply;
	const struct ip_ct_tcp *tcp;
	unsigned long at;
};

static __always_inline void conntrack_find(unsigned long at, struct conntrack *ct)
{
	const struct nf_conn *c = (const void *)at;

	ct->at = at;
	ct->original = kernel_cast(&c->tuplehash[0], struct nf_conntrack_tuple_hash);
	ct->reply = kernel_cast(&c->tuplehash[1], struct nf_conntrack_tuple_hash);
	ct->tcp = kernel_cast(&c->proto.tcp, struct ip_ct_tcp);
}

static __always_inline bool conntrack_has_helper(const struct nf_conn *c)
{
	const struct nf_ct_ext *ext = NULL;
	__u8 offset = 0;

	bpf_core_read(&ext, sizeof(ext), &c->ext);
	if (ext)
		bpf_core_read(
			&offset, sizeof(offset),
			&ext->offset[bpf_core_enum_value(enum nf_ct_ext_id, NF_CT_EXT_HELPER)]);
	return offset;
}

/* By one of the two tuples: how packets of that direction arrive */
static __always_inline void learn_key(const struct nf_conntrack_tuple *tuple, bool is_ip6,
				      struct ladon_learned_key *key)
{
	for (int i = 0; i < 4; i++) {
		key->saddr[i] = tuple->src.u3.all[i];
		key->daddr[i] = tuple->dst.u3.all[i];
	}
	if (!is_ip6) {
		key->saddr[3] = key->saddr[0];
		key->daddr[3] = key->daddr[0];
		key->saddr[0] = key->saddr[1] = key->daddr[0] = key->daddr[1] = 0;
		key->saddr[2] = key->daddr[2] = bpf_htonl(0xffff);
	}
	key->sport = tuple->src.u.all;
	key->dport = tuple->dst.u.all;
}

/* Does the packet leave as what answers the other tuple? */
static __always_inline bool learn_matches(const struct nf_conntrack_tuple *reply,
					  const struct passing *p)
{
	int from = p->is_ip6 ? 0 : 3;

	if (reply->dst.protonum != LADON_VIA_PROTOCOL(p->key.via) ||
	    reply->dst.u.all != p->key.sport || reply->src.u.all != p->key.dport)
		return false;
	for (int i = from; i < 4; i++)
		if (reply->dst.u3.all[i - from] != p->key.saddr[i] ||
		    reply->src.u3.all[i - from] != p->key.daddr[i])
			return false;
	return true;
}

static __always_inline unsigned long conntrack_status(const struct nf_conn *c)
{
	unsigned long status = 0;

	bpf_core_read(&status, sizeof(status), &c->status);
	return status;
}

/* Must conntrack see all its packets, or is there more to it than addresses and ports? */
static __always_inline bool conntrack_needs_all(const struct nf_conn *c)
{
	__u16 zone = 0;

	if (conntrack_status(c) & (CT_SEQ_ADJUST | CT_FIXED_TIMEOUT | CT_HELPER | CT_OFFLOAD))
		return true;
	if (bpf_core_field_exists(c->zone))
		bpf_core_read(&zone, sizeof(zone), &c->zone.id);
	return zone || conntrack_has_helper(c);
}

/* Return: LADON_REASON_NONE: its flow may be learned */
static __always_inline __u32 learn_state(const struct conntrack *ct, bool is_tcp)
{
	const struct nf_conn *c = (const void *)ct->at;
	unsigned long status = conntrack_status(c), ready = CT_CONFIRMED | CT_SEEN_REPLY;

	if (conntrack_needs_all(c))
		return LADON_REASON_UNLEARNED_HELP;
	if (is_tcp)
		ready |= CT_ASSURED;
	if ((status & ready) != ready || status & CT_DYING)
		return LADON_REASON_UNLEARNED_STATE;
	if (is_tcp && ct->tcp->state != CT_TCP_ESTABLISHED)
		return LADON_REASON_UNLEARNED_STATE;
	return LADON_REASON_NONE;
}

static __always_inline bool learn_is_liberal(const struct conntrack *ct)
{
	return ct->tcp->seen[0].flags & ct->tcp->seen[1].flags & CT_TCP_BE_LIBERAL;
}

/* Now and then: user space may not have been there to hear it, or be gone. */
static __always_inline void learn_ask_liberal(const struct conntrack *ct, bool is_ip6,
					      __u32 packets, __u32 packets_min)
{
	struct ladon_learned_key original = {};
	struct ladon_strict *strict;

	if (packets != packets_min && packets % YOUNG_AGAIN)
		return;
	learn_key(&ct->original->tuple, is_ip6, &original);
	strict = bpf_ringbuf_reserve(&ladon_events, sizeof(*strict), 0);
	if (!strict)
		return;
	__builtin_memcpy(&strict->key, &original, sizeof(strict->key));
	strict->type = LADON_EVENT_STRICT;
	events_submit(strict);
}

/*
 * How conntrack's clock is to be set instead of what it does itself; 0: it is right
 *
 * Data that nobody has acknowledged shortens a connection's time to five minutes
 * (nf_conntrack_tcp_timeout_unacknowledged). But once conntrack has missed more than a window, it does not look
 * at acknowledgements any more, and believes for ever what it saw last; a connection that is merely
 * silent would be forgotten.
 */
static __always_inline __u32 learn_timeout(const struct conntrack *ct,
					   const struct ladon_accelerate *how, __u32 flags)
{
	if (flags & (TCP_SYN | TCP_FIN | TCP_RST) || !learn_is_liberal(ct) ||
	    !((ct->tcp->seen[0].flags | ct->tcp->seen[1].flags) & CT_TCP_UNACKNOWLEDGED))
		return 0;
	return how->established_ms;
}

/* The tuple is conntrack's, of either direction. NULL: there is none; else it is to be released */
static __always_inline struct nf_conn *learn_look(ctx_t *ctx, const struct ladon_learned_key *key,
						  __u32 protocol)
{
	struct bpf_ct_opts___ladon opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = protocol };
	struct bpf_sock_tuple tuple = {};
	__u32 size = sock_tuple((const struct ladon_flow_key *)key, &tuple);

	return bpf_skb_ct_lookup(ctx, &tuple, size, &opts, sizeof(opts));
}

static __always_inline void learn_set_timeout(ctx_t *ctx, const struct ladon_learned_key *key,
					      __u32 timeout_ms)
{
	struct nf_conn *c = learn_look(ctx, key, IPPROTO_TCP);

	if (!c)
		return;
	bpf_ct_change_timeout(c, timeout_ms);
	bpf_ct_release(c);
}

/* ---- the packet's way ---- */

/* Has the route brought it here, and not a device above this one? */
static __always_inline const struct dst_entry *learn_route(const struct sk_buff *skb)
{
	const struct dst_entry *dst;

	if (!skb_route_at(skb))
		return NULL;
	dst = kernel_cast(skb_route_at(skb), struct dst_entry);
	return dst->dev->ifindex == skb->dev->ifindex ? dst : NULL;
}

static __always_inline bool learn_is_ipsec(const struct sk_buff *skb, const struct dst_entry *dst)
{
	if (bpf_core_field_exists(dst->xfrm) && dst->xfrm)
		return true;
	return bpf_core_enum_value_exists(enum skb_ext_id, SKB_EXT_SEC_PATH) &&
	       skb->active_extensions & 1 << bpf_core_enum_value(enum skb_ext_id, SKB_EXT_SEC_PATH);
}

static __always_inline __u32 learn_device_mtu(const struct net_device *dev, bool is_ip6)
{
	const struct inet6_dev *ip6 = NULL;
	__u32 mtu = dev->mtu;
	__s32 mtu6 = 0;

	if (!is_ip6 || !bpf_core_field_exists(ip6->cnf.mtu6))
		return mtu;
	bpf_core_read(&ip6, sizeof(ip6), &dev->ip6_ptr);
	if (ip6)
		bpf_core_read(&mtu6, sizeof(mtu6), &ip6->cnf.mtu6);
	return mtu6 > 0 && (__u32)mtu6 < mtu ? (__u32)mtu6 : mtu;
}

/* What the stack lets pass without a word: net/ipv4/route.c, ip_dst_mtu_maybe_forward(), and that of IPv6 */
static __always_inline __u32 learn_mtu(const struct sk_buff *skb, const struct dst_entry *dst,
				       bool is_ip6)
{
	const __u32 *metrics = (void *)(dst->_metrics & ~(unsigned long)METRICS_POINTER_BITS);
	__u32 mtu = learn_device_mtu(skb->dev, is_ip6), route = 0;

	if (metrics)
		bpf_probe_read_kernel(&route, sizeof(route), &metrics[METRIC_MTU]);
	if (route && route < mtu)
		mtu = route;
	return mtu < 0xffff ? mtu : 0xffff;
}

/*
 * Does it leave with the DSCP that it came with, and a time to live that is one less? Rules that write
 * others are for every packet. One without a mark came by an interface that ladon is not on.
 */
static __always_inline bool learn_is_kept(const ctx_t *ctx, const struct passing *p)
{
	return (ctx->tc_index & ~CARRIED_COPY) == (CARRIED_MARK | (p->carried + 1));
}

static __always_inline bool learned_marks_are(const struct ladon_marks *marks, const ctx_t *ctx)
{
	if (!ctx->mark && !ctx->priority)
		return true; /* LADON_LEARNED_MARKED tells */
	return marks && marks->mark == ctx->mark && marks->priority == ctx->priority;
}

/* Does a packet leave as its entry says? */
static __always_inline bool learned_is(const ctx_t *ctx, const struct passing *p, __u32 state,
				       const struct ladon_learned *learned)
{
	__u32 passing = LADON_LEARNED_ASKED | LADON_LEARNED_RESET | LADON_LEARNED_AHEAD |
			LADON_LEARNED_QUEUED;

	return bytes_equal32(learned->saddr, &p->key, sizeof(struct ladon_flow_key) / 4) &&
	       bytes_equal16(learned->to, p->eth->h_dest, ETH_ALEN / 2) &&
	       bytes_equal16(learned->from, p->eth->h_source, ETH_ALEN / 2) &&
	       learned->ifindex == ctx->ifindex && (learned->state | passing) == (state | passing);
}

/* ---- the whole ---- */

static __always_inline bool learn_takes(const struct ladon_accelerate *how, bool is_tcp)
{
	return how->what & (is_tcp ? LADON_ACCELERATE_TCP : LADON_ACCELERATE_UDP);
}

static __always_inline bool learn_is_wanted(const struct ladon_accelerate *how, __u32 in, __u32 out,
					    bool is_tcp)
{
	if (!learn_takes(how, is_tcp))
		return false;
	return !(how->what & LADON_ACCELERATE_NAMED) ||
	       (bpf_map_lookup_elem(&ladon_accelerated, &in) &&
		bpf_map_lookup_elem(&ladon_accelerated, &out));
}

static __always_inline bool learn_spares_address(const __be32 addr[4])
{
	struct ladon_spared key = { .bits = 128 };
	const __u8 *is_spared;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	is_spared = bpf_map_lookup_elem(&ladon_spared, &key);
	return is_spared && *is_spared;
}

static __always_inline bool learn_spares_port(const struct ladon_accelerate *how, __be16 port)
{
	__u16 p = bpf_ntohs(port);

	for (int i = 0; i < LADON_SPARED_PORTS && how->ports[i].to; i++)
		if (p >= how->ports[i].from && p <= how->ports[i].to)
			return true;
	return false;
}

/* @in, @out: how its packets come, and leave */
static __always_inline bool learn_spares(const struct ladon_accelerate *how,
					 const struct ladon_learned_key *in,
					 const struct ladon_learned_key *out, __u32 mark)
{
	for (int i = 0; i < LADON_SPARED_MARKS && how->marks[i].mask; i++)
		if ((mark & how->marks[i].mask) == how->marks[i].value)
			return true;
	if (learn_spares_port(how, in->sport) || learn_spares_port(how, in->dport) ||
	    learn_spares_port(how, out->sport) || learn_spares_port(how, out->dport))
		return true;
	return how->what & LADON_ACCELERATE_SPARED &&
	       (learn_spares_address(in->saddr) || learn_spares_address(in->daddr) ||
		learn_spares_address(out->saddr) || learn_spares_address(out->daddr));
}

/**
 * struct leaving - a packet that leaves, and what is known of it
 * @p: as it leaves
 * @key: how it came in
 * @spot: of that
 * @is_reply: it answers whoever opened the connection
 * @is_tracked: conntrack's entry is .ct; else it has none, and need have none
 */
struct leaving {
	struct passing p;
	struct ladon_learned_key key;
	struct spot spot;
	struct conntrack ct;
	const struct dst_entry *dst;
	const struct ladon_accelerate *how;
	bool is_tcp;
	bool is_reply;
	bool is_tracked;
};

/* ladon_learned.state, as far as the packet says it */
static __always_inline __u32 leaving_state(const ctx_t *ctx, const struct sk_buff *skb,
					   const struct leaving *l)
{
	__u32 state = learn_mtu(skb, l->dst, l->p.is_ip6) << 16;

	if (l->is_reply)
		state |= LADON_LEARNED_REPLY;
	if (peer_is_open(skb->dev))
		state |= LADON_LEARNED_PEER;
	if (!bytes_equal32(&l->key, &l->p.key, sizeof(struct ladon_flow_key) / 4))
		state |= LADON_LEARNED_NAT;
	if (ctx->mark || ctx->priority)
		state |= LADON_LEARNED_MARKED;
	return state;
}

static __always_inline void learn_confirmed(const struct leaving *l, __u32 generation, __u32 now_ms,
					    struct ladon_learned *learned)
{
	learned->confirmed++;
	learned->generation = generation;
	learned->confirmed_ms = now_ms;
	learned->next = passing_next(&l->p);
}

static __always_inline void learn_fill(const ctx_t *ctx, const struct leaving *l, __u32 state,
				       const struct ladon_learned *former,
				       struct ladon_learned *learned)
{
	const struct ladon_learned_key *leaves = &l->p.key;

	learned->packets = former ? former->packets : 0;
	learned->bytes = former ? former->bytes : 0;
	learned->confirmed = former ? former->confirmed : 0;
	__builtin_memcpy(learned->saddr, leaves->saddr, sizeof(learned->saddr));
	__builtin_memcpy(learned->daddr, leaves->daddr, sizeof(learned->daddr));
	learned->sport = leaves->sport;
	learned->dport = leaves->dport;
	__builtin_memcpy(learned->to, l->p.eth->h_dest, sizeof(learned->to));
	__builtin_memcpy(learned->from, l->p.eth->h_source, sizeof(learned->from));
	learned->ifindex = ctx->ifindex;
	learned->state = state;
}

/*
 * A flow that is new, or leaves otherwise than it did: that gets another place, and who is about to use the former one
 * goes the former way.
 *
 * @former: its entry; NULL: it had none
 * Return: a reason, or NONE
 */
static __always_inline __u32 learn_anew(const ctx_t *ctx, const struct leaving *l, __u32 state,
					const struct ladon_learned *former, __u32 generation,
					__u32 now_ms)
{
	struct ladon_learned *learned;
	struct ladon_marks *marks;
	struct bucket bucket;
	__u32 place;

	if (former)
		table_delete(&l->key);
	if (!table_claim(&l->spot, now_ms, &bucket, &place))
		return LADON_REASON_UNLEARNED_FULL;
	learned = &bucket.entries->of[place];
	learn_fill(ctx, l, state, former, learned);
	learn_confirmed(l, generation, now_ms, learned);
	marks = table_marks(&l->spot, place);
	if (marks) {
		marks->mark = ctx->mark;
		marks->priority = ctx->priority;
	}
	bucket_publish(&bucket, &l->key, l->spot.tag, place);
	return LADON_REASON_NONE;
}

/* Write down a packet's way, or that it is still the same. @learned, @place: NULL, or its entry and where it is */
static __always_inline __u32 learn_confirm(ctx_t *ctx, const struct leaving *l, __u32 state,
					   struct ladon_learned *learned, __u32 place)
{
	__u32 now_ms = flow_now_ms(), generation;

	if (!learned_generation(ctx, l->p.is_ip6, &generation) ||
	    !learn_is_settled(generation, l->p.is_ip6, now_ms))
		return LADON_REASON_UNLEARNED_CHANGED;
	if (!learned || !learned_is(ctx, &l->p, state, learned) ||
	    !learned_marks_are(table_marks(&l->spot, place), ctx))
		return learn_anew(ctx, l, state, learned, generation, now_ms);
	learn_confirmed(l, generation, now_ms, learned);
	__sync_fetch_and_and(&learned->state, ~(__u32)LADON_LEARNED_ASKED);
	return LADON_REASON_NONE;
}

/* Both directions. Ends @l: the twin's key takes the place of its own. */
static __always_inline void learn_forget(struct leaving *l, const struct ladon_learned *learned)
{
	table_delete(&l->key);
	learned_twin_key(&l->p.key, learned, &l->key);
	table_delete(&l->key);
}

/* By conntrack's entry and the packet. Return: false: they do not belong together */
static __always_inline bool leaving_trace(const ctx_t *ctx, const struct sk_buff *skb,
					  struct leaving *l)
{
	const struct nf_conntrack_tuple *came, *leaves;

	/* of nothing, too: the verifier does not know when .ct is not looked at */
	conntrack_find(skb_conntrack_at(skb), &l->ct);
	if (!l->is_tracked) {
		l->key = l->p.key;
		l->key.via = LADON_VIA(ctx->ingress_ifindex, l->p.key.via);
		return true;
	}
	l->is_reply = (skb->_nfct & CT_POINTER_BITS) >= CT_REPLY;
	came = l->is_reply ? &l->ct.reply->tuple : &l->ct.original->tuple;
	leaves = l->is_reply ? &l->ct.original->tuple : &l->ct.reply->tuple;
	learn_key(came, l->p.is_ip6, &l->key);
	l->key.via = LADON_VIA(ctx->ingress_ifindex, l->p.key.via);
	return learn_matches(leaves, &l->p);
}

/*
 * Of one that has no entry of conntrack's: has it left as it came? What conntrack calls invalid has
 * none, either, and nothing is known of that.
 */
static __always_inline bool learn_is_spared_conntrack(const struct ladon_accelerate *how,
						      const struct sk_buff *skb)
{
	__u32 what = (skb->_nfct & CT_POINTER_BITS) == CT_UNTRACKED ? LADON_ACCELERATE_UNTRACKED
								    : LADON_ACCELERATE_TRACKLESS;

	return how->what & what && kernel_rules_are(skb->dev->nd_net.net, how->judged);
}

/* Return: false: it is none that could be learned from */
static __always_inline bool leaving_see(ctx_t *ctx, const struct sk_buff *skb, struct leaving *l)
{
	__u32 zero = 0, in = ctx->ingress_ifindex;

	if (!bpf_core_field_exists(skb->_nfct) || ctx->vlan_present ||
	    in > LADON_VIA_IFINDEX_MAX)
		return false;
	l->how = bpf_map_lookup_elem(&ladon_accelerate, &zero);
	l->dst = learn_route(skb);
	l->is_tracked = skb_conntrack_at(skb);
	if (!l->how || !l->dst || (!l->is_tracked && !learn_is_spared_conntrack(l->how, skb)) ||
	    !passing_parse(ctx, &l->p) || l->p.eth->h_dest[0] & 1)
		return false;
	l->is_tcp = l->p.key.via == IPPROTO_TCP;
	return learn_is_wanted(l->how, in, ctx->ifindex, l->is_tcp);
}

/* Return: LADON_REASON_NONE: its flow may be learned, or stay so; conntrack's clock is right then */
static __always_inline __u32 leaving_judge(ctx_t *ctx, const struct sk_buff *skb,
					   const struct leaving *l,
					   const struct ladon_learned *learned)
{
	__u32 why = LADON_REASON_NONE, timeout_ms = 0;

	if (l->is_tracked)
		why = learn_state(&l->ct, l->is_tcp);
	if (why)
		return why;
	if (learn_is_ipsec(skb, l->dst) || !learn_is_kept(ctx, &l->p))
		why = LADON_REASON_UNLEARNED_HELP;
	if (l->is_tcp && l->is_tracked)
		timeout_ms = learn_timeout(&l->ct, l->how, l->p.flags);
	/*
	 * A connection was reset, and conntrack takes that for a forgery: let it wait no longer than it does
	 * for others that were. If it was one, the next packet sets the clock back.
	 */
	if (learned && learned->state & LADON_LEARNED_RESET) {
		timeout_ms = l->how->reset_ms;
		why = LADON_REASON_UNLEARNED_STATE;
	}
	if (timeout_ms)
		learn_set_timeout(ctx, &l->key, timeout_ms);
	return why;
}

/* Return: LADON_REASON_NONE: it is time to learn its flow */
static __always_inline __u32 leaving_begin(const ctx_t *ctx, const struct leaving *l)
{
	if (learn_spares(l->how, &l->key, &l->p.key, ctx->mark))
		return LADON_REASON_UNLEARNED_SPARED;
	if (!l->is_tcp || !l->is_tracked || learn_is_liberal(&l->ct))
		return LADON_REASON_NONE;
	learn_ask_liberal(&l->ct, l->p.is_ip6, young_counted(l->spot.hash), l->how->packets);
	return LADON_REASON_UNLEARNED_STRICT;
}

/* One of ladon's own, which the stack forwards: see stack.h */
static __always_inline bool leaving_is_ours(const struct leaving *l)
{
	return l->is_tcp && flow_find((const struct ladon_flow_key *)&l->key);
}

/**
 * learn() - tc egress: a packet that this machine forwards, and that has come with CARRIED_MARK
 *
 * Return: LADON_REASON_NONE: it was learned from, or is none that could be; or why not.
 */
static __always_inline __u32 learn(ctx_t *ctx)
{
	const struct sk_buff *skb = ctx_kernel(ctx);
	struct ladon_learned *learned;
	struct leaving l = {};
	__u32 why, place = 0;

	if (!skb || !leaving_see(ctx, skb, &l))
		return LADON_REASON_NONE;
	if (!leaving_trace(ctx, skb, &l))
		return LADON_REASON_NONE;
	l.spot = table_spot(&l.key);
	learned = table_find(&l.key, &l.spot, &place);
	why = leaving_judge(ctx, skb, &l, learned);
	if (why && learned)
		learn_forget(&l, learned);
	if (why)
		return why;
	if (l.p.flags & (TCP_SYN | TCP_FIN | TCP_RST))
		return LADON_REASON_NONE; /* of which conntrack thinks nothing */
	if (!learned)
		why = leaving_begin(ctx, &l);
	if (why || (!learned && leaving_is_ours(&l)))
		return why;
	return learn_confirm(ctx, &l, leaving_state(ctx, skb, &l), learned, place);
}

/* ---- and what would be said ---- */

/* Of a connection that was not learned */
static __always_inline __u32 learn_why_not(struct nf_conn *c, bool is_ip6, bool is_tcp)
{
	struct ladon_learned_key original = {}, reply = {};
	const struct ladon_accelerate *how;
	struct conntrack ct;
	__u32 zero = 0, why;

	how = bpf_map_lookup_elem(&ladon_accelerate, &zero);
	conntrack_find((unsigned long)c, &ct);
	learn_key(&ct.original->tuple, is_ip6, &original);
	learn_key(&ct.reply->tuple, is_ip6, &reply);
	if (!how || !learn_takes(how, is_tcp) || learn_spares(how, &original, &reply, 0))
		return LADON_REASON_UNLEARNED_SPARED;
	why = learn_state(&ct, is_tcp);
	if (why)
		return why;
	return is_tcp && !learn_is_liberal(&ct) ? LADON_REASON_UNLEARNED_STRICT
						: LADON_REASON_UNLEARNED_YOUNG;
}

/**
 * learn_why() - why packets that arrive like that take the stack
 *
 * Return: LADON_REASON_NONE: they do not; NO_FLOW: conntrack knows no such connection.
 */
static __always_inline __u32 learn_why(ctx_t *ctx, const struct ladon_learned_key *key)
{
	__u32 protocol = LADON_VIA_PROTOCOL(key->via), place, why;
	struct spot spot = table_spot(key);
	const struct ladon_learned *learned;
	bool is_ip6 = !is_ip4(key->saddr);
	struct nf_conn *c;

	learned = table_find(key, &spot, &place);
	if (learned)
		return learned_counts(ctx, learned, is_ip6, flow_now_ms() - learned->confirmed_ms)
			       ? LADON_REASON_NONE
			       : LADON_REASON_LEARNED_STALE;
	c = learn_look(ctx, key, protocol);
	if (!c)
		return LADON_REASON_NO_FLOW;
	why = learn_why_not(c, is_ip6, protocol == IPPROTO_TCP);
	bpf_ct_release(c);
	if (why == LADON_REASON_UNLEARNED_YOUNG && !table_has_room(&spot, flow_now_ms()))
		return LADON_REASON_UNLEARNED_FULL;
	return why;
}

#endif
