// SPDX-License-Identifier: GPL-2.0-only
#include "setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

/* ---- holders ---- */

static void listeners_free(const struct setup *setup, struct share *share)
{
	for (unsigned int l = 0; share->listeners && l < setup->config->listeners_len; l++)
		listener_close(&share->listeners[l]);
	free(share->listeners);
}

/* Sockets are open in there only if it was never in force. */
static void setup_free(struct setup *setup)
{
	const struct config *config = setup->config;

	for (unsigned int w = 0; setup->shares && w < setup->gateway->workers_len; w++)
		listeners_free(setup, &setup->shares[w]);
	for (unsigned int l = 0; setup->tallies && l < config->listeners_len; l++)
		tally_drop(&setup->gateway->tallies, setup->tallies[l]);
	for (unsigned int l = 0; setup->routes && l < config->listeners_len; l++)
		route_table_free(setup->routes[l]);
	for (unsigned int p = 0; setup->pools && p < config->pools_len; p++)
		pool_free(setup->pools[p]);
	free(setup->shares);
	free(setup->tallies);
	free(setup->routes);
	free(setup->pools);
	free(setup);
}

void setup_hold(struct setup *setup)
{
	atomic_fetch_add(&setup->holders, 1);
}

void setup_drop(struct setup *setup)
{
	struct config *config = setup->config;

	if (atomic_fetch_sub(&setup->holders, 1) > 1)
		return;
	setup_free(setup);
	config_free(config);
}

struct setup *setup_current(struct gateway *gateway)
{
	struct setup *setup;

	pthread_mutex_lock(&gateway->lock);
	setup = gateway->setup;
	setup_hold(setup);
	pthread_mutex_unlock(&gateway->lock);
	return setup;
}

void share_drop(struct share *share)
{
	if (--share->users == 0)
		setup_drop(share->setup);
}

static void share_leave(struct task *task)
{
	share_drop(container_of(task, struct share, leaving));
}

/* ---- listeners ---- */

static bool addr_same(const struct setup *a, unsigned int i, const struct setup *b, unsigned int j)
{
	return addr_equal(&a->config->listeners[i].addr, &b->config->listeners[j].addr);
}

/*
 * The listener of @former with the same address. @at: behind the one that was
 * found last; most files keep their order. Return: its index, or listeners_len.
 */
static unsigned int former_find(const struct setup *setup, unsigned int l,
				const struct setup *former, unsigned int *at)
{
	unsigned int len = former ? former->config->listeners_len : 0;

	for (unsigned int i = 0; i < len; i++) {
		unsigned int next = (*at + i) % len;

		if (!addr_same(setup, l, former, next))
			continue;
		*at = next + 1;
		return next;
	}
	return len;
}

/* Does @former listen where @addr can be had only beside it: there, a wildcard is one of them? */
static bool former_is_beside(const struct setup *former, const struct addr *addr)
{
	for (unsigned int l = 0; former && l < former->config->listeners_len; l++) {
		const struct addr *other = &former->config->listeners[l].addr;

		if (other->sa.sa_family == addr->sa.sa_family &&
		    addr_port(other) == addr_port(addr) &&
		    (addr_is_any(other) || addr_is_any(addr)))
			return true;
	}
	return false;
}

