/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * life.h - holds after the beginning of a flow, and its end
 */
#ifndef LADON_LIFE_H
#define LADON_LIFE_H

#include "flow.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_events SEC(".maps");

#endif
