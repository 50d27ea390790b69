// SPDX-License-Identifier: GPL-2.0-only
/*
 * cidr.c - whatever a list of prefixes holds, it is a set of ranges in order, or a line and a complaint
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "../../base/cidr.h"

static struct addr address(const uint8_t bytes[16])
{
	uint32_t words[4];
	struct addr addr;

	memcpy(words, bytes, 16);
	addr_from_16(words, 0, &addr);
	return addr;
}

static void check_set(const struct cidrs *set)
{
	for (uint32_t i = 0; i < set->len; i++) {
		const struct cidr_range *range = &set->ranges[i];
		struct addr first = address(range->first), last = address(range->last);

		assert(memcmp(range->first, range->last, 16) <= 0);
		assert(i == 0 || memcmp(range[-1].last, range->first, 16) < 0);
		assert(cidrs_has(set, &first) && cidrs_has(set, &last));
		assert(addr_family(&first) == addr_family(&last));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct cidrs set = { 0 };
	char why[CIDR_WHY_MAX];
	unsigned int line = 0;

	if (cidrs_read(&set, (const char *)bytes, len, &line, why) < 0)
		assert(line >= 1 && line <= len && strlen(why) > 0);
	cidrs_seal(&set);
	check_set(&set);
	cidrs_fini(&set);
	return 0;
}
