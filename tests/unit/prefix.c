// SPDX-License-Identifier: GPL-2.0-only
/*
 * prefix.c - the ladon prefix: its text (PREFIX.md), who writes it (libladon), who reads it (the peeker),
 * its tokens and the keys that they are made with
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <ladon/ladon.h>

#include "../../base/file.h"
#include "../../base/hex.h"
#include "../../base/keys.h"
#include "../../base/own.h"
#include "../../gateway/peek.h"
#include "../../gateway/vouch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(text)   (const uint8_t *)(text), sizeof(text) - 1
#define EXPIRES	     1900000000
#define KEYS_TEXT                                                                                  \
	"# ours\n"                                                                                 \
	"9:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\r\n"                   \
	"\n7:000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f  "

static struct keys *keys_of(const char *text)
{
	struct keys *keys = NULL;
	char why[KEYS_WHY_MAX];
	unsigned int line;

	assert_int_equal(keys_read(text, strlen(text), &keys, &line, why), 0);
	return keys;
}

/* Each in memory of its own, so that a sanitizer sees a byte too far. */
static enum peek_answer peek(const uint8_t *bytes, size_t len, struct talk *talk, struct hello *out,
			     uint8_t **copy)
{
	static const struct peek_rules rules = { .targets = true };

	*copy = malloc(len ? len : 1);
	assert_non_null(*copy);
	memcpy(*copy, bytes, len);
	memset(out, 0xa5, sizeof(*out));
	memset(talk, 0xa5, sizeof(*talk));
	talk_start(talk);
	return peek_first(&rules, talk, *copy, len, out);
}

/* ---- PREFIX.md ---- */

struct bytes {
	size_t len;
	uint8_t at[PREFIX_BYTES_MAX];
};

static bool line_read(const char *line, struct bytes *out)
{
	if (strncmp(line, "    ", 4) != 0)
		return false;
	for (line += 4; hex_read(line, out->at + out->len, 1); line += 3) {
		out->len++;
		if (line[2] != ' ')
			return true;
	}
	return false;
}

/* Blocks of bytes that begin with the magic, in the order of the text. Return: how many */
static size_t vectors_read(struct bytes *out, size_t max)
{
	_free_ char *text = NULL;
	size_t len, found = 0;
	bool inside = false;
	char *next, *line;

	assert_int_equal(file_read("PREFIX.md", 1 << 20, &text, &len), 0);
	text[len - 1] = '\0';
	for (next = text; (line = strsep(&next, "\n"));) {
		bool first = !inside && strncmp(line, "    fb 6c 64 6e ", 16) == 0;

		if (first) {
			assert_true(found < max);
			out[found++].len = 0;
		}
		inside = (first || inside) && line_read(line, &out[found - 1]);
	}
	return found;
}

static void same(const struct bytes *wanted, const uint8_t *got, int len)
{
	assert_int_equal(len, wanted->len);
	assert_memory_equal(got, wanted->at, wanted->len);
}

/* As its text, for ladon_prefix() */
static void token_write(const struct key *key, const char *host, uint16_t port, char *out)
{
	uint8_t target[PREFIX_TARGET_BYTES_MAX] = { 0 }, token[TOKEN_BYTES_MAX];
	size_t len;

	prefix_put16(target + 2, port);
	if (host)
		assert_true(prefix_target_put(host, port, target));
	len = token_make(key->bytes, key->id, EXPIRES, target, token);
	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", token[i]);
}

static void what_is_written_is_what_the_text_says(void **state)
{
	struct keys *keys = keys_of(KEYS_TEXT);
	const struct key *key = keys_find(keys, 7);
	char token[2 * TOKEN_BYTES_MAX + 1];
	struct bytes vectors[8];
	uint8_t out[LADON_PREFIX_MAX];

	(void)state;
	assert_int_equal(vectors_read(vectors, COUNT(vectors)), COUNT(vectors));
	same(&vectors[0], out, ladon_prefix(out, sizeof(out), "192.0.2.1", 443, NULL, 0));
	same(&vectors[1], out,
	     ladon_prefix(out, sizeof(out), "2001:db8::1", 22, NULL, LADON_PREFIX_ANSWER));
	token_write(key, NULL, 0, token);
	same(&vectors[2], out,
	     ladon_prefix(out, sizeof(out), "git.example.org", 22, token, LADON_PREFIX_ANSWER));
	token_write(key, "*.example.org", 22, token);
	same(&vectors[3], out, ladon_prefix(out, sizeof(out), "git.example.org", 22, token, 0));
	assert_int_equal(peek_prefix_answer(PREFIX_CONNECTED, out), vectors[6].len);
	assert_memory_equal(out, vectors[6].at, vectors[6].len);
	assert_int_equal(peek_prefix_answer(PREFIX_UNSUPPORTED, out), vectors[7].len);
	assert_memory_equal(out, vectors[7].at, vectors[7].len);
	keys_free(keys);
}

