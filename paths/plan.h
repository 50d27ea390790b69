/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plan.h - how the backends of a pool are checked
 *
 * A copy of what the configuration says, with what had to be made of it once.
 * It outlives its configuration, as a check that is under way does at a reload.
 * Never changed once made; held by checks and exams of one thread, and counted
 * without atomics.
 */
#ifndef LADON_PLAN_H
#define LADON_PLAN_H

#include "../gateway/config.h"

struct plan {
	struct config_health config;
	struct ssl_ctx_st *tls; /* NULL: not needed */
	unsigned int holders;
};

/**
 * plan_new() - with one holder, the caller
 * @config: copied
 * @error: on failure one line, to be freed by the caller; NULL when out of memory
 *
 * Return: 0 or a negative errno.
 */
int plan_new(const struct config_health *config, struct plan **out, char **error);

struct plan *plan_hold(struct plan *plan);
void plan_drop(struct plan *plan);

/** plan_is_same() - do both say the same? */
bool plan_is_same(const struct plan *a, const struct plan *b);

#endif
