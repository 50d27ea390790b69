// SPDX-License-Identifier: GPL-2.0-only
/*
 * words.c - prefixes and regexes: which one, and from which byte on
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../gateway/words.h"

#define COUNT(array)	   (sizeof(array) / sizeof((array)[0]))
#define BYTES(text)	   (const uint8_t *)(text), sizeof(text) - 1
#define WORDS(words, list) make(words, list, COUNT(list))

static void make(struct words **words, const struct config_route *routes, size_t len)
{
	const struct config_listener listener = { .routes = (struct config_route *)routes,
						  .routes_len = (unsigned int)len };

	assert_int_equal(words_new(&listener, words), 0);
}

/* ---- prefixes ---- */

static void the_longest_prefix_wins(void **state)
{
	static const struct config_route routes[] = {
		{ .starts = "SSH-" },	    { .tls = "*" },	   { .starts = "SSH-2.0-x" },
		{ .starts = "\\x00\\x01" }, { .starts = "SSH-1" }, { .starts = "\\xff" },
	};
	static const struct {
		const uint8_t *bytes;
		size_t len;
		enum peek_answer answer;
		unsigned int route;
	} rows[] = {
		{ BYTES(""), PEEK_MORE, 0 },	       { BYTES("S"), PEEK_MORE, 0 },
		{ BYTES("SSH"), PEEK_MORE, 0 },	       { BYTES("SSH-"), PEEK_MORE, 0 }, /* SSH-1? */
		{ BYTES("SSH-2"), PEEK_MORE, 0 },      { BYTES("SSH-3"), PEEK_FOUND, 0 },
		{ BYTES("SSH-1"), PEEK_FOUND, 4 },     { BYTES("SSH-1.99"), PEEK_FOUND, 4 },
		{ BYTES("SSH-2.0-"), PEEK_MORE, 0 },   { BYTES("SSH-2.0-x"), PEEK_FOUND, 2 },
		{ BYTES("SSH-2.0-y"), PEEK_FOUND, 0 }, { BYTES("ssh-"), PEEK_OTHER, 0 },
		{ BYTES("\0"), PEEK_MORE, 0 },	       { BYTES("\0\1\2"), PEEK_FOUND, 3 },
		{ BYTES("\0\2"), PEEK_OTHER, 0 },      { BYTES("\xff"), PEEK_FOUND, 5 },
		{ BYTES("\xfe"), PEEK_OTHER, 0 },
	};
	struct words *words;

	(void)state;
	WORDS(&words, routes);
	for (size_t i = 0; i < COUNT(rows); i++) {
		_free_ uint8_t *copy = malloc(rows[i].len + 1);
		unsigned int route = 0;

		memcpy(copy, rows[i].bytes, rows[i].len);
		if (words_start(words, copy, rows[i].len, &route) != rows[i].answer ||
		    route != rows[i].route)
			fail_msg("row %zu", i);
	}
	words_free(words);
}

/* Against walking over all of them */
static void a_thousand_prefixes_are_searched_right(void **state)
{
	static struct config_route routes[1000];
	static char texts[COUNT(routes)][8];
	struct words *words;

	(void)state;
	srand(1);
	for (size_t i = 0; i < COUNT(routes); i++) {
		size_t len = 1 + (size_t)rand() % 5;

		for (size_t j = 0; j < len; j++)
			texts[i][j] = (char)('a' + rand() % 3);
		routes[i].starts = texts[i];
	}
	WORDS(&words, routes);
	for (int n = 0; n < 10000; n++) {
		uint8_t bytes[6];
		size_t len = 1 + (size_t)rand() % sizeof(bytes), longest = 0;
		enum peek_answer want = PEEK_OTHER;
		unsigned int route = 0;

		for (size_t j = 0; j < len; j++)
			bytes[j] = (uint8_t)('a' + rand() % 4);
		for (size_t i = 0; i < COUNT(routes); i++) {
			size_t word = strlen(texts[i]);

			if (memcmp(bytes, texts[i], word < len ? word : len))
				continue;
			if (word > len)
				want = PEEK_MORE;
			else if (want == PEEK_OTHER)
				want = PEEK_FOUND;
			if (word <= len && word > longest)
				longest = word;
		}
		assert_int_equal(words_start(words, bytes, len, &route), want);
		if (want == PEEK_FOUND)
			assert_int_equal(strlen(texts[route]), longest);
	}
	words_free(words);
}

