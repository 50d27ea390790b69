// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek.c - first bytes as clients, odd clients and attackers send them
 *
 * Hellos are built here from a recipe, then cut into records; every peeker gets
 * a copy of exactly the length it was told, so that AddressSanitizer sees a
 * read past it, and a hello full of rubbish, so that a field left out shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../base/own.h"
#include "../../gateway/peek.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RUBBISH	     0xa5
#define MALFORMED    LADON_REASON_PEEK_MALFORMED
#define LENGTH	     LADON_REASON_PEEK_LENGTH
#define SEVERAL	     LADON_REASON_SEVERAL_NAMES

typedef enum peek_answer (*peeker_fn)(const uint8_t *, size_t, struct hello *);

static enum peek_answer peek_any(const uint8_t *bytes, size_t len, struct hello *out)
{
	return peek_first(NULL, NULL, bytes, len, out);
}

static enum peek_answer peek(peeker_fn peeker, const void *bytes, size_t len, struct hello *out)
{
	_free_ uint8_t *copy = malloc(len ? len : 1);
	static struct hello untouched;
	enum peek_answer answer;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(out, RUBBISH, sizeof(*out));
	memset(&untouched, RUBBISH, sizeof(untouched));
	answer = peeker(copy, len, out);
	if (answer == PEEK_MORE || answer == PEEK_OTHER)
		assert_memory_equal(out, &untouched, sizeof(*out));
	return answer;
}

static void expect_hello(const struct hello *hello, enum peek_protocol protocol, const char *name,
			 const char *path)
{
	assert_int_equal(hello->protocol, protocol);
	assert_int_equal(hello->reason, LADON_REASON_NONE);
	assert_int_equal(hello->alert, 0);
	assert_string_equal(hello->name, name);
	assert_string_equal(hello->path, path);
}

static void expect_bad(const struct hello *hello, enum peek_protocol protocol,
		       enum ladon_reason reason, uint8_t alert)
{
	assert_int_equal(hello->protocol, protocol);
	assert_int_equal(hello->reason, reason);
	assert_int_equal(hello->alert, alert);
	assert_string_equal(hello->name, "");
	assert_string_equal(hello->path, "");
	assert_int_equal(hello->alpn_len, 0);
	assert_false(hello->has_ech);
}

/* Every true prefix: right so far, needs more. */
static void expect_more_until(peeker_fn peeker, const uint8_t *bytes, size_t len)
{
	struct hello hello;

	for (size_t i = 0; i < len; i++)
		if (peek(peeker, bytes, i, &hello) != PEEK_MORE)
			fail_msg("not PEEK_MORE with %zu of %zu bytes", i, len);
}

/* ---- building hellos ---- */

struct buffer {
	size_t len;
	uint8_t at[128 * 1024];
};

static void put(struct buffer *b, const void *bytes, size_t len)
{
	assert_true(len <= sizeof(b->at) - b->len);
	memcpy(b->at + b->len, bytes, len);
	b->len += len;
}

static void put_number(struct buffer *b, size_t value, size_t width)
{
	while (width--) {
		uint8_t byte = (uint8_t)(value >> 8 * width);

		put(b, &byte, 1);
	}
}

static void put_zeros(struct buffer *b, size_t n)
{
	while (n--)
		put_number(b, 0, 1);
}

/* A vector's length, of @width bytes, filled in by vector_close(). */
static size_t vector_open(struct buffer *b, size_t width)
{
	put_number(b, 0, width);
	return b->len;
}

static void vector_close(struct buffer *b, size_t start, size_t width)
{
	size_t end = b->len;

	b->len = start - width;
	put_number(b, end - start, width);
	b->len = end;
}

static void put_extension(struct buffer *b, unsigned int type, const void *bytes, size_t len)
{
	put_number(b, type, 2);
	put_number(b, len, 2);
	put(b, bytes, len);
}

static void put_server_name(struct buffer *b, const char *name)
{
	size_t len = strlen(name);

	put_number(b, 0, 2);
	put_number(b, len + 5, 2);
	put_number(b, len + 3, 2);
	put_number(b, 0, 1);
	put_number(b, len, 2);
	put(b, name, len);
}

struct recipe {
	const char *name;     /* NULL: no such extension */
	const char *alpn;     /* entries with length bytes; NULL */
	size_t key_share_len; /* 0: no such extension */
	bool has_grease;      /* RFC 8701, in all five places */
	bool has_ech;
	bool resumes;	 /* session id, early data, and pre_shared_key at the end */
	bool is_old;	 /* no extensions at all, not even an empty list */
	const char *raw; /* further extensions, as they are */
	size_t raw_len;
};

static void put_extensions(struct buffer *b, const struct recipe *r)
{
	size_t all = vector_open(b, 2);

	if (r->has_grease)
		put_extension(b, 0x3a3a, "", 0);
	if (r->name)
		put_server_name(b, r->name);
	put_extension(b, 10, "\x00\x06\xca\xca\x11\xec\x00\x1d",
		      8); /* groups: GREASE, X25519MLKEM768 */
	if (r->alpn) {
		size_t len = strlen(r->alpn);

		put_number(b, 16, 2);
		put_number(b, len + 2, 2);
		put_number(b, len, 2);
		put(b, r->alpn, len);
	}
	put_extension(b, 43, "\x06\x2a\x2a\x03\x04\x03\x03", 7); /* versions: GREASE, 1.3, 1.2 */
	if (r->has_ech)
		put_extension(b, 0xfe0d, "\x00\x00\x01\x00\x01\x07\x00\x00\x00\x00", 10);
	if (r->key_share_len) {
		size_t share;

		put_number(b, 51, 2);
		share = vector_open(b, 2);
		put_zeros(b, r->key_share_len);
		vector_close(b, share, 2);
	}
	if (r->raw)
		put(b, r->raw, r->raw_len);
	if (r->has_grease)
		put_extension(b, 0xdada, "\x00", 1);
	if (r->resumes) {
		put_extension(b, 42, "", 0);
		put_extension(b, 41, "\x00\x07\x00\x01\x61\x00\x00\x00\x00\x00\x02\x01\x62", 13);
	}
	vector_close(b, all, 2);
}

