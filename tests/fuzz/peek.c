// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek.c - what must hold for the peekers whatever a client sends
 *
 * - An answer other than PEEK_MORE is final: more bytes do not change it, nor
 *   the hello. So it does not matter how TCP cut the bytes.
 * - Nor does it matter how TLS cut them: the input, taken as a handshake
 *   message, is answered alike in one record and in many.
 * - A hello's name, path and ALPN list are what the header says they are.
 * - A dialogue only goes on: with more bytes ladon has said and consumed what it had with
 *   fewer, or more.
 * - No read past the length (each length gets a heap copy of its own), no write
 *   to a hello that was not announced.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../gateway/peek.h"
#include "../../gateway/words.h"

#define RUBBISH	      0xa5
#define RECORD_HEADER 5
#define RECORD_MAX    (1 << 14)
#define PREFIXES_MAX  64 /* per input and peeker */

typedef enum peek_answer (*peeker_fn)(const uint8_t *, size_t, struct hello *);

static struct words *built;
static const struct peek_rules *rules; /* of the peeker that is being asked */
static struct talk talk;

static enum peek_answer first(const uint8_t *bytes, size_t len, struct hello *out)
{
	return peek_first(rules, &talk, bytes, len, out);
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool name_fits(const char *name)
{
	size_t len = strnlen(name, PEEK_NAME_MAX);
	const char *allowed = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

	if (name[0] == '[')
		return len < PEEK_NAME_MAX && name[len - 1] == ']' &&
		       strspn(name, "[]0123456789abcdef:.") == len;
	return len < PEEK_NAME_MAX && strspn(name, allowed) == len && name[0] != '.' &&
	       (!len || name[len - 1] != '.') && !strstr(name, "..");
}

static bool path_fits(const char *path)
{
	if (!memchr(path, '\0', PEEK_PATH_MAX))
		return false;
	for (const char *c = path; *c; c++)
		if ((uint8_t)*c <= ' ' || *c == 0x7f || *c == '?' || *c == '#')
			return false;
	return !*path || *path == '/' || !strcmp(path, "*");
}

static bool alpn_fits(const struct hello *hello)
{
	size_t at = 0;

	while (at < hello->alpn_len && hello->alpn_len <= PEEK_ALPN_MAX && hello->alpn[at])
		at += 1 + (size_t)hello->alpn[at];
	return at == hello->alpn_len;
}

static bool hello_fits(const struct hello *hello, enum peek_answer answer)
{
	if (!name_fits(hello->name) || !path_fits(hello->path) || !alpn_fits(hello))
		return false;
	if (answer == PEEK_FOUND)
		return !hello->reason && !hello->alert;
	return hello->reason && !hello->alert == (hello->protocol != PEEK_PROTOCOL_TLS) &&
	       !hello->has_ech && !hello->alpn_len && !*hello->name && !*hello->path;
}

static bool hello_equal(const struct hello *a, const struct hello *b)
{
	return a->protocol == b->protocol && a->word == b->word && a->reason == b->reason &&
	       a->alert == b->alert && a->has_ech == b->has_ech && !strcmp(a->name, b->name) &&
	       !strcmp(a->path, b->path) && a->alpn_len == b->alpn_len &&
	       !memcmp(a->alpn, b->alpn, a->alpn_len);
}

static bool is_written(enum peek_answer answer)
{
	return answer == PEEK_FOUND || answer == PEEK_BAD;
}

static enum peek_answer peek(peeker_fn peeker, const uint8_t *bytes, size_t len, struct hello *out)
{
	static struct hello untouched;
	_free_ uint8_t *copy = malloc(len);
	enum peek_answer answer;

