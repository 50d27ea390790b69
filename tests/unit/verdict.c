// SPDX-License-Identifier: GPL-2.0-only
/*
 * verdict.c - questions of several threads, answered, forgotten, and cut off by the end
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../gateway/verdict.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* Of "secret"; the dear one takes long enough that many wait */
#define CHEAP "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define DEAR  "$2b$12$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"

static struct users *read_users(const char *text)
{
	struct users *users = NULL;
	char why[USERS_WHY_MAX];
	unsigned int line;

	assert_int_equal(users_read(text, strlen(text), &users, &line, why), 0);
	return users;
}

/* Someone who asks, allocated so that a sanitizer sees whoever comes too late. */
struct asker {
	struct verdict verdict;
	int answers;
	bool right;
};

static void told(struct verdict *verdict, bool right)
{
	struct asker *asker = (struct asker *)verdict;

	asker->answers++;
	asker->right = right;
}

static struct asker *asker_new(void)
{
	struct asker *asker = calloc(1, sizeof(*asker));

	asker->verdict.told = told;
	return asker;
}

/* The receiving end of a worker */
static void notes_wait(struct notes *notes)
{
	struct pollfd fd = { .fd = notes->fd, .events = POLLIN };
	eventfd_t n;

	assert_int_equal(poll(&fd, 1, 10000), 1);
	eventfd_read(notes->fd, &n);
	notes_run(notes);
}

static void asked_once_and_known_then(void **state)
{
	struct notes notes = { .fd = eventfd(0, EFD_NONBLOCK) };
	struct verifier *verifier = verifier_new();
	struct users *users = read_users("anna:" CHEAP "\n");
	struct asker *asker = asker_new();

	(void)state;
	for (int i = 0; i < 2; i++) {
		const char *pass = i ? "secret" : "wrong";

		assert_int_equal(
			verdict_ask(&asker->verdict, verifier, &notes, users, "anna", pass, 1),
			-EINPROGRESS);
		while (asker->answers == i)
			notes_wait(&notes);
		assert_int_equal(asker->right, i);
		assert_null(asker->verdict.question);
	}
	assert_int_equal(verdict_ask(&asker->verdict, verifier, &notes, users, "anna", "secret", 2),
			 1);
	assert_int_equal(asker->answers, 2);
	verdict_forget(&asker->verdict);
	free(asker);
	users_drop(users);
	verifier_stop(verifier);
	verifier_free(verifier);
	close(notes.fd);
}

static void what_nobody_can_have_is_wrong_at_once(void **state)
{
	struct users *users = read_users("anna:" CHEAP "\n");
	struct verdict verdict = { .told = told };
	char text[1000] = { 0 };

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(verdict_ask(&verdict, NULL, NULL, users, text, "secret", 1), 0);
	assert_int_equal(verdict_ask(&verdict, NULL, NULL, users, "anna", text, 1), 0);
	users_drop(users);
}

/* The queue takes no more than so many; who is in it when all ends is told nothing. */
static void too_many_are_turned_away(void **state)
{
	struct notes notes = { .fd = eventfd(0, EFD_NONBLOCK) };
	struct verifier *verifier = verifier_new();
	struct users *users = read_users("anna:" DEAR "\n");
	struct asker *askers[VERDICT_WAITING_MAX + 64];
	unsigned int asked = 0, refused = 0;

	(void)state;
	for (size_t i = 0; i < ROWS(askers); i++) {
		int rc;

		askers[i] = asker_new();
		rc = verdict_ask(&askers[i]->verdict, verifier, &notes, users, "anna", "wrong", 1);
		asked += rc == -EINPROGRESS;
		refused += rc == -EBUSY;
		assert_true(askers[i]->verdict.question || rc == -EBUSY);
	}
	assert_int_equal(asked + refused, ROWS(askers));
	assert_in_range(asked, VERDICT_WAITING_MAX, VERDICT_WAITING_MAX + 8);
	users_drop(users); /* held by the questions */
	verifier_stop(verifier);
	for (size_t i = 0; i < ROWS(askers); i++) {
		verdict_forget(&askers[i]->verdict);
		free(askers[i]);
	}
	notes_run(&notes);
	verifier_free(verifier);
	close(notes.fd);
}

