/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * original.h - where a client was headed before a rule of this host brought it to a listener
 *
 * By TPROXY the accepted socket has the client's destination for its own address. By
 * REDIRECT or DNAT it has the listener's, and conntrack remembers the other.
 */
#ifndef LADON_ORIGINAL_H
#define LADON_ORIGINAL_H

#include "../base/addr.h"

struct conn;

/**
 * original_find() - the destination that the client's packets carry
 *
 * Return: 0; -EDESTADDRREQ: it is the listener itself: nobody redirected the connection, and
 * to connect there would be a loop; or another negative errno.
 */
int original_find(const struct conn *c, struct addr *out);

#endif
