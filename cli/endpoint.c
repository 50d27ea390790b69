/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * endpoint.c - HOST:PORT as a user writes it
 */
#include "endpoint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool port_parse(const char *text, uint16_t *out)
{
	unsigned long port;
	char *end;

	if (strcmp(text, "*") == 0) {
		*out = 0;
		return true;
	}
	port = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
	if (port < 1 || port > UINT16_MAX || *end)
		return false;
	*out = (uint16_t)port;
	return true;
}

bool endpoint_parse(const char *text, struct endpoint *out)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool bracketed = len > 2 && text[0] == '[' && colon[-1] == ']';

	if (bracketed) {
		text++;
		len -= 2;
	}
	if (!len || len >= ENDPOINT_HOST_MAX || (!bracketed && memchr(text, ':', len)) ||
	    !port_parse(colon + 1, &out->port))
		return false;
	memcpy(out->host, text, len);
	out->host[len] = '\0';
	return true;
}
