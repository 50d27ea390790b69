/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * setup.h - a configuration and all that was made of it
 *
 * A setup never changes once it is in force. A reload makes another one beside
 * it and, when nothing can fail any more, puts it in its place: each worker
 * switches at a point of its own choice, the sockets of listeners that stay
 * move on to the new setup, and connections keep the one under which they
 * began. What outlives a setup is shared by both: backends (paths/pool.h) and
 * the counters of listeners (tally.h).
 *
 * A setup is freed with its last holder. Connections are no holders, or each of
 * them would cost two atomic operations on a line that all workers share: a
 * worker counts its own in its share of the setup, and the share is the holder.
 */
#ifndef LADON_SETUP_H
#define LADON_SETUP_H

#include "../paths/pool.h"
#include "config.h"
#include "gateway.h"
#include "listen.h"
#include "loop.h"
#include "route.h"

/* What one worker has of a setup; its own alone once it serves it. */
struct share {
	struct setup *setup;
	struct worker *worker;
	struct listener *listeners; /* [config->listeners_len] */
	unsigned int users;	    /* its connections, and 1 while its listeners accept */
	struct task leaving;	    /* gives that 1 back */
};

struct setup {
	struct gateway *gateway;
	struct config *config;
	struct pool **pools;	     /* [config->pools_len] */
	struct route_table **routes; /* [config->listeners_len] */
	struct tally **tallies;	     /* [config->listeners_len] */
	struct share *shares;	     /* [gateway->workers_len] */
	atomic_uint holders;	     /* gateway, shares that are used, whoever else reads */
};

/**
 * setup_new() - with listeners bound, or to take over their sockets from @former
 * @gateway: its workers exist
 * @config: taken over on success
 * @former: in force; NULL: this is the first
 * @failed: on failure: the listener that could not be bound, or NULL
 *
 * Return: 0 or a negative errno. It has one holder, the caller.
 */
int setup_new(struct gateway *gateway, struct config *config, struct setup *former,
	      struct setup **out, const struct config_listener **failed);

/** setup_listen() - let its own sockets listen. Return and @failed as above */
int setup_listen(struct setup *setup, const struct config_listener **failed);

/**
 * setup_use() - put it in force; back when every worker serves it
 * @setup: with the caller's holding; gateway->changing is held
 */
void setup_use(struct setup *setup);

/** setup_current() - that in force, held for the caller */
struct setup *setup_current(struct gateway *gateway);

void setup_hold(struct setup *setup);
void setup_drop(struct setup *setup);

/** share_drop() - a user less, in the worker's thread; frees nothing that an event may refer to
 * if it is called from a task
 */
void share_drop(struct share *share);

#endif
