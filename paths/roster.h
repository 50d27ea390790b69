/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * roster.h - who is in a pool: the backends that are written there, and those that sources name
 *
 * A roster does not change, but for what the pool notes in it; when a source says something else, the
 * pool gets another one, which shares the backends that stay. Whoever goes through it holds it.
 *
 * Its members stand in tiers: a tier is for when nobody of those before can be used. Ordinary backends
 * come before backups, and within each of both the ranks of SRV records (RFC 2782's priorities) one after
 * the other; what is not of an SRV record is of the first rank.
 */
#ifndef LADON_ROSTER_H
#define LADON_ROSTER_H

#include <limits.h>

#include "backend.h"
#include "listing.h"
#include "ring.h"
#include "turn.h"

#define MEMBER_NEW UINT_MAX

struct member {
	struct backend *backend; /* held */
	uint32_t weight, flows_max;
	bool backup;
	uint16_t rank;
	unsigned int entry; /* index into the backends of the configuration: itself, or its source */
	unsigned int tier;  /* index into .tiers */
	unsigned int from;  /* index into the members of the former roster, or MEMBER_NEW */

	/* pool.c's, under its lock */
	uint64_t due; /* of its turn when it last left the line */
	bool usable;
};

/* The usable ones of a tier. With a policy that takes turns they are in their order, else in the file's. */
struct tier {
	struct line line;  /* of indices of members */
	struct ring *ring; /* POOL_HASH: of all members of the tier, usable or not */
};

struct roster {
	atomic_uint holders;
	bool *told; /* of each backend of the configuration: it is no source, or has said something once */
	struct tier *tiers;
	unsigned int tiers_len, len;
	struct member *members;
};

/* What a source says now */
struct sourced {
	const char *source;	       /* its text; it may be written several times */
	const struct listing *listing; /* NULL: it could not be asked, */
	unsigned int failures;	       /* ... so often in a row, until now */
};

/** sourced_is() - is this entry of the configuration the source? NULL is none */
bool sourced_is(const struct sourced *sourced, const struct config_backend *entry);

/**
 * roster_new() - of all that the configuration has, and its sources name
 * @former: whose backends of the same text are shared; NULL: nobody
 * @former_config: of @former
 * @sourced: what one of the sources says now; all others have what they had in @former. NULL: files have
 *	what @config says, and SRV records what they had
 *
 * Return: 0, with one holder; -E2BIG: more than CONFIG_BACKENDS_MAX; -ENOMEM.
 */
int roster_new(const struct config_pool *config, const struct roster *former,
	       const struct config_pool *former_config, const struct sourced *sourced,
	       struct roster **out);

/** roster_take_turns() - the turns of the former one, that it was made after, go on; under the lock of its pool */
void roster_take_turns(struct roster *roster, const struct roster *former);

struct roster *roster_hold(struct roster *roster);

/** roster_drop() - NULL is fine */
void roster_drop(struct roster *roster);

/** roster_is() - is what it has of this source what the source says now, in the same order? */
bool roster_is(const struct roster *roster, const struct config_pool *config,
	       const struct sourced *sourced);

#endif