static int bind_one(struct setup *setup, unsigned int l, const struct setup *former)
{
	for (unsigned int w = 0; w < setup->gateway->workers_len; w++) {
		struct listener *listener = &setup->shares[w].listeners[l];
		int rc = listener_bind(listener, w == 0);

		if (rc == -EADDRINUSE && w == 0 &&
		    former_is_beside(former, &listener->config->addr))
			rc = listener_bind(listener, false);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int listeners_bind(struct setup *setup, struct setup *former,
			  const struct config_listener **failed)
{
	unsigned int at = 0;

	for (unsigned int l = 0; l < setup->config->listeners_len; l++) {
		unsigned int f = former_find(setup, l, former, &at);
		int rc = 0;

		if (!former || f == former->config->listeners_len)
			rc = bind_one(setup, l, former);
		else
			for (unsigned int w = 0; w < setup->gateway->workers_len; w++)
				setup->shares[w].listeners[l].former =
					&former->shares[w].listeners[f];
		if (rc < 0) {
			*failed = &setup->config->listeners[l];
			return rc;
		}
	}
	return 0;
}

int setup_listen(struct setup *setup, const struct config_listener **failed)
{
	for (unsigned int w = 0; w < setup->gateway->workers_len; w++) {
		for (unsigned int l = 0; l < setup->config->listeners_len; l++) {
			struct listener *listener = &setup->shares[w].listeners[l];
			int rc = listener->former ? 0 : listener_listen(listener);

			if (rc < 0) {
				*failed = listener->config;
				return rc;
			}
		}
	}
	return 0;
}

/* ---- making one ---- */

static int tables_alloc(struct setup *setup)
{
	const struct config *config = setup->config;

	setup->pools = calloc(config->pools_len, sizeof(struct pool *));
	setup->routes = calloc(config->listeners_len, sizeof(struct route_table *));
	setup->tallies = calloc(config->listeners_len, sizeof(struct tally *));
	setup->shares = calloc(setup->gateway->workers_len, sizeof(struct share));
	return setup->pools && setup->routes && setup->tallies && setup->shares ? 0 : -ENOMEM;
}

/* @at: behind the one that was found last. Return: NULL if there is none of that name */
static struct pool *former_pool(const struct setup *former, const char *name, unsigned int *at)
{
	unsigned int len = former ? former->config->pools_len : 0;

	for (unsigned int i = 0; i < len; i++) {
		unsigned int next = (*at + i) % len;

		if (strcmp(former->config->pools[next].name, name) != 0)
			continue;
		*at = next + 1;
		return former->pools[next];
	}
	return NULL;
}

static int pools_fill(struct setup *setup, const struct setup *former)
{
	const struct config *config = setup->config;
	unsigned int at = 0;

	for (unsigned int p = 0; p < config->pools_len; p++) {
		struct pool *pool = former_pool(former, config->pools[p].name, &at);

		setup->pools[p] = pool_new(&config->pools[p], pool);
		if (!setup->pools[p])
			return -ENOMEM;
	}
	return 0;
}

static int listeners_fill(struct setup *setup)
{
	const struct config *config = setup->config;

	for (unsigned int l = 0; l < config->listeners_len; l++) {
		setup->routes[l] = route_table_new(&config->listeners[l]);
		setup->tallies[l] = tally_hold(&setup->gateway->tallies, &config->listeners[l].addr,
					       setup->gateway->workers_len);
		if (!setup->routes[l] || !setup->tallies[l])
			return -ENOMEM;
	}
	return 0;
}

static int share_fill(struct setup *setup, unsigned int w)
{
	unsigned int len = setup->config->listeners_len;
	struct share *share = &setup->shares[w];

	share->setup = setup;
	share->worker = setup->gateway->workers[w];
	share->leaving.run = share_leave;
	share->listeners = calloc(len, sizeof(*share->listeners));
	for (unsigned int l = 0; share->listeners && l < len; l++)
		listener_init(&share->listeners[l], share, l);
	return share->listeners ? 0 : -ENOMEM;
}

int setup_new(struct gateway *gateway, struct config *config, struct setup *former,
	      struct setup **out, const struct config_listener **failed)
{
	struct setup *setup = calloc(1, sizeof(*setup));
	int rc;

	*failed = NULL;
	if (!setup)
		return -ENOMEM;
	setup->gateway = gateway;
	setup->config = config;
	setup->holders = 1;
	rc = tables_alloc(setup);
	if (rc == 0)
		rc = pools_fill(setup, former);
	if (rc == 0)
		rc = listeners_fill(setup);
	for (unsigned int w = 0; rc == 0 && w < gateway->workers_len; w++)
		rc = share_fill(setup, w);
	if (rc == 0)
		rc = listeners_bind(setup, former, failed);
	if (rc < 0) {
		setup_free(setup);
		return rc;
	}
	*out = setup;
	return 0;
}

/* ---- in force ---- */

void setup_use(struct setup *setup)
{
	struct gateway *gateway = setup->gateway;
	struct setup *former;

	pthread_mutex_lock(&gateway->lock);
	former = gateway->setup;
	gateway->setup = setup;
	pthread_mutex_unlock(&gateway->lock);
	for (unsigned int w = 0; w < gateway->workers_len; w++) {
		setup_hold(setup);
		setup->shares[w].users = 1;
		worker_switch(gateway->workers[w], &setup->shares[w]);
	}
	workers_wait(gateway);
	if (former)
		setup_drop(former);
}
