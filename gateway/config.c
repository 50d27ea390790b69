// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - what ladon.yaml says, checked
 *
 * Top to bottom: what was seen before, pools, routes, listeners, the file as a
 * whole. What a pool says of its backends is read by config_pool.c and config_health.c, single values
 * by config_value.c and config_node.c.
 *
 * Pools are read before listeners, wherever they stand in the file, so that a
 * route finds its pool at once. Everything that is allocated hangs on the
 * struct config right away: whoever fails just returns, and config_free()
 * takes it all.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ladon/ladon.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/keys.h"
#include "../base/own.h"
#include "config_accelerate.h"
#include "config_admit.h"
#include "config_forwards.h"
#include "config_node.h"
#include "config_health.h"
#include "config_pool.h"
#include "config_proxy.h"
#include "config_targets.h"
#include "config_tokens.h"
#include "config_users.h"
#include "config_value.h"
#include "config_words.h"

#define FILE_BYTES_MAX	  (16 * 1024 * 1024)
#define CONTROL_DEFAULT	  "/run/ladon/control"
#define CONTROL_BYTES_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define FLOWS_DEFAULT	  65536
#define FLOWS_MAX	  (1 << 24)
#define WORKERS_MAX	  1024
#define LIMIT_MAX	  (1 << 24)
#define FIRST_BYTES_MS	  10000
#define CONNECT_MS	  5000
#define IDLE_MS		  (2 * 3600 * 1000)
#define HALF_CLOSED_MS	  (3600 * 1000)
#define KEEPALIVE_MIN_MS  1000 /* flows are looked at once a second */
#define KEEPALIVE_PROBES  30
#define MSS_MIN		  88	/* TCP_MIN_MSS and MAX_TCP_WINDOW: what TCP_MAXSEG accepts, */
#define MSS_MAX		  32767 /* net/ipv4/tcp.c */
#define MSS_CROSS	  1440	/* of 1500 bytes, those that IPv6 and TCP leave */

/* What is known while a file is read, and not after. The trees are tsearch(3)'s, of struct seen. */
struct reading {
	struct config *config;
	struct config_listener defaults; /* what a listener has that says nothing else */
	void *pools;			 /* by name */
	void *addresses;		 /* that are listened on */
};

/* ---- seen before? ---- */

struct seen {
	const char *key;
	unsigned int index;
	unsigned int line;
	char text[];
};

static int seen_compare(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->key, ((const struct seen *)b)->key);
}

static const struct seen *seen_find(void *const *tree, const char *key)
{
	const struct seen wanted = { .key = key };
	struct seen **found = tfind(&wanted, tree, seen_compare);

	return found ? *found : NULL;
}

static int seen_add(void **tree, const char *key, unsigned int index, unsigned int line)
{
	size_t size = strlen(key) + 1;
	struct seen *seen = malloc(sizeof(*seen) + size);

	if (!seen)
		return -ENOMEM;
	memcpy(seen->text, key, size);
	seen->key = seen->text;
	seen->index = index;
	seen->line = line;
	if (!tsearch(seen, tree, seen_compare)) {
		free(seen);
		return -ENOMEM;
	}
	return 0;
}

/* Make room for one more item, zeroed. The room doubles whenever it is used up. */
static void *array_add(void *array, unsigned int *len, size_t size)
{
	char *items = *(void **)array;

	if ((*len & (*len - 1)) == 0) {
		items = reallocarray(items, *len ? (size_t)*len * 2 : 1, size);
		if (!items)
			return NULL;
		*(void **)array = items;
	}
	return memset(items + (*len)++ * size, 0, size);
}

/* ---- pools ---- */

static int pool_name_read(struct reading *r, const struct node *node, struct config_pool *pool)
{
	const struct seen *former;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; routes find the pool by its name");
	rc = value_label(node, &pool->name);
	if (rc < 0)
		return rc;
	former = seen_find(&r->pools, pool->name);
	if (former)
		return node_fail(node,
				 "a pool in line %u is named \"%s\" already; rename one of them",
				 former->line, pool->name);
	return seen_add(&r->pools, pool->name, r->config->pools_len - 1, node->line);
}

