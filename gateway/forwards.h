/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forwards.h - the port forwards in force, kept in the kernel as long as the daemon runs
 */
#ifndef LADON_FORWARDS_H
#define LADON_FORWARDS_H

#include "config.h"

struct forwards;

/**
 * forwards_start() - put them into the kernel
 * Return: 0 or a negative errno, said why; end with forwards_stop(), which leaves the rules.
 */
int forwards_start(const struct config *config, struct forwards **out);

/**
 * forwards_watch() - keep them there, from a thread of its own
 *
 * Who flushes all rules, as a firewall does that is loaded anew, finds ladon's made again.
 * Rights are a thread's: call it when those that are not kept have been dropped.
 *
 * Return: 0 or a negative errno, said why.
 */
int forwards_watch(struct forwards *forwards);
void forwards_stop(struct forwards *forwards);

/**
 * forwards_use() - replace them by those of @config, all or nothing
 * @why: on failure what is wrong, to be freed by the caller; or NULL
 *
 * Connections that are forwarded stay as they are: conntrack remembers them.
 * From any thread, one at a time. Return: 0 or a negative errno.
 */
int forwards_use(struct forwards *forwards, const struct config *config, char **why);

/** forwards_cleanup() - remove ladon's table, if there is one. Return: 0 or a negative errno, said why */
int forwards_cleanup(void);

#endif
