/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reload.h - another configuration, while everything goes on
 *
 * All or nothing: the file is read and checked, a setup made of it, the sockets
 * of new listeners bound and listening, and only then it is put in force. What
 * cannot be had by a reload is refused by name, and nothing is changed.
 */
#ifndef LADON_RELOAD_H
#define LADON_RELOAD_H

#include "gateway.h"

struct sourced;

struct reloaded {
	unsigned int listeners; /* now */
	unsigned int added, removed;
};

/**
 * reload() - read the file of the setup in force again, and use what it says
 * @error: on failure one line that says what is wrong, to be freed by the
 *	caller; NULL: out of memory. It is logged too
 *
 * From any thread but a worker's. The service manager is told.
 *
 * Return: 0 or a negative errno.
 */
int reload(struct gateway *gateway, struct reloaded *out, char **error);

/**
 * reload_source() - a source says something else: its pool gets other backends, and nothing else changes
 * @arg: the gateway
 *
 * A source_changed_fn (paths/source.h), also in what it returns.
 */
int reload_source(void *arg, const char *pool, const struct sourced *sourced);

#endif
