/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * route.h - which pool gets which connection
 *
 * The most specific rule wins, whatever the order in the file: an exact name
 * before a wildcard, a longer wildcard before a shorter one, a longer path
 * before a shorter one, a rule with an ALPN before one without; among equals the
 * first. Look-ups are one hash probe per label, not a walk over the rules.
 *
 * A rule for a TLS name matches TLS only, one for an HTTP host HTTP only. HTTP/2
 * by prior knowledge tells no host in its first bytes: it matches the host "*"
 * without a path, and the default.
 *
 * A rule for first words matches what the peekers found to be the words of it: words.h.
 *
 * Who names a target, by SOCKS, CONNECT or a ladon prefix, gets a rule for targets or nothing: the default
 * is for clients that do not know where they are going.
 */
#ifndef LADON_ROUTE_H
#define LADON_ROUTE_H

#include "config.h"
#include "peek.h"

struct route_table;

/** route_table_new() - index a listener's rules; they must outlive the table. NULL: no memory */
struct route_table *route_table_new(const struct config_listener *listener);
void route_table_free(struct route_table *table);

/** route_table_words() - what the rules know of first words, for the peekers. NULL: nothing */
const struct words *route_table_words(const struct route_table *table);

/** route_find() - Return: the rule that matches best, or NULL */
const struct config_route *route_find(const struct route_table *table, const struct hello *hello);

#endif
