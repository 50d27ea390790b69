/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_tokens.h - the key 'tokens': the path of a file of keys that tokens are checked with
 */
#ifndef LADON_CONFIG_TOKENS_H
#define LADON_CONFIG_TOKENS_H

#include "config.h"
#include "config_node.h"

/**
 * config_tokens_read() - read the file, so that a reload reads it again
 *
 * One that everybody may read is refused: whoever has a key can make tokens.
 *
 * Return: 0 or a negative errno, complained. A missing key leaves listener->keys as it is.
 */
int config_tokens_read(const struct node *node, struct config_listener *listener);

#endif
