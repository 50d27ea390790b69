// SPDX-License-Identifier: GPL-2.0-only
/*
 * taken.c - who takes a port, compared with asking each forward
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "../../gateway/taken.h"

static struct config_forward forward(const char *listen, uint16_t last, bool tcp, bool udp)
{
	struct config_forward out = { .last = last, .tcp = tcp, .udp = udp };

	assert_int_equal(addr_parse(listen, &out.listen), 0);
	return out;
}

static const struct config_forward *slow_find(const struct config_forward *forwards,
					      unsigned int len, bool udp, const struct addr *at)
{
	for (unsigned int i = 0; i < len; i++)
		if ((udp ? forwards[i].udp : forwards[i].tcp) &&
		    addr_same_host(&forwards[i].listen, at) && addr_port(at) <= forwards[i].last &&
		    addr_port(at) >= addr_port(&forwards[i].listen))
			return &forwards[i];
	return NULL;
}

static void everybody_is_found(void **state)
{
	static const char *const hosts[] = { "192.0.2.1", "192.0.2.2", "2001:db8::1", "10.0.0.1" };
	const struct config_forward forwards[] = {
		forward("192.0.2.2:10", 12, true, true),   forward("192.0.2.1:20", 20, true, false),
		forward("192.0.2.1:10", 15, false, true),  forward("192.0.2.1:1", 19, true, false),
		forward("[2001:db8::1]:5", 9, true, true), forward("192.0.2.1:16", 16, false, true),
	};
	struct taken taken;

	(void)state;
	assert_int_equal(taken_init(&taken, forwards, 6), 0);
	for (unsigned int h = 0; h < 4; h++) {
		for (uint16_t port = 1; port < 25; port++) {
			struct addr at;

			assert_int_equal(addr_parse_host(hosts[h], port, &at), 0);
			for (int udp = 0; udp < 2; udp++)
				assert_ptr_equal(taken_find(&taken, udp, &at),
						 slow_find(forwards, 6, udp, &at));
		}
	}
	taken_fini(&taken);
}

/* Return: the port of the clash; 0: there is none. The first is the former of the two. */
static uint16_t clash(const struct config_forward a, const struct config_forward b)
{
	const struct config_forward forwards[] = { a, b }, *first, *second;
	struct taken taken;
	uint16_t port = 0;
	bool udp;

	assert_int_equal(taken_init(&taken, forwards, 2), 0);
	if (taken_clash(&taken, &first, &second, &port, &udp)) {
		assert_ptr_equal(first, &forwards[0]);
		assert_ptr_equal(second, &forwards[1]);
		assert_true(udp ? a.udp && b.udp : a.tcp && b.tcp);
	}
	taken_fini(&taken);
	return port;
}

static void what_two_take_is_found(void **state)
{
	const struct config_forward range = forward("192.0.2.1:10", 20, true, false);

	(void)state;
	assert_int_equal(clash(range, forward("192.0.2.1:20", 30, true, true)), 20);
	assert_int_equal(clash(range, forward("192.0.2.1:1", 10, true, false)), 10);
	assert_int_equal(clash(range, range), 10);
	assert_int_equal(clash(range, forward("192.0.2.1:21", 30, true, false)), 0);
	assert_int_equal(clash(range, forward("192.0.2.1:10", 20, false, true)), 0);
	assert_int_equal(clash(range, forward("192.0.2.2:10", 20, true, false)), 0);
}

static void nobody_takes_nothing(void **state)
{
	const struct config_forward one = forward("192.0.2.1:80", 80, true, false);
	struct taken taken;

	(void)state;
	assert_int_equal(taken_init(&taken, &one, 0), 0);
	assert_null(taken_find(&taken, false, &one.listen));
	taken_fini(&taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_is_found),
		cmocka_unit_test(what_two_take_is_found),
		cmocka_unit_test(nobody_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
