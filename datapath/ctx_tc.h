/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx_tc.h - packets as tc ingress sees them: socket buffers
 */
#ifndef LADON_CTX_TC_H
#define LADON_CTX_TC_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "csum.h"
#include "reasons.h"

#define VLAN_ID_MASK 0x0fff /* IEEE 802.1Q: the lower bits of a tag */

typedef struct __sk_buff ctx_t;

#define ctx_loop(n, fn, arg) bpf_loop(n, fn, arg, 0)

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 ctx_len(const ctx_t *ctx)
{
	return ctx->len;
}

static __always_inline bool ctx_is_gso(const ctx_t *ctx)
{
	return ctx->gso_size != 0;
}

/*
 * A tag that is still on the packet belongs to a VLAN interface, which comes
 * next and has an ingress of its own; VID 0 is a mere priority and belongs to
 * nobody. A packet for another MAC address belongs to a bridge or to nobody.
 */
static __always_inline enum ladon_reason ctx_foreign(const ctx_t *ctx)
{
	if (ctx->vlan_present && ctx->vlan_tci & VLAN_ID_MASK)
		return LADON_REASON_VLAN;
	if (ctx->pkt_type != PACKET_HOST)
		return LADON_REASON_OTHER_HOST;
	return LADON_REASON_NONE;
}

static __always_inline void ctx_pull(ctx_t *ctx, __u32 len_bytes)
{
	if (len_bytes > ctx->len)
		len_bytes = ctx->len;
	if (ctx_data(ctx) + len_bytes > ctx_end(ctx))
		bpf_skb_pull_data(ctx, len_bytes); /* on failure the parser finds it short */
}

/*
 * The first call is told that it changes the pseudo header: it is the only one
 * that touches a CHECKSUM_PARTIAL packet, and takes the change of addresses out
 * of a CHECKSUM_COMPLETE sum over the whole packet, where IPv4's own header
 * checksum makes up for them. IPv6 has none: its sum did not change, but for
 * what nothing makes up for.
 *
 * Return: 0 or a negative errno; then the packet is spoilt.
 */
static __always_inline long ctx_fix_csum(ctx_t *ctx, __u32 offset, bool is_ip6,
					 const struct csum_delta *d)
{
	long rc;

	rc = bpf_l4_csum_replace(ctx, offset, 0, csum_fold32(d->addrs), BPF_F_PSEUDO_HDR);
	if (rc < 0)
		return rc;
	rc = bpf_l4_csum_replace(ctx, offset, 0, csum_fold32(d->rest), 0);
	if (rc < 0)
		return rc;
	if (is_ip6)
		bpf_csum_update(ctx, csum_fold32(d->addrs + d->ip)); /* fails but for COMPLETE */
	return 0;
}

#endif