static void after_the_end_nobody_is_answered(void **state)
{
	struct verifier *verifier = verifier_new();
	struct users *users = read_users("anna:" CHEAP "\n");
	struct verdict verdict = { .told = told };
	struct notes notes = { .fd = -1 };

	(void)state;
	verifier_stop(verifier);
	assert_int_equal(verdict_ask(&verdict, verifier, &notes, users, "anna", "secret", 1),
			 -EBUSY);
	assert_null(verdict.question);
	users_drop(users);
	verifier_free(verifier);
}

/* ---- many, with dice ---- */

#define ASKERS 32
#define ROUNDS 400

/* Its notes outlive it, as a worker's do: what was forgotten may still be on its way. */
struct thread {
	pthread_t id;
	struct verifier *verifier;
	struct users *users;
	struct notes notes;
	unsigned int seed;
	unsigned int told, known, forgotten;
};

/* A new one in its place, whether the old one has been answered or not */
static void replace(struct thread *t, struct asker **asker)
{
	static const char *const names[] = { "anna", "bob", "nobody" };
	const char *name = names[rand_r(&t->seed) % 3];
	const char *pass = rand_r(&t->seed) % 2 ? "secret" : "wrong";
	uint64_t now_ms = (uint64_t)rand_r(&t->seed) % 4 * USERS_KNOWN_MS;
	int rc;

	while (*asker && (*asker)->verdict.question && rand_r(&t->seed) % 4)
		notes_wait(&t->notes);
	if (*asker) {
		t->told += (unsigned int)(*asker)->answers;
		t->forgotten += (*asker)->verdict.question != NULL;
		verdict_forget(&(*asker)->verdict);
		free(*asker);
	}
	*asker = asker_new();
	rc = verdict_ask(&(*asker)->verdict, t->verifier, &t->notes, t->users, name, pass, now_ms);
	assert_true(rc == 1 || rc == -EINPROGRESS || rc == -EBUSY);
	assert_true(rc != 1 || (strcmp(pass, "secret") == 0 && strcmp(name, "nobody") != 0));
	t->known += rc == 1;
}

static void *ask_and_forget(void *arg)
{
	struct thread *t = arg;
	struct asker *askers[ASKERS] = { 0 };

	for (int round = 0; round < ROUNDS; round++) {
		replace(t, &askers[(unsigned int)rand_r(&t->seed) % ASKERS]);
		notes_run(&t->notes);
	}
	for (int i = 0; i < ASKERS; i++) /* all that still wait hear their answer */
		while (askers[i] && askers[i]->verdict.question)
			notes_wait(&t->notes);
	for (int i = 0; i < ASKERS; i++)
		free(askers[i]);
	return NULL;
}

static void asked_and_forgotten_by_dice(void **state)
{
	struct verifier *verifier = verifier_new();
	struct users *users = read_users("anna:" CHEAP "\nbob:" CHEAP "\n");
	struct thread threads[4];

	(void)state;
	for (unsigned int i = 0; i < ROWS(threads); i++) {
		threads[i] = (struct thread){ .verifier = verifier, .users = users, .seed = i };
		threads[i].notes.fd = eventfd(0, EFD_NONBLOCK);
		pthread_create(&threads[i].id, NULL, ask_and_forget, &threads[i]);
	}
	for (unsigned int i = 0; i < ROWS(threads); i++)
		pthread_join(threads[i].id, NULL);
	verifier_stop(verifier);
	for (unsigned int i = 0; i < ROWS(threads); i++) {
		notes_run(&threads[i].notes);
		close(threads[i].notes.fd);
		assert_true(threads[i].told && threads[i].known && threads[i].forgotten);
	}
	verifier_free(verifier);
	users_drop(users);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asked_once_and_known_then),
		cmocka_unit_test(what_nobody_can_have_is_wrong_at_once),
		cmocka_unit_test(too_many_are_turned_away),
		cmocka_unit_test(after_the_end_nobody_is_answered),
		cmocka_unit_test(asked_and_forgotten_by_dice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
