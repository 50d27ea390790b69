/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop.h - wait for descriptors and times, and call who asked
 *
 * One loop belongs to one thread. A round is: descriptors, then timers, then
 * tasks. That order makes two promises that connections rely on: while timers
 * and tasks run, no event of this round is still to come, so a descriptor may
 * be replaced by another behind the same watch; and memory that is freed by a
 * task is referred to by no event any more.
 */
#ifndef LADON_LOOP_H
#define LADON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "timer.h"

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/**
 * struct watch - one descriptor; embedded in what it belongs to
 * @run: called with what epoll(7) saw
 * @fd: -1: none
 * @ready: for @run's use: edge-triggered events that were not used up yet
 * @events: what epoll watches it for; 0: it is not in the loop
 *
 * close(2) takes the descriptor out of the loop; set @events to 0 then.
 */
struct watch {
	void (*run)(struct watch *watch, uint32_t ready);
	int fd;
	uint32_t ready;
	uint32_t events;
};

/** struct task - something for the end of the round; zeroed, it is not queued */
struct task {
	struct task *next;
	void (*run)(struct task *task);
	bool queued;
};

struct loop {
	int epoll;
	bool stop;	 /* set it to leave loop_run() */
	uint64_t now_ms; /* CLOCK_MONOTONIC, read once per round */
	struct timers timers;
	struct task *tasks;
	struct task **tasks_end;
};

/** clock_ms() - CLOCK_MONOTONIC in milliseconds */
uint64_t clock_ms(void);

/** loop_open() - Return: 0 or a negative errno; undone by loop_close() */
int loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/** loop_watch() - watch for these events from now on, or for others than before
 * Return: 0 or a negative errno.
 */
int loop_watch(struct loop *loop, struct watch *watch, uint32_t events);

/** loop_unwatch() - no more; for a descriptor that stays open, and is somebody else's from now on */
void loop_unwatch(struct loop *loop, struct watch *watch);

/** loop_later() - run the task at the end of this round, from a task: of the next; once */
void loop_later(struct loop *loop, struct task *task);

/** loop_run() - until @loop->stop, and no task is left */
void loop_run(struct loop *loop);

#endif
