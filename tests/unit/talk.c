// SPDX-License-Identifier: GPL-2.0-only
/*
 * talk.c - dialogues: clients that name a target, and maybe a user, in SOCKS and by CONNECT
 *
 * Each row is all that a client says. What must come of it is checked for the whole, and that
 * every beginning of it is right so far: no answer but PEEK_MORE before its time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../base/own.h"
#include "../../gateway/peek.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(text)   (text), sizeof(text) - 1
#define NAME_255                                                                               \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum {
	OPEN,	 /* anybody may */
	UNKNOWN, /* users only, and this one has not been looked at */
	RIGHT,
	WRONG,
};

static enum peek_answer peek(int who, const void *bytes, size_t len, struct talk *talk,
			     struct hello *out)
{
	struct peek_rules rules = { .targets = true, .users = who != OPEN };
	_free_ uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(out, 0xa5, sizeof(*out));
	memset(talk, 0xa5, sizeof(*talk));
	talk_start(talk);
	talk->user_is = who == RIGHT   ? PEEK_USER_RIGHT
			: who == WRONG ? PEEK_USER_WRONG
				       : PEEK_USER_UNKNOWN;
	return peek_first(&rules, talk, copy, len, out);
}

struct row {
	int who;
	const char *bytes;
	size_t len;
	size_t consumed;
	const char *say;
	size_t say_len;
	enum peek_protocol protocol;
	const char *name;
	uint16_t port;
	enum ladon_reason reason;
};

#define SOCKS4	  PEEK_PROTOCOL_SOCKS4
#define SOCKS5	  PEEK_PROTOCOL_SOCKS5
#define CONNECT	  PEEK_PROTOCOL_CONNECT
#define MALFORMED LADON_REASON_PEEK_MALFORMED
#define NO_USER	  LADON_REASON_NO_USER
#define COMMAND	  LADON_REASON_NO_COMMAND
#define REFUSED	  "\0\x5b\0\0\0\0\0\0"
#define REP(code) "\5" code "\0\1\0\0\0\0\0\0"
#define AUTH	  "Proxy-Authorization: Basic "
#define LENGTH	  "content-length:"
#define CODING	  "Transfer-Encoding: "
#define HEAD	  "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n"

/* clang-format off */
static const struct row found[] = {
	{ OPEN, TEXT("\5\1\0" "\5\1\0\1\300\0\2\1\0\x50"), 13, TEXT("\5\0"), SOCKS5, "192.0.2.1", 80, 0 },
	{ OPEN, TEXT("\5\3\1\2\0" "\5\1\0\3\13EXAMPLE.org\1\273"), 23, TEXT("\5\0"), SOCKS5, "example.org", 443, 0 },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\3\13" "2001:DB8::1\1\273"), 21, TEXT("\5\0"), SOCKS5, "[2001:db8::1]", 443, 0 },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\377\377"), 25, TEXT("\5\0"), SOCKS5, "[2001:db8::1]", 65535, 0 },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\3\377" NAME_255 "\0\1"), 265, TEXT("\5\0"), SOCKS5, NAME_255, 1, 0 },
	{ RIGHT, TEXT("\5\1\2" "\1\2me\6secret" "\5\1\0\1\300\0\2\1\0\x50"), 24, TEXT("\5\2\1\0"), SOCKS5, "192.0.2.1", 80, 0 },
	{ RIGHT, TEXT("\5\1\2" "\1\0\0" "\5\1\0\1\300\0\2\1\0\x50"), 16, TEXT("\5\2\1\0"), SOCKS5, "192.0.2.1", 80, 0 },
	{ OPEN, TEXT("\4\1\0\x50\300\0\2\1" "me\0"), 11, "", 0, SOCKS4, "192.0.2.1", 80, 0 },
	{ OPEN, TEXT("\4\1\0\x50\300\0\2\1" "\0"), 9, "", 0, SOCKS4, "192.0.2.1", 80, 0 },
	{ OPEN, TEXT("\4\1\0\x50\0\0\0\1" "me\0example.org\0"), 23, "", 0, SOCKS4, "example.org", 80, 0 },
	{ OPEN, TEXT("\4\1\0\x50\0\0\0\0" "me\0"), 11, "", 0, SOCKS4, "0.0.0.0", 80, 0 },
	{ OPEN, TEXT(HEAD "\r\n"), sizeof(HEAD "\r\n") - 1, "", 0, CONNECT, "example.org", 443, 0 },
	{ OPEN, TEXT("CONNECT [2001:DB8::1]:1 HTTP/1.0\r\n\r\n"), 36, "", 0, CONNECT, "[2001:db8::1]", 1, 0 },
	{ RIGHT, TEXT(HEAD AUTH "bWU6c2VjcmV0\r\n\r\n"), sizeof(HEAD AUTH "bWU6c2VjcmV0\r\n\r\n") - 1, "", 0, CONNECT, "example.org", 443, 0 },
	{ OPEN, TEXT(HEAD LENGTH " 0 \r\n\r\n"), sizeof(HEAD LENGTH " 0 \r\n\r\n") - 1, "", 0, CONNECT, "example.org", 443, 0 },
	{ OPEN, TEXT(HEAD "X-" LENGTH "9\r\n\r\n"), sizeof(HEAD "X-" LENGTH "9\r\n\r\n") - 1, "", 0, CONNECT, "example.org", 443, 0 },
};

