/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ends.h - every end of a connection is one line of the access log
 *
 * However it ends: refused before there was a backend, relayed to its end, or
 * handed off and ended hours later in the kernel. Without an access log there is
 * no struct ends and no line; a handed-off connection then costs the daemon no memory,
 * unless its listener limits its sources (admit.h): their flows are counted by tickets, too.
 */
#ifndef LADON_ENDS_H
#define LADON_ENDS_H

#include "access.h"
#include "gateway.h"

struct conn;
struct ends;

/**
 * ends_open() - open the access log
 * @out: NULL if the configuration wants none
 *
 * Return: 0 or a negative errno, complained.
 */
int ends_open(const struct config *config, struct ends **out);

/** ends_close() - with the lines that wait; NULL is fine */
void ends_close(struct ends *ends);

/** ends_reopen() - the file was moved away; NULL is fine */
void ends_reopen(struct ends *ends);

/** ends_count() - of lines; all zero for NULL */
void ends_count(struct ends *ends, struct access_counts *out);

/** ends_name() - remember the name that the client has asked for, until the connection ends */
void ends_name(struct conn *c, const char *name);

/** ends_user() - ... and who it is, as a password has shown */
void ends_user(struct conn *c, const char *user);

/** ends_conn() - a connection that was not handed off is over */
void ends_conn(const struct conn *c);

/**
 * ends_leave() - it is about to be handed off: leave a ticket
 * Return: the id that the flow must have; 0: any.
 */
uint32_t ends_leave(struct conn *c);

/** ends_left() - the flow of that id was made, with these round trip times; @id 0 is ignored */
void ends_left(const struct conn *c, uint32_t id, uint32_t client_rtt_us, uint32_t backend_rtt_us);

/** ends_stayed() - it was not */
void ends_stayed(struct conn *c, uint32_t id);

/** ends_adopt() - flows that a former daemon left count for their sources; before there is a worker */
void ends_adopt(struct gateway *gateway);

/** ends_flow() - a handed-off flow is over; from any thread */
void ends_flow(struct gateway *gateway, const struct ladon_flow *flow, enum ladon_end why);

#endif
