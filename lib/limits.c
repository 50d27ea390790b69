// SPDX-License-Identifier: LGPL-2.1-or-later
#include "limits.h"

#include <bpf/bpf.h>
#include <string.h>

#include "private.h"

/* Between taking a set and inserting the flow that has it: a handoff takes microseconds. */
#define GRACE_MS 10000

int limits_open(struct ladon *ladon)
{
	struct limits *limits = &ladon->limits;
	uint64_t now_ms = ladon_now_ms();
	int rc = 0;

	pthread_mutex_init(&limits->lock, NULL);
	for (uint32_t i = 1; i < LADON_LIMITS && rc == 0; i++) {
		limits->used_ms[i] = now_ms;
		rc = bpf_map_lookup_elem(ladon->limits_fd, &i, &limits->sets[i]);
	}
	limits->sets[0] = (struct ladon_limits){
		.idle_ms = ladon->options.idle_ms,
		.half_closed_ms = ladon->options.half_closed_ms,
	};
	return rc;
}

void limits_close(struct ladon *ladon)
{
	pthread_mutex_destroy(&ladon->limits.lock);
}

static bool set_is(const struct ladon_limits *a, const struct ladon_limits *b)
{
	return a->idle_ms == b->idle_ms && a->half_closed_ms == b->half_closed_ms &&
	       a->probe_after_ms == b->probe_after_ms &&
	       a->probe_interval_ms == b->probe_interval_ms && a->probes == b->probes;
}

/* Return: its number; 0: there is none like it. Sets in use come before those that are not, once. */
static uint32_t set_find(const struct limits *limits, const struct ladon_limits *set)
{
	for (uint32_t i = 1; i < LADON_LIMITS && limits->sets[i].idle_ms; i++)
		if (set_is(&limits->sets[i], set))
			return i;
	return 0;
}

/* One that was never used, or of which the last walk found no flow. Return: 0: none */
static uint32_t set_find_unused(const struct limits *limits)
{
	for (uint32_t i = 1; i < LADON_LIMITS; i++)
		if (!limits->sets[i].idle_ms || limits->used_ms[i] + GRACE_MS < limits->walked_ms)
			return i;
	return 0;
}

static uint32_t set_add(struct ladon *ladon, const struct ladon_limits *set)
{
	struct limits *limits = &ladon->limits;
	uint32_t i = set_find_unused(limits);
	int rc;

	if (!i) {
		if (!limits->full)
			ladon_say(ladon, LADON_LEVEL_WARN,
				  "flows have %d different sets of time limits: others get the "
				  "default ones",
				  LADON_LIMITS - 1);
		limits->full = true;
		return 0;
	}
	rc = bpf_map_update_elem(ladon->limits_fd, &i, set, BPF_ANY);
	if (rc < 0) {
		ladon_say(ladon, LADON_LEVEL_WARN, "ladon_limits: %s", strerror(-rc));
		return 0;
	}
	limits->sets[i] = *set;
	limits->full = false;
	return i;
}

static struct ladon_limits set_from(const struct ladon *ladon, const struct ladon_handoff *how)
{
	const struct ladon_options *o = &ladon->options;
	struct ladon_limits set = {
		.idle_ms = how->idle_ms ? how->idle_ms : o->idle_ms,
		.half_closed_ms = how->half_closed_ms ? how->half_closed_ms : o->half_closed_ms,
		.probe_after_ms = how->keepalive_after_ms,
	};

	if (!set.probe_after_ms)
		return set;
	set.probe_interval_ms = how->keepalive_interval_ms ? how->keepalive_interval_ms
							   : LADON_KEEPALIVE_INTERVAL_MS;
	set.probes = how->keepalive_probes ? how->keepalive_probes : LADON_KEEPALIVE_PROBES;
	if (set.probes > LADON_PROBES_MAX)
		set.probes = LADON_PROBES_MAX;
	return set;
}

uint32_t limits_take(struct ladon *ladon, const struct ladon_handoff *how)
{
	struct ladon_limits set = set_from(ladon, how);
	struct limits *limits = &ladon->limits;
	uint32_t i;

	pthread_mutex_lock(&limits->lock);
	i = set_find(limits, &set);
	if (!i)
		i = set_add(ladon, &set);
	limits->used_ms[i] = ladon_now_ms();
	pthread_mutex_unlock(&limits->lock);
	return i;
}

void limits_copy(struct ladon *ladon, struct ladon_limits out[LADON_LIMITS])
{
	pthread_mutex_lock(&ladon->limits.lock);
	memcpy(out, ladon->limits.sets, sizeof(ladon->limits.sets));
	pthread_mutex_unlock(&ladon->limits.lock);
}

void limits_walked(struct ladon *ladon, uint64_t began_ms, const bool found[LADON_LIMITS])
{
	struct limits *limits = &ladon->limits;

	pthread_mutex_lock(&limits->lock);
	for (uint32_t i = 1; i < LADON_LIMITS; i++)
		if (found[i] && limits->used_ms[i] < began_ms)
			limits->used_ms[i] = began_ms;
	limits->walked_ms = began_ms;
	pthread_mutex_unlock(&limits->lock);
}
