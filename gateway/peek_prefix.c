// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek_prefix.c - the target that a client names in a ladon prefix: PREFIX.md
 *
 * A dialogue of one word, and one answer if the client wants that. The token, if one is shown, is
 * not judged here: that takes keys and a clock.
 */
#include "peek.h"

#include <string.h>

static enum peek_answer refuse(struct hello *out, enum ladon_reason why)
{
	return hello_refuse(out, PEEK_PROTOCOL_PREFIX, why, 0);
}

/* @at: what follows the target. Return: NONE: they are as they should be */
static enum ladon_reason read_extensions(struct talk *talk, const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		const uint8_t *value = at + PREFIX_EXTENSION_HEAD_BYTES;
		size_t len;

		if (value > end)
			return LADON_REASON_PREFIX_MALFORMED;
		len = prefix_get16(at + 1);
		if (len > (size_t)(end - value))
			return LADON_REASON_PREFIX_MALFORMED;
		if (*at == PREFIX_EXTENSION_TOKEN) {
			if (talk->token)
				return LADON_REASON_PREFIX_MALFORMED;
			talk->token = value;
			talk->token_len = len;
		} else if (*at & PREFIX_EXTENSION_CRITICAL) {
			return LADON_REASON_PREFIX_UNSUPPORTED;
		}
		at = value + len;
	}
	return LADON_REASON_NONE;
}

static enum peek_answer read_body(struct talk *talk, const uint8_t *bytes, size_t len,
				  struct hello *out)
{
	struct hello hello = { .protocol = PEEK_PROTOCOL_PREFIX };
	const uint8_t *target = bytes + PREFIX_HEAD_BYTES;
	enum ladon_reason why;

	if (!prefix_target_is_sound(target, len - PREFIX_HEAD_BYTES))
		return refuse(out, LADON_REASON_PREFIX_MALFORMED);
	hello.port = prefix_get16(target + 2);
	if (!hello.port ||
	    !hello_set_host(&hello, target[0], target + PREFIX_TARGET_HEAD_BYTES, target[1]))
		return refuse(out, LADON_REASON_PREFIX_MALFORMED);
	talk->target = target;
	why = read_extensions(talk, target + prefix_target_len(target), bytes + len);
	if (why)
		return refuse(out, why);
	talk->consumed = len;
	*out = hello;
	return PEEK_FOUND;
}

enum peek_answer peek_prefix(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out)
{
	size_t all;

	(void)rules;
	if (memcmp(bytes, PREFIX_MAGIC, len < PREFIX_MAGIC_BYTES ? len : PREFIX_MAGIC_BYTES) != 0)
		return PEEK_OTHER;
	talk_start(talk);
	talk->silent = true;
	if (len < PREFIX_HEAD_BYTES)
		return PEEK_MORE;
	talk->silent = !(bytes[5] & PREFIX_WANTS_ANSWER);
	if (bytes[4] != PREFIX_VERSION || bytes[5] & ~PREFIX_WANTS_ANSWER)
		return refuse(out, LADON_REASON_PREFIX_UNSUPPORTED);
	all = prefix_get16(bytes + 6);
	if (all < PREFIX_BYTES_MIN || all > PREFIX_BYTES_MAX)
		return refuse(out, LADON_REASON_PREFIX_MALFORMED);
	return len < all ? PEEK_MORE : read_body(talk, bytes, all, out);
}

size_t peek_prefix_answer(uint8_t status, uint8_t out[PREFIX_ANSWER_BYTES])
{
	prefix_head_put(out, status, PREFIX_ANSWER_BYTES);
	return PREFIX_ANSWER_BYTES;
}
