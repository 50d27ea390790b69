// SPDX-License-Identifier: GPL-2.0-only
/*
 * verdict.c - is that password right? asked by a worker, which does not wait
 *
 * A question belongs to the queue, then to the thread that answers it, then to the
 * one that has asked. Only the latter looks at .verdict, so that it can be forgotten at
 * any time without a lock.
 */
#include "verdict.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>

#define THREADS	 2
#define NICENESS 10

struct question {
	struct note note;
	STAILQ_ENTRY(question) after;
	struct verdict *verdict; /* NULL: nobody wants the answer */
	struct notes *notes;
	struct users *users;
	uint64_t now_ms;
	bool right;
	char name[USERS_NAME_MAX + 1];
	char pass[USERS_PASS_MAX + 1];
};

struct verifier {
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t wake;
	STAILQ_HEAD(, question) queue;
	unsigned int waiting; /* in the queue */
	bool stopping;
	unsigned int threads_len;
	pthread_t threads[THREADS];
};

/* ---- one question ---- */

static void question_free(struct question *question)
{
	users_drop(question->users);
	explicit_bzero(question->pass, sizeof(question->pass));
	free(question);
}

static void question_told(struct note *note)
{
	struct question *question = (struct question *)note;
	struct verdict *verdict = question->verdict;
	bool right = question->right;

	question_free(question);
	if (!verdict)
		return;
	verdict->question = NULL;
	verdict->told(verdict, right);
}
_Static_assert(offsetof(struct question, note) == 0, "a question's note is the question");

/* Longer names and passwords have been sorted out. */
static struct question *question_new(struct verdict *verdict, struct notes *notes,
				     struct users *users, const char *name, const char *pass,
				     uint64_t now_ms)
{
	struct question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	question->note.run = question_told;
	question->verdict = verdict;
	question->notes = notes;
	question->users = users_hold(users);
	question->now_ms = now_ms;
	strcpy(question->name, name);
	strcpy(question->pass, pass);
	return question;
}

/* ---- the threads ---- */

/* With the lock held. NULL: it is time to stop */
static struct question *question_take(struct verifier *verifier)
{
	struct question *question;

	while (!verifier->stopping && STAILQ_EMPTY(&verifier->queue))
		pthread_cond_wait(&verifier->wake, &verifier->lock);
	if (verifier->stopping)
		return NULL;
	question = STAILQ_FIRST(&verifier->queue);
	STAILQ_REMOVE_HEAD(&verifier->queue, after);
	verifier->waiting--;
	return question;
}

static void *verifier_run(void *arg)
{
	struct verifier *verifier = arg;
	struct question *question;

	setpriority(PRIO_PROCESS, 0, NICENESS); /* of this thread alone: sched(7) */
	pthread_mutex_lock(&verifier->lock);
	while ((question = question_take(verifier))) {
		pthread_mutex_unlock(&verifier->lock);
		question->right = users_check(question->users, question->name, question->pass,
					      question->now_ms);
		notes_leave(question->notes, &question->note);
		pthread_mutex_lock(&verifier->lock);
	}
	pthread_mutex_unlock(&verifier->lock);
	return NULL;
}

/* With the lock held. Return: 0; or a negative errno if there is none, and none to be had */
static int threads_start(struct verifier *verifier)
{
	int rc = 0;

	while (rc == 0 && verifier->threads_len < THREADS) {
		rc = -pthread_create(&verifier->threads[verifier->threads_len], NULL, verifier_run,
				     verifier);
		verifier->threads_len += rc == 0;
	}
	return verifier->threads_len ? 0 : rc;
}

struct verifier *verifier_new(void)
{
	struct verifier *verifier = calloc(1, sizeof(*verifier));

	if (!verifier)
		return NULL;
	pthread_mutex_init(&verifier->lock, NULL);
	pthread_cond_init(&verifier->wake, NULL);
	STAILQ_INIT(&verifier->queue);
	return verifier;
}

void verifier_stop(struct verifier *verifier)
{
	if (!verifier)
		return;
	pthread_mutex_lock(&verifier->lock);
	verifier->stopping = true;
	pthread_cond_broadcast(&verifier->wake);
	pthread_mutex_unlock(&verifier->lock);
	while (verifier->threads_len)
		pthread_join(verifier->threads[--verifier->threads_len], NULL);
}

void verifier_free(struct verifier *verifier)
{
	struct question *question;

	if (!verifier)
		return;
	while ((question = STAILQ_FIRST(&verifier->queue))) {
		STAILQ_REMOVE_HEAD(&verifier->queue, after);
		question_free(question);
	}
	pthread_cond_destroy(&verifier->wake);
	pthread_mutex_destroy(&verifier->lock);
	free(verifier);
}

/* ---- asking ---- */

static int question_queue(struct verifier *verifier, struct question *question)
{
	int rc = -EBUSY;

	pthread_mutex_lock(&verifier->lock);
	if (!verifier->stopping && verifier->waiting < VERDICT_WAITING_MAX)
		rc = threads_start(verifier);
	if (rc == 0) {
		STAILQ_INSERT_TAIL(&verifier->queue, question, after);
		verifier->waiting++;
		pthread_cond_signal(&verifier->wake);
	}
	pthread_mutex_unlock(&verifier->lock);
	return rc;
}

int verdict_ask(struct verdict *verdict, struct verifier *verifier, struct notes *notes,
		struct users *users, const char *name, const char *pass, uint64_t now_ms)
{
	struct question *question;
	int rc;

	if (strlen(name) > USERS_NAME_MAX || strlen(pass) > USERS_PASS_MAX)
		return 0;
	if (users_know(users, name, pass, now_ms))
		return 1;
	question = question_new(verdict, notes, users, name, pass, now_ms);
	if (!question)
		return -ENOMEM;
	verdict->question = question;
	rc = question_queue(verifier, question);
	if (rc == 0)
		return -EINPROGRESS;
	verdict->question = NULL;
	question_free(question);
	return rc == -EBUSY ? rc : -ENOMEM;
}

void verdict_forget(struct verdict *verdict)
{
	if (verdict->question)
		verdict->question->verdict = NULL;
	verdict->question = NULL;
}
