// SPDX-License-Identifier: GPL-2.0-only
#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admit.h"
#include "asked.h"
#include "connect.h"
#include "ends.h"
#include "first.h"
#include "handoff.h"
#include "proxied.h"
#include "say.h"

struct step {
	const char *name;
	int (*run)(struct conn *c);
	enum conn_state then;
	enum conn_state or_else;
};

/* clang-format off */
static const struct step steps[] = {
	/*                 name       run           then          or else      */
	[CONN_ADMIT]   = { "admit",   conn_admit,   CONN_PEEK,    CONN_DONE    },
	[CONN_PEEK]    = { "peek",    conn_peek,    CONN_ROUTE,   CONN_REFUSE  },
	[CONN_ROUTE]   = { "route",   conn_route,   CONN_CONNECT, CONN_REFUSE  },
	[CONN_CONNECT] = { "connect", conn_connect, CONN_SAY,     CONN_ROUTE   },
	[CONN_SAY]     = { "say",     conn_say,     CONN_HANDOFF, CONN_ROUTE   },
	[CONN_HANDOFF] = { "handoff", conn_handoff, CONN_DONE,    CONN_BEGIN   },
	[CONN_BEGIN]   = { "begin",   conn_begin,   CONN_RELAY,   CONN_ROUTE   },
	[CONN_RELAY]   = { "relay",   conn_relay,   CONN_DONE,    CONN_DONE    },
	[CONN_REFUSE]  = { "refuse",  conn_refuse,  CONN_DONE,    CONN_DONE    },
};
/* clang-format on */
_Static_assert(sizeof(steps) / sizeof(steps[0]) == CONN_DONE,
	       "every state but the last has a step");

/* ---- times ---- */

static void conn_arm(struct conn *c)
{
	uint64_t at = c->limit_ms;

	if (c->wake_ms && !c->woken && c->wake_ms < at)
		at = c->wake_ms;
	timer_set(&c->worker->loop.timers, &c->timer, at);
}

void conn_limit(struct conn *c, uint64_t ms)
{
	c->limit_ms = conn_now(c) + ms;
	c->late = false;
	conn_arm(c);
}

void conn_wake(struct conn *c, uint64_t ms)
{
	c->wake_ms = conn_now(c) + ms;
	c->woken = false;
	conn_arm(c);
}

void conn_sleep(struct conn *c)
{
	c->wake_ms = 0;
	c->woken = false;
}

/* Only here a connection becomes late, never while events of the round are
 * still to come: connect.c replaces the back socket of one that is.
 */
static void conn_timer(struct timer *timer)
{
	struct conn *c = container_of(timer, struct conn, timer);

	c->late = conn_now(c) >= c->limit_ms;
	c->woken = c->wake_ms && conn_now(c) >= c->wake_ms;
	if (!c->late)
		conn_arm(c);
	conn_run(c);
}

/* ---- ends ---- */

void conn_close_back(struct conn *c)
{
	struct ladon *ladon = c->worker->gateway->ladon;

	if (c->back.fd >= 0)
		close(c->back.fd);
	c->back = (struct watch){ .run = c->back.run, .fd = -1 };
	if (c->source)
		ladon_source_free(ladon, c->source);
	c->source = 0;
	c->back_guarded = false;
	c->first.sent = 0;
	c->introduction.sent = 0;
	if (c->backend)
		backend_release(c->backend);
	c->backend = NULL;
}

int conn_end(struct conn *c, enum ladon_reason why)
{
	admit_decided(c);
	c->closed = why;
	conn_count(c, why);
	conn_debug(c, "%s: %s", steps[c->state].name, ladon_reason_text(why));
	return -ECANCELED;
}

int conn_lack(struct conn *c, const char *what, int rc)
{
	bool descriptors = rc == -EMFILE || rc == -ENFILE;

	shortage_begin(c->worker, what, rc);
	atomic_fetch_add(&c->worker->gateway->shortages.turned_away, 1);
	return conn_end(c, descriptors ? LADON_REASON_NO_DESCRIPTOR : LADON_REASON_NO_MEMORY);
}

int conn_turn_away(struct conn *c, enum ladon_reason why)
{
	conn_end(c, why);
	return -ECONNREFUSED;
}

void conn_acknowledge(struct conn *c, enum ladon_reason why)
{
	if (!c->guarded)
		return;
	c->guarded = false;
	c->loud = why;
	ladon_acknowledge(c->worker->gateway->ladon, c->front.fd);
}

