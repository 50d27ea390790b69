/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_admit.h - the keys 'allow' and 'deny': which addresses are let in
 *
 * 'deny' wins over 'allow'. Where there is an 'allow', nobody else is let in.
 */
#ifndef LADON_CONFIG_ADMIT_H
#define LADON_CONFIG_ADMIT_H

#include "../base/cidr.h"
#include "config.h"
#include "config_node.h"

struct config_admit {
	struct config_admit *next; /* of config.admits, which owns it */
	bool only;		   /* there is an 'allow', be it an empty file */
	struct cidrs allow, deny;
};

/**
 * config_admit_read() - both keys; either may be missing
 * @out: NULL if both are
 *
 * Return: 0 or a negative errno, complained.
 */
int config_admit_read(struct config *config, const struct node *allow, const struct node *deny,
		      const struct config_admit **out);

/** config_admit_has() - is the address let in? NULL lets everybody in */
bool config_admit_has(const struct config_admit *admit, const struct addr *addr);

/** config_admits_free() - all of a configuration's */
void config_admits_free(struct config *config);

#endif
