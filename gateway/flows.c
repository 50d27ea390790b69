// SPDX-License-Identifier: GPL-2.0-only
#include "flows.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "setup.h"

/* All are held. */
struct index {
	struct backend **fixed; /* backends by number, sorted by address */
	unsigned int fixed_len;
	struct backend **named; /* backends by name, whose addresses change, and requested ones */
	unsigned int named_len;
};

struct flows {
	struct gateway *gateway;
	pthread_mutex_t lock; /* ends are told by two threads, and each takes from a count */
	struct index index;   /* under the lock */
};

/* ---- the index ---- */

static int fixed_compare(const void *a, const void *b)
{
	const struct backend *const *x = a, *const *y = b;

	return addr_compare(&(*x)->config->addr, &(*y)->config->addr);
}

static void index_fini(struct index *index)
{
	for (unsigned int i = 0; i < index->fixed_len; i++)
		backend_drop(index->fixed[i]);
	for (unsigned int i = 0; i < index->named_len; i++)
		backend_drop(index->named[i]);
	free(index->fixed);
	free(index->named);
}

static void index_add(struct index *index, struct backend *backend)
{
	backend_hold(backend);
	backend->indexed = true;
	if (backend->config->host || backend->config->requested)
		index->named[index->named_len++] = backend;
	else
		index->fixed[index->fixed_len++] = backend;
}

/* What was added from the setup already is left out, and what nobody can have a flow to. */
static void index_add_former(struct index *index, struct backend *const *former, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		struct backend *backend = former[i];

		if (!backend->indexed &&
		    (atomic_load(&backend->flows) || atomic_load(&backend->holders) > 1))
			index_add(index, backend);
	}
}

static void index_unmark(struct backend *const *backends, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		backends[i]->indexed = false;
}

static unsigned int setup_backends(const struct setup *setup)
{
	unsigned int len = 0;

	for (unsigned int i = 0; i < setup->config->pools_len; i++)
		len += pool_backends(setup->pools[i]);
	return len;
}

/* Those of the setup, and removed ones whose flows or connections may still come to an end. */
static int index_init(struct index *index, const struct setup *setup, const struct index *former)
{
	unsigned int len = setup_backends(setup) + former->fixed_len + former->named_len;

	*index = (struct index){ .fixed = calloc(len, sizeof(struct backend *)),
				 .named = calloc(len, sizeof(struct backend *)) };
	if (!index->fixed || !index->named) {
		index_fini(index);
		return -ENOMEM;
	}
	index_unmark(former->fixed, former->fixed_len);
	index_unmark(former->named, former->named_len);
	for (unsigned int i = 0; i < setup->config->pools_len; i++)
		for (unsigned int j = 0; j < pool_backends(setup->pools[i]); j++)
			index_add(index, pool_backend(setup->pools[i], j));
	index_add_former(index, former->fixed, former->fixed_len);
	index_add_former(index, former->named, former->named_len);
	qsort(index->fixed, index->fixed_len, sizeof(struct backend *), fixed_compare);
	return 0;
}

struct flows *flows_new(struct gateway *gateway)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->gateway = gateway;
	pthread_mutex_init(&flows->lock, NULL);
	return flows;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	pthread_mutex_destroy(&flows->lock);
	index_fini(&flows->index);
	free(flows);
}

int flows_follow(struct flows *flows, const struct setup *setup)
{
	struct index next, former;
	int rc;

	pthread_mutex_lock(&flows->lock);
	former = flows->index;
	rc = index_init(&next, setup, &former);
	if (rc == 0)
		flows->index = next;
	pthread_mutex_unlock(&flows->lock);
	if (rc == 0)
		index_fini(&former);
	return rc;
}

/* ---- look-up ---- */

static struct backend *busier(struct backend *a, struct backend *b)
{
	if (!a || !b)
		return a ? a : b;
	return atomic_load(&b->flows_handed_off) > atomic_load(&a->flows_handed_off) ? b : a;
}

static struct backend *find_fixed(const struct flows *flows, const struct addr *addr)
{
	struct backend *found = NULL;
	unsigned int low = 0, high = flows->index.fixed_len;

