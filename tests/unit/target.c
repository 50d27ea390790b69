// SPDX-License-Identifier: GPL-2.0-only
/*
 * target.c - which addresses clients may be connected to, row by row
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../gateway/locals.h"
#include "../../gateway/target.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define PREFIXES    4

static struct addr address(const char *host, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, port, &a), 0);
	return a;
}

/* The gateway of these tests has two addresses. */
static bool is_own(void *arg, const struct addr *addr)
{
	static const char *const own[] = { "192.0.2.9", "2001:db8::9" };

	(void)arg;
	for (size_t i = 0; i < ROWS(own); i++) {
		struct addr a = address(own[i], addr_port(addr));
		uint32_t x[4], y[4];

		addr_to_16(&a, x);
		addr_to_16(addr, y);
		if (memcmp(x, y, sizeof(x)) == 0)
			return true;
	}
	return false;
}

static void by_default_what_is_the_gateways_alone_is_kept(void **state)
{
	static const struct {
		const char *host;
		bool may;
	} rows[] = {
		{ "198.51.100.1", true },
		{ "10.0.0.1", true },
		{ "192.168.1.1", true },
		{ "2001:db8::1", true },
		{ "fd00::1", true },
		{ "0.0.0.0", false },
		{ "0.1.2.3", false },
		{ "1.0.0.0", true },
		{ "126.255.255.255", true },
		{ "127.0.0.1", false },
		{ "127.255.255.255", false },
		{ "128.0.0.0", true },
		{ "169.253.255.255", true },
		{ "169.254.169.254", false },
		{ "169.255.0.0", true },
		{ "223.255.255.255", true },
		{ "224.0.0.1", false },
		{ "239.255.255.255", false },
		{ "255.255.255.254", true },
		{ "255.255.255.255", false },
		{ "::", false },
		{ "::1", false },
		{ "::127.0.0.1", false },
		{ "::198.51.100.1", false },
		{ "::ffff:127.0.0.1", false },
		{ "::ffff:198.51.100.1", true },
		{ "fe7f::1", true },
		{ "fe80::1", false },
		{ "febf::1", false },
		{ "fec0::1", true },
		{ "feff::1", true },
		{ "ff02::1", false },
		{ "192.0.2.9", false },
		{ "::ffff:192.0.2.9", false },
		{ "192.0.2.8", true },
		{ "2001:db8::9", false },
		/* ways around */
		{ "64:ff9b::127.0.0.1", false },
		{ "64:ff9b::169.254.169.254", false },
		{ "64:ff9b::192.0.2.9", false },
		{ "64:ff9b::198.51.100.1", true },
		{ "64:ff9b:1::127.0.0.1", false },
		{ "64:ff9b:1:2:3:4:127.0.0.1", false },
		{ "64:ff9b:2::127.0.0.1", true },
		{ "2002:7f00:1::1", false },
		{ "2002:a9fe:a9fe::", false },
		{ "2002:c000:209::1", false },
		{ "2002:c633:6401::1", true },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr to = address(rows[i].host, 443);

		if (target_admits(NULL, &to, is_own, NULL) != rows[i].may)
			fail_msg("%s", rows[i].host);
	}
}

static void prefixes_add(struct cidrs *set, const char *const *texts)
{
	char why[CIDR_WHY_MAX];
	struct cidr cidr;

	for (int i = 0; i < PREFIXES && texts[i]; i++) {
		if (cidr_parse(texts[i], &cidr, why) < 0)
			fail_msg("%s", why);
		assert_int_equal(cidrs_add(set, &cidr), 0);
	}
}

