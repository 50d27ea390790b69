/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - backends that serve the same thing, and which of them is next
 *
 * Thread-safe: every worker picks from the same pools. Counters are atomic and
 * read without a lock. A backend given by name has as many addresses as its
 * last look-up said (paths/resolve.c); a backend none of whose names has been
 * resolved yet is passed over.
 *
 * A pool lives as long as its configuration. A backend may outlive both: the
 * pool that takes the old one's place at a reload holds it too, with all that
 * is known of it and counted.
 */
#ifndef LADON_POOL_H
#define LADON_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/addr.h"
#include "../gateway/config.h"

#define POOL_ADDRS_MAX 16 /* addresses of one name that are used */
#define POOL_TRIES_MAX 8  /* backends that one connection tries */

struct backend {
	const struct config_backend *config; /* a copy of its own */
	const char *pool;		     /* name of its pool */
	atomic_uint holders;		     /* pools, and whoever else called backend_hold() */
	atomic_uint_fast64_t flows;	/* live now: relayed and handed off */
	atomic_uint_fast64_t flows_handed_off; /* ... of which libladon will say when they end */
	atomic_uint_fast64_t chosen;	/* ever */
	atomic_uint_fast64_t failed;	/* connects that failed */
	atomic_uint_fast64_t handed_off;
	atomic_uint_fast64_t relayed;
	bool indexed;	       /* gateway/flows.c, under its lock */
	atomic_uint addrs_len; /* written under the lock */
	pthread_mutex_t lock;  /* over what follows */
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int next_addr;
};

struct pool;

/* What one connection has tried already. Zero it before the first pool_pick(). */
struct pool_tries {
	const struct backend *tried[POOL_TRIES_MAX];
	unsigned int len;
};

/**
 * pool_new() - with all backends of @config, which must outlive the pool
 * @former: whose place it takes: backends of the same text are shared, and the
 *	turn goes on; NULL: nobody's
 *
 * Return: NULL when out of memory.
 */
struct pool *pool_new(const struct config_pool *config, struct pool *former);
void pool_free(struct pool *pool);

/** backend_hold() - keep it beyond its pool, until backend_drop() */
void backend_hold(struct backend *backend);
void backend_drop(struct backend *backend);

const char *pool_name(const struct pool *pool);
unsigned int pool_backends(const struct pool *pool);
struct backend *pool_backend(struct pool *pool, unsigned int index);

/**
 * pool_pick() - the backend that is next by the pool's policy, without those tried
 * @out: its address
 *
 * A backend given by name is tried again, with its next address, when all the
 * others have been tried, but no more often than it has addresses.
 *
 * Counts .chosen and .flows, and remembers the backend in @tries. The caller
 * gives it back with backend_release() when the flow has ended or the connect
 * has failed.
 *
 * Return: NULL when no backend is left to try.
 */
struct backend *pool_pick(struct pool *pool, struct pool_tries *tries, struct addr *out);

/** pool_requested() - the backend that stands for whatever a client asks for; NULL: not such a pool */
struct backend *pool_requested(struct pool *pool);

/** backend_take() - one live flow more, as pool_pick() counts it */
void backend_take(struct backend *backend);

/** backend_release() - one live flow less */
void backend_release(struct backend *backend);

/** backend_set_addrs() - what a look-up found; an empty answer keeps the old one */
void backend_set_addrs(struct backend *backend, const struct addr *addrs, unsigned int len);

/** backend_addrs() - copy what is known now. Return: how many, at most POOL_ADDRS_MAX */
unsigned int backend_addrs(struct backend *backend, struct addr *out);

/** backend_has() - is this one of its addresses now? */
bool backend_has(struct backend *backend, const struct addr *addr);

/** pool_find() - the backend with this address, or NULL. For flows that a former daemon made */
struct backend *pool_find(struct pool *pool, const struct addr *addr);

#endif
