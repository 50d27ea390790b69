/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_forwards.h - the key 'forwards' of ladon.yaml
 */
#ifndef LADON_CONFIG_FORWARDS_H
#define LADON_CONFIG_FORWARDS_H

#include "config.h"
#include "config_node.h"

/**
 * config_forwards_read() - the list, which may be missing
 * @config: its listeners have been read
 *
 * Return: 0 or a negative errno, complained.
 */
int config_forwards_read(const struct node *node, struct config *config);

void config_forwards_free(struct config *config);

#endif
