/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * endpoint.h - HOST:PORT as a user writes it
 */
#ifndef LADON_ENDPOINT_H
#define LADON_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#define ENDPOINT_HOST_MAX 256

struct endpoint {
	char host[ENDPOINT_HOST_MAX]; /* without brackets; not yet looked at */
	uint16_t port;		      /* 0: "*" */
};

/**
 * endpoint_parse() - take it apart
 * @text: an IPv6 address stands in brackets; so may all others, since ssh(1) writes [%h]:%p
 *
 * Return: false: there is no port in it, or two, or none that could be one.
 */
bool endpoint_parse(const char *text, struct endpoint *out);

#endif
