// SPDX-License-Identifier: GPL-2.0-only
/*
 * route.c - which pool gets which connection
 *
 * Rules are sorted into groups of one kind and name; a hash table finds a
 * group by its name. A name is hashed from its end, so that one walk over
 * a.b.example.org yields the hashes of itself and of .b.example.org,
 * .example.org, .org and "", which are the names of the wildcards *.b.example.org
 * and so on, the last of them "*". They are asked in that order, the most
 * specific first. Within a group a TLS rule is found by walking the ALPNs, an
 * HTTP rule by bisecting the paths.
 */
#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "words.h"

#define NO_RULE UINT32_MAX

/* What a name is looked up as */
enum kind {
	KIND_TLS,	  /* exactly this server name */
	KIND_TLS_SUFFIX,  /* any server name that ends so */
	KIND_HTTP,	  /* exactly this host */
	KIND_HTTP_SUFFIX, /* any host that ends so */
	KIND_TARGET,	  /* exactly this target of SOCKS, CONNECT or a ladon prefix */
	KIND_TARGET_SUFFIX,
};

struct rule {
	const struct config_route *route;
	const char *name; /* without the '*' */
	const char *path; /* "": any */
	enum kind kind;
	uint32_t name_hash;
	uint32_t group_len; /* of the group that begins here */
	uint32_t shorter;   /* the rule with the longest path that this path begins with */
};

struct route_table {
	const struct config_route *otherwise; /* the rule without conditions */
	struct rule *rules;		      /* sorted by group, then path or ALPN */
	uint32_t rules_len;
	uint32_t *slots; /* rules that begin a group; NO_RULE: free */
	uint32_t slots_mask;
	const struct config_route *routes; /* all of them: words know theirs by index */
	struct words *words;		   /* NULL: there are none */
};

/* ---- hashing ---- */

/* FNV-1a, 32 bits, over the bytes from the last to the first */
static uint32_t hash_start(enum kind kind)
{
	return (2166136261u ^ (uint32_t)kind) * 16777619u;
}

