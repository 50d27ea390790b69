/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * health.h - are the backends alive? Asked again and again, on a thread of its own
 *
 * A backend of a pool with checks is well at first, until they have said
 * otherwise: a start is no blackout. So many failures in a row make it sick, so
 * many successes make it well again (backend_set_sick()); each change is said
 * once. What an exam (exam.h) has found is kept in the backend, to be shown.
 *
 * The first exam is made at once. The pauses that follow are the interval less a random
 * part of up to a quarter, so that those that began together drift apart. At most
 * HEALTH_EXAMS_MAX are under way, and HEALTH_SCRIPTS_MAX scripts; others wait for their turn, which counts for nothing.
 */
#ifndef LADON_HEALTH_H
#define LADON_HEALTH_H

#include "pool.h"

#define HEALTH_EXAMS_MAX   256 /* under way */
#define HEALTH_SCRIPTS_MAX 16  /* ... beside those, of scripts */

struct checks;
struct health;

/**
 * checks_new() - of the backends of these pools
 * @configs: of the pools, in their order, copied as far as needed
 * @error: on failure one line, to be freed by the caller, or NULL
 *
 * Return: 0 or a negative errno.
 */
int checks_new(struct pool *const *pools, const struct config_pool *configs, unsigned int len,
	       struct checks **out, char **error);

/** checks_free() - of checks that nobody took; NULL is fine */
void checks_free(struct checks *checks);

/** health_start() - with nothing to check. Return: 0 or a negative errno */
int health_start(struct health **out);

/**
 * health_use() - check these from now on, and no others
 * @checks: taken over
 *
 * Does not wait. Backends that were checked keep what is known of them, and
 * exams that are under way go on if the new plan is the same. Backends that are
 * not checked any more are well.
 */
void health_use(struct health *health, struct checks *checks);

/** health_stop() - waits for no exam; NULL is fine */
void health_stop(struct health *health);

#endif
