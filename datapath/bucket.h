/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bucket.h - the table of learned flows: who has which place; for both sides
 *
 * Of a million flows none is in a cache, and what a look-up costs is the lines that it must read, one after the other.
 * The kernel's hash map reads five, in three pages. Here an entry is two, side by side, key and all, and most are where
 * their key says: nothing else need be read then.
 *
 * A key has a bucket, of 32 places, and a tag, which are 16 bits of its hash. It has the place that the tag names, or, if
 * that was another's, some other in the bucket: a line of tags says which. If the bucket is full, or has the tag already,
 * the key gets none, and nobody searches on. Most packets that have no entry read neither, as
 * long as entries are few: a filter counts how many there are of a tag in all buckets.
 *
 * Who looks takes no lock. Who writes owns a place by making its tag BUSY, and only then changes it: fills it, and the
 * key's last word last, or takes that word away first. Who looks may hold an entry that another CPU deletes, so a place that
 * has become free is left alone for BUCKET_REST_MS: until then it stays as it was, but for the key. Nobody reads half of
 * another's, unless a CPU stands still for that long with a packet in its hands.
 *
 * Two CPUs that do not see each other may put in the same key, or two with one tag. Then one of the places counts, and the
 * other is cleared away when nobody has used it for a while.
 */
#ifndef LADON_BUCKET_H
#define LADON_BUCKET_H

#include <stddef.h>

#include "abi.h"
#include "bytes.h"

#define BUCKET_REST_MS 1000

/* ladon_tags.of: else it is a key's */
enum {
	BUCKET_FREE,
	BUCKET_BUSY,
	BUCKET_TAG_MIN
};

/* Tags that stand in one word, which is what is changed at once */
#define BUCKET_WORD 4

/* Who reads the clock may be late to use it: a place may seem to become free in the future. */
#define BUCKET_AHEAD_MS 10000

/**
 * struct spot - where a key has its place, if it has one
 * @hash: of all of the key
 */
struct spot {
	__u64 hash;
	__u32 bucket;
	__u32 tag;
};

/**
 * struct bucket - the parts of one: pointers into the maps, or into this process's memory
 * @filter: of all buckets
 */
struct bucket {
	struct ladon_filter *filter;
	struct ladon_tags *tags;
	struct ladon_entries *entries;
};

/**
 * spot_of() - by a secret number, or who chooses addresses could choose buckets, too
 * @secret: odd
 */
static __always_inline struct spot spot_of(const struct ladon_learned_key *key, __u64 secret,
					   __u32 buckets)
{
	const word64_t *words = (const void *)key;
	struct spot spot = { .hash = secret };

	for (unsigned int i = 0; i < sizeof(*key) / sizeof(*words); i++) {
		spot.hash = (spot.hash ^ words[i]) * secret;
		spot.hash ^= spot.hash >> 32; /* multiplication carries upwards only */
	}
	spot.bucket = (spot.hash >> 32) * buckets >> 32;
	spot.tag = (__u16)spot.hash;
	if (spot.tag < BUCKET_TAG_MIN)
		spot.tag += BUCKET_TAG_MIN;
	return spot;
}

/* The verifier would follow each of all places to the end of the program: so it is made to know nothing of one. */
static __always_inline __u32 bucket_any(__u32 place, __u32 tag)
{
	place ^= tag;
	__asm__ volatile("" : "+r"(place));
	return place ^ tag;
}

/* The same number in each of a word's tags */
#define BUCKET_EACH(tag) ((tag)*0x0001000100010001ULL)

/* Return: the highest bit of each tag of a word that is 0, and perhaps of some above the lowest of these; 0: none is */
static __always_inline __u64 bucket_zeros(__u64 word)
{
	return (word - BUCKET_EACH(1)) & ~word & BUCKET_EACH(0x8000);
}

/* Of the four tags of a word: which, counted from the lowest bits, and the other way round */
static __always_inline __u32 bucket_lane(__u32 at)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? at : BUCKET_WORD - 1 - at;
}

