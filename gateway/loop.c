// SPDX-License-Identifier: GPL-2.0-only
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 128 /* per round */

uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int loop_open(struct loop *loop)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		return -errno;
	loop->stop = false;
	loop->now_ms = clock_ms();
	timers_init(&loop->timers, loop->now_ms);
	loop->tasks = NULL;
	loop->tasks_end = &loop->tasks;
	return 0;
}

void loop_close(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = -1;
}

int loop_watch(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	int op = watch->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (epoll_ctl(loop->epoll, op, watch->fd, &event) < 0)
		return -errno;
	watch->events = events;
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
	if (watch->events)
		epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->events = 0;
}

void loop_later(struct loop *loop, struct task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	task->next = NULL;
	*loop->tasks_end = task;
	loop->tasks_end = &task->next;
}

/* Only what is queued now: a task that queues itself again lets others have their turn. */
static void tasks_run(struct loop *loop)
{
	struct task *task = loop->tasks;

	loop->tasks = NULL;
	loop->tasks_end = &loop->tasks;
	while (task) {
		struct task *next = task->next;

		task->queued = false;
		task->run(task);
		task = next;
	}
}

/* As long as nothing is due, in the form of epoll_wait(2). */
static int loop_patience(const struct loop *loop)
{
	uint64_t next;

	if (loop->tasks)
		return 0;
	next = timers_next(&loop->timers);
	if (next == TIMER_NEVER)
		return -1;
	if (next <= loop->now_ms)
		return 0;
	return next - loop->now_ms > INT_MAX ? INT_MAX : (int)(next - loop->now_ms);
}

static void loop_round(struct loop *loop)
{
	struct epoll_event events[EVENTS_MAX];
	int n;

	n = epoll_wait(loop->epoll, events, EVENTS_MAX, loop_patience(loop));
	loop->now_ms = clock_ms();
	timers_advance(&loop->timers, loop->now_ms);
	for (int i = 0; i < n; i++) {
		struct watch *watch = events[i].data.ptr;

		watch->run(watch, events[i].events);
	}
	timers_run(&loop->timers, loop->now_ms);
	tasks_run(loop);
}

void loop_run(struct loop *loop)
{
	while (!loop->stop || loop->tasks)
		loop_round(loop);
}