static int pool_read(void *arg, const struct node *node)
{
	enum {
		NAME,
		POLICY,
		HASH,
		SLOW_START,
		EJECT,
		WHEN_DOWN,
		HEALTH,
		BACKENDS,
		SEND_PROXY,
		PROXY_TLVS,
		SOURCE,
		KEYS
	};
	static const char *const keys[KEYS] = { "name",	 "policy",    "hash",	  "slow-start", "eject",
						"when-down", "health",	 "backends", "send-proxy", "proxy-tlvs",
						"source" };
	struct reading *r = arg;
	struct config *config = r->config;
	struct config_pool *pool;
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	if (rc < 0)
		return rc;
	pool = array_add(&config->pools, &config->pools_len, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	rc = pool_name_read(r, &at[NAME], pool);
	if (rc == 0)
		rc = config_turns(&at[POLICY], &at[HASH], pool);
	if (rc == 0)
		rc = node_ms(&at[SLOW_START], &pool->slow_ms);
	if (rc == 0)
		rc = config_eject(&at[EJECT], &pool->eject);
	if (rc == 0)
		rc = value_reset(&at[WHEN_DOWN], &pool->reset);
	if (rc == 0)
		rc = config_backends(&at[BACKENDS], pool);
	if (rc == 0)
		rc = config_health(&at[HEALTH], pool);
	if (rc == 0)
		rc = config_send_proxy_read(&at[SEND_PROXY], &at[PROXY_TLVS], pool);
	if (rc == 0)
		rc = config_source(&at[SOURCE], &pool->transparent);
	config->transparent |= pool->transparent;
	return rc;
}

static int mode_read(const struct node *node, bool *stack)
{
	static const char *const modes[] = { "direct", "stack" };
	unsigned int mode = *stack;
	int rc = node_word(node, modes, 2, NULL, &mode);

	*stack = mode;
	return rc;
}

/* ---- routes ---- */

static int pool_unknown(const struct reading *r, const struct node *node, const char *name)
{
	const struct config *config = r->config;
	_free_ const char **names = calloc(config->pools_len, sizeof(*names));
	const char *meant;

	if (!names)
		return -ENOMEM;
	for (unsigned int i = 0; i < config->pools_len; i++)
		names[i] = config->pools[i].name;
	meant = node_nearest(name, names, config->pools_len);
	if (meant)
		return node_fail(node, "no pool is named \"%.80s\"; did you mean \"%s\"?", name,
				 meant);
	return node_fail(node, "no pool is named \"%.80s\"; add it to 'pools'", name);
}

static int pool_ref_read(const struct reading *r, const struct node *node, unsigned int *out)
{
	const struct seen *seen;
	const char *name;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; it takes the name of a pool");
	rc = node_text(node, &name);
	if (rc < 0)
		return rc;
	seen = seen_find(&r->pools, name);
	if (!seen)
		return pool_unknown(r, node, name);
	*out = seen->index;
	return 0;
}

static int pool_ref_get(const void *arg, const struct node *node, unsigned int *out)
{
	return pool_ref_read(arg, node, out);
}

enum route_key {
	ROUTE_TLS,
	ROUTE_ALPN,
	ROUTE_HTTP,
	ROUTE_PATH,
	ROUTE_STARTS,
	ROUTE_REGEX,
	ROUTE_TARGET,
	ROUTE_POOL,
	ROUTE_ALLOW,
	ROUTE_DENY,
	ROUTE_KEYS
};
/* clang-format off */
static const char *const route_keys[ROUTE_KEYS] = {
	"tls", "alpn", "http", "path", "starts", "regex", "target", "pool", "allow", "deny",
};
/* clang-format on */

/* What a rule may ask for: a name, and something else about a connection that is of the kind */
static const struct rule_kind {
	const char *text;
	enum route_key name, detail; /* the same: the kind has no detail */
} rule_kinds[] = {
	{ "TLS", ROUTE_TLS, ROUTE_ALPN },
	{ "HTTP", ROUTE_HTTP, ROUTE_PATH },
	{ "certain first bytes", ROUTE_STARTS, ROUTE_STARTS },
	{ "a regex", ROUTE_REGEX, ROUTE_REGEX },
	{ "a target", ROUTE_TARGET, ROUTE_TARGET },
};

#define RULE_KINDS (sizeof(rule_kinds) / sizeof(rule_kinds[0]))

/* @out: the kind of rule; of one without conditions, the last. Return: 0 or -EINVAL, complained */
static int rule_kind(const struct node *rule, const struct node *at, const struct rule_kind **out)
{
	const struct rule_kind *kind = NULL;

	for (size_t i = 0; i < RULE_KINDS; i++) {
		const struct rule_kind *next = &rule_kinds[i];

		if (!at[next->name].yaml && !at[next->detail].yaml)
			continue;
		if (kind)
			return node_fail(rule,
					 "asks for %s and for %s, and no connection is both; make "
					 "it two rules",
					 kind->text, next->text);
		kind = next;
	}
	*out = kind ? kind : &rule_kinds[RULE_KINDS - 1];
	return 0;
}

static bool route_is_conditional(const struct config_route *route)
{
	return route->tls || route->http_host || route->target || route->starts || route->regex;
}

static char **route_condition(struct config_route *route, enum route_key key)
{
	char **const conditions[] = {
		[ROUTE_TLS] = &route->tls,	   [ROUTE_ALPN] = &route->alpn,
		[ROUTE_HTTP] = &route->http_host,  [ROUTE_PATH] = &route->http_path,
		[ROUTE_STARTS] = &route->starts,   [ROUTE_REGEX] = &route->regex,
		[ROUTE_TARGET] = &route->target,
	};

	return conditions[key];
}

/*
 * Two rules with the same text match the same connections.
 * @at: what is told to be the second one: the condition, or a rule that has none
 */
static int route_check_new(void **rules, const struct node *at, const struct rule_kind *kind,
			   struct config_route *route)
{
	const char *name = *route_condition(route, kind->name);
	const char *detail = *route_condition(route, kind->detail);
	_free_ char *text = NULL;
	const struct seen *former;

	if (asprintf(&text, "%s %s %s", kind->text, name ? name : "", detail ? detail : "") < 0) {
		text = NULL;
		return -ENOMEM;
	}
	former = seen_find(rules, text);
	if (former)
		return node_fail(at,
				 "matches the same as the rule of line %u and would never be "
				 "used; remove one of them",
				 former->line);
	return seen_add(rules, text, 0, at->line);
}

static int condition_read(struct config_route *route, enum route_key key, const struct node *node)
{
	char **out = route_condition(route, key);

	switch (key) {
	case ROUTE_ALPN:
		return value_alpn(node, out);
	case ROUTE_PATH:
		return value_prefix(node, out);
	case ROUTE_STARTS:
		return config_starts_read(node, out);
	case ROUTE_REGEX:
		return config_regex_read(node, out);
	default:
		return value_pattern(node, out);
	}
}

/* Either of them may be missing. A protocol or path without a name goes with any name. */
static int route_fill(struct config_route *route, const struct rule_kind *kind,
		      const struct node *name, const struct node *detail)
{
	int rc = 0;

	if (name->yaml)
		rc = condition_read(route, kind->name, name);
	else if (detail->yaml)
		rc = value_copy("*", route_condition(route, kind->name));
	if (rc < 0 || !detail->yaml || kind->name == kind->detail)
		return rc;
	return condition_read(route, kind->detail, detail);
}

/* A pool of requested backends needs somebody who requests, one of original ones somebody who does not. */
static int rule_check_pool(const struct reading *r, const struct node *pool,
			   const struct config_listener *listener, const struct config_route *route)
{
	const struct config_pool *to = &r->config->pools[route->pool];
	const struct config_backend *backend = &to->backends[0];

	if (to->transparent && (!listener->handoff || listener->stack))
		return node_fail(pool, "has \"source: transparent\", which goes not with 'handoff: no' "
				       "or 'mode: stack'; leave one of them out");
	if (backend->original && route->target)
		return node_fail(pool, "takes clients where their packets were headed, and these name "
				       "a target; use a pool with \"backends: requested\"");
	if (!backend->requested || backend->original || route->target)
		return 0;
	return node_fail(pool, "is for clients that name a target; give the rule the condition "
			       "'target', as in {target: \"*\", pool: %s}",
			 to->name);
}

/* A rule with lists is as many rules as the lists have combinations. */
static int rule_read(const struct reading *r, struct config_listener *listener, void **rules,
		     const struct node *rule)
{
	const struct config_admit *admit = NULL;
	struct node at[ROUTE_KEYS], name, detail;
	unsigned int pool, names, details = 1;
	const struct rule_kind *kind = NULL;
	int rc = node_map(rule, route_keys, ROUTE_KEYS, at);

	if (rc == 0)
		rc = rule_kind(rule, at, &kind);
	if (rc < 0)
		return rc;
	rc = pool_ref_read(r, &at[ROUTE_POOL], &pool);
	if (rc == 0)
		rc = config_admit_read(r->config, &at[ROUTE_ALLOW], &at[ROUTE_DENY], &admit);
	if (rc == 0)
		rc = node_list(&at[kind->name], &names);
	if (rc == 0 && kind->detail != kind->name)
		rc = node_list(&at[kind->detail], &details);
	for (uint64_t i = 0; rc == 0 && i < (uint64_t)names * details; i++) {
		struct config_route *route =
			array_add(&listener->routes, &listener->routes_len, sizeof(*route));

		if (!route)
			return -ENOMEM;
		route->pool = pool;
		route->admit = admit;
		route->line = rule->line;
		node_item(&at[kind->name], (unsigned int)(i / details), &name);
		node_item(&at[kind->detail], (unsigned int)(i % details), &detail);
		rc = route_fill(route, kind, &name, &detail);
		if (rc == 0)
			rc = route_check_new(rules,
					     name.yaml	   ? &name
					     : detail.yaml ? &detail
							   : rule,
					     kind, route);
		if (rc == 0)
			rc = rule_check_pool(r, &at[ROUTE_POOL], listener, route);
		listener->targets |= route->target != NULL;
	}
	return rc;
}

struct rules_reading {
	const struct reading *r;
	struct config_listener *listener;
	void *rules;
};

static int rule_add(void *arg, const struct node *item)
{
	struct rules_reading *reading = arg;

	return rule_read(reading->r, reading->listener, &reading->rules, item);
}

static int routes_read(const struct reading *r, const struct node *node,
		       struct config_listener *listener)
{
	struct rules_reading reading = { r, listener, NULL };
	int rc = node_each(node, rule_add, &reading);

	tdestroy(reading.rules, free);
	return rc;
}

/* ---- listeners ---- */

static int keepalive_ms(const struct node *node, uint32_t *out)
{
	int rc = node_ms(node, out);

	if (rc == 0 && node->yaml && *out < KEEPALIVE_MIN_MS)
		return node_fail(node, "will not do; it takes a second or more");
	return rc;
}

static int keepalive_read(const struct node *node, struct config_keepalive *out)
{
	enum {
		AFTER,
		INTERVAL,
		PROBES,
		KEYS
	};
	static const char *const keys[KEYS] = { "after", "interval", "probes" };
	struct config_keepalive keepalive = { .interval_ms = LADON_KEEPALIVE_INTERVAL_MS,
					      .probes = LADON_KEEPALIVE_PROBES };
	struct node at[KEYS];
	bool on = false;
	int rc;

	if (!node->yaml)
		return 0;
	if (node_is_scalar(node)) {
		rc = node_bool(node, &on);
		if (rc == 0 && on)
			return node_fail(node, "will not do; it takes no, or 'after' and the rest, "
					       "as in {after: 10m}");
		*out = (struct config_keepalive){ 0 };
		return rc;
	}
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0 && !at[AFTER].yaml)
		return node_fail(&at[AFTER], "is missing; it takes a time, as in 10m");
	if (rc == 0)
		rc = keepalive_ms(&at[AFTER], &keepalive.after_ms);
	if (rc == 0)
		rc = keepalive_ms(&at[INTERVAL], &keepalive.interval_ms);
	if (rc == 0)
		rc = node_number(&at[PROBES], 1, KEEPALIVE_PROBES, &keepalive.probes);
	*out = keepalive;
	return rc;
}

