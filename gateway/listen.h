/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * listen.h - one listening socket per listener and worker
 *
 * All are bound to the same address with SO_REUSEPORT, and the kernel spreads
 * the clients over them. Accepted sockets inherit what is set here, which saves
 * those calls per connection.
 */
#ifndef LADON_LISTEN_H
#define LADON_LISTEN_H

#include <sys/queue.h>

#include "config.h"
#include "gateway.h"
#include "loop.h"
#include "route.h"

struct share;
struct worker;

/* Of one setup; only its socket is younger or older than that. */
struct listener {
	struct watch watch;
	struct worker *worker;
	struct share *share;
	struct listener *former; /* of the setup before: whose socket it takes; NULL: it has its own */
	const struct config_listener *config;
	const struct route_table *routes;
	struct peek_rules peek;
	TAILQ_HEAD(, conn) undecided; /* its connections that are (admit.h), the oldest first */
	const struct tally *tally;
	struct listener_counts *counts; /* ... of its worker */
	bool wildcard; /* accepted sockets have other local addresses */
	bool guarded;  /* accepted sockets do not acknowledge: ladon_listen() */
};

/** listener_init() - the listener with number @index of the share's setup; it has no socket yet */
void listener_init(struct listener *listener, struct share *share, unsigned int index);

/**
 * listener_bind() - make and bind a socket, without listening yet
 * @alone: fails with -EADDRINUSE if anybody else listens there, another ladond included
 *
 * Return: 0, or a negative errno; then there is nothing to close.
 */
int listener_bind(struct listener *listener, bool alone);

/** listener_complaint() - why a socket could not be had, for people. @rc: of the above */
const char *listener_complaint(const struct config_listener *config, int rc);

/** listener_listen() - ... and listen, with accepted sockets guarded. Return: 0 or a negative errno */
int listener_listen(struct listener *listener);

/** listener_serve() - in the worker's thread: take the former one's socket, if any, and accept */
void listener_serve(struct listener *listener);

/** listener_pause() - accept nobody, or go on accepting; nothing if it has no socket. Return: 0 or a negative errno */
int listener_pause(struct listener *listener, bool paused);

/** listener_retire() - accept who waits already, then close; nothing if its socket was taken */
void listener_retire(struct listener *listener);

/** listener_close() - nobody is accepted any more; closing twice is fine */
void listener_close(struct listener *listener);

#endif
