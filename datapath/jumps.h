/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * jumps.h - from program to program, and what a packet says to those that it meets later
 */
#ifndef LADON_JUMPS_H
#define LADON_JUMPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/*
 * What few flows need stands in programs of its own: on the stack of ladon_ingress it would
 * not fit, and ladon_egress must not write into packets, or the kernel would copy the headers of
 * each that a local socket still holds.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LADON_JUMPS);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ladon_jumps SEC(".maps");

/* In skb->tc_index, which nothing on the way through this host touches. Any values that nobody else uses */
#define STACK_MARK   0x1ad0 /* its numbers are still the backend's: see stack.h */
#define TELL_MARK    0x1ad2 /* see ladon_tell() */
#define LEARNED_MARK 0x1ad3 /* a learned flow has decided about it: see learned.h */

/* ... and what a packet that the stack may forward carried when it came: see learn_is_kept() */
#define CARRIED_MARK 0x8000
#define CARRIED_COPY 0x4000 /* it is one: the packet itself has gone ahead. Alone: it is on its way back in */

#endif
