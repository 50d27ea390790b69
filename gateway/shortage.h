/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shortage.h - when descriptors or memory run out
 *
 * A worker that runs short accepts nobody: clients wait in the queues of the
 * listening sockets. Connections that lack a socket wait too, and are served
 * before anybody is accepted, by any worker. Nothing tells when something comes
 * free, so a timer tries again, ten times a second, until there is enough.
 *
 * The first worker that runs short says so. Once no worker has been short for a
 * second, the last one says how long it took, and how many clients had to go.
 */
#ifndef LADON_SHORTAGE_H
#define LADON_SHORTAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "timer.h"

struct conn;
struct worker;

/* Of one worker */
struct shortage {
	struct timer timer; /* set: it is short, or was until a moment ago */
	bool pausing;	    /* nobody is accepted */
	TAILQ_HEAD(, conn) waiting;
};

/* Of all workers */
struct shortages {
	atomic_uint workers; /* whose timer is set */
	atomic_uint waiting; /* connections */
	atomic_uint_fast64_t count;	  /* of shortages, ever */
	atomic_uint_fast64_t began_ms;	  /* the last one */
	atomic_uint_fast64_t turned_away; /* clients, since then */
};

/** shortage_is() - does this errno, negative, say that the host has not enough of something? */
bool shortage_is(int rc);

void shortage_init(struct worker *worker);

/**
 * shortage_begin() - accept nobody for now; again, it changes nothing
 * @what: could not be done
 * @rc: negative errno that said so
 */
void shortage_begin(struct worker *worker, const char *what, int rc);

/** shortage_join() - ... if a connection of any worker waits. Return: so it is */
bool shortage_join(struct worker *worker);

/** shortage_wait() - run this connection again when there may be enough; again, it keeps its place */
void shortage_wait(struct conn *c, const char *what, int rc);

/** shortage_leave() - it has what it lacked, or has ended; nothing if it does not wait */
void shortage_leave(struct conn *c);

#endif
