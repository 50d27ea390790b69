/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nft.h - port forwards as a table of nftables: the only place that writes rules
 */
#ifndef LADON_NFT_H
#define LADON_NFT_H

#include <stdio.h>

#include "config.h"

#define NFT_TABLE "ladon-forward" /* of family inet */

/* One place where connections to a pool go */
struct nft_share {
	struct addr to;
	uint32_t weight; /* at least 1 */
};

/* What a pool's new connections are given to, of both families; where there is none of a family, they are refused */
struct nft_pool {
	bool used;	/* by a forward; else it is left out */
	bool by_source; /* each client gets the same, as long as the shares are the same */
	struct nft_share *shares;
	unsigned int len;
};

struct nft_pools {
	struct nft_pool *pools; /* by the forwards' .pool */
	unsigned int len;
};

/**
 * nft_write() - the commands that put these forwards into the kernel
 *
 * One transaction: the table as it was, if it was, is replaced by one with these
 * forwards. If there are none, it has a chain all the same: with the last such chain of a network
 * namespace the kernel stops tracking and translating, also what began before. Nothing else is named in it.
 */
void nft_write(FILE *f, const struct config_forward *forwards, unsigned int len,
	       const struct nft_pools *pools);

/**
 * nft_run() - run commands
 * @why: on failure what libnftables says, in one line, to be freed by the caller; may be NULL
 *
 * Takes CAP_NET_ADMIN. Waits for the kernel: .2 s for 10,000 forwards.
 *
 * Return: 0; -EIO: refused, nothing has changed; -ENOMEM.
 */
int nft_run(const char *commands, char **why);

/**
 * nft_count() - ask how many new connections and UDP flows each element of the maps has met
 * @fn: called for each, with the address and its first port, and of which protocol
 *
 * Takes CAP_NET_ADMIN; .1 s for 10,000 forwards. Return: 0; -EIO: there is no such table; -ENOMEM.
 */
int nft_count(void (*fn)(void *arg, bool udp, const struct addr *at, uint64_t flows), void *arg);

#endif
