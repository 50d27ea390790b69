// SPDX-License-Identifier: GPL-2.0-only
/*
 * listing.c - whatever a file of backends holds, it is backends that can be connected to, or a line and a complaint
 */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "../../paths/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(const struct config_backend *backend)
{
	assert(backend->port && backend->weight >= 1 && backend->weight <= CONFIG_WEIGHT_MAX);
	assert(backend->host ? strlen(backend->host) > 0
			     : addr_port(&backend->addr) == backend->port);
	for (const char *c = backend->text; *c; c++)
		assert(isgraph((unsigned char)*c));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct listing listing = { 0 };
	char why[LISTING_WHY_MAX];
	unsigned int line = 0;

	if (listing_read(&listing, (const char *)bytes, len, &line, why) == 0) {
		assert(listing.len > 0);
		for (unsigned int i = 0; i < listing.len; i++)
			check(&listing.list[i].config);
	} else {
		assert(line >= 1 && line <= len + 1);
		for (const char *c = why; *c; c++)
			assert(!iscntrl((unsigned char)*c));
	}
	listing_fini(&listing);
	return 0;
}
