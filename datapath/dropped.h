/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dropped.h - what the firewall drops, dropped before it
 *
 * A flow whose packets netfilter drops costs conntrack's entry, which is made and thrown away, the
 * routes, and every rule until the one that drops it. So that rule's word is taken for the next
 * packets, too: for a quarter of a second, then one goes to it again.
 *
 * That counts for what would be forwarded. What is dropped before there is a route may be for this host; what conntrack
 * calls invalid says nothing of its flow; and a helper drops as it pleases. The rules must be such that they
 * judge flows, not packets (lib/rules.c), and as with learned flows, nothing may have changed since.
 *
 * Who is dropped as a stranger is not, once somebody inside has spoken to him: whatever
 * leaves ends the word about what answers it.
 */
#ifndef LADON_DROPPED_H
#define LADON_DROPPED_H

#include "bytes.h"
#include "learn.h"

#define DROPPED_FLOWS 16384
#define DROPPED_MS    250

/* include/net/dst.h: no route at all: DST_FAKE_RTABLE (a bridge's), and DST_METADATA (a tunnel's) */
#define DST_NO_ROUTE (0x10 | 0x80)

/* Of each direction for itself: here the kernel may throw out what it likes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DROPPED_FLOWS);
	__type(key, struct ladon_learned_key);
	__type(value, struct ladon_dropped);
} ladon_dropped SEC(".maps");

/* When one was written last; 0: never. Longer ago than DROPPED_MS, nobody need look. */
static volatile __u32 dropped_last_ms;

/* flow_now_ms() is not for tracepoints: this clock is ahead of it: LEARN_AHEAD_MS */
static __always_inline __u32 dropped_now_ms(void)
{
	return bpf_ktime_get_ns() / 1000000;
}

static __always_inline bool dropped_is_recent(__u32 since_ms)
{
	return flow_now_ms() + LEARN_AHEAD_MS - since_ms < DROPPED_MS + LEARN_AHEAD_MS;
}

static __always_inline bool dropped_are_any(void)
{
	return dropped_last_ms && dropped_is_recent(dropped_last_ms);
}

/** dropped_counts() - is there a word about this direction, and does it still count? */
static __always_inline bool dropped_counts(const ctx_t *ctx, const struct ladon_learned_key *key,
					   bool is_ip6)
{
	const struct ladon_dropped *dropped;
	__u32 generation;

	if (!dropped_are_any())
		return false;
	dropped = bpf_map_lookup_elem(&ladon_dropped, key);
	return dropped && dropped_is_recent(dropped->since_ms) &&
	       learned_generation(ctx, is_ip6, &generation) && dropped->generation == generation;
}

/**
 * dropped_again() - the firewall drops its flow: need it not see the packet?
 * @p: as learned_pass() has left it
 */
static __always_inline bool dropped_again(const ctx_t *ctx, const struct passing *p)
{
	return LADON_VIA_IFINDEX(p->key.via) && !ctx->mark &&
	       dropped_counts(ctx, &p->key, p->is_ip6);
}

/** dropped_forget() - a packet leaves: what answers it is no stranger's any more */
static __always_inline void dropped_forget(ctx_t *ctx)
{
	struct ladon_learned_key answer;
	struct passing p = {};

	if (!dropped_are_any() || !passing_parse(ctx, &p))
		return;
	__builtin_memcpy(answer.saddr, p.key.daddr, sizeof(answer.saddr));
	__builtin_memcpy(answer.daddr, p.key.saddr, sizeof(answer.daddr));
	answer.sport = p.key.dport;
	answer.dport = p.key.sport;
	answer.via = LADON_VIA(ctx->ifindex, p.key.via);
	bpf_map_delete_elem(&ladon_dropped, &answer);
}

/* Would it have been forwarded? */
static __always_inline bool dropped_on_its_way(const struct sk_buff *skb)
{
	const struct dst_entry *dst;

	if (!skb_route_at(skb))
		return false;
	dst = kernel_cast(skb_route_at(skb), struct dst_entry);
	return !(dst->flags & DST_NO_ROUTE) &&
	       !(dst->dev->flags & DEVICE_LOOPBACK) && /* routes to this host lead there */
	       skb->skb_iif && (__u32)skb->skb_iif <= LADON_VIA_IFINDEX_MAX;
}

