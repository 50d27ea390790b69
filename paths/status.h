/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * status.h - the beginning of an HTTP/1 answer (RFC 9112 section 4)
 */
#ifndef LADON_STATUS_H
#define LADON_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define STATUS_BYTES 13 /* "HTTP/1.1 200 ": more is never looked at */

/**
 * status_read() - keeps no state: all bytes so far in, an answer out
 * @out: 100 to 999
 *
 * Return: 0; -EAGAIN: right so far, needs more bytes, up to STATUS_BYTES;
 * -EPROTO: no such answer, whatever follows.
 */
int status_read(const uint8_t *bytes, size_t len, unsigned int *out);

#endif