static int timeouts_read(const struct node *node, struct config_listener *listener)
{
	enum {
		FIRST_BYTES,
		SILENCE,
		CONNECT,
		IDLE,
		HALF_CLOSED,
		KEEPALIVE,
		KEYS
	};
	static const char *const keys[KEYS] = { "first-bytes", "silence", "connect", "idle", "half-closed",
						"keepalive" };
	struct node at[KEYS];
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0)
		rc = node_ms(&at[FIRST_BYTES], &listener->first_bytes_ms);
	if (rc == 0)
		rc = node_ms(&at[SILENCE], &listener->silence_ms);
	if (rc == 0)
		rc = node_ms(&at[CONNECT], &listener->connect_ms);
	if (rc == 0)
		rc = node_ms(&at[IDLE], &listener->idle_ms);
	if (rc == 0)
		rc = node_ms(&at[HALF_CLOSED], &listener->half_closed_ms);
	if (rc == 0)
		rc = keepalive_read(&at[KEEPALIVE], &listener->keepalive);
	return rc;
}

static int limits_read(const struct node *node, struct config_limits *out)
{
	enum {
		PER_SOURCE,
		UNDECIDED,
		KEYS
	};
	static const char *const keys[KEYS] = { "per-source", "undecided" };
	struct node at[KEYS];
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0)
		rc = node_number(&at[PER_SOURCE], 1, LIMIT_MAX, &out->per_source);
	if (rc == 0)
		rc = node_number(&at[UNDECIDED], 1, LIMIT_MAX, &out->undecided);
	return rc;
}

