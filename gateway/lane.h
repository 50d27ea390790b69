/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lane.h - one direction of a relayed connection
 *
 * Short messages are read into the worker's scratch buffer and sent from
 * there; when a read fills that, the lane changes to splice(2) until a short
 * one comes. Nothing more is read while the receiver has not taken what was:
 * a slow receiver slows its sender down, and a lane with nothing to do owns no
 * buffer. Nothing is read for which there might be no memory: see fill_copy().
 *
 * EPOLLERR in watch.ready means that a socket is broken, whoever found out. The
 * lane away from it still delivers what was received before that; the lane
 * towards it is lost.
 */
#ifndef LADON_LANE_H
#define LADON_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "kept.h"
#include "loop.h"
#include "pipe.h"

struct worker;

struct lane {
	struct kept kept;	 /* copied bytes that the receiver has not taken yet, */
	struct pipe pipe;	 /* ... or spliced ones, */
	uint32_t held;		 /* ... that many; never both */
	bool bulk;		 /* the last read was a large one */
	bool ended;		 /* its sender has closed: behind what waits there is nothing */
	bool shut;		 /* ... and its receiver knows, or is gone */
	uint64_t received, sent; /* bytes, ever */
};

void lane_init(struct lane *lane);
void lane_fini(struct lane *lane);

/** lane_is_empty() - all that was received is sent */
bool lane_is_empty(const struct lane *lane);

/**
 * lane_run() - move what can be moved now, but let others have their turn, too
 *
 * Return: 0: until one of the sockets is ready again, or for ever if .shut;
 * 1: there is more to move.
 */
int lane_run(struct lane *lane, struct worker *worker, struct watch *from, struct watch *to);

#endif
