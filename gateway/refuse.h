/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * refuse.h - tell a client why it is turned away
 *
 * In the client's own protocol, if it is known: a TLS alert or an HTTP answer.
 * Bytes that nobody read turn a close into a RST, which may overtake the answer
 * (RFC 9112 section 9.6): so the client's bytes are read, and thrown away, until
 * it closes, too, or has had its time.
 */
#ifndef LADON_REFUSE_H
#define LADON_REFUSE_H

#include <stdbool.h>
#include <stdint.h>

struct conn;

struct refusal {
	bool said;
	uint32_t drained; /* bytes */
};

/** conn_refuse() - step: say c->closed, and wait until the client has heard it */
int conn_refuse(struct conn *c);

#endif