enum listener_key {
	LISTENER_LISTEN,
	LISTENER_ROUTES,
	LISTENER_POOL,
	LISTENER_HANDOFF,
	LISTENER_MODE,
	LISTENER_TIMEOUTS,
	LISTENER_MSS,
	LISTENER_ALLOW,
	LISTENER_DENY,
	LISTENER_LIMITS,
	LISTENER_USERS,
	LISTENER_TARGETS,
	LISTENER_PROXY_FROM,
	LISTENER_TOKENS,
	LISTENER_TRANSPARENT,
	LISTENER_KEYS,
};
/* clang-format off */
static const char *const listener_keys[LISTENER_KEYS] = {
	"listen", "routes", "pool", "handoff", "mode", "timeouts", "mss", "allow", "deny", "limits", "users",
	"targets", "proxy-from", "tokens", "transparent",
};
/* clang-format on */

static int listener_routes_read(const struct reading *r, const struct node *at,
				struct config_listener *listener)
{
	const struct node *routes = &at[LISTENER_ROUTES], *pool = &at[LISTENER_POOL];
	struct config_route *route;
	int rc;

	if (routes->yaml && pool->yaml)
		return node_fail(pool, "goes not with 'routes'; make it the last route, without a "
				       "condition");
	if (routes->yaml)
		return routes_read(r, routes, listener);
	if (!pool->yaml)
		return node_fail(routes, "is missing; a listener has 'routes', or one 'pool' for "
					 "every connection");
	route = array_add(&listener->routes, &listener->routes_len, sizeof(*route));
	if (!route)
		return -ENOMEM;
	route->line = pool->line;
	rc = pool_ref_read(r, pool, &route->pool);
	return rc < 0 ? rc : rule_check_pool(r, pool, listener, route);
}

