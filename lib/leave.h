/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * leave.h - two sockets whose flow has begun, until they vanish
 */
#ifndef LADON_LEAVE_H
#define LADON_LEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "private.h"

/**
 * struct carry - one direction of the bytes that the sockets still send
 * @data, @len: read already, and to be sent first
 * @room: bytes that may still be sent at once
 * @sent: bytes that were
 * @all_read: there is nothing else to read
 * @cut: something could not be sent; its sender repeats it
 */
struct carry {
	int from, to;
	const void *data;
	size_t len;
	uint32_t room;
	size_t sent;
	bool all_read;
	bool cut;
};

/**
 * struct leaving - the two sockets
 * @in, @out: from the front to the back, and the other way
 * @tracked: conntrack knows them, and is to forget them
 * @since_ms: when they were added to leavers
 */
struct leaving {
	struct carry in, out;
	struct ladon_request req;
	bool tracked;
	uint64_t since_ms;
};

/** carry() - send what there is, as far as there is room. Waits for nothing. */
void carry(struct carry *c);

/** leaving_settle() - after carry(): nothing is held back for bytes that never leave */
void leaving_settle(struct ladon *ladon, struct leaving *leaving);

/** vanish() - now */
void vanish(struct ladon *ladon, struct leaving *leaving);

/** leavers_add() - a moment later, when ladon_leavers_run() is called */
void leavers_add(struct ladon_leavers *leavers, const struct leaving *leaving);

#endif
