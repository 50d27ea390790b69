/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * first.h - the client's first bytes: kept until a backend has them
 *
 * They are read, not peeked at, because a second look would cost a second
 * copy of them. Until the backend is known they exist here and, thanks to the
 * rule of acknowledgement, in the client's send queue.
 */
#ifndef LADON_FIRST_H
#define LADON_FIRST_H

struct conn;

/** conn_peek() - step: read until the peekers know what the client wants; into worker->hello */
int conn_peek(struct conn *c);

#endif
