/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * count.h - what became of each packet
 *
 * One counter per reason and CPU, so nothing is shared and nothing is atomic.
 * LADON_REASON_NONE counts what was translated.
 */
#ifndef LADON_COUNT_H
#define LADON_COUNT_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LADON_REASON_COUNT);
	__type(key, __u32);
	__type(value, struct ladon_count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_counters SEC(".maps");

/**
 * count() - one more packet for a reason
 * @why: LADON_REASON_NONE, or why the packet left the fast path
 * @len_bytes: what to add to the bytes: the IP length; 0 if it is not known
 */
static __always_inline void count(__u32 why, __u32 len_bytes)
{
	struct ladon_count *c = bpf_map_lookup_elem(&ladon_counters, &why);

	if (!c)
		return;
	c->packets++;
	c->bytes += len_bytes;
}

#endif
