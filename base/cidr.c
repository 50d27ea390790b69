// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cidr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"

#define MAPPED_BITS 96 /* of ::ffff:0:0/96, where IPv4 is */

static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };
/* The addresses before and after those */
static const uint8_t before_mapped[16] = { [10] = 0xff, [11] = 0xfe, 0xff, 0xff, 0xff, 0xff };
static const uint8_t after_mapped[16] = { [9] = 1 };

static int compare(const uint8_t a[16], const uint8_t b[16])
{
	return memcmp(a, b, 16);
}

/* ---- text ---- */

/* The bits after the first @bits; all of them to @bit. Return: did one have another value? */
static bool fill(uint8_t address[16], unsigned int bits, bool bit)
{
	bool changed = false;

	for (unsigned int i = bits / 8; i < 16; i++) {
		uint8_t mask = i > bits / 8 ? 0xff : (uint8_t)(0xff >> bits % 8);
		uint8_t filled = (uint8_t)(bit ? address[i] | mask : address[i] & ~mask);

		changed |= filled != address[i];
		address[i] = filled;
	}
	return changed;
}

/* Return: how many bits an address of its family has, or 0 if it is none */
static unsigned int host_parse(const char *host, uint8_t out[16])
{
	memcpy(out, mapped, 12);
	if (inet_pton(AF_INET, host, out + 12) == 1)
		return 32;
	return inet_pton(AF_INET6, host, out) == 1 ? 128 : 0;
}

static bool bits_parse(const char *text, unsigned int max, unsigned int *out)
{
	unsigned int bits = 0;
	size_t len = strlen(text);

	if (len < 1 || len > 3 || strspn(text, "0123456789") != len)
		return false;
	for (; *text; text++)
		bits = bits * 10 + (unsigned int)(*text - '0');
	*out = bits;
	return bits <= max;
}

static int refuse(const char *text, const char *wanted, char why[CIDR_WHY_MAX])
{
	snprintf(why, CIDR_WHY_MAX, "\"%.80s\" will not do; %s", text, wanted);
	return -EINVAL;
}

int cidr_parse(const char *text, struct cidr *out, char why[CIDR_WHY_MAX])
{
	static const char wanted[] = "it takes an address or a prefix, such as 192.0.2.1, "
				     "10.0.0.0/8 or 2001:db8::/32";
	size_t len = strcspn(text, "/");
	char host[INET6_ADDRSTRLEN], meant[CIDR_TEXT_MAX];
	unsigned int max, bits;
	struct cidr cidr;

	if (len >= sizeof(host))
		return refuse(text, wanted, why);
	memcpy(host, text, len);
	host[len] = '\0';
	max = host_parse(host, cidr.first);
	if (max == 0)
		return refuse(text, wanted, why);
	bits = max;
	if (text[len] && !bits_parse(text + len + 1, max, &bits))
		return refuse(text,
			      max == 32 ? "after the '/' of IPv4 stands a number from 0 to 32"
					: "after the '/' of IPv6 stands a number from 0 to 128",
			      why);
	cidr.bits = (unsigned char)(bits + 128 - max);
	if (fill(cidr.first, cidr.bits, 0)) {
		snprintf(why, CIDR_WHY_MAX,
			 "\"%.80s\" has bits set beyond the first %u; write %s, or %s for that one "
			 "address",
			 text, bits, cidr_format(&cidr, meant), host);
		return -EINVAL;
	}
	*out = cidr;
	return 0;
}

char *cidr_format(const struct cidr *cidr, char out[CIDR_TEXT_MAX])
{
	bool is_ip4 = cidr->bits >= MAPPED_BITS && memcmp(cidr->first, mapped, 12) == 0;
	unsigned int bits = is_ip4 ? cidr->bits - MAPPED_BITS : cidr->bits;
	char host[INET6_ADDRSTRLEN] = "";

	inet_ntop(is_ip4 ? AF_INET : AF_INET6, is_ip4 ? cidr->first + 12 : cidr->first, host,
		  sizeof(host));
	snprintf(out, CIDR_TEXT_MAX, cidr->bits == 128 ? "%s" : "%s/%u", host, bits);
	return out;
}