/* Of the lowest of those bits: whose it is */
static __always_inline __u32 bucket_lowest(__u64 zeros)
{
	__u64 first = (zeros & -zeros) >> 15; /* one of the bits 0, 16, 32 and 48 */

	return bucket_lane(first * 0x0000000100020003ULL >> 48);
}

/**
 * bucket_place() - Return: where a tag stands; LADON_PLACES: it does not
 *
 * Four tags at once, in a loop: a new flow's packet finds neither in the processor's caches, and code in a row is more
 * of them.
 */
static __always_inline __u32 bucket_place(const struct ladon_tags *tags, __u32 tag)
{
	__u64 each = BUCKET_EACH((__u64)tag), zeros;

#pragma GCC unroll 1
	for (__u32 i = 0; i < LADON_PLACES / BUCKET_WORD; i++) {
		zeros = bucket_zeros(*(const volatile __u64 *)&tags->words[i] ^ each);
		if (zeros)
			return bucket_any(i * BUCKET_WORD + bucket_lowest(zeros), tag);
	}
	return LADON_PLACES;
}

/* So is the filter the same size for few entries and many: 64 KB, some of which is always at hand. */
static __always_inline __u32 filter_at(__u32 tag)
{
	return tag / 2 % (sizeof(struct ladon_filter) / sizeof(__u16));
}

/** filter_may_have() - Return: false: no bucket has the tag */
static __always_inline bool filter_may_have(const struct ladon_filter *filter, __u32 tag)
{
	return *(const volatile __u16 *)&filter->of[filter_at(tag)];
}

/* One more; or, as @one is -1, one less. 65,535 are more than all tables have of two tags. */
static __always_inline void filter_count(struct ladon_filter *filter, __u32 tag, __u32 one)
{
	bool is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
	__u32 at = filter_at(tag), shift = at % 2 == is_little ? 16 : 0;

	__sync_fetch_and_add(&filter->words[at / 2], one << shift);
}

/*
 * What follows is read later than what precedes. x86 reads in order. BPF has no load for that before Linux 6.15, but an
 * atomic operation that returns something orders all that is around it (Documentation/atomic_t.txt).
 */
static __always_inline void bucket_order_reads(void)
{
#ifndef __bpf__
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
#elif defined(__TARGET_ARCH_x86)
	__asm__ volatile("" ::: "memory");
#else
	__u64 nobodys = 0;

	__sync_lock_test_and_set(&nobodys, 1);
#endif
}

static __always_inline bool bucket_is_of(const struct ladon_learned *learned,
					 const struct ladon_learned_key *key)
{
	const word64_t *is = (const void *)&learned->key, *want = (const void *)key;
	int i = sizeof(*key) / sizeof(*is) - 1;

	if (*(const volatile word64_t *)&is[i] != want[i]) /* it is written last */
		return false;
	bucket_order_reads();
	while (i-- > 0)
		if (*(const volatile word64_t *)&is[i] != want[i])
			return false;
	return true;
}

/** bucket_find() - Return: the key's entry, and its place; NULL: it has none */
static __always_inline struct ladon_learned *bucket_find(const struct bucket *bucket,
							 const struct ladon_learned_key *key,
							 __u32 tag, __u32 *place)
{
	struct ladon_learned *learned;

	*place = tag % LADON_PLACES;
	learned = &bucket->entries->of[*place];
	if (bucket_is_of(learned, key))
		return learned;
	*place = bucket_place(bucket->tags, tag);
	if (*place >= LADON_PLACES)
		return NULL;
	learned = &bucket->entries->of[*place];
	return bucket_is_of(learned, key) ? learned : NULL;
}

/* Make of a tag another. Return: false: it is not the first any more */
static __always_inline bool bucket_turn(struct ladon_tags *tags, __u32 place, __u32 from, __u32 to)
{
	__u32 shift = 16 * bucket_lane(place % BUCKET_WORD);
	__u64 *word = &tags->words[place / BUCKET_WORD % (LADON_PLACES / BUCKET_WORD)], was, is;

#pragma GCC unroll 1
	for (int i = 0; i < 32; i++) { /* others change their own tags meanwhile */
		was = *(volatile __u64 *)word;
		if ((__u16)(was >> shift) != from)
			return false;
		is = was ^ (__u64)(from ^ to) << shift;
		if (__sync_val_compare_and_swap(word, was, is) == was)
			return true;
	}
	return false;
}

