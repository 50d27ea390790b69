/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * relay.h - copy bytes between two sockets, because or until the handoff is refused
 *
 * A FIN passes as a FIN and a RST as a RST. When the reason for not handing off
 * may be gone later, the handoff is tried again whenever the connection is
 * quiet, in growing pauses.
 */
#ifndef LADON_RELAY_H
#define LADON_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "lane.h"

struct conn;

struct relay {
	struct lane in, out; /* client to backend, backend to client */
	uint64_t active_ms;  /* 0: the relay has not begun */
	uint32_t idle_ms;    /* how long it may stay without a byte */
	uint32_t pause_ms;   /* before the next try of the handoff; 0: no more */
	bool busy;	     /* it was not quiet when the handoff was to be tried */
	bool by_client;	     /* the client closed first */
	bool half_closed;    /* one of them did, and .idle_ms is for that */
};

void relay_init(struct relay *relay);
void relay_fini(struct conn *c);

static inline bool relay_began(const struct relay *relay)
{
	return relay->active_ms;
}

/** conn_begin() - step: the backend gets the first bytes, both ends are acknowledged */
int conn_begin(struct conn *c);

/** conn_relay() - step: until both ends have closed, or the handoff succeeded */
int conn_relay(struct conn *c);

#endif
