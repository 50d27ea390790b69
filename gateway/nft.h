/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nft.h - port forwards as a table of nftables: the only place that writes rules
 */
#ifndef LADON_NFT_H
#define LADON_NFT_H

#include <stdio.h>

#include "config.h"

#define NFT_TABLE "ladon-forward" /* of family inet */

/**
 * nft_write() - the commands that put these forwards into the kernel
 *
 * One transaction: the table as it was, if it was, is replaced by one with these
 * forwards, or by none if there are none. Nothing else is named in it.
 */
void nft_write(FILE *f, const struct config_forward *forwards, unsigned int len);

/**
 * nft_run() - run commands
 * @why: on failure what libnftables says, in one line, to be freed by the caller; may be NULL
 *
 * Takes CAP_NET_ADMIN. Waits for the kernel: .2 s for 10,000 forwards.
 *
 * Return: 0; -EIO: refused, nothing has changed; -ENOMEM.
 */
int nft_run(const char *commands, char **why);

#endif
