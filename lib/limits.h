/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * limits.h - how long flows may be silent, and when their ends are probed
 *
 * A flow keeps the limits that it was made with, whatever becomes of the process and of
 * the configuration. Its entries have room for a byte only: the number of a set in the
 * pinned map ladon_limits, which all flows with the same limits share. A set that no
 * flow has any more makes room for another one; who finds out is the walk through the
 * table (flows.c).
 */
#ifndef LADON_LIMITS_H
#define LADON_LIMITS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../datapath/abi.h"

struct ladon;
struct ladon_handoff;

/**
 * struct limits - the sets, as they are in the map
 * @sets: [0] is what flows have that have none: the handle's defaults
 * @used_ms: when a set was given to a flow, or found in use
 * @walked_ms: when the last walk began that has come to its end
 */
struct limits {
	pthread_mutex_t lock; /* over all of it */
	struct ladon_limits sets[LADON_LIMITS];
	uint64_t used_ms[LADON_LIMITS];
	uint64_t walked_ms;
	bool full; /* it was said */
};

/** limits_open() - read what is pinned. Return: 0 or a negative errno */
int limits_open(struct ladon *ladon);
void limits_close(struct ladon *ladon);

/** limits_take() - the number of the set that a handoff asks for; 0 if there is no room for one more */
uint32_t limits_take(struct ladon *ladon, const struct ladon_handoff *how);

/** limits_copy() - all sets as they are now. Flows that were read before have no others */
void limits_copy(struct ladon *ladon, struct ladon_limits out[LADON_LIMITS]);

/** limits_of() - the set of a flow, from such a copy */
static inline const struct ladon_limits *limits_of(const struct ladon_limits sets[LADON_LIMITS],
						   const struct ladon_entry *flow)
{
	return &sets[LADON_STATE_LIMITS_OF(flow->state)];
}

/**
 * limits_walked() - a walk through the whole table has ended
 * @began_ms: when it began
 * @found: of each set, whether a flow has it
 */
void limits_walked(struct ladon *ladon, uint64_t began_ms, const bool found[LADON_LIMITS]);

#endif