static void what_the_text_says_is_read(void **state)
{
	static const struct {
		const char *name;
		uint16_t port;
		bool silent;
		enum ladon_reason reason; /* of the peeker */
		enum ladon_reason judged; /* of its token */
	} rows[] = {
		{ "192.0.2.1", 443, true, 0, LADON_REASON_TOKEN_MISSING },
		{ "[2001:db8::1]", 22, false, 0, LADON_REASON_TOKEN_MISSING },
		{ "git.example.org", 22, false, 0, 0 },
		{ "git.example.org", 22, true, 0, 0 },
		{ "192.0.2.1", 443, false, 0, LADON_REASON_TOKEN_MISSING },
		{ "", 0, false, LADON_REASON_PREFIX_UNSUPPORTED, 0 },
	};
	struct keys *keys = keys_of(KEYS_TEXT);
	struct bytes vectors[8];

	(void)state;
	vectors_read(vectors, COUNT(vectors));
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum peek_answer wanted = rows[i].reason ? PEEK_BAD : PEEK_FOUND;
		struct hello hello;
		struct talk talk;

		for (size_t n = 0; n <= vectors[i].len; n++) {
			_free_ uint8_t *copy = NULL;
			enum peek_answer answer = peek(vectors[i].at, n, &talk, &hello, &copy);

			assert_int_equal(answer, n < vectors[i].len ? PEEK_MORE : wanted);
			if (answer == PEEK_FOUND)
				assert_int_equal(token_judge(keys, &talk, EXPIRES - 1),
						 rows[i].judged);
		}
		assert_int_equal(hello.protocol, PEEK_PROTOCOL_PREFIX);
		assert_string_equal(hello.name, rows[i].name);
		assert_int_equal(hello.port, rows[i].port);
		assert_int_equal(hello.reason, rows[i].reason);
		assert_int_equal(talk.silent, rows[i].silent);
		assert_int_equal(talk.consumed, rows[i].reason ? 0 : vectors[i].len);
	}
	keys_free(keys);
}

/* ---- the peeker ---- */

#define HEAD(flags, len) "\xfbldn\1" flags "\0" len

