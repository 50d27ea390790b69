// SPDX-License-Identifier: GPL-2.0-only
#include "timer.h"

#include <stddef.h>
#include <string.h>

#define LEVEL_SHIFT 3 /* each level is eight times coarser */
#define SLOT_MASK   (TIMER_SLOTS - 1)

/* Width of a slot: 1 << level_shift() ms */
static unsigned int level_shift(unsigned int level)
{
	return level * LEVEL_SHIFT;
}

/* A level's own slots end where the one before it still has to be finer. */
static uint64_t level_reach(unsigned int level)
{
	return (uint64_t)(TIMER_SLOTS - 1) << level_shift(level);
}

void timers_init(struct timers *timers, uint64_t now_ms)
{
	memset(timers, 0, sizeof(*timers));
	timers->now_ms = now_ms;
}

static void slot_push(struct timer **slot, struct timer *timer)
{
	timer->next = *slot;
	if (timer->next)
		timer->next->link = &timer->next;
	timer->link = slot;
	*slot = timer;
}

void timer_set(struct timers *timers, struct timer *timer, uint64_t at_ms)
{
	uint64_t ahead = at_ms > timers->now_ms ? at_ms - timers->now_ms : 0;
	unsigned int level = 0, slot;

	timer_stop(timers, timer);
	while (level < TIMER_LEVELS - 1 && ahead >= level_reach(level))
		level++;
	if (ahead > TIMER_AHEAD_MAX)
		ahead = TIMER_AHEAD_MAX;
	/* Rounded up, and once more for the part of a millisecond that @now_ms leaves out. */
	at_ms = (timers->now_ms + ahead) >> level_shift(level);
	slot = (at_ms + (ahead > 0)) & SLOT_MASK;
	slot_push(&timers->slots[level][slot], timer);
	timers->pending[level] |= 1ULL << slot;
}

void timer_stop(struct timers *timers, struct timer *timer)
{
	struct timer **first = &timers->slots[0][0];

	if (!timer->link)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	else if (timer->link >= first && timer->link < first + TIMER_LEVELS * TIMER_SLOTS) {
		size_t slot = (size_t)(timer->link - first); /* it is empty now */

		timers->pending[slot / TIMER_SLOTS] &= ~(1ULL << slot % TIMER_SLOTS);
	}
	timer->next = NULL;
	timer->link = NULL;
}

/* When the first pending slot of a level is due. A slot is due as soon as the
 * whole of it is: the clock, rounded up to the level's width, has reached it.
 */
static uint64_t level_next(const struct timers *timers, unsigned int level)
{
	unsigned int shift = level_shift(level);
	uint64_t clock = (timers->now_ms + (1ULL << shift) - 1) >> shift;
	unsigned int turn = clock & SLOT_MASK;
	uint64_t pending = timers->pending[level];

	if (!pending)
		return TIMER_NEVER;
	if (turn)
		pending = pending >> turn | pending << (TIMER_SLOTS - turn);
	return (clock + (unsigned int)__builtin_ctzll(pending)) << shift;
}

uint64_t timers_next(const struct timers *timers)
{
	uint64_t next = TIMER_NEVER;

	for (unsigned int level = 0; level < TIMER_LEVELS; level++) {
		uint64_t at = level_next(timers, level);

		if (at < next)
			next = at;
	}
	return next;
}

void timers_advance(struct timers *timers, uint64_t now_ms)
{
	uint64_t next = timers_next(timers);
	uint64_t to = next < now_ms ? next : now_ms;

	if (timers->now_ms < to)
		timers->now_ms = to;
}

/* Move the timers of a slot from the wheel to @due. */
static void slot_take(struct timers *timers, unsigned int level, unsigned int slot,
		      struct timer **due)
{
	*due = timers->slots[level][slot];
	if (*due)
		(*due)->link = due;
	timers->slots[level][slot] = NULL;
	timers->pending[level] &= ~(1ULL << slot);
}

/* All levels are taken before the first timer runs: one that sets itself again
 * may land in a slot of this very moment, a full turn ahead.
 */
static void moment_run(struct timers *timers, uint64_t at)
{
	struct timer *due[TIMER_LEVELS];
	unsigned int levels = 0;

	timers->now_ms = at + 1;
	while (levels < TIMER_LEVELS && !(at & ((1ULL << level_shift(levels)) - 1))) {
		slot_take(timers, levels, at >> level_shift(levels) & SLOT_MASK, &due[levels]);
		levels++;
	}
	for (unsigned int i = 0; i < levels; i++) {
		while (due[i]) {
			struct timer *timer = due[i];

			timer_stop(timers, timer);
			timer->run(timer);
		}
	}
}

void timers_run(struct timers *timers, uint64_t now_ms)
{
	uint64_t at;

	while ((at = timers_next(timers)) <= now_ms)
		moment_run(timers, at);
	timers_advance(timers, now_ms);
}
