// SPDX-License-Identifier: GPL-2.0-only
#include "config_targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"

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
		rc = value_ports(&at[PORTS], &targets->ports, &targets->ports_len);
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