static void what_is_configured(void **state)
{
	static const struct {
		const char *allow[PREFIXES], *deny[PREFIXES], *host;
		bool may;
	} rows[] = {
		{ { 0 }, { "198.51.100.0/24" }, "198.51.100.1", false },
		{ { 0 }, { "198.51.100.0/24" }, "198.51.101.1", true },
		{ { 0 }, { "198.51.100.0/24" }, "64:ff9b::198.51.100.1", false },
		{ { 0 }, { "198.51.100.0/24" }, "2002:c633:6401::", false },
		{ { "198.51.100.0/24" }, { 0 }, "198.51.100.1", true },
		{ { "198.51.100.0/24" }, { 0 }, "198.51.101.1", false },
		{ { "198.51.100.0/24" }, { 0 }, "64:ff9b::198.51.100.1", false },
		{ { "198.51.100.0/24" }, { "198.51.100.1" }, "198.51.100.1", false },
		/* all of the Internet is not what is kept */
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "198.51.100.1", true },
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "127.0.0.1", false },
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "169.254.169.254", false },
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "192.0.2.9", false },
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "::1", false },
		{ { "0.0.0.0/0", "::/0" }, { 0 }, "fe80::1", false },
		{ { "64.0.0.0/2" }, { 0 }, "127.0.0.1", false },
		{ { "192.0.2.0/24" }, { 0 }, "192.0.2.9", false },
		{ { "192.0.2.8/31" }, { 0 }, "192.0.2.9", false },
		/* but by name it is let out, and nothing beside it */
		{ { "127.0.0.1" }, { 0 }, "127.0.0.1", true },
		{ { "127.0.0.1" }, { 0 }, "127.0.0.2", false },
		{ { "127.0.0.0/8" }, { 0 }, "127.9.9.9", true },
		{ { "0.0.0.0/0", "127.0.0.1" }, { 0 }, "127.0.0.1", true },
		{ { "0.0.0.0/0", "127.0.0.1" }, { 0 }, "127.0.0.2", false },
		{ { "0.0.0.0/0", "127.0.0.1" }, { 0 }, "198.51.100.1", true },
		{ { "192.0.2.9" }, { 0 }, "192.0.2.9", true },
		{ { "192.0.2.9" }, { 0 }, "::ffff:192.0.2.9", true },
		{ { "169.254.169.254" }, { 0 }, "169.254.169.254", true },
		{ { "169.254.0.0/16" }, { "169.254.169.254" }, "169.254.169.254", false },
		{ { "::1", "::/0" }, { 0 }, "::1", true },
		{ { "::1", "::/0" }, { 0 }, "::2", false },
		{ { "fe80::/10" }, { 0 }, "fe80::1", true },
		{ { "2001:db8::9" }, { 0 }, "2001:db8::9", true },
		{ { "127.0.0.1", "::/0" }, { 0 }, "64:ff9b::127.0.0.1", true },
		{ { "127.0.0.1", "::/0" }, { 0 }, "64:ff9b::127.0.0.2", false },
		{ { "64:ff9b::127.0.0.2" }, { 0 }, "64:ff9b::127.0.0.2", true },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct targets targets = { .only = rows[i].allow[0] };
		struct addr to = address(rows[i].host, 443);

		prefixes_add(&targets.allow, rows[i].allow);
		prefixes_add(&targets.named, rows[i].allow);
		prefixes_add(&targets.deny, rows[i].deny);
		targets_narrow(&targets.named);
		cidrs_seal(&targets.allow);
		cidrs_seal(&targets.named);
		cidrs_seal(&targets.deny);
		if (target_admits(&targets, &to, is_own, NULL) != rows[i].may)
			fail_msg("row %zu: %s", i, rows[i].host);
		cidrs_fini(&targets.allow);
		cidrs_fini(&targets.named);
		cidrs_fini(&targets.deny);
	}
}

static void ports_are_numbers_and_ranges(void **state)
{
	static const struct {
		uint16_t port;
		bool may;
	} rows[] = { { 442, false },  { 443, true },  { 444, false },
		     { 7999, false }, { 8000, true }, { 8999, true },
		     { 9000, false }, { 0, false },   { 65535, true } };
	struct target_ports ports[] = { { 443, 443 }, { 8000, 8999 }, { 65535, 65535 } };
	struct targets targets = { .ports = ports, .ports_len = ROWS(ports) };

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr to = address("198.51.100.1", rows[i].port);

		assert_int_equal(target_admits(&targets, &to, is_own, NULL), rows[i].may);
	}
}

/* Of this very host; what it costs is printed. */
static void the_kernel_knows_its_own_addresses(void **state)
{
	enum {
		ASKED = 10000
	};
	static const struct {
		const char *host;
		bool own;
	} rows[] = {
		{ "127.0.0.1", true },	      { "127.9.9.9", true },
		{ "::ffff:127.0.0.1", true }, { "198.51.100.1", false },
		{ "255.255.255.255", true },  { "2001:db8::1", false },
	};
	struct locals locals = { .fd = -1 };
	struct timespec from, to;
	struct addr a = address("127.0.0.1", 0);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addr addr = address(rows[i].host, 443);

		if (locals_has(&locals, &addr) != rows[i].own)
			fail_msg("%s", rows[i].host);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < ASKED; i++)
		assert_true(locals_has(&locals, &a));
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("%.0f ns per question\n", ((double)(to.tv_sec - from.tv_sec) * 1e9 +
						 (double)(to.tv_nsec - from.tv_nsec)) /
							ASKED);
	locals_close(&locals);
	locals_close(&locals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_default_what_is_the_gateways_alone_is_kept),
		cmocka_unit_test(what_is_configured),
		cmocka_unit_test(ports_are_numbers_and_ranges),
		cmocka_unit_test(the_kernel_knows_its_own_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
