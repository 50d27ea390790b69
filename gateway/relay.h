/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * relay.h - copy bytes between two sockets, because or until the handoff is refused
 *
 * Each direction is a lane. Short messages are read into the worker's scratch
 * buffer and sent from there; when a read fills that, the lane changes to
 * splice(2) until a short one comes. What the receiver does not take at once
 * waits in a pipe, and nothing more is read while it does. A lane that has
 * nothing to do owns nothing.
 *
 * A FIN passes as a FIN and a RST as a RST. When the reason for not handing off
 * may be gone later, the handoff is tried again whenever the connection is
 * quiet, in growing pauses.
 */
#ifndef LADON_RELAY_H
#define LADON_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "pipe.h"

struct conn;

struct lane {
	struct pipe pipe;
	uint32_t held; /* bytes in the pipe */
	bool bulk;     /* splice: the last read was a large one */
	bool no_splice;
	bool ended; /* its sender has closed: after the held bytes there is nothing */
	bool shut;  /* ... and its receiver knows, or is gone */
};

struct relay {
	struct lane in, out; /* client to backend, backend to client */
	uint64_t active_ms;  /* 0: the relay has not begun */
	uint32_t idle_ms;    /* how long it may stay without a byte */
	uint32_t pause_ms;   /* before the next try of the handoff; 0: no more */
	bool busy;	     /* it was not quiet when the handoff was to be tried */
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
