/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * srv.h - the SRV records of a name (RFC 2782), as a name server answers them
 *
 * c-ares parses them, too, but tells no TTL.
 */
#ifndef LADON_SRV_H
#define LADON_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SRV_TYPE     33 /* RFC 2782 */
#define SRV_CLASS_IN 1	/* RFC 1035 section 3.2.4 */
#define SRV_MAX                                                                                    \
	64 /* targets that are used: those of the least priority, and then of the first name */
#define SRV_HOST_MAX 256 /* with its NUL */

struct listing;

struct srv {
	uint16_t priority, weight, port;
	char host[SRV_HOST_MAX]; /* lower case, without the last dot */
};

/**
 * struct srvs - an answer
 * @ttl_s: the least of its records
 * @len: 0: the name says that there is no such service (a target of ".")
 * @list: each target once, sorted by priority, host and port
 */
struct srvs {
	uint32_t ttl_s;
	unsigned int len;
	struct srv list[SRV_MAX];
};

/**
 * srv_parse() - from the message of a name server
 *
 * Targets that are no names are left out.
 *
 * Return: 0; -ENODATA: there is no usable record; -EBADMSG: it is malformed.
 */
int srv_parse(const uint8_t *bytes, size_t len, struct srvs *out);

/**
 * srv_listing() - as backends of a pool
 * @out: is added to
 *
 * Priorities become ranks. Weights stay what they are if they fit; else the largest becomes
 * CONFIG_WEIGHT_MAX, and so it does beside a weight of 0, which becomes 1. If all are 0, they are equal.
 *
 * Return: 0 or -ENOMEM.
 */
int srv_listing(const struct srvs *srvs, struct listing *out);

#endif
