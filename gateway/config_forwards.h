/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_forwards.h - the key 'forwards' of ladon.yaml
 */
#ifndef LADON_CONFIG_FORWARDS_H
#define LADON_CONFIG_FORWARDS_H

#include "config.h"
#include "config_node.h"

/* Finds the pool of which a node has the name. Return: 0 or a negative errno, complained */
typedef int config_pool_ref_fn(const void *arg, const struct node *node, unsigned int *out);

/**
 * config_forwards_read() - the list, which may be missing
 * @config: its listeners and pools have been read
 * @pool_ref: called with @arg
 *
 * Return: 0 or a negative errno, complained.
 */
int config_forwards_read(const struct node *node, struct config *config,
			 config_pool_ref_fn *pool_ref, const void *arg);

void config_forwards_free(struct config *config);

/**
 * config_forward_parse() - one forward that is asked for at run time
 * @text: a mapping with the keys that it has in the file; JSON is YAML, too
 * @config: whose listeners it must leave alone, and whose pools it may lead to
 * @why: on failure what is wrong, without a line, to be freed by the caller; may be NULL
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int config_forward_parse(const char *text, const struct config *config, struct config_forward *out,
			 char **why);

/**
 * config_forward_follow() - let one that was added lead to the pool of the same name in the next configuration
 * @why: on failure what is wrong, to be freed by the caller; may be NULL
 *
 * Return: 0; -ENOENT: there is none that will do; -ENOMEM.
 */
int config_forward_follow(struct config_forward *forward, const struct config *former,
			  const struct config *next, char **why);

/**
 * config_forward_name_parse() - by what it is named: the same with listen and protocol only
 * @out: neither .tcp nor .udp: any protocol
 */
int config_forward_name_parse(const char *text, struct config_forward *out, char **why);

/** config_forward_listener() - the listener of @config that it takes a port from; NULL: none */
const struct config_listener *config_forward_listener(const struct config *config,
						      const struct config_forward *forward);

/**
 * config_forwards_fit() - are they not too many?
 * @why: on failure what is wrong, to be freed by the caller; may be NULL
 *
 * Return: 0, -E2BIG or -ENOMEM.
 */
int config_forwards_fit(const struct config_forward *forwards, unsigned int len, char **why);

#define PORTS_TEXT_MAX (ADDR_TEXT_MAX + sizeof("-65535"))

/** config_ports_format() - from @first on as many ports as @forward has, as in the file. Return: @out */
char *config_ports_format(const struct config_forward *forward, const struct addr *first,
			  char out[PORTS_TEXT_MAX]);

#endif
