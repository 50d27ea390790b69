// SPDX-License-Identifier: GPL-2.0-only
/*
 * health.c - are the backends alive? Asked again and again, on a thread of its own
 *
 * The thread has a loop of its own, and everything below but the list that is
 * handed in belongs to it alone: no lock is held while an exam is under way. An
 * exam ends in a task, so its memory is no longer referred to by any event, and
 * one that ends at once begins the next one from the loop and not from itself.
 */
#include "health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/own.h"
#include "exam.h"

#define NO_ADDRESS_MS 200 /* until a name is asked again whether it has got one */

/* The checks of one backend */
struct check {
	struct backend *backend; /* held */
	struct plan *plan;	 /* held */
	struct health *health;	 /* NULL: not taken over yet */
	struct timer due;
	struct exam_of *exam;  /* under way; NULL: none */
	uint64_t begun_ms;     /* the last exam */
	struct addr answered;  /* this address did last; family 0: none yet */
	unsigned int in_a_row; /* exams that say otherwise than its state */
	bool stays;
	struct queue *waiting; /* there; NULL: it is not */
	TAILQ_ENTRY(check) next;
};

/* Exams of a kind, of which so many may be under way */
struct queue {
	unsigned int busy, max;
	TAILQ_HEAD(, check) waiting;
};

struct checks {
	unsigned int len;
	struct check *list[];
};

/* An exam outlives the check that it was for, until the loop lets go of it. */
struct exam_of {
	struct exam exam;
	struct queue *queue;
	struct check *check; /* NULL: nobody wants to know */
};

struct health {
	pthread_t thread;
	struct loop loop;
	struct watch wake; /* an eventfd */
	struct task follow;
	struct checks *checks; /* in force; NULL: none */
	struct queue sockets, scripts;
	struct children children;

	pthread_mutex_t lock; /* over what follows */
	struct checks *next;  /* to be followed; NULL: none */
	bool stopping;
};

/* ---- lists ---- */

static void check_free(struct check *check)
{
	backend_drop(check->backend);
	plan_drop(check->plan);
	free(check);
}

void checks_free(struct checks *checks)
{
	for (unsigned int i = 0; checks && i < checks->len; i++)
		check_free(checks->list[i]);
	free(checks);
}

static int checks_add(struct checks *checks, struct backend *backend, struct plan *plan)
{
	struct check *check = calloc(1, sizeof(*check));

	if (!check)
		return -ENOMEM;
	backend_hold(backend);
	check->backend = backend;
	check->plan = plan_hold(plan);
	checks->list[checks->len++] = check;
	return 0;
}

static int checks_add_pool(struct checks *checks, struct pool *pool,
			   const struct config_health *config, char **error)
{
	struct plan *plan;
	_free_ char *why = NULL;
	int rc = plan_new(config, &plan, &why);

	if (why && asprintf(error, "pool %s: %s", pool_name(pool), why) < 0)
		*error = NULL;
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; rc == 0 && i < pool_backends(pool); i++)
		rc = checks_add(checks, pool_backend(pool, i), plan);
	plan_drop(plan);
	return rc;
}

int checks_new(struct pool *const *pools, const struct config_pool *configs, unsigned int len,
	       struct checks **out, char **error)
{
	struct checks *checks;
	size_t count = 0;
	int rc = 0;

	*error = NULL;
	for (unsigned int i = 0; i < len; i++)
		count += configs[i].health.check == HEALTH_NONE ? 0 : pool_backends(pools[i]);
	checks = calloc(1, sizeof(*checks) + count * sizeof(*checks->list));
	if (!checks)
		return -ENOMEM;
	for (unsigned int i = 0; rc == 0 && i < len; i++)
		if (configs[i].health.check != HEALTH_NONE)
			rc = checks_add_pool(checks, pools[i], &configs[i].health, error);
	if (rc < 0) {
		checks_free(checks);
		return rc;
	}
	*out = checks;
	return 0;
}

/* ---- verdicts ---- */

static void say_changed(const struct check *check, unsigned int exams, const char *why)
{
	const struct backend *backend = check->backend;

	if (*why)
		log_warn("health: %s: pool %s: sick after %u checks: %s", backend->config->text,
			 backend->pool, exams, why);
	else
		log_info("health: %s: pool %s: well after %u checks", backend->config->text,
			 backend->pool, exams);
}

static void check_count(struct check *check, bool well, const char *why)
{
	const struct config_health *config = &check->plan->config;

	if (well != atomic_load(&check->backend->sick)) {
		check->in_a_row = 0;
		return;
	}
	check->in_a_row++;
	if (check->in_a_row < (well ? config->rise : config->fall))
		return;
	backend_set_sick(check->backend, !well);
	say_changed(check, check->in_a_row, why);
	check->in_a_row = 0;
}

