/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * access_line.h - one line of the access log, as text or as JSON
 *
 * Pure: a struct in, bytes out. Both forms have the same keys in the same order,
 * and every key is written in one place. Text is key=value, with a hyphen for
 * what is not known; JSON leaves that out. Whatever could end a line or a value
 * is escaped, wherever it comes from.
 */
#ifndef LADON_ACCESS_LINE_H
#define LADON_ACCESS_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* Of each text no more is printed; every byte may take six. */
#define ACCESS_TEXT_MAX 256
#define ACCESS_LINE_MAX (20 * 1024)

/**
 * struct access_line - what there is to say about a connection
 * @time_ms: when it ended, CLOCK_REALTIME
 * @duration_ms: since it was accepted; of a flow that is older than the daemon,
 *	since the handoff
 * @client, @listener, @name, @pool, @backend: NULL: unknown
 * @how: "handoff", "relay" or "none": nobody ever got its bytes
 * @why: the reason's word if it was relayed, then or before; NULL
 * @end: how it ended: "closed", "reset", "idle", "killed", or a reason's word
 * @by: "client", "backend" or "ladon"
 * @packets_in, @packets_out: of the flow; 0: there was none
 * @bytes_in, @bytes_out: IP lengths of those packets, and payload that ladond moved
 * @client_rtt_us, @backend_rtt_us: at the handoff; 0: unknown
 * @user: whose password it gave; NULL
 */
struct access_line {
	uint64_t time_ms, duration_ms;
	const char *client, *listener, *name, *pool, *backend;
	const char *how, *why, *end, *by;
	uint64_t packets_in, bytes_in;
	uint64_t packets_out, bytes_out;
	uint32_t client_rtt_us, backend_rtt_us;
	const char *user;
};

/**
 * access_line_format() - write the line, with its newline, without a NUL
 * @out: has ACCESS_LINE_MAX bytes, which any line fits into
 *
 * Return: its length.
 */
size_t access_line_format(const struct access_line *line, enum access_format format, char *out);

#endif
