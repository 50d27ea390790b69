/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_pool.h - what a pool says of its backends and of who is next
 *
 * Each function reads what it is named after and returns 0 or a negative errno;
 * -EINVAL has been complained about. What is missing gets its default.
 */
#ifndef LADON_CONFIG_POOL_H
#define LADON_CONFIG_POOL_H

#include "config.h"
#include "config_node.h"

/** config_backends() - a list of addresses, or of mappings with an address or a source */
int config_backends(const struct node *node, struct config_pool *pool);

/** config_backends_any_ip6() - may one be an IPv6 address? A name, a target and whom a source names may */
bool config_backends_any_ip6(const struct config_pool *pool);

/** config_backends_free() - of a pool */
void config_backends_free(struct config_pool *pool);

/** config_turns() - the policy, and what a hash goes by, which only that policy has */
int config_turns(const struct node *policy, const struct node *hash, struct config_pool *pool);

/** config_source() - whose address backends see: gateway or transparent */
int config_source(const struct node *node, bool *transparent);

/** config_eject() - "no", or a mapping */
int config_eject(const struct node *node, struct config_eject *eject);

#endif
