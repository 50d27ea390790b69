/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - backends that serve the same thing, and which of them is next
 *
 * Thread-safe: every worker picks from the same pools. Counters are atomic and
 * read without a lock. A backend given by name has as many addresses as its
 * last look-up said (paths/resolve.c); a backend none of whose names has been
 * resolved yet is passed over.
 */
#ifndef LADON_POOL_H
#define LADON_POOL_H

#include <stdatomic.h>
#include <stdint.h>

#include "../base/addr.h"
#include "../gateway/config.h"

#define POOL_ADDRS_MAX 16 /* addresses of one name that are used */
#define POOL_TRIES_MAX 8  /* backends that one connection tries */

struct backend {
	const struct config_backend *config;
	struct pool *pool;
	atomic_uint_fast64_t flows;	/* live now: relayed and handed off */
	atomic_uint_fast64_t flows_handed_off; /* ... of which libladon will say when they end */
	atomic_uint_fast64_t chosen;	/* ever */
	atomic_uint_fast64_t failed;	/* connects that failed */
	atomic_uint_fast64_t handed_off;
	atomic_uint_fast64_t relayed;
	/* under the pool's lock */
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int addrs_len;
	unsigned int next_addr;
};

struct pool;

/* What one connection has tried already. Zero it before the first pool_pick(). */
struct pool_tries {
	const struct backend *tried[POOL_TRIES_MAX];
	unsigned int len;
};

/** pool_new() - NULL: no memory. @config must outlive the pool */
struct pool *pool_new(const struct config_pool *config);
void pool_free(struct pool *pool);

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

/** backend_release() - one live flow less */
void backend_release(struct backend *backend);

/** backend_set_addrs() - what a look-up found; an empty answer keeps the old one */
void backend_set_addrs(struct backend *backend, const struct addr *addrs, unsigned int len);

/** backend_addrs() - copy what is known now. Return: how many, at most POOL_ADDRS_MAX */
unsigned int backend_addrs(struct backend *backend, struct addr *out);

/** pool_find() - the backend with this address, or NULL. For flows that a former daemon made */
struct backend *pool_find(struct pool *pool, const struct addr *addr);

#endif
