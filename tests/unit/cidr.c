// SPDX-License-Identifier: GPL-2.0-only
/*
 * cidr.c - prefixes as text, and sets of them against asking each prefix in turn
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../base/cidr.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static struct addr address(const char *host)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, 443, &a), 0);
	return a;
}

static struct cidr prefix(const char *text)
{
	char why[CIDR_WHY_MAX];
	struct cidr cidr;

	if (cidr_parse(text, &cidr, why) < 0)
		fail_msg("%s", why);
	return cidr;
}

static void text_comes_back_in_its_shortest_form(void **state)
{
	static const char *const rows[][2] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1/32", "192.0.2.1" },
		{ "192.0.2.1/032", "192.0.2.1" },
		{ "2001:DB8:0::/32", "2001:db8::/32" },
		{ "::/0", "::/0" },
		{ "::1", "::1" },
		{ "fe80::/10", "fe80::/10" },
		{ "2001:db8::1/128", "2001:db8::1" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8" },
		{ "::ffff:0:0/96", "0.0.0.0/0" },
		{ "::fffe:0:0/95", "::fffe:0:0/95" },
	};
	char out[CIDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct cidr cidr = prefix(rows[i][0]);

		assert_string_equal(cidr_format(&cidr, out), rows[i][1]);
	}
}

#define ANY  "it takes an address or a prefix, such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"
#define BIT4 "after the '/' of IPv4 stands a number from 0 to 32"
#define BIT6 "after the '/' of IPv6 stands a number from 0 to 128"

static void what_is_no_prefix_is_said(void **state)
{
	static const char *const rows[][2] = {
		{ "", "\"\" will not do; " ANY },
		{ "/8", "\"/8\" will not do; " ANY },
		{ "example.org", "\"example.org\" will not do; " ANY },
		{ "10.0.0/8", "\"10.0.0/8\" will not do; " ANY },
		{ "10.0.0.1:443", "\"10.0.0.1:443\" will not do; " ANY },
		{ "[::1]", "\"[::1]\" will not do; " ANY },
		{ "fe80::1%lo", "\"fe80::1%lo\" will not do; " ANY },
		{ " 10.0.0.1", "\" 10.0.0.1\" will not do; " ANY },
		{ "10.0.0.0/", "\"10.0.0.0/\" will not do; " BIT4 },
		{ "10.0.0.0/33", "\"10.0.0.0/33\" will not do; " BIT4 },
		{ "10.0.0.0/-1", "\"10.0.0.0/-1\" will not do; " BIT4 },
		{ "10.0.0.0/8/8", "\"10.0.0.0/8/8\" will not do; " BIT4 },
		{ "10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\" will not do; " BIT4 },
		{ "10.0.0.0/4294967304", "\"10.0.0.0/4294967304\" will not do; " BIT4 },
		{ "::/129", "\"::/129\" will not do; " BIT6 },
		{ "10.0.0.1/8",
		  "\"10.0.0.1/8\" has bits set beyond the first 8; write 10.0.0.0/8, or "
		  "10.0.0.1 for that one address" },
		{ "192.0.2.129/25", "\"192.0.2.129/25\" has bits set beyond the first 25; write "
				    "192.0.2.128/25, or 192.0.2.129 for that one address" },
		{ "2001:db8::1/32", "\"2001:db8::1/32\" has bits set beyond the first 32; write "
				    "2001:db8::/32, or 2001:db8::1 for that one address" },
		{ "1.2.3.4/0", "\"1.2.3.4/0\" has bits set beyond the first 0; write 0.0.0.0/0, or "
			       "1.2.3.4 for that one address" },
	};
	char why[CIDR_WHY_MAX];
	struct cidr cidr;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(cidr_parse(rows[i][0], &cidr, why), -EINVAL);
		assert_string_equal(why, rows[i][1]);
	}
}

static void a_set_has_what_its_prefixes_have(void **state)
{
	static const struct {
		const char *prefix, *host;
		bool has;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0", true },
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "9.255.255.255", false },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
		{ "10.0.0.0/8", "a00::", false },
		{ "::ffff:10.0.0.0/104", "10.1.2.3", true },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "0.0.0.0/0", "203.0.113.1", true },
		{ "0.0.0.0/0", "::", false },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "::/0", "::", true },
		{ "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
		{ "::/0", "10.0.0.1", false },
		{ "::/0", "::ffff:10.0.0.1", false },
		{ "::/0", "::fffe:ffff:ffff", true },
		{ "::/0", "::1:0:0:0", true },
		{ "::fffe:0:0/95", "::fffe:0:1", true },
		{ "::fffe:0:0/95", "0.0.0.1", false },
		{ "::fffe:0:0/95", "::1:0:0:0", false },
		{ "fe80::/10", "fe80::1%lo", true },
		{ "fe80::/10", "fec0::", false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct cidr cidr = prefix(rows[i].prefix);
		struct addr addr = address(rows[i].host);
		struct cidrs set = { 0 };

		assert_int_equal(cidrs_add(&set, &cidr), 0);
		cidrs_seal(&set);
		if (cidrs_has(&set, &addr) != rows[i].has || cidr_has(&cidr, &addr) != rows[i].has)
			fail_msg("%s in %s", rows[i].host, rows[i].prefix);
		cidrs_fini(&set);
	}
}

static void an_empty_set_has_nobody(void **state)
{
	struct addr addr = address("10.0.0.1");
	struct cidrs set = { 0 };

	(void)state;
	cidrs_seal(&set);
	assert_false(cidrs_has(&set, &addr));
}

/* ---- against the slow, obvious way ---- */

