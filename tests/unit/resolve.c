// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - names are looked up off the workers' threads, and again when an answer is over
 *
 * lookup.c is replaced: it answers what the test wants, without a network, at once or by a note.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../gateway/loop.h"
#include "../../paths/lookup.h"
#include "../../paths/resolve.h"

/* What the next look-up answers, and how many there were; under the lock. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	const char *answers[3]; /* NULL: no more */
	uint64_t ttl_ms;
	const char *silent; /* a name that is never answered */
	bool busy;	    /* the next is told that it is too much */
	unsigned int count;
	uint64_t at_ms[8]; /* when they were */
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER };

struct lookups *lookups_new(const char *servers, bool search)
{
	assert_null(servers);
	assert_true(search);
	return (struct lookups *)&dns;
}

void lookups_stop(struct lookups *lookups)
{
	(void)lookups;
}

void lookups_free(struct lookups *lookups)
{
	(void)lookups;
}

void lookup_forget(struct lookup *lookup)
{
	lookup->query = NULL;
}

static void answer_make(uint64_t now_ms, struct answer *out)
{
	*out = (struct answer){ .status = LOOKUP_FAILED, .until_ms = now_ms + dns.ttl_ms };
	while (out->len < 3 && dns.answers[out->len]) {
		addr_parse(dns.answers[out->len], &out->addrs[out->len]);
		out->len++;
		out->status = LOOKUP_FOUND;
	}
}

struct late {
	struct note note;
	struct lookup *lookup;
	struct answer answer;
};

static void late_run(struct note *note)
{
	struct late *late = (struct late *)note;

	if (late->lookup->query)
		late->lookup->told(late->lookup, &late->answer);
	free(late);
}

/* The first time by a note, and then at once. */
int lookup_ask(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
	       const char *name, uint64_t now_ms, struct answer *out)
{
	int rc = 0;

	(void)lookups;
	pthread_mutex_lock(&dns.lock);
	if (dns.busy) {
		rc = -EBUSY;
	} else if (dns.silent && strcmp(name, dns.silent) == 0) {
		rc = -EINPROGRESS;
	} else if (dns.count == 0) {
		struct late *late = calloc(1, sizeof(*late));

		answer_make(now_ms, &late->answer);
		late->note.run = late_run;
		late->lookup = lookup;
		lookup->query = (struct query *)late;
		notes_leave(notes, &late->note);
		rc = -EINPROGRESS;
	} else {
		answer_make(now_ms, out);
	}
	dns.busy = false;
	dns.at_ms[dns.count++ % 8] = now_ms;
	pthread_cond_broadcast(&dns.asked);
	pthread_mutex_unlock(&dns.lock);
	return rc;
}

/* No test here has a source by SRV. */
int lookup_ask_srv(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
		   const char *name)
{
	(void)lookup;
	(void)lookups;
	(void)notes;
	(void)name;
	return -ENOMEM;
}

static void dns_answer(const char *a, const char *b, const char *c)
{
	pthread_mutex_lock(&dns.lock);
	dns.answers[0] = a;
	dns.answers[1] = b;
	dns.answers[2] = c;
	pthread_mutex_unlock(&dns.lock);
}

/* Wait until @count look-ups were made since the test began */
static void dns_wait(unsigned int count)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&dns.lock);
	while (dns.count < count)
		assert_int_equal(pthread_cond_timedwait(&dns.asked, &dns.lock, &until), 0);
	pthread_mutex_unlock(&dns.lock);
}

static struct config_backend backends[] = {
	{ .text = "10.0.0.1:1" },
	{ .text = "name:77", .host = "name", .port = 77 },
};
static const struct config_pool config = { .name = "p", .backends = backends, .backends_len = 2 };

static int set_up(void **state)
{
	addr_parse("10.0.0.1:1", &backends[0].addr);
	backends[0].port = 1;
	dns.count = 0;
	dns.ttl_ms = 60000;
	dns.silent = NULL;
	*state = pool_new(&config, NULL);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	pool_free(*state);
	return 0;
}

static struct resolver *resolver_for(struct pool *pool)
{
	struct names *names = names_new(&pool, 1);
	struct resolver *resolver;

	assert_non_null(names);
	assert_int_equal(resolver_start(NULL, NULL, NULL, &resolver), 0);
	resolver_use(resolver, names);
	return resolver;
}

