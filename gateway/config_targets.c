// SPDX-License-Identifier: GPL-2.0-only
#include "config_targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"

/* A port or a range of them */
static int ports_item(const struct node *node, struct target_ports *out)
{
	const char *text;
	uint32_t port = 0;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (strchr(text, '-'))
		return node_range(node, 1, UINT16_MAX, &out->from, &out->to);
	rc = node_number(node, 1, UINT16_MAX, &port);
	out->from = out->to = (uint16_t)port;
	return rc;
}

static int ports_read(const struct node *node, struct targets *targets)
{
	unsigned int len;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	targets->ports = calloc(len, sizeof(*targets->ports));
	if (!targets->ports)
		return -ENOMEM;
	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		struct node item;

		node_item(node, i, &item);
		rc = ports_item(&item, &targets->ports[targets->ports_len++]);
	}
	return rc;
}

/* Read twice, since prefixes within larger ones are gone from a sealed set. */
static int allow_read(const struct node *node, struct targets *targets)
{
	int rc;

	if (!node->yaml)
		return 0;
	targets->only = true;
	rc = value_prefixes(node, &targets->named);
	targets_narrow(&targets->named);
	cidrs_seal(&targets->named);
	return rc < 0 ? rc : value_cidrs(node, &targets->allow);
}

static struct targets *targets_new(struct config *config)
{
	struct targets *targets = calloc(1, sizeof(*targets));

	if (!targets)
		return NULL;
	targets->next = config->targets;
	config->targets = targets;
	return targets;
}

int config_targets_read(struct config *config, const struct node *node, const struct targets **out)
{
	enum {
		ALLOW,
		DENY,
		PORTS,
		KEYS
	};
	static const char *const keys[KEYS] = { "allow", "deny", "ports" };
	struct targets *targets;
	struct node at[KEYS];
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_map(node, keys, KEYS, at);
	if (rc < 0)
		return rc;
	targets = targets_new(config);
	if (!targets)
		return -ENOMEM;
	rc = allow_read(&at[ALLOW], targets);
	if (rc == 0 && at[DENY].yaml)
		rc = value_cidrs(&at[DENY], &targets->deny);
	if (rc == 0)
		rc = ports_read(&at[PORTS], targets);
	*out = targets;
	return rc;
}

void config_targets_free(struct config *config)
{
	struct targets *next;

	for (struct targets *targets = config->targets; targets; targets = next) {
		next = targets->next;
		cidrs_fini(&targets->allow);
		cidrs_fini(&targets->deny);
		cidrs_fini(&targets->named);
		free(targets->ports);
		free(targets);
	}
}
