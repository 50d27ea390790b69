/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * turn.h - turns by weight: a line in which the heavier stand more often
 *
 * Who is due earliest is next, and then due again a step later, a step being
 * the shorter the more the weight: an earliest-deadline-first queue, as a heap.
 * Among n it costs log n to take a turn, whatever the weights are, and the
 * weight may be another one each time. Turns of the heavy and the light are
 * mixed evenly: in any stretch of turns each has had its share, give or take
 * one. With equal weights it is a plain round.
 *
 * Times here are turns, not clocks, and may wrap.
 */
#ifndef LADON_TURN_H
#define LADON_TURN_H

#include <stdbool.h>
#include <stdint.h>

#define TURN_SHARE    1024		  /* of weight 1 */
#define TURN_STEP_MAX (UINT64_C(1) << 32) /* of a share of 1 */

struct turn {
	uint64_t due;
	uint32_t index; /* who; of equals the smallest is first */
};

struct line {
	struct turn *turns; /* a heap; the caller's memory */
	unsigned int len;
	uint64_t now; /* when the last turn was due */
};

/**
 * line_join() - somebody more; line_order() has to follow
 * @due: what turn.due was when this one was in the line last; 0 at first
 * @share: TURN_SHARE times the weight; at least 1
 * @place, @places: where among those that may join, so that they do not come all at once
 *
 * Who was there before gets no turn more by leaving and coming back.
 */
void line_join(struct line *line, uint32_t index, uint64_t due, uint64_t share, unsigned int place,
	       unsigned int places);

/** line_order() - after all have joined */
void line_order(struct line *line);

/** line_take() - the one at @at has had its turn, which is due again after a step */
void line_take(struct line *line, unsigned int at, uint64_t share);

/** turn_before() - is @a due before @b? */
bool turn_before(const struct turn *a, const struct turn *b);

#endif