static uint32_t hash_add(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

static uint32_t hash_name(enum kind kind, const char *name)
{
	uint32_t hash = hash_start(kind);

	for (size_t i = strlen(name); i-- > 0;)
		hash = hash_add(hash, name[i]);
	return hash;
}

/* Where a group is, or the free slot where it would be. */
static uint32_t *slot_find(const struct route_table *table, enum kind kind, const char *name,
			   uint32_t hash)
{
	for (uint32_t i = hash;; i++) {
		uint32_t *slot = &table->slots[i & table->slots_mask];
		const struct rule *rule;

		if (*slot == NO_RULE)
			return slot;
		rule = &table->rules[*slot];
		if (rule->name_hash == hash && rule->kind == kind && strcmp(rule->name, name) == 0)
			return slot;
	}
}

/* ---- building ---- */

/* The one name that a rule has. NULL: it has no conditions */
static const char *route_name(const struct config_route *route, enum kind *kind)
{
	*kind = route->tls ? KIND_TLS : route->target ? KIND_TARGET : KIND_HTTP;
	return route->tls ? route->tls : route->target ? route->target : route->http_host;
}

static void rule_init(struct rule *rule, const struct config_route *route)
{
	rule->route = route;
	rule->name = route_name(route, &rule->kind);
	if (*rule->name == '*') {
		rule->kind++;
		rule->name++;
	}
	rule->path = route->http_path ? route->http_path : "";
	rule->name_hash = hash_name(rule->kind, rule->name);
	rule->shorter = NO_RULE;
}

static bool same_group(const struct rule *a, const struct rule *b)
{
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

/* qsort(3): by group, by path, with an ALPN first, then as in the file */
static int rule_compare(const void *left, const void *right)
{
	const struct rule *a = left, *b = right;
	int order = (int)a->kind - (int)b->kind;

	if (!order)
		order = strcmp(a->name, b->name);
	if (!order)
		order = strcmp(a->path, b->path);
	if (!order)
		order = !a->route->alpn - !b->route->alpn;
	if (!order)
		order = a->route < b->route ? -1 : 1;
	return order;
}

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/*
 * In sorted order a path stands after all that it begins with, and what stands
 * between begins with them too: the nearest is the neighbour, or up from it.
 */
static void rule_link(struct rule *rules, uint32_t index)
{
	uint32_t i = index - 1;

	while (i != NO_RULE && !begins_with(rules[index].path, rules[i].path))
		i = rules[i].shorter;
	rules[index].shorter = i;
}

static void groups_index(struct route_table *table)
{
	struct rule *first = NULL;

	for (uint32_t i = 0; i < table->rules_len; i++) {
		struct rule *rule = &table->rules[i];

		if (first && same_group(first, rule)) {
			rule_link(table->rules, i);
		} else {
			first = rule;
			*slot_find(table, rule->kind, rule->name, rule->name_hash) = i;
		}
		first->group_len++;
	}
}

struct route_table *route_table_new(const struct config_listener *listener)
{
	struct route_table *table = calloc(1, sizeof(*table));
	uint32_t slots = 2;

	while (slots < 2 * listener->routes_len)
		slots *= 2;
	if (!table)
		return NULL;
	table->slots_mask = slots - 1;
	table->slots = malloc(slots * sizeof(*table->slots));
	table->rules = calloc(listener->routes_len, sizeof(*table->rules));
	table->routes = listener->routes;
	if (!table->slots || !table->rules || words_new(listener, &table->words) < 0) {
		route_table_free(table);
		return NULL;
	}
	for (unsigned int i = 0; i < listener->routes_len; i++) {
		const struct config_route *route = &listener->routes[i];
		enum kind kind;

		if (route->starts || route->regex)
			continue;
		if (route_name(route, &kind))
			rule_init(&table->rules[table->rules_len++], route);
		else if (!table->otherwise)
			table->otherwise = route;
	}
	qsort(table->rules, table->rules_len, sizeof(*table->rules), rule_compare);
	memset(table->slots, 0xff, slots * sizeof(*table->slots));
	groups_index(table);
	return table;
}

void route_table_free(struct route_table *table)
{
	if (!table)
		return;
	words_free(table->words);
	free(table->slots);
	free(table->rules);
	free(table);
}

/* ---- looking up ---- */

const struct words *route_table_words(const struct route_table *table)
{
	return table->words;
}

static const struct config_route *group_find_alpn(const struct rule *group,
						  const struct hello *hello)
{
	for (uint32_t i = 0; i < group->group_len; i++) {
		const struct config_route *route = group[i].route;

		if (!route->alpn || hello_offers(hello, route->alpn))
			return route;
	}
	return NULL;
}

/* The last path that sorts no later, or one that this begins with: see rule_link(). */
static const struct config_route *group_find_path(const struct route_table *table,
						  const struct rule *group, const char *path)
{
	uint32_t low = 0, high = group->group_len, i;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(group[middle].path, path) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	for (i = (uint32_t)(group - table->rules) + low - 1; i != NO_RULE;
	     i = table->rules[i].shorter)
		if (begins_with(path, table->rules[i].path))
			return table->rules[i].route;
	return NULL;
}

static const struct config_route *group_find(const struct route_table *table, enum kind kind,
					     const char *name, uint32_t hash,
					     const struct hello *hello)
{
	uint32_t slot = *slot_find(table, kind, name, hash);

	if (slot == NO_RULE)
		return NULL;
	if (hello->protocol == PEEK_PROTOCOL_TLS)
		return group_find_alpn(&table->rules[slot], hello);
	return group_find_path(table, &table->rules[slot], hello->path);
}

/* @exact: the kind for the name itself; the one after it is for its suffixes */
static const struct config_route *name_find(const struct route_table *table, enum kind exact,
					    const struct hello *hello)
{
	struct {
		const char *name;
		uint32_t hash;
	} suffixes[PEEK_NAME_MAX];
	uint32_t hash = hash_start(exact), suffix_hash = hash_start(exact + 1);
	const struct config_route *route;
	unsigned int len = 0;
	size_t i = strlen(hello->name);

	suffixes[len].name = hello->name + i;
	suffixes[len++].hash = suffix_hash;
	while (i-- > 0) {
		hash = hash_add(hash, hello->name[i]);
		suffix_hash = hash_add(suffix_hash, hello->name[i]);
		if (hello->name[i] == '.' && i > 0) {
			suffixes[len].name = hello->name + i;
			suffixes[len++].hash = suffix_hash;
		}
	}
	route = group_find(table, exact, hello->name, hash, hello);
	while (!route && len-- > 0)
		route = group_find(table, exact + 1, suffixes[len].name, suffixes[len].hash, hello);
	return route;
}

const struct config_route *route_find(const struct route_table *table, const struct hello *hello)
{
	const struct config_route *route = NULL;

	switch (hello->protocol) {
	case PEEK_PROTOCOL_SOCKS4:
	case PEEK_PROTOCOL_SOCKS5:
	case PEEK_PROTOCOL_CONNECT:
	case PEEK_PROTOCOL_PREFIX:
		return name_find(table, KIND_TARGET, hello);
	case PEEK_PROTOCOL_TLS:
		route = name_find(table, KIND_TLS, hello);
		break;
	case PEEK_PROTOCOL_HTTP1:
	case PEEK_PROTOCOL_HTTP2:
		route = name_find(table, KIND_HTTP, hello);
		break;
	case PEEK_PROTOCOL_WORDS:
		return &table->routes[hello->word];
	case PEEK_PROTOCOL_NONE:
		break;
	}
	return route ? route : table->otherwise;
}
