/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_proxy.h - the keys of the PROXY protocol: who must say it, and who is told
 */
#ifndef LADON_CONFIG_PROXY_H
#define LADON_CONFIG_PROXY_H

#include "config.h"
#include "config_node.h"

/**
 * config_proxy_from_read() - 'proxy-from' of a listener
 *
 * Return: 0 or a negative errno, complained. So does the other.
 */
int config_proxy_from_read(const struct node *node, struct config_listener *listener);

/** config_proxy_from_free() - by whoever frees the listener's routes, which neighbours share, too */
void config_proxy_from_free(const struct config_listener *listener);

/**
 * config_send_proxy_read() - 'send-proxy' and 'proxy-tlvs' of a pool, after its backends
 */
int config_send_proxy_read(const struct node *version, const struct node *tlvs,
			   struct config_pool *pool);

#endif
