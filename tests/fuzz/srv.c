// SPDX-License-Identifier: GPL-2.0-only
/*
 * srv.c - whatever a name server answers, its SRV records are backends in order, bounded, or there are none
 */
#include <assert.h>
#include <string.h>

#include "../../paths/listing.h"
#include "../../paths/srv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct srvs srvs;
	struct listing listing = { 0 };

	if (srv_parse(bytes, len, &srvs) < 0)
		return 0;
	assert(srvs.len <= SRV_MAX);
	assert(srv_listing(&srvs, &listing) == 0 && listing.len == srvs.len);
	for (unsigned int i = 0; i < listing.len; i++) {
		const struct config_backend *backend = &listing.list[i].config;

		assert(backend->port && backend->host && strlen(backend->host) < SRV_HOST_MAX);
		assert(backend->weight >= 1 && backend->weight <= CONFIG_WEIGHT_MAX);
		assert(backend->rank <= CONFIG_RANK_MAX);
		assert(i == 0 || backend->rank >= listing.list[i - 1].config.rank);
	}
	listing_fini(&listing);
	return 0;
}
