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

struct resolver;

/**
 * resolver_start() - first look-ups begin at once, in the background
 * Return: 0 or a negative errno; 0 and *out == NULL when no backend has a name.
 */
int resolver_start(struct pool *const *pools, unsigned int len, struct resolver **out);

/** resolver_stop() - NULL is fine; waits for a look-up that is under way */
void resolver_stop(struct resolver *resolver);

#endif
