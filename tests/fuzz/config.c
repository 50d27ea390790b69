// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - whatever a file holds, it is a consistent configuration or one line of complaint
 */
#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../gateway/config.h"

static void check_name(const char *name)
{
	assert(*name && strlen(name) <= 2 + 253);
	for (const char *c = name; *c; c++)
		assert(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
		       strchr("-_.*", *c));
	assert(!strrchr(name, '*') || strrchr(name, '*') == name);
}

static void check_route(const struct config *config, const struct config_listener *listener,
			const struct config_route *route)
{
	const struct config_pool *pool = &config->pools[route->pool];

	assert(route->pool < config->pools_len);
	assert(!pool->backends->requested || !pool->backends->original == !!route->target);
	assert(!pool->transparent || (listener->handoff && !listener->stack));
	assert(route->line >= 1);
	assert(!route->tls || !route->http_host);
	assert(!route->alpn || route->tls);
	assert(!route->http_path || route->http_host);
	assert(!route->http_path || *route->http_path == '/');
	if (route->tls)
		check_name(route->tls);
	if (route->http_host)
		check_name(route->http_host);
}

static void check_listener(const struct config *config, const struct config_listener *listener)
{
	assert(listener->name);
	assert(addr_port(&listener->addr) != 0);
	assert(listener->first_bytes_ms && listener->connect_ms && listener->idle_ms);
	assert(!listener->handoff || config->handoff);
	assert(listener->routes_len >= 1);
	assert(listener->peek || listener->routes_len == 1);
	for (unsigned int i = 0; i < listener->routes_len; i++)
		check_route(config, listener, &listener->routes[i]);
}

static void check_pool(const struct config_pool *pool)
{
	assert(pool->name && pool->backends_len >= 1);
	for (unsigned int i = 0; i < pool->backends_len; i++) {
		const struct config_backend *backend = &pool->backends[i];

		assert(backend->text && !backend->requested == (backend->port != 0));
		assert(backend->requested || !backend->original);
		assert(!backend->requested || pool->backends_len == 1);
		assert(backend->host || addr_port(&backend->addr) == backend->port);
	}
	if (pool->health.check != HEALTH_NONE)
		assert(pool->health.interval_ms >= 100 && pool->health.timeout_ms &&
		       pool->health.rise && pool->health.fall);
}

static void check_config(const struct config *config)
{
	assert(config->workers >= 1 && config->flows_max >= 1);
	assert(config->port_min <= config->port_max);
	assert(config->control && config->idle_ms);
	assert(config->listeners_len >= 1);
	for (unsigned int i = 0; i < config->pools_len; i++)
		check_pool(&config->pools[i]);
	for (unsigned int i = 0; i < config->listeners_len; i++)
		check_listener(config, &config->listeners[i]);
}

static void check_error(const char *error)
{
	assert(strncmp(error, "f:", 2) == 0 && isdigit((unsigned char)error[2]));
	for (const char *c = error; *c; c++)
		assert(!iscntrl((unsigned char)*c));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *error = NULL;
	struct config *config = config_parse("f", bytes, len, &error);

	assert(!config == !!error);
	if (config)
		check_config(config);
	else
		check_error(error);
	config_free(config);
	free(error);
	return 0;
}
