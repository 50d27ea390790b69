/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * users.h - a file of names and hashed passwords
 *
 * Lines are NAME:HASH, as htpasswd -nB and mkpasswd(1) make the hash; '#' begins a
 * comment where a name would. Of crypt(5) all methods are taken that it calls strong,
 * and sha256crypt. To check a password takes up to 100 ms by intent: see verdict.h for
 * how a worker does it. What was right is remembered for a while, as a digest with a
 * secret, until then the next question costs a microsecond.
 *
 * An unknown name takes as long as a wrong password: it is checked against the hash of
 * some user, always of the same one. That hides which names there are as far as all
 * hashes of the file are of one method and cost.
 *
 * Thread-safe. Names and hashes never change; a reload reads another struct users, and
 * with this one goes what was remembered.
 */
#ifndef LADON_USERS_H
#define LADON_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USERS_WHY_MAX  256
#define USERS_NAME_MAX 255 /* RFC 1929 */
#define USERS_PASS_MAX 511 /* CRYPT_MAX_PASSPHRASE_SIZE; longer ones are wrong */
#define USERS_KNOWN_MS (5 * 60 * 1000)

struct users;

/**
 * users_read() - from a file's text
 * @line: on failure the line that is wrong
 * @why: ... and how; no hash is quoted
 *
 * Return: 0, -EINVAL or -ENOMEM. It has one holder, the caller.
 */
int users_read(const char *text, size_t len, struct users **out, unsigned int *line,
	       char why[USERS_WHY_MAX]);

struct users *users_hold(struct users *users); /* Return: @users */
void users_drop(struct users *users);	       /* NULL is fine */

/** users_know() - was it right already, not long ago? @now_ms: CLOCK_MONOTONIC */
bool users_know(struct users *users, const char *name, const char *pass, uint64_t now_ms);

/** users_check() - is it right? Takes its time */
bool users_check(struct users *users, const char *name, const char *pass, uint64_t now_ms);

#endif