/* The handshake message, without records. */
static void build(struct buffer *b, const struct recipe *r)
{
	size_t message;

	b->len = 0;
	put_number(b, 1, 1);
	message = vector_open(b, 3);
	put_number(b, 0x0303, 2);
	put_zeros(b, 32);
	put_number(b, r->resumes ? 32 : 0, 1);
	put_zeros(b, r->resumes ? 32 : 0);
	put(b, r->has_grease ? "\x00\x04\x5a\x5a\x13\x01" : "\x00\x04\x13\x02\x13\x01", 6);
	put(b, "\x01\x00", 2);
	if (!r->is_old)
		put_extensions(b, r);
	vector_close(b, message, 3);
}

/* Cut a message into records of @first, then of @others bytes (at most 2^14). */
static void wrap(struct buffer *out, const struct buffer *message, size_t first, size_t others)
{
	size_t at = 0;

	out->len = 0;
	while (at < message->len) {
		size_t n = at ? others : first;

		if (n > message->len - at)
			n = message->len - at;
		put(out, "\x16\x03\x01", 3);
		put_number(out, n, 2);
		put(out, message->at + at, n);
		at += n;
	}
}

#define RECORD_MAX 16384

/* Too large for the stack under AddressSanitizer. */
static struct buffer message, flight;

/* ---- TLS ---- */

static const struct {
	const char *what;
	struct recipe recipe;
	const char *name;
	const char *offers;
} hellos[] = {
	{ "plain", { .name = "example.org" }, "example.org", NULL },
	{ "upper case", { .name = "WWW.Example.ORG" }, "www.example.org", NULL },
	{ "root dot", { .name = "example.org." }, "example.org", NULL },
	{ "underscore", { .name = "_x-1.example.org" }, "_x-1.example.org", NULL },
	{ "one label", { .name = "localhost" }, "localhost", NULL },
	{ "no server name", { .alpn = "\x02h2" }, "", "h2" },
	{ "no extensions at all", { .is_old = true }, "", NULL },
	{ "IPv4 literal names nothing", { .name = "192.0.2.1" }, "", NULL },
	{ "IPv6 literal names nothing", { .name = "2001:db8::1" }, "", NULL },
	{ "almost an IPv4 literal", { .name = "192.0.2.1.x" }, "192.0.2.1.x", NULL },
	{ "two protocols", { .name = "a.b", .alpn = "\x02h2\x08http/1.1" }, "a.b", "http/1.1" },
	{ "GREASE protocol", { .name = "a.b", .alpn = "\x02\x0a\x0a\x02h2" }, "a.b", "h2" },
	{ "GREASE", { .name = "a.b", .has_grease = true, .alpn = "\x02h2" }, "a.b", "h2" },
	{ "ECH", { .name = "outer.example", .has_ech = true }, "outer.example", NULL },
	{ "ECH without a name", { .has_ech = true }, "", NULL },
	{ "early data", { .name = "a.b", .resumes = true }, "a.b", NULL },
	{ "post-quantum", { .name = "a.b", .key_share_len = 1216 }, "a.b", NULL },
	{ "large post-quantum", { .name = "a.b", .key_share_len = 15000 }, "a.b", NULL },
	{ "all of it",
	  { .name = "a.b",
	    .alpn = "\x02h2\x08http/1.1",
	    .key_share_len = 1500,
	    .has_grease = true,
	    .has_ech = true,
	    .resumes = true },
	  "a.b",
	  "h2" },
};

static void expect_row(size_t i, const struct buffer *bytes)
{
	struct hello hello;

	if (peek(peek_tls, bytes->at, bytes->len, &hello) != PEEK_FOUND)
		fail_msg("%s: not found", hellos[i].what);
	expect_hello(&hello, PEEK_PROTOCOL_TLS, hellos[i].name, "");
	assert_int_equal(hello.has_ech, hellos[i].recipe.has_ech);
	if (hellos[i].offers)
		assert_true(hello_offers(&hello, hellos[i].offers));
	assert_int_equal(hello.alpn_len, hellos[i].recipe.alpn ? strlen(hellos[i].recipe.alpn) : 0);
}

static void test_hellos(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hellos); i++) {
		build(&message, &hellos[i].recipe);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		expect_row(i, &flight);
	}
}

static void test_every_prefix_needs_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hellos); i++) {
		build(&message, &hellos[i].recipe);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		expect_more_until(peek_tls, flight.at, flight.len);
		if (flight.len < 4096)
			expect_more_until(peek_any, flight.at, flight.len);
	}
}

static void test_every_split_into_two_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hellos); i++) {
		build(&message, &hellos[i].recipe);
		if (message.len > 4096)
			continue;
		for (size_t first = 1; first < message.len; first++) {
			wrap(&flight, &message, first, RECORD_MAX);
			expect_row(i, &flight);
		}
	}
}

static void test_small_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hellos); i++) {
		build(&message, &hellos[i].recipe);
		for (size_t size = 1; size < 40; size++) {
			wrap(&flight, &message, size, size);
			if (flight.len > PEEK_BYTES_MAX)
				continue;
			expect_row(i, &flight);
			if (size % 13 == 1)
				expect_more_until(peek_tls, flight.at, flight.len);
		}
	}
}

