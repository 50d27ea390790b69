/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * answer.h - a packet becomes the answer to itself: addresses change places
 *
 * What RSTs (reset.h) and ICMP errors (raise.h) have in common. The packet's own
 * buffer becomes the answer, so an answer costs an attacker as much as it costs
 * us, and leaves where the packet came in.
 */
#ifndef LADON_ANSWER_H
#define LADON_ANSWER_H

#include <linux/if_ether.h>

#include "bytes.h"

#define ANSWER_TTL 64

static __always_inline void answer_swap(word32_t *a, word32_t *b, int words)
{
	int i;

	for (i = 0; i < words; i++) {
		word32_t word = a[i];

		a[i] = b[i];
		b[i] = word;
	}
}

static __always_inline void answer_ethernet(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
}

#endif
