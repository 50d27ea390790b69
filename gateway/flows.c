// SPDX-License-Identifier: GPL-2.0-only
#include "flows.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

struct flows {
	struct gateway *gateway;
	pthread_mutex_t lock;	/* ends are told by two threads, and each takes from a count */
	struct backend **fixed; /* backends by number, sorted by address */
	unsigned int fixed_len;
	struct backend **named; /* backends by name: their addresses change */
	unsigned int named_len;
};

/* ---- the index ---- */

static int address_compare(const struct addr *a, const struct addr *b)
{
	uint32_t x[4], y[4];
	int order;

	addr_to_16(a, x);
	addr_to_16(b, y);
	order = memcmp(x, y, sizeof(x));
	return order ? order : (int)addr_port(a) - (int)addr_port(b);
}

static int fixed_compare(const void *a, const void *b)
{
	const struct backend *const *x = a, *const *y = b;

	return address_compare(&(*x)->config->addr, &(*y)->config->addr);
}

static void index_add(struct flows *flows, struct pool *pool)
{
	for (unsigned int i = 0; i < pool_backends(pool); i++) {
		struct backend *backend = pool_backend(pool, i);

		if (backend->config->host)
			flows->named[flows->named_len++] = backend;
		else
			flows->fixed[flows->fixed_len++] = backend;
	}
}

struct flows *flows_new(struct gateway *gateway)
{
	struct flows *flows = calloc(1, sizeof(*flows));
	unsigned int len = 0;

	if (!flows)
		return NULL;
	flows->gateway = gateway;
	pthread_mutex_init(&flows->lock, NULL);
	for (unsigned int i = 0; i < gateway->config->pools_len; i++)
		len += pool_backends(gateway->pools[i]);
	flows->fixed = calloc(len, sizeof(struct backend *));
	flows->named = calloc(len, sizeof(struct backend *));
	if (!flows->fixed || !flows->named) {
		flows_free(flows);
		return NULL;
	}
	for (unsigned int i = 0; i < gateway->config->pools_len; i++)
		index_add(flows, gateway->pools[i]);
	qsort(flows->fixed, flows->fixed_len, sizeof(struct backend *), fixed_compare);
	return flows;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	pthread_mutex_destroy(&flows->lock);
	free(flows->fixed);
	free(flows->named);
	free(flows);
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
	unsigned int low = 0, high = flows->fixed_len;

	while (low < high) { /* the first that is not smaller */
		unsigned int middle = low + (high - low) / 2;

		if (address_compare(&flows->fixed[middle]->config->addr, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < flows->fixed_len; low++) {
		if (address_compare(&flows->fixed[low]->config->addr, addr) != 0)
			break;
		found = busier(found, flows->fixed[low]);
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

	for (unsigned int i = 0; i < flows->named_len; i++)
		if (backend_has_now(flows->named[i], addr))
			found = busier(found, flows->named[i]);
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

	for (unsigned int i = 0; i < flows->named_len; i++)
		found = busier(found, flows->named[i]);
	return found;
}

/* ---- beginnings and ends ---- */

static int adopt_one(void *arg, const struct ladon_flow *flow)
{
	struct backend *backend;

	if (flow->state == LADON_FLOW_KILLED)
		return 0; /* its end was told to who killed it */
	backend = flow_backend(arg, flow);
	if (backend) {
		atomic_fetch_add(&backend->flows, 1);
		atomic_fetch_add(&backend->flows_handed_off, 1);
	}
	return 0;
}

void flows_adopt(struct flows *flows)
{
	ladon_flow_each(flows->gateway->ladon, adopt_one, flows);
}

static void debug_end(const struct ladon_flow *flow, enum ladon_end why)
{
	static const char *const words[] = {
		[LADON_END_FIN] = "closed",
		[LADON_END_RESET] = "reset",
		[LADON_END_IDLE] = "idle",
		[LADON_END_KILLED] = "killed",
	};
	char client[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];
	struct addr from, to;

	if (log_level_max < LOG_LEVEL_DEBUG || addr_from(&flow->client.sa, &from) < 0 ||
	    addr_from(&flow->backend.sa, &to) < 0)
		return;
	log_debug("flow %u: %s%s: %s to %s, %" PRIu64 " bytes in, %" PRIu64 " out", flow->id,
		  words[why], flow->by_client ? " by the client" : "", addr_format(&from, client),
		  addr_format(&to, backend), flow->bytes_in, flow->bytes_out);
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
