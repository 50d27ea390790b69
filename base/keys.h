/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.h - a file of keys that tokens are made and checked with
 *
 * Lines are ID:KEY, as `ladon token key` makes them: a decimal number of 32 bits, and 32 bytes in
 * hexadecimal. '#' begins a comment where an id would. Any of them may have made a token, the last
 * one makes new ones: so keys change by adding a line, and later removing the first.
 */
#ifndef LADON_KEYS_H
#define LADON_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "token.h"

#define KEYS_WHY_MAX 160

struct key {
	uint32_t id;
	unsigned int line;
	uint8_t bytes[TOKEN_KEY_BYTES];
};

struct keys;

/**
 * keys_read() - from a file's text
 * @line: on failure the line that is wrong
 * @why: ... and how; no key is quoted
 *
 * Return: 0, -EINVAL or -ENOMEM. Free it with keys_free().
 */
int keys_read(const char *text, size_t len, struct keys **out, unsigned int *line,
	      char why[KEYS_WHY_MAX]);

/** keys_free() - and forget them; NULL is fine */
void keys_free(struct keys *keys);

/** keys_find() - NULL: there is none of that id; @keys may be NULL */
const struct key *keys_find(const struct keys *keys, uint32_t id);

/** keys_last() - of the file */
const struct key *keys_last(const struct keys *keys);

#endif
