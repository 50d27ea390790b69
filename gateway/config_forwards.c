// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_forwards.c - the key 'forwards' of ladon.yaml
 *
 * One that is added at run time is read in the same way, from a file of one line: the request.
 */
#include "config_forwards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "config_value.h"
#include "taken.h"

#define FORWARDS_MAX 65536
#define SHIFTED_MAX  262144 /* ports of ranges that become other ports: an element of a map each */

static const char listen_form[] = "it takes an address and a port or a range of ports, as in "
				  "\"192.0.2.1:8000-8010\" or \"[2001:db8::1]:443\"";

/* ---- addresses with ports ---- */

static int endpoint_refuse(const struct node *node, const char *text)
{
	return node_fail(node, "\"%.80s\" will not do; %s", text, listen_form);
}

/* @text: "ADDRESS:PORT" or "ADDRESS:PORT-PORT". @last: host order */
static int endpoint_read(const struct node *node, struct addr *out, uint16_t *last)
{
	_free_ char *first = NULL;
	unsigned long to;
	const char *text, *dash, *sort;
	char *end;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; %s", listen_form);
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	dash = strrchr(text, '-');
	first = dash ? strndup(text, (size_t)(dash - text)) : strdup(text);
	if (!first)
		return -ENOMEM;
	if (addr_parse(first, out) < 0 || addr_port(out) == 0)
		return endpoint_refuse(node, text);
	sort = addr_stays(out);
	if (sort)
		return node_fail(
			node,
			"\"%.80s\" is a %s address, and packets to such are not forwarded; "
			"use another one of that host",
			text, sort);
	if (addr_family(out) != out->sa.sa_family)
		return node_fail(node,
				 "\"%.80s\" is an IPv4 address, which no IPv6 packet has; write it "
				 "as one",
				 text);
	*last = addr_port(out);
	if (!dash)
		return 0;
	to = strtoul(dash + 1, &end, 10);
	if (dash[1] < '0' || dash[1] > '9' || *end || to > UINT16_MAX)
		return endpoint_refuse(node, text);
	if (to < *last)
		return node_fail(node, "\"%.80s\" ends before it begins", text);
	*last = (uint16_t)to;
	return 0;
}

static unsigned int ports_len(const struct config_forward *forward)
{
	return (unsigned int)forward->last - addr_port(&forward->listen) + 1;
}

static const char *family_name(const struct addr *addr)
{
	return addr->sa.sa_family == AF_INET ? "IPv4" : "IPv6";
}

static int family_check(const struct node *node, const struct config_forward *forward,
			const struct addr *addr)
{
	if (addr->sa.sa_family == forward->listen.sa.sa_family)
		return 0;
	return node_fail(node,
			 "is %s and 'listen' is %s, and the kernel translates no family into "
			 "the other; use a listener and a pool for that",
			 family_name(addr), family_name(&forward->listen));
}

static int to_read(const struct node *node, struct config_forward *forward)
{
	unsigned int wanted = ports_len(forward), given;
	uint16_t last;
	int rc = endpoint_read(node, &forward->to, &last);

	if (rc == 0 && addr_is_any(&forward->to))
		return node_fail(node, "is no address to forward to; name the server's");
	if (rc == 0)
		rc = family_check(node, forward, &forward->to);
	if (rc < 0)
		return rc;
	given = (unsigned int)last - addr_port(&forward->to) + 1;
	if (given != wanted)
		return node_fail(node, "has %u ports and 'listen' %u; give both as many", given,
				 wanted);
	return 0;
}

/* Where it finds the pools */
struct pool_refs {
	const struct config *config;
	config_pool_ref_fn *fn;
	const void *arg;
};

/* Why the kernel can send nobody to its backends; NULL: it can */
static const char *pool_unfit(const struct config_pool *pool)
{
	if (pool->backends[0].requested || pool->backends[0].original)
		return "has no backends of its own, and the kernel asks nobody; use a listener";
	if (pool->send_proxy.version)
		return "has send-proxy, and the kernel says nothing by itself; use a listener";
	return NULL;
}

static int pool_read(const struct node *node, const struct pool_refs *refs,
		     struct config_forward *forward)
{
	const struct config_pool *pool;
	const char *unfit;
	int rc = refs->fn(refs->arg, node, &forward->pool);

	if (rc < 0)
		return rc;
	pool = &refs->config->pools[forward->pool];
	forward->has_pool = true;
	unfit = pool_unfit(pool);
	if (unfit)
		return node_fail(node, "pool \"%.80s\" %s", pool->name, unfit);
	if (ports_len(forward) > 1)
		return node_fail(node,
				 "takes one port, since its backends have one each, and "
				 "'listen' has %u",
				 ports_len(forward));
	return 0;
}

static int where_read(const struct node *to, const struct node *pool, const struct pool_refs *refs,
		      struct config_forward *forward)
{
	if (!pool->yaml)
		return to_read(to, forward);
	if (to->yaml)
		return node_fail(pool, "does not go with 'to'; leave one of them out");
	return pool_read(pool, refs, forward);
}

/* ---- sources ---- */

