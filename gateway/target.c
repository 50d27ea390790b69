// SPDX-License-Identifier: GPL-2.0-only
#include "target.h"

#include <string.h>

/* clang-format off */
#define IP4(...) { [10] = 0xff, 0xff, __VA_ARGS__ }

static const struct cidr kept[] = {
	{ IP4(0),			96 + 8 },  /* "this network": Linux takes 0.0.0.0 for loopback */
	{ IP4(127),			96 + 8 },  /* loopback */
	{ IP4(169, 254),		96 + 16 }, /* link-local */
	{ IP4(224),			96 + 4 },  /* multicast */
	{ IP4(255, 255, 255, 255),	96 + 32 }, /* broadcast */
	{ { 0 },			96 },	   /* ::, ::1, and IPv4-compatible ones (RFC 4291) */
	{ { 0xfe, 0x80 },		10 },	   /* link-local */
	{ { 0xff },			8 },	   /* multicast */
};

/* Where in an IPv6 address another way to an IPv4 address has that */
static const struct {
	struct cidr prefix;
	unsigned int at; /* byte */
} inner[] = {
	{ { { 0x00, 0x64, 0xff, 0x9b }, 96 }, 12 },	     /* NAT64: RFC 6052 section 2.1 */
	{ { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 }, 12 }, /* RFC 8215 */
	{ { { 0x20, 0x02 }, 16 }, 2 },			     /* 6to4: RFC 3056 section 2 */
};
/* clang-format on */

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

bool target_is_kept(const struct addr *addr)
{
	for (size_t i = 0; i < ROWS(kept); i++)
		if (cidr_has(&kept[i], addr))
			return true;
	return false;
}

static bool inner_find(const struct addr *addr, struct addr *out)
{
	uint32_t words[4];
	uint8_t bytes[16];

	addr_to_16(addr, words);
	memcpy(bytes, words, 16);
	for (size_t i = 0; i < ROWS(inner); i++) {
		if (!cidr_has(&inner[i].prefix, addr))
			continue;
		*out = (struct addr){ .in.sin_family = AF_INET };
		memcpy(&out->in.sin_addr, bytes + inner[i].at, 4);
		return true;
	}
	return false;
}

/* ---- what the configuration says ---- */

static void end_of(const uint8_t bytes[16], struct addr *out)
{
	uint32_t words[4];

	memcpy(words, bytes, 16);
	addr_from_16(words, 0, out);
}

static bool is_narrow(const struct cidr_range *range)
{
	struct addr first, last;

	end_of(range->first, &first);
	end_of(range->last, &last);
	for (size_t i = 0; i < ROWS(kept); i++)
		if (cidr_has(&kept[i], &first) && cidr_has(&kept[i], &last))
			return true;
	return addr_equal(&first, &last);
}

void targets_narrow(struct cidrs *set)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < set->len; i++)
		if (is_narrow(&set->ranges[i]))
			set->ranges[len++] = set->ranges[i];
	set->len = len;
}

static bool port_fits(const struct targets *targets, uint16_t port)
{
	for (unsigned int i = 0; i < targets->ports_len; i++)
		if (port >= targets->ports[i].from && port <= targets->ports[i].to)
			return true;
	return !targets->ports_len;
}

static bool is_named(const struct targets *targets, const struct addr *addr)
{
	return targets && cidrs_has(&targets->named, addr);
}

/* ---- the question ---- */

bool target_admits(const struct targets *targets, const struct addr *to,
		   bool (*is_own)(void *arg, const struct addr *addr), void *arg)
{
	struct addr inside;
	bool has_inside = inner_find(to, &inside);

	if (targets) {
		if (!port_fits(targets, addr_port(to)) || cidrs_has(&targets->deny, to))
			return false;
		if (has_inside && cidrs_has(&targets->deny, &inside))
			return false;
		if (targets->only && !cidrs_has(&targets->allow, to))
			return false;
	}
	if (is_named(targets, to))
		return true;
	if (target_is_kept(to) || is_own(arg, to))
		return false;
	return !has_inside || is_named(targets, &inside) ||
	       (!target_is_kept(&inside) && !is_own(arg, &inside));
}
