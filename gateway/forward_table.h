/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward_table.h - the forwards of one table in the kernel: of the file, and added at run time
 */
#ifndef LADON_FORWARD_TABLE_H
#define LADON_FORWARD_TABLE_H

#include "config.h"
#include "forward_pools.h"
#include "locals.h"
#include "setup.h"
#include "taken.h"

struct forward_count {
	uint64_t flows;	  /* of tables that this one followed, */
	uint64_t refused; /* ... which had nobody for these */
	uint64_t now;	  /* of this one, when it was asked last: one or the other */
	uint64_t next;	  /* what it is just saying */
};

/* Only the counts change. */
struct forward_table {
	struct config_forward *forwards; /* those of the file, then those that were added */
	unsigned int file_len, len;
	struct taken taken;
	struct setup *setup;	      /* held, for its pools */
	bool has_pools;		      /* one forward at least */
	bool has_resets;	      /* the same, with .reset */
	struct forward_pools pools;   /* what they say */
	struct forward_count *counts; /* [len] */
	char *commands;		      /* for nft_run(); that make the table, or leave none */
};

/**
 * forward_table_new() - put them together, and tell the kernel nothing
 * @setup: for its forwards, their pools, and its listeners, whose ports the added must leave alone
 * @why: on failure what is wrong, to be freed by the caller; may be NULL
 *
 * Return: 0, free it with forward_table_free(); -EEXIST, -E2BIG, -ENOMEM.
 */
int forward_table_new(struct setup *setup, const struct config_forward *added,
		      unsigned int added_len, struct forward_table **out, char **why);
void forward_table_free(struct forward_table *table);

/** forward_table_is_stale() - do pools say something else by now? */
bool forward_table_is_stale(const struct forward_table *table);

/** forward_table_flows(), forward_table_refused() - until now, as far as the kernel was asked */
uint64_t forward_table_flows(const struct forward_table *table, unsigned int index);
uint64_t forward_table_refused(const struct forward_table *table, unsigned int index);

/** forward_table_count() - ask the kernel, in which it is */
void forward_table_count(struct forward_table *table);

/** forward_table_restart() - it has been put into the kernel again, with counters of 0 */
void forward_table_restart(struct forward_table *table);

/** forward_table_follow() - it takes the place of @former: what is in both counts on */
void forward_table_follow(struct forward_table *table, const struct forward_table *former);

/** forward_table_find() - who takes address and port @at: the one for that address, or for any of this host. Return: NULL: nobody */
const struct config_forward *forward_table_find(const struct forward_table *table, bool udp,
						const struct addr *at, struct locals *locals);

/**
 * forward_table_end() - end what forwards with .reset have sent where they do not lead any more
 * @table: in force
 * @former: the one before, of which forwards may be gone; NULL: there is none
 *
 * Return: how many connections and UDP flows, or a negative errno.
 */
int forward_table_end(const struct forward_table *table, const struct forward_table *former,
		      struct locals *locals);

#endif