/* As it is now. Return: its protocol; 0: it has options, or is a fragment */
static __always_inline __u32 dropped_parse(const struct sk_buff *skb, bool *is_ip6,
					   struct ladon_learned_key *key)
{
	const unsigned char *at = skb->head + skb->network_header;
	__u32 ports = 0, protocol;
	struct ipv6hdr ip6 = {};
	struct iphdr ip4 = {};

	bpf_probe_read_kernel(&ip4, sizeof(ip4), at);
	*is_ip6 = ip4.version == 6;
	if (*is_ip6) {
		bpf_probe_read_kernel(&ip6, sizeof(ip6), at);
		__builtin_memcpy(key->saddr, &ip6.saddr, sizeof(key->saddr));
		__builtin_memcpy(key->daddr, &ip6.daddr, sizeof(key->daddr));
		protocol = ip6.nexthdr;
		at += sizeof(ip6);
	} else {
		if (*(__u8 *)&ip4 != 0x45 ||
		    ip4.frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_OFFSET_MASK))
			return 0;
		key->saddr[2] = key->daddr[2] = bpf_htonl(0xffff);
		key->saddr[3] = ip4.saddr;
		key->daddr[3] = ip4.daddr;
		protocol = ip4.protocol;
		at += sizeof(ip4);
	}
	bpf_probe_read_kernel(&ports, sizeof(ports), at);
	__builtin_memcpy(&key->sport, &ports, sizeof(ports));
	return protocol;
}

/*
 * How packets of its direction arrive. Return: its protocol; 0: that is not known
 *
 * An ICMP error has the entry of the connection that it is about, and packets with extension headers that of
 * those without. What the firewall says to such is no word about the flow.
 */
static __always_inline __u32 dropped_key(const struct ladon_accelerate *how,
					 const struct sk_buff *skb, bool *is_ip6,
					 struct ladon_learned_key *key)
{
	const struct nf_conntrack_tuple *tuple;
	struct conntrack ct;
	__u32 protocol;

	if (!bpf_core_field_exists(skb->_nfct))
		return 0;
	protocol = dropped_parse(skb, is_ip6, key);
	if (!skb_conntrack_at(skb))
		return learn_is_spared_conntrack(how, skb) ? protocol : 0;
	conntrack_find(skb_conntrack_at(skb), &ct);
	if (conntrack_needs_all((const void *)ct.at))
		return 0;
	tuple = (skb->_nfct & CT_POINTER_BITS) >= CT_REPLY ? &ct.reply->tuple : &ct.original->tuple;
	if (tuple->dst.protonum != protocol ||
	    (ct.original->tuple.src.l3num == FAMILY_IP6) != *is_ip6)
		return 0;
	learn_key(tuple, *is_ip6, key);
	return protocol;
}

/** dropped_note() - netfilter drops a packet */
static __always_inline void dropped_note(const struct sk_buff *skb)
{
	struct net *net = skb->dev->nd_net.net;
	struct ladon_dropped dropped = { .since_ms = dropped_now_ms() };
	const struct ladon_accelerate *how;
	struct ladon_learned_key key = {};
	__u32 zero = 0, in = skb->skb_iif, protocol;
	bool is_ip6 = false;

	if ((unsigned long)net != learned_net)
		return;
	how = bpf_map_lookup_elem(&ladon_accelerate, &zero);
	if (!how || !(how->what & LADON_ACCELERATE_DROPS) || !kernel_rules_are(net, how->judged) ||
	    !dropped_on_its_way(skb))
		return;
	protocol = dropped_key(how, skb, &is_ip6, &key);
	key.via = LADON_VIA(in, protocol);
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    !learn_is_wanted(how, in, in, protocol == IPPROTO_TCP) ||
	    learn_spares(how, &key, &key, skb->mark) || young_counted(table_spot(&key).hash) < how->packets)
		return;
	dropped.generation = learned_generation_of(net, is_ip6);
	if (!learn_is_settled(dropped.generation, is_ip6, dropped.since_ms))
		return;
	dropped_last_ms = dropped.since_ms;
	bpf_map_update_elem(&ladon_dropped, &key, &dropped, BPF_ANY);
}

#endif
