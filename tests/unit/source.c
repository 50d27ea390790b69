// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/source.h"

#define QUARANTINE_MS 500

static struct addr backend, other, from;

static int addresses(void **state)
{
	(void)state;
	assert_int_equal(addr_parse("192.0.2.1:443", &backend), 0);
	assert_int_equal(addr_parse("192.0.2.2:443", &other), 0);
	assert_int_equal(addr_parse("198.51.100.7:0", &from), 0);
	return 0;
}

static int take(struct sources *s, const struct addr *to, uint64_t now_ms, uint16_t *port,
		uint64_t *token)
{
	return sources_take(s, NULL, to, now_ms, port, token);
}

static void each_port_of_the_range_is_taken_once(void **state)
{
	struct sources *s = sources_new(1000, 1099, QUARANTINE_MS);
	uint8_t seen[100] = { 0 };
	uint16_t port;
	uint64_t token;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(take(s, &backend, 0, &port, &token), 0);
		assert_in_range(port, 1000, 1099);
		assert_int_equal(seen[port - 1000]++, 0);
		assert_int_not_equal(token, 0);
	}
	assert_int_equal(take(s, &backend, 0, &port, &token), -EADDRNOTAVAIL);
	sources_free(s);
}

/* Weeks may pass until a port of the range is wanted again; 2^31 ms are 25 days. */
static void a_port_that_rested_for_weeks_is_free(void **state)
{
	static const uint64_t rests_ms[] = { 1ull << 31, (1ull << 31) + 1, 3ull << 30,
					     1ull << 32, (1ull << 32) + 1, 1ull << 40 };
	static const uint64_t begins_ms[] = { 0, (1ull << 32) - 100, 1ull << 32, 7ull << 31 };

	(void)state;
	for (size_t i = 0; i < sizeof(rests_ms) / sizeof(rests_ms[0]) * 4; i++) {
		struct sources *s = sources_new(1000, 1000, QUARANTINE_MS);
		uint64_t begin_ms = begins_ms[i % 4], token;
		uint16_t port;

		assert_int_equal(take(s, &backend, begin_ms, &port, &token), 0);
		assert_true(sources_end(s, NULL, &backend, port, begin_ms));
		assert_int_equal(take(s, &backend, begin_ms + QUARANTINE_MS - 1, &port, &token),
				 -EADDRNOTAVAIL);
		assert_int_equal(take(s, &backend, begin_ms + rests_ms[i / 4], &port, &token), 0);
		sources_free(s);
	}
}

static void backends_and_sources_do_not_share_a_range(void **state)
{
	struct sources *s = sources_new(1000, 1000, QUARANTINE_MS);
	uint16_t port;
	uint64_t token;

	(void)state;
	assert_int_equal(take(s, &backend, 0, &port, &token), 0);
	assert_int_equal(take(s, &other, 0, &port, &token), 0);
	assert_int_equal(sources_take(s, &from, &backend, 0, &port, &token), 0);
	assert_int_equal(take(s, &backend, 0, &port, &token), -EADDRNOTAVAIL);
	sources_free(s);
}

static void a_freed_port_rests_first(void **state)
{
	struct sources *s = sources_new(1000, 1000, QUARANTINE_MS);
	uint16_t port;
	uint64_t token;

	(void)state;
	assert_int_equal(take(s, &backend, 0, &port, &token), 0);
	assert_true(sources_end(s, NULL, &backend, port, 10000));
	assert_int_equal(take(s, &backend, 10000 + QUARANTINE_MS - 1, &port, &token),
			 -EADDRNOTAVAIL);
	assert_int_equal(take(s, &backend, 10000 + QUARANTINE_MS, &port, &token), 0);

	sources_give(s, token, true, 20000);
	assert_int_equal(take(s, &backend, 20000 + SOURCE_TIME_WAIT_MS - 1, &port, &token),
			 -EADDRNOTAVAIL);
	assert_int_equal(take(s, &backend, 20000 + SOURCE_TIME_WAIT_MS, &port, &token), 0);
	sources_free(s);
}

