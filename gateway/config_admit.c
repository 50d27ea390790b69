// SPDX-License-Identifier: GPL-2.0-only
#include "config_admit.h"

#include <errno.h>
#include <stdlib.h>

#include "config_value.h"

int config_admit_read(struct config *config, const struct node *allow, const struct node *deny,
		      const struct config_admit **out)
{
	struct config_admit *admit;
	int rc = 0;

	if (!allow->yaml && !deny->yaml)
		return 0;
	admit = calloc(1, sizeof(*admit));
	if (!admit)
		return -ENOMEM;
	admit->next = config->admits;
	config->admits = admit;
	admit->only = allow->yaml;
	if (allow->yaml)
		rc = value_cidrs(allow, &admit->allow);
	if (rc == 0 && deny->yaml)
		rc = value_cidrs(deny, &admit->deny);
	*out = admit;
	return rc;
}

bool config_admit_has(const struct config_admit *admit, const struct addr *addr)
{
	if (!admit)
		return true;
	if (cidrs_has(&admit->deny, addr))
		return false;
	return !admit->only || cidrs_has(&admit->allow, addr);
}

void config_admits_free(struct config *config)
{
	struct config_admit *next;

	for (struct config_admit *admit = config->admits; admit; admit = next) {
		next = admit->next;
		cidrs_fini(&admit->allow);
		cidrs_fini(&admit->deny);
		free(admit);
	}
}