static void test_what_follows_the_hello(void **state)
{
	const struct recipe recipe = { .name = "example.org" };
	struct hello hello;

	(void)state;
	build(&message, &recipe);
	put(&message, "\x0b\x00\x00\x01", 4); /* coalesced into the same record */
	wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
	assert_int_equal(peek(peek_tls, flight.at, flight.len - 4, &hello), PEEK_FOUND);
	expect_hello(&hello, PEEK_PROTOCOL_TLS, "example.org", "");

	put(&flight,
	    "\x17\x03\x03\x00\x0a"
	    "early data",
	    15);
	assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
	expect_hello(&hello, PEEK_PROTOCOL_TLS, "example.org", "");
}

static void test_hello_as_long_as_possible(void **state)
{
	struct recipe recipe = { .name = "a.b", .key_share_len = 1 };
	const size_t headers = 10; /* two records */
	struct hello hello;

	(void)state;
	build(&message, &recipe);
	recipe.key_share_len += PEEK_BYTES_MAX - headers - message.len;
	build(&message, &recipe);
	wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
	assert_int_equal(flight.len, PEEK_BYTES_MAX);
	assert_int_equal(peek(peek_tls, flight.at, flight.len - 1, &hello), PEEK_MORE);
	assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
	expect_hello(&hello, PEEK_PROTOCOL_TLS, "a.b", "");

	recipe.key_share_len++;
	build(&message, &recipe);
	wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
	assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_BAD);
	expect_bad(&hello, PEEK_PROTOCOL_TLS, LENGTH, TLS_ALERT_DECODE_ERROR);
}

static void test_more_records_than_the_limit_holds(void **state)
{
	const struct recipe recipe = { .key_share_len = 4000 };
	struct hello hello;

	(void)state;
	build(&message, &recipe);
	wrap(&flight, &message, 1, 1);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX - 1, &hello), PEEK_MORE);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX, &hello), PEEK_BAD);
	expect_bad(&hello, PEEK_PROTOCOL_TLS, LENGTH, TLS_ALERT_DECODE_ERROR);
	assert_int_equal(peek(peek_any, flight.at, flight.len, &hello), PEEK_BAD);
}

/* Refused as soon as the last byte of the row has come, and not before. */
static void test_refused_early(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
		enum ladon_reason reason;
		uint8_t alert;
	} rows[] = {
#define ROW(what, bytes, reason, alert) { what, bytes, sizeof(bytes) - 1, reason, alert }
		ROW("empty record", "\x16\x03\x01\x00\x00", MALFORMED, 10),
		ROW("record too long", "\x16\x03\x01\x40\x01", MALFORMED, 22),
		ROW("a server hello", "\x16\x03\x01\x00\x40\x02", MALFORMED, 10),
		ROW("hello request", "\x16\x03\x01\x00\x04\x00", MALFORMED, 10),
		ROW("hello too short", "\x16\x03\x01\x00\x40\x01\x00\x00\x28", MALFORMED, 50),
		ROW("hello too long", "\x16\x03\x01\x00\x40\x01\x00\x4f\xf3", LENGTH, 50),
		ROW("hello of 16 MB", "\x16\x03\x01\x00\x40\x01\xff\xff\xff", LENGTH, 50),
		ROW("alert between records", "\x16\x03\x01\x00\x01\x01\x15", MALFORMED, 10),
		ROW("other version between", "\x16\x03\x01\x00\x01\x01\x16\x02", MALFORMED, 70),
		ROW("empty second record", "\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00",
		    MALFORMED, 10),
		ROW("length over two records",
		    "\x16\x03\x01\x00\x02\x01\x01\x16\x03\x03\x00\x09\x00\x00", LENGTH, 50),
#undef ROW
	};
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		expect_more_until(peek_tls, (const uint8_t *)rows[i].bytes, rows[i].len);
		if (peek(peek_any, rows[i].bytes, rows[i].len, &hello) != PEEK_BAD)
			fail_msg("%s: not refused", rows[i].what);
		expect_bad(&hello, PEEK_PROTOCOL_TLS, rows[i].reason, rows[i].alert);
	}
}

#define EXT(bytes) bytes, sizeof(bytes) - 1

