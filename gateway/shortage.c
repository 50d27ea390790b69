// SPDX-License-Identifier: GPL-2.0-only
#include "shortage.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../base/log.h"
#include "conn.h"
#include "worker.h"

#define PAUSE_MS 100
#define CALM_MS	 1000

bool shortage_is(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS;
}

static void shortage_set(struct worker *worker, uint64_t ms)
{
	timer_set(&worker->loop.timers, &worker->shortage.timer, worker->loop.now_ms + ms);
}

/* ---- begin ---- */

static void shortage_say(struct worker *worker, const char *what, int rc)
{
	struct shortages *all = &worker->gateway->shortages;

	if (atomic_fetch_add(&all->workers, 1) > 0)
		return;
	atomic_fetch_add(&all->count, 1);
	atomic_store(&all->began_ms, worker->loop.now_ms);
	atomic_store(&all->turned_away, 0);
	log_warn("%s: %s; nobody is accepted until there is more, clients wait", what,
		 strerror(-rc));
}

void shortage_begin(struct worker *worker, const char *what, int rc)
{
	struct shortage *shortage = &worker->shortage;

	if (shortage->pausing)
		return;
	if (!timer_is_set(&shortage->timer))
		shortage_say(worker, what, rc);
	shortage->pausing = true;
	worker_pause(worker, true);
	shortage_set(worker, PAUSE_MS);
}

bool shortage_join(struct worker *worker)
{
	if (!atomic_load_explicit(&worker->gateway->shortages.waiting, memory_order_relaxed))
		return false;
	shortage_begin(worker, "connect", -EMFILE); /* whoever waits has said it already */
	return true;
}

void shortage_wait(struct conn *c, const char *what, int rc)
{
	if (!c->lacks) {
		c->lacks = true;
		TAILQ_INSERT_TAIL(&c->worker->shortage.waiting, c, waits);
		atomic_fetch_add(&c->worker->gateway->shortages.waiting, 1);
	}
	shortage_begin(c->worker, what, rc);
}

void shortage_leave(struct conn *c)
{
	if (!c->lacks)
		return;
	c->lacks = false;
	TAILQ_REMOVE(&c->worker->shortage.waiting, c, waits);
	atomic_fetch_sub(&c->worker->gateway->shortages.waiting, 1);
}

/* ---- end ---- */

static void shortage_over(struct worker *worker)
{
	struct shortages *all = &worker->gateway->shortages;
	uint64_t began_ms = atomic_load(&all->began_ms);
	uint64_t turned_away = atomic_load(&all->turned_away);

	if (atomic_fetch_sub(&all->workers, 1) > 1)
		return;
	log_info("there is enough again, after %" PRIu64 " ms; %" PRIu64
		 " clients were turned away meanwhile",
		 worker->loop.now_ms - CALM_MS - began_ms, turned_away);
}

/* The oldest first. Return: nobody waits any more */
static bool waiting_serve(struct shortage *shortage)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&shortage->waiting))) {
		conn_run(c);
		if (c == TAILQ_FIRST(&shortage->waiting))
			return false;
	}
	return true;
}

static void shortage_timer(struct timer *timer)
{
	struct shortage *shortage = container_of(timer, struct shortage, timer);
	struct worker *worker = container_of(shortage, struct worker, shortage);

	if (!shortage->pausing) {
		shortage_over(worker);
	} else if (waiting_serve(shortage) && !atomic_load(&worker->gateway->shortages.waiting) &&
		   worker_pause(worker, false) == 0) {
		shortage->pausing = false;
		shortage_set(worker, CALM_MS);
	} else {
		shortage_set(worker, PAUSE_MS);
	}
}

void shortage_init(struct worker *worker)
{
	worker->shortage.timer.run = shortage_timer;
	TAILQ_INIT(&worker->shortage.waiting);
}
