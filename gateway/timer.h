/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * timer.h - time limits of a hundred thousand connections
 *
 * A wheel of eight levels with sixty-four slots each, as in Linux
 * (kernel/time/timer.c): a slot of level n is 8^n ms wide, and a timer goes
 * into the finest level that reaches as far as it must. Setting and stopping
 * cost the same whatever the number of timers, nothing is ever moved from one
 * level to another, and the price is lateness: a timer runs never early, and
 * late by at most an eighth of its time. That is good enough for time limits,
 * most of which are stopped before they run.
 */
#ifndef LADON_TIMER_H
#define LADON_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define TIMER_LEVELS 8
#define TIMER_SLOTS  64
#define TIMER_NEVER  UINT64_MAX

/* A timer that is set further ahead than this runs too early, after this time: 36 hours. */
#define TIMER_AHEAD_MAX ((63ULL << 21) - 1)

/**
 * struct timer - embedded in what it belongs to; zeroed, it is not set
 * @run: called once, with the timer no longer set; it may set it again, and
 *	set, stop or free any other
 */
struct timer {
	struct timer *next;
	struct timer **link; /* what points to this one; NULL: not set */
	void (*run)(struct timer *timer);
};

struct timers {
	uint64_t now_ms;		/* slots before this have run */
	uint64_t pending[TIMER_LEVELS]; /* bit per slot that is not empty */
	struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
};

/** timers_init() - @now_ms: of any clock that never goes back */
void timers_init(struct timers *timers, uint64_t now_ms);

/** timers_next() - when timers_run() has work; TIMER_NEVER: no timer is set */
uint64_t timers_next(const struct timers *timers);

/**
 * timers_advance() - it is @now_ms, or as late as it can be with nothing that is due having run
 *
 * How fine a slot has to be goes by how far ahead the time is: after a sleep, before the
 * first timer_set(), or that one would be late by an eighth of the sleep.
 */
void timers_advance(struct timers *timers, uint64_t now_ms);

/** timers_run() - run everything that is due at @now_ms, in order of the slots */
void timers_run(struct timers *timers, uint64_t now_ms);

/** timer_set() - run at @at_ms; a time in the past is the next timers_run(). Moves a set timer */
void timer_set(struct timers *timers, struct timer *timer, uint64_t at_ms);

/** timer_stop() - stopping a timer that is not set does nothing */
void timer_stop(struct timers *timers, struct timer *timer);

static inline bool timer_is_set(const struct timer *timer)
{
	return timer->link;
}

#endif