/* Extensions as raw bytes; @name NULL: refused. */
static const struct {
	const char *what, *raw;
	size_t raw_len;
	const char *name;
	enum ladon_reason reason;
	uint8_t alert;
} extensions[] = {
	/* clang-format off */
	{ "as it should be", EXT("\0\0\0\x08\0\x06\0\0\x03" "a.b"), "a.b", 0, 0 },
	{ "two names", EXT("\0\0\0\x0c\0\x0a\0\0\x02" "aa" "\0\0\x02" "bb"), NULL, SEVERAL, 47 },
	{ "the same name twice", EXT("\0\0\0\x0a\0\x08\0\0\x01" "a" "\0\0\x01" "a"), NULL, SEVERAL, 47 },
	{ "a literal and a name", EXT("\0\0\0\x0f\0\x0d\0\0\x06" "::1234" "\0\0\x01" "a"), NULL, SEVERAL, 47 },
	{ "another type before", EXT("\0\0\0\x0c\0\x0a\x07\0\x02" "??" "\0\0\x02" "bb"), "bb", 0, 0 },
	{ "another type after", EXT("\0\0\0\x0b\0\x09\0\0\x02" "bb" "\xff\0\x01?"), "bb", 0, 0 },
	{ "only another type", EXT("\0\0\0\x07\0\x05\x01\0\x02" "??"), "", 0, 0 },
	{ "empty extension", EXT("\0\0\0\0"), NULL, MALFORMED, 50 },
	{ "empty list", EXT("\0\0\0\x02\0\0"), NULL, MALFORMED, 50 },
	{ "empty name", EXT("\0\0\0\x05\0\x03\0\0\0"), NULL, MALFORMED, 50 },
	{ "list longer than extension", EXT("\0\0\0\x08\0\x07\0\0\x03" "a.b"), NULL, MALFORMED, 50 },
	{ "list shorter than extension", EXT("\0\0\0\x09\0\x06\0\0\x03" "a.b?"), NULL, MALFORMED, 50 },
	{ "name longer than list", EXT("\0\0\0\x08\0\x06\0\0\x04" "a.b"), NULL, MALFORMED, 50 },
	{ "name shorter than list", EXT("\0\0\0\x08\0\x06\0\0\x02" "a.b"), NULL, MALFORMED, 50 },
	{ "extension cut off", EXT("\0\0\0\x09\0\x06\0\0\x03" "a.b"), NULL, MALFORMED, 50 },
	{ "length cut off", EXT("\0\0\0"), NULL, MALFORMED, 50 },
	{ "type cut off", EXT("\0"), NULL, MALFORMED, 50 },
	{ "NUL in the name", EXT("\0\0\0\x0a\0\x08\0\0\x05" "a.b\0c"), NULL, MALFORMED, 47 },
	{ "NUL after a literal", EXT("\0\0\0\x0c\0\x0a\0\0\x07" "1.2.3.4"), "", 0, 0 },
	{ "NUL hides what follows", EXT("\0\0\0\x0e\0\x0c\0\0\x09" "1.2.3.4\0x"), NULL, MALFORMED, 47 },
	{ "space", EXT("\0\0\0\x08\0\x06\0\0\x03" "a b"), NULL, MALFORMED, 47 },
	{ "slash", EXT("\0\0\0\x08\0\x06\0\0\x03" "a/b"), NULL, MALFORMED, 47 },
	{ "star", EXT("\0\0\0\x08\0\x06\0\0\x03" "*.b"), NULL, MALFORMED, 47 },
	{ "UTF-8", EXT("\0\0\0\x08\0\x06\0\0\x03" "a\xc3\xa4"), NULL, MALFORMED, 47 },
	{ "leading dot", EXT("\0\0\0\x08\0\x06\0\0\x03" ".ab"), NULL, MALFORMED, 47 },
	{ "empty label", EXT("\0\0\0\x09\0\x07\0\0\x04" "a..b"), NULL, MALFORMED, 47 },
	{ "two root dots", EXT("\0\0\0\x08\0\x06\0\0\x03" "a.."), NULL, MALFORMED, 47 },
	{ "only the root", EXT("\0\0\0\x06\0\x04\0\0\x01" "."), NULL, MALFORMED, 47 },
	{ "bracketed literal", EXT("\0\0\0\x0a\0\x08\0\0\x05" "[::1]"), NULL, MALFORMED, 47 },
	{ "server name twice", EXT("\0\0\0\x06\0\x04\0\0\x01" "a" "\0\0\0\x06\0\x04\0\0\x01" "a"), NULL, MALFORMED, 47 },
	{ "unknown type twice", EXT("\xab\xcd\0\0" "\xab\xcd\0\0"), NULL, MALFORMED, 47 },
	{ "highest type twice", EXT("\xff\xff\0\0" "\xff\xff\0\0"), NULL, MALFORMED, 47 },
	{ "types that share a low byte", EXT("\x01\x20\0\0" "\x02\x20\0\0" "\0\x20\0\0"), "", 0, 0 },
	{ "ALPN empty", EXT("\0\x10\0\0"), NULL, MALFORMED, 50 },
	{ "ALPN list empty", EXT("\0\x10\0\x02\0\0"), NULL, MALFORMED, 50 },
	{ "ALPN name empty", EXT("\0\x10\0\x03\0\x01\0"), NULL, MALFORMED, 50 },
	{ "ALPN name too long", EXT("\0\x10\0\x05\0\x03\x03" "h2"), NULL, MALFORMED, 50 },
	{ "ALPN list too long", EXT("\0\x10\0\x05\0\x04\x02" "h2"), NULL, MALFORMED, 50 },
	{ "ALPN list too short", EXT("\0\x10\0\x06\0\x03\x02" "h2?"), NULL, MALFORMED, 50 },
	{ "ECH empty", EXT("\xfe\x0d\0\0"), NULL, MALFORMED, 50 },
	{ "an inner hello in the open", EXT("\xfe\x0d\0\x01\x01"), "", 0, 0 },
	/* clang-format on */
};

static void test_extensions(void **state)
{
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(extensions); i++) {
		const struct recipe recipe = { .raw = extensions[i].raw, .raw_len = extensions[i].raw_len };
		enum peek_answer answer;

		build(&message, &recipe);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		expect_more_until(peek_tls, flight.at, flight.len);
		answer = peek(peek_tls, flight.at, flight.len, &hello);
		if (answer != (extensions[i].name ? PEEK_FOUND : PEEK_BAD) ||
		    hello.reason != extensions[i].reason || hello.alert != extensions[i].alert)
			fail_msg("%s: answer %d, %d, alert %d", extensions[i].what, answer, hello.reason,
				 hello.alert);
		if (!extensions[i].name)
			expect_bad(&hello, PEEK_PROTOCOL_TLS, extensions[i].reason, extensions[i].alert);
		else
			expect_hello(&hello, PEEK_PROTOCOL_TLS, extensions[i].name, "");
		assert_false(hello.has_ech);
	}
}