static void escapes_are_bytes(void **state)
{
	static const struct {
		const char *text;
		const uint8_t *bytes;
		size_t len;
		const char *canon;
	} rows[] = {
		{ "SSH-", BYTES("SSH-"), "SSH-" },
		{ "\\x00\\xFf\\r\\n\\t\\0\\\\ ", BYTES("\0\xff\r\n\t\0\\ "),
		  "\\x00\\xff\\x0d\\x0a\\x09\\x00\\\\ " },
		{ "\\x41", BYTES("A"), "A" },
		{ "\\", BYTES(""), NULL },
		{ "\\x", BYTES(""), NULL },
		{ "\\x1", BYTES(""), NULL },
		{ "\\xg1", BYTES(""), NULL },
		{ "\\d", BYTES(""), NULL },
		{ "a\nb", BYTES(""), NULL },
	};
	uint8_t bytes[WORD_BYTES_MAX];
	char long_one[WORD_BYTES_MAX + 2];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		_free_ char *copy = strdup(rows[i].text), *canon = NULL;

		assert_int_equal(word_decode(copy, bytes), rows[i].len);
		assert_memory_equal(bytes, rows[i].bytes, rows[i].len);
		canon = word_encode(bytes, rows[i].len);
		assert_string_equal(canon, rows[i].canon ? rows[i].canon : "");
	}
	memset(long_one, 'a', sizeof(long_one));
	long_one[WORD_BYTES_MAX + 1] = '\0';
	assert_int_equal(word_decode(long_one, bytes), 0);
	assert_int_equal(word_decode(long_one + 1, bytes), WORD_BYTES_MAX);
}

/* ---- regexes ---- */

static void a_regex_is_decided_when_no_byte_can_change_it(void **state)
{
	static const struct config_route routes[] = {
		{ .regex = "BIN[0-9]+" },	 { .regex = "(USER|NICK) " },
		{ .regex = "(?s).{4}\\xffSMB" }, { .regex = "END$" },
		{ .regex = "\\0\\x01" },
	};
	static const struct {
		const uint8_t *bytes;
		size_t len;
		enum peek_answer answer;
		unsigned int route;
	} rows[] = {
		{ BYTES("B"), PEEK_MORE, 0 },
		{ BYTES("BIN"), PEEK_MORE, 0 },
		{ BYTES("BIN1"), PEEK_MORE, 0 }, /* more digits? */
		{ BYTES("BIN1 "), PEEK_FOUND, 0 },
		{ BYTES("xBIN1 "), PEEK_OTHER, 0 }, /* from the first byte on */
		{ BYTES("NICK"), PEEK_MORE, 0 },
		{ BYTES("NICK "), PEEK_FOUND, 1 },
		{ BYTES("\0"), PEEK_MORE, 0 }, /* nothing of .{4} is there yet */
		{ BYTES("\0\n\r\1\xffSM"), PEEK_MORE, 0 },
		{ BYTES("\0\n\r\1\xffSMB"), PEEK_FOUND, 2 },
		{ BYTES("END"), PEEK_MORE, 0 },
		{ BYTES("ENDxxxxx"), PEEK_OTHER, 0 },
		{ BYTES("\0\1xxxxxx"), PEEK_FOUND, 4 },
		{ BYTES("xxxxxxxx"), PEEK_OTHER, 0 },
	};
	struct words *words;

	(void)state;
	WORDS(&words, routes);
	for (size_t i = 0; i < COUNT(rows); i++) {
		_free_ uint8_t *copy = malloc(rows[i].len + 1);
		enum ladon_reason reason;
		unsigned int route = 0;

		memcpy(copy, rows[i].bytes, rows[i].len);
		if (words_match(words, copy, rows[i].len, &route, &reason) != rows[i].answer ||
		    route != rows[i].route)
			fail_msg("row %zu", i);
	}
	words_free(words);
}

