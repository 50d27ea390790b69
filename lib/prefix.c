// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * prefix.c - what a client of a gateway says first, and what it hears
 *
 * No handle, no kernel, no memory: these two calls are for clients, and work anywhere.
 */
#include "../base/prefix.h"

#include <errno.h>
#include <ladon/ladon.h>
#include <string.h>

#include "../base/hex.h"

#define TOKEN_MAX 512

/* Return: the extension's length, or -EINVAL */
static int token_put(const char *text, uint8_t *out)
{
	size_t len = strlen(text) / 2;

	if (!len || strlen(text) % 2 || len > TOKEN_MAX ||
	    !hex_read(text, out + PREFIX_EXTENSION_HEAD_BYTES, len))
		return -EINVAL;
	out[0] = PREFIX_EXTENSION_TOKEN;
	prefix_put16(out + 1, (uint16_t)len);
	return (int)(PREFIX_EXTENSION_HEAD_BYTES + len);
}

int ladon_prefix(void *out, size_t size, const char *host, uint16_t port, const char *token,
		 unsigned int flags)
{
	uint8_t bytes[LADON_PREFIX_MAX];
	size_t target, len;
	int rc;

	if (!port || *host == '*' || flags & ~LADON_PREFIX_ANSWER)
		return -EINVAL;
	target = prefix_target_put(host, port, bytes + PREFIX_HEAD_BYTES);
	if (!target)
		return -EINVAL;
	len = PREFIX_HEAD_BYTES + target;
	if (token) {
		rc = token_put(token, bytes + len);
		if (rc < 0)
			return rc;
		len += (size_t)rc;
	}
	if (len > size)
		return -ENOBUFS;
	prefix_head_put(bytes, flags & LADON_PREFIX_ANSWER ? PREFIX_WANTS_ANSWER : 0, len);
	memcpy(out, bytes, len);
	return (int)len;
}

_Static_assert(PREFIX_HEAD_BYTES + PREFIX_TARGET_BYTES_MAX + PREFIX_EXTENSION_HEAD_BYTES +
			       TOKEN_MAX <=
		       LADON_PREFIX_MAX,
	       "the longest host and the longest token have room");
_Static_assert(LADON_PREFIX_MAX == PREFIX_BYTES_MAX, "no prefix is longer");

static int status_errno(uint8_t status)
{
	static const int errors[] = {
		[PREFIX_NOT_ALLOWED] = EACCES,
		[PREFIX_NETWORK_UNREACHABLE] = ENETUNREACH,
		[PREFIX_HOST_UNREACHABLE] = EHOSTUNREACH,
		[PREFIX_REFUSED] = ECONNREFUSED,
		[PREFIX_TTL] = ETIMEDOUT,
		[PREFIX_MALFORMED] = EINVAL,
		[PREFIX_UNSUPPORTED] = EPROTONOSUPPORT,
		[PREFIX_TOKEN_MISSING] = ENOKEY,
		[PREFIX_TOKEN_REFUSED] = EKEYREJECTED,
		[PREFIX_TOKEN_EXPIRED] = EKEYEXPIRED,
		[PREFIX_TOKEN_ELSEWHERE] = EPERM,
	};
	int error = status < sizeof(errors) / sizeof(errors[0]) ? errors[status] : 0;

	return error ? error : EIO;
}

int ladon_prefix_answer(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	size_t magic_len = len < PREFIX_MAGIC_BYTES ? len : PREFIX_MAGIC_BYTES, all;

	if (memcmp(at, PREFIX_MAGIC, magic_len) != 0)
		return -EBADMSG;
	if (len < PREFIX_HEAD_BYTES)
		return -EAGAIN;
	all = prefix_get16(at + 6);
	if (all < PREFIX_ANSWER_BYTES || all > PREFIX_BYTES_MAX)
		return -EBADMSG;
	if (at[5] != PREFIX_CONNECTED)
		return -status_errno(at[5]);
	return len < all ? -EAGAIN : (int)all;
}
