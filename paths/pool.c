// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - backends that serve the same thing, and which of them is next
 *
 * A lock per pool guards the turn and the addresses; it is held for one walk
 * over the backends and never across a call that could wait.
 */
#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct pool {
	const struct config_pool *config;
	pthread_mutex_t lock;
	unsigned int turn; /* where the next walk begins */
	unsigned int len;
	struct backend backends[];
};

static void backend_init(struct backend *backend, struct pool *pool,
			 const struct config_backend *config)
{
	backend->config = config;
	backend->pool = pool;
	if (config->host)
		return; /* resolve.c says where it is */
	backend->addrs[0] = config->addr;
	backend->addrs_len = 1;
}

struct pool *pool_new(const struct config_pool *config)
{
	struct pool *pool =
		calloc(1, sizeof(*pool) + config->backends_len * sizeof(*pool->backends));

	if (!pool)
		return NULL;
	pool->config = config;
	pool->len = config->backends_len;
	pthread_mutex_init(&pool->lock, NULL);
	for (unsigned int i = 0; i < pool->len; i++)
		backend_init(&pool->backends[i], pool, &config->backends[i]);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
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
	return &pool->backends[index];
}

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
static struct backend *pick(struct pool *pool, const struct pool_tries *tries, unsigned int times)
{
	struct backend *best = NULL;
	uint64_t best_flows = 0;

	for (unsigned int i = 0; i < pool->len; i++) {
		struct backend *backend = &pool->backends[(pool->turn + i) % pool->len];
		uint64_t flows = atomic_load(&backend->flows);

		if (backend->addrs_len <= times || times_tried(tries, backend) != times)
			continue;
		if (best && flows >= best_flows)
			continue;
		best = backend;
		best_flows = flows;
		if (pool->config->policy == POOL_ROUND_ROBIN)
			break;
	}
	if (best)
		pool->turn = (unsigned int)(best - pool->backends + 1) % pool->len;
	return best;
}

struct backend *pool_pick(struct pool *pool, struct pool_tries *tries, struct addr *out)
{
	struct backend *backend = NULL;

	if (tries->len == POOL_TRIES_MAX)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	for (unsigned int times = 0; !backend && times <= tries->len; times++)
		backend = pick(pool, tries, times);
	if (backend) {
		*out = backend->addrs[backend->next_addr++ % backend->addrs_len];
		atomic_fetch_add(&backend->chosen, 1);
		atomic_fetch_add(&backend->flows, 1);
	}
	pthread_mutex_unlock(&pool->lock);
	if (backend)
		tries->tried[tries->len++] = backend;
	return backend;
}

void backend_release(struct backend *backend)
{
	uint64_t flows = atomic_fetch_sub(&backend->flows, 1);

	assert(flows > 0);
	(void)flows;
}

void backend_set_addrs(struct backend *backend, const struct addr *addrs, unsigned int len)
{
	if (len == 0)
		return;
	if (len > POOL_ADDRS_MAX)
		len = POOL_ADDRS_MAX;
	pthread_mutex_lock(&backend->pool->lock);
	memcpy(backend->addrs, addrs, len * sizeof(*addrs));
	backend->addrs_len = len;
	pthread_mutex_unlock(&backend->pool->lock);
}

unsigned int backend_addrs(struct backend *backend, struct addr *out)
{
	unsigned int len;

	pthread_mutex_lock(&backend->pool->lock);
	len = backend->addrs_len;
	memcpy(out, backend->addrs, len * sizeof(*out));
	pthread_mutex_unlock(&backend->pool->lock);
	return len;
}

static bool backend_has(const struct backend *backend, const struct addr *addr)
{
	for (unsigned int i = 0; i < backend->addrs_len; i++)
		if (addr_equal(&backend->addrs[i], addr))
			return true;
	return false;
}

struct backend *pool_find(struct pool *pool, const struct addr *addr)
{
	struct backend *found = NULL;

	pthread_mutex_lock(&pool->lock);
	for (unsigned int i = 0; !found && i < pool->len; i++)
		if (backend_has(&pool->backends[i], addr))
			found = &pool->backends[i];
	pthread_mutex_unlock(&pool->lock);
	return found;
}
