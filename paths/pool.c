// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - backends that serve the same thing, and which of them is next
 *
 * A lock per pool guards the turn, one per backend (backend.c) its addresses; they
 * are held for one walk over the backends, or for one copy, and never across a call
 * that could wait.
 */
#include "pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pool {
	const struct config_pool *config;
	pthread_mutex_t lock;
	unsigned int turn; /* where the next walk begins */
	unsigned int len;
	struct backend *backends[]; /* held */
};

/* ---- pools ---- */

static bool pool_has(const struct pool *pool, const struct backend *backend)
{
	for (unsigned int i = 0; i < pool->len; i++)
		if (pool->backends[i] == backend)
			return true;
	return false;
}

/*
 * The backend of the same text that @pool does not have yet: a text may be
 * written twice. @at: where the last one was found; most lists keep their order.
 */
static struct backend *backend_inherit(const struct pool *pool, const struct pool *former,
				       const char *text, unsigned int *at)
{
	for (unsigned int i = 0; former && i < former->len; i++) {
		unsigned int next = (*at + i) % former->len;
		struct backend *backend = former->backends[next];

		if (strcmp(backend->config->text, text) != 0 || pool_has(pool, backend))
			continue;
		*at = next + 1;
		backend_hold(backend);
		return backend;
	}
	return NULL;
}

static unsigned int pool_turn(struct pool *pool)
{
	unsigned int turn;

	pthread_mutex_lock(&pool->lock);
	turn = pool->turn;
	pthread_mutex_unlock(&pool->lock);
	return turn;
}

struct pool *pool_new(const struct config_pool *config, struct pool *former)
{
	struct pool *pool =
		calloc(1, sizeof(*pool) + config->backends_len * sizeof(*pool->backends));
	unsigned int at = 0;

	if (!pool)
		return NULL;
	pool->config = config;
	pthread_mutex_init(&pool->lock, NULL);
	if (former)
		pool->turn = pool_turn(former) % config->backends_len;
	for (unsigned int i = 0; i < config->backends_len; i++) {
		const struct config_backend *wanted = &config->backends[i];
		struct backend *backend = backend_inherit(pool, former, wanted->text, &at);

		if (!backend)
			backend = backend_new(wanted, config->name);
		if (!backend) {
			pool_free(pool);
			return NULL;
		}
		pool->backends[pool->len++] = backend;
	}
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	for (unsigned int i = 0; i < pool->len; i++)
		backend_drop(pool->backends[i]);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

const char *pool_name(const struct pool *pool)
{
	return pool->config->name;
}

unsigned int pool_backends(const struct pool *pool)
{
	return pool->len;
}

struct backend *pool_backend(struct pool *pool, unsigned int index)
{
	assert(index < pool->len);
	return pool->backends[index];
}

/* ---- picking ---- */

static unsigned int times_tried(const struct pool_tries *tries, const struct backend *backend)
{
	unsigned int times = 0;

	for (unsigned int i = 0; i < tries->len; i++)
		times += tries->tried[i] == backend;
	return times;
}

/*
 * The first in turn, or the first of those with the fewest flows, among the
 * backends that were tried @times times and have more addresses than that.
 * The turn goes on after the one that is picked: equals take turns too.
 */
static struct backend *pick(struct pool *pool, const struct pool_tries *tries, unsigned int times,
			    uint64_t now_ms)
{
	struct backend *best = NULL;
	unsigned int turn = pool->turn;
	uint64_t best_flows = 0;

	for (unsigned int i = 0; i < pool->len; i++) {
		unsigned int at = (turn + i) % pool->len;
		struct backend *backend = pool->backends[at];
		uint64_t flows = atomic_load(&backend->flows);

		if (!backend_is_valid(backend, now_ms) || backend->addrs_len <= times ||
		    times_tried(tries, backend) != times)
			continue;
		if (best && flows >= best_flows)
			continue;
		best = backend;
		best_flows = flows;
		pool->turn = (at + 1) % pool->len;
		if (pool->config->policy == POOL_ROUND_ROBIN)
			break;
	}
	return best;
}

struct backend *pool_pick(struct pool *pool, struct pool_tries *tries, uint64_t now_ms,
			  struct addr *out)
{
	struct backend *backend = NULL;

	if (tries->len == POOL_TRIES_MAX)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	for (unsigned int times = 0; !backend && times <= tries->len; times++)
		backend = pick(pool, tries, times, now_ms);
	if (backend) {
		*out = backend_next_addr(backend);
		backend_take(backend);
	}
	pthread_mutex_unlock(&pool->lock);
	if (backend)
		tries->tried[tries->len++] = backend;
	return backend;
}

struct backend *pool_requested(struct pool *pool)
{
	return pool->backends[0]->config->requested ? pool->backends[0] : NULL;
}

struct backend *pool_find(struct pool *pool, const struct addr *addr)
{
	for (unsigned int i = 0; i < pool->len; i++)
		if (backend_has(pool->backends[i], addr))
			return pool->backends[i];
	return NULL;
}
