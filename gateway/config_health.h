/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_health.h - what a pool says of checks of its backends
 */
#ifndef LADON_CONFIG_HEALTH_H
#define LADON_CONFIG_HEALTH_H

#include "config.h"
#include "config_node.h"

/**
 * config_health() - a mapping with a kind of check; missing: none
 * @pool: has its backends; its .health is all zero before, and its texts are the
 *	caller's, also after a failure
 *
 * Return: 0 or a negative errno; -EINVAL has been complained about.
 */
int config_health(const struct node *node, struct config_pool *pool);

#endif
