// SPDX-License-Identifier: GPL-2.0-only
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "../base/log.h"
#include "../base/own.h"
#include "../base/text.h"
#include "../paths/health.h"
#include "../paths/resolve.h"
#include "accelerate.h"
#include "flows.h"
#include "forwards.h"
#include "removed.h"
#include "setup.h"

static int refuse(char **error, int rc, const char *what, const char *why)
{
	if (asprintf(error, "%s: %s", what, why) < 0)
		*error = NULL;
	return rc;
}

/* ---- what needs a restart ---- */

static bool sources_are_same(const struct config *a, const struct config *b)
{
	if (a->sources_len != b->sources_len)
		return false;
	for (unsigned int i = 0; i < a->sources_len; i++)
		if (!addr_equal(&a->sources[i], &b->sources[i]))
			return false;
	return true;
}

static bool workers_are_same(const struct config *a, const struct config *b)
{
	return a->workers_given == b->workers_given &&
	       (!a->workers_given || a->workers == b->workers);
}

static bool access_is_same(const struct config *a, const struct config *b)
{
	return a->access_to == b->access_to && a->access_format == b->access_format &&
	       text_is_same(a->access_path, b->access_path);
}

/* Return: -EOPNOTSUPP, with a line in @error that says where the key stands */
static int restart_needed(const struct config *now, const struct config *next, const char *key,
			  char **error)
{
	const struct config_said *was = config_said(now, key), *is = config_said(next, key);

	if (asprintf(error,
		     "%s:%u: %s: to change it from %.80s to %.80s needs a restart; handed-off "
		     "connections survive one",
		     next->path, is->line, key, was->text ? was->text : "its default",
		     is->text ? is->text : "its default") < 0)
		*error = NULL;
	return -EOPNOTSUPP;
}

/* Keys that a running daemon cannot change */
static int keys_check(const struct config *now, const struct config *next, char **error)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{ "workers", workers_are_same(now, next) },
		{ "flows", now->flows_max == next->flows_max },
		{ "source-ports",
		  now->port_min == next->port_min && now->port_max == next->port_max },
		{ "sources", sources_are_same(now, next) },
		{ "name-servers", text_is_same(now->name_servers, next->name_servers) },
		{ "interfaces", texts_are_same(now->interfaces, next->interfaces) },
		{ "control", text_is_same(now->control, next->control) },
		{ "pin", text_is_same(now->pin, next->pin) },
		{ "user", text_is_same(now->user, next->user) },
		{ "control-group", text_is_same(now->control_group, next->control_group) },
		{ "access-log", access_is_same(now, next) },
		{ "accelerate", accelerate_is_same(&now->accelerate, &next->accelerate) },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!keys[i].same)
			return restart_needed(now, next, keys[i].key, error);
	return 0;
}

/* What no listener asked for at the start, the kernel was not prepared for. */
static int listeners_check(const struct gateway *gateway, const struct config *now,
			   const struct config *next, char **error)
{
	bool no_handoff = !gateway->ladon && gateway->no_handoff == LADON_REASON_HANDOFF_OFF;

	if (next->transparent && !now->transparent)
		return refuse(error, -EOPNOTSUPP, next->path,
			      "source: transparent, which no pool had at the start, needs a restart; "
			      "handed-off connections survive one");
	for (unsigned int l = 0; l < next->listeners_len; l++) {
		const struct config_listener *listener = &next->listeners[l];
		const char *key = NULL;

		if (listener->handoff && no_handoff)
			key = "handoff: yes";
		else if (listener->handoff && listener->stack && !now->stack)
			key = "mode: stack";
		if (!key)
			continue;
		if (asprintf(error,
			     "%s:%u: listen %s: %s, which no listener had at the start, needs a "
			     "restart; handed-off connections survive one",
			     next->path, listener->line, listener->name, key) < 0)
			*error = NULL;
		return -EOPNOTSUPP;
	}
	return 0;
}

/* ---- the steps ---- */

/* Return: 0, with the configuration in @out, which is the caller's */
static int config_read(const struct gateway *gateway, struct config **out, char **error)
{
	const struct config *now = gateway->setup->config;
	struct config *next = config_load(now->path, error);
	int rc;

	if (!next)
		return -EINVAL;
	rc = keys_check(now, next, error);
	if (rc == 0)
		rc = listeners_check(gateway, now, next, error);
	if (rc < 0) {
		config_free(next);
		return rc;
	}
	*out = next;
	return 0;
}

static int setup_refuse(char **error, int rc, const struct config_listener *failed)
{
	char what[ADDR_TEXT_MAX + sizeof("listen ")] = "reload";

	if (failed)
		snprintf(what, sizeof(what), "listen %s", failed->name);
	return refuse(error, rc, what, failed ? listener_complaint(failed, rc) : strerror(-rc));
}

/* Return: 0, with the setup in @out, which is held for the caller */
static int setup_make(struct gateway *gateway, struct config *config, struct setup **out,
		      char **error)
{
	const struct config_listener *failed;
	struct setup *setup = NULL;
	int rc = setup_new(gateway, config, gateway->setup, &setup, &failed);

	if (rc < 0) {
		setup_refuse(error, rc, failed);
		config_free(config);
		return rc;
	}
	rc = setup_listen(setup, &failed);
	if (rc < 0) {
		setup_refuse(error, rc, failed);
		setup_drop(setup);
		return rc;
	}
	*out = setup;
	return 0;
}

static int checks_make(const struct setup *setup, struct checks **out, char **error)
{
	_free_ char *why = NULL;
	int rc = checks_new(setup->pools, setup->config->pools, setup->config->pools_len, out,
			    &why);

	if (rc < 0)
		return refuse(error, rc, "health", why ? why : strerror(-rc));
	return 0;
}

