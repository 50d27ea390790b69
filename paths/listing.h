/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * listing.h - backends that a source names: a file, or the SRV records of a name
 *
 * A file has one backend in a line, and what the configuration may say of it:
 *
 *	10.0.2.2:443
 *	www.internal:443  weight=3 max-flows=1000   # a comment
 *	10.0.2.9:443      backup=yes
 */
#ifndef LADON_LISTING_H
#define LADON_LISTING_H

#include "../gateway/config.h"

#define LISTING_WHY_MAX	  512
#define LISTING_BYTES_MAX (16 * 1024 * 1024) /* of a file */

struct listed {
	struct config_backend config; /* texts are the listing's */
	struct addr *addrs;	      /* of a name, if they are known; with its port */
	unsigned int addrs_len;
};

struct listing {
	unsigned int len, room;
	struct listed *list;
};

/**
 * listing_add() - one more, whose .config.weight is 1
 * @text: the address, or the name in lower case, and the port
 * @out: valid until the next one is added
 *
 * Return: 0; -EINVAL, with @why; -E2BIG: there are CONFIG_BACKENDS_MAX, with @why; -ENOMEM.
 */
int listing_add(struct listing *listing, const char *text, struct listed **out,
		char why[LISTING_WHY_MAX]);

/**
 * listing_read() - all of a file's text
 * @line: on failure the line that is wrong
 *
 * Return: 0, with at least one backend; -EINVAL or -E2BIG, with @why, or -ENOMEM.
 */
int listing_read(struct listing *listing, const char *text, size_t len, unsigned int *line,
		 char why[LISTING_WHY_MAX]);

/** listing_fini() - empty afterwards, and may be used again */
void listing_fini(struct listing *listing);

#endif