	while (low < high) { /* the first that is not smaller */
		unsigned int middle = low + (high - low) / 2;

		if (addr_compare(&flows->index.fixed[middle]->config->addr, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < flows->index.fixed_len; low++) {
		if (addr_compare(&flows->index.fixed[low]->config->addr, addr) != 0)
			break;
		found = busier(found, flows->index.fixed[low]);
	}
	return found;
}

static bool backend_has_now(struct backend *backend, const struct addr *addr)
{
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int len = backend_addrs(backend, addrs);

	for (unsigned int i = 0; i < len; i++)
		if (addr_equal(&addrs[i], addr))
			return true;
	return false;
}

static struct backend *find_named(const struct flows *flows, const struct addr *addr)
{
	struct backend *found = NULL;

	for (unsigned int i = 0; i < flows->index.named_len; i++)
		if (backend_has_now(flows->index.named[i], addr))
			found = busier(found, flows->index.named[i]);
	return found;
}

static struct backend *flow_backend(const struct flows *flows, const struct ladon_flow *flow)
{
	struct addr addr;

	if (addr_from(&flow->backend.sa, &addr) < 0)
		return NULL;
	return busier(find_fixed(flows, &addr), find_named(flows, &addr));
}

/* A flow that ends at an address that nobody has: the name had another when it began. */
static struct backend *busiest_named(const struct flows *flows)
{
	struct backend *found = NULL;

	for (unsigned int i = 0; i < flows->index.named_len; i++)
		found = busier(found, flows->index.named[i]);
	return found;
}

void flows_backend_each(struct flows *flows, void (*fn)(void *arg, const struct addr *), void *arg)
{
	struct addr addrs[POOL_ADDRS_MAX];

	pthread_mutex_lock(&flows->lock);
	for (unsigned int i = 0; i < flows->index.fixed_len; i++)
		fn(arg, &flows->index.fixed[i]->config->addr);
	for (unsigned int i = 0; i < flows->index.named_len; i++) {
		unsigned int len = backend_addrs(flows->index.named[i], addrs);

		for (unsigned int a = 0; a < len; a++)
			fn(arg, &addrs[a]);
	}
	pthread_mutex_unlock(&flows->lock);
}

/* ---- beginnings and ends ---- */

static int adopt_one(void *arg, const struct ladon_flow *flow)
{
	struct flows *flows = arg;
	struct backend *backend;

	if (flow->state == LADON_FLOW_KILLED)
		return 0; /* its end was told to who killed it */
	pthread_mutex_lock(&flows->lock);
	backend = flow_backend(flows, flow);
	if (backend) {
		atomic_fetch_add(&backend->flows, 1);
		atomic_fetch_add(&backend->flows_handed_off, 1);
	}
	pthread_mutex_unlock(&flows->lock);
	return 0;
}

void flows_adopt(struct flows *flows)
{
	ladon_flow_each(flows->gateway->ladon, adopt_one, flows);
}

const char *flows_end_word(enum ladon_end why)
{
	static const char *const words[] = {
		[LADON_END_FIN] = "closed", [LADON_END_RESET] = "reset",
		[LADON_END_IDLE] = "idle",  [LADON_END_KILLED] = "killed",
		[LADON_END_DEAD] = "dead",
	};

	return words[why];
}

static void debug_end(const struct ladon_flow *flow, enum ladon_end why)
{
	char client[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];
	struct addr from, to;

	if (log_level_max < LOG_LEVEL_DEBUG || addr_from(&flow->client.sa, &from) < 0 ||
	    addr_from(&flow->backend.sa, &to) < 0)
		return;
	log_debug("flow %u: %s%s: %s to %s, %" PRIu64 " bytes in, %" PRIu64 " out", flow->id,
		  flows_end_word(why), flow->by_client ? " by the client" : "",
		  addr_format(&from, client), addr_format(&to, backend), flow->bytes_in,
		  flow->bytes_out);
}

void flows_ended(struct flows *flows, const struct ladon_flow *flow, enum ladon_end why)
{
	struct backend *backend;

	debug_end(flow, why);
	pthread_mutex_lock(&flows->lock);
	backend = flow_backend(flows, flow);
	if (!backend || !atomic_load(&backend->flows_handed_off))
		backend = busiest_named(flows);
	if (backend && atomic_load(&backend->flows_handed_off)) {
		atomic_fetch_sub(&backend->flows_handed_off, 1);
		backend_release(backend);
	}
	pthread_mutex_unlock(&flows->lock);
}

struct killing {
	struct ladon *ladon;
	int killed;
};

static int kill_one(void *arg, const struct ladon_flow *flow)
{
	struct killing *killing = arg;

	killing->killed += ladon_flow_kill(killing->ladon, flow) == 0;
	return 0;
}

int flows_kill(struct gateway *gateway)
{
	struct killing killing = { .ladon = gateway->ladon };
	int rc = ladon_flow_each(gateway->ladon, kill_one, &killing);

	return rc < 0 ? rc : killing.killed;
}
