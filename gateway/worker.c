// SPDX-License-Identifier: GPL-2.0-only
#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "conn.h"
#include "removed.h"
#include "setup.h"

uint64_t worker_conn_id(struct worker *worker)
{
	return worker->conns_made++ * worker->gateway->workers_len + worker->index + 1;
}

void worker_conn_ended(struct worker *worker)
{
	if (worker->conns)
		return;
	pipes_fini(&worker->pipes);
	if (atomic_load(&worker->order) >= WORKER_DRAIN)
		worker->loop.stop = true;
}

/* ---- orders ---- */

void worker_tell(struct worker *worker, enum worker_order order)
{
	int given = atomic_load(&worker->order);

	while (given < (int)order && !atomic_compare_exchange_weak(&worker->order, &given, order))
		;
	eventfd_write(worker->orders.fd, 1);
}

void worker_switch(struct worker *worker, struct share *next)
{
	atomic_store(&worker->next, next);
	eventfd_write(worker->orders.fd, 1);
}

void workers_wait(struct gateway *gateway)
{
	for (unsigned int w = 0; w < gateway->workers_len; w++)
		while (sem_wait(&gateway->obeyed) < 0)
			;
}

void workers_review(struct gateway *gateway)
{
	for (unsigned int w = 0; w < gateway->workers_len; w++) {
		atomic_store(&gateway->workers[w]->review, true);
		eventfd_write(gateway->workers[w]->orders.fd, 1);
	}
	workers_wait(gateway);
}

/* Those that have no backend yet find out when they have (connect.c). */
static void worker_review(struct worker *worker)
{
	struct conn *next;

	for (struct conn *c = worker->conns; c; c = next) {
		enum ladon_reason why = LADON_REASON_NONE;

		next = c->next;
		if (c->state == CONN_SAY || c->state == CONN_BEGIN || c->state == CONN_RELAY)
			why = removed_why(worker->gateway->removed, &c->to);
		if (why)
			conn_expel(c, why); /* its backend is gone, or down */
	}
	sem_post(&worker->gateway->obeyed);
}

/* New sockets first: no client finds nobody. The former share may be referred to by
 * events of this round, and is left at its end.
 */
static void worker_serve(struct worker *worker, struct share *share)
{
	struct share *former = worker->share;

	worker->share = share;
	for (unsigned int i = 0; i < share->setup->config->listeners_len; i++)
		listener_serve(&share->listeners[i]);
	for (unsigned int i = 0; former && i < former->setup->config->listeners_len; i++)
		listener_retire(&former->listeners[i]);
	if (former)
		loop_later(&worker->loop, &former->leaving);
	sem_post(&worker->gateway->obeyed);
}

int worker_pause(struct worker *worker, bool paused)
{
	const struct share *share = worker->share;
	int rc = 0;

	for (unsigned int i = 0; share && i < share->setup->config->listeners_len && rc == 0; i++)
		rc = listener_pause(&share->listeners[i], paused);
	return rc;
}

static void worker_close(struct worker *worker)
{
	const struct share *share = worker->share;

	for (unsigned int i = 0; share && i < share->setup->config->listeners_len; i++)
		listener_close(&share->listeners[i]);
}

static void worker_obey(struct watch *watch, uint32_t ready)
{
	struct worker *worker = container_of(watch, struct worker, orders);
	enum worker_order order;
	struct share *next;
	eventfd_t n;

	(void)ready;
	eventfd_read(watch->fd, &n); /* first: what is given after that wakes us again */
	order = (enum worker_order)atomic_load(&worker->order);
	notes_run(&worker->notes);
	next = atomic_exchange(&worker->next, NULL);
	if (next)
		worker_serve(worker, next);
	if (atomic_exchange(&worker->review, false))
		worker_review(worker);
	if (order == WORKER_RUN)
		return;
	worker_close(worker);
	while (order == WORKER_STOP && worker->conns)
		conn_cut(worker->conns);
	if (!worker->conns)
		worker->loop.stop = true;
}

/* ---- life ---- */

static int worker_init(struct worker *worker)
{
	int rc = loop_open(&worker->loop);

	if (rc < 0)
		return rc;
	worker->orders.run = worker_obey;
	worker->orders.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (worker->orders.fd < 0)
		return -errno;
	worker->notes.fd = worker->orders.fd;
	return loop_watch(&worker->loop, &worker->orders, EPOLLIN);
}

int worker_new(struct gateway *gateway, unsigned int index, struct worker **out)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int rc;

	if (!worker)
		return -ENOMEM;
	worker->gateway = gateway;
	worker->index = index;
	worker->counts = &gateway->counts[index];
	worker->loop.epoll = -1;
	worker->orders.fd = -1;
	worker->locals.fd = -1;
	shortage_init(worker);
	rc = worker_init(worker);
	if (rc < 0) {
		worker_free(worker);
		return rc;
	}
	*out = worker;
	return 0;
}

/*
 * A worker is woken by the packet of one client, often on the CPU that is receiving
 * those of many. If it preempts that CPU's work it finds a single connection, and
 * again for the next: as a batch job it waits for its turn, and finds them all. On an
 * idle CPU it makes no difference (sched(7)).
 */
static void worker_schedule(void)
{
	struct sched_param none = { 0 };

	pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	worker_schedule();
	loop_run(&worker->loop);
	eventfd_write(worker->done_fd, 1);
	return NULL;
}

int worker_start(struct worker *worker, int done_fd)
{
	int rc;

	worker->done_fd = done_fd;
	rc = pthread_create(&worker->thread, NULL, worker_main, worker);
	worker->started = rc == 0;
	return -rc;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->started)
		pthread_join(worker->thread, NULL);
	ladon_leavers_free(worker->leavers);
	worker_close(worker);
	if (worker->share)
		share_drop(worker->share);
	pipes_fini(&worker->pipes);
	notes_run(&worker->notes); /* nobody waits for them: they are just freed */
	locals_close(&worker->locals);
	if (worker->orders.fd >= 0)
		close(worker->orders.fd);
	loop_close(&worker->loop);
	free(worker->spare);
	free(worker);
}
