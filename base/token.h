/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * token.h - the token that a ladon prefix may show: made with a key, checked with it
 *
 * PREFIX.md, section 4. It belongs to whoever has it; its maker alone has the key. libcrypto does
 * HMAC-SHA256, so libladon, which only passes tokens on, has no part in this file.
 */
#ifndef LADON_TOKEN_H
#define LADON_TOKEN_H

#include "prefix.h"

#define TOKEN_KEY_BYTES	 32
#define TOKEN_MAC_BYTES	 32
#define TOKEN_HEAD_BYTES 12 /* key's id, expiry; then a target, then the MAC */
#define TOKEN_BYTES_MAX	 (TOKEN_HEAD_BYTES + PREFIX_TARGET_BYTES_MAX + TOKEN_MAC_BYTES)

struct token {
	uint32_t key_id;
	uint64_t expires_s;    /* Unix time: from then on it is no good */
	const uint8_t *target; /* that it is for, in the bytes that were parsed; port 0: each */
	const uint8_t *mac;
};

/**
 * token_make() - out of what is to be in it
 * @target: as prefix_target_put() makes it; a name may begin with "*."
 * @out: has TOKEN_BYTES_MAX bytes
 *
 * Return: its length, 0: no memory.
 */
size_t token_make(const uint8_t key[TOKEN_KEY_BYTES], uint32_t key_id, uint64_t expires_s,
		  const uint8_t *target, uint8_t *out);

/** token_parse() - take one apart, unchecked. Return: false: it is none */
bool token_parse(const uint8_t *bytes, size_t len, struct token *out);

/** token_is_of() - was the token that begins at @bytes made with @key? Takes as long if not */
bool token_is_of(const uint8_t *bytes, const struct token *token,
		 const uint8_t key[TOKEN_KEY_BYTES]);

/** token_admits() - is it good for @target, a prefix's? */
bool token_admits(const struct token *token, const uint8_t *target);

#endif