bool cidr_has(const struct cidr *cidr, const struct addr *addr)
{
	uint32_t words[4];
	uint8_t bytes[16];

	if (cidr->bits < MAPPED_BITS && addr_family(addr) == AF_INET)
		return false;
	addr_to_16(addr, words);
	memcpy(bytes, words, 16);
	for (unsigned int i = 0; i < 16 && 8 * i < cidr->bits; i++) {
		unsigned int left = cidr->bits - 8 * i;
		uint8_t mask = left < 8 ? (uint8_t)(0xff00 >> left) : 0xff;

		if ((bytes[i] ^ cidr->first[i]) & mask)
			return false;
	}
	return true;
}

/* ---- filling a set ---- */

static int room_make(struct cidrs *set)
{
	uint32_t room = set->room ? 2 * set->room : 4;
	struct cidr_range *ranges;

	if (set->room - set->len >= 2)
		return 0;
	ranges = reallocarray(set->ranges, room, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	set->ranges = ranges;
	set->room = room;
	return 0;
}

/* One range; two if IPv4 lies in the middle of it. */
int cidrs_add(struct cidrs *set, const struct cidr *cidr)
{
	struct cidr_range all, *next;
	int rc = room_make(set);

	if (rc < 0)
		return rc;
	memcpy(all.first, cidr->first, 16);
	memcpy(all.last, cidr->first, 16);
	fill(all.last, cidr->bits, 1);
	next = &set->ranges[set->len++];
	*next = all;
	if (cidr->bits >= MAPPED_BITS || compare(all.first, mapped) > 0 ||
	    compare(all.last, mapped) < 0)
		return 0;
	memcpy(next->last, before_mapped, 16);
	if (compare(all.last, after_mapped) < 0)
		return 0;
	next = &set->ranges[set->len++];
	*next = all;
	memcpy(next->first, after_mapped, 16);
	return 0;
}

/* What stands between @begin and @end, without a comment and the blanks around it. Return: its length */
static size_t word_find(const char **begin, const char *end)
{
	const char *comment = memchr(*begin, '#', (size_t)(end - *begin));

	end = comment ? comment : end;
	while (*begin < end && isspace((unsigned char)**begin))
		(*begin)++;
	while (*begin < end && isspace((unsigned char)end[-1]))
		end--;
	return (size_t)(end - *begin);
}

/* A longer word is cut off, and is none then, nor is one with a NUL in it. */
static int word_add(struct cidrs *set, const char *word, size_t len, char why[CIDR_WHY_MAX])
{
	char text[2 * CIDR_TEXT_MAX];
	struct cidr cidr;
	int rc;

	snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text)), word);
	if (strlen(text) != len)
		return refuse(text, "an address or a prefix is shorter, and alone in its line",
			      why);
	rc = cidr_parse(text, &cidr, why);
	return rc < 0 ? rc : cidrs_add(set, &cidr);
}

int cidrs_read(struct cidrs *set, const char *text, size_t len, unsigned int *line,
	       char why[CIDR_WHY_MAX])
{
	const char *end = text + len, *word;
	int rc = 0;

	for (*line = 0; rc == 0 && (word = line_next(&text, end, &len));) {
		size_t word_len = word_find(&word, word + len);

		(*line)++;
		if (word_len > 0)
			rc = word_add(set, word, word_len, why);
	}
	return rc;
}

static int range_compare(const void *a, const void *b)
{
	const struct cidr_range *x = a, *y = b;
	int order = compare(x->first, y->first);

	return order ? order : compare(y->last, x->last); /* the larger one first */
}

/* Two prefixes are apart, or one lies within the other; so do their ranges, cut at the same place. */
void cidrs_seal(struct cidrs *set)
{
	uint32_t len = 0;

	if (set->len == 0)
		return;
	qsort(set->ranges, set->len, sizeof(*set->ranges), range_compare);
	for (uint32_t i = 1; i < set->len; i++)
		if (compare(set->ranges[i].first, set->ranges[len].last) > 0)
			set->ranges[++len] = set->ranges[i];
	set->len = len + 1;
}

void cidrs_fini(struct cidrs *set)
{
	free(set->ranges);
	*set = (struct cidrs){ 0 };
}

/* ---- asking ---- */

bool cidrs_has(const struct cidrs *set, const struct addr *addr)
{
	uint32_t low = 0, high = set->len, words[4];
	uint8_t wanted[16];

	addr_to_16(addr, words);
	memcpy(wanted, words, 16);
	while (low < high) { /* the first one that begins later */
		uint32_t middle = low + (high - low) / 2;

		if (compare(set->ranges[middle].first, wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && compare(wanted, set->ranges[low - 1].last) <= 0;
}
