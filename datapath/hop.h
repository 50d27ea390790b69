/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hop.h - the next hops of all flows
 *
 * Few gateways serve many flows, and an entry has no room for an address more.
 * The table is hashed with open addressing, and two places may have the same hop.
 * Writers claim a free place with one compare-and-swap; readers need no lock, because
 * user space frees a place long after the last flow has left it (lib/hops.c).
 */
#ifndef LADON_HOP_H
#define LADON_HOP_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "bytes.h"
#include "ctx.h"

#define HOP_PROBES 16

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LADON_HOPS);
	__type(key, __u32);
	__type(value, struct ladon_hop);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_hops SEC(".maps");

/** hop_get() - NULL if there is none */
static __always_inline const struct ladon_hop *hop_get(__u32 index)
{
	const struct ladon_hop *hop = bpf_map_lookup_elem(&ladon_hops, &index);

	return hop && hop->state >= LADON_HOP_READY ? hop : NULL;
}

static __always_inline bool hop_is(const struct ladon_hop *a, const struct ladon_hop *b)
{
	return a->ifindex == b->ifindex && a->family == b->family && a->mtu == b->mtu &&
	       a->gateway[0] == b->gateway[0] && a->gateway[1] == b->gateway[1] &&
	       a->gateway[2] == b->gateway[2] && a->gateway[3] == b->gateway[3];
}

/**
 * hop_intern() - the index of a hop that is like @want; LADON_HOPS when the table is full where
 * it might stand
 */
ctx_global __u32 hop_intern(const struct ladon_hop *want)
{
	__u32 at;

	if (!want)
		return LADON_HOPS; /* never */
	at = bytes_hash32(want->gateway, 4) ^ want->ifindex * 0x9e3779b1;
	for (int i = 0; i < HOP_PROBES; i++, at++) {
		__u32 index = at % LADON_HOPS;
		struct ladon_hop *hop = bpf_map_lookup_elem(&ladon_hops, &index);

		if (!hop)
			return LADON_HOPS;
		if (__sync_val_compare_and_swap(&hop->state, LADON_HOP_FREE, LADON_HOP_FILLING) ==
		    LADON_HOP_FREE) {
			hop->ifindex = want->ifindex;
			hop->family = want->family;
			hop->mtu = want->mtu;
			__builtin_memcpy(hop->gateway, want->gateway, sizeof(hop->gateway));
			__sync_val_compare_and_swap(&hop->state, LADON_HOP_FILLING,
						    LADON_HOP_READY);
			return index;
		}
		if (hop->state == LADON_HOP_READY && hop_is(hop, want))
			return index;
	}
	return LADON_HOPS;
}

/** hop_edit() - @op: LADON_EDIT_HOP_*. Return: false: it is not in the state for that */
static __always_inline bool hop_edit(__u32 index, __u32 op)
{
	struct ladon_hop *hop = bpf_map_lookup_elem(&ladon_hops, &index);
	__u32 from = LADON_HOP_RETIRED, to = LADON_HOP_FREE;

	if (op == LADON_EDIT_HOP_RETIRE) {
		from = LADON_HOP_READY;
		to = LADON_HOP_RETIRED;
	} else if (op == LADON_EDIT_HOP_RENEW) {
		to = LADON_HOP_READY;
	}
	return hop && __sync_val_compare_and_swap(&hop->state, from, to) == from;
}

#endif
