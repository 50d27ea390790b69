// SPDX-License-Identifier: GPL-2.0-only
#include "handoff.h"

#include <assert.h>
#include <errno.h>

#include "conn.h"
#include "ends.h"

/* Reasons of the moment. All others lie in the sockets themselves, and stay. */
static const bool may_pass[LADON_REASON_COUNT] = {
	[LADON_REASON_NO_INTERFACE] = true, [LADON_REASON_TABLE_FULL] = true,
	[LADON_REASON_EXISTS] = true,	    [LADON_REASON_UNACKED] = true,
	[LADON_REASON_ACKED] = true,	    [LADON_REASON_SLOW_CONNECT] = true,
	[LADON_REASON_BUSY] = true,	    [LADON_REASON_NO_FORWARDING] = true,
	[LADON_REASON_NO_KERNEL_MEMORY] = true,
};

bool handoff_may_pass(const struct conn *c)
{
	return !c->obstacle && may_pass[c->relayed];
}

/* ---- the sockets, until they vanish ---- */

static void leavers_again(struct worker *worker)
{
	int ms = ladon_leavers_run(worker->leavers);

	if (ms >= 0)
		timer_set(&worker->loop.timers, &worker->leave,
			  worker->loop.now_ms + (uint64_t)ms);
}

static void leavers_due(struct timer *timer)
{
	leavers_again(container_of(timer, struct worker, leave));
}

/* NULL: no memory; they vanish at once then */
static struct ladon_leavers *leavers_of(struct worker *worker)
{
	if (!worker->leavers) {
		worker->leave.run = leavers_due;
		worker->leavers = ladon_leavers_new(worker->gateway->ladon);
	}
	return worker->leavers;
}

/* ---- the handoff ---- */

/* The backend keeps the flow among its own, until flows.c hears that it has ended. */
static void handoff_done(struct conn *c, uint32_t flow)
{
	conn_debug(c, "handoff: flow %u", flow);
	count_add(&c->listener->counts->handed_off, 1);
	atomic_fetch_add_explicit(&c->backend->handed_off, 1, memory_order_relaxed);
	backend_answered(c->backend);
	/* They stay open for a moment, and the connection does not. */
	loop_unwatch(&c->worker->loop, &c->front);
	loop_unwatch(&c->worker->loop, &c->back);
	c->front.fd = -1;
	c->back.fd = -1;
	c->source = 0;
	c->backend = NULL;
	if (c->worker->leavers && !timer_is_set(&c->worker->leave))
		leavers_again(c->worker);
}

bool handoff_try(struct conn *c)
{
	const struct listener *listener = c->listener;
	struct backend *backend = c->backend;
	struct ladon_handoff how = LADON_HANDOFF_INIT;
	uint32_t ticket;

	how.front_data = c->first.bytes;
	how.front_len = c->first.len;
	how.source = c->source;
	how.stack = listener->config->stack;
	how.client = &c->client.sa;
	how.listener = listener->wildcard ? NULL : &listener->config->addr.sa;
	how.backend = &c->to.sa;
	how.idle_ms = listener->config->idle_ms;
	how.half_closed_ms = listener->config->half_closed_ms;
	how.keepalive_after_ms = listener->config->keepalive.after_ms;
	how.keepalive_interval_ms = listener->config->keepalive.interval_ms;
	how.keepalive_probes = listener->config->keepalive.probes;
	how.leavers = leavers_of(c->worker);
	how.id = ticket = ends_leave(c);
	/* Held, and counted first: the flow may have ended before the call returns. */
	backend_hold(backend);
	atomic_fetch_add(&backend->flows_handed_off, 1);
	if (ladon_handoff(c->worker->gateway->ladon, c->front.fd, c->back.fd, &how) == 0) {
		ends_left(c, ticket, how.front_rtt_us, how.back_rtt_us);
		handoff_done(c, how.id);
		backend_drop(backend);
		return true;
	}
	ends_stayed(c, ticket);
	atomic_fetch_sub(&backend->flows_handed_off, 1);
	backend_drop(backend);
	assert(how.reason > LADON_REASON_NONE && how.reason < LADON_REASON_COUNT);
	c->relayed = how.reason;
	conn_debug(c, "handoff: refused: %s", ladon_reason_text(how.reason));
	return false;
}

int conn_handoff(struct conn *c)
{
	c->relayed = c->obstacle ? c->obstacle : c->loud;
	return c->relayed || !handoff_try(c) ? -EOPNOTSUPP : 0;
}