void conn_consumed(struct conn *c, uint32_t bytes)
{
	c->consumed = bytes;
	if (c->guarded && ladon_consumed(c->worker->gateway->ladon, c->front.fd, bytes) < 0)
		conn_acknowledge(c, LADON_REASON_ACKED);
}

/* The memory goes last: an event of this round may still point to it. */
static void conn_done(struct conn *c)
{
	struct listener_counts *counts = c->listener->counts;

	timer_stop(&c->worker->loop.timers, &c->timer);
	shortage_leave(c);
	admit_leave(c);
	if (c->front.fd >= 0) /* else ends_flow() is going to say it */
		ends_conn(c);
	relay_fini(c);
	conn_close_back(c);
	if (c->front.fd >= 0)
		close(c->front.fd);
	c->front.fd = -1;
	kept_free(&c->first);
	kept_free(&c->header);
	kept_free(&c->introduction);
	asked_free(c);
	verdict_forget(&c->verdict);
	free(c->name);
	free(c->user);
	c->name = c->user = NULL;
	if (c->closed && !relay_began(&c->relay))
		count_add(&counts->closed, 1);
	count_sub(&counts->open, 1);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	loop_later(&c->worker->loop, &c->later);
	worker_conn_ended(c->worker);
}

static void conn_stop(struct conn *c, enum ladon_reason why)
{
	conn_end(c, why);
	c->state = CONN_DONE;
	conn_done(c);
}

void conn_cut(struct conn *c)
{
	conn_stop(c, LADON_REASON_CUT);
}

void conn_expel(struct conn *c, enum ladon_reason why)
{
	conn_reset(c);
	conn_stop(c, why);
}

void conn_reset(struct conn *c)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->front.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(c->back.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* ---- life ---- */

void conn_run(struct conn *c)
{
	if (c->state == CONN_DONE)
		return; /* ended earlier in this round */
	while (c->state != CONN_DONE) {
		const struct step *step = &steps[c->state];
		int rc = step->run(c);

		if (rc == -EAGAIN) { /* the loop brings us back here */
			assert(timer_is_set(&c->timer));
			return;
		}
		if (rc == -ECANCELED) {
			c->state = CONN_DONE;
			break;
		}
		if (rc < 0)
			conn_debug(c, "%s: %s", step->name, strerror(-rc));
		c->state = rc < 0 ? step->or_else : step->then;
	}
	conn_done(c);
}

void conn_later(struct conn *c)
{
	loop_later(&c->worker->loop, &c->later);
}

static void conn_task(struct task *task)
{
	struct conn *c = container_of(task, struct conn, later);

	if (c->state == CONN_DONE) {
		share_drop(c->listener->share);
		free(c);
	} else {
		conn_run(c);
	}
}

static void conn_front(struct watch *watch, uint32_t ready)
{
	struct conn *c = container_of(watch, struct conn, front);

	watch->ready |= ready;
	conn_run(c);
}

static void conn_back(struct watch *watch, uint32_t ready)
{
	struct conn *c = container_of(watch, struct conn, back);

	watch->ready |= ready;
	conn_run(c);
}

void conn_new(struct listener *listener, int fd, const struct addr *client)
{
	struct worker *worker = listener->worker;
	struct conn *c = calloc(1, sizeof(*c));
	char text[ADDR_TEXT_MAX];

	if (!c) {
		shortage_begin(worker, "memory for a connection", -ENOMEM);
		atomic_fetch_add(&worker->gateway->shortages.turned_away, 1);
		count_add(&worker->counts->reasons[LADON_REASON_NO_MEMORY], 1);
		count_add(&listener->counts->closed, 1);
		close(fd);
		return;
	}
	c->worker = worker;
	c->listener = listener;
	listener->share->users++;
	c->id = worker_conn_id(worker);
	c->later.run = conn_task;
	c->timer.run = conn_timer;
	c->front = (struct watch){ .run = conn_front, .fd = fd };
	c->back = (struct watch){ .run = conn_back, .fd = -1 };
	c->client = *client;
	proxied_begin(c);
	c->began_ms = worker->loop.now_ms;
	c->guarded = listener->guarded;
	c->loud = listener->guarded ? LADON_REASON_NONE : LADON_REASON_ACKED;
	relay_init(&c->relay);
	c->next = worker->conns;
	if (c->next)
		c->next->link = &c->next;
	c->link = &worker->conns;
	worker->conns = c;
	count_add(&listener->counts->open, 1);
	conn_debug(c, "accept: %s at %s", addr_format(client, text), listener->config->name);
	conn_run(c);
}