static int source_read(const struct node *node, struct config_forward *forward)
{
	int rc;

	if (!node->yaml || node_is(node, "keep"))
		return 0;
	if (node_is(node, "masquerade")) {
		forward->source = FORWARD_MASQUERADE;
		return 0;
	}
	forward->source = FORWARD_FIXED;
	rc = value_source(node, &forward->source_addr);
	return rc < 0 ? rc : family_check(node, forward, &forward->source_addr);
}

static int hairpin_read(const struct node *node, struct config_forward *forward)
{
	char why[CIDR_WHY_MAX];
	const char *text;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	if (cidr_parse(text, &forward->hairpin, why) < 0)
		return node_fail(node, "%s", why);
	if (!strchr(text, ':') != (forward->listen.sa.sa_family == AF_INET))
		return node_fail(node, "is of another family than 'listen'");
	if (forward->source != FORWARD_KEEP)
		return node_fail(node, "goes only with 'source: keep'; otherwise every client's "
				       "source is changed already");
	forward->has_hairpin = true;
	return 0;
}

/* ---- one forward ---- */

static int protocol_read(const struct node *node, struct config_forward *forward)
{
	static const char *const words[] = { "tcp", "udp", "both" };
	unsigned int word = 0;
	int rc = node_word(node, words, 3, NULL, &word);

	forward->tcp = word != 1;
	forward->udp = word != 0;
	return rc;
}

static int forward_read(const struct node *node, const struct pool_refs *refs,
			struct config_forward *forward)
{
	enum {
		LISTEN,
		PROTOCOL,
		TO,
		POOL,
		SOURCE,
		HAIRPIN,
		WHEN_GONE,
		KEYS
	};
	static const char *const keys[KEYS] = { "listen", "protocol", "to",	  "pool",
						"source", "hairpin",  "when-gone" };
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	forward->line = node->line;
	if (rc == 0)
		rc = endpoint_read(&at[LISTEN], &forward->listen, &forward->last);
	if (rc == 0)
		rc = protocol_read(&at[PROTOCOL], forward);
	if (rc == 0)
		rc = where_read(&at[TO], &at[POOL], refs, forward);
	if (rc == 0)
		rc = source_read(&at[SOURCE], forward);
	if (rc == 0)
		rc = hairpin_read(&at[HAIRPIN], forward);
	return rc < 0 ? rc : value_reset(&at[WHEN_GONE], &forward->reset);
}

/* ---- against each other, and against listeners ---- */

const struct config_listener *config_forward_listener(const struct config *config,
						      const struct config_forward *forward)
{
	for (unsigned int l = 0; forward->tcp && l < config->listeners_len; l++) {
		const struct config_listener *listener = &config->listeners[l];
		struct addr at = listener->addr;
		uint16_t port = addr_port(&at);

		addr_set_port(&at, addr_port(&forward->listen));
		if (at.sa.sa_family != forward->listen.sa.sa_family ||
		    port < addr_port(&forward->listen) || port > forward->last)
			continue;
		if (addr_is_any(&at) || addr_is_any(&forward->listen) ||
		    addr_equal(&at, &forward->listen))
			return listener;
	}
	return NULL;
}

static int listener_check(const struct node *node, const struct config *config,
			  const struct config_forward *forward)
{
	const struct config_listener *listener = config_forward_listener(config, forward);

	if (!listener)
		return 0;
	return node_fail(node,
			 "takes port %u from the listener %s of line %u; leave it to one of them",
			 addr_port(&listener->addr), listener->name, listener->line);
}

static int overlaps_check(const struct node *list, const struct config *config)
{
	const struct config_forward *former, *later;
	struct taken taken;
	struct node item;
	uint16_t port;
	bool udp;
	int rc = taken_init(&taken, config->forwards, config->forwards_len);

	if (rc == 0 && taken_clash(&taken, &former, &later, &port, &udp)) {
		node_item(list, (unsigned int)(later - config->forwards), &item);
		rc = node_fail(&item,
			       "takes %s port %u, which the forward of line %u has; leave it to "
			       "one of them",
			       udp ? "UDP" : "TCP", port, former->line);
	}
	taken_fini(&taken);
	return rc;
}

/* ---- the list ---- */

int config_forwards_fit(const struct config_forward *forwards, unsigned int len, char **why)
{
	uint64_t shifted = 0;
	int rc = 0;

	*why = NULL;
	for (unsigned int i = 0; i < len; i++) {
		const struct config_forward *forward = &forwards[i];

		if (!forward->has_pool && addr_port(&forward->listen) != addr_port(&forward->to))
			shifted += ports_len(forward) * (forward->tcp + forward->udp);
	}
	if (len > FORWARDS_MAX)
		rc = asprintf(why, "has %u forwards; up to %u may be", len, FORWARDS_MAX);
	else if (shifted > SHIFTED_MAX)
		rc = asprintf(why,
			      "changes %llu port numbers; up to %u may be, the others must stay as "
			      "they are",
			      (unsigned long long)shifted, SHIFTED_MAX);
	else
		return 0;
	if (rc < 0)
		*why = NULL;
	return rc < 0 ? -ENOMEM : -E2BIG;
}