static void check_learn(struct check *check, const struct exam *exam)
{
	struct backend_check result = { .at_ms = clock_ms(),
					.took_ms = (uint32_t)exam->took_ms,
					.well = exam->result == EXAM_WELL };

	memcpy(result.why, exam->why, sizeof(result.why));
	backend_checked(check->backend, &result);
	if (exam->result == EXAM_VOID) {
		log_limited(LOG_LEVEL_WARN, "health: %s: pool %s: no verdict: %s",
			    check->backend->config->text, check->backend->pool, exam->why);
		return;
	}
	if (result.well)
		check->answered = exam->addrs[exam->at];
	check_count(check, result.well, exam->why);
}

/* ---- one exam after the other ---- */

static void queue_go_on(struct queue *queue);

/* Three quarters of the interval and a random part of the last: those that began together drift. */
static void check_set_due(struct check *check)
{
	uint32_t interval_ms = check->plan->config.interval_ms;

	timer_set(&check->health->loop.timers, &check->due,
		  check->begun_ms + interval_ms - arc4random_uniform(interval_ms / 4 + 1));
}

static void exam_free(struct exam_of *of)
{
	plan_drop(of->exam.plan);
	backend_drop(of->exam.backend);
	free(of);
}

static void exam_ended(struct task *task)
{
	struct exam_of *of = container_of(task, struct exam_of, exam.ended);
	struct queue *queue = of->queue;
	struct check *check = of->check;

	queue->busy--;
	if (check) {
		check->exam = NULL;
		check_learn(check, &of->exam);
		check_set_due(check);
	}
	exam_free(of);
	queue_go_on(queue);
}

/* With the ports that are to be checked, and first the one that answered last */
static void exam_find_addrs(struct exam *exam, const struct check *check)
{
	uint16_t port = check->plan->config.port;

	exam->len = backend_addrs(check->backend, exam->addrs);
	for (unsigned int i = 0; i < exam->len; i++) {
		if (port)
			addr_set_port(&exam->addrs[i], port);
		if (addr_equal(&exam->addrs[i], &check->answered))
			exam->at = i;
	}
}

/* Return: NULL when there is no memory, or no address yet */
static struct exam_of *exam_new(struct check *check)
{
	_free_ struct exam_of *of = calloc(1, sizeof(*of));

	if (!of)
		return NULL;
	exam_find_addrs(&of->exam, check);
	if (of->exam.len == 0)
		return NULL;
	backend_hold(check->backend);
	of->check = check;
	of->exam.loop = &check->health->loop;
	of->exam.children = &check->health->children;
	of->exam.backend = check->backend;
	of->exam.plan = plan_hold(check->plan);
	of->exam.ended.run = exam_ended;
	return TAKE_PTR(of);
}

static void check_begin(struct check *check, struct queue *queue)
{
	struct health *health = check->health;

	check->begun_ms = health->loop.now_ms;
	check->exam = exam_new(check);
	if (!check->exam) {
		timer_set(&health->loop.timers, &check->due, health->loop.now_ms + NO_ADDRESS_MS);
		return;
	}
	check->exam->queue = queue;
	queue->busy++;
	exam_begin(&check->exam->exam);
}

static void queue_go_on(struct queue *queue)
{
	struct check *check;

	while (queue->busy < queue->max && (check = TAILQ_FIRST(&queue->waiting))) {
		TAILQ_REMOVE(&queue->waiting, check, next);
		check->waiting = NULL;
		check_begin(check, queue);
	}
}

static void check_is_due(struct timer *timer)
{
	struct check *check = container_of(timer, struct check, due);
	struct health *health = check->health;

	check->waiting =
		check->plan->config.check == HEALTH_SCRIPT ? &health->scripts : &health->sockets;
	TAILQ_INSERT_TAIL(&check->waiting->waiting, check, next);
	queue_go_on(check->waiting);
}

/* ---- other checks ---- */

static void check_stop(struct check *check)
{
	timer_stop(&check->health->loop.timers, &check->due);
	if (check->waiting)
		TAILQ_REMOVE(&check->waiting->waiting, check, next);
	check->waiting = NULL;
	if (!check->exam)
		return;
	check->exam->check = NULL;
	exam_stop(&check->exam->exam);
	check->exam = NULL;
}

static void check_start(struct health *health, struct check *check)
{
	check->health = health;
	check->backend->check = check;
	check->due.run = check_is_due;
	timer_set(&health->loop.timers, &check->due, health->loop.now_ms);
}

