// SPDX-License-Identifier: GPL-2.0-only
/*
 * addr.c - addresses as text and as 16 bytes, there and back
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "../../base/addr.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void text_comes_back_in_its_shortest_form(void **state)
{
	static const char *const rows[][2] = {
		{ "192.0.2.1:443", "192.0.2.1:443" },
		{ "0.0.0.0:0", "0.0.0.0:0" },
		{ "255.255.255.255:65535", "255.255.255.255:65535" },
		{ "[::]:443", "[::]:443" },
		{ "[2001:DB8:0:0::1]:80", "[2001:db8::1]:80" },
		{ "[::ffff:192.0.2.1]:80", "[::ffff:192.0.2.1]:80" },
		{ "[::1%lo]:80", "[::1%lo]:80" },
		{ "10.0.0.1:00080", "10.0.0.1:80" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr a = address(rows[i][0]);
		char text[ADDR_TEXT_MAX];

		assert_string_equal(addr_format(&a, text), rows[i][1]);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const rows[] = {
		"",
		":",
		":80",
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:65536",
		"10.0.0.1:-1",
		"10.0.0.1:+1",
		"10.0.0.1: 80",
		"10.0.0.1:80x",
		"10.0.0.1:99999999999999999999",
		"10.0.0:80",
		"10.0.0.256:80",
		"010.0.0.1:80",
		"1.2.3.4.5:80",
		"::1:80",
		"2001:db8::1",
		"[::1]",
		"[::1]80",
		"[::1:80",
		"::1]:80",
		"[]:80",
		"[10.0.0.1]:80",
		"[::1%no-such-if]:80",
		"[::1%]:80",
		"example.org:80",
		"[[::1]]:80",
		"[1:2:3:4:5:6:7:8:9]:80",
		"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0]:1",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr a = { .sa.sa_family = 77 };

		if (addr_parse(rows[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i]);
		assert_int_equal(a.sa.sa_family, 77); /* untouched */
	}
}

static void hosts_stand_without_brackets(void **state)
{
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_host("2001:db8::1", 53, &a), 0);
	assert_int_equal(addr_port(&a), 53);
	assert_int_equal(a.sa.sa_family, AF_INET6);
	assert_int_equal(addr_len(&a), sizeof(struct sockaddr_in6));
	assert_int_equal(addr_parse_host("10.0.0.1", 53, &a), 0);
	assert_int_equal(addr_len(&a), sizeof(struct sockaddr_in));
	assert_int_equal(addr_parse_host("[::1]", 53, &a), -EINVAL);
	assert_int_equal(addr_parse_host("10.0.0.1%lo", 53, &a), -EINVAL);
}

static void sixteen_bytes_hold_either_family(void **state)
{
	static const char *const rows[] = { "192.0.2.1:443", "[2001:db8::1]:80", "[::]:1",
					    "0.0.0.0:1" };
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	struct addr v4 = address(rows[0]);
	uint32_t bytes[4];

	(void)state;
	addr_to_16(&v4, bytes);
	assert_memory_equal(bytes, mapped, sizeof(mapped));
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr a = address(rows[i]), b;

		addr_to_16(&a, bytes);
		addr_from_16(bytes, htons(addr_port(&a)), &b);
		assert_int_equal(a.sa.sa_family, b.sa.sa_family);
		assert_true(addr_equal(&a, &b));
	}
}

static void a_mapped_address_is_the_address_it_maps(void **state)
{
	struct addr plain = address("192.0.2.1:443"), mapped = address("[::ffff:192.0.2.1]:443");
	struct addr port = address("192.0.2.1:444"), other = address("192.0.2.2:443");

	(void)state;
	assert_true(addr_equal(&plain, &mapped));
	assert_false(addr_equal(&plain, &port));
	assert_false(addr_equal(&plain, &other));
	assert_int_equal(addr_family(&mapped), AF_INET);
	assert_int_equal(addr_family(&plain), AF_INET);
}

static void any_is_any_of_either_family(void **state)
{
	struct addr v4 = address("0.0.0.0:1"), v6 = address("[::]:1"), one = address("0.0.0.1:1");

	(void)state;
	assert_true(addr_is_any(&v4));
	assert_true(addr_is_any(&v6));
	assert_false(addr_is_any(&one));
	assert_int_equal(addr_family(&v6), AF_INET6);
}

static void only_ip_is_copied(void **state)
{
	const struct sockaddr unix_socket = { .sa_family = AF_UNIX };
	struct addr v6 = address("[2001:db8::1]:80"), copy;

	(void)state;
	assert_int_equal(addr_from(&unix_socket, &copy), -EAFNOSUPPORT);
	assert_int_equal(addr_from(&v6.sa, &copy), 0);
	assert_true(addr_equal(&v6, &copy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back_in_its_shortest_form),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(hosts_stand_without_brackets),
		cmocka_unit_test(sixteen_bytes_hold_either_family),
		cmocka_unit_test(a_mapped_address_is_the_address_it_maps),
		cmocka_unit_test(any_is_any_of_either_family),
		cmocka_unit_test(only_ip_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
