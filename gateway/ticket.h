/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ticket.h - what a handed-off connection leaves behind for its line in the access log
 *
 * The kernel keeps addresses, bytes and times of a flow, and nothing else does.
 * Only while there is an access log, or for a listener that limits its sources,
 * the daemon remembers what the kernel does not know: the name that was asked for,
 * by which user, listener and pool, when the connection was accepted, and whose it is. A ticket is left
 * before the handoff and taken when the flow ends; it dies with the daemon, and the lines of flows that
 * outlive it lack what it said.
 *
 * Thread-safe. As many as there are live flows, of about 100 bytes each.
 */
#ifndef LADON_TICKET_H
#define LADON_TICKET_H

#include <stdint.h>

#include "../base/addr.h"

struct caller;

/**
 * struct ticket - texts are in .texts, one after the other, each with its NUL
 * @id: of the flow
 * @who: the client, which a PROXY header may have said; zeroed: as the flow says
 * @began_ms: when the connection was accepted, CLOCK_MONOTONIC
 * @bytes_in, @bytes_out: that ladond moved itself, before
 * @why: reason for which it was relayed before; 0: it was not
 * @client_rtt_us, @backend_rtt_us: at the handoff; 0: unknown
 * @caller: whose connection it is, to be left (callers.h); NULL: that is not counted
 */
struct ticket {
	struct ticket *next; /* in the table */
	uint64_t began_ms;
	uint64_t bytes_in, bytes_out;
	uint32_t id;
	uint32_t why;
	uint32_t client_rtt_us, backend_rtt_us;
	struct caller *caller;
	struct addr who;
	char texts[];
};

/** ticket_new() - with four texts, "" for none. NULL: no memory. free(3) it */
struct ticket *ticket_new(const char *listener, const char *pool, const char *name,
			  const char *user);

const char *ticket_listener(const struct ticket *ticket);
const char *ticket_pool(const struct ticket *ticket);
const char *ticket_name(const struct ticket *ticket);
const char *ticket_user(const struct ticket *ticket);

struct tickets;

/** tickets_new() - a table for about @flows tickets. NULL: no memory */
struct tickets *tickets_new(uint32_t flows);
void tickets_free(struct tickets *tickets);

/** tickets_leave() - the table's from now on; its .id is set */
void tickets_leave(struct tickets *tickets, struct ticket *ticket);

/** tickets_note() - add what the handoff has found out; the ticket may be gone already */
void tickets_note(struct tickets *tickets, uint32_t id, uint32_t client_rtt_us,
		  uint32_t backend_rtt_us);

/** tickets_take() - off the table, and the caller's. NULL: there is none */
struct ticket *tickets_take(struct tickets *tickets, uint32_t id);

#endif
