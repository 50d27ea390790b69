// SPDX-License-Identifier: GPL-2.0-only
/*
 * prefix.c - what must hold for ladon prefixes, tokens and files of keys, whatever they are made of
 *
 * - The input as what follows the head of a prefix: what is found lies within it, and a token that is
 *   shown is good only if its MAC is right, which by chance it never is; with the right one it is
 *   judged by what it says.
 * - As a host: what libladon writes the peeker reads, and it is the same host.
 * - As a file of keys: it is read, or a line and a complaint without control characters.
 */
#include <assert.h>
#include <ctype.h>
#include <ladon/ladon.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../base/keys.h"
#include "../../base/own.h"
#include "../../gateway/peek.h"
#include "../../gateway/vouch.h"

#define KEY                                                                                        \
	"ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" /* not that of the seeds */
#define NOW 1800000000

static struct keys *keys;

static void check_keys(const uint8_t *bytes, size_t len)
{
	struct keys *read = NULL;
	char why[KEYS_WHY_MAX];
	unsigned int line = 0;

	if (keys_read((const char *)bytes, len, &read, &line, why) == 0) {
		assert(keys_find(read, keys_last(read)->id) == keys_last(read));
		keys_free(read);
		return;
	}
	assert(line >= 1 && line <= len + 1);
	for (const char *c = why; *c; c++)
		assert(!iscntrl((unsigned char)*c));
}

/* The same with the right MAC: what is left to be judged is what it says. */
static void check_genuine(const struct talk *talk)
{
	_free_ uint8_t *token = malloc(talk->token_len);
	const struct key *key = keys_last(keys);
	uint8_t made[TOKEN_BYTES_MAX];
	struct talk again = *talk;
	enum ladon_reason reason;
	struct token said;

	if (!token_parse(talk->token, talk->token_len, &said))
		return;
	assert(token_make(key->bytes, key->id, said.expires_s, said.target, made) ==
	       talk->token_len);
	memcpy(token, made, talk->token_len);
	again.token = token;
	reason = token_judge(keys, &again, NOW);
	if (said.expires_s <= NOW)
		assert(reason == LADON_REASON_TOKEN_EXPIRED);
	else
		assert(reason == LADON_REASON_NONE || reason == LADON_REASON_TOKEN_ELSEWHERE);
}

static void check_found(const struct talk *talk, const uint8_t *bytes, size_t len)
{
	assert(talk->consumed == len && talk->target == bytes + PREFIX_HEAD_BYTES);
	assert(prefix_target_is_sound(talk->target, len - PREFIX_HEAD_BYTES));
	if (!talk->token)
		return;
	assert(talk->token > talk->target && talk->token + talk->token_len <= bytes + len);
	assert(token_judge(keys, talk, NOW));
	check_genuine(talk);
}

static void check_body(const uint8_t *bytes, size_t len)
{
	static const struct peek_rules rules = { .targets = true };
	_free_ uint8_t *prefix = malloc(PREFIX_HEAD_BYTES + len);
	struct hello hello;
	struct talk talk;

	if (PREFIX_HEAD_BYTES + len > PREFIX_BYTES_MAX)
		return;
	prefix_head_put(prefix, PREFIX_WANTS_ANSWER, PREFIX_HEAD_BYTES + len);
	memcpy(prefix + PREFIX_HEAD_BYTES, bytes, len);
	talk_start(&talk);
	switch (peek_first(&rules, &talk, prefix, PREFIX_HEAD_BYTES + len, &hello)) {
	case PEEK_FOUND:
		check_found(&talk, prefix, PREFIX_HEAD_BYTES + len);
		break;
	case PEEK_BAD:
		break;
	default:
		abort();
	}
}

static void check_host(const uint8_t *bytes, size_t len)
{
	_free_ char *host = strndup((const char *)bytes, len);
	uint8_t prefix[LADON_PREFIX_MAX];
	struct hello hello;
	struct talk talk;
	int n = ladon_prefix(prefix, sizeof(prefix), host, 443, NULL, 0);

	if (n < 0)
		return;
	assert(peek_prefix(NULL, &talk, prefix, (size_t)n, &hello) == PEEK_FOUND);
	assert(hello.port == 443);
	if (talk.target[0] != PREFIX_HOST_NAME)
		return;
	if (host[strlen(host) - 1] == '.')
		host[strlen(host) - 1] = '\0';
	assert(strcasecmp(host, hello.name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char why[KEYS_WHY_MAX];
	unsigned int line;

	if (!keys && keys_read("7:" KEY, strlen("7:" KEY), &keys, &line, why) < 0)
		abort();
	check_keys(bytes, len);
	check_body(bytes, len);
	check_host(bytes, len);
	ladon_prefix_answer(bytes, len);
	return 0;
}