static void the_rest_survives_the_clock_wrapping(void **state)
{
	struct sources *s = sources_new(1000, 1000, QUARANTINE_MS);
	uint64_t now_ms = 0xffffff00;
	uint16_t port;
	uint64_t token;

	(void)state;
	assert_int_equal(take(s, &backend, now_ms, &port, &token), 0);
	assert_true(sources_end(s, NULL, &backend, port, now_ms));
	assert_int_equal(take(s, &backend, now_ms + 300, &port, &token), -EADDRNOTAVAIL);
	assert_int_equal(take(s, &backend, now_ms + QUARANTINE_MS, &port, &token), 0);
	sources_free(s);
}

static void a_port_is_freed_once(void **state)
{
	struct sources *s = sources_new(1000, 1001, QUARANTINE_MS);
	uint16_t first, second, third;
	uint64_t token, token2;

	(void)state;
	assert_int_equal(take(s, &backend, 0, &first, &token), 0);
	assert_true(sources_end(s, NULL, &backend, first, 0));
	assert_false(sources_end(s, NULL, &backend, first, 0));
	sources_give(s, token, false, 0); /* of the same port: ignored */
	assert_int_equal(take(s, &backend, 9999, &second, &token2), 0);
	assert_int_equal(take(s, &backend, 9999, &third, &token2), 0);
	assert_int_not_equal(second, third);
	assert_int_equal(take(s, &backend, 99999, &third, &token2), -EADDRNOTAVAIL);
	sources_free(s);
}

static void freed_ports_come_back_in_order(void **state)
{
	struct sources *s = sources_new(1000, 1299, QUARANTINE_MS);
	uint16_t port;
	uint64_t token;

	(void)state;
	for (int i = 0; i < 300; i++)
		assert_int_equal(take(s, &backend, 0, &port, &token), 0);
	for (int i = 299; i >= 0; i--)
		assert_true(sources_end(s, NULL, &backend, (uint16_t)(1000 + i), 0));
	for (int i = 299; i >= 0; i--) {
		assert_int_equal(take(s, &backend, 9999, &port, &token), 0);
		assert_int_equal(port, 1000 + i);
	}
	sources_free(s);
}

static void a_marked_port_is_passed_over(void **state)
{
	struct sources *s = sources_new(1000, 1001, QUARANTINE_MS);
	uint16_t port;
	uint64_t token;

	(void)state;
	assert_true(sources_mark(s, NULL, &backend, 1000));
	assert_false(sources_mark(s, NULL, &backend, 1000));
	assert_false(sources_mark(s, NULL, &backend, 999)); /* another program's */
	assert_int_equal(take(s, &backend, 0, &port, &token), 0);
	assert_int_equal(port, 1001);
	assert_int_equal(take(s, &backend, 0, &port, &token), -EADDRNOTAVAIL);
	assert_true(sources_end(s, NULL, &backend, 1000, 0));
	assert_int_equal(take(s, &backend, 9999, &port, &token), 0);
	assert_int_equal(port, 1000);
	sources_free(s);
}

static void the_address_is_the_source_or_what_was_chosen_last(void **state)
{
	struct sources *s = sources_new(1000, 1099, QUARANTINE_MS);
	struct addr local, guess, bound_to = from;
	uint64_t token, next, elsewhere, bound;
	uint16_t port;

	(void)state;
	assert_int_equal(addr_parse("198.51.100.9:1000", &local), 0);
	assert_int_equal(take(s, &backend, 0, &port, &token), 0);
	assert_int_equal(take(s, &backend, 0, &port, &next), 0);
	assert_int_equal(take(s, &other, 0, &port, &elsewhere), 0);
	assert_int_equal(sources_take(s, &from, &backend, 0, &port, &bound), 0);
	assert_false(sources_guess(s, token, &guess));
	sources_chose(s, token, &local);
	assert_true(sources_guess(s, token, &guess));
	assert_true(addr_equal(&guess, &local));
	assert_true(sources_guess(s, next, &guess));
	addr_set_port(&local, 1001);
	assert_true(addr_equal(&guess, &local));
	assert_false(sources_guess(s, elsewhere, &guess));
	assert_true(sources_guess(s, bound, &guess));
	addr_set_port(&bound_to, port);
	assert_true(addr_equal(&guess, &bound_to));
	assert_false(sources_guess(s, 0, &guess));
	sources_free(s);
}

