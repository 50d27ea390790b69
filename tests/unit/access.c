// SPDX-License-Identifier: GPL-2.0-only
/*
 * access.c - lines of the access log, where they go, and tickets
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../gateway/access.h"
#include "../../gateway/access_line.h"
#include "../../gateway/ticket.h"

/* ---- lines ---- */

static const struct access_line full = {
	.time_ms = 1764068656007,
	.duration_ms = 1500,
	.client = "192.0.2.7:40000",
	.listener = "0.0.0.0:443",
	.name = "example.org",
	.pool = "web",
	.backend = "[2001:db8::2]:443",
	.how = "handoff",
	.why = "slow_connect",
	.end = "reset",
	.by = "backend",
	.packets_in = 3,
	.bytes_in = 400,
	.packets_out = 5,
	.bytes_out = 6000,
	.client_rtt_us = 70,
	.backend_rtt_us = 8,
	.user = "me",
};
static const struct access_line refused = {
	.client = "192.0.2.7:40000",
	.listener = "0.0.0.0:443",
	.how = "none",
	.end = "no_route",
	.by = "ladon",
};

static void assert_line(const struct access_line *line, enum access_format format, const char *want)
{
	char out[ACCESS_LINE_MAX];
	size_t len = access_line_format(line, format, out);

	assert_int_equal(len, strlen(want));
	assert_memory_equal(out, want, len);
}

static void a_line_says_everything(void **state)
{
	(void)state;
	assert_line(&full, ACCESS_TEXT,
		    "time=2025-11-25T11:04:16.007Z client=192.0.2.7:40000 listener=0.0.0.0:443 "
		    "name=example.org pool=web backend=[2001:db8::2]:443 how=handoff "
		    "why=slow_connect end=reset by=backend duration_ms=1500 packets_in=3 "
		    "bytes_in=400 packets_out=5 bytes_out=6000 client_rtt_us=70 "
		    "backend_rtt_us=8 user=me\n");
	assert_line(
		&full, ACCESS_JSON,
		"{\"time\":\"2025-11-25T11:04:16.007Z\",\"client\":\"192.0.2.7:40000\","
		"\"listener\":\"0.0.0.0:443\",\"name\":\"example.org\",\"pool\":\"web\","
		"\"backend\":\"[2001:db8::2]:443\",\"how\":\"handoff\",\"why\":\"slow_connect\","
		"\"end\":\"reset\",\"by\":\"backend\",\"duration_ms\":1500,\"packets_in\":3,"
		"\"bytes_in\":400,\"packets_out\":5,\"bytes_out\":6000,\"client_rtt_us\":70,"
		"\"backend_rtt_us\":8,\"user\":\"me\"}\n");
}

static void what_is_unknown_has_a_hyphen_or_is_left_out(void **state)
{
	(void)state;
	assert_line(&refused, ACCESS_TEXT,
		    "time=1970-01-01T00:00:00.000Z client=192.0.2.7:40000 listener=0.0.0.0:443 "
		    "name=- pool=- backend=- how=none why=- end=no_route by=ladon duration_ms=0 "
		    "packets_in=- bytes_in=0 packets_out=- bytes_out=0 client_rtt_us=- "
		    "backend_rtt_us=- user=-\n");
	assert_line(&refused, ACCESS_JSON,
		    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"client\":\"192.0.2.7:40000\","
		    "\"listener\":\"0.0.0.0:443\",\"how\":\"none\",\"end\":\"no_route\","
		    "\"by\":\"ladon\",\"duration_ms\":0,\"bytes_in\":0,\"bytes_out\":0}\n");
}

/* Every byte there is, in one name: one line of JSON that gives it back. */
static void nothing_ends_a_line_or_a_value(void **state)
{
	char name[2] = "", out[ACCESS_LINE_MAX];
	struct access_line line = full;

	(void)state;
	line.name = name;
	for (int byte = 1; byte < 256; byte++) {
		json_t *parsed;
		size_t len;

		name[0] = (char)byte;
		len = access_line_format(&line, ACCESS_JSON, out);
		assert_ptr_equal(memchr(out, '\n', len), out + len - 1);
		parsed = json_loadb(out, len, 0, NULL);
		assert_non_null(parsed);
		if (byte < 128)
			assert_string_equal(json_string_value(json_object_get(parsed, "name")),
					    name);
		json_decref(parsed);
		len = access_line_format(&line, ACCESS_TEXT, out);
		assert_ptr_equal(memchr(out, '\n', len), out + len - 1);
		assert_null(memchr(out, '"', len));
	}
}

static void the_longest_line_fits(void **state)
{
	char worst[4096], out[ACCESS_LINE_MAX];
	struct access_line line = full;

	(void)state;
	memset(worst, '\n', sizeof(worst) - 1);
	worst[sizeof(worst) - 1] = '\0';
	line.client = line.listener = line.name = line.pool = line.backend = worst;
	line.how = line.why = line.end = line.by = line.user = worst;
	line.time_ms = line.duration_ms = line.bytes_in = line.bytes_out = UINT64_MAX / 1000;
	assert_true(access_line_format(&line, ACCESS_JSON, out) <= ACCESS_LINE_MAX);
	assert_true(access_line_format(&line, ACCESS_TEXT, out) <= ACCESS_LINE_MAX);
}

/* ---- the file ---- */

static char directory[32], path[64], moved[64];

