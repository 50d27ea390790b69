/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * resolve.h - backends by name: looked up on a thread of its own, again and again
 *
 * getaddrinfo(3) blocks, so nobody but this thread calls it. It tells no TTL;
 * names are asked for every RESOLVE_PERIOD_S seconds, after a failure every
 * RESOLVE_RETRY_S. A failed look-up keeps the addresses known so far and is
 * said once, and once more when the name comes back.
 */
#ifndef LADON_RESOLVE_H
#define LADON_RESOLVE_H

#include "pool.h"

#define RESOLVE_PERIOD_S 30
#define RESOLVE_RETRY_S 2

struct names;
struct resolver;

/** names_new() - the backends of these pools that have a name. NULL: out of memory */
struct names *names_new(struct pool *const *pools, unsigned int len);

/** names_free() - of names that no resolver took; NULL is fine */
void names_free(struct names *names);

/** resolver_start() - with nothing to look up. Return: 0 or a negative errno */
int resolver_start(struct resolver **out);

/**
 * resolver_use() - look these up from now on, and no others
 * @names: taken over
 *
 * New ones are looked up at once, in the background; those that were known
 * are when it is their turn.
 */
void resolver_use(struct resolver *resolver, struct names *names);

/** resolver_stop() - NULL is fine; waits for a look-up that is under way */
void resolver_stop(struct resolver *resolver);

#endif
