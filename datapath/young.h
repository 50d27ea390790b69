/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * young.h - how often packets of a flow that was not learned have come
 *
 * Few packets make a flow worth an entry, and most flows have few: they are counted where they come in, and cost
 * nothing where they leave. A flow's count stands in one of two places that the lower part of its hash names;
 * the upper part tells flows apart. Of those that have the same places the less counted one is forgotten.
 */
#ifndef LADON_YOUNG_H
#define LADON_YOUNG_H

#include "abi.h"

#define YOUNG_PLACES 16384

/* A power of two: a count that has reached its end goes round the last so many. */
#define YOUNG_AGAIN 64

static volatile __u32 young_counts[YOUNG_PLACES];

/* Return: its place, or the one that it is to have. @hash: of the key, see bucket.h. @tag: its upper part */
static __always_inline __u32 young_place(__u32 hash, __u32 *tag)
{
	__u32 at = hash % YOUNG_PLACES, other = at ^ 1;

	*tag = hash & ~0xff;
	if ((young_counts[other] & ~0xff) == *tag ||
	    ((young_counts[at] & ~0xff) != *tag &&
	     (young_counts[other] & 0xff) < (young_counts[at] & 0xff)))
		at = other;
	return at;
}

/** young_count() - one more. Return: its packets so far, this one included; from 255 on as YOUNG_AGAIN says */
static __always_inline __u32 young_count(__u32 hash)
{
	__u32 tag, at = young_place(hash, &tag), count = 1;

	if ((young_counts[at] & ~0xff) == tag) {
		count = (young_counts[at] & 0xff) + 1;
		if (count > 0xff)
			count = 0x100 - YOUNG_AGAIN;
	}
	young_counts[at] = tag | count;
	return count;
}

/** young_counted() - Return: what young_count() has returned last; 0: it is not known any more */
static __always_inline __u32 young_counted(__u32 hash)
{
	__u32 tag, at = young_place(hash, &tag), count = young_counts[at];

	return (count & ~0xff) == tag ? count & 0xff : 0;
}

#endif