static int setup(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/ladon-access-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/log", directory);
	snprintf(moved, sizeof(moved), "%s/log.1", directory);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(moved);
	return rmdir(directory);
}

static struct access *opened(const char *at)
{
	struct access *access;

	assert_int_equal(access_open(at, &access), 0);
	return access;
}

static void add(struct access *access, const char *text)
{
	access_add(access, text, strlen(text));
}

static struct access_counts counts(struct access *access)
{
	struct access_counts out;

	access_count(access, &out);
	return out;
}

static void until_counted(struct access *access, uint64_t written, uint64_t lost)
{
	for (int i = 0; i < 10000; i++) {
		if (counts(access).written == written && counts(access).lost == lost)
			return;
		usleep(1000);
	}
	fail_msg("%u written, %u lost", (unsigned int)counts(access).written,
		 (unsigned int)counts(access).lost);
}

static void assert_file(const char *at, const char *want)
{
	char text[256] = "";
	FILE *file = fopen(at, "r");

	assert_non_null(file);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, file), strlen(want));
	fclose(file);
	assert_string_equal(text, want);
}

static void lines_are_written_and_a_stop_writes_what_waits(void **state)
{
	struct access *access = opened(path);

	(void)state;
	add(access, "one\n");
	until_counted(access, 1, 0);
	add(access, "two\nthree\n");
	access_close(access);
	assert_file(path, "one\ntwo\nthree\n");
}

static void a_file_that_was_moved_is_opened_anew(void **state)
{
	struct access *access = opened(path);
	struct stat stat_now;

	(void)state;
	add(access, "one\n");
	until_counted(access, 1, 0);
	assert_int_equal(rename(path, moved), 0);
	add(access, "two\n");
	until_counted(access, 2, 0);
	access_reopen(access);
	for (int i = 0; i < 10000 && stat(path, &stat_now) < 0; i++)
		usleep(1000);
	add(access, "three\n");
	access_close(access);
	assert_file(moved, "one\ntwo\n");
	assert_file(path, "three\n");
}

static void a_file_that_cannot_be_opened_anew_is_kept(void **state)
{
	struct access *access = opened(path);

	(void)state;
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	access_reopen(access);
	add(access, "one\n");
	access_close(access);
	assert_file(moved, "one\n");
	assert_int_equal(rmdir(path), 0);
}

static void a_full_disk_loses_lines_and_nothing_else(void **state)
{
	struct access *access = opened("/dev/full");

	(void)state;
	add(access, "one\ntwo\n");
	until_counted(access, 0, 2);
	add(access, "three\n");
	until_counted(access, 0, 3);
	access_close(access);
}

static void a_pipe_that_nobody_reads_stops_nobody(void **state)
{
	char line[4096];
	struct access *access;
	int reader;

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(access_open(path, &access), -ENXIO);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	access = opened(path);
	/* The pipe, the batch that is being written, the one that is filled: more than all of them. */
	for (size_t n = 0; n < 2 * (size_t)ACCESS_BUFFER_BYTES + (1 << 20); n += sizeof(line))
		access_add(access, line, sizeof(line));
	assert_true(counts(access).lost > 0);
	access_close(access); /* comes back */
	close(reader);
}

static void a_directory_is_no_file(void **state)
{
	struct access *access;

	(void)state;
	assert_int_equal(access_open(directory, &access), -EISDIR);
}

/* ---- tickets ---- */

static void a_ticket_is_taken_once(void **state)
{
	struct tickets *tickets = tickets_new(2);
	struct ticket *ticket;

	(void)state;
	for (uint32_t id = 1; id < 100; id++) { /* many more than buckets */
		ticket = ticket_new("0.0.0.0:443", "web", id % 2 ? "example.org" : "", "me");
		ticket->id = id;
		tickets_leave(tickets, ticket);
	}
	tickets_note(tickets, 50, 7, 8);
	tickets_note(tickets, 1000, 7, 8); /* gone already */
	ticket = tickets_take(tickets, 50);
	assert_int_equal(ticket->id, 50);
	assert_int_equal(ticket->client_rtt_us, 7);
	assert_int_equal(ticket->backend_rtt_us, 8);
	assert_string_equal(ticket_listener(ticket), "0.0.0.0:443");
	assert_string_equal(ticket_pool(ticket), "web");
	assert_string_equal(ticket_name(ticket), "");
	free(ticket);
	assert_null(tickets_take(tickets, 50));
	ticket = tickets_take(tickets, 51);
	assert_string_equal(ticket_name(ticket), "example.org");
	assert_string_equal(ticket_user(ticket), "me");
	free(ticket);
	tickets_free(tickets); /* with the rest */
}

int main(void)
{
#define TEST(name)	cmocka_unit_test(name)
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(a_line_says_everything),
		TEST(what_is_unknown_has_a_hyphen_or_is_left_out),
		TEST(nothing_ends_a_line_or_a_value),
		TEST(the_longest_line_fits),
		FILE_TEST(lines_are_written_and_a_stop_writes_what_waits),
		FILE_TEST(a_file_that_was_moved_is_opened_anew),
		FILE_TEST(a_file_that_cannot_be_opened_anew_is_kept),
		FILE_TEST(a_full_disk_loses_lines_and_nothing_else),
		FILE_TEST(a_pipe_that_nobody_reads_stops_nobody),
		FILE_TEST(a_directory_is_no_file),
		TEST(a_ticket_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