/* What stands behind the random. */
static void test_fields_before_the_extensions(void **state)
{
	static const struct {
		const char *what, *raw;
		size_t raw_len;
		enum peek_answer answer;
	} rows[] = {
		/* clang-format off */
		{ "shortest", EXT("\0" "\0\x02\x13\x01" "\x01\0"), PEEK_FOUND },
		{ "empty extensions", EXT("\0" "\0\x02\x13\x01" "\x01\0" "\0\0"), PEEK_FOUND },
		{ "two compression methods", EXT("\0" "\0\x02\x13\x01" "\x02\0\x01"), PEEK_FOUND },
		{ "longest session id", EXT("\x20" "0123456789abcdef0123456789abcdef" "\0\x02\x13\x01" "\x01\0"), PEEK_FOUND },
		{ "session id too long", EXT("\x21" "0123456789abcdef0123456789abcdef?" "\0\x02\x13\x01" "\x01\0"), PEEK_BAD },
		{ "session id past the end", EXT("\xff" "\0\x02\x13\x01" "\x01\0"), PEEK_BAD },
		{ "no cipher suites", EXT("\0" "\0\0" "\x01\0" "\0\0"), PEEK_BAD },
		{ "half a cipher suite", EXT("\0" "\0\x03\x13\x01\x13" "\x01\0"), PEEK_BAD },
		{ "cipher suites past the end", EXT("\0" "\0\x06\x13\x01" "\x01\0"), PEEK_BAD },
		{ "no compression method", EXT("\0" "\0\x02\x13\x01" "\0" "\0\0"), PEEK_BAD },
		{ "compression methods past the end", EXT("\0" "\0\x02\x13\x01" "\x02\0"), PEEK_BAD },
		{ "compression methods missing", EXT("\0" "\0\x04\x13\x01\x13\x02"), PEEK_BAD },
		{ "half a length of extensions", EXT("\0" "\0\x02\x13\x01" "\x01\0" "\0"), PEEK_BAD },
		{ "extensions too long", EXT("\0" "\0\x02\x13\x01" "\x01\0" "\0\x05\0\x17\0\0"), PEEK_BAD },
		{ "extensions too short", EXT("\0" "\0\x02\x13\x01" "\x01\0" "\0\x04\0\x17\0\0?"), PEEK_BAD },
		/* clang-format on */
	};
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		message.len = 0;
		put(&message, "\x01\x00", 2);
		put_number(&message, 34 + rows[i].raw_len, 2);
		put(&message, "\x03\x03", 2);
		put_zeros(&message, 32);
		put(&message, rows[i].raw, rows[i].raw_len);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		expect_more_until(peek_tls, flight.at, flight.len);
		if (peek(peek_tls, flight.at, flight.len, &hello) != rows[i].answer)
			fail_msg("%s", rows[i].what);
		if (rows[i].answer == PEEK_BAD)
			expect_bad(&hello, PEEK_PROTOCOL_TLS, MALFORMED, TLS_ALERT_DECODE_ERROR);
		else
			expect_hello(&hello, PEEK_PROTOCOL_TLS, "", "");
	}
}

static void test_versions_say_nothing(void **state)
{
	const struct recipe recipe = { .name = "a.b" };
	struct hello hello;

	(void)state;
	build(&message, &recipe);
	wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
	for (unsigned int minor = 0; minor < 256; minor++) {
		flight.at[2] = (uint8_t)minor;	 /* of the record */
		flight.at[10] = (uint8_t)~minor; /* of the hello */
		assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
		expect_hello(&hello, PEEK_PROTOCOL_TLS, "a.b", "");
	}
}

static void test_name_lengths(void **state)
{
	char name[300];
	const struct recipe recipe = { .name = name };
	struct hello hello;

	(void)state;
	for (size_t len = 250; len < sizeof(name); len++) {
		memset(name, 'a', len);
		name[len] = '\0';
		build(&message, &recipe);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		if (len < PEEK_NAME_MAX) {
			assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
			expect_hello(&hello, PEEK_PROTOCOL_TLS, name, "");
		} else {
			assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_BAD);
			expect_bad(&hello, PEEK_PROTOCOL_TLS, MALFORMED, 47);
		}
	}
}

/* More than fits: whole entries are kept, none behind the first that is not. */
static void test_long_alpn_list(void **state)
{
	char list[2 * 256 + 3 + 1] = "";
	const struct recipe recipe = { .alpn = list };
	struct hello hello;

	(void)state;
	for (int len = 240; len < 256; len++) {
		memset(list, 'x', sizeof(list));
		list[0] = (char)len;
		memcpy(list + 1 + len, "\x08http/1.1\x02h2", 13);
		build(&message, &recipe);
		wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
		assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
		assert_int_equal(hello.alpn_len,
				 1 + len + (len <= 246 ? 9 : 0) + (len <= 243 ? 3 : 0));
		assert_memory_equal(hello.alpn, list, hello.alpn_len);
		assert_int_equal(hello_offers(&hello, "http/1.1"), len <= 246);
		assert_int_equal(hello_offers(&hello, "h2"), len <= 243);
	}
}

static void test_offers_whole_names_only(void **state)
{
	const struct recipe recipe = { .alpn = "\x02h2\x08http/1.1" };
	struct hello hello;

	(void)state;
	build(&message, &recipe);
	wrap(&flight, &message, RECORD_MAX, RECORD_MAX);
	assert_int_equal(peek(peek_tls, flight.at, flight.len, &hello), PEEK_FOUND);
	assert_true(hello_offers(&hello, "h2"));
	assert_true(hello_offers(&hello, "http/1.1"));
	assert_false(hello_offers(&hello, "h"));
	assert_false(hello_offers(&hello, "h2c"));
	assert_false(hello_offers(&hello, "H2"));
	assert_false(hello_offers(&hello, "http/1"));
	assert_false(hello_offers(&hello, ""));
}

static void test_alert(void **state)
{
	static const uint8_t expected[] = { 0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x70 };
	uint8_t out[7];

	(void)state;
	assert_int_equal(peek_alert(TLS_ALERT_UNRECOGNIZED_NAME, out), 7);
	assert_memory_equal(out, expected, 7);
}

/* ---- HTTP ---- */

#define GET "GET / HTTP/1.1\r\n"

