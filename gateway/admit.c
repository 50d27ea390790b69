// SPDX-License-Identifier: GPL-2.0-only
#include "admit.h"

#include "config_admit.h"
#include "conn.h"

static int admit_refuse(struct conn *c, enum ladon_reason why)
{
	conn_reset(c);
	return conn_end(c, why);
}

int conn_admit(struct conn *c)
{
	if (!config_admit_has(c->listener->config->admit, &c->client))
		return admit_refuse(c, LADON_REASON_SOURCE_DENIED);
	return 0;
}
