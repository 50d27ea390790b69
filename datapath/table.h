/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * table.h - the table of learned flows, as programs use it; bucket.h says how it is made
 *
 * Arrays, so that the verifier puts a look-up's few instructions where a call would be.
 */
#ifndef LADON_TABLE_H
#define LADON_TABLE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bucket.h"
#include "ctx.h"
#include "flow.h"

/*
 * User space sets the real sizes before it loads the programs, and reads and clears all but the last as its own memory:
 * such maps begin at a page, so a bucket's tags begin at a line, and so do entries.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ladon_filter);
} ladon_learned_filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ladon_tags);
} ladon_learned_tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ladon_entries);
} ladon_learned_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ladon_learned_marks);
} ladon_learned_marks SEC(".maps");

const volatile __u64 table_secret = 1;
const volatile __u32 table_buckets = 1;

/** table_spot() - where a key would be */
static __always_inline struct spot table_spot(const struct ladon_learned_key *key)
{
	return spot_of(key, table_secret, table_buckets);
}

/* Return: false: never */
static __always_inline bool table_bucket(const struct spot *spot, struct bucket *out)
{
	__u32 zero = 0;

	out->filter = bpf_map_lookup_elem(&ladon_learned_filter, &zero);
	out->tags = bpf_map_lookup_elem(&ladon_learned_tags, &spot->bucket);
	out->entries = bpf_map_lookup_elem(&ladon_learned_flows, &spot->bucket);
	return out->filter && out->tags && out->entries;
}

/** table_find() - Return: an entry, and its place; NULL: there is none */
static __always_inline struct ladon_learned *table_find(const struct ladon_learned_key *key,
							const struct spot *spot, __u32 *place)
{
	struct bucket bucket;

	if (!table_bucket(spot, &bucket) || !filter_may_have(bucket.filter, spot->tag))
		return NULL;
	return bucket_find(&bucket, key, spot->tag, place);
}

/** table_marks() - of an entry that was found, or is being made. Return: NULL: never */
static __always_inline struct ladon_marks *table_marks(const struct spot *spot, __u32 place)
{
	struct ladon_learned_marks *marks;

	marks = bpf_map_lookup_elem(&ladon_learned_marks, &spot->bucket);
	if (!marks)
		return NULL;
	barrier_var(marks); /* or clang adds to it before it asks */
	return &marks->of[place % LADON_PLACES];
}

/** table_has_room() - for one that table_find() did not find */
static __always_inline bool table_has_room(const struct spot *spot, __u32 now_ms)
{
	struct bucket bucket;

	return table_bucket(spot, &bucket) &&
	       bucket_room(&bucket, spot->tag, now_ms) < LADON_PLACES;
}

/** table_claim() - a place for one that table_find() did not find: see bucket_claim() */
static __always_inline bool table_claim(const struct spot *spot, __u32 now_ms,
					struct bucket *bucket, __u32 *place)
{
	return table_bucket(spot, bucket) && bucket_claim(bucket, spot->tag, now_ms, place);
}

/**
 * table_delete() - all of a key that there is: two CPUs may have put it in
 *
 * A global function: the verifier follows it once, and not for each way that leads here, and it has a stack of its own.
 */
ctx_global int table_delete(const struct ladon_learned_key *key)
{
	struct bucket bucket;
	struct spot spot;
	__u32 place;

	if (!key)
		return 0; /* never, but the verifier does not know */
	spot = table_spot(key);
	if (!table_bucket(&spot, &bucket))
		return 0;
#pragma GCC unroll 1
	for (int i = 0; i < 4 && bucket_take(&bucket, key, spot.tag, &place); i++)
		bucket_free(&bucket, place, flow_now_ms());
	return 0;
}

#endif
