/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * callers.h - how many connections each source has, at listeners that limit it
 *
 * A source is an IPv4 address, or the first 64 bits of an IPv6 address: the rest
 * is the client's own choice (RFC 4291 section 2.5.4). It is remembered while it has
 * a connection, be it handed off: so there are never more of them than descriptors
 * and flows, however many addresses connect. 32 bytes each.
 *
 * Thread-safe. The table is hashed with a secret: nobody can choose addresses
 * that meet in one bucket.
 */
#ifndef LADON_CALLERS_H
#define LADON_CALLERS_H

#include <stdint.h>

#include "../base/addr.h"

struct caller;
struct callers;

/** callers_new() - a table for about @len sources at a time. NULL: no memory */
struct callers *callers_new(uint32_t len);

/** callers_free() - also of sources that were not left; NULL is fine */
void callers_free(struct callers *callers);

/**
 * callers_enter() - one connection more
 * @place: the source is counted apart at each
 * @max: as many it may have, this one included
 * @out: for callers_leave(), once
 *
 * Return: 0; -EDQUOT: it has as many already; -ENOMEM.
 */
int callers_enter(struct callers *callers, uint32_t place, const struct addr *client, uint32_t max,
		  struct caller **out);

/** callers_leave() - one connection less; NULL is fine */
void callers_leave(struct callers *callers, struct caller *caller);

/** callers_len() - how many there are */
uint32_t callers_len(struct callers *callers);

#endif