/* Of one that is free: can nobody be looking at what it was? */
static __always_inline bool bucket_has_rested(const struct bucket *bucket, __u32 place,
					      __u32 now_ms)
{
	__u32 since_ms = *(const volatile __u32 *)&bucket->entries->of[place].confirmed_ms;

	return now_ms + BUCKET_AHEAD_MS - since_ms >= BUCKET_REST_MS + BUCKET_AHEAD_MS;
}

static __always_inline bool bucket_is_free(const struct bucket *bucket, __u32 place, __u32 now_ms)
{
	return *(const volatile __u16 *)&bucket->tags->of[place] == BUCKET_FREE &&
	       bucket_has_rested(bucket, place, now_ms);
}

/** bucket_room() - Return: the place that a tag may have; LADON_PLACES: it is another key's, or the bucket is full */
static __always_inline __u32 bucket_room(const struct bucket *bucket, __u32 tag, __u32 now_ms)
{
	__u32 place = tag % LADON_PLACES;

	if (bucket_place(bucket->tags, tag) < LADON_PLACES)
		return LADON_PLACES;
	if (bucket_is_free(bucket, place, now_ms))
		return place;
	for (place = 0; place < LADON_PLACES; place++)
		if (bucket_is_free(bucket, place, now_ms))
			break;
	return bucket_any(place, tag);
}

/**
 * bucket_claim() - a place for one that bucket_find() did not find
 *
 * Return: false: there is no room for it, or another CPU was faster. Else the entry is the caller's to write, but
 * for the key, and bucket_publish() is to follow.
 */
static __always_inline bool bucket_claim(const struct bucket *bucket, __u32 tag, __u32 now_ms,
					 __u32 *place)
{
	*place = bucket_room(bucket, tag, now_ms);
	if (*place >= LADON_PLACES || !bucket_turn(bucket->tags, *place, BUCKET_FREE, BUCKET_BUSY))
		return false;
	if (bucket_has_rested(bucket, *place, now_ms))
		return true;
	bucket_turn(bucket->tags, *place, BUCKET_BUSY, BUCKET_FREE); /* it was used in between */
	return false;
}

/** bucket_publish() - from here on it is found. Its .key.via is 0, as long as it is nobody's */
static __always_inline void bucket_publish(const struct bucket *bucket,
					   const struct ladon_learned_key *key, __u32 tag,
					   __u32 place)
{
	struct ladon_learned *learned = &bucket->entries->of[place];

	__builtin_memcpy(&learned->key, key, offsetof(struct ladon_learned_key, via));
	filter_count(bucket->filter, tag, 1);
	bucket_turn(bucket->tags, place, BUCKET_BUSY, tag); /* orders what was written before it */
	__sync_fetch_and_or(&learned->key.via, key->via);
}

/**
 * bucket_take() - from here on a key is not found
 *
 * Return: false: it was not there, or another CPU was faster. Else bucket_free() is to follow.
 */
static __always_inline bool bucket_take(const struct bucket *bucket,
					const struct ladon_learned_key *key, __u32 tag,
					__u32 *place)
{
	struct ladon_learned *learned;

	*place = bucket_place(bucket->tags, tag);
	if (*place >= LADON_PLACES)
		return false;
	learned = &bucket->entries->of[*place];
	if (!bucket_is_of(learned, key) || !bucket_turn(bucket->tags, *place, tag, BUCKET_BUSY))
		return false;
	*(volatile __u32 *)&learned->key.via = 0;
	filter_count(bucket->filter, tag, -1);
	return true;
}

/** bucket_free() - @now_ms: read after bucket_take() */
static __always_inline void bucket_free(const struct bucket *bucket, __u32 place, __u32 now_ms)
{
	bucket->entries->of[place].confirmed_ms = now_ms;
	bucket_turn(bucket->tags, place, BUCKET_BUSY, BUCKET_FREE);
}

#endif