static void count(const struct setup *former, const struct setup *next, struct reloaded *out)
{
	const struct share *share = &next->shares[0];

	out->listeners = next->config->listeners_len;
	out->added = 0;
	for (unsigned int l = 0; l < out->listeners; l++)
		out->added += !share->listeners[l].former;
	out->removed = former->config->listeners_len - (out->listeners - out->added);
}

/* The last that can fail. */
static int forwards_change(const struct gateway *gateway, struct setup *setup, char **error)
{
	_free_ char *why = NULL;
	int rc = forwards_use(gateway->forwards, setup, &why);

	return rc < 0 ? refuse(error, rc, "forwards", why ? why : strerror(-rc)) : 0;
}

static int reload_try(struct gateway *gateway, struct reloaded *out, char **error)
{
	struct names *names;
	struct checks *checks;
	struct config *config = NULL;
	struct setup *setup = NULL;
	int rc;

	if (atomic_load(&gateway->stopping))
		return refuse(error, -ECANCELED, "reload", "ladond is stopping");
	rc = config_read(gateway, &config, error);
	if (rc == 0)
		rc = setup_make(gateway, config, &setup, error);
	if (rc < 0)
		return rc;
	rc = checks_make(setup, &checks, error);
	if (rc < 0) {
		setup_drop(setup);
		return rc;
	}
	names = names_new(setup->pools, setup->config->pools_len);
	if (names && flows_follow(gateway->flows, setup) == 0)
		rc = forwards_change(gateway, setup, error);
	else
		rc = refuse(error, -ENOMEM, "reload", strerror(ENOMEM));
	if (rc < 0) {
		names_free(names);
		checks_free(checks);
		flows_follow(gateway->flows, gateway->setup);
		setup_drop(setup);
		return rc;
	}
	/* From here on nothing can fail. */
	count(gateway->setup, setup, out);
	resolver_use(gateway->resolver, names);
	setup_use(setup);
	health_use(gateway->health, checks); /* who is not checked any more is well: not before */
	removed_follow(gateway->removed);
	return 0;
}

/* ---- a source says something else ---- */

/* The pool of the setup in force that has the source; NULL: none */
static struct pool *source_pool(const struct setup *setup, const char *name,
				const struct sourced *sourced)
{
	for (unsigned int p = 0; p < setup->config->pools_len; p++) {
		const struct config_pool *config = &setup->config->pools[p];

		for (unsigned int b = 0; strcmp(config->name, name) == 0 && b < config->backends_len;
		     b++)
			if (sourced_is(sourced, &config->backends[b]))
				return setup->pools[p];
	}
	return NULL;
}

/* As a reload: nothing has happened, or all of it. The pool is prepared. */
static int source_follow(struct gateway *gateway, struct pool *pool, char **error)
{
	const struct setup *setup = gateway->setup;
	struct checks *checks;
	struct names *names;
	int rc = checks_make(setup, &checks, error);

	if (rc < 0)
		return rc;
	names = names_new(setup->pools, setup->config->pools_len);
	if (!names || flows_follow(gateway->flows, setup) < 0) {
		names_free(names);
		checks_free(checks);
		return -ENOMEM;
	}
	pool_commit(pool);
	resolver_use(gateway->resolver, names);
	health_use(gateway->health, checks);
	return 0;
}

static int source_try(struct gateway *gateway, const char *name, const struct sourced *sourced)
{
	_free_ char *error = NULL;
	struct pool *pool;
	int rc;

	if (atomic_load(&gateway->stopping) || !gateway->setup || !gateway->health)
		return -ECANCELED;
	pool = source_pool(gateway->setup, name, sourced);
	if (!pool)
		return -ENOENT;
	pool_source_failed(pool, sourced);
	rc = sourced->listing ? pool_prepare(pool, sourced) : -EALREADY;
	if (rc < 0)
		return rc;
	rc = source_follow(gateway, pool, &error);
	if (rc < 0) {
		pool_abandon(pool);
		log_limited(LOG_LEVEL_ERR, "pool %s: %s: cannot be followed: %s", name, sourced->source,
			error ? error : strerror(-rc));
		return rc;
	}
	log_info("pool %s: %s: names %u backends now, of %u in the pool", name, sourced->source,
		 sourced->listing->len, pool_backends(pool));
	return 0;
}

int reload_source(void *arg, const char *pool, const struct sourced *sourced)
{
	struct gateway *gateway = arg;
	int rc;

	pthread_mutex_lock(&gateway->changing);
	rc = source_try(gateway, pool, sourced);
	pthread_mutex_unlock(&gateway->changing);
	return rc;
}

/* ---- and who is told ---- */

static void notify_begin(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration",
		   (unsigned long long)now.tv_sec * 1000000 +
			   (unsigned long long)now.tv_nsec / 1000);
}

static void notify_end(const struct gateway *gateway, const char *error)
{
	sd_notifyf(0, "READY=1\nSTATUS=%u listeners, handoff %s%s%s",
		   gateway->setup->config->listeners_len, gateway->ladon ? "on" : "off",
		   error ? "; reload refused: " : "", error ? error : "");
}

int reload(struct gateway *gateway, struct reloaded *out, char **error)
{
	const char *why;
	int rc;

	*error = NULL;
	pthread_mutex_lock(&gateway->changing);
	notify_begin();
	rc = reload_try(gateway, out, error);
	why = rc == 0 ? NULL : *error ? *error : strerror(-rc);
	if (rc == 0)
		log_info("reload: %s: %u listeners, %u of them new, %u removed",
			 gateway->setup->config->path, out->listeners, out->added, out->removed);
	else
		log_err("reload: refused, the configuration is the former one: %s", why);
	notify_end(gateway, why);
	pthread_mutex_unlock(&gateway->changing);
	return rc;
}
