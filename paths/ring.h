/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring.h - consistent hashing: who gets which keys, and as few as possible move
 *
 * Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): each member goes
 * through all slots in an order of its own and takes the next free one when it
 * is its turn; heavier ones have more turns. A look-up is one access.
 *
 * The table is made once, of all members, also of those that cannot be used
 * now; who meets one of these looks a second time, in another slot, and so on. Each
 * key has its own way through the table: that spreads the keys of such a member over
 * all the others, by weight, and moves no other key, where a table made anew would move
 * some of everybody's. It costs no work when a backend comes or goes, and is the same
 * for every worker and daemon that knows the same file.
 *
 * It depends on the members' names and weights only, not on their order. The
 * hash has no secret in it, for the same reason: who can choose names or addresses
 * can choose a backend.
 */
#ifndef LADON_RING_H
#define LADON_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring_member {
	const char *name; /* several may have the same */
	uint32_t weight;
	uint16_t index; /* what the table says */
};

struct ring {
	uint32_t len; /* a prime */
	uint16_t slots[];
};

/** ring_new() - @members is put into another order. @len: 1 to 65535. NULL: out of memory */
struct ring *ring_new(struct ring_member *members, unsigned int len);
void ring_free(struct ring *ring);

/** ring_mix() - another number for each number, without a pattern */
uint64_t ring_mix(uint64_t number);

/** ring_find() - whom @key meets at the @step'th look, from 0. Return: ring_member.index */
static inline unsigned int ring_find(const struct ring *ring, uint64_t key, uint64_t step)
{
	return ring->slots[(step ? ring_mix(key + step) : key) % ring->len];
}

/** ring_hash() - FNV-1a with its bits mixed once more */
uint64_t ring_hash(uint64_t seed, const void *bytes, size_t len);

#endif
