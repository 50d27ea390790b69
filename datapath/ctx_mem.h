/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx_mem.h - packets in plain memory: for tests
 *
 * The IP header must be aligned to four bytes, so data is at 2 modulo 4. Who
 * calls ctx_insert() or ctx_change_family() has room before data.
 */
#ifndef LADON_CTX_MEM_H
#define LADON_CTX_MEM_H

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/types.h>
#include <stdbool.h>
#include <string.h>

#include "csum.h"
#include "reasons.h"

#define __noinline __attribute__((noinline))
#define ctx_global static __noinline

/*
 * @data, @end: the linear bytes; @len_bytes: of the whole packet; @gso_bytes, @is_partial, @mtu:
 * what ctx_ of that name says
 */
struct ctx_mem {
	__u8 *data;
	__u8 *end;
	__u32 len_bytes;
	__u32 gso_bytes;
	bool is_partial;
	__u32 mtu;
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

/* What is not linear is not there. */
static __always_inline void ctx_pull(ctx_t *ctx, __u32 len_bytes)
{
	(void)ctx;
	(void)len_bytes;
}

static __always_inline __u32 ctx_gso_bytes(const ctx_t *ctx)
{
	return ctx->gso_bytes;
}

static __always_inline bool ctx_is_partial(const ctx_t *ctx)
{
	return ctx->is_partial;
}

static __always_inline bool ctx_is_checked(const ctx_t *ctx)
{
	return ctx->is_partial;
}

static __always_inline long ctx_load(const ctx_t *ctx, __u32 offset, void *to, __u32 len_bytes)
{
	if (ctx->data + offset + len_bytes > ctx->end)
		return -EFAULT;
	memcpy(to, ctx->data + offset, len_bytes);
	return 0;
}

static __always_inline __u32 ctx_mtu(const ctx_t *ctx, __u32 ifindex)
{
	(void)ifindex;
	return ctx->mtu;
}

static __always_inline long ctx_cut(ctx_t *ctx, __u32 len_bytes)
{
	if (ctx->data + len_bytes > ctx->end)
		return -EFAULT;
	ctx->end = ctx->data + len_bytes;
	ctx->len_bytes = len_bytes;
	ctx->gso_bytes = 0;
	return 0;
}

static __always_inline long ctx_insert(ctx_t *ctx, __u32 len_bytes)
{
	memmove(ctx->data - len_bytes, ctx->data, sizeof(struct ethhdr));
	ctx->data -= len_bytes;
	memset(ctx->data + sizeof(struct ethhdr), 0, len_bytes);
	ctx->len_bytes += len_bytes;
	return 0;
}

static __always_inline long ctx_change_family(ctx_t *ctx, bool to_ip6, __s32 more)
{
	__s32 grows = to_ip6 ? 20 + more : -20 - more;

	memmove(ctx->data - grows, ctx->data, sizeof(struct ethhdr));
	ctx->data -= grows;
	ctx->len_bytes += grows;
	if (to_ip6)
		memset(ctx->data + sizeof(struct ethhdr), 0, grows);
	return 0;
}

static __always_inline void ctx_inserted(ctx_t *ctx, __u64 sum)
{
	(void)ctx;
	(void)sum;
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