/* (a+)+b: twice the time for each byte, if it may. */
static void a_regex_gives_up(void **state)
{
	static const struct config_route routes[] = { { .regex = "(a+)+\\n" } };
	uint8_t bytes[REGEX_BYTES_MAX + 10];
	enum ladon_reason reason = LADON_REASON_NONE;
	struct words *words;
	unsigned int route;

	(void)state;
	WORDS(&words, routes);
	memset(bytes, 'a', sizeof(bytes));
	assert_int_equal(words_match(words, bytes, 100, &route, &reason), PEEK_MORE);
	bytes[99] = 'b';
	assert_int_equal(words_match(words, bytes, 100, &route, &reason), PEEK_BAD);
	assert_int_equal(reason, LADON_REASON_REGEX_LIMIT);
	words_free(words);
}

static void a_regex_sees_the_first_bytes_only(void **state)
{
	static const struct config_route routes[] = { { .regex = "a*\\n" } };
	uint8_t bytes[REGEX_BYTES_MAX + 1];
	enum ladon_reason reason;
	struct words *words;
	unsigned int route;

	(void)state;
	WORDS(&words, routes);
	memset(bytes, 'a', sizeof(bytes));
	bytes[REGEX_BYTES_MAX] = '\n';
	assert_int_equal(words_match(words, bytes, REGEX_BYTES_MAX - 1, &route, &reason),
			 PEEK_MORE);
	assert_int_equal(words_match(words, bytes, REGEX_BYTES_MAX, &route, &reason), PEEK_OTHER);
	assert_int_equal(words_match(words, bytes, sizeof(bytes), &route, &reason), PEEK_OTHER);
	bytes[REGEX_BYTES_MAX - 1] = '\n';
	assert_int_equal(words_match(words, bytes, REGEX_BYTES_MAX, &route, &reason), PEEK_FOUND);
	words_free(words);
}

static void bad_regexes_are_told(void **state)
{
	char why[REGEX_WHY_MAX], long_one[REGEX_TEXT_MAX + 2];

	(void)state;
	assert_null(regex_fault("SSH-2\\.0-", why));
	assert_null(regex_fault("(?=SSH)", why));
	assert_non_null(
		strstr(regex_fault("a(b", why), "missing closing parenthesis (at character 4)"));
	assert_non_null(strstr(regex_fault("x*", why), "matches nothing at all"));
	assert_non_null(regex_fault("(*UTF)a", why));
	memset(long_one, 'a', sizeof(long_one));
	long_one[REGEX_TEXT_MAX + 1] = '\0';
	assert_non_null(regex_fault(long_one, why));
	assert_null(regex_fault(long_one + 1, why));
}

static void without_words_there_is_no_table(void **state)
{
	static const struct config_route routes[] = { { .tls = "*" }, { .pool = 0 } };
	struct words *words;

	(void)state;
	WORDS(&words, routes);
	assert_null(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_wins),
		cmocka_unit_test(a_thousand_prefixes_are_searched_right),
		cmocka_unit_test(escapes_are_bytes),
		cmocka_unit_test(a_regex_is_decided_when_no_byte_can_change_it),
		cmocka_unit_test(a_regex_gives_up),
		cmocka_unit_test(a_regex_sees_the_first_bytes_only),
		cmocka_unit_test(bad_regexes_are_told),
		cmocka_unit_test(without_words_there_is_no_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
