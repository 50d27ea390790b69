/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * source.h - what stands for backends: a file that is read when it changes, SRV records when they are over
 *
 * A file is looked at every SOURCE_LOOK_MS. It is read when it is another one than before, by inode, size
 * or times, and has not changed for as long: whether it is written in place or put there by rename(2).
 *
 * What it says is handed on when the addresses of all names in it have been looked up, or after
 * SOURCE_NAMES_MS, so that a pool whose backends are all exchanged has somebody at each moment. A source
 * that fails changes nothing; that is said once.
 *
 * All of it is the resolver's, in its thread.
 */
#ifndef LADON_SOURCE_H
#define LADON_SOURCE_H

#include "../gateway/loop.h"
#include "lookup.h"
#include "roster.h"

#define SOURCE_LOOK_MS	500
#define SOURCE_NAMES_MS 5000

/**
 * What tells the pool what a source says, or that it has failed; may wait
 * Return: 0; -EALREADY: it said so before; -ENOENT: no pool has the source any more; another negative errno.
 */
typedef int source_changed_fn(void *arg, const char *pool, const struct sourced *sourced);

/* What all sources of a resolver share */
struct sourcing {
	struct loop *loop;
	struct lookups *lookups;
	struct notes *notes;
	source_changed_fn *changed;
	void *arg;
};

struct source;

/** source_new() - of a backend of the configuration that is one; copied. NULL: no memory */
struct source *source_new(const char *pool, const struct config_backend *backend);

/** source_is() - are both the same source of the same pool? */
bool source_is(const struct source *a, const struct source *b);

/** source_start() - look now, and again and again; @sourcing stays */
void source_start(struct source *source, const struct sourcing *sourcing);

/** source_free() - started or not; NULL is fine */
void source_free(struct source *source);

#endif
