/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h - the table of learned flows, in this process's memory
 *
 * Its maps are mapped: it is read and cleared without a system call, while programs use it. What is read may change
 * meanwhile, and then be half of one and half of another.
 */
#ifndef LADON_LIB_TABLE_H
#define LADON_LIB_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "../datapath/bucket.h"

/**
 * struct table - the maps of datapath/table.h
 * @secret: by which keys are hashed
 */
struct table {
	struct ladon_filter *filter;
	struct ladon_tags *tags;
	struct ladon_entries *entries;
	uint64_t secret;
	uint32_t len; /* buckets */
};

/** table_secret() - a new one. Return: it; 0: there is no randomness to be had */
uint64_t table_secret(void);

/**
 * table_map() - map the maps of these descriptors, which stay the caller's
 *
 * Return: 0 or a negative errno. table_unmap() then, in either case.
 */
int table_map(struct table *table, int filter_fd, int tags_fd, int entries_fd, uint32_t len,
	      uint64_t secret);
void table_unmap(struct table *table);

/** table_find() - Return: NULL: it is not there */
const struct ladon_learned *table_find(const struct table *table,
				       const struct ladon_learned_key *key);

/**
 * table_each() - call @fn for the entries of @len buckets from @from on
 *
 * Return: 0, or what @fn returned if that was not 0, and ended the walk.
 */
int table_each(const struct table *table, uint32_t from, uint32_t len,
	       int (*fn)(void *arg, const struct ladon_learned *learned), void *arg);

/** table_delete() - all of a key that there is. @now: CLOCK_MONOTONIC, ms */
void table_delete(const struct table *table, const struct ladon_learned_key *key,
		  uint64_t (*now)(void));

#endif