/* What a head with its empty line says. */
static void test_heads(void **state)
{
	static const struct {
		const char *what, *head, *name, *path;
	} rows[] = {
		{ "plain", GET "Host: example.org\r\n\r\n", "example.org", "/" },
		{ "version 1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", "", "/a" },
		{ "no Host", GET "Accept: */*\r\n\r\n", "", "/" },
		{ "empty Host", GET "Host:\r\n\r\n", "", "/" },
		{ "Host of spaces", GET "Host: \t \r\n\r\n", "", "/" },
		{ "field name in any case", GET "hOsT:a.b\r\n\r\n", "a.b", "/" },
		{ "spaces around", GET "Host: \t a.b\t \r\n\r\n", "a.b", "/" },
		{ "Host last", GET "A: b\r\nC: d\r\nHost: a.b\r\n\r\n", "a.b", "/" },
		{ "other field has it in its name", GET "X-Host: x\r\nHosts: y\r\n\r\n", "", "/" },
		{ "upper case, root dot, port", GET "Host: A.B.:8080\r\n\r\n", "a.b", "/" },
		{ "empty port", GET "Host: a.b:\r\n\r\n", "a.b", "/" },
		{ "IPv4", GET "Host: 192.0.2.1:80\r\n\r\n", "192.0.2.1", "/" },
		{ "IPv6", GET "Host: [2001:DB8::1]:80\r\n\r\n", "[2001:db8::1]", "/" },
		{ "IPv6 without port", GET "Host: [::1]\r\n\r\n", "[::1]", "/" },
		{ "longest IPv6",
		  GET "Host: [1111:2222:3333:4444:5555:6666:123.123.123.123]\r\n\r\n",
		  "[1111:2222:3333:4444:5555:6666:123.123.123.123]", "/" },
		{ "query", "GET /a/b?c=/d HTTP/1.1\r\n\r\n", "", "/a/b" },
		{ "fragment", "GET /a#b?c HTTP/1.1\r\n\r\n", "", "/a" },
		{ "path left as it is", "GET //a/../%2e%2E/%41\xc3\xa4;x HTTP/1.1\r\n\r\n", "",
		  "//a/../%2e%2E/%41\xc3\xa4;x" },
		{ "odd method", "M-SEARCH!# /x HTTP/1.1\r\n\r\n", "", "/x" },
		{ "a method PRI", "PRI /x HTTP/1.1\r\nHost: a.b\r\n\r\n", "a.b", "/x" },
		{ "absolute form wins", "GET http://c.d:81/p?q HTTP/1.1\r\nHost: a.b\r\n\r\n",
		  "c.d", "/p" },
		{ "absolute without path", "GET HTTPS://C.D HTTP/1.1\r\nHost: a.b\r\n\r\n", "c.d",
		  "/" },
		{ "absolute with query alone", "GET http://c.d?q/r HTTP/1.1\r\n\r\n", "c.d", "/" },
		{ "absolute IPv6", "GET http://[::1]:1/p HTTP/1.1\r\n\r\n", "[::1]", "/p" },
		{ "CONNECT", "CONNECT c.d:443 HTTP/1.1\r\nHost: a.b\r\n\r\n", "c.d", "" },
		{ "CONNECT with content", "CONNECT c.d:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
		  "c.d", "" },
		{ "two ways to say a length", /* the backend's to judge: it gets all that follows */
		  GET "Host: a.b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "a.b",
		  "/" },
		{ "CONNECT IPv6", "CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "[::1]", "" },
		{ "asterisk", "OPTIONS * HTTP/1.1\r\nHost: a.b\r\n\r\n", "a.b", "*" },
		{ "other bytes in a value", GET "A: \x01\x80\t\"\\\r\nHost: a.b\r\n\r\n", "a.b",
		  "/" },
		{ "empty value", GET "A:\r\nHost: a.b\r\n\r\n", "a.b", "/" },
	};
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t len = strlen(rows[i].head);

		expect_more_until(peek_http1, (const uint8_t *)rows[i].head, len);
		expect_more_until(peek_any, (const uint8_t *)rows[i].head, len);
		if (peek(peek_any, rows[i].head, len, &hello) != PEEK_FOUND)
			fail_msg("%s: not found", rows[i].what);
		expect_hello(&hello, PEEK_PROTOCOL_HTTP1, rows[i].name, rows[i].path);
	}
}