/* Who says nothing goes where nothing is asked for. */
static int silence_check(const struct node *at, const struct config_listener *listener)
{
	if (!listener->silence_ms)
		return 0;
	if (listener->silence_ms >= listener->first_bytes_ms)
		return node_fail(&at[LISTENER_TIMEOUTS],
				 "'silence' would never be reached; it must be shorter than "
				 "'first-bytes'");
	for (unsigned int i = 0; i < listener->routes_len; i++)
		if (!route_is_conditional(&listener->routes[i]))
			return 0;
	return node_fail(&at[LISTENER_ROUTES],
			 "after the time 'silence' a client that has said nothing has nowhere to go; "
			 "add a route without conditions");
}

/* A flow's packets that come to the stack would meet the rule again that brought the client here. */
static int transparent_read(const struct node *node, struct config_listener *listener)
{
	int rc = node_bool(node, &listener->transparent);

	if (rc == 0 && listener->transparent && listener->handoff && listener->stack)
		return node_fail(node, "goes not with 'mode: stack'; leave one of them out");
	return rc;
}

/* Everything but the address */
static int listener_fill(const struct reading *r, const struct node *at,
			 struct config_listener *listener)
{
	uint32_t mss = 0;
	int rc = node_bool(&at[LISTENER_HANDOFF], &listener->handoff);

	if (rc == 0)
		rc = mode_read(&at[LISTENER_MODE], &listener->stack);
	if (rc == 0)
		rc = transparent_read(&at[LISTENER_TRANSPARENT], listener);
	if (rc == 0)
		rc = timeouts_read(&at[LISTENER_TIMEOUTS], listener);
	if (rc == 0)
		rc = node_number(&at[LISTENER_MSS], MSS_MIN, MSS_MAX, &mss);
	if (rc == 0)
		rc = config_admit_read(r->config, &at[LISTENER_ALLOW], &at[LISTENER_DENY],
				       &listener->admit);
	if (rc == 0)
		rc = limits_read(&at[LISTENER_LIMITS], &listener->limits);
	if (rc == 0)
		rc = config_users_read(r->config, &at[LISTENER_USERS], &listener->users);
	if (rc == 0)
		rc = config_targets_read(r->config, &at[LISTENER_TARGETS], &listener->reach);
	if (rc == 0)
		rc = config_proxy_from_read(&at[LISTENER_PROXY_FROM], listener);
	if (rc == 0)
		rc = config_tokens_read(&at[LISTENER_TOKENS], listener);
	if (rc == 0)
		rc = listener_routes_read(r, at, listener);
	if (rc == 0)
		rc = config_words_check(&at[LISTENER_ROUTES], listener);
	if (rc == 0)
		rc = silence_check(at, listener);
	if (rc < 0)
		return rc;
	listener->mss = (uint16_t)mss;
	listener->peek = listener->routes_len > 1 || route_is_conditional(&listener->routes[0]);
	return 0;
}

static int listener_bind(struct reading *r, const struct node *node,
			 struct config_listener *listener)
{
	const struct seen *former;
	char text[ADDR_TEXT_MAX];
	int rc = value_listen(node, &listener->addr);

	if (rc < 0)
		return rc;
	addr_format(&listener->addr, text);
	former = seen_find(&r->addresses, text);
	if (former)
		return node_fail(node,
				 "%s is listened on already in line %u; give that listener "
				 "the routes of both",
				 text, former->line);
	rc = value_copy(text, &listener->name);
	if (rc < 0)
		return rc;
	return seen_add(&r->addresses, text, 0, node->line);
}

