// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - names are looked up off the workers' threads, and asked again
 *
 * getaddrinfo(3) is replaced: it answers what the test wants, without a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../paths/resolve.h"

/* What the next look-up answers, and how many there were; under the lock. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	const char *answers[4]; /* with ports, which are to be ignored; NULL: no more */
	unsigned int count;
	struct addrinfo hints;
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER };

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	struct addrinfo *first = NULL;

	(void)node;
	(void)service;
	pthread_mutex_lock(&dns.lock);
	for (int i = 3; i >= 0; i--) {
		struct addrinfo *ai;
		struct addr *addr;

		if (!dns.answers[i])
			continue;
		ai = calloc(1, sizeof(*ai) + sizeof(*addr));
		addr = (struct addr *)(ai + 1);
		addr_parse(dns.answers[i], addr);
		ai->ai_addr = &addr->sa;
		ai->ai_next = first;
		first = ai;
	}
	dns.hints = *hints;
	dns.count++;
	pthread_cond_broadcast(&dns.asked);
	pthread_mutex_unlock(&dns.lock);
	*out = first;
	return first ? 0 : EAI_AGAIN;
}

void freeaddrinfo(struct addrinfo *answer)
{
	while (answer) {
		struct addrinfo *next = answer->ai_next;

		free(answer);
		answer = next;
	}
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
	until.tv_sec += 10;
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
	assert_int_equal(resolver_start(&resolver), 0);
	resolver_use(resolver, names);
	return resolver;
}

static void an_answer_reaches_the_pool_once_per_address(void **state)
{
	struct pool *pool = *state;
	struct addr got[POOL_ADDRS_MAX];
	struct resolver *resolver;
	char text[ADDR_TEXT_MAX];

	dns_answer("10.0.0.5:0", "[2001:db8::5]:0", "10.0.0.5:0");
	resolver = resolver_for(pool);
	dns_wait(1);
	resolver_stop(resolver);
	assert_int_equal(backend_addrs(pool_backend(pool, 1), got), 2);
	assert_string_equal(addr_format(&got[0], text), "10.0.0.5:77");
	assert_string_equal(addr_format(&got[1], text), "[2001:db8::5]:77");
	assert_int_equal(backend_addrs(pool_backend(pool, 0), got), 1);
	assert_int_equal(dns.hints.ai_family, AF_UNSPEC);
	assert_int_equal(dns.hints.ai_flags & AI_ADDRCONFIG, 0);
}

static void a_failure_is_asked_again_soon_and_keeps_what_was_known(void **state)
{
	struct pool *pool = *state;
	struct addr known = backends[0].addr, got[POOL_ADDRS_MAX];
	struct resolver *resolver;

	backend_set_addrs(pool_backend(pool, 1), &known, 1);
	dns_answer(NULL, NULL, NULL);
	resolver = resolver_for(pool);
	dns_wait(1);
	assert_int_equal(backend_addrs(pool_backend(pool, 1), got), 1);
	dns_answer("10.0.0.6:0", "10.0.0.7:0", NULL);
	dns_wait(2);
	resolver_stop(resolver);
	assert_int_equal(backend_addrs(pool_backend(pool, 1), got), 2);
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
	dns_wait(2);
	resolver_stop(resolver);
	assert_int_equal(dns.count, 2);
	assert_int_equal(backend_addrs(pool_backend(pool, 1), got), 1);
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
		cmocka_unit_test_setup_teardown(an_answer_reaches_the_pool_once_per_address, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			a_failure_is_asked_again_soon_and_keeps_what_was_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stopping_does_not_wait_for_the_next_look_up, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_that_was_known_is_not_asked_for_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_may_go_while_they_are_asked_for, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