static void test_refused_heads(void **state)
{
	static const struct {
		const char *what, *head;
		size_t len;
	} rows[] = {
		/* clang-format off */
		{ "two Hosts", EXT(GET "Host: a.b\r\nHost: c.d\r\n\r\n") },
		{ "the same Host twice", EXT(GET "Host: a.b\r\nA: x\r\nhost: a.b\r\n\r\n") },
		{ "empty Host and another", EXT(GET "Host:\r\nHost: a.b\r\n\r\n") },
		{ "two Hosts, absolute form", EXT("GET http://c.d/ HTTP/1.1\r\nHost: a.b\r\nHost: a.b\r\n\r\n") },
		{ "two Hosts in one", EXT(GET "Host: a.b, c.d\r\n\r\n") },
		{ "folded Host", EXT(GET "Host:\r\n a.b\r\n\r\n") },
		{ "folded Host, tab", EXT(GET "Host: a.b\r\n\tc\r\n\r\n") },
		{ "other field folded", EXT(GET "A: b\r\n Host: a.b\r\n\r\n") },
		{ "space before the first field", EXT(GET " Host: a.b\r\n\r\n") },
		{ "space before the colon", EXT(GET "Host : a.b\r\n\r\n") },
		{ "no colon", EXT(GET "Host\r\n\r\n") },
		{ "no field name", EXT(GET ": a.b\r\n\r\n") },
		{ "NUL in a field name", EXT(GET "Ho\0st: a.b\r\n\r\n") },
		{ "NUL in a value", EXT(GET "Host: a.b\0c\r\n\r\n") },
		{ "NUL in another value", EXT(GET "A: \0\r\n\r\n") },
		{ "bare CR in Host", EXT(GET "Host: a\rb\r\n\r\n") },
		{ "bare CR hides a field", EXT(GET "A: b\rHost: a.b\r\n\r\n") },
		{ "bare LF ends the first line", EXT("GET / HTTP/1.1\n") },
		{ "bare LF ends a field", EXT(GET "Host: a.b\n") },
		{ "bare LF ends the head", EXT(GET "Host: a.b\r\n\n") },
		{ "user information", EXT(GET "Host: u@a.b\r\n\r\n") },
		{ "user information, absolute", EXT("GET http://c.d@a.b/ HTTP/1.1\r\n\r\n") },
		{ "password that looks like a port", EXT("GET http://c.d:80@a.b/ HTTP/1.1\r\n\r\n") },
		{ "path in Host", EXT(GET "Host: a.b/c\r\n\r\n") },
		{ "percent in Host", EXT(GET "Host: a%2eb\r\n\r\n") },
		{ "empty label", EXT(GET "Host: a..b\r\n\r\n") },
		{ "port without a host", EXT(GET "Host: :80\r\n\r\n") },
		{ "port of letters", EXT(GET "Host: a.b:http\r\n\r\n") },
		{ "two ports", EXT(GET "Host: a.b:1:2\r\n\r\n") },
		{ "IPv6 without brackets", EXT(GET "Host: ::1\r\n\r\n") },
		{ "IPv6 open", EXT(GET "Host: [::1\r\n\r\n") },
		{ "IPv6 and more", EXT(GET "Host: [::1]a\r\n\r\n") },
		{ "IPv6 empty", EXT(GET "Host: []\r\n\r\n") },
		{ "IPv6 with a zone", EXT(GET "Host: [fe80::1%25eth0]\r\n\r\n") },
		{ "IPv6 too long", EXT(GET "Host: [1111:2222:3333:4444:5555:6666:123.123.123.1234]\r\n\r\n") },
		{ "address of a future version", EXT(GET "Host: [v1.x]\r\n\r\n") },
		{ "space in the target", EXT("GET /a b HTTP/1.1\r\n\r\n") },
		{ "two spaces before the target", EXT("GET  / HTTP/1.1\r\n\r\n") },
		{ "two spaces after the target", EXT("GET /  HTTP/1.1\r\n\r\n") },
		{ "tab in the target", EXT("GET /a\tb HTTP/1.1\r\n\r\n") },
		{ "NUL in the target", EXT("GET /a\0b HTTP/1.1\r\n\r\n") },
		{ "DEL in the target", EXT("GET /a\x7f HTTP/1.1\r\n\r\n") },
		{ "CR in the target", EXT("GET /a\rb HTTP/1.1\r\n\r\n") },
		{ "two CRs", EXT("GET / HTTP/1.1\r\nHost: a.b\r\r\n\r\n") },
		{ "no target", EXT("GET HTTP/1.1\r\n\r\n") },
		{ "empty target", EXT("GET  HTTP/1.1\r\n\r\n") },
		{ "target is a name", EXT("GET a.b HTTP/1.1\r\n\r\n") },
		{ "authority without CONNECT", EXT("GET a.b:80 HTTP/1.1\r\n\r\n") },
		{ "asterisk without OPTIONS", EXT("GET * HTTP/1.1\r\n\r\n") },
		{ "PRI in HTTP/1", EXT("PRI * HTTP/1.1\r\n\r\n") },
		{ "CONNECT to a path", EXT("CONNECT / HTTP/1.1\r\n\r\n") },
		{ "absolute without an authority", EXT("GET http:///p HTTP/1.1\r\n\r\n") },
		{ "absolute without a scheme", EXT("GET ://a.b/p HTTP/1.1\r\n\r\n") },
		{ "one slash", EXT("GET http:/a.b HTTP/1.1\r\n\r\n") },
		/* clang-format on */
	};
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		expect_more_until(peek_any, (const uint8_t *)rows[i].head, rows[i].len);
		if (peek(peek_any, rows[i].head, rows[i].len, &hello) != PEEK_BAD)
			fail_msg("%s: not refused", rows[i].what);
		expect_bad(&hello, PEEK_PROTOCOL_HTTP1, MALFORMED, 0);
	}
}

static void test_body_is_not_waited_for(void **state)
{
	static const char head[] = "POST /a HTTP/1.1\r\nHost: a.b\r\nContent-Length: 9\r\n\r\n";
	struct hello hello;

	(void)state;
	flight.len = 0;
	put(&flight, head, sizeof(head) - 1);
	put_zeros(&flight, 2 * PEEK_BYTES_MAX);
	assert_int_equal(peek(peek_any, flight.at, flight.len, &hello), PEEK_FOUND);
	expect_hello(&hello, PEEK_PROTOCOL_HTTP1, "a.b", "/a");
}

static void test_long_heads(void **state)
{
	struct hello hello;

	(void)state;
	flight.len = 0;
	put(&flight, GET "A: ", strlen(GET "A: "));
	memset(flight.at + flight.len, 'x', PEEK_BYTES_MAX);
	memcpy(flight.at + PEEK_BYTES_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX - 1, &hello), PEEK_MORE);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX, &hello), PEEK_FOUND);

	memcpy(flight.at + PEEK_BYTES_MAX - 4, "x\r\n\r\n", 5);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX, &hello), PEEK_BAD);
	expect_bad(&hello, PEEK_PROTOCOL_HTTP1, LENGTH, 0);
	assert_int_equal(peek(peek_any, flight.at, PEEK_BYTES_MAX + 1, &hello), PEEK_BAD);
}

/* 128 are taken; one more is refused when its line is complete. */
static void test_many_fields(void **state)
{
	struct hello hello;

	(void)state;
	flight.len = 0;
	put(&flight, GET, strlen(GET));
	for (int i = 0; i < 128; i++)
		put(&flight, "a:\r\n", 4);
	put(&flight, "\r\n", 2);
	expect_more_until(peek_any, flight.at, flight.len);
	assert_int_equal(peek(peek_any, flight.at, flight.len, &hello), PEEK_FOUND);

	flight.len -= 2;
	put(&flight, "a:\r\n", 4);
	expect_more_until(peek_any, flight.at, flight.len);
	assert_int_equal(peek(peek_any, flight.at, flight.len, &hello), PEEK_BAD);
	expect_bad(&hello, PEEK_PROTOCOL_HTTP1, LENGTH, 0);
}

