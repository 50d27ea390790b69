// SPDX-License-Identifier: GPL-2.0-only
/*
 * callers.c - connections of sources, against counting them in an array
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "../../gateway/callers.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static struct addr address(const char *host)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, 443, &a), 0);
	return a;
}

static struct addr numbered(uint32_t number)
{
	struct addr a = { .in.sin_family = AF_INET };

	a.in.sin_addr.s_addr = htonl(number);
	return a;
}

static void one_source_is_an_address_or_the_first_64_bits(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "2001:db8::1", "2001:db8::ffff:1:2:3", true },
		{ "2001:db8:0:1::1", "2001:db8:0:2::1", false },
		{ "2001:db8:0:1::1", "2001:db9:0:1::1", false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct callers *callers = callers_new(16);
		struct addr a = address(rows[i].a), b = address(rows[i].b);
		struct caller *first, *second = NULL;

		assert_int_equal(callers_enter(callers, 0, &a, 1, &first), 0);
		assert_int_equal(callers_enter(callers, 0, &b, 1, &second),
				 rows[i].same ? -EDQUOT : 0);
		callers_leave(callers, second);
		callers_leave(callers, first);
		assert_int_equal(callers_len(callers), 0);
		callers_free(callers);
	}
}

static void it_is_counted_apart_at_each_place(void **state)
{
	struct callers *callers = callers_new(16);
	struct addr a = address("192.0.2.1");
	struct caller *caller[3];

	(void)state;
	assert_int_equal(callers_enter(callers, 0, &a, 2, &caller[0]), 0);
	assert_int_equal(callers_enter(callers, 0, &a, 2, &caller[1]), 0);
	assert_int_equal(callers_enter(callers, 0, &a, 2, &caller[2]), -EDQUOT);
	assert_int_equal(callers_enter(callers, 1, &a, 2, &caller[2]), 0);
	assert_int_equal(callers_len(callers), 2);
	callers_leave(callers, caller[0]);
	assert_int_equal(callers_enter(callers, 0, &a, 2, &caller[0]), 0);
	callers_leave(callers, NULL);
	callers_free(callers); /* with those that are left */
}

#define SOURCES 64
#define HELD	1000
#define MAX	20

static void random_ones_against_an_array(void **state)
{
	struct callers *callers = callers_new(8); /* many more than buckets */
	struct {
		struct caller *caller;
		unsigned int number;
	} held[HELD] = { 0 };
	unsigned int connections[SOURCES] = { 0 }, sources = 0;

	(void)state;
	srand(2);
	for (int i = 0; i < 200000; i++) {
		unsigned int h = (unsigned int)rand() % HELD, n = (unsigned int)rand() % SOURCES;
		struct addr a = numbered(n);

		if (held[h].caller) {
			callers_leave(callers, held[h].caller);
			held[h].caller = NULL;
			sources -= --connections[held[h].number] == 0;
		} else if (connections[n] == MAX) {
			assert_int_equal(callers_enter(callers, 7, &a, MAX, &held[h].caller),
					 -EDQUOT);
		} else {
			assert_int_equal(callers_enter(callers, 7, &a, MAX, &held[h].caller), 0);
			held[h].number = n;
			sources += connections[n]++ == 0;
		}
		assert_int_equal(callers_len(callers), sources);
	}
	callers_free(callers);
}

/* Nothing stays of a source that has gone. */
static void a_million_sources_leave_nothing(void **state)
{
	struct callers *callers = callers_new(1024);
	struct caller *caller[1000];

	(void)state;
	for (uint32_t i = 0; i < 1000000; i++) {
		struct addr a = numbered(i * 2654435761u);

		if (i >= ROWS(caller))
			callers_leave(callers, caller[i % ROWS(caller)]);
		assert_int_equal(callers_enter(callers, 0, &a, 1, &caller[i % ROWS(caller)]), 0);
	}
	assert_int_equal(callers_len(callers), ROWS(caller));
	for (size_t i = 0; i < ROWS(caller); i++)
		callers_leave(callers, caller[i]);
	assert_int_equal(callers_len(callers), 0);
	callers_free(callers);
}

static void *come_and_go(void *arg)
{
	for (uint32_t i = 0; i < 100000; i++) {
		struct addr a = numbered(i % 10);
		struct caller *caller;

		if (callers_enter(arg, 0, &a, 2, &caller) == 0)
			callers_leave(arg, caller);
	}
	return NULL;
}

static void from_several_threads(void **state)
{
	struct callers *callers = callers_new(4);
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ROWS(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, callers), 0);
	for (size_t i = 0; i < ROWS(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(callers_len(callers), 0);
	callers_free(callers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_source_is_an_address_or_the_first_64_bits),
		cmocka_unit_test(it_is_counted_apart_at_each_place),
		cmocka_unit_test(random_ones_against_an_array),
		cmocka_unit_test(a_million_sources_leave_nothing),
		cmocka_unit_test(from_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
