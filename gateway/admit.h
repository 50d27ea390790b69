/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * admit.h - who may connect at all
 *
 * Asked before a byte of the client's is read. Whoever is not let in hears a RST:
 * it is as short as a close can be, and leaves no TIME_WAIT with ladon.
 */
#ifndef LADON_ADMIT_H
#define LADON_ADMIT_H

struct conn;

/** conn_admit() - step: is the client let in? */
int conn_admit(struct conn *c);

#endif
