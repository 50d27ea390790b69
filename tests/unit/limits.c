// SPDX-License-Identifier: GPL-2.0-only
/*
 * limits.c - sets of limits, shared, kept and used again, over a made-up map and clock
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "../../lib/limits.h"
#include "../../lib/private.h"

/* ---- the fakes ---- */

static struct ladon_limits map[LADON_LIMITS];
static uint64_t now_ms;
static int said;

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	(void)fd;
	memcpy(value, &map[*(const uint32_t *)key], sizeof(map[0]));
	return 0;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	(void)fd;
	(void)flags;
	memcpy(&map[*(const uint32_t *)key], value, sizeof(map[0]));
	return 0;
}

uint64_t ladon_now_ms(void)
{
	return now_ms;
}

void ladon_say(const struct ladon *ladon, enum ladon_level level, const char *fmt, ...)
{
	(void)ladon;
	(void)level;
	(void)fmt;
	said++;
}

/* ---- set-up ---- */

static struct ladon ladon;

static void open_again(void)
{
	memset(&ladon, 0, sizeof(ladon));
	ladon.options.idle_ms = 7000;
	ladon.options.half_closed_ms = 3000;
	assert_int_equal(limits_open(&ladon), 0);
}

static int each_test(void **state)
{
	(void)state;
	memset(map, 0, sizeof(map));
	now_ms = 1000000;
	said = 0;
	open_again();
	return 0;
}

static uint32_t take(uint32_t idle_ms)
{
	struct ladon_handoff how = LADON_HANDOFF_INIT;

	how.idle_ms = idle_ms;
	return limits_take(&ladon, &how);
}

static struct ladon_limits get(uint32_t set)
{
	struct ladon_limits sets[LADON_LIMITS];
	struct ladon_entry flow = { .state = LADON_STATE_LIMITS(set) | LADON_STATE_FIN };

	limits_copy(&ladon, sets);
	return *limits_of(sets, &flow);
}

/* A walk that finds flows of these sets; it ends a minute later. */
static void walk(uint32_t a, uint32_t b)
{
	bool found[LADON_LIMITS] = { false };
	uint64_t began_ms = now_ms;

	found[a] = found[b] = true;
	now_ms += 60000;
	limits_walked(&ladon, began_ms, found);
}

/* ---- tests ---- */

static void equal_ones_are_shared(void **state)
{
	struct ladon_handoff probed = LADON_HANDOFF_INIT;

	(void)state;
	assert_int_equal(take(5), 1);
	assert_int_equal(take(6), 2);
	assert_int_equal(take(5), 1);
	probed.idle_ms = 5;
	probed.keepalive_after_ms = 9;
	assert_int_equal(limits_take(&ladon, &probed), 3);
	assert_int_equal(get(1).idle_ms, 5);
	assert_int_equal(get(1).half_closed_ms, 3000);
	assert_int_equal(get(1).probe_after_ms, 0);
	assert_int_equal(get(3).probe_interval_ms, LADON_KEEPALIVE_INTERVAL_MS);
	assert_int_equal(get(3).probes, LADON_KEEPALIVE_PROBES);
}

/* And a flow that has none, of an older build, has those of the handle. */
static void they_outlive_the_process(void **state)
{
	(void)state;
	take(5);
	take(6);
	open_again();
	assert_int_equal(get(2).idle_ms, 6);
	assert_int_equal(take(6), 2);
	assert_int_equal(take(7), 3);
	assert_int_equal(get(0).idle_ms, 7000);
	assert_int_equal(get(0).half_closed_ms, 3000);
	assert_int_equal(map[0].idle_ms, 0);
}

static void one_that_no_flow_has_is_used_again(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < LADON_LIMITS; i++)
		assert_int_equal(take(100 + i), i);
	assert_int_equal(take(1), 0); /* full, and said so, once */
	assert_int_equal(take(2), 0);
	assert_int_equal(said, 1);

	walk(1, 2); /* right after all were taken: flows of them may still come */
	assert_int_equal(take(1), 0);
	now_ms += 60000;
	assert_int_equal(take(100 + 4), 4);
	walk(1, 2);
	assert_int_equal(take(1), 3);
	assert_int_equal(take(2), 5);
	assert_int_equal(get(1).idle_ms, 101);
	assert_int_equal(get(2).idle_ms, 102);
	assert_int_equal(get(4).idle_ms, 104);
	assert_int_equal(map[3].idle_ms, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(equal_ones_are_shared, each_test),
		cmocka_unit_test_setup(they_outlive_the_process, each_test),
		cmocka_unit_test_setup(one_that_no_flow_has_is_used_again, each_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
