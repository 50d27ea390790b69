// SPDX-License-Identifier: GPL-2.0-only
#include "admit.h"

#include <errno.h>

#include "callers.h"
#include "config_admit.h"
#include "conn.h"

static int admit_refuse(struct conn *c, enum ladon_reason why)
{
	count_add(&c->listener->counts->refused, 1);
	conn_reset(c);
	return conn_end(c, why);
}

static int admit_source(struct conn *c)
{
	uint32_t max = c->listener->config->limits.per_source;
	int rc;

	if (!max)
		return 0;
	rc = callers_enter(c->worker->gateway->callers, c->listener->tally->id, &c->who, max,
			   &c->caller);
	if (rc == -EDQUOT)
		return admit_refuse(c, LADON_REASON_SOURCE_LIMIT);
	return rc < 0 ? conn_lack(c, "memory for a source", rc) : 0;
}

int conn_admit(struct conn *c)
{
	if (c->header_due) /* it says who the client is; then */
		return 0;
	if (!config_admit_has(c->listener->config->admit, &c->who))
		return admit_refuse(c, LADON_REASON_SOURCE_DENIED);
	return admit_source(c);
}

/* Two workers may both find that theirs was one too many: so the limit is never exceeded. */
int admit_wait(struct conn *c)
{
	const struct listener *listener = c->listener;
	uint32_t max = listener->config->limits.undecided;

	if (c->undecided)
		return 0;
	c->undecided = true;
	count_add(&listener->counts->undecided, 1);
	if (max && tally_sum(listener->tally).undecided > max)
		return admit_refuse(c, LADON_REASON_UNDECIDED_LIMIT);
	return 0;
}

void admit_decided(struct conn *c)
{
	if (c->undecided)
		count_sub(&c->listener->counts->undecided, 1);
	c->undecided = false;
}

void admit_leave(struct conn *c)
{
	admit_decided(c);
	callers_leave(c->worker->gateway->callers, c->caller);
	c->caller = NULL;
}
