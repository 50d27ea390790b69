/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx_mem.h - packets in plain memory: for tests
 *
 * The IP header must be aligned to four bytes, so data is at 2 modulo 4.
 */
#ifndef LADON_CTX_MEM_H
#define LADON_CTX_MEM_H

#include <linux/types.h>
#include <stdbool.h>

#include "csum.h"
#include "reasons.h"

#define __noinline __attribute__((noinline))

/* @data, @end: the linear bytes; @len_bytes: of the whole packet; @gso: ctx_is_gso() */
struct ctx_mem {
	__u8 *data;
	__u8 *end;
	__u32 len_bytes;
	bool gso;
};

typedef struct ctx_mem ctx_t;

static __always_inline long ctx_loop(__u32 n, long (*fn)(__u32, void *), void *arg)
{
	__u32 i;

	for (i = 0; i < n; i++)
		if (fn(i, arg))
			return i + 1;
	return i;
}

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return ctx->data;
}

static __always_inline void *ctx_end(const ctx_t *ctx)
{
	return ctx->end;
}

static __always_inline __u32 ctx_len(const ctx_t *ctx)
{
	return ctx->len_bytes;
}

static __always_inline bool ctx_is_gso(const ctx_t *ctx)
{
	return ctx->gso;
}

static __always_inline enum ladon_reason ctx_foreign(const ctx_t *ctx)
{
	(void)ctx;
	return LADON_REASON_NONE;
}

/* One add: a checksum in memory is always whole. */
static __always_inline long ctx_fix_csum(ctx_t *ctx, word16_t *check, __u32 offset, bool is_ip6,
					 const struct csum_delta *d)
{
	(void)ctx;
	(void)offset;
	(void)is_ip6;
	*check = csum_mend(*check, d->addrs + d->rest);
	return 0;
}

#endif
