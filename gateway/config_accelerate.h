/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_accelerate.h - the key 'accelerate' of ladon.yaml
 */
#ifndef LADON_CONFIG_ACCELERATE_H
#define LADON_CONFIG_ACCELERATE_H

#include "config.h"
#include "config_node.h"

/** config_accelerate_read() - it may be missing. Return: 0 or a negative errno, complained */
int config_accelerate_read(const struct node *node, struct config_accelerate *out);

void config_accelerate_free(struct config_accelerate *accelerate);

#endif
