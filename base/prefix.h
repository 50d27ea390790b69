/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * prefix.h - the ladon prefix on the wire
 *
 * PREFIX.md has the drawing, and the words. All numbers are in network byte order.
 */
#ifndef LADON_PREFIX_H
#define LADON_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREFIX_MAGIC	   "\xfbldn"
#define PREFIX_MAGIC_BYTES 4
#define PREFIX_VERSION	   1
#define PREFIX_BYTES_MIN   13
#define PREFIX_BYTES_MAX   1024

/* In all versions alike: magic, version, flags or status, length of it all */
#define PREFIX_HEAD_BYTES   8
#define PREFIX_ANSWER_BYTES PREFIX_HEAD_BYTES /* of version 1 */
#define PREFIX_WANTS_ANSWER 0x01	      /* the one flag */

/* The target: kind of host, length of host, port, host */
#define PREFIX_TARGET_HEAD_BYTES 4
#define PREFIX_TARGET_BYTES_MAX	 (PREFIX_TARGET_HEAD_BYTES + 255)

/* ATYP, RFC 1928 section 5 */
enum prefix_host {
	PREFIX_HOST_ANY, /* in tokens only */
	PREFIX_HOST_IP4 = 1,
	PREFIX_HOST_NAME = 3,
	PREFIX_HOST_IP6 = 4,
};

/* Extensions: type, length of value, value */
#define PREFIX_EXTENSION_HEAD_BYTES 3
#define PREFIX_EXTENSION_TOKEN	    0x01
#define PREFIX_EXTENSION_CRITICAL   0x80 /* who does not know the type refuses the prefix */

/* Up to 8: REP, RFC 1928 section 6 */
enum prefix_status {
	PREFIX_CONNECTED,
	PREFIX_FAILURE,
	PREFIX_NOT_ALLOWED,
	PREFIX_NETWORK_UNREACHABLE,
	PREFIX_HOST_UNREACHABLE,
	PREFIX_REFUSED,
	PREFIX_TTL,
	PREFIX_MALFORMED = 16,
	PREFIX_UNSUPPORTED,
	PREFIX_TOKEN_MISSING,
	PREFIX_TOKEN_REFUSED,
	PREFIX_TOKEN_EXPIRED,
	PREFIX_TOKEN_ELSEWHERE,
};

static inline uint16_t prefix_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void prefix_put16(uint8_t *at, uint16_t number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
}

/** prefix_head_put() - @last: flags, or an answer's status; @len: of it all */
void prefix_head_put(uint8_t out[PREFIX_HEAD_BYTES], uint8_t last, size_t len);

static inline size_t prefix_target_len(const uint8_t *target)
{
	return PREFIX_TARGET_HEAD_BYTES + (size_t)target[1];
}

/** prefix_target_is_sound() - do kind and length of host, and @len, the room it has, fit? */
bool prefix_target_is_sound(const uint8_t *target, size_t len);

/**
 * prefix_target_put() - a host and a port
 * @host: an IPv4 or IPv6 address, without brackets, or a name, which may begin with "*." (for
 *	tokens)
 * @out: has PREFIX_TARGET_BYTES_MAX bytes
 *
 * Return: its length, 0: @host is neither.
 */
size_t prefix_target_put(const char *host, uint16_t port, uint8_t *out);

#endif
