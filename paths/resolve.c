// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - where the backends are that have a name: looked up again whenever an answer is over
 *
 * The thread has a loop of its own, as health.c's, and everything below but the list that is handed in
 * belongs to it alone. How often a look-up has failed is the backend's, which outlives the list.
 */
#include "resolve.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/log.h"
#include "../gateway/loop.h"
#include "lookup.h"

_Static_assert(LOOKUP_ADDRS_MAX <= POOL_ADDRS_MAX, "a backend takes all of an answer");

struct name {
	struct backend *backend;   /* held */
	struct resolver *resolver; /* NULL: not taken over yet */
	struct lookup lookup;
	struct timer due;
	bool stays;
};

struct names {
	unsigned int len, sources_len;
	struct source **sources;
	struct name *list[];
};

struct resolver {
	pthread_t thread;
	struct loop loop;
	struct lookups *lookups;
	struct notes notes;
	struct watch wake; /* the eventfd of .notes */
	struct task follow;
	struct names *names; /* in force; NULL: none */
	struct sourcing sourcing;

	pthread_mutex_t lock; /* over what follows */
	struct names *next;   /* to be followed; NULL: none */
	bool stopping;
};

/* ---- one look-up ---- */

static void say_failed(const struct name *name, const struct answer *answer)
{
	struct backend *backend = name->backend;
	struct addr known[POOL_ADDRS_MAX];

	log_warn("resolve: %s: pool %s: %s; keeping %u known addresses, asking again",
		 backend->config->host, backend->pool,
		 answer->status == LOOKUP_NONE ? "no such name, or no address of it"
					       : "no name server answers, or it fails",
		 backend_addrs(backend, known));
}

static void say_found(const struct name *name, const struct answer *answer, unsigned int failures)
{
	const struct backend *backend = name->backend;
	char text[ADDR_TEXT_MAX];

	addr_format(&answer->addrs[0], text);
	if (failures)
		log_info("resolve: %s: pool %s: found again: %s, %u addresses",
			 backend->config->host, backend->pool, text, answer->len);
	else
		log_debug("resolve: %s: pool %s: %s, %u addresses", backend->config->host,
			  backend->pool, text, answer->len);
}

/* Return: after how long to ask again at the earliest */
static uint64_t name_learn(struct name *name, struct answer *answer)
{
	struct backend *backend = name->backend;
	unsigned int failures = atomic_load(&backend->lookups_failed);

	for (unsigned int i = 0; i < answer->len; i++)
		addr_set_port(&answer->addrs[i], backend->config->port);
	if (answer->len) {
		say_found(name, answer, failures);
		backend_set_addrs(backend, answer->addrs, answer->len);
		atomic_store(&backend->lookups_failed, 0);
		return RESOLVE_LEAST_MS;
	}
	if (!failures)
		say_failed(name, answer);
	atomic_store(&backend->lookups_failed, failures + 1);
	return resolve_pause_ms(failures);
}

static void name_told(struct lookup *lookup, const struct answer *told)
{
	struct name *name = container_of(lookup, struct name, lookup);
	struct loop *loop = &name->resolver->loop;
	struct answer answer = *told;
	uint64_t at_ms = loop->now_ms + name_learn(name, &answer);

	timer_set(&loop->timers, &name->due, at_ms > answer.until_ms ? at_ms : answer.until_ms);
}

static void name_is_due(struct timer *timer)
{
	struct name *name = container_of(timer, struct name, due);
	struct resolver *resolver = name->resolver;
	uint64_t now_ms = resolver->loop.now_ms;
	struct answer answer;
	int rc = lookup_ask(&name->lookup, resolver->lookups, &resolver->notes,
			    name->backend->config->host, now_ms, &answer);

	if (rc == 0)
		name_told(&name->lookup, &answer);
	else if (rc != -EINPROGRESS)
		timer_set(&resolver->loop.timers, timer, now_ms + LOOKUP_BUSY_MS);
}

/* ---- lists ---- */

static void name_free(struct name *name)
{
	if (name)
		backend_drop(name->backend);
	free(name);
}

