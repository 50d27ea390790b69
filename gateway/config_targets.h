/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_targets.h - the key 'targets': where clients may ask to be connected to
 */
#ifndef LADON_CONFIG_TARGETS_H
#define LADON_CONFIG_TARGETS_H

#include "config.h"
#include "config_node.h"
#include "target.h"

/**
 * config_targets_read() - 'allow', 'deny' and 'ports'
 * @out: the configuration's. A missing key leaves it as it is
 *
 * Return: 0 or a negative errno, complained.
 */
int config_targets_read(struct config *config, const struct node *node, const struct targets **out);

/** config_targets_free() - all of a configuration's */
void config_targets_free(struct config *config);

#endif
