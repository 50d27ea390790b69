/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * words.h - first words that a listener's routes know, beside what the peekers do
 *
 * Prefixes are compared before any peeker is asked; the longest one wins, and is waited for
 * as long as it may still come. Regexes are asked about what nobody knows, in the file's
 * order. Each is matched from the first byte on and need not reach the last; while more
 * bytes could change its answer, they are waited for. So no answer depends on how
 * TCP cut the bytes.
 *
 * A regex comes from the operator, what it is matched with from anybody. It sees the first
 * REGEX_BYTES_MAX bytes, and gives up after REGEX_STEPS_MAX backtracks.
 */
#ifndef LADON_WORDS_H
#define LADON_WORDS_H

#include "config.h"
#include "peek.h"

#define WORD_BYTES_MAX	255
#define REGEX_TEXT_MAX	1000
#define REGEX_BYTES_MAX 1024
#define REGEX_STEPS_MAX 2000
#define REGEX_WHY_MAX	256

/**
 * words_new() - of a listener's routes
 * @out: NULL if there are none
 *
 * Return: 0 or -ENOMEM.
 */
int words_new(const struct config_listener *listener, struct words **out);
void words_free(struct words *words);

/**
 * words_start() - is one of the prefixes there?
 * @route: on PEEK_FOUND, the index of the listener's rule
 *
 * Return: PEEK_FOUND, PEEK_MORE or PEEK_OTHER.
 */
enum peek_answer words_start(const struct words *words, const uint8_t *bytes, size_t len,
			     unsigned int *route);

/**
 * words_match() - ... one of the regexes?
 * @reason: on PEEK_BAD: it gave up, or there was no memory
 */
enum peek_answer words_match(const struct words *words, const uint8_t *bytes, size_t len,
			     unsigned int *route, enum ladon_reason *reason);

/**
 * word_decode() - the bytes of a prefix as the configuration writes it
 * @text: printable ASCII, and escapes: \xHH, \r, \n, \t, \0 and a doubled backslash
 *
 * Return: how many, 0: it is none, or longer than WORD_BYTES_MAX.
 */
size_t word_decode(const char *text, uint8_t out[WORD_BYTES_MAX]);

/** word_encode() - the one way to write them, to be freed. NULL: no memory */
char *word_encode(const uint8_t *bytes, size_t len);

/** regex_fault() - what is wrong with the text of a regex, and would be right. Return: @why, or NULL */
const char *regex_fault(const char *text, char why[REGEX_WHY_MAX]);

#endif
