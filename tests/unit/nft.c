// SPDX-License-Identifier: GPL-2.0-only
/*
 * nft.c - what nftables is told: each forward in the maps that it belongs to, and in no other
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../gateway/nft.h"

static struct config_forward forward(const char *listen, uint16_t last, const char *to)
{
	struct config_forward out = { .last = last, .tcp = true };

	assert_int_equal(addr_parse(listen, &out.listen), 0);
	assert_int_equal(addr_parse(to, &out.to), 0);
	return out;
}

static char *text_of(const struct config_forward *forwards, unsigned int len)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	nft_write(f, forwards, len);
	fclose(f);
	return text;
}

/* Elements of a map as they are written; "" if it has none. To be freed. */
static char *elements(const char *text, const char *map)
{
	const char *at = strstr(text, map), *end, *first;

	assert_non_null(at);
	end = strstr(at, "}\n");
	first = strstr(at, "elements = {\n");
	if (!first || first > end)
		return strdup("");
	first += strlen("elements = {\n");
	return strndup(first, (size_t)(end - first));
}

static void check(const struct config_forward *one, const char *map, const char *expected)
{
	_free_ char *text = text_of(one, 1);
	_free_ char *have = elements(text, map);

	assert_string_equal(have, expected);
}

static void ports_that_change_are_single(void **state)
{
	struct config_forward one = forward("192.0.2.1:80", 82, "10.0.0.1:8080");

	(void)state;
	check(&one, " to_ip ",
	      "192.0.2.1 . tcp . 80 : 10.0.0.1 . 8080,\n"
	      "192.0.2.1 . tcp . 81 : 10.0.0.1 . 8081,\n"
	      "192.0.2.1 . tcp . 82 : 10.0.0.1 . 8082,\n");
	check(&one, " keep_ip ", "");
	check(&one, " to_ip6 ", "");
	check(&one, " masq_ip ", "");
	check(&one, " from_ip ", "");
}

static void ports_that_stay_are_a_range(void **state)
{
	struct config_forward one = forward("[fd00::1]:80", 65535, "[fd00::2]:80");

	(void)state;
	one.udp = true;
	check(&one, " keep_ip6 ",
	      "fd00::1 . tcp . 80-65535 : fd00::2,\n"
	      "fd00::1 . udp . 80-65535 : fd00::2,\n");
	check(&one, " to_ip6 ", "");
	check(&one, " keep_ip ", "");
}

static void sources_are_changed_as_asked(void **state)
{
	struct config_forward one = forward("192.0.2.1:80", 80, "10.0.0.1:80");
	char why[CIDR_WHY_MAX];

	(void)state;
	one.source = FORWARD_MASQUERADE;
	check(&one, " masq_ip ", "192.0.2.1 . tcp . 80 . 0.0.0.0/0,\n");
	check(&one, " from_ip ", "");
	one.source = FORWARD_FIXED;
	assert_int_equal(addr_parse_host("10.0.0.9", 0, &one.source_addr), 0);
	check(&one, " masq_ip ", "");
	check(&one, " from_ip ", "192.0.2.1 . tcp . 80 : 10.0.0.9,\n");
	one.source = FORWARD_KEEP;
	one.has_hairpin = true;
	assert_int_equal(cidr_parse("10.0.0.0/8", &one.hairpin, why), 0);
	check(&one, " masq_ip ", "192.0.2.1 . tcp . 80 . 10.0.0.0/8,\n");
	check(&one, " from_ip ", "");
}

static void without_forwards_there_is_no_table(void **state)
{
	_free_ char *text = text_of(NULL, 0);

	(void)state;
	assert_string_equal(text,
			    "add table inet ladon-forward\ndelete table inet ladon-forward\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_that_change_are_single),
		cmocka_unit_test(ports_that_stay_are_a_range),
		cmocka_unit_test(sources_are_changed_as_asked),
		cmocka_unit_test(without_forwards_there_is_no_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