/* @former goes on with the plan of @check, which gets the other one. */
static void check_go_on(struct check *former, struct check *check)
{
	struct plan *plan = former->plan;
	bool same = plan_is_same(plan, check->plan);

	former->plan = check->plan;
	check->plan = plan;
	former->stays = true;
	if (same)
		return;
	check_stop(former);
	check_start(former->health, former);
}

static void check_end(struct check *check)
{
	check_stop(check);
	check->backend->check = NULL;
	backend_checked(check->backend, &(struct backend_check){ 0 });
	backend_set_sick(check->backend, false);
	check_free(check);
}

/* What stays is taken over from the former list into the next one. */
static void checks_follow(struct health *health, struct checks *next)
{
	struct checks *former = health->checks;

	for (unsigned int i = 0; former && i < former->len; i++)
		former->list[i]->stays = false;
	for (unsigned int i = 0; i < next->len; i++) {
		struct check *known = next->list[i]->backend->check;

		if (!known) {
			check_start(health, next->list[i]);
			continue;
		}
		check_go_on(known, next->list[i]);
		check_free(next->list[i]);
		next->list[i] = known;
	}
	for (unsigned int i = 0; former && i < former->len; i++)
		if (!former->list[i]->stays)
			check_end(former->list[i]);
	free(former);
	health->checks = next;
}

/* At the end: states stay as they are. */
static void checks_stop(struct health *health)
{
	for (unsigned int i = 0; health->checks && i < health->checks->len; i++)
		check_stop(health->checks->list[i]);
	checks_free(health->checks);
	health->checks = NULL;
	health->loop.stop = true;
}

/* A task, because no event may refer to what is freed here. */
static void health_follow(struct task *task)
{
	struct health *health = container_of(task, struct health, follow);
	struct checks *next;
	bool stopping;

	pthread_mutex_lock(&health->lock);
	next = health->next;
	health->next = NULL;
	stopping = health->stopping;
	pthread_mutex_unlock(&health->lock);
	if (next)
		checks_follow(health, next);
	if (stopping)
		checks_stop(health);
}

static void health_wake(struct watch *watch, uint32_t ready)
{
	struct health *health = container_of(watch, struct health, wake);
	eventfd_t count;

	(void)ready;
	eventfd_read(watch->fd, &count);
	loop_later(&health->loop, &health->follow);
}

/* ---- the thread ---- */

static void *health_run(void *arg)
{
	struct health *health = arg;

	loop_run(&health->loop);
	return NULL;
}

static void health_free(struct health *health)
{
	checks_free(health->next);
	children_forget(&health->children);
	loop_close(&health->loop);
	if (health->wake.fd >= 0)
		close(health->wake.fd);
	pthread_mutex_destroy(&health->lock);
	free(health);
}

static void queue_init(struct queue *queue, unsigned int max)
{
	queue->max = max;
	TAILQ_INIT(&queue->waiting);
}

static int health_open(struct health *health)
{
	int rc = loop_open(&health->loop);

	if (rc < 0)
		return rc;
	health->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (health->wake.fd < 0)
		return -errno;
	rc = loop_watch(&health->loop, &health->wake, EPOLLIN);
	if (rc < 0)
		return rc;
	return -pthread_create(&health->thread, NULL, health_run, health);
}

int health_start(struct health **out)
{
	struct health *health = calloc(1, sizeof(*health));
	int rc;

	if (!health)
		return -ENOMEM;
	health->wake = (struct watch){ .run = health_wake, .fd = -1 };
	health->follow.run = health_follow;
	queue_init(&health->sockets, HEALTH_EXAMS_MAX);
	queue_init(&health->scripts, HEALTH_SCRIPTS_MAX);
	pthread_mutex_init(&health->lock, NULL);
	rc = health_open(health);
	if (rc < 0) {
		health_free(health);
		return rc;
	}
	*out = health;
	return 0;
}

void health_use(struct health *health, struct checks *checks)
{
	struct checks *unseen;

	pthread_mutex_lock(&health->lock);
	unseen = health->next;
	health->next = checks;
	pthread_mutex_unlock(&health->lock);
	checks_free(unseen);
	eventfd_write(health->wake.fd, 1);
}

void health_stop(struct health *health)
{
	if (!health)
		return;
	pthread_mutex_lock(&health->lock);
	health->stopping = true;
	pthread_mutex_unlock(&health->lock);
	eventfd_write(health->wake.fd, 1);
	pthread_join(health->thread, NULL);
	health_free(health);
}
