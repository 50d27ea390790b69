/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_value.h - the kinds of value that ladon.yaml has: names, addresses, paths
 *
 * Each function reads a scalar that is there, checks it, and returns 0 or a
 * negative errno; -EINVAL has been complained about. Texts are copies that the
 * caller owns as soon as they are written, also when -EINVAL follows.
 */
#ifndef LADON_CONFIG_VALUE_H
#define LADON_CONFIG_VALUE_H

#include "../base/cidr.h"
#include "config.h"
#include "config_node.h"

struct target_ports;

/** value_copy() - strdup(3). Return: 0 or -ENOMEM */
int value_copy(const char *text, char **out);

/** value_label() - up to 63 letters, digits, '-' and '_' */
int value_label(const struct node *node, char **out);

/** value_pattern() - a host name, "*.", or "*" as in struct config_route; becomes lower case */
int value_pattern(const struct node *node, char **out);

/** value_alpn() - a protocol's name in ALPN; printable */
int value_alpn(const struct node *node, char **out);

/** value_prefix() - the beginning of an HTTP path */
int value_prefix(const struct node *node, char **out);

/** value_interface() - the name of a network interface, which need not exist yet */
int value_interface(const struct node *node, char **out);

/** value_interfaces() - a list of them, or one, ended by NULL; a missing one leaves @out as it is */
int value_interfaces(const struct node *node, char ***out);

/** texts_free() - what value_interfaces() made; NULL is fine */
void texts_free(char **texts);

/** value_ports() - a list of ports and ranges of them, or one; a missing one leaves both as they are */
int value_ports(const struct node *node, struct target_ports **out, unsigned int *out_len);

/** value_file() - an absolute path of at most @max bytes */
int value_file(const struct node *node, size_t max, char **out);

/** value_listen() - a numeric address with a port other than 0 */
int value_listen(const struct node *node, struct addr *out);

/** value_reset() - "keep", or "reset", which is true; without a word it stays as it is */
int value_reset(const struct node *node, bool *reset);

/** value_source() - a numeric address without a port, not 0.0.0.0 or :: */
int value_source(const struct node *node, struct addr *out);

/** value_server() - a numeric address, with a port or with DNS's, not 0.0.0.0 or :: */
int value_server(const struct node *node, struct addr *out);

/** value_backend() - a numeric address or a name, with a port; @backend is all zero before */
int value_backend(const struct node *node, struct config_backend *backend);

/**
 * value_listed() - the text of another file, which @node names
 * @out: the caller's, to be freed; 16 MB at most
 */
int value_listed(const struct node *node, const char *path, char **out, size_t *len);

/**
 * value_cidrs() - a list, or one, of prefixes, addresses and file:PATH
 * @out: is added to, and sealed
 *
 * A file has one prefix in a line. It is read now, so that a reload reads it again.
 */
int value_cidrs(const struct node *node, struct cidrs *out);

/** value_prefixes() - the same, and the set is not sealed yet */
int value_prefixes(const struct node *node, struct cidrs *out);
/** value_percent() - as in 50%, from 1 to 100; a missing one leaves @out as it is */
int value_percent(const struct node *node, uint32_t *out);

#endif