	if (len)
		memcpy(copy, bytes, len);
	memset(out, RUBBISH, sizeof(*out));
	memset(&untouched, RUBBISH, sizeof(untouched));
	answer = peeker(copy, len, out);
	if (is_written(answer))
		must(hello_fits(out, answer));
	else
		must(!memcmp(out, &untouched, sizeof(untouched)));
	return answer;
}

static void check_prefixes(peeker_fn peeker, const uint8_t *bytes, size_t len)
{
	size_t step = 1 + len / PREFIXES_MAX;
	struct hello whole, part;
	enum peek_answer answer = peek(peeker, bytes, len, &whole);

	for (size_t n = len % step; n < len; n += step) {
		enum peek_answer before = peek(peeker, bytes, n, &part);

		if (before == PEEK_MORE)
			continue;
		must(before == answer);
		must(!is_written(answer) || hello_equal(&part, &whole));
	}
}

/* One record after another, of as many bytes as @sizes says in turn; then all the rest. */
static size_t wrap(uint8_t *out, const uint8_t *message, size_t len, const uint8_t *sizes,
		   size_t sizes_len)
{
	size_t at = 0, out_len = 0;

	for (size_t i = 0; at < len; i++) {
		size_t n = i < sizes_len ? 1 + (size_t)sizes[i] : RECORD_MAX;

		if (n > len - at)
			n = len - at;
		memcpy(out + out_len, "\x16\x03\x03", 3);
		out[out_len + 3] = (uint8_t)(n >> 8);
		out[out_len + 4] = (uint8_t)n;
		memcpy(out + out_len + RECORD_HEADER, message + at, n);
		out_len += RECORD_HEADER + n;
		at += n;
	}
	return out_len;
}

/* The first bytes say how to cut the rest. */
static void check_records(const uint8_t *bytes, size_t len)
{
	enum {
		CUTS = 16
	};
	static uint8_t one[RECORD_HEADER + RECORD_MAX];
	static uint8_t many[sizeof(one) + CUTS * RECORD_HEADER];
	struct hello a, b;
	enum peek_answer answer;
	size_t n;

	if (len < CUTS || len - CUTS > RECORD_MAX)
		return;
	n = wrap(one, bytes + CUTS, len - CUTS, NULL, 0);
	answer = peek(peek_tls, one, n, &a);
	n = wrap(many, bytes + CUTS, len - CUTS, bytes, CUTS);
	must(peek(peek_tls, many, n, &b) == answer);
	must(!is_written(answer) || hello_equal(&a, &b));
	check_prefixes(peek_tls, many, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
static void check_talk(const uint8_t *bytes, size_t len)
{
	struct talk before = { 0 };
	struct hello hello;

	for (size_t n = len > PREFIXES_MAX ? len - PREFIXES_MAX : 0; n <= len; n++) {
		talk_start(&talk);
		first(bytes, n, &hello);
		must(talk.consumed <= n && talk.say_len <= sizeof(talk.say));
		must(talk.consumed >= before.consumed && talk.say_len >= before.say_len);
		must(!memcmp(talk.say, before.say, before.say_len));
		must(!talk.asks || (rules->users && talk.user_is == PEEK_USER_UNKNOWN &&
				    memchr(talk.user, '\0', PEEK_USER_MAX) &&
				    memchr(talk.password, '\0', PEEK_USER_MAX)));
		before = talk;
	}
}

static void check_talks(const uint8_t *bytes, size_t len)
{
	static const struct peek_rules open = { .targets = true };
	static const struct peek_rules guarded = { .targets = true, .users = true };

	rules = &open;
	check_prefixes(first, bytes, len);
	check_talk(bytes, len);
	rules = &guarded;
	for (talk.user_is = PEEK_USER_UNKNOWN; talk.user_is <= PEEK_USER_WRONG; talk.user_is++) {
		check_prefixes(first, bytes, len);
		check_talk(bytes, len);
	}
	rules = NULL;
}

/* Regexes that look behind, ahead, to the end and for too long: cuts must not matter to them either. */
static void check_words(const uint8_t *bytes, size_t len)
{
	static struct config_route routes[] = {
		{ .starts = "SSH-" },		{ .starts = "SSH-1.99" },
		{ .starts = "\\x00\\x01" },	{ .regex = "(a+)+\\n" },
		{ .regex = "BIN[0-9]+$" },	{ .regex = "(?s).{4}\\xffSMB" },
		{ .regex = "x(?!y)|z++(?=y)" }, { .regex = "\\bw.*\\Bw\\z" },
	};
	static const struct config_listener listener = {
		.routes = routes, .routes_len = sizeof(routes) / sizeof(routes[0])
	};
	static struct peek_rules own = { .targets = true };

	if (!own.words)
		must(words_new(&listener, &built) == 0);
	own.words = built;
	rules = &own;
	check_prefixes(first, bytes, len);
	rules = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const peeker_fn peekers[] = { peek_tls, peek_http1, peek_http2, first };

	for (size_t i = 0; i < sizeof(peekers) / sizeof(peekers[0]); i++)
		check_prefixes(peekers[i], bytes, len);
	check_records(bytes, len);
	check_talks(bytes, len);
	check_words(bytes, len);
	return 0;
}
