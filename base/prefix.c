// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prefix.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define NAME_BYTES_MAX 253 /* RFC 1035 section 2.3.4, as text without the last dot */

void prefix_head_put(uint8_t out[PREFIX_HEAD_BYTES], uint8_t last, size_t len)
{
	memcpy(out, PREFIX_MAGIC, PREFIX_MAGIC_BYTES);
	out[4] = PREFIX_VERSION;
	out[5] = last;
	prefix_put16(out + 6, (uint16_t)len);
}

bool prefix_target_is_sound(const uint8_t *target, size_t len)
{
	if (len < PREFIX_TARGET_HEAD_BYTES || len < prefix_target_len(target))
		return false;
	switch (target[0]) {
	case PREFIX_HOST_ANY:
		return target[1] == 0;
	case PREFIX_HOST_IP4:
		return target[1] == 4;
	case PREFIX_HOST_IP6:
		return target[1] == 16;
	case PREFIX_HOST_NAME:
		return target[1] > 0;
	default:
		return false;
	}
}

static bool is_name(const char *name, size_t len)
{
	char before = '.';

	for (size_t i = 0; i < len; before = name[i++])
		if (name[i] == '.'
			    ? before == '.'
			    : !isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
			return false;
	return len <= NAME_BYTES_MAX && before != '.';
}

static size_t host_put(const char *host, uint8_t *kind, uint8_t *out)
{
	size_t len = strlen(host), stars = strncmp(host, "*.", 2) == 0 ? 2 : 0;

	if (inet_pton(AF_INET, host, out) == 1) {
		*kind = PREFIX_HOST_IP4;
		return 4;
	}
	if (inet_pton(AF_INET6, host, out) == 1) {
		*kind = PREFIX_HOST_IP6;
		return 16;
	}
	if (len && host[len - 1] == '.')
		len--; /* the root, as in example.org. */
	if (!is_name(host + stars, len - stars))
		return 0;
	*kind = PREFIX_HOST_NAME;
	memcpy(out, host, len);
	return len;
}

size_t prefix_target_put(const char *host, uint16_t port, uint8_t *out)
{
	size_t len = host_put(host, &out[0], out + PREFIX_TARGET_HEAD_BYTES);

	out[1] = (uint8_t)len;
	prefix_put16(out + 2, port);
	return len ? prefix_target_len(out) : 0;
}