static struct name *name_new(struct backend *backend)
{
	struct name *name = calloc(1, sizeof(*name));

	if (!name)
		return NULL;
	backend_hold(backend);
	name->backend = backend;
	name->lookup.told = name_told;
	name->due.run = name_is_due;
	return name;
}

void names_free(struct names *names)
{
	for (unsigned int i = 0; names && i < names->len; i++)
		name_free(names->list[i]);
	for (unsigned int i = 0; names && i < names->sources_len; i++)
		source_free(names->sources[i]);
	if (names)
		free(names->sources);
	free(names);
}

static int sources_add(struct names *names, const struct config_pool *config)
{
	for (unsigned int i = 0; i < config->backends_len; i++) {
		struct source *source;

		if (!config_is_source(&config->backends[i]))
			continue;
		source = source_new(config->name, &config->backends[i]);
		if (!source)
			return -ENOMEM;
		names->sources[names->sources_len++] = source;
	}
	return 0;
}

static unsigned int sources_count(const struct config_pool *config)
{
	unsigned int len = 0;

	for (unsigned int i = 0; i < config->backends_len; i++)
		len += config_is_source(&config->backends[i]);
	return len;
}

static int names_add(struct names *names, struct pool *pool)
{
	for (unsigned int i = 0; i < pool_backends(pool); i++) {
		struct backend *backend = pool_backend(pool, i);

		if (!backend->config->host)
			continue;
		names->list[names->len] = name_new(backend);
		if (!names->list[names->len])
			return -ENOMEM;
		names->len++;
	}
	return 0;
}

struct names *names_new(struct pool *const *pools, unsigned int len)
{
	struct names *names;
	size_t most = 0, sources = 0;
	int rc = 0;

	for (unsigned int i = 0; i < len; i++) {
		most += pool_backends(pools[i]);
		sources += sources_count(pool_config(pools[i]));
	}
	names = calloc(1, sizeof(*names) + most * sizeof(*names->list));
	if (!names)
		return NULL;
	names->sources = calloc(sources + 1, sizeof(*names->sources));
	if (!names->sources)
		rc = -ENOMEM;
	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		rc = names_add(names, pools[i]);
		if (rc == 0)
			rc = sources_add(names, pool_config(pools[i]));
	}
	if (rc == 0)
		return names;
	names_free(names);
	return NULL;
}

/* ---- other names ---- */

static void name_start(struct resolver *resolver, struct name *name)
{
	name->resolver = resolver;
	name->backend->name = name;
	timer_set(&resolver->loop.timers, &name->due, resolver->loop.now_ms);
}

static void name_end(struct name *name)
{
	lookup_forget(&name->lookup);
	timer_stop(&name->resolver->loop.timers, &name->due);
	name->backend->name = NULL;
	name_free(name);
}

/* Of the former list; taken out there. @at: behind the last one. NULL: it had none like that */
static struct source *source_take(struct names *former, const struct source *source,
				  unsigned int *at)
{
	for (unsigned int i = 0; former && i < former->sources_len; i++) {
		unsigned int next = (*at + i) % former->sources_len;
		struct source *known = former->sources[next];

		if (!known || !source_is(known, source))
			continue;
		former->sources[next] = NULL;
		*at = next + 1;
		return known;
	}
	return NULL;
}

static void sources_follow(struct resolver *resolver, struct names *next)
{
	unsigned int at = 0;

	for (unsigned int i = 0; i < next->sources_len; i++) {
		struct source *known = source_take(resolver->names, next->sources[i], &at);

		if (known) {
			source_free(next->sources[i]);
			next->sources[i] = known;
		} else {
			source_start(next->sources[i], &resolver->sourcing);
		}
	}
	for (unsigned int i = 0; resolver->names && i < resolver->names->sources_len; i++)
		source_free(resolver->names->sources[i]);
}