static void test_long_path_is_cut(void **state)
{
	struct hello hello;

	(void)state;
	for (size_t len = PEEK_PATH_MAX - 2; len < PEEK_PATH_MAX + 3; len++) {
		flight.len = 0;
		put(&flight, "GET ", 4);
		memset(flight.at + flight.len, '/', len);
		flight.len += len;
		put(&flight, " HTTP/1.1\r\n\r\n", 13);
		assert_int_equal(peek(peek_any, flight.at, flight.len, &hello), PEEK_FOUND);
		assert_int_equal(strlen(hello.path), len < PEEK_PATH_MAX ? len : PEEK_PATH_MAX - 1);
	}
}

static void test_host_lengths(void **state)
{
	char head[512], name[PEEK_NAME_MAX + 1];
	struct hello hello;

	(void)state;
	for (size_t len = PEEK_NAME_MAX - 2; len <= PEEK_NAME_MAX; len++) {
		bool fits = len < PEEK_NAME_MAX;
		int head_len;

		memset(name, 'x', len);
		name[len] = '\0';
		head_len = snprintf(head, sizeof(head), GET "Host: %s\r\n\r\n", name);
		assert_int_equal(peek(peek_any, head, (size_t)head_len, &hello),
				 fits ? PEEK_FOUND : PEEK_BAD);
		assert_string_equal(hello.name, fits ? name : "");
	}
}

static void test_http2(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04";
	const size_t len = 24;
	struct hello hello;

	(void)state;
	expect_more_until(peek_http2, (const uint8_t *)preface, len);
	expect_more_until(peek_any, (const uint8_t *)preface, len);
	for (size_t more = 0; more <= 4; more++) {
		assert_int_equal(peek(peek_any, preface, len + more, &hello), PEEK_FOUND);
		expect_hello(&hello, PEEK_PROTOCOL_HTTP2, "", "");
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t copy[24];

		memcpy(copy, preface, len);
		copy[i] ^= 0x80;
		assert_int_equal(peek(peek_http2, copy, len, &hello), PEEK_OTHER);
	}
}

/* ---- neither ---- */

/* Known as neither with the last byte of the row, and not before. */
static void test_other_protocols(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
	} rows[] = {
		{ "SSH", EXT("SSH-2.0-OpenSSH_9.2\r") },
		{ "SSH, one word and a space", EXT("SSH-2.0-x comment\r\n") },
		{ "SMTP", EXT("EHLO a.b\r\n") },
		{ "IRC, bare LF", EXT("NICK x\n") },
		{ "Redis", EXT("*1\r") },
		{ "RTSP", EXT("OPTIONS rtsp://a.b RTSP/1.0\r\n") },
		{ "HTTP/0.9", EXT("GET /\r\n") },
		{ "HTTP/3.0 as text", EXT("GET / HTTP/3.0\r\n") },
		{ "HTTP in lower case", EXT("GET / http/1.1\r\n") },
		{ "HTTP/1. without a digit", EXT("GET / HTTP/1.x\r\n") },
		{ "HTTP/1.10", EXT("GET / HTTP/1.10\r\n") },
		{ "half a preface", EXT("PRI * HTTP/2.0\r\n\r\nX") },
		{ "empty line first", EXT("\r") },
		{ "space first", EXT(" ") },
		{ "colon in the method", EXT("GET:") },
		{ "method too long", EXT("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG") },
		{ "SSL 2.0 hello", EXT("\x80") },
		{ "PostgreSQL", EXT("\0") },
		{ "16 without 03", EXT("\x16\x02") },
		{ "TLS alert", EXT("\x15") },
		{ "JSON", EXT("{") },
	};
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		expect_more_until(peek_any, (const uint8_t *)rows[i].bytes, rows[i].len);
		if (peek(peek_any, rows[i].bytes, rows[i].len, &hello) != PEEK_FOUND)
			fail_msg("%s: not known as neither", rows[i].what);
		expect_hello(&hello, PEEK_PROTOCOL_NONE, "", "");
		assert_int_equal(hello.alpn_len, 0);
		assert_false(hello.has_ech);
	}
}

static void test_nothing_yet(void **state)
{
	static const peeker_fn peekers[] = { peek_any, peek_tls, peek_http1, peek_http2 };
	struct hello hello;

	(void)state;
	for (size_t i = 0; i < COUNT(peekers); i++) {
		assert_int_equal(peek(peekers[i], "", 0, &hello), PEEK_MORE);
		assert_int_equal(peekers[i](NULL, 0, &hello), PEEK_MORE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hellos),
		cmocka_unit_test(test_every_prefix_needs_more),
		cmocka_unit_test(test_every_split_into_two_records),
		cmocka_unit_test(test_small_records),
		cmocka_unit_test(test_what_follows_the_hello),
		cmocka_unit_test(test_hello_as_long_as_possible),
		cmocka_unit_test(test_more_records_than_the_limit_holds),
		cmocka_unit_test(test_refused_early),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_fields_before_the_extensions),
		cmocka_unit_test(test_versions_say_nothing),
		cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_long_alpn_list),
		cmocka_unit_test(test_offers_whole_names_only),
		cmocka_unit_test(test_alert),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_refused_heads),
		cmocka_unit_test(test_body_is_not_waited_for),
		cmocka_unit_test(test_long_heads),
		cmocka_unit_test(test_many_fields),
		cmocka_unit_test(test_long_path_is_cut),
		cmocka_unit_test(test_host_lengths),
		cmocka_unit_test(test_http2),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_nothing_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