/* A prefix says it of each address bit by bit. */
static bool obviously_has(const struct cidr *cidr, const struct addr *addr)
{
	bool is_ip4 = addr_family(addr) == AF_INET;
	_Alignas(4) uint8_t bytes[16];

	addr_to_16(addr, (uint32_t *)bytes);
	if (is_ip4 && cidr->bits < 96)
		return false;
	for (unsigned int i = 0; i < cidr->bits; i++)
		if ((bytes[i / 8] ^ cidr->first[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

/* Few different bits, so that prefixes nest and addresses hit. */
static struct cidr random_prefix(void)
{
	struct cidr cidr = { .bits = (unsigned char)(rand() % 129) };

	if (rand() % 2) {
		memset(cidr.first + 10, 0xff, 2);
		cidr.bits = (unsigned char)(96 + rand() % 33);
	}
	for (unsigned int i = rand() % 4 ? 96 : 0; i < cidr.bits; i++)
		if (rand() % 8 == 0)
			cidr.first[i / 8] ^= (uint8_t)(0x80 >> i % 8);
	for (unsigned int i = cidr.bits; i < 128; i++)
		cidr.first[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return cidr;
}

/* In a prefix, at one of its ends, or just beside it */
static struct addr random_address(const struct cidr *near)
{
	_Alignas(4) uint8_t bytes[16];
	struct addr addr;
	int step = rand() % 3 - 1;

	memcpy(bytes, near->first, 16);
	for (unsigned int i = near->bits; i < 128; i++)
		if (rand() % 2)
			bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (int i = 15; step && i >= 0; i--) {
		bytes[i] = (uint8_t)(bytes[i] + step);
		if (bytes[i] != (step > 0 ? 0x00 : 0xff))
			step = 0;
	}
	addr_from_16((uint32_t *)bytes, 0, &addr);
	return addr;
}

static void sets_against_asking_each_prefix(void **state)
{
	struct cidr prefixes[64];

	(void)state;
	srand(1);
	for (int round = 0; round < 500; round++) {
		unsigned int len = 1 + (unsigned int)rand() % ROWS(prefixes);
		struct cidrs set = { 0 };

		for (unsigned int i = 0; i < len; i++) {
			prefixes[i] = random_prefix();
			assert_int_equal(cidrs_add(&set, &prefixes[i]), 0);
		}
		cidrs_seal(&set);
		cidrs_seal(&set);
		for (int i = 0; i < 200; i++) {
			struct addr addr = random_address(&prefixes[(unsigned int)rand() % len]);
			bool expected = false;

			for (unsigned int p = 0; p < len; p++) {
				bool has = obviously_has(&prefixes[p], &addr);

				assert_int_equal(cidr_has(&prefixes[p], &addr), has);
				expected |= has;
			}
			assert_int_equal(cidrs_has(&set, &addr), expected);
		}
		cidrs_fini(&set);
	}
}

/* ---- files ---- */

static void a_file_is_read_line_by_line(void **state)
{
	static const char text[] = "# the office\n"
				   "\n"
				   "10.0.0.0/8\n"
				   "\t 192.0.2.1 # Anna\r\n"
				   "  # nobody\n"
				   "2001:db8::/32";
	struct cidrs set = { 0 };
	char why[CIDR_WHY_MAX];
	unsigned int line;
	struct addr in[] = { address("10.9.9.9"), address("192.0.2.1"), address("2001:db8::1") };
	struct addr out = address("192.0.2.2");

	(void)state;
	assert_int_equal(cidrs_read(&set, text, strlen(text), &line, why), 0);
	cidrs_seal(&set);
	assert_int_equal(set.len, 3);
	for (size_t i = 0; i < ROWS(in); i++)
		assert_true(cidrs_has(&set, &in[i]));
	assert_false(cidrs_has(&set, &out));
	cidrs_fini(&set);
	assert_int_equal(cidrs_read(&set, "", 0, &line, why), 0);
}

static void a_mistake_has_its_line(void **state)
{
	static const struct {
		const char *text;
		size_t len; /* 0: as strlen(3) says */
		unsigned int line;
		const char *why;
	} rows[] = {
		{ "10.0.0.0/8\n\n10.0.0.1/8\n", 0, 3, "has bits set" },
		{ "10.0.0.1 10.0.0.2\n", 0, 1, "it takes an address" },
		{ "10.0.0.1\0.2\n", 12, 1, "alone in its line" },
		{ "::1\n0000000000000000000000000000000000000000000000000000000000000000000000"
		  "0000000000000000000000000000000000000000000000000000000000000000000000000000",
		  0, 2, "is shorter" },
	};
	char why[CIDR_WHY_MAX];
	unsigned int line;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);
		struct cidrs set = { 0 };

		assert_int_equal(cidrs_read(&set, rows[i].text, len, &line, why), -EINVAL);
		assert_int_equal(line, rows[i].line);
		if (!strstr(why, rows[i].why))
			fail_msg("%s", why);
		cidrs_fini(&set);
	}
}

/* Prints what it costs; the sanitizers of this build make it several times slower. */
static void a_hundred_thousand_prefixes(void **state)
{
	enum {
		PREFIXES = 100000,
		ASKED = 1000000
	};
	struct timespec from, to;
	struct cidrs set = { 0 };
	unsigned int found = 0;

	(void)state;
	for (uint32_t i = 0; i < PREFIXES; i++) {
		struct cidr cidr = { .bits = 120 };
		uint32_t net = htonl(i * 2 << 8);

		memset(cidr.first + 10, 0xff, 2);
		memcpy(cidr.first + 12, &net, 4);
		assert_int_equal(cidrs_add(&set, &cidr), 0);
	}
	cidrs_seal(&set);
	assert_int_equal(set.len, PREFIXES);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint32_t i = 0; i < ASKED; i++) {
		struct addr addr = { .in.sin_family = AF_INET };

		addr.in.sin_addr.s_addr = htonl(i * 2654435761u % (PREFIXES * 2 << 8));
		found += cidrs_has(&set, &addr);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_in_range(found, ASKED * 4 / 10, ASKED * 6 / 10);
	print_message(
		"%.0f ns per look-up among %u prefixes\n",
		((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
			ASKED,
		set.len);
	cidrs_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back_in_its_shortest_form),
		cmocka_unit_test(what_is_no_prefix_is_said),
		cmocka_unit_test(a_set_has_what_its_prefixes_have),
		cmocka_unit_test(an_empty_set_has_nobody),
		cmocka_unit_test(sets_against_asking_each_prefix),
		cmocka_unit_test(a_file_is_read_line_by_line),
		cmocka_unit_test(a_mistake_has_its_line),
		cmocka_unit_test(a_hundred_thousand_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
