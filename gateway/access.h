/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * access.h - where the lines of the access log go
 *
 * Whoever has a line copies it into a buffer and goes on: nobody but one thread
 * of the log's own ever waits for a disk or a pipe. It writes what has been
 * collected while it wrote the last time. If that becomes too much (a pipe that
 * nobody reads, a disk that hangs) or a write fails (a full disk), lines are lost,
 * counted, and said to be lost; nothing else happens.
 */
#ifndef LADON_ACCESS_H
#define LADON_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* What can wait to be written: a second of ten thousand connections, about */
#define ACCESS_BUFFER_BYTES (4 << 20)

struct access;

/** struct access_counts - lines that were written, and that never will be */
struct access_counts {
	uint64_t written, lost;
};

/**
 * access_open() - open the file and start the thread
 * @path: NULL: stderr
 *
 * Return: 0 or a negative errno.
 */
int access_open(const char *path, struct access **out);

/** access_close() - write what waits, for a second at most; NULL is fine */
void access_close(struct access *access);

/** access_add() - one or more whole lines; from any thread, never waits for the writing */
void access_add(struct access *access, const char *lines, size_t len);

/** access_reopen() - the file was moved: open it anew by its name, or go on with the old one */
void access_reopen(struct access *access);

void access_count(struct access *access, struct access_counts *out);

#endif
