// SPDX-License-Identifier: GPL-2.0-only
#include "ring.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "turn.h"

/*
 * Slots, the largest primes below powers of two, and up to how many members they are for: a
 * hundred each, so that their shares are alike (Maglev, section 5.3). Steps are few and wide,
 * since whoever passes one finds all keys elsewhere. Within one, when a member leaves, so many of
 * the keys that were not its own move, too, or when one joins, of those that it does not get (bench/ring.c;
 * mean and most, of equals):
 *
 *	  10 members	0.6 %	1.3 %
 *	 100 members	1.4 %	2.6 %
 *	1000 members	0.6 %	0.6 %
 */
static const struct size {
	unsigned int members;
	uint32_t slots;
} sizes[] = { { 160, 16381 }, { 1300, 131071 }, { UINT16_MAX, 1048573 } };

#define NOBODY UINT16_MAX

/* A member while the table is filled */
struct filler {
	uint32_t next; /* slot of its own order */
	uint32_t skip;
	uint32_t weight;
	uint16_t index;
};

/* Finalizer of MurmurHash3 */
uint64_t ring_mix(uint64_t number)
{
	number ^= number >> 33;
	number *= UINT64_C(0xff51afd7ed558ccd);
	number ^= number >> 33;
	number *= UINT64_C(0xc4ceb9fe1a85ec53);
	return number ^ number >> 33;
}

uint64_t ring_hash(uint64_t seed, const void *bytes, size_t len)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ seed;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
	return ring_mix(hash);
}

static uint32_t slots_for(unsigned int members)
{
	const struct size *size = sizes;

	while (size->members < members)
		size++;
	return size->slots;
}

static int member_compare(const void *left, const void *right)
{
	const struct ring_member *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	if (order)
		return order;
	return a->weight == b->weight ? a->index - b->index : a->weight < b->weight ? -1 : 1;
}

/* @occurrence: the how manieth of this name it is */
static void filler_init(struct filler *filler, const struct ring_member *member,
			unsigned int occurrence, uint32_t slots)
{
	uint64_t hash = ring_hash(occurrence, member->name, strlen(member->name));

	*filler = (struct filler){
		.next = (uint32_t)(hash % slots),
		.skip = (uint32_t)(ring_mix(hash + 1) % (slots - 1) + 1),
		.weight = member->weight,
		.index = member->index,
	};
}

static void filler_take(struct filler *filler, struct ring *ring)
{
	uint32_t slot;

	do {
		slot = filler->next;
		filler->next = (uint32_t)(((uint64_t)slot + filler->skip) % ring->len);
	} while (ring->slots[slot] != NOBODY);
	ring->slots[slot] = filler->index;
}

static uint64_t share(const struct filler *filler)
{
	return (uint64_t)filler->weight * TURN_SHARE;
}

/* Turns by weight: each slot costs log @len, however unlike the weights are. */
static void ring_fill(struct ring *ring, struct filler *fillers, struct turn *turns,
		      unsigned int len)
{
	struct line line = { .turns = turns };

	for (unsigned int i = 0; i < len; i++)
		line_join(&line, i, 0, share(&fillers[i]), i, len);
	line_order(&line);
	for (uint32_t left = ring->len; left > 0; left--) {
		struct filler *filler = &fillers[line.turns[0].index];

		filler_take(filler, ring);
		line_take(&line, 0, share(filler));
	}
}

struct ring *ring_new(struct ring_member *members, unsigned int len)
{
	uint32_t slots = slots_for(len);
	struct ring *ring = malloc(sizeof(*ring) + slots * sizeof(ring->slots[0]));
	_free_ struct filler *fillers = calloc(len, sizeof(*fillers));
	_free_ struct turn *turns = calloc(len, sizeof(*turns));

	if (!ring || !fillers || !turns) {
		free(ring);
		return NULL;
	}
	ring->len = slots;
	memset(ring->slots, 0xff, slots * sizeof(ring->slots[0])); /* NOBODY */
	qsort(members, len, sizeof(*members), member_compare);
	for (unsigned int i = 0, occurrence = 0; i < len; i++) {
		bool again = i > 0 && strcmp(members[i].name, members[i - 1].name) == 0;

		occurrence = again ? occurrence + 1 : 0;
		filler_init(&fillers[i], &members[i], occurrence, slots);
	}
	ring_fill(ring, fillers, turns, len);
	return ring;
}

void ring_free(struct ring *ring)
{
	free(ring);
}