/* May a connection of its come to an IPv6 backend? A name, and a target, may be of either family. */
static bool listener_meets_ip6(const struct config *config, const struct config_listener *l)
{
	for (unsigned int i = 0; i < l->routes_len; i++) {
		if (config_backends_any_ip6(&config->pools[l->routes[i].pool]))
			return true;
	}
	return false;
}

/*
 * To an IPv6 backend, packets of an IPv4 client leave 20 bytes longer than they came. Their
 * size is announced before anybody knows the backend, so to all of the listener's clients.
 */
static void listener_settle(const struct config *config, struct config_listener *l)
{
	if (!l->mss && l->handoff && !l->stack && l->addr.sa.sa_family == AF_INET &&
	    listener_meets_ip6(config, l))
		l->mss = MSS_CROSS;
}

/* A listener with several addresses becomes several, in a row, that share their routes. */
static int listener_read(void *arg, const struct node *node)
{
	struct reading *r = arg;
	struct config *config = r->config;
	unsigned int first = config->listeners_len, len;
	struct config_listener *listener;
	struct node at[LISTENER_KEYS], item;
	int rc = node_map(node, listener_keys, LISTENER_KEYS, at);

	if (rc < 0)
		return rc;
	if (!at[LISTENER_LISTEN].yaml)
		return node_fail(&at[LISTENER_LISTEN],
				 "is missing; it takes an address and a port, "
				 "as in \"0.0.0.0:443\"");
	rc = node_list(&at[LISTENER_LISTEN], &len);
	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		listener = array_add(&config->listeners, &config->listeners_len, sizeof(*listener));
		if (!listener)
			return -ENOMEM;
		*listener = i ? config->listeners[first] : r->defaults;
		listener->name = NULL;
		node_item(&at[LISTENER_LISTEN], i, &item);
		listener->line = item.line;
		rc = listener_bind(r, &item, listener);
		if (rc == 0 && i == 0)
			rc = listener_fill(r, at, listener);
		config->handoff |= listener->handoff;
		config->stack |= listener->handoff && listener->stack;
	}
	for (unsigned int i = first; rc == 0 && i < config->listeners_len; i++)
		listener_settle(config, &config->listeners[i]);
	return rc;
}

/* ---- the whole file ---- */

static int source_add(void *arg, const struct node *node)
{
	struct reading *r = arg;
	struct config *config = r->config;
	struct addr *source = array_add(&config->sources, &config->sources_len, sizeof(*source));

	return source ? value_source(node, source) : -ENOMEM;
}

static int name_server_add(void *arg, const struct node *node)
{
	struct reading *r = arg;
	char **servers = &r->config->name_servers, *former = *servers;
	struct addr server;
	char text[ADDR_TEXT_MAX];
	int rc = value_server(node, &server);

	if (rc < 0)
		return rc;
	addr_format(&server, text);
	if (asprintf(servers, "%s%s%s", former ? former : "", former ? "," : "", text) < 0) {
		*servers = former;
		return -ENOMEM;
	}
	free(former);
	return 0;
}

static int access_to_read(const struct node *node, struct config *config)
{
	static const char *const words[] = { [ACCESS_OFF] = "off", [ACCESS_STDERR] = "stderr" };
	unsigned int to = ACCESS_OFF;
	const char *text;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; it takes off, stderr or the path of a file");
	rc = node_text(node, &text);
	if (rc == 0 && *text == '/') {
		config->access_to = ACCESS_FILE;
		return value_file(node, PATH_MAX - 1, &config->access_path);
	}
	if (rc == 0)
		rc = node_word(node, words, 2, "the path of a file", &to);
	config->access_to = (enum access_to)to;
	return rc;
}

static int access_log_read(const struct node *node, struct config *config)
{
	enum {
		TO,
		FORMAT,
		KEYS
	};
	static const char *const keys[KEYS] = { "to", "format" };
	static const char *const formats[] = { [ACCESS_JSON] = "json", [ACCESS_TEXT] = "text" };
	unsigned int format = ACCESS_JSON;
	struct node at[KEYS];
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0)
		rc = access_to_read(&at[TO], config);
	if (rc == 0)
		rc = node_word(&at[FORMAT], formats, 2, NULL, &format);
	config->access_format = (enum access_format)format;
	return rc;
}

