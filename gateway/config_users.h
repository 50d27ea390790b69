/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_users.h - the key 'users': the path of a file of names and passwords
 */
#ifndef LADON_CONFIG_USERS_H
#define LADON_CONFIG_USERS_H

#include "config.h"
#include "config_node.h"

/**
 * config_users_read() - read the file, so that a reload reads it again
 * @out: the configuration's
 *
 * Return: 0 or a negative errno, complained. A missing key leaves @out as it is.
 */
int config_users_read(struct config *config, const struct node *node, struct users **out);

/** config_users_free() - the configuration holds them no longer */
void config_users_free(struct config *config);

#endif