/* What stays is taken over from the former list into the next one. */
static void names_follow(struct resolver *resolver, struct names *next)
{
	struct names *former = resolver->names;

	sources_follow(resolver, next);
	for (unsigned int i = 0; former && i < former->len; i++)
		former->list[i]->stays = false;
	for (unsigned int i = 0; i < next->len; i++) {
		struct name *known = next->list[i]->backend->name;

		if (!known) {
			name_start(resolver, next->list[i]);
			continue;
		}
		known->stays = true;
		name_free(next->list[i]);
		next->list[i] = known;
	}
	for (unsigned int i = 0; former && i < former->len; i++)
		if (!former->list[i]->stays)
			name_end(former->list[i]);
	if (former)
		free(former->sources);
	free(former);
	resolver->names = next;
}

static void names_stop(struct resolver *resolver)
{
	for (unsigned int i = 0; resolver->names && i < resolver->names->len; i++)
		name_end(resolver->names->list[i]);
	if (resolver->names)
		resolver->names->len = 0;
	names_free(resolver->names);
	resolver->names = NULL;
	resolver->loop.stop = true;
}

static void resolver_follow(struct task *task)
{
	struct resolver *resolver = container_of(task, struct resolver, follow);
	struct names *next;
	bool stopping;

	pthread_mutex_lock(&resolver->lock);
	next = resolver->next;
	resolver->next = NULL;
	stopping = resolver->stopping;
	pthread_mutex_unlock(&resolver->lock);
	if (next)
		names_follow(resolver, next);
	if (stopping)
		names_stop(resolver);
}

static void resolver_wake(struct watch *watch, uint32_t ready)
{
	struct resolver *resolver = container_of(watch, struct resolver, wake);
	eventfd_t count;

	(void)ready;
	eventfd_read(watch->fd, &count);
	notes_run(&resolver->notes);
	loop_later(&resolver->loop, &resolver->follow);
}

/* ---- the thread ---- */

static void *resolver_run(void *arg)
{
	struct resolver *resolver = arg;

	loop_run(&resolver->loop);
	return NULL;
}

static void resolver_free(struct resolver *resolver)
{
	lookups_stop(resolver->lookups);
	notes_run(&resolver->notes); /* nobody waits for them: they are just freed */
	lookups_free(resolver->lookups);
	names_free(resolver->next);
	loop_close(&resolver->loop);
	if (resolver->wake.fd >= 0)
		close(resolver->wake.fd);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

static int resolver_open(struct resolver *resolver, const char *servers)
{
	int rc = loop_open(&resolver->loop);

	if (rc < 0)
		return rc;
	resolver->wake.fd = resolver->notes.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (resolver->wake.fd < 0)
		return -errno;
	rc = loop_watch(&resolver->loop, &resolver->wake, EPOLLIN);
	if (rc < 0)
		return rc;
	resolver->lookups = resolver->sourcing.lookups = lookups_new(servers, true);
	if (!resolver->lookups)
		return -ENOMEM;
	return -pthread_create(&resolver->thread, NULL, resolver_run, resolver);
}

int resolver_start(const char *servers, source_changed_fn *changed, void *arg,
		   struct resolver **out)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	int rc;

	if (!resolver)
		return -ENOMEM;
	resolver->wake = (struct watch){ .run = resolver_wake, .fd = -1 };
	resolver->follow.run = resolver_follow;
	resolver->sourcing = (struct sourcing){
		.loop = &resolver->loop, .notes = &resolver->notes, .changed = changed, .arg = arg
	};
	pthread_mutex_init(&resolver->lock, NULL);
	rc = resolver_open(resolver, servers);
	if (rc < 0) {
		resolver_free(resolver);
		return rc;
	}
	*out = resolver;
	return 0;
}

void resolver_use(struct resolver *resolver, struct names *names)
{
	struct names *unseen;

	pthread_mutex_lock(&resolver->lock);
	unseen = resolver->next;
	resolver->next = names;
	pthread_mutex_unlock(&resolver->lock);
	names_free(unseen);
	eventfd_write(resolver->wake.fd, 1);
}

void resolver_stop(struct resolver *resolver)
{
	if (!resolver)
		return;
	pthread_mutex_lock(&resolver->lock);
	resolver->stopping = true;
	pthread_mutex_unlock(&resolver->lock);
	eventfd_write(resolver->wake.fd, 1);
	pthread_join(resolver->thread, NULL);
	resolver_free(resolver);
}
