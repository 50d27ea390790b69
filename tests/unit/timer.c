// SPDX-License-Identifier: GPL-2.0-only
/*
 * timer.c - the wheel against a plain list of times
 *
 * The slow, obvious second way: every timer notes when it was to run, and a
 * walk over all of them says which should have.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>

#include "../../gateway/timer.h"

#define PROBES 2000

struct probe {
	struct timer timer;
	uint64_t set_ms;
	uint64_t at_ms; /* 0: not expected */
	uint64_t ran_ms;
};

static struct timers wheel;
static uint64_t clock_now;

static void probe_run(struct timer *timer)
{
	struct probe *p = (struct probe *)timer;

	assert_false(timer_is_set(timer));
	assert_int_not_equal(p->at_ms, 0);
	assert_true(clock_now >= p->at_ms || clock_now - p->set_ms >= TIMER_AHEAD_MAX);
	p->ran_ms = clock_now;
	p->at_ms = 0;
}

static void probe_set(struct probe *p, uint64_t at_ms)
{
	p->timer.run = probe_run;
	p->set_ms = wheel.now_ms; /* behind, if something is due that has not run */
	p->at_ms = at_ms;
	p->ran_ms = 0;
	timer_set(&wheel, &p->timer, at_ms);
}

/* One timer, alone: sleep as epoll_wait() would, until it has run. */
static uint64_t run_alone(uint64_t start, uint64_t ahead)
{
	struct probe p = { 0 };

	timers_init(&wheel, start);
	clock_now = start;
	probe_set(&p, start + ahead);
	while (!p.ran_ms) {
		uint64_t next = timers_next(&wheel);

		assert_int_not_equal(next, TIMER_NEVER);
		assert_true(next >= clock_now);
		clock_now = next;
		timers_run(&wheel, clock_now);
	}
	assert_int_equal(timers_next(&wheel), TIMER_NEVER);
	return p.ran_ms - start;
}

static void test_a_timer_is_never_early_and_late_by_an_eighth_at_most(void **state)
{
	static const uint64_t starts[] = { 1, 7, 8, 63, 64, 511, 4096, 123456789, 1ULL << 40 };

	(void)state;
	for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (uint64_t ahead = 1; ahead < 2 * TIMER_AHEAD_MAX; ahead += 1 + ahead / 13) {
			uint64_t took = run_alone(starts[s], ahead);
			uint64_t due = ahead < TIMER_AHEAD_MAX ? ahead : TIMER_AHEAD_MAX;

			assert_true(took >= due);
			assert_true(took <= due + due / 7 + 1);
		}
	}
}

/* A thread that nobody has given anything to do, for a night, and then a timer of its first event */
static void test_a_sleep_makes_no_timer_late(void **state)
{
	static const uint64_t sleeps[] = { 1, 100, 5000, 123456, 8 * 3600 * 1000 };
	struct probe early = { 0 }, p = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(sleeps) / sizeof(sleeps[0]); i++) {
		clock_now = 1000;
		timers_init(&wheel, clock_now);
		probe_set(&early, clock_now + sleeps[i] / 2 + 1);
		clock_now += sleeps[i];
		timers_run(&wheel, clock_now);
		clock_now += sleeps[i];
		timers_advance(&wheel, clock_now);
		probe_set(&p, clock_now + 100);
		timers_run(&wheel, clock_now);
		while (!p.ran_ms) {
			clock_now = timers_next(&wheel);
			timers_run(&wheel, clock_now);
		}
		assert_true(early.ran_ms);
		assert_true(clock_now <= 1000 + 2 * sleeps[i] + 100 + 100 / 7 + 1);
	}
}

static void test_a_time_in_the_past_runs_at_once(void **state)
{
	(void)state;
	assert_int_equal(run_alone(5000, 0), 0);
}

static void check_all(struct probe *probes)
{
	for (size_t i = 0; i < PROBES; i++) {
		const struct probe *p = &probes[i];

		assert_int_equal(timer_is_set(&p->timer), p->at_ms != 0);
		if (p->at_ms && clock_now > p->set_ms)
			assert_true(clock_now <= p->at_ms + (p->at_ms - p->set_ms) / 7 + 1);
	}
}

static void test_many_timers_set_moved_and_stopped_at_random(void **state)
{
	struct probe *probes = calloc(PROBES, sizeof(*probes));

	(void)state;
	srandom(1);
	clock_now = 1000;
	timers_init(&wheel, clock_now);
	for (unsigned int round = 0; round < 3000; round++) {
		if (round % 3 == 0) { /* events, late: they set timers while others are due */
			clock_now += (uint64_t)random() % 90;
			timers_advance(&wheel, clock_now);
		}
		for (unsigned int n = 0; n < 50; n++) {
			struct probe *p = &probes[random() % PROBES];

			if (random() % 4 == 0) {
				timer_stop(&wheel, &p->timer);
				p->at_ms = 0;
			} else {
				probe_set(p, clock_now + 1 + (1UL << random() % 17));
			}
		}
		clock_now += (uint64_t)random() % 90;
		for (size_t i = 0; i < PROBES; i++)
			probes[i].ran_ms = 0;
		timers_run(&wheel, clock_now);
		check_all(probes);
	}
	free(probes);
}

static void again_run(struct timer *timer)
{
	struct probe *p = (struct probe *)timer;

	p->ran_ms = clock_now;
	timer_set(&wheel, timer, clock_now + 63 * 8 - 1);
}

static void test_a_timer_that_sets_itself_runs_once_per_turn(void **state)
{
	struct probe p = { .timer.run = again_run };

	(void)state;
	for (uint64_t start = 0; start < 64; start++) {
		clock_now = start;
		timers_init(&wheel, clock_now);
		timer_set(&wheel, &p.timer, clock_now);
		for (unsigned int turn = 0; turn < 20; turn++) {
			uint64_t before = p.ran_ms;

			clock_now = timers_next(&wheel);
			timers_run(&wheel, clock_now);
			assert_int_equal(p.ran_ms, clock_now);
			assert_true(turn == 0 || p.ran_ms - before >= 63 * 8 - 1);
		}
		timer_stop(&wheel, &p.timer);
	}
}

static struct probe victim;

static void stopper_run(struct timer *timer)
{
	(void)timer;
	timer_stop(&wheel, &victim.timer);
	victim.at_ms = 0;
}

static void test_a_timer_may_stop_another_of_the_same_moment(void **state)
{
	struct timer stopper = { .run = stopper_run };

	(void)state;
	clock_now = 10;
	timers_init(&wheel, clock_now);
	probe_set(&victim, 15);
	timer_set(&wheel, &stopper, 15); /* set last runs first */
	clock_now = 20;
	timers_run(&wheel, clock_now);
	assert_int_equal(victim.ran_ms, 0);
	assert_int_equal(timers_next(&wheel), TIMER_NEVER);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_timer_is_never_early_and_late_by_an_eighth_at_most),
		cmocka_unit_test(test_a_sleep_makes_no_timer_late),
		cmocka_unit_test(test_a_time_in_the_past_runs_at_once),
		cmocka_unit_test(test_many_timers_set_moved_and_stopped_at_random),
		cmocka_unit_test(test_a_timer_that_sets_itself_runs_once_per_turn),
		cmocka_unit_test(test_a_timer_may_stop_another_of_the_same_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
