/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx.h - what differs between the places that the datapath runs in
 *
 * tc, and plain memory for tests. Each ctx_*.h defines a ctx_t and
 *
 *	ctx_data, ctx_end	the packet's linear bytes, from the Ethernet header
 *	ctx_len			all of its bytes, linear or not
 *	ctx_gso_bytes		payload of each of many segments that travel as one; else 0
 *	ctx_foreign		why the packet is none of ours, before looking inside
 *	ctx_pull		make that many first bytes linear, or all there are
 *	ctx_mtu			of an interface; 0 if there is none of this number
 *	ctx_fix_csum		bring the TCP checksum up to date; ends all packet pointers
 *	ctx_is_partial		is the TCP checksum only half made?
 *	ctx_is_checked		has somebody found it right, or is it still to be made?
 *	ctx_load		copy bytes, linear or not; negative if they are not there
 *	ctx_cut			keep that many bytes, all of them linear, as one segment
 *	ctx_insert		zeroes between the Ethernet and the IP header
 *	ctx_change_family	make it an IPv6 packet (or IPv4): zeroes for the longer headers appear
 *				between the Ethernet and the IP header, or the first bytes of the latter go
 *	ctx_inserted		bytes of that sum were written over those zeroes
 *	ctx_loop		bpf_loop()
 *	ctx_global		a function that the verifier looks at by itself, once
 *
 * and nothing that could be written once.
 */
#ifndef LADON_CTX_H
#define LADON_CTX_H

/* What a step says about a packet. */
enum verdict {
	VERDICT_CONTINUE,
	VERDICT_STACK, /* the kernel's ordinary way */
	VERDICT_DROP,
	VERDICT_RESET,	 /* answer with a RST */
	VERDICT_FORWARD, /* the stack's, but for the numbers: see stack.h */
	VERDICT_RAISE,	 /* drop it, and tell the sender by an ICMP error */
	VERDICT_ICMP,	 /* an ICMP message: what it is about decides (icmp.h) */
	VERDICT_CROSS,	 /* leaves in the other address family: see cross.h */
};

#ifdef __bpf__
#include "ctx_tc.h"
#else
#include "ctx_mem.h"
#endif

#endif
