/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * worker.h - one thread, and everything that its connections share
 *
 * Workers share nothing with each other but the pools and libladon: a
 * connection lives and ends on the thread that accepted it.
 */
#ifndef LADON_WORKER_H
#define LADON_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway.h"
#include "listen.h"
#include "locals.h"
#include "loop.h"
#include "../base/note.h"
#include "pipe.h"
#include "shortage.h"

enum worker_order {
	WORKER_RUN,
	WORKER_DRAIN, /* accept nobody, and end with the last connection */
	WORKER_STOP,  /* cut the connections that are left, and end */
};

struct worker {
	struct loop loop;
	struct gateway *gateway;
	unsigned int index;
	struct worker_counts *counts;
	struct share *share;	    /* of the setup that it serves; NULL: of none yet */
	struct conn *conns;	    /* all that live */
	uint64_t conns_made;
	unsigned int next_source; /* of the config's sources, for connects without libladon */
	struct pipes pipes;
	struct locals locals;
	struct shortage shortage;
	struct ladon_leavers *leavers; /* of handoff.c; NULL: there was no handoff yet */
	struct timer leave;	       /* set as long as somebody is in there */

	/* between threads */
	pthread_t thread;
	bool started;
	struct watch orders; /* an eventfd: @order, @next or @review has changed, or there are @notes */
	atomic_int order;
	struct share *_Atomic next; /* to serve from now on; NULL: no change */
	struct notes notes;
	atomic_bool review; /* are backends of its connections gone? */
	int done_fd; /* main's eventfd: one more thread has ended */

	/* What a step leaves here is gone when it has returned -EAGAIN. */
	struct hello hello; /* from conn_peek() to conn_route() */
	struct talk talk;   /* in conn_peek() */
	uint8_t scratch[PEEK_BYTES_MAX];
	uint8_t *spare; /* as large, for lane.c: NULL: it is in use, or not to be had */
};

/**
 * worker_new() - a loop, nothing to serve, and nothing running
 * @index: of gateway->workers
 *
 * Return: 0 or a negative errno.
 */
int worker_new(struct gateway *gateway, unsigned int index, struct worker **out);

/**
 * worker_start() - run the loop in a thread
 * @done_fd: an eventfd; 1 is added when the thread ends
 *
 * Return: 0 or a negative errno.
 */
int worker_start(struct worker *worker, int done_fd);

/**
 * worker_switch() - accept for this share from now on, instead of another
 *
 * From any thread; gateway->obeyed is posted when it has happened.
 */
void worker_switch(struct worker *worker, struct share *next);

/** workers_wait() - until each worker has posted gateway->obeyed */
void workers_wait(struct gateway *gateway);

/**
 * workers_review() - let all cut what they relay to backends that are due (removed.h)
 *
 * Back when that is done. gateway->changing is held, and they have not been told to end.
 */
void workers_review(struct gateway *gateway);

/** worker_tell() - from any thread; an order that is not a greater one changes nothing */
void worker_tell(struct worker *worker, enum worker_order order);

/** worker_free() - wait for the thread, which must have been told to end; NULL is fine */
void worker_free(struct worker *worker);

/** worker_pause() - accept nobody, or go on accepting. Return: 0 or a negative errno */
int worker_pause(struct worker *worker, bool paused);

/** worker_conn_id() - the number of a new connection, unique in the daemon's life */
uint64_t worker_conn_id(struct worker *worker);

/** worker_conn_ended() - called with each connection that is off the list */
void worker_conn_ended(struct worker *worker);

/** count_add() - to a counter that only this thread writes, but others read */
static inline void count_add(atomic_uint_fast64_t *count, uint64_t n)
{
	uint64_t sum = atomic_load_explicit(count, memory_order_relaxed) + n;

	atomic_store_explicit(count, sum, memory_order_relaxed);
}

static inline void count_sub(atomic_uint_fast64_t *count, uint64_t n)
{
	count_add(count, 0 - n);
}

#endif
