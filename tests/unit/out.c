/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.c - the same calls, as text and as JSON
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../cli/out.h"

/* What @print writes; to be freed. */
static char *printed(void (*print)(struct out *o), bool json)
{
	char *text = NULL;
	struct out o;
	size_t len;
	FILE *f;

	f = open_memstream(&text, &len);
	assert_non_null(f);
	out_init(&o, f, json);
	print(&o);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void check(void (*print)(struct out *o), bool json, const char *want)
{
	char *text = printed(print, json);

	assert_string_equal(text, want);
	free(text);
}

/* ---- units ---- */

static const struct {
	enum out_kind kind;
	uint64_t value;
	const char *text;
} values[] = {
	{ OUT_COUNT, UINT64_MAX, "18446744073709551615" },
	{ OUT_BYTES, 1023, "1023 B" },
	{ OUT_BYTES, 1024, "1.0 KiB" },
	{ OUT_BYTES, UINT64_MAX, "16777216.0 TiB" },
	{ OUT_BPS, 999, "999 bit/s" },
	{ OUT_BPS, 1500000, "1.5 Mbit/s" },
	{ OUT_NS, 999, "999 ns" },
	{ OUT_NS, 11200, "11.2 us" },
	{ OUT_MS, 999, "999ms" },
	{ OUT_MS, 1000, "1s" },
	{ OUT_MS, 80000, "1m20s" },
	{ OUT_MS, 3599999, "59m59s" },
	{ OUT_MS, 11520000, "3h12m" },
	{ OUT_MS, 86400000, "1d0h" },
	{ OUT_PERCENT, 96, "96 %" },
	{ OUT_FLAG, 1, "yes" },
	{ OUT_SWITCH, 0, "off" },
};

static size_t row;

static void print_value(struct out *o)
{
	out_open(o, NULL);
	out_u64(o, "v", values[row].kind, values[row].value);
	out_close(o);
}

static void values_get_the_unit_of_their_size(void **state)
{
	(void)state;
	for (row = 0; row < sizeof(values) / sizeof(values[0]); row++) {
		char want[64];

		snprintf(want, sizeof(want), "v  %s\n", values[row].text);
		check(print_value, false, want);
	}
}

/* ---- layout ---- */

static void print_all(struct out *o)
{
	out_open(o, NULL);
	out_u64(o, "uptime_ms", OUT_MS, 80000);
	out_open(o, "relay");
	out_u64(o, "bytes_in", OUT_BYTES, 2048);
	out_close(o);
	out_list(o, "flows");
	for (uint64_t i = 9; i <= 10; i++) {
		out_open(o, NULL);
		out_str(o, "client", i == 9 ? "a" : "long \"name\"");
		out_u64(o, "id", OUT_COUNT, i);
		out_close(o);
	}
	out_end(o);
	out_map(o, "reasons", "reason");
	out_open(o, "ttl");
	out_u64(o, "count", OUT_COUNT, 3);
	out_close(o);
	out_end(o);
	out_close(o);
}

static void text_is_lines_and_tables(void **state)
{
	(void)state;
	check(print_all, false,
	      "uptime          1m20s\n"
	      "relay bytes in  2.0 KiB\n"
	      "\n"
	      "client       id\n"
	      "a             9\n"
	      "long \"name\"  10\n"
	      "\n"
	      "reason  count\n"
	      "ttl         3\n");
}

static void json_is_one_line_of_base_units(void **state)
{
	(void)state;
	check(print_all, true,
	      "{\"uptime_ms\": 80000, \"relay\": {\"bytes_in\": 2048}, "
	      "\"flows\": [{\"client\": \"a\", \"id\": 9}, "
	      "{\"client\": \"long \\\"name\\\"\", \"id\": 10}], "
	      "\"reasons\": {\"ttl\": {\"count\": 3}}}\n");
}

static void print_nested(struct out *o)
{
	out_open(o, NULL);
	out_list(o, "pools");
	for (int i = 0; i < 2; i++) {
		out_open(o, NULL);
		out_str(o, "name", i ? "b" : "a");
		out_list(o, "backends");
		out_open(o, NULL);
		out_str(o, "backend", "x");
		out_close(o);
		out_end(o);
		out_close(o);
	}
	out_end(o);
	out_close(o);
}

static void a_row_with_a_list_becomes_a_block(void **state)
{
	(void)state;
	check(print_nested, false, "name  a\n\nbackend\nx\n\nname  b\n\nbackend\nx\n");
	check(print_nested, true,
	      "{\"pools\": [{\"name\": \"a\", \"backends\": [{\"backend\": \"x\"}]}, "
	      "{\"name\": \"b\", \"backends\": [{\"backend\": \"x\"}]}]}\n");
}

static void print_many(struct out *o)
{
	out_open(o, NULL);
	out_list(o, "rows");
	for (uint64_t i = 0; i < 3 * OUT_ROWS_MAX; i++) {
		out_open(o, NULL);
		out_u64(o, "id", OUT_COUNT, i);
		out_close(o);
	}
	out_end(o);
	out_close(o);
}

static void a_long_list_has_one_heading_and_all_rows(void **state)
{
	char *text = printed(print_many, false);
	size_t lines = 0;

	(void)state;
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, 3 * OUT_ROWS_MAX + 1);
	free(text);
}

/* ---- copying from a document ---- */

static void print_copy(struct out *o)
{
	static const struct out_field fields[] = {
		{ "state", OUT_TEXT, NULL },	  { "pool", OUT_TEXT, NULL },
		{ "hidden", OUT_COUNT, "" },	  { "on", OUT_SWITCH, "handoff" },
		{ "addresses", OUT_ARRAY, NULL },
	};
	json_t *from = json_pack("{s:s, s:i, s:b, s:[s, s]}", "state", "a\033[2Jb", "hidden", 1,
				 "on", 1, "addresses", "x", "y");

	out_open(o, NULL);
	out_list(o, "rows");
	out_open(o, NULL);
	out_fields(o, from, fields, sizeof(fields) / sizeof(fields[0]));
	out_close(o);
	out_end(o);
	out_close(o);
	json_decref(from);
}

static void what_is_missing_keeps_its_column_and_moves_no_cursor(void **state)
{
	(void)state;
	check(print_copy, false,
	      "state   pool  handoff  addresses\n"
	      "a?[2Jb  -     on       x, y\n");
	check(print_copy, true,
	      "{\"rows\": [{\"state\": \"a\\u001B[2Jb\", \"hidden\": 1, \"on\": true, "
	      "\"addresses\": [\"x\", \"y\"]}]}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_get_the_unit_of_their_size),
		cmocka_unit_test(text_is_lines_and_tables),
		cmocka_unit_test(json_is_one_line_of_base_units),
		cmocka_unit_test(a_row_with_a_list_becomes_a_block),
		cmocka_unit_test(a_long_list_has_one_heading_and_all_rows),
		cmocka_unit_test(what_is_missing_keeps_its_column_and_moves_no_cursor),
	};

	return cmocka_run_group_tests_name("out", tests, NULL, NULL);
}
