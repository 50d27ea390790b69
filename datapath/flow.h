/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flow.h - the flow table
 *
 * A connection is two entries, one per direction, each found by the addresses
 * and ports of a packet as it arrives. Either leads to the other, its twin: what
 * one direction's packets leave with is, reversed, what the other's arrive with.
 *
 * Never an LRU map: it would evict one entry of a pair, and the connection.
 * Preallocated, so that inserting cannot fail for want of memory and an entry
 * that is deleted while a packet uses it stays readable.
 */
#ifndef LADON_FLOW_H
#define LADON_FLOW_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* User space sets the real size before it loads the programs. */
#define FLOWS_MAX_DEFAULT 1024

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS_MAX_DEFAULT);
	__type(key, struct ladon_flow_key);
	__type(value, struct ladon_entry);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_flows SEC(".maps");

/* How many pairs are in the table: a hash map does not tell. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_live SEC(".maps");

static __always_inline struct ladon_entry *flow_find(const struct ladon_flow_key *key)
{
	return bpf_map_lookup_elem(&ladon_flows, key);
}

/** flow_twin_key() - the key of the entry of the other direction */
static __always_inline void flow_twin_key(const struct ladon_entry *flow,
					  struct ladon_flow_key *out)
{
	__builtin_memcpy(out->saddr, flow->daddr, sizeof(out->saddr));
	__builtin_memcpy(out->daddr, flow->saddr, sizeof(out->daddr));
	out->sport = flow->dport;
	out->dport = flow->sport;
}

/**
 * flow_twin() - the entry of the other direction
 *
 * Return: NULL if it is gone, or if those addresses and ports belong to another
 * flow by now.
 */
static __always_inline struct ladon_entry *flow_twin(const struct ladon_entry *flow)
{
	struct ladon_flow_key key;
	struct ladon_entry *twin;

	flow_twin_key(flow, &key);
	twin = flow_find(&key);
	return twin && twin->id == flow->id ? twin : NULL;
}

/** flow_release() - these holds (LADON_STATE_HOLD_*) end, in both directions */
static __always_inline void flow_release(struct ladon_entry *flow, __u32 holds)
{
	struct ladon_entry *twin = flow_twin(flow);

	__sync_fetch_and_and(&flow->state, ~holds);
	if (twin)
		__sync_fetch_and_and(&twin->state, ~holds);
}

/** flow_count() - a pair was added (1) or taken away (-1) */
static __always_inline void flow_count(__s64 change)
{
	__u32 zero = 0;
	__u64 *live = bpf_map_lookup_elem(&ladon_live, &zero);

	if (live)
		__sync_fetch_and_add(live, (__u64)change);
}

/**
 * flow_delete() - delete both entries
 * @key: of @flow, which must not be used any more afterwards
 *
 * Return: 0, or -ENOENT when another CPU was faster.
 */
static __always_inline long flow_delete(const struct ladon_flow_key *key,
					const struct ladon_entry *flow)
{
	struct ladon_flow_key twin;
	long err;

	flow_twin_key(flow, &twin);
	err = bpf_map_delete_elem(&ladon_flows, key);
	if (err)
		return err;
	bpf_map_delete_elem(&ladon_flows, &twin);
	flow_count(-1);
	return 0;
}

/* Jiffies and the milliseconds that were read in them, both truncated */
static volatile __u64 flow_clock;

/**
 * flow_now_ms() - the clock of .seen_ms and .made_ms: cheap, late by up to a jiffy
 *
 * The kernel is asked once in a jiffy: jiffies are read without a call, the
 * clock is not.
 */
static __always_inline __u32 flow_now_ms(void)
{
	__u64 last = flow_clock; /* both halves at once */
	__u32 jiffies = bpf_jiffies64();
	__u32 now_ms;

	if (last >> 32 == jiffies)
		return last;
	now_ms = bpf_ktime_get_coarse_ns() / 1000000;
	flow_clock = (__u64)jiffies << 32 | now_ms;
	return now_ms;
}

#endif