enum top_key {
	TOP_LISTENERS,
	TOP_POOLS,
	TOP_WORKERS,
	TOP_HANDOFF,
	TOP_MODE,
	TOP_TIMEOUTS,
	TOP_FLOWS,
	TOP_SOURCE_PORTS,
	TOP_SOURCES,
	TOP_NAME_SERVERS,
	TOP_INTERFACES,
	TOP_CONTROL,
	TOP_CONTROL_GROUP,
	TOP_USER,
	TOP_PIN,
	TOP_ACCESS_LOG,
	TOP_REMOVED_BACKENDS,
	TOP_FORWARDS,
	TOP_ACCELERATE,
	TOP_KEYS,
};
/* clang-format off */
static const char *const top_keys[TOP_KEYS] = {
	"listeners", "pools", "workers", "handoff", "mode", "timeouts", "flows", "source-ports", "sources",
	"name-servers", "interfaces", "control", "control-group", "user", "pin", "access-log", "removed-backends",
	"forwards", "accelerate",
};
/* clang-format on */

static int removed_read(const struct node *node, uint32_t *out_ms)
{
	static const char *const words[] = { "keep", "cut" };
	unsigned int word = *out_ms == 0;
	const char *text;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc == 0 && isdigit((unsigned char)*text))
		return node_ms(node, out_ms);
	if (rc == 0)
		rc = node_word(node, words, 2, "a time such as 10m", &word);
	*out_ms = word ? 0 : CONFIG_KEEP;
	return rc;
}

_Static_assert(TOP_KEYS <= CONFIG_KEYS, "what was said of each is kept");

/* After their values were found right: they are short */
static int said_keep(const struct node *at, struct config *config)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < TOP_KEYS; i++) {
		struct config_said *said = &config->said[i];

		said->key = top_keys[i];
		said->line = at[i].line;
		if (at[i].yaml && i != TOP_LISTENERS && i != TOP_POOLS && i != TOP_FORWARDS)
			rc = node_write(&at[i], &said->text);
	}
	return rc;
}

const struct config_said *config_said(const struct config *config, const char *key)
{
	const struct config_said *said = config->said;

	while (strcmp(said->key, key) != 0)
		said++;
	return said;
}

/* Names only: whether there are such a user and group is asked at the start. */
static int identity_read(const struct node *at, struct config *config)
{
	int rc = 0;

	if (at[TOP_CONTROL_GROUP].yaml)
		rc = value_label(&at[TOP_CONTROL_GROUP], &config->control_group);
	if (rc == 0 && at[TOP_USER].yaml)
		rc = value_label(&at[TOP_USER], &config->user);
	return rc;
}

/* All but listeners, pools and forwards */
static int settings_read(struct reading *r, const struct node *at)
{
	struct config *config = r->config;
	int rc = node_number(&at[TOP_WORKERS], 1, WORKERS_MAX, &config->workers);

	if (rc == 0)
		rc = node_bool(&at[TOP_HANDOFF], &r->defaults.handoff);
	if (rc == 0)
		rc = mode_read(&at[TOP_MODE], &r->defaults.stack);
	if (rc == 0)
		rc = timeouts_read(&at[TOP_TIMEOUTS], &r->defaults);
	if (rc == 0)
		rc = node_number(&at[TOP_FLOWS], 1, FLOWS_MAX, &config->flows_max);
	if (rc == 0)
		rc = node_range(&at[TOP_SOURCE_PORTS], 1, UINT16_MAX, &config->port_min,
				&config->port_max);
	if (rc == 0 && at[TOP_SOURCES].yaml)
		rc = node_each(&at[TOP_SOURCES], source_add, r);
	if (rc == 0 && at[TOP_NAME_SERVERS].yaml)
		rc = node_each(&at[TOP_NAME_SERVERS], name_server_add, r);
	if (rc == 0)
		rc = value_interfaces(&at[TOP_INTERFACES], &config->interfaces);
	if (rc == 0 && at[TOP_CONTROL].yaml)
		rc = value_file(&at[TOP_CONTROL], CONTROL_BYTES_MAX, &config->control);
	else if (rc == 0)
		rc = value_copy(CONTROL_DEFAULT, &config->control);
	if (rc == 0)
		rc = identity_read(at, config);
	if (rc == 0 && at[TOP_PIN].yaml)
		rc = value_file(&at[TOP_PIN], PATH_MAX - 1, &config->pin);
	config->workers_given = at[TOP_WORKERS].yaml;
	if (rc == 0)
		rc = access_log_read(&at[TOP_ACCESS_LOG], config);
	if (rc == 0)
		rc = removed_read(&at[TOP_REMOVED_BACKENDS], &config->removed_ms);
	if (rc == 0)
		rc = config_accelerate_read(&at[TOP_ACCELERATE], &config->accelerate);
	config->idle_ms = r->defaults.idle_ms;
	config->half_closed_ms = r->defaults.half_closed_ms;
	return rc == 0 ? said_keep(at, config) : rc;
}

