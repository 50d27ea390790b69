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

/* The oldest that this worker has. Return: 0, or -ECANCELED: it was this one */
static int admit_make_room(struct conn *c)
{
	struct conn *oldest = TAILQ_FIRST(&c->listener->undecided);

	if (oldest == c)
		return admit_refuse(c, LADON_REASON_UNDECIDED_LIMIT);
	count_add(&c->listener->counts->refused, 1);
	conn_expel(oldest, LADON_REASON_UNDECIDED_LIMIT);
	return 0;
}

/* Two workers may both find that theirs was one too many: so the limit is never exceeded. */
int admit_wait(struct conn *c)
{
	struct listener *listener = c->listener;
	uint32_t max = listener->config->limits.undecided;

	if (c->undecided)
		return 0;
	c->undecided = true;
	TAILQ_INSERT_TAIL(&listener->undecided, c, among_undecided);
	count_add(&listener->counts->undecided, 1);
	return max && tally_sum(listener->tally).undecided > max ? admit_make_room(c) : 0;
}

void admit_decided(struct conn *c)
{
	if (!c->undecided)
		return;
	c->undecided = false;
	TAILQ_REMOVE(&c->listener->undecided, c, among_undecided);
	count_sub(&c->listener->counts->undecided, 1);
}

void admit_leave(struct conn *c)
{
	admit_decided(c);
	callers_leave(c->worker->gateway->callers, c->caller);
	c->caller = NULL;
}
