/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_words.h - the conditions 'starts' and 'regex' of a route
 */
#ifndef LADON_CONFIG_WORDS_H
#define LADON_CONFIG_WORDS_H

#include "config.h"
#include "config_node.h"

/**
 * config_starts_read() - a prefix of the first bytes, as word_encode() writes it
 *
 * Return: 0 or a negative errno, complained. So do the others.
 */
int config_starts_read(const struct node *node, char **out);

/** config_regex_read() - a regex that compiles, and does not match nothing */
int config_regex_read(const struct node *node, char **out);

/**
 * config_words_check() - no prefix of a listener is a beginning of what the peekers look for
 * @routes: of the listener, for the complaint
 */
int config_words_check(const struct node *routes, const struct config_listener *listener);

#endif
