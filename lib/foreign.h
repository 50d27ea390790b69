/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * foreign.h - back sockets with addresses that are not this host's
 *
 * What a backend says to such a socket, before the handoff or while it is relayed, has to be
 * delivered here and not routed to whose address it is. The programs know the sockets and mark
 * what is for one (datapath/deliver.h). What has the mark, a rule sends to a table with nothing
 * but "local default dev lo", and so to this host. Nothing is needed for flows: tc takes their
 * packets before anybody asks for a route.
 *
 * Rule and table are the same for each ladon of a network namespace. They outlive the
 * process, to the next one or to ladon_cleanup().
 */
#ifndef LADON_FOREIGN_H
#define LADON_FOREIGN_H

struct ladon;

/** foreign_tick() - now and then: what somebody else has deleted (ip rule flush) is made again */
void foreign_tick(struct ladon *ladon);

/** foreign_cleanup() - take rule and table off. Return: 0, also if there are none, or a negative errno */
int foreign_cleanup(void);

#endif
