// SPDX-License-Identifier: GPL-2.0-only
#include "plan.h"

#include <errno.h>
#include <stdlib.h>

int plan_new(const struct config_health *config, struct plan **out, char **error)
{
	struct plan *plan = calloc(1, sizeof(*plan));

	*error = NULL;
	if (!plan)
		return -ENOMEM;
	plan->config = *config;
	plan->holders = 1;
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
	free(plan);
}

bool plan_is_same(const struct plan *plan, const struct plan *other)
{
	const struct config_health *a = &plan->config, *b = &other->config;

	return a->check == b->check && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->rise == b->rise && a->fall == b->fall &&
	       a->port == b->port;
}
