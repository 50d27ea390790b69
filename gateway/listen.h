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

#include "gateway.h"
#include "loop.h"

struct listener {
	struct watch watch;
	struct timer pause; /* set while there are no descriptors to accept with */
	struct worker *worker;
	const struct config_listener *config;
	const struct route_table *routes;
	struct listener_counts *counts;
	bool wildcard; /* accepted sockets have other local addresses */
	bool guarded;  /* accepted sockets do not acknowledge: ladon_listen() */
};

/**
 * listener_bind() - make and bind the socket, without listening yet
 * @listener: with @config set
 * @first: of all workers: fails with -EADDRINUSE if anybody else listens there,
 *	another ladond included
 *
 * Return: 0, or a negative errno; then there is nothing to close.
 */
int listener_bind(struct listener *listener, bool first);

/**
 * listener_start() - listen, and let the worker's loop accept
 * @ladon: to guard accepted sockets with; NULL: no handoff
 *
 * Return: 0 or a negative errno.
 */
int listener_start(struct listener *listener, struct ladon *ladon);

/** listener_close() - nobody is accepted any more; closing twice is fine */
void listener_close(struct listener *listener);

#endif
