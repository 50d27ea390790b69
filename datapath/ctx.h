/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx.h - what differs between the places that the datapath runs in
 *
 * tc, and plain memory for tests. Each ctx_*.h defines a ctx_t and
 *
 *	ctx_data, ctx_end	the packet's linear bytes, from the Ethernet header
 *	ctx_len			all of its bytes, linear or not
 *	ctx_is_gso		many segments that travel as one
 *	ctx_foreign		why the packet is none of ours, before looking inside
 *	ctx_pull		make that many first bytes linear, or all there are
 *	ctx_fix_csum		bring the TCP checksum up to date; ends all packet pointers
 *	ctx_loop		bpf_loop()
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
};

#ifdef __bpf__
#include "ctx_tc.h"
#else
#include "ctx_mem.h"
#endif

#endif