static const struct row bad[] = {
	{ OPEN, TEXT("\5\0"), 0, TEXT("\5\377"), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\2"), 0, TEXT("\5\377"), SOCKS5, "", 0, MALFORMED },
	{ UNKNOWN, TEXT("\5\1\0"), 0, TEXT("\5\377"), SOCKS5, "", 0, NO_USER },
	{ UNKNOWN, TEXT("\5\1\2\2"), 3, TEXT("\5\2\1\1"), SOCKS5, "", 0, NO_USER },
	{ UNKNOWN, TEXT("\5\1\2\1\2m\0\6secret"), 3, TEXT("\5\2\1\1"), SOCKS5, "", 0, NO_USER },
	{ UNKNOWN, TEXT("\5\1\2\1\2me\6secre\0"), 3, TEXT("\5\2\1\1"), SOCKS5, "", 0, NO_USER },
	{ WRONG, TEXT("\5\1\2\1\2me\6secret"), 3, TEXT("\5\2\1\1"), SOCKS5, "", 0, NO_USER },
	{ OPEN, TEXT("\5\1\0" "\4\1\0\1"), 3, TEXT("\5\0" REP("\1")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\0" "\5\2\0\1"), 3, TEXT("\5\0" REP("\7")), SOCKS5, "", 0, COMMAND },
	{ OPEN, TEXT("\5\1\0" "\5\3\0\1"), 3, TEXT("\5\0" REP("\7")), SOCKS5, "", 0, COMMAND },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\2"), 3, TEXT("\5\0" REP("\10")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\1\300\0\2\1\0\0"), 3, TEXT("\5\0" REP("\1")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\3\0\0\1"), 3, TEXT("\5\0" REP("\1")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\3\3a\0b\0\1"), 3, TEXT("\5\0" REP("\1")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\5\1\0" "\5\1\0\3\3a:b\0\1"), 3, TEXT("\5\0" REP("\1")), SOCKS5, "", 0, MALFORMED },
	{ OPEN, TEXT("\4\2\0\x50\300\0\2\1"), 0, TEXT(REFUSED), SOCKS4, "", 0, COMMAND },
	{ UNKNOWN, TEXT("\4\1\0\x50\300\0\2\1"), 0, TEXT(REFUSED), SOCKS4, "", 0, NO_USER },
	{ OPEN, TEXT("\4\1\0\0\300\0\2\1me\0"), 11, TEXT(REFUSED), SOCKS4, "", 0, MALFORMED },
	{ OPEN, TEXT("\4\1\0\x50\0\0\0\1me\0\0"), 12, TEXT(REFUSED), SOCKS4, "", 0, MALFORMED },
	{ OPEN, TEXT("\4\1\0\x50\0\0\0\1me\0a b\0"), 15, TEXT(REFUSED), SOCKS4, "", 0, MALFORMED },
	{ OPEN, TEXT("\4\1\0\x50\300\0\2\1a" NAME_255), 0, TEXT(REFUSED), SOCKS4, "", 0, LADON_REASON_PEEK_LENGTH },
	{ OPEN, TEXT("CONNECT example.org HTTP/1.1\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT("CONNECT example.org:0 HTTP/1.1\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT("CONNECT example.org:65536 HTTP/1.1\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT("CONNECT example.org:99999999999 HTTP/1.1\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT("CONNECT /path HTTP/1.1\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "5\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "0\r\n" LENGTH "5\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "5\r\n" LENGTH "0\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "0, 5\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "+0\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD CODING "chunked\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD CODING "identity\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD LENGTH "0\r\n" CODING "chunked\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ OPEN, TEXT(HEAD CODING "chunked\r\n" LENGTH "5\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ WRONG, TEXT(HEAD AUTH "bWU6c2VjcmV0\r\n" LENGTH "5\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
	{ UNKNOWN, TEXT(HEAD "\r\n"), sizeof(HEAD "\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ WRONG, TEXT(HEAD AUTH "bWU6c2VjcmV0\r\n\r\n"), sizeof(HEAD AUTH "bWU6c2VjcmV0\r\n\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ RIGHT, TEXT(HEAD AUTH "bWU\r\n\r\n"), sizeof(HEAD AUTH "bWU\r\n\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ RIGHT, TEXT(HEAD AUTH "bWU=\r\n\r\n"), sizeof(HEAD AUTH "bWU=\r\n\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ RIGHT, TEXT(HEAD AUTH "b*U6\r\n\r\n"), sizeof(HEAD AUTH "b*U6\r\n\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ RIGHT, TEXT(HEAD "Proxy-Authorization: Digest bWU6c2VjcmV0\r\n\r\n"), sizeof(HEAD "Proxy-Authorization: Digest bWU6c2VjcmV0\r\n\r\n") - 1, "", 0, CONNECT, "", 0, NO_USER },
	{ RIGHT, TEXT(HEAD AUTH "bWU6c2VjcmV0\r\n" AUTH "bWU6c2VjcmV0\r\n\r\n"), 0, "", 0, CONNECT, "", 0, MALFORMED },
};
/* clang-format on */

static void expect(const struct row *row, size_t i, enum peek_answer wanted)
{
	struct hello hello;
	struct talk talk;

	for (size_t n = 0; n < row->len; n++) {
		if (peek(row->who, row->bytes, n, &talk, &hello) != PEEK_MORE)
			fail_msg("row %zu: decided after %zu bytes", i, n);
		assert_int_equal(talk.begun, n >= (row->protocol == CONNECT ? 8 : 1));
	}
	if (peek(row->who, row->bytes, row->len, &talk, &hello) != wanted)
		fail_msg("row %zu: another answer", i);
	assert_int_equal(hello.protocol, row->protocol);
	assert_int_equal(hello.reason, row->reason);
	assert_string_equal(hello.name, row->name);
	assert_int_equal(hello.port, row->port);
	if (talk.consumed != row->consumed || talk.say_len != row->say_len)
		fail_msg("row %zu: consumed %zu, said %zu bytes", i, talk.consumed, talk.say_len);
	assert_memory_equal(talk.say, row->say, row->say_len);
	assert_false(talk.asks);
}

static void test_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(found); i++)
		expect(&found[i], i, PEEK_FOUND);
}

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		expect(&bad[i], i, PEEK_BAD);
}

/* The target's bytes begin where the dialogue ends. */
static void test_what_follows_is_not_consumed(void **state)
{
	struct hello hello;
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(found); i++) {
		_free_ char *bytes = malloc(found[i].len + 1);

		memcpy(bytes, found[i].bytes, found[i].len);
		bytes[found[i].len] = 5;
		assert_int_equal(peek(found[i].who, bytes, found[i].len + 1, &talk, &hello),
				 PEEK_FOUND);
		assert_int_equal(talk.consumed, found[i].len);
	}
}

static void expect_ask(const char *bytes, size_t len, const char *user, const char *password)
{
	struct hello hello;
	struct talk talk;

	assert_int_equal(peek(UNKNOWN, bytes, len - 1, &talk, &hello), PEEK_MORE);
	assert_false(talk.asks);
	assert_int_equal(peek(UNKNOWN, bytes, len, &talk, &hello), PEEK_MORE);
	assert_true(talk.asks);
	assert_string_equal(talk.user, user);
	assert_string_equal(talk.password, password);
}

static void test_users(void **state)
{
	(void)state;
	expect_ask(TEXT("\5\1\2\1\2me\6secret"), "me", "secret");
	expect_ask(TEXT("\5\1\2\1\0\0"), "", "");
	expect_ask(TEXT(HEAD AUTH "bWU6c2VjcmV0\r\n\r\n"), "me", "secret");
	expect_ask(TEXT(HEAD AUTH "bWU6YTpi\r\n\r\n"), "me", "a:b");
	expect_ask(TEXT(HEAD "proxy-authorization: basic  Og== \r\n\r\n"), "", "");
}

/* Where no rule has a target, the same bytes are what they were before. */
static void test_without_targets(void **state)
{
	static const struct peek_rules none = { .users = true };
	struct hello hello;

	(void)state;
	assert_int_equal(peek_first(&none, NULL, (const uint8_t *)"\5\1\0", 3, &hello), PEEK_FOUND);
	assert_int_equal(hello.protocol, PEEK_PROTOCOL_NONE);
	assert_int_equal(peek_first(&none, NULL, (const uint8_t *)HEAD "\r\n",
				    sizeof(HEAD "\r\n") - 1, &hello),
			 PEEK_FOUND);
	assert_int_equal(hello.protocol, PEEK_PROTOCOL_HTTP1);
}

/* And where one has, TLS and HTTP are still what they are. */
static void test_beside_others(void **state)
{
	struct hello hello;
	struct talk talk;

	(void)state;
	assert_int_equal(peek(OPEN, TEXT("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), &talk,
			      &hello),
			 PEEK_FOUND);
	assert_int_equal(hello.protocol, PEEK_PROTOCOL_HTTP1);
	assert_int_equal(talk.consumed, 0);
	assert_int_equal(peek(OPEN, TEXT("\x16\3\1"), &talk, &hello), PEEK_MORE);
	assert_int_equal(peek(OPEN, TEXT("CONNECT"), &talk, &hello), PEEK_MORE);
	assert_false(talk.begun);
	assert_int_equal(peek(OPEN, TEXT("\6"), &talk, &hello), PEEK_FOUND);
	assert_int_equal(hello.protocol, PEEK_PROTOCOL_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_what_follows_is_not_consumed),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_without_targets),
		cmocka_unit_test(test_beside_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
