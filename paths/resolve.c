// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - backends by name: looked up on a thread of its own, again and again
 *
 * One thread asks for one name after the other, always the one that is due
 * first, and sleeps on a condition until then: resolver_stop() wakes it.
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

/* What the thread knows of one backend; nobody else looks at it. */
struct name {
	struct backend *backend;
	struct timespec due; /* CLOCK_MONOTONIC */
	bool failed;	     /* last time */
};

struct resolver {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping; /* under the lock */
	unsigned int len;
	struct name names[];
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
		 name->backend->config->host, pool_name(name->backend->pool), why,
		 backend_addrs(name->backend, known), RESOLVE_RETRY_S);
}

static void say_found(const struct name *name, const struct addr *first, unsigned int len)
{
	const struct backend *backend = name->backend;
	char text[ADDR_TEXT_MAX];

	addr_format(first, text);
	if (name->failed)
		log_info("resolve: %s: pool %s: found again: %s, %u addresses",
			 backend->config->host, pool_name(backend->pool), text, len);
	else
		log_debug("resolve: %s: pool %s: %s, %u addresses", backend->config->host,
			  pool_name(backend->pool), text, len);
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

static struct name *name_next(struct resolver *resolver)
{
	struct name *next = &resolver->names[0];

	for (unsigned int i = 1; i < resolver->len; i++)
		if (is_before(&resolver->names[i].due, &next->due))
			next = &resolver->names[i];
	return next;
}

/* Return: false when the resolver is to stop */
static bool wait_until(struct resolver *resolver, const struct timespec *due)
{
	bool stopping;
	int rc = 0;

	pthread_mutex_lock(&resolver->lock);
	while (!resolver->stopping && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&resolver->wake, &resolver->lock, due);
	stopping = resolver->stopping;
	pthread_mutex_unlock(&resolver->lock);
	return !stopping;
}

static void *resolver_run(void *arg)
{
	struct resolver *resolver = arg;
	struct name *name = name_next(resolver);

	while (wait_until(resolver, &name->due)) {
		name_look_up(name);
		name = name_next(resolver);
	}
	return NULL;
}

/* ---- start and stop ---- */

/* Collect the backends that have a name. Return: how many; @names may be NULL, to count */
static unsigned int names_collect(struct pool *const *pools, unsigned int len, struct name *names)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < len; i++) {
		for (unsigned int j = 0; j < pool_backends(pools[i]); j++) {
			struct backend *backend = pool_backend(pools[i], j);

			if (!backend->config->host)
				continue;
			if (names)
				names[found].backend = backend;
			found++;
		}
	}
	return found;
}

static struct resolver *resolver_new(struct pool *const *pools, unsigned int pools_len,
				     unsigned int names_len)
{
	struct resolver *resolver =
		calloc(1, sizeof(*resolver) + names_len * sizeof(*resolver->names));
	pthread_condattr_t attr;

	if (!resolver)
		return NULL;
	resolver->len = names_collect(pools, pools_len, resolver->names);
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
	free(resolver);
}

int resolver_start(struct pool *const *pools, unsigned int len, struct resolver **out)
{
	unsigned int names = names_collect(pools, len, NULL);
	struct resolver *resolver;
	int rc;

	if (names == 0) {
		*out = NULL;
		return 0;
	}
	resolver = resolver_new(pools, len, names);
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
