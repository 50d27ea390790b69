/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guard.h - what is remembered of a socket that may be handed off
 *
 * Socket storage: it costs nothing for other sockets, dies with the socket,
 * and sockets that are accepted from a guarded listener inherit it.
 */
#ifndef LADON_GUARD_H
#define LADON_GUARD_H

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct ladon_guard);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_guards SEC(".maps");

/* Interfaces that the programs are attached to; value unused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_interfaces SEC(".maps");

#endif
