// SPDX-License-Identifier: GPL-2.0-only
#include "vouch.h"

enum ladon_reason token_judge(const struct keys *keys, const struct talk *talk, uint64_t now_s)
{
	const struct key *key;
	struct token token;

	if (!talk->token)
		return LADON_REASON_TOKEN_MISSING;
	if (!token_parse(talk->token, talk->token_len, &token))
		return LADON_REASON_TOKEN_FORGED;
	key = keys_find(keys, token.key_id);
	if (!key)
		return LADON_REASON_TOKEN_UNKNOWN_KEY;
	if (!token_is_of(talk->token, &token, key->bytes))
		return LADON_REASON_TOKEN_FORGED;
	if (now_s >= token.expires_s)
		return LADON_REASON_TOKEN_EXPIRED;
	return token_admits(&token, talk->target) ? LADON_REASON_NONE
						  : LADON_REASON_TOKEN_ELSEWHERE;
}
