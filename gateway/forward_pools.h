/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward_pools.h - where the pools of forwards send new connections now, and where old ones may be
 */
#ifndef LADON_FORWARD_POOLS_H
#define LADON_FORWARD_POOLS_H

#include "nft.h"
#include "setup.h"

/* Every address of a pool's backends, whether they get new connections or not; sorted */
struct forward_addrs {
	struct addr *addrs;
	unsigned int len;
	bool whole; /* false: there are more, which names or sources have not said yet */
};

struct forward_pools {
	struct nft_pools now;
	struct forward_addrs *known; /* [now.len] */
};

/**
 * forward_pools_init() - ask the pools that @forwards have
 *
 * Of each pool the backends that are valid count, of the first tier that has such; each
 * by its weight, in which its addresses share. How many flows it has is not asked.
 *
 * Return: 0, then end with forward_pools_fini(); or -ENOMEM.
 */
int forward_pools_init(struct forward_pools *pools, const struct setup *setup,
		       const struct config_forward *forwards, unsigned int len, uint64_t now_ms);
void forward_pools_fini(struct forward_pools *pools);

bool forward_pools_equal(const struct forward_pools *a, const struct forward_pools *b);

/** forward_pools_serve() - is there anybody for this forward? True if it has no pool */
bool forward_pools_serve(const struct forward_pools *pools, const struct config_forward *forward);

/** forward_pools_have() - may it be a server of this pool? True as long as that cannot be known */
bool forward_pools_have(const struct forward_pools *pools, unsigned int pool,
			const struct addr *server);

#endif
