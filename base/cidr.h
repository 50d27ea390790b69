/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cidr.h - sets of IPv4 and IPv6 addresses, written as prefixes
 *
 * Text is 10.0.0.0/8 and 2001:db8::/32; an address alone is a prefix of that one
 * address. An IPv4 address is the same in the form ::ffff:a.b.c.d, alone and with
 * a prefix of 96 bits and more; no other IPv6 prefix has IPv4 addresses in it, so
 * that ::/0 is all of IPv6 and nothing else. Scope ids do not matter.
 *
 * A set is filled, sealed, and then only asked: a bisection over ranges that do
 * not touch, 17 steps for 100,000 prefixes. Once sealed any thread may ask.
 */
#ifndef LADON_CIDR_H
#define LADON_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define CIDR_TEXT_MAX 64  /* room for any prefix as text, NUL included */
#define CIDR_WHY_MAX  256 /* ... and for what is wrong with a text */

struct cidr {
	uint8_t first[16];  /* as of addr_to_16() */
	unsigned char bits; /* 0 to 128; of an IPv4 prefix 96 more than written */
};

struct cidr_range {
	uint8_t first[16], last[16];
};

/* Zeroed, it is an empty set. */
struct cidrs {
	struct cidr_range *ranges;
	uint32_t len, room;
};

/**
 * cidr_parse() - a prefix or an address
 * @out: written only on success
 * @why: on failure what is wrong and would be right; it quotes @text, control characters and all
 *
 * Return: 0, or -EINVAL: no such thing, or bits are set beyond the prefix.
 */
int cidr_parse(const char *text, struct cidr *out, char why[CIDR_WHY_MAX]);

/** cidr_format() - as text, in its shortest form. Return: @out */
char *cidr_format(const struct cidr *cidr, char out[CIDR_TEXT_MAX]);

/** cidr_has() - is the address in it? IPv4 in IPv6 prefixes of 96 bits and more only, as above */
bool cidr_has(const struct cidr *cidr, const struct addr *addr);

/** cidrs_add() - Return: 0, or -ENOMEM: the set is as it was */
int cidrs_add(struct cidrs *set, const struct cidr *cidr);

/**
 * cidrs_read() - add all of a file's text: one prefix in a line, '#' begins a comment
 * @line: on failure the line that is wrong
 * @why: ... and how, see cidr_parse()
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int cidrs_read(struct cidrs *set, const char *text, size_t len, unsigned int *line,
	       char why[CIDR_WHY_MAX]);

/** cidrs_seal() - when all is added: from now on it may be asked. Sealing again is fine */
void cidrs_seal(struct cidrs *set);

/** cidrs_has() - is the address in it? The port does not matter */
bool cidrs_has(const struct cidrs *set, const struct addr *addr);

/** cidrs_fini() - free what it holds, and make it empty */
void cidrs_fini(struct cidrs *set);

#endif
