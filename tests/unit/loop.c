// SPDX-License-Identifier: GPL-2.0-only
/*
 * loop.c - what comes first in a round, and what time it is then
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../gateway/loop.h"

#define HOUR_MS	   (3600 * 1000)
#define TIMEOUT_MS 50

static struct {
	struct loop loop;
	struct watch watch;
	struct timer timer;
	struct task task;
	uint64_t set_ms, ran_ms;
	bool after_the_timer;
} t;

static void event_comes(struct watch *watch, uint32_t ready)
{
	(void)ready;
	eventfd_read(watch->fd, &(eventfd_t){ 0 });
	t.set_ms = clock_ms();
	timer_set(&t.loop.timers, &t.timer, t.loop.now_ms + TIMEOUT_MS);
}

static void timer_runs(struct timer *timer)
{
	(void)timer;
	t.ran_ms = clock_ms();
	t.loop.stop = true;
	loop_later(&t.loop, &t.task);
}

static void task_runs(struct task *task)
{
	(void)task;
	t.after_the_timer = t.ran_ms > 0;
}

/* Nothing has happened for an hour; then the first event sets a timer. */
static void test_the_first_timer_after_a_sleep_is_not_late(void **state)
{
	(void)state;
	assert_int_equal(loop_open(&t.loop), 0);
	t.watch = (struct watch){ .run = event_comes, .fd = eventfd(1, EFD_NONBLOCK) };
	t.timer.run = timer_runs;
	t.task.run = task_runs;
	assert_int_equal(loop_watch(&t.loop, &t.watch, EPOLLIN), 0);
	t.loop.timers.now_ms -= HOUR_MS;
	alarm(HOUR_MS / 1000 / 64);

	loop_run(&t.loop);

	assert_true(t.ran_ms >= t.set_ms + TIMEOUT_MS);
	assert_true(t.after_the_timer);
	close(t.watch.fd);
	loop_close(&t.loop);
}

static void never(struct watch *watch, uint32_t ready)
{
	(void)watch;
	(void)ready;
	fail();
}

/* Its descriptor is ready, and stays open: sockets after their handoff are (lib/leave.c). */
static void test_what_is_not_watched_any_more_is_not_called(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_open(&t.loop), 0);
	t.watch = (struct watch){ .run = never, .fd = eventfd(1, EFD_NONBLOCK) };
	t.timer.run = timer_runs;
	t.task.run = task_runs;
	assert_int_equal(loop_watch(&t.loop, &t.watch, EPOLLIN), 0);
	timer_set(&t.loop.timers, &t.timer, t.loop.now_ms + TIMEOUT_MS);

	loop_unwatch(&t.loop, &t.watch);
	loop_unwatch(&t.loop, &t.watch);
	loop_run(&t.loop);

	assert_int_equal(t.watch.events, 0);
	close(t.watch.fd);
	loop_close(&t.loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_timer_after_a_sleep_is_not_late),
		cmocka_unit_test(test_what_is_not_watched_any_more_is_not_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