/* What stops afterwards has been told all: a note is left before. */
static unsigned int addrs_wait(struct pool *pool, unsigned int len, struct addr *out)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < 30000; i++) {
		if (backend_addrs(pool_backend(pool, 1), out) == len)
			return len;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void an_answer_gets_the_port_of_the_backend(void **state)
{
	struct pool *pool = *state;
	struct addr got[POOL_ADDRS_MAX];
	struct resolver *resolver;
	char text[ADDR_TEXT_MAX];

	dns_answer("10.0.0.5:0", "[2001:db8::5]:0", NULL);
	resolver = resolver_for(pool);
	assert_int_equal(addrs_wait(pool, 2, got), 2);
	resolver_stop(resolver);
	assert_string_equal(addr_format(&got[0], text), "10.0.0.5:77");
	assert_string_equal(addr_format(&got[1], text), "[2001:db8::5]:77");
	assert_int_equal(backend_addrs(pool_backend(pool, 0), got), 1);
}

/* Of no time: a second later, and not before */
static void a_name_is_asked_for_when_its_answer_is_over(void **state)
{
	struct resolver *resolver;
	struct addr got[POOL_ADDRS_MAX];

	dns.ttl_ms = 0;
	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(*state);
	dns_wait(1);
	dns.ttl_ms = 1500;
	dns_answer("10.0.0.6:0", "10.0.0.7:0", NULL);
	dns_wait(2);
	dns_wait(3);
	assert_int_equal(addrs_wait(*state, 2, got), 2);
	resolver_stop(resolver);
	assert_in_range(dns.at_ms[1] - dns.at_ms[0], RESOLVE_LEAST_MS, RESOLVE_LEAST_MS * 20);
	assert_true(dns.at_ms[2] - dns.at_ms[1] >= 1500);
}

static void a_failure_keeps_what_was_known_and_is_tried_again_less_and_less(void **state)
{
	struct pool *pool = *state;
	struct backend *backend = pool_backend(pool, 1);
	struct addr known = backends[0].addr, got[POOL_ADDRS_MAX];
	struct resolver *resolver;

	backend_set_addrs(backend, &known, 1);
	dns.ttl_ms = 0;
	dns_answer(NULL, NULL, NULL);
	resolver = resolver_for(pool);
	dns_wait(2);
	assert_int_equal(backend_addrs(backend, got), 1);
	dns_answer("10.0.0.6:0", "10.0.0.7:0", NULL);
	dns_wait(3);
	assert_int_equal(addrs_wait(pool, 2, got), 2);
	resolver_stop(resolver);
	assert_int_equal(backend->lookups_failed, 0);
	assert_true(dns.at_ms[1] - dns.at_ms[0] >= 1000);
	assert_true(dns.at_ms[2] - dns.at_ms[1] >= 2000);
}

static void a_silent_name_holds_up_nobody(void **state)
{
	struct config_backend two[] = {
		{ .text = "silent:77", .host = "silent", .port = 77 },
		{ .text = "name:77", .host = "name", .port = 77 },
	};
	const struct config_pool silent = { .name = "s", .backends = two, .backends_len = 2 };
	struct pool *pool = pool_new(&silent, NULL);
	struct addr got[POOL_ADDRS_MAX];
	struct resolver *resolver;

	(void)state;
	dns.silent = "silent";
	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(pool);
	assert_int_equal(addrs_wait(pool, 1, got), 1);
	resolver_stop(resolver);
	pool_free(pool);
}

static void who_is_too_many_asks_again(void **state)
{
	struct addr got[POOL_ADDRS_MAX];
	struct resolver *resolver;

	dns.busy = true;
	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(*state);
	assert_int_equal(addrs_wait(*state, 1, got), 1);
	resolver_stop(resolver);
	assert_int_equal(dns.count, 2);
}

static void stopping_does_not_wait_for_the_next_look_up(void **state)
{
	struct pool *pool = *state;
	struct resolver *resolver;
	struct timespec began, ended;

	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(pool);
	dns_wait(1);
	clock_gettime(CLOCK_MONOTONIC, &began);
	resolver_stop(resolver);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	assert_true(ended.tv_sec - began.tv_sec <= 1);
	assert_int_equal(dns.count, 1);
}

static void a_name_that_was_known_is_not_asked_for_again(void **state)
{
	struct config_backend two[] = {
		{ .text = "name:77", .host = "name", .port = 77 },
		{ .text = "other:77", .host = "other", .port = 77 },
	};
	const struct config_pool more = { .name = "p", .backends = two, .backends_len = 2 };
	struct pool *former = *state, *pool;
	struct addr got[POOL_ADDRS_MAX];
	struct resolver *resolver;

	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(former);
	dns_wait(1);
	pool = pool_new(&more, former);
	assert_non_null(pool);
	resolver_use(resolver, names_new(&pool, 1));
	assert_int_equal(addrs_wait(pool, 1, got), 1);
	resolver_stop(resolver);
	assert_int_equal(dns.count, 2);
	pool_free(pool);
}

static void names_may_go_while_they_are_asked_for(void **state)
{
	const struct config_pool numeric = { .name = "n", .backends = backends, .backends_len = 1 };
	struct pool *pool = pool_new(&numeric, NULL);
	struct resolver *resolver;

	dns_answer("10.0.0.5:0", NULL, NULL);
	resolver = resolver_for(*state);
	resolver_use(resolver, names_new(&pool, 1));
	pool_free(*state);
	resolver_stop(resolver);
	*state = pool;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_gets_the_port_of_the_backend, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_is_asked_for_when_its_answer_is_over, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			a_failure_keeps_what_was_known_and_is_tried_again_less_and_less, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(a_silent_name_holds_up_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_too_many_asks_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stopping_does_not_wait_for_the_next_look_up, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_that_was_known_is_not_asked_for_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_may_go_while_they_are_asked_for, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
