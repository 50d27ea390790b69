// SPDX-License-Identifier: GPL-2.0-only
#include "turn.h"

bool turn_before(const struct turn *a, const struct turn *b)
{
	if (a->due != b->due)
		return (int64_t)(a->due - b->due) < 0;
	return a->index < b->index;
}

static void sink(struct line *line, unsigned int at)
{
	struct turn *turns = line->turns, turn = turns[at];

	for (;;) {
		unsigned int child = 2 * at + 1;

		if (child >= line->len)
			break;
		if (child + 1 < line->len && turn_before(&turns[child + 1], &turns[child]))
			child++;
		if (turn_before(&turn, &turns[child]))
			break;
		turns[at] = turns[child];
		at = child;
	}
	turns[at] = turn;
}

void line_join(struct line *line, uint32_t index, uint64_t due, uint64_t share, unsigned int place,
	       unsigned int places)
{
	/* Else it is in the past, or from before a wrap. */
	bool ahead = due && due - line->now <= TURN_STEP_MAX;

	if (!ahead)
		due = line->now + TURN_STEP_MAX / share * (place + 1) / (places + 1);
	line->turns[line->len++] = (struct turn){ .due = due, .index = index };
}

void line_order(struct line *line)
{
	for (unsigned int at = line->len / 2; at-- > 0;)
		sink(line, at);
}

/* Whoever is taken out of turn again and again is not made to wait for it for ever. */
void line_take(struct line *line, unsigned int at, uint64_t share)
{
	uint64_t step = TURN_STEP_MAX / share;
	struct turn *turn = &line->turns[at];

	line->now = line->turns[0].due;
	if ((int64_t)(turn->due - line->now) > (int64_t)step)
		turn->due = line->now + step;
	turn->due += step;
	sink(line, at);
}
