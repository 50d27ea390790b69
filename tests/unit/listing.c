// SPDX-License-Identifier: GPL-2.0-only
/*
 * listing.c - a file of backends is read line by line, or it is said which line is wrong, and how
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

#include "../../paths/listing.h"

static void lines_are_backends(void **state)
{
	static const char text[] = "# a comment\n"
				   "\n"
				   "10.0.2.2:443\r\n"
				   "  WWW.Internal:8443\tweight=3 max-flows=1000 # another\n"
				   "[2001:db8::1]:443 backup=yes backup=no\n"
				   "10.0.2.3:443 backup=yes";
	struct listing listing = { 0 };
	char why[LISTING_WHY_MAX];
	unsigned int line;

	(void)state;
	assert_int_equal(listing_read(&listing, text, strlen(text), &line, why), 0);
	assert_int_equal(listing.len, 4);
	assert_string_equal(listing.list[0].config.text, "10.0.2.2:443");
	assert_int_equal(listing.list[0].config.weight, 1);
	assert_null(listing.list[0].config.host);
	assert_string_equal(listing.list[1].config.text, "WWW.Internal:8443");
	assert_string_equal(listing.list[1].config.host, "www.internal");
	assert_int_equal(listing.list[1].config.port, 8443);
	assert_int_equal(listing.list[1].config.weight, 3);
	assert_int_equal(listing.list[1].config.flows_max, 1000);
	assert_false(listing.list[2].config.backup);
	assert_true(listing.list[3].config.backup);
	listing_fini(&listing);
	assert_int_equal(listing.len, 0);
}

static void a_mistake_is_found_in_its_line(void **state)
{
	static const struct {
		const char *text;
		unsigned int line;
		const char *why;
	} rows[] = {
		{ "", 1, "is the end, and there is no backend; name one at least" },
		{ "# nobody\n\n", 2, "is the end, and there is no backend; name one at least" },
		{ "a:1\n10.0.0.1\n", 2, "\"10.0.0.1\" has no port; write \"10.0.0.1:443\"" },
		{ "a:1 weight=0\n", 1,
		  "weight=\"0\" will not do; it takes a number from 1 to 1000" },
		{ "a:1 weight=1001\n", 1,
		  "weight=\"1001\" will not do; it takes a number from 1 to 1000" },
		{ "a:1 weight=2x\n", 1,
		  "weight=\"2x\" will not do; it takes a number from 1 to 1000" },
		{ "a:1 max-flows=-1\n", 1,
		  "max-flows=\"-1\" will not do; it takes a number from 1 to 4294967295" },
		{ "a:1 max-flows=99999999999999999999\n", 1,
		  "max-flows=\"99999999999999999999\" will not do; it takes a number from 1 to 4294967295" },
		{ "a:1 backup\n", 1,
		  "\"backup\" is unknown; after the backend there may be weight=N, max-flows=N and backup=yes" },
		{ "a:1 b:2\n", 1,
		  "\"b:2\" is unknown; after the backend there may be weight=N, max-flows=N and backup=yes" },
		{ "a:1\n\na:\x1b[1m\n", 3, "has a byte 0x1b; it takes printable ASCII" },
		{ "requested\n", 1,
		  "\"requested\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct listing listing = { 0 };
		char why[LISTING_WHY_MAX] = "";
		unsigned int line = 0;
		int rc = listing_read(&listing, rows[i].text, strlen(rows[i].text), &line, why);

		assert_int_equal(rc, -EINVAL);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(line, rows[i].line);
		listing_fini(&listing);
	}
}

static void bytes_that_are_no_text(void **state)
{
	struct listing listing = { 0 };
	char why[LISTING_WHY_MAX], text[600];
	unsigned int line;

	(void)state;
	assert_int_equal(listing_read(&listing, "a:1\0b", 5, &line, why), -EINVAL);
	assert_string_equal(why, "has a byte 0x00; it takes printable ASCII");
	memset(text, 'a', sizeof(text));
	assert_int_equal(listing_read(&listing, text, sizeof(text), &line, why), -EINVAL);
	assert_string_equal(why, "is too long; a line has less than 512 characters");
	listing_fini(&listing);
}

static void too_many(void **state)
{
	size_t len = (CONFIG_BACKENDS_MAX + 1) * 4;
	char *text = malloc(len), why[LISTING_WHY_MAX];
	struct listing listing = { 0 };
	unsigned int line;

	(void)state;
	for (size_t i = 0; i < len; i += 4)
		memcpy(text + i, "a:1\n", 4);
	assert_int_equal(listing_read(&listing, text, len - 4, &line, why), 0);
	listing_fini(&listing);
	assert_int_equal(listing_read(&listing, text, len, &line, why), -E2BIG);
	assert_int_equal(line, CONFIG_BACKENDS_MAX + 1);
	listing_fini(&listing);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_backends),
		cmocka_unit_test(a_mistake_is_found_in_its_line),
		cmocka_unit_test(bytes_that_are_no_text),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
