// SPDX-License-Identifier: GPL-2.0-only
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Afterwards all of @out's are its own, or NULL. Return: 0 or -ENOMEM */
static int texts_copy(const struct config_health *config, struct config_health *out)
{
	int rc = 0;

	for (int i = 0; i < HEALTH_TEXTS; i++) {
		out->texts[i] = config->texts[i] ? strdup(config->texts[i]) : NULL;
		if (config->texts[i] && !out->texts[i])
			rc = -ENOMEM;
	}
	return rc;
}

int plan_new(const struct config_health *config, struct plan **out, char **error)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int rc;

	*error = NULL;
	if (!plan)
		return -ENOMEM;
	plan->config = *config;
	plan->holders = 1;
	rc = texts_copy(config, &plan->config);
	if (rc < 0) {
		plan_drop(plan);
		return rc;
	}
	*out = plan;
	return 0;
}

struct plan *plan_hold(struct plan *plan)
{
	plan->holders++;
	return plan;
}

void plan_drop(struct plan *plan)
{
	if (--plan->holders > 0)
		return;
	for (int i = 0; i < HEALTH_TEXTS; i++)
		free(plan->config.texts[i]);
	free(plan);
}

static bool text_is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool plan_is_same(const struct plan *plan, const struct plan *other)
{
	const struct config_health *a = &plan->config, *b = &other->config;

	for (int i = 0; i < HEALTH_TEXTS; i++)
		if (!text_is_same(a->texts[i], b->texts[i]))
			return false;
	return a->check == b->check && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->rise == b->rise && a->fall == b->fall &&
	       a->port == b->port && a->status_min == b->status_min &&
	       a->status_max == b->status_max;
}