/* clang-format off */
static const struct {
	const char *what;
	const uint8_t *bytes;
	size_t len;
	enum ladon_reason reason;
} bad[] = {
	{ "version 0",		    TEXT("\xfbldn\0\0\0\x10"), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "version 2",		    TEXT("\xfbldn\2\0\0\x10"), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "an unknown flag",	    TEXT(HEAD("\2", "\x10")), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "... and a known one",    TEXT(HEAD("\x81", "\x10")), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "length 0",		    TEXT(HEAD("\0", "\0")), LADON_REASON_PREFIX_MALFORMED },
	{ "length 12",		    TEXT(HEAD("\0", "\xc")), LADON_REASON_PREFIX_MALFORMED },
	{ "length 1025",	    TEXT("\xfbldn\1\0\4\1"), LADON_REASON_PREFIX_MALFORMED },
	{ "length 65535",	    TEXT("\xfbldn\1\0\xff\xff"), LADON_REASON_PREFIX_MALFORMED },
	{ "kind 0",		    TEXT(HEAD("\0", "\xd") "\0\1\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "kind 0, no host",	    TEXT(HEAD("\0", "\xd") "\0\0\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "kind 2",		    TEXT(HEAD("\0", "\xd") "\2\1\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "IPv4 of 1 byte",	    TEXT(HEAD("\0", "\xd") "\1\1\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "IPv6 of 4 bytes",	    TEXT(HEAD("\0", "\x10") "\4\4\0\1abcd"), LADON_REASON_PREFIX_MALFORMED },
	{ "IPv4 past the end",	    TEXT(HEAD("\0", "\xf") "\1\4\0\1abc"), LADON_REASON_PREFIX_MALFORMED },
	{ "name of 0 bytes",	    TEXT(HEAD("\0", "\xd") "\3\0\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "name past the end",	    TEXT(HEAD("\0", "\xd") "\3\2\0\1a"), LADON_REASON_PREFIX_MALFORMED },
	{ "port 0",		    TEXT(HEAD("\0", "\xd") "\3\1\0\0a"), LADON_REASON_PREFIX_MALFORMED },
	{ "a space in the name",    TEXT(HEAD("\0", "\xf") "\3\3\0\1a b"), LADON_REASON_PREFIX_MALFORMED },
	{ "a NUL in the name",	    TEXT(HEAD("\0", "\xf") "\3\3\0\1a\0b"), LADON_REASON_PREFIX_MALFORMED },
	{ "an asterisk in it",	    TEXT(HEAD("\0", "\xf") "\3\3\0\1*.b"), LADON_REASON_PREFIX_MALFORMED },
	{ "colons, and no IPv6",    TEXT(HEAD("\0", "\xf") "\3\3\0\1a:b"), LADON_REASON_PREFIX_MALFORMED },
	{ "one byte behind",	    TEXT(HEAD("\0", "\xe") "\3\1\0\1a\x70"), LADON_REASON_PREFIX_MALFORMED },
	{ "two bytes behind",	    TEXT(HEAD("\0", "\xf") "\3\1\0\1a\x70\0"), LADON_REASON_PREFIX_MALFORMED },
	{ "extension past the end", TEXT(HEAD("\0", "\x10") "\3\1\0\1a\x70\0\1"), LADON_REASON_PREFIX_MALFORMED },
	{ "critical one",	    TEXT(HEAD("\0", "\x10") "\3\1\0\1a\x80\0\0"), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "... after another",	    TEXT(HEAD("\0", "\x13") "\3\1\0\1a\x70\0\0\xff\0\0"), LADON_REASON_PREFIX_UNSUPPORTED },
	{ "two tokens",		    TEXT(HEAD("\0", "\x13") "\3\1\0\1a\1\0\0\1\0\0"), LADON_REASON_PREFIX_MALFORMED },
};
/* clang-format on */

static void each_bad_one_has_its_reason(void **state)
{
	struct hello hello;
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		for (size_t n = 0; n <= bad[i].len; n++) {
			_free_ uint8_t *copy = NULL;

			if (peek(bad[i].bytes, n, &talk, &hello, &copy) !=
			    (n < bad[i].len ? PEEK_MORE : PEEK_BAD))
				fail_msg("%s: another answer to %zu bytes", bad[i].what, n);
		}
		assert_int_equal(hello.protocol, PEEK_PROTOCOL_PREFIX);
		if (hello.reason != bad[i].reason)
			fail_msg("%s: reason %d", bad[i].what, hello.reason);
		assert_int_equal(talk.silent, !(bad[i].bytes[5] & 1));
		assert_int_equal(talk.say_len, 0);
	}
}

static void what_begins_otherwise_is_something_else(void **state)
{
	static const char *const others[] = { "\xfcldn", "\xfbLdn", "\xfblen",
					      "\xfbldm\1\0\0\x10" };
	struct hello hello;
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(others); i++) {
		_free_ uint8_t *copy = NULL;

		assert_int_equal(peek((const uint8_t *)others[i], 4, &talk, &hello, &copy),
				 PEEK_FOUND);
		assert_int_equal(hello.protocol, PEEK_PROTOCOL_NONE);
		assert_false(talk.silent);
	}
}

/* All that fits: a name of 253 bytes, the longest token, and another extension up to 1024 bytes */
static void the_longest_is_read(void **state)
{
	uint8_t bytes[PREFIX_BYTES_MAX + 1] = { 0 };
	_free_ uint8_t *copy = NULL;
	char name[254], token[2 * TOKEN_BYTES_MAX + 1];
	struct keys *keys = keys_of(KEYS_TEXT);
	struct hello hello;
	struct talk talk;
	int len;

	(void)state;
	for (size_t i = 0; i < 253; i++)
		name[i] = i % 64 == 63 ? '.' : 'A';
	name[253] = '\0';
	token_write(keys_find(keys, 9), name, 1, token);
	len = ladon_prefix(bytes, sizeof(bytes), name, 1, token, 0);
	assert_true(len > 0 && len < PREFIX_BYTES_MAX);
	bytes[len] = 0x7f;
	prefix_put16(bytes + len + 1, (uint16_t)(PREFIX_BYTES_MAX - len - 3));
	prefix_put16(bytes + 6, PREFIX_BYTES_MAX);
	assert_int_equal(peek(bytes, sizeof(bytes), &talk, &hello, &copy), PEEK_FOUND);
	assert_int_equal(talk.consumed, PREFIX_BYTES_MAX);
	assert_int_equal(strlen(hello.name), 253);
	assert_int_equal(token_judge(keys, &talk, 0), LADON_REASON_NONE);
	keys_free(keys);
}

/* ---- libladon ---- */

static void what_cannot_be_asked_for_is_not_written(void **state)
{
	static const char *const hosts[] = { "",      ".",   "a..b",	   ".a",  "a b",     "a:b",
					     "[::1]", "*.a", "fe80::1%lo", "a\n", "\xc3\xa4" };
	static const char *const tokens[] = { "", "0", "0g", "001", " 00" };
	char long_name[256], long_token[2000];
	uint8_t out[LADON_PREFIX_MAX];

	(void)state;
	memset(long_name, 'a', sizeof(long_name));
	long_name[254] = '\0';
	memset(long_token, '0', sizeof(long_token));
	long_token[1999] = '\0';
	for (size_t i = 0; i < COUNT(hosts); i++)
		assert_int_equal(ladon_prefix(out, sizeof(out), hosts[i], 1, NULL, 0), -EINVAL);
	for (size_t i = 0; i < COUNT(tokens); i++)
		assert_int_equal(ladon_prefix(out, sizeof(out), "a", 1, tokens[i], 0), -EINVAL);
	assert_int_equal(ladon_prefix(out, sizeof(out), long_name, 1, NULL, 0), -EINVAL);
	assert_int_equal(ladon_prefix(out, sizeof(out), "a", 1, long_token, 0), -EINVAL);
	assert_int_equal(ladon_prefix(out, sizeof(out), "a", 1, long_token + 1, 0), -EINVAL);
	assert_int_equal(ladon_prefix(out, sizeof(out), "a", 0, NULL, 0), -EINVAL);
	assert_int_equal(ladon_prefix(out, sizeof(out), "a", 1, NULL, 2), -EINVAL);
	assert_int_equal(ladon_prefix(out, 12, "a", 1, NULL, 0), -ENOBUFS);
	assert_int_equal(ladon_prefix(out, 13, "a", 1, NULL, 0), 13);
	assert_int_equal(ladon_prefix(out, sizeof(out), "a.", 1, NULL, 0), 13);
	assert_int_equal(ladon_prefix(out, sizeof(out), long_name + 1, 1, NULL, 0), 12 + 253);
}

static void each_status_has_its_errno(void **state)
{
	static const struct {
		uint8_t status;
		int rc;
	} rows[] = {
		{ 0, 8 },
		{ 1, -EIO },
		{ 2, -EACCES },
		{ 3, -ENETUNREACH },
		{ 4, -EHOSTUNREACH },
		{ 5, -ECONNREFUSED },
		{ 6, -ETIMEDOUT },
		{ 7, -EIO },
		{ 16, -EINVAL },
		{ 17, -EPROTONOSUPPORT },
		{ 18, -ENOKEY },
		{ 19, -EKEYREJECTED },
		{ 20, -EKEYEXPIRED },
		{ 21, -EPERM },
		{ 22, -EIO },
		{ 255, -EIO },
	};
	uint8_t answer[PREFIX_ANSWER_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		peek_prefix_answer(rows[i].status, answer);
		for (size_t n = 0; n < sizeof(answer); n++)
			assert_int_equal(ladon_prefix_answer(answer, n), -EAGAIN);
		assert_int_equal(ladon_prefix_answer(answer, sizeof(answer)), rows[i].rc);
	}
}

static void answers_may_grow_and_may_be_none(void **state)
{
	static const char grown[] = "\xfbldn\2\0\0\x0a..more";

	(void)state;
	assert_int_equal(ladon_prefix_answer(grown, 9), -EAGAIN);
	assert_int_equal(ladon_prefix_answer(grown, sizeof(grown)), 10);
	assert_int_equal(ladon_prefix_answer("SSH-2.0-", 8), -EBADMSG);
	assert_int_equal(ladon_prefix_answer("\xfbS", 2), -EBADMSG);
	assert_int_equal(ladon_prefix_answer("\xfbldn\1\0\0\7", 8), -EBADMSG);
	assert_int_equal(ladon_prefix_answer("\xfbldn\1\0\4\1", 8), -EBADMSG);
}

/* ---- tokens ---- */

struct shown {
	struct talk talk;
	uint8_t target[PREFIX_TARGET_BYTES_MAX], token[TOKEN_BYTES_MAX];
};

static void show(struct shown *shown, const char *host, uint16_t port)
{
	assert_true(prefix_target_put(host, port, shown->target));
	talk_start(&shown->talk);
	shown->talk.target = shown->target;
	shown->talk.token = shown->token;
}

/* A token for @host (NULL: any) and @port, shown for another target. */
static enum ladon_reason judge(const struct keys *keys, const char *host, uint16_t port,
			       const char *asked, uint16_t asked_port)
{
	uint8_t target[PREFIX_TARGET_BYTES_MAX] = { 0 };
	const struct key *key = keys_find(keys, 7);
	struct shown shown;

	prefix_put16(target + 2, port);
	if (host)
		assert_true(prefix_target_put(host, port, target));
	show(&shown, asked, asked_port);
	shown.talk.token_len = token_make(key->bytes, key->id, EXPIRES, target, shown.token);
	return token_judge(keys, &shown.talk, 0);
}

static void a_token_is_for_its_target(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		const char *asked;
		uint16_t asked_port;
		bool good;
	} rows[] = {
		{ NULL, 0, "a.example.org", 1, true },
		{ NULL, 22, "192.0.2.1", 22, true },
		{ NULL, 22, "192.0.2.1", 23, false },
		{ "a.example.org", 0, "A.Example.ORG", 1, true },
		{ "a.example.org", 22, "a.example.org", 22, true },
		{ "a.example.org", 22, "a.example.org", 23, false },
		{ "a.example.org", 0, "b.a.example.org", 1, false },
		{ "a.example.org", 0, "example.org", 1, false },
		{ "a.example.org", 0, "a.example.orgs", 1, false },
		{ "a.example.org", 0, "a.example.or", 1, false },
		{ "*.example.org", 0, "a.b.EXAMPLE.org", 1, true },
		{ "*.example.org", 0, "example.org", 1, false },
		{ "*.example.org", 0, "badexample.org", 1, false },
		{ "*.example.org", 22, "a.example.org", 23, false },
		{ "192.0.2.1", 0, "192.0.2.1", 1, true },
		{ "192.0.2.1", 0, "192.0.2.2", 1, false },
		{ "192.0.2.1", 0, "::ffff:192.0.2.1", 1, false },
		{ "2001:db8::1", 0, "2001:DB8:0::1", 1, true },
		{ "2001:db8::1", 0, "2001:db8::2", 1, false },
	};
	struct keys *keys = keys_of(KEYS_TEXT);

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (judge(keys, rows[i].host, rows[i].port, rows[i].asked, rows[i].asked_port) !=
		    (rows[i].good ? LADON_REASON_NONE : LADON_REASON_TOKEN_ELSEWHERE))
			fail_msg("row %zu", i);
	keys_free(keys);
}

static void a_token_is_good_until_its_time_is_over(void **state)
{
	struct keys *keys = keys_of(KEYS_TEXT);
	const struct key *key = keys_find(keys, 7);
	uint8_t any[PREFIX_TARGET_HEAD_BYTES] = { 0 };
	struct shown shown;

	(void)state;
	show(&shown, "a", 1);
	shown.talk.token_len = token_make(key->bytes, 7, EXPIRES, any, shown.token);
	assert_int_equal(token_judge(keys, &shown.talk, EXPIRES - 1), LADON_REASON_NONE);
	assert_int_equal(token_judge(keys, &shown.talk, EXPIRES), LADON_REASON_TOKEN_EXPIRED);
	assert_int_equal(token_judge(keys, &shown.talk, UINT64_MAX), LADON_REASON_TOKEN_EXPIRED);
	shown.talk.token_len = token_make(key->bytes, 7, UINT64_MAX, any, shown.token);
	assert_int_equal(token_judge(keys, &shown.talk, UINT64_MAX - 1), LADON_REASON_NONE);
	assert_int_equal(token_judge(NULL, &shown.talk, 0), LADON_REASON_TOKEN_UNKNOWN_KEY);
	shown.talk.token = NULL;
	assert_int_equal(token_judge(NULL, &shown.talk, 0), LADON_REASON_TOKEN_MISSING);
	keys_free(keys);
}

/* Each bit of it counts, and nobody learns more than that it is none. */
static void a_changed_token_is_none(void **state)
{
	struct keys *keys = keys_of(KEYS_TEXT);
	const struct key *key = keys_find(keys, 7);
	uint8_t target[PREFIX_TARGET_BYTES_MAX];
	struct shown shown;
	size_t len;

	(void)state;
	assert_true(prefix_target_put("example.org", 22, target));
	show(&shown, "example.org", 22);
	len = token_make(key->bytes, 7, EXPIRES, target, shown.token);
	shown.talk.token_len = len;
	assert_int_equal(token_judge(keys, &shown.talk, 0), LADON_REASON_NONE);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		shown.token[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(token_judge(keys, &shown.talk, EXPIRES + 1),
				 bit < 32 ? LADON_REASON_TOKEN_UNKNOWN_KEY
					  : LADON_REASON_TOKEN_FORGED);
		shown.token[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (shown.talk.token_len = 0; shown.talk.token_len < len; shown.talk.token_len++)
		assert_int_equal(token_judge(keys, &shown.talk, 0), LADON_REASON_TOKEN_FORGED);
	len = token_make(keys_find(keys, 9)->bytes, 7, EXPIRES, target, shown.token);
	shown.talk.token_len = len;
	assert_int_equal(token_judge(keys, &shown.talk, 0), LADON_REASON_TOKEN_FORGED);
	keys_free(keys);
}

/* ---- keys ---- */

#define DIGITS_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void keys_are_found_by_id(void **state)
{
	struct keys *keys = keys_of(KEYS_TEXT);

	(void)state;
	assert_int_equal(keys_find(keys, 9)->bytes[31], 0xff);
	assert_int_equal(keys_find(keys, 7)->bytes[31], 0x1f);
	assert_null(keys_find(keys, 8));
	assert_null(keys_find(NULL, 7));
	assert_int_equal(keys_last(keys)->id, 7);
	keys_free(keys);
	keys = keys_of("0:" DIGITS_64 "\n4294967295:" DIGITS_64 "\n5:" DIGITS_64 "\n");
	assert_int_equal(keys_last(keys)->id, 5);
	assert_non_null(keys_find(keys, 0));
	assert_non_null(keys_find(keys, UINT32_MAX));
	keys_free(keys);
}

static void each_mistake_in_a_file_of_keys_is_named(void **state)
{
	static const struct {
		const char *text;
		unsigned int line;
		const char *why;
	} rows[] = {
		{ "", 1, "has no key" },
		{ "# nothing\n\n", 1, "has no key" },
		{ "\n" DIGITS_64 "\n", 2, "no ':'" },
		{ ":" DIGITS_64, 1, "no number" },
		{ "-1:" DIGITS_64, 1, "no number" },
		{ "4294967296:" DIGITS_64, 1, "no number" },
		{ "99999999999999999999999:" DIGITS_64, 1, "no number" },
		{ "1:" DIGITS_64 "\n2:" DIGITS_64 "0", 2, "64 hex" },
		{ "1:0" DIGITS_64, 1, "64 hex" },
		{ "1:g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1,
		  "64 hex" },
		{ "1:", 1, "64 hex" },
		{ "1:" DIGITS_64 "\n2:" DIGITS_64 "\n01:" DIGITS_64, 3, "1 is the id of another" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct keys *keys = NULL;
		char why[KEYS_WHY_MAX] = "";
		unsigned int line = 0;

		assert_int_equal(keys_read(rows[i].text, strlen(rows[i].text), &keys, &line, why),
				 -EINVAL);
		if (line != rows[i].line || !strstr(why, rows[i].why))
			fail_msg("row %zu: line %u: %s", i, line, why);
		assert_null(strstr(why, "cdef"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_what_the_text_says),
		cmocka_unit_test(what_the_text_says_is_read),
		cmocka_unit_test(each_bad_one_has_its_reason),
		cmocka_unit_test(what_begins_otherwise_is_something_else),
		cmocka_unit_test(the_longest_is_read),
		cmocka_unit_test(what_cannot_be_asked_for_is_not_written),
		cmocka_unit_test(each_status_has_its_errno),
		cmocka_unit_test(answers_may_grow_and_may_be_none),
		cmocka_unit_test(a_token_is_for_its_target),
		cmocka_unit_test(a_token_is_good_until_its_time_is_over),
		cmocka_unit_test(a_changed_token_is_none),
		cmocka_unit_test(keys_are_found_by_id),
		cmocka_unit_test(each_mistake_in_a_file_of_keys_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
