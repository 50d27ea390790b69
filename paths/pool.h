/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - backends that serve the same thing, and which of them is next
 *
 * Thread-safe: every worker picks from the same pools. A backend given by name
 * has as many addresses as its last look-up said (paths/resolve.c). Backends that
 * are not valid (backend.h) are passed over.
 *
 * A pool lives as long as its configuration; a backend may outlive both.
 */
#ifndef LADON_POOL_H
#define LADON_POOL_H

#include "roster.h"

#define POOL_TRIES_MAX 8 /* backends that one connection tries */

struct pool;

/* What one connection has tried already. Zero it before the first pool_pick(), but for the key. */
struct pool_tries {
	uint64_t key; /* pool_key() */
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

const char *pool_name(const struct pool *pool);
const struct config_pool *pool_config(const struct pool *pool);

/**
 * pool_prepare() - a source of the pool says something else
 *
 * Connections go on with those that the pool has, until pool_commit() or pool_abandon();
 * pool_backend() and pool_backends() go by the new ones from now on. One thread at a time may change a
 * pool: who holds gateway->changing.
 *
 * Return: 0; -EALREADY: it said so before; -E2BIG: too many backends; -ENOMEM.
 */
int pool_prepare(struct pool *pool, const struct sourced *sourced);
void pool_commit(struct pool *pool);
void pool_abandon(struct pool *pool);

/** pool_source_failed() - how often the source could not be asked, until now; 0: it was. From any thread */
void pool_source_failed(struct pool *pool, const struct sourced *sourced);
unsigned int pool_source_failures(const struct pool *pool, unsigned int entry);

/** pool_backends(), pool_backend() - for who may change the pool; others use pool_roster() */
unsigned int pool_backends(const struct pool *pool);
struct backend *pool_backend(struct pool *pool, unsigned int index);

/** pool_is_told() - has each source said once whom it stands for? As pool_backends() */
bool pool_is_told(const struct pool *pool);

/** pool_roster() - who is in it now; roster_drop() it */
struct roster *pool_roster(struct pool *pool);

/**
 * pool_pick() - the backend that is next by the pool's policy, without those tried
 * @now_ms: CLOCK_MONOTONIC
 * @out: its address
 *
 * A backend given by name is tried again, with its next address, when all the
 * others have been tried, but no more often than it has addresses.
 *
 * Counts .chosen and .flows, and remembers the backend in @tries. The caller
 * gives it back with backend_release() when the flow has ended or the connect
 * has failed.
 *
 * When nobody is valid because checks and connects have found all wanting, they may
 * be wrong, and to be refused is worse than to wait: all of these are used, but for
 * sick ones of a pool whose flows are reset when a backend is down.
 *
 * Return: NULL when no backend is left to try.
 */
struct backend *pool_pick(struct pool *pool, struct pool_tries *tries, uint64_t now_ms,
			  struct addr *out);

/**
 * pool_key() - what the policy hash goes by
 * @source: its port does not count
 * @name: in lower case; "": unknown
 */
uint64_t pool_key(const struct pool *pool, const struct addr *source, const char *name);

/* What keeps new connections from a backend, the first that is true */
enum pool_state {
	POOL_STATE_UP,	    /* nothing */
	POOL_STATE_UNKNOWN, /* it has no address yet */
	POOL_STATE_DRAIN,
	POOL_STATE_DOWN,
	POOL_STATE_SICK,
	POOL_STATE_EJECTED,
	POOL_STATE_FULL,
	POOL_STATES,
};
enum pool_state member_state(const struct member *member, uint64_t now_ms);

/* Why pool_pick() had nobody, of a connection that has tried nobody */
enum pool_lack {
	POOL_LACKS_ADDRESS, /* no name has been looked up with success */
	POOL_LACKS_VALID,   /* all are down, draining, or sick for certain */
	POOL_LACKS_ROOM,    /* all have as many flows as they may */
};
enum pool_lack pool_lack(struct pool *pool, uint64_t now_ms);

/**
 * pool_failed() - a connect to this backend of the pool has failed; counts it
 * Return: for how long it is ejected because of that, ms; 0: it is not
 */
uint64_t pool_failed(struct pool *pool, struct backend *backend, uint64_t now_ms);

/** pool_panicked() - how often a backend was chosen for want of a valid one */
uint64_t pool_panicked(const struct pool *pool);

/** pool_requested() - the backend that stands for whatever a client asks for; NULL: not such a pool */
struct backend *pool_requested(struct pool *pool);

/** pool_find() - the backend with this address, or NULL; not held: to tell whether there is one */
struct backend *pool_find(struct pool *pool, const struct addr *addr);

#endif
