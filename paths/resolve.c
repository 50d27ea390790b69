// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - backends by name: looked up on a thread of its own, again and again
 *
 * One thread asks for one name after the other, always the one that is due
 * first, and sleeps on a condition until then: resolver_use() and
 * resolver_stop() wake it. While it asks, the list may be exchanged: it works
 * on a copy, and holds the backend.
 */
#include "resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"

struct name {
	struct backend *backend; /* held */
	struct timespec due;	 /* CLOCK_MONOTONIC; zero: never asked for */
	bool failed;		 /* last time */
};

struct names {
	unsigned int len;
	struct name list[];
};

struct resolver {
	pthread_t thread;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t wake;
	bool stopping;
	struct names *names;
};

/* ---- one look-up ---- */

/* Copy an answer, each address once. Return: how many */
static unsigned int answer_copy(const struct addrinfo *answer, uint16_t port, struct addr *out)
{
	unsigned int len = 0;

	for (const struct addrinfo *ai = answer; ai && len < POOL_ADDRS_MAX; ai = ai->ai_next) {
		unsigned int i;

		if (addr_from(ai->ai_addr, &out[len]) < 0)
			continue;
		addr_set_port(&out[len], port);
		for (i = 0; i < len && !addr_equal(&out[i], &out[len]); i++)
			;
		len += i == len;
	}
	return len;
}

static void say_failed(const struct name *name, const char *why)
{
	struct addr known[POOL_ADDRS_MAX];

	log_warn("resolve: %s: pool %s: %s; keeping %u known addresses, asking every %d s",
		 name->backend->config->host, name->backend->pool, why,
		 backend_addrs(name->backend, known), RESOLVE_RETRY_S);
}

static void say_found(const struct name *name, const struct addr *first, unsigned int len)
{
	const struct backend *backend = name->backend;
	char text[ADDR_TEXT_MAX];

	addr_format(first, text);
	if (name->failed)
		log_info("resolve: %s: pool %s: found again: %s, %u addresses",
			 backend->config->host, backend->pool, text, len);
	else
		log_debug("resolve: %s: pool %s: %s, %u addresses", backend->config->host,
			  backend->pool, text, len);
}

/* No AI_ADDRCONFIG: it hides IPv6 on a host whose only IPv6 address is loopback's. */
static void name_look_up(struct name *name)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	const struct config_backend *config = name->backend->config;
	struct addr addrs[POOL_ADDRS_MAX];
	struct addrinfo *answer = NULL;
	int rc = getaddrinfo(config->host, NULL, &hints, &answer);
	unsigned int len = rc ? 0 : answer_copy(answer, config->port, addrs);

	if (len)
		say_found(name, &addrs[0], len);
	else if (!name->failed)
		say_failed(name, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	backend_set_addrs(name->backend, addrs, len);
	name->failed = len == 0;
	if (rc == 0)
		freeaddrinfo(answer);
	clock_gettime(CLOCK_MONOTONIC, &name->due);
	name->due.tv_sec += name->failed ? RESOLVE_RETRY_S : RESOLVE_PERIOD_S;
}

/* ---- the thread ---- */

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* NULL: there are none */
static struct name *name_next(struct names *names)
{
	struct name *next = NULL;

	for (unsigned int i = 0; names && i < names->len; i++)
		if (!next || is_before(&names->list[i].due, &next->due))
			next = &names->list[i];
	return next;
}

/* @at: where to begin to look; afterwards the place behind. NULL: it is not there */
static struct name *name_find(struct names *names, const struct backend *backend, unsigned int *at)
{
	for (unsigned int i = 0; names && i < names->len; i++) {
		unsigned int next = (*at + i) % names->len;

		if (names->list[next].backend != backend)
			continue;
		*at = next + 1;
		return &names->list[next];
	}
	return NULL;
}

/* With the lock held, but for the look-up itself */
static void resolver_ask(struct resolver *resolver, struct name name)
{
	unsigned int at = 0;
	struct name *known;

	backend_hold(name.backend);
	pthread_mutex_unlock(&resolver->lock);
	name_look_up(&name);
	pthread_mutex_lock(&resolver->lock);
	known = name_find(resolver->names, name.backend, &at);
	if (known)
		*known = name;
	backend_drop(name.backend);
}

static void *resolver_run(void *arg)
{
	struct resolver *resolver = arg;

	pthread_mutex_lock(&resolver->lock);
	while (!resolver->stopping) {
		const struct name *name = name_next(resolver->names);

		if (!name)
			pthread_cond_wait(&resolver->wake, &resolver->lock);
		else if (pthread_cond_timedwait(&resolver->wake, &resolver->lock, &name->due) ==
			 ETIMEDOUT)
			resolver_ask(resolver, *name);
	}
	pthread_mutex_unlock(&resolver->lock);
	return NULL;
}

/* ---- names ---- */

/* Collect the backends that have a name. Return: how many; @names may be NULL, to count */
static unsigned int names_collect(struct pool *const *pools, unsigned int len, struct name *names)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < len; i++) {
		for (unsigned int j = 0; j < pool_backends(pools[i]); j++) {
			struct backend *backend = pool_backend(pools[i], j);

			if (!backend->config->host)
				continue;
			if (names) {
				backend_hold(backend);
				names[found].backend = backend;
			}
			found++;
		}
	}
	return found;
}

struct names *names_new(struct pool *const *pools, unsigned int len)
{
	unsigned int count = names_collect(pools, len, NULL);
	struct names *names = calloc(1, sizeof(*names) + count * sizeof(*names->list));

	if (names)
		names->len = names_collect(pools, len, names->list);
	return names;
}

void names_free(struct names *names)
{
	for (unsigned int i = 0; names && i < names->len; i++)
		backend_drop(names->list[i].backend);
	free(names);
}

/* ---- start and stop ---- */

static struct resolver *resolver_new(void)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	pthread_condattr_t attr;

	if (!resolver)
		return NULL;
	pthread_mutex_init(&resolver->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&resolver->wake, &attr);
	pthread_condattr_destroy(&attr);
	return resolver;
}

static void resolver_free(struct resolver *resolver)
{
	pthread_cond_destroy(&resolver->wake);
	pthread_mutex_destroy(&resolver->lock);
	names_free(resolver->names);
	free(resolver);
}

int resolver_start(struct resolver **out)
{
	struct resolver *resolver = resolver_new();
	int rc;

	if (!resolver)
		return -ENOMEM;
	rc = pthread_create(&resolver->thread, NULL, resolver_run, resolver);
	if (rc) {
		resolver_free(resolver);
		return -rc;
	}
	*out = resolver;
	return 0;
}

void resolver_use(struct resolver *resolver, struct names *names)
{
	struct names *former;
	unsigned int at = 0;

	pthread_mutex_lock(&resolver->lock);
	former = resolver->names;
	for (unsigned int i = 0; i < names->len; i++) {
		const struct name *known = name_find(former, names->list[i].backend, &at);

		if (known)
			names->list[i] = *known;
	}
	resolver->names = names;
	pthread_cond_signal(&resolver->wake);
	pthread_mutex_unlock(&resolver->lock);
	names_free(former);
}

void resolver_stop(struct resolver *resolver)
{
	if (!resolver)
		return;
	pthread_mutex_lock(&resolver->lock);
	resolver->stopping = true;
	pthread_cond_signal(&resolver->wake);
	pthread_mutex_unlock(&resolver->lock);
	pthread_join(resolver->thread, NULL);
	resolver_free(resolver);
}
