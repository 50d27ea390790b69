/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * events.h - what user space is told
 *
 * Nobody is woken before the ring is half full: user space looks often enough, and a
 * wake-up costs more than all the rest. What does not fit is lost.
 */
#ifndef LADON_EVENTS_H
#define LADON_EVENTS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bytes.h"

#define EVENTS_BYTES (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_events SEC(".maps");

/** events_submit() - @event: from bpf_ringbuf_reserve() */
static __always_inline void events_submit(void *event)
{
	__u64 waiting = bpf_ringbuf_query(&ladon_events, BPF_RB_AVAIL_DATA);

	bpf_ringbuf_submit(event,
			   waiting > EVENTS_BYTES / 2 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
