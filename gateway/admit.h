/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * admit.h - who may connect at all, and how many of them
 *
 * Asked before a byte of the client's is read: is its address let in, and has it
 * not too many connections already? Whoever is turned away here hears a RST: it
 * is as short as a close can be, and leaves no TIME_WAIT with ladon.
 *
 * A client that has not said what it wants costs a descriptor and gives nothing
 * to go by, so there is a limit to those, too. It is asked when a connection
 * would have to wait for more bytes: who says all at once is served however many
 * silent ones there are. Beyond the limit the one that has waited for the longest is
 * turned away, so that who comes has its time, if less of it.
 */
#ifndef LADON_ADMIT_H
#define LADON_ADMIT_H

struct conn;

/** conn_admit() - step: is the client let in? Again when a PROXY header has said who it is */
int conn_admit(struct conn *c);

/** admit_wait() - it has not said enough yet. Return: 0, or -ECANCELED: it is over */
int admit_wait(struct conn *c);

/** admit_decided() - it has; said more than once is fine */
void admit_decided(struct conn *c);

/** admit_leave() - it is over, or its flow is counted in its place */
void admit_leave(struct conn *c);

#endif
