/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stray.h - a segment to one of ladon's ports that nobody knows
 */
#ifndef LADON_STRAY_H
#define LADON_STRAY_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Listeners. Far more than anybody configures; allocated as they are added. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ladon_port_key);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_ports SEC(".maps");

#endif