/* The flow of a former daemon ends before the range has been used so far. */
static void a_marked_port_rests_too_and_comes_back_once(void **state)
{
	struct sources *s = sources_new(1000, 1001, QUARANTINE_MS);
	uint16_t port;
	uint64_t token;

	(void)state;
	assert_true(sources_mark(s, NULL, &backend, 1000));
	assert_true(sources_end(s, NULL, &backend, 1000, 0));
	assert_int_equal(take(s, &backend, 1, &port, &token), 0);
	assert_int_equal(port, 1001);
	assert_int_equal(take(s, &backend, 1, &port, &token), -EADDRNOTAVAIL);
	assert_int_equal(take(s, &backend, QUARANTINE_MS, &port, &token), 0);
	assert_int_equal(port, 1000);
	assert_int_equal(take(s, &backend, 99999, &port, &token), -EADDRNOTAVAIL);
	sources_free(s);
}

static void strange_tokens_and_ports_are_ignored(void **state)
{
	struct sources *s = sources_new(1000, 1001, QUARANTINE_MS);

	(void)state;
	sources_give(s, 0, false, 0);
	sources_give(s, UINT64_MAX, false, 0);
	assert_false(sources_end(s, NULL, &backend, 1000, 0));
	assert_false(sources_end(s, NULL, &backend, 65535, 0));
	sources_free(s);
	sources_free(NULL);
}

/* Against the obvious way: a set of ports and the time each became free. */
static void random_use_never_hands_out_a_port_twice(void **state)
{
	struct sources *s = sources_new(2000, 2063, QUARANTINE_MS);
	uint64_t freed_at[64] = { 0 };
	bool taken[64] = { false };
	uint64_t now_ms = 100000, token;
	uint16_t port;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		int pick = rand() % 64;

		now_ms += (uint64_t)(rand() % 20);
		if (rand() % 2 && take(s, &backend, now_ms, &port, &token) == 0) {
			assert_false(taken[port - 2000]);
			assert_true(now_ms >= freed_at[port - 2000]);
			taken[port - 2000] = true;
		} else {
			assert_int_equal(
				sources_end(s, NULL, &backend, (uint16_t)(2000 + pick), now_ms),
				taken[pick]);
			if (taken[pick])
				freed_at[pick] = now_ms + QUARANTINE_MS;
			taken[pick] = false;
		}
	}
	sources_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_port_of_the_range_is_taken_once),
		cmocka_unit_test(a_port_that_rested_for_weeks_is_free),
		cmocka_unit_test(backends_and_sources_do_not_share_a_range),
		cmocka_unit_test(a_freed_port_rests_first),
		cmocka_unit_test(the_rest_survives_the_clock_wrapping),
		cmocka_unit_test(a_port_is_freed_once),
		cmocka_unit_test(freed_ports_come_back_in_order),
		cmocka_unit_test(a_marked_port_is_passed_over),
		cmocka_unit_test(the_address_is_the_source_or_what_was_chosen_last),
		cmocka_unit_test(a_marked_port_rests_too_and_comes_back_once),
		cmocka_unit_test(strange_tokens_and_ports_are_ignored),
		cmocka_unit_test(random_use_never_hands_out_a_port_twice),
	};

	return cmocka_run_group_tests(tests, addresses, NULL);
}
