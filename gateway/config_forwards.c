// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_forwards.c - the key 'forwards' of ladon.yaml
 *
 * Each forward is read, then all are sorted by what they take: two that take the same
 * address, protocol and port are neighbours then. 10,000 of them are a matter of course.
 */
#include "config_forwards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "config_value.h"

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
	const char *text, *dash;
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
	if (addr_is_any(out))
		return node_fail(node,
				 "\"%.80s\" is no address to forward; name it, since packets "
				 "for any address would be those that are only passing",
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

static int forward_read(const struct node *node, struct config_forward *forward)
{
	enum {
		LISTEN,
		PROTOCOL,
		TO,
		SOURCE,
		HAIRPIN,
		KEYS
	};
	static const char *const keys[KEYS] = { "listen", "protocol", "to", "source", "hairpin" };
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	forward->line = node->line;
	if (rc == 0)
		rc = endpoint_read(&at[LISTEN], &forward->listen, &forward->last);
	if (rc == 0)
		rc = protocol_read(&at[PROTOCOL], forward);
	if (rc == 0)
		rc = to_read(&at[TO], forward);
	if (rc == 0)
		rc = source_read(&at[SOURCE], forward);
	if (rc == 0)
		rc = hairpin_read(&at[HAIRPIN], forward);
	return rc;
}

/* ---- against each other, and against listeners ---- */

static int listener_check(const struct node *node, const struct config *config,
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
		if (addr_is_any(&at) || addr_equal(&at, &forward->listen))
			return node_fail(node,
					 "takes port %u from the listener %s of line %u; "
					 "leave it to one of them",
					 port, listener->name, listener->line);
	}
	return 0;
}

/* What a forward takes of one protocol */
struct taken {
	const struct config_forward *forward;
	unsigned int index; /* in the file */
	bool udp;
};

static int taken_compare(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;
	struct addr first = x->forward->listen, second = y->forward->listen;
	int order;

	if (x->udp != y->udp)
		return x->udp - y->udp;
	addr_set_port(&first, 0);
	addr_set_port(&second, 0);
	order = addr_compare(&first, &second);
	if (order)
		return order;
	return addr_port(&x->forward->listen) - addr_port(&y->forward->listen);
}

static bool taken_overlap(const struct taken *a, const struct taken *b)
{
	struct addr first = a->forward->listen, second = b->forward->listen;

	addr_set_port(&first, 0);
	addr_set_port(&second, 0);
	return a->udp == b->udp && addr_equal(&first, &second) &&
	       addr_port(&b->forward->listen) <= a->forward->last;
}

static int overlap_fail(const struct node *list, const struct taken *a, const struct taken *b)
{
	const struct taken *later = a->index > b->index ? a : b, *former = later == a ? b : a;
	struct node item;

	node_item(list, later->index, &item);
	return node_fail(&item,
			 "takes %s port %u, which the forward of line %u has; leave it to one "
			 "of them",
			 a->udp ? "UDP" : "TCP", addr_port(&b->forward->listen),
			 former->forward->line);
}

static int overlaps_check(const struct node *list, const struct config *config)
{
	_free_ struct taken *taken = calloc(2 * (size_t)config->forwards_len, sizeof(*taken));
	size_t len = 0;

	if (!taken)
		return -ENOMEM;
	for (unsigned int i = 0; i < config->forwards_len; i++) {
		const struct config_forward *forward = &config->forwards[i];

		if (forward->tcp)
			taken[len++] = (struct taken){ forward, i, false };
		if (forward->udp)
			taken[len++] = (struct taken){ forward, i, true };
	}
	qsort(taken, len, sizeof(*taken), taken_compare);
	for (size_t i = 1; i < len; i++)
		if (taken_overlap(&taken[i - 1], &taken[i]))
			return overlap_fail(list, &taken[i - 1], &taken[i]);
	return 0;
}

/* ---- the list ---- */

static int size_check(const struct node *list, const struct config *config)
{
	uint64_t shifted = 0;

	for (unsigned int i = 0; i < config->forwards_len; i++) {
		const struct config_forward *forward = &config->forwards[i];

		if (addr_port(&forward->listen) != addr_port(&forward->to))
			shifted += ports_len(forward) * (forward->tcp + forward->udp);
	}
	if (shifted > SHIFTED_MAX)
		return node_fail(list,
				 "changes %llu port numbers; up to %u may be, the others must "
				 "stay as they are",
				 (unsigned long long)shifted, SHIFTED_MAX);
	return 0;
}

int config_forwards_read(const struct node *node, struct config *config)
{
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
	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		struct node item;

		node_item(node, i, &item);
		rc = forward_read(&item, &config->forwards[config->forwards_len++]);
		if (rc == 0)
			rc = listener_check(&item, config, &config->forwards[i]);
	}
	if (rc == 0)
		rc = overlaps_check(node, config);
	return rc == 0 ? size_check(node, config) : rc;
}

void config_forwards_free(struct config *config)
{
	free(config->forwards);
}
