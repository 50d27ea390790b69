/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forwards.h - the port forwards in force, kept in the kernel as long as the daemon runs
 */
#ifndef LADON_FORWARDS_H
#define LADON_FORWARDS_H

#include "setup.h"

struct forwards;

/**
 * forwards_start() - put those of @setup into the kernel; without any there is no table
 * Return: 0 or a negative errno, said why; end with forwards_stop(), which leaves the rules.
 */
int forwards_start(struct setup *setup, struct forwards **out);

/**
 * forwards_watch() - keep them there from now on, from a thread of its own
 *
 * Who flushes all rules, as a firewall does that is loaded anew, finds ladon's made again.
 * Rights are a thread's: call it when those that are not kept have been dropped. The thread
 * begins when there is a forward for the first time.
 *
 * Return: 0 or a negative errno, said why.
 */
int forwards_watch(struct forwards *forwards);
void forwards_stop(struct forwards *forwards);

/**
 * forwards_use() - replace those of the file by @setup's, all or nothing
 * @why: on failure what is wrong, to be freed by the caller; or NULL
 *
 * Those that were added stay. Connections that are forwarded stay as they are: conntrack
 * remembers them. From any thread, with gateway.changing held, as forwards_add() and
 * forwards_remove(). Return: 0 or a negative errno.
 */
int forwards_use(struct forwards *forwards, struct setup *setup, char **why);

/** forwards_add() - one more, until it is removed or ladond ends. @setup: in force; @why: as above */
int forwards_add(struct forwards *forwards, struct setup *setup,
		 const struct config_forward *forward, char **why);

/**
 * forwards_remove() - those that were added with this .listen and .last
 * @name: also .tcp and .udp, if one is true
 * @removed: how many
 *
 * Return: 0 or a negative errno: -ENOENT: there is none, -EBUSY: there is, but in the file.
 */
int forwards_remove(struct forwards *forwards, struct setup *setup,
		    const struct config_forward *name, unsigned int *removed, char **why);

/**
 * forwards_each() - visit them, in the order of the file, then those that were added
 * @fn: @pool: its name, or NULL; @flows: new connections and UDP flows since ladond started,
 *	@refused: those that the pool had nobody for. Non-zero ends the walk.
 *
 * Return: what @fn returned, or 0.
 */
int forwards_each(struct forwards *forwards,
		  int (*fn)(void *arg, const struct config_forward *forward, const char *pool,
			    bool added, uint64_t flows, uint64_t refused),
		  void *arg);

/** forwards_take() - does one take address and port @at? */
bool forwards_take(struct forwards *forwards, bool udp, const struct addr *at);

/** forwards_cleanup() - remove ladon's table, if there is one and no ladond uses it. Return: 0 or a negative errno, said why */
int forwards_cleanup(void);

#endif
