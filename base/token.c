// SPDX-License-Identifier: LGPL-2.1-or-later
#include "token.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

/* What no other protocol's messages begin with, should a key be used there as well; with its NUL */
#define LABEL "ladon-token-1"

static bool mac_make(const uint8_t key[TOKEN_KEY_BYTES], const uint8_t *body, size_t len,
		     uint8_t out[TOKEN_MAC_BYTES])
{
	uint8_t bytes[sizeof(LABEL) + TOKEN_BYTES_MAX];

	memcpy(bytes, LABEL, sizeof(LABEL));
	memcpy(bytes + sizeof(LABEL), body, len);
	return HMAC(EVP_sha256(), key, TOKEN_KEY_BYTES, bytes, sizeof(LABEL) + len, out, NULL);
}

size_t token_make(const uint8_t key[TOKEN_KEY_BYTES], uint32_t key_id, uint64_t expires_s,
		  const uint8_t *target, uint8_t *out)
{
	uint32_t id = htobe32(key_id);
	uint64_t expires = htobe64(expires_s);
	size_t len = TOKEN_HEAD_BYTES + prefix_target_len(target);

	memcpy(out, &id, sizeof(id));
	memcpy(out + sizeof(id), &expires, sizeof(expires));
	memcpy(out + TOKEN_HEAD_BYTES, target, prefix_target_len(target));
	return mac_make(key, out, len, out + len) ? len + TOKEN_MAC_BYTES : 0;
}

bool token_parse(const uint8_t *bytes, size_t len, struct token *out)
{
	const uint8_t *target = bytes + TOKEN_HEAD_BYTES;
	uint32_t id;
	uint64_t expires;

	if (len < TOKEN_HEAD_BYTES + TOKEN_MAC_BYTES ||
	    !prefix_target_is_sound(target, len - TOKEN_HEAD_BYTES - TOKEN_MAC_BYTES) ||
	    len != TOKEN_HEAD_BYTES + prefix_target_len(target) + TOKEN_MAC_BYTES)
		return false;
	memcpy(&id, bytes, sizeof(id));
	memcpy(&expires, bytes + sizeof(id), sizeof(expires));
	*out = (struct token){ .key_id = be32toh(id),
			       .expires_s = be64toh(expires),
			       .target = target,
			       .mac = target + prefix_target_len(target) };
	return true;
}

bool token_is_of(const uint8_t *bytes, const struct token *token,
		 const uint8_t key[TOKEN_KEY_BYTES])
{
	uint8_t mac[TOKEN_MAC_BYTES];

	return mac_make(key, bytes, (size_t)(token->mac - bytes), mac) &&
	       CRYPTO_memcmp(mac, token->mac, TOKEN_MAC_BYTES) == 0;
}

/* "*.example.org" is for one or more labels before .example.org, as in ladon.yaml. */
static bool name_fits(const char *pattern, size_t pattern_len, const char *name, size_t len)
{
	if (pattern_len > 2 && pattern[0] == '*' && pattern[1] == '.') {
		pattern++;
		pattern_len--;
		if (len <= pattern_len)
			return false;
		name += len - pattern_len;
		len = pattern_len;
	}
	return len == pattern_len && strncasecmp(pattern, name, len) == 0;
}

bool token_admits(const struct token *token, const uint8_t *target)
{
	const uint8_t *own = token->target;
	const char *host = (const char *)target + PREFIX_TARGET_HEAD_BYTES;
	const char *own_host = (const char *)own + PREFIX_TARGET_HEAD_BYTES;

	if (prefix_get16(own + 2) && prefix_get16(own + 2) != prefix_get16(target + 2))
		return false;
	if (own[0] == PREFIX_HOST_ANY)
		return true;
	if (own[0] != target[0])
		return false;
	if (own[0] == PREFIX_HOST_NAME)
		return name_fits(own_host, own[1], host, target[1]);
	return memcmp(own_host, host, own[1]) == 0;
}
