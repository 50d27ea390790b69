/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * resolve.h - where the backends are that have a name: looked up again whenever an answer is over
 *
 * A thread with a loop of its own asks lookup.h, all names that are due at once, so that a slow one
 * holds up nobody. A name is asked for again when the least of its records has ended, RESOLVE_LEAST_MS
 * later at the earliest and LOOKUP_MOST_MS at the latest. A look-up that fails keeps the addresses known
 * so far, is said once, and once more when the name comes back; it is tried again after a second and in
 * growing pauses. Sources (source.h) are looked after by the same thread.
 */
#ifndef LADON_RESOLVE_H
#define LADON_RESOLVE_H

#include "pool.h"
#include "source.h"

#define RESOLVE_LEAST_MS 1000
#define RESOLVE_PAUSE_MS 30000 /* at most, after failures */

/** resolve_pause_ms() - until it is tried again, after @failures in a row and another one */
static inline uint64_t resolve_pause_ms(unsigned int failures)
{
	uint64_t pause_ms = (uint64_t)RESOLVE_LEAST_MS << (failures < 8 ? failures : 8);

	return pause_ms < RESOLVE_PAUSE_MS ? pause_ms : RESOLVE_PAUSE_MS;
}

struct names;
struct resolver;

/** names_new() - the backends of these pools that have a name, and their sources. NULL: out of memory */
struct names *names_new(struct pool *const *pools, unsigned int len);

/** names_free() - of names that no resolver took; NULL is fine */
void names_free(struct names *names);

/**
 * resolver_start() - with nothing to look up
 * @servers: as for lookups_new()
 * @changed: called with @arg, in the resolver's thread, when a source says something else
 *
 * Return: 0 or a negative errno.
 */
int resolver_start(const char *servers, source_changed_fn *changed, void *arg,
		   struct resolver **out);

/**
 * resolver_use() - look these up from now on, and no others
 * @names: taken over
 *
 * Does not wait. New ones are looked up at once; those that were known are when it is their turn.
 */
void resolver_use(struct resolver *resolver, struct names *names);

/** resolver_stop() - waits for no look-up; NULL is fine */
void resolver_stop(struct resolver *resolver);

#endif