static int file_parse(struct reading *r, const struct node *root)
{
	struct node at[TOP_KEYS];
	int rc = node_map(root, top_keys, TOP_KEYS, at);

	if (rc < 0)
		return rc;
	if (!at[TOP_LISTENERS].yaml && !at[TOP_FORWARDS].yaml && !at[TOP_ACCELERATE].yaml)
		return node_fail(&at[TOP_LISTENERS], "is missing; without one nobody can connect");
	if (!at[TOP_POOLS].yaml && at[TOP_LISTENERS].yaml)
		return node_fail(&at[TOP_POOLS], "is missing; without one there is nowhere to go");
	rc = settings_read(r, at);
	if (rc == 0 && at[TOP_POOLS].yaml)
		rc = node_each(&at[TOP_POOLS], pool_read, r);
	if (rc == 0 && at[TOP_LISTENERS].yaml)
		rc = node_each(&at[TOP_LISTENERS], listener_read, r);
	return rc < 0 ? rc : config_forwards_read(&at[TOP_FORWARDS], r->config, pool_ref_get,
						      r);
}

static struct config *config_new(const char *path)
{
	struct config *config = calloc(1, sizeof(*config));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!config)
		return NULL;
	config->workers = cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (unsigned int)cpus;
	config->flows_max = FLOWS_DEFAULT;
	config->removed_ms = CONFIG_KEEP;
	if (value_copy(path, &config->path) < 0) {
		config_free(config);
		return NULL;
	}
	return config;
}

struct config *config_parse(const char *path, const void *text, size_t len, char **error)
{
	struct reading r = {
		.config = config_new(path),
		.defaults = { .handoff = true,
			      .first_bytes_ms = FIRST_BYTES_MS,
			      .connect_ms = CONNECT_MS,
			      .idle_ms = IDLE_MS,
			      .half_closed_ms = HALF_CLOSED_MS },
	};
	struct node_file file;
	struct node root;
	int rc = node_file_open(&file, path, text, len, &root);

	if (rc == 0)
		rc = r.config ? file_parse(&r, &root) : -ENOMEM;
	node_file_close(&file);
	tdestroy(r.pools, free);
	tdestroy(r.addresses, free);
	*error = NULL;
	if (rc == 0)
		return r.config;
	config_free(r.config);
	*error = file.error ? file.error : strdup("out of memory");
	return NULL;
}

struct config *config_load(const char *path, char **error)
{
	_free_ char *text = NULL;
	size_t len = 0;
	int rc = file_read(path, FILE_BYTES_MAX, &text, &len);

	if (rc == 0)
		return config_parse(path, text, len, error);
	if (rc == -EACCES)
		rc = asprintf(error,
			      "%s: cannot be read by user %u: %s; let that user read the file and "
			      "search the directories above it",
			      path, geteuid(), strerror(EACCES));
	else
		rc = asprintf(error, "%s: cannot be read: %s", path, strerror(-rc));
	if (rc < 0)
		*error = NULL;
	return NULL;
}

static void pool_fini(struct config_pool *pool)
{
	config_backends_free(pool);
	for (unsigned int i = 0; i < HEALTH_TEXTS; i++)
		free(pool->health.texts[i]);
	for (char **word = pool->health.command; word && *word; word++)
		free(*word);
	free(pool->health.command);
	free(pool->name);
}

static void routes_free(struct config_route *routes, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		free(routes[i].tls);
		free(routes[i].alpn);
		free(routes[i].http_host);
		free(routes[i].http_path);
		free(routes[i].target);
		free(routes[i].starts);
		free(routes[i].regex);
	}
	free(routes);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (unsigned int i = 0; i < config->pools_len; i++)
		pool_fini(&config->pools[i]);
	for (unsigned int i = 0; i < config->listeners_len; i++) {
		const struct config_listener *l = &config->listeners[i];

		/* neighbours share */
		if (i + 1 == config->listeners_len || l[1].routes != l->routes) {
			routes_free(l->routes, l->routes_len);
			config_proxy_from_free(l);
			keys_free(l->keys);
		}
		free(l->name);
	}
	for (unsigned int i = 0; i < CONFIG_KEYS; i++)
		free(config->said[i].text);
	config_forwards_free(config);
	config_admits_free(config);
	config_users_free(config);
	config_targets_free(config);
	texts_free(config->interfaces);
	config_accelerate_free(&config->accelerate);
	free(config->listeners);
	free(config->pools);
	free(config->sources);
	free(config->name_servers);
	free(config->control);
	free(config->control_group);
	free(config->user);
	free(config->pin);
	free(config->access_path);
	free(config->path);
	free(config);
}