static int size_check(const struct node *list, const struct config *config)
{
	_free_ char *why = NULL;
	int rc = config_forwards_fit(config->forwards, config->forwards_len, &why);

	return why ? node_fail(list, "%s", why) : rc;
}

struct forwards_reading {
	struct config *config;
	const struct pool_refs *refs;
};

static int forward_add(void *arg, const struct node *item)
{
	const struct forwards_reading *reading = arg;
	struct config *config = reading->config;
	struct config_forward *forward = &config->forwards[config->forwards_len++];
	int rc = forward_read(item, reading->refs, forward);

	return rc < 0 ? rc : listener_check(item, config, forward);
}

int config_forwards_read(const struct node *node, struct config *config,
			 config_pool_ref_fn *pool_ref, const void *arg)
{
	const struct pool_refs refs = { config, pool_ref, arg };
	struct forwards_reading reading = { config, &refs };
	unsigned int len;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	if (len > FORWARDS_MAX)
		return node_fail(node, "has %u forwards; up to %u may be", len, FORWARDS_MAX);
	config->forwards = calloc(len, sizeof(*config->forwards));
	if (!config->forwards)
		return -ENOMEM;
	rc = node_each(node, forward_add, &reading);
	if (rc == 0)
		rc = overlaps_check(node, config);
	return rc == 0 ? size_check(node, config) : rc;
}

void config_forwards_free(struct config *config)
{
	free(config->forwards);
}

/* ---- at run time ---- */

/* Its line is always the first; who asked sees what he asked. Return: -EINVAL or -ENOMEM */
static int request_fail(struct node_file *file, char **why)
{
	const char *after = file->error ? strstr(file->error, ": ") : NULL;

	*why = after ? strdup(after + 2) : NULL;
	free(file->error);
	return *why ? -EINVAL : -ENOMEM;
}

/* Return: its index; -1: there is none of the name */
static int pool_find(const struct config *config, const char *name)
{
	for (unsigned int p = 0; p < config->pools_len; p++)
		if (strcmp(config->pools[p].name, name) == 0)
			return (int)p;
	return -1;
}

static int pool_ref(const void *arg, const struct node *node, unsigned int *out)
{
	const char *name;
	int rc = node_text(node, &name), found;

	if (rc < 0)
		return rc;
	found = pool_find(arg, name);
	if (found < 0)
		return node_fail(node, "no pool is named \"%.80s\"; ladon pool shows them", name);
	*out = (unsigned int)found;
	return 0;
}

int config_forward_parse(const char *text, const struct config *config, struct config_forward *out,
			 char **why)
{
	const struct pool_refs refs = { config, pool_ref, config };
	struct config_forward forward = { 0 };
	struct node_file file;
	struct node root;
	int rc = node_file_open(&file, "request", text, strlen(text), &root);

	if (rc == 0)
		rc = forward_read(&root, &refs, &forward);
	if (rc == 0)
		rc = listener_check(&root, config, &forward);
	node_file_close(&file);
	if (rc < 0)
		return request_fail(&file, why);
	forward.line = 0;
	*out = forward;
	return 0;
}

int config_forward_follow(struct config_forward *forward, const struct config *former,
			  const struct config *next, char **why)
{
	char listen[PORTS_TEXT_MAX];
	const char *name, *unfit = "is not in it any more";
	int found;

	if (!forward->has_pool)
		return 0;
	name = former->pools[forward->pool].name;
	found = pool_find(next, name);
	if (found >= 0)
		unfit = pool_unfit(&next->pools[found]);
	if (unfit) {
		if (asprintf(why, "pool \"%.80s\" %s; %s, added at run time, leads to it", name,
			     unfit, config_ports_format(forward, &forward->listen, listen)) < 0)
			*why = NULL;
		return *why ? -ENOENT : -ENOMEM;
	}
	forward->pool = (unsigned int)found;
	return 0;
}

int config_forward_name_parse(const char *text, struct config_forward *out, char **why)
{
	static const char *const keys[] = { "listen", "protocol" };
	struct config_forward forward = { 0 };
	struct node_file file;
	struct node root, at[2];
	int rc = node_file_open(&file, "request", text, strlen(text), &root);

	if (rc == 0)
		rc = node_map(&root, keys, 2, at);
	if (rc == 0)
		rc = endpoint_read(&at[0], &forward.listen, &forward.last);
	if (rc == 0 && at[1].yaml)
		rc = protocol_read(&at[1], &forward);
	node_file_close(&file);
	if (rc < 0)
		return request_fail(&file, why);
	*out = forward;
	return 0;
}

/* ---- as text ---- */

char *config_ports_format(const struct config_forward *forward, const struct addr *first,
			  char out[PORTS_TEXT_MAX])
{
	size_t len = strlen(addr_format(first, out));
	unsigned int more = ports_len(forward) - 1;

	if (more)
		snprintf(out + len, PORTS_TEXT_MAX - len, "-%u", addr_port(first) + more);
	return out;
}
