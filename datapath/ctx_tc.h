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

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "csum.h"
#include "kernel.h"
#include "reasons.h"

#define VLAN_ID_MASK 0x0fff /* IEEE 802.1Q: the lower bits of a tag */

typedef struct __sk_buff ctx_t;

#define ctx_loop(n, fn, arg) bpf_loop(n, fn, arg, 0)
#define ctx_global	     __noinline

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

static __always_inline __u32 ctx_gso_bytes(const ctx_t *ctx)
{
	return ctx->gso_size;
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

/* The priority of a packet without a VLAN is for the link that it came by. */
static __always_inline void ctx_untag(ctx_t *ctx)
{
	if (ctx->vlan_present)
		bpf_skb_vlan_pop(ctx);
}

static __always_inline void ctx_pull(ctx_t *ctx, __u32 len_bytes)
{
	if (len_bytes > ctx->len)
		len_bytes = ctx->len;
	if (ctx_data(ctx) + len_bytes > ctx_end(ctx))
		bpf_skb_pull_data(ctx, len_bytes); /* on failure the parser finds it short */
}

/* For tests: do as on kernels older than 6.2. */
const volatile bool ctx_is_old_kernel = false;

/* <linux/skbuff.h>: what is known about the checksum of a packet that came in */
enum {
	CTX_CHECKSUM_UNNECESSARY = 1, /* the device, or GRO, has found it right */
	CTX_CHECKSUM_COMPLETE = 2,    /* its sum over everything after Ethernet is kept beside it */
	CTX_CHECKSUM_PARTIAL = 3,     /* the field holds the pseudo header's sum so far */
};

extern int LINUX_KERNEL_VERSION __kconfig;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak; /* Linux 6.2 */

/** ctx_kernel() - the kernel's own view of the packet; NULL before Linux 6.2 */
static __always_inline struct sk_buff *ctx_kernel(const ctx_t *ctx)
{
	if (ctx_is_old_kernel || LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 2, 0))
		return NULL;
	return bpf_cast_to_kern_ctx((void *)ctx);
}

/**
 * ctx_route_gen() - the generation of the routes, as the kernel counts it
 *
 * Return: false where the kernel does not let us look.
 */
static __always_inline bool ctx_route_gen(const ctx_t *ctx, bool is_ip6, __u32 *out)
{
	struct sk_buff *skb = ctx_kernel(ctx);

	if (!skb)
		return false;
	*out = kernel_route_gen(skb->dev->nd_net.net, is_ip6);
	return true;
}

static __always_inline __u32 ctx_mtu(ctx_t *ctx, __u32 ifindex)
{
	__u32 mtu = 0;

	bpf_check_mtu(ctx, ifindex, &mtu, 0, 0); /* whatever it says of this packet */
	return mtu;
}

/* Read the slow way, which is the same on all kernels: not for each packet */
static __always_inline __u8 ctx_summed(const ctx_t *ctx)
{
	const struct sk_buff *skb = (const void *)ctx;

	return BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed);
}

static __always_inline bool ctx_is_partial(const ctx_t *ctx)
{
	return ctx_summed(ctx) == CTX_CHECKSUM_PARTIAL;
}

static __always_inline bool ctx_is_checked(const ctx_t *ctx)
{
	__u8 summed = ctx_summed(ctx);

	return summed == CTX_CHECKSUM_UNNECESSARY || summed == CTX_CHECKSUM_PARTIAL;
}

static __always_inline long ctx_load(const ctx_t *ctx, __u32 offset, void *to, __u32 len_bytes)
{
	return bpf_skb_load_bytes(ctx, offset, to, len_bytes);
}

static __always_inline long ctx_cut(ctx_t *ctx, __u32 len_bytes)
{
	return bpf_skb_change_tail(ctx, len_bytes, 0);
}

static __always_inline long ctx_insert(ctx_t *ctx, __u32 len_bytes)
{
	return bpf_skb_adjust_room(ctx, len_bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET);
}

/*
 * net/core/filter.c: bpf_skb_change_proto() moves the MAC header by the 20 bytes between the two IP
 * headers, and sets skb->protocol and the type of a GSO packet; the size of its segments stays
 * (since Linux 5.13). csum_start needs nothing: it counts from skb->head.
 *
 * @more: bytes beyond those 20
 */
static __always_inline long ctx_change_family(ctx_t *ctx, bool to_ip6, __s32 more)
{
	long rc = bpf_skb_change_proto(ctx, bpf_htons(to_ip6 ? ETH_P_IPV6 : ETH_P_IP), 0);

	if (rc < 0 || !more)
		return rc;
	return bpf_skb_adjust_room(ctx, to_ip6 ? more : -more, BPF_ADJ_ROOM_MAC,
				   BPF_F_ADJ_ROOM_NO_CSUM_RESET);
}

static __always_inline void ctx_inserted(ctx_t *ctx, __u64 sum)
{
	struct sk_buff *skb = ctx_kernel(ctx);

	if (!skb || BPF_CORE_READ_BITFIELD(skb, ip_summed) == CTX_CHECKSUM_COMPLETE)
		bpf_csum_update(ctx, csum_fold32(sum)); /* fails but for COMPLETE */
}

/*
 * Where ip_summed cannot be seen. The first call is told that it changes the
 * pseudo header: it is the only one that touches a PARTIAL packet, and takes the
 * change of addresses out of a COMPLETE sum.
 */
static __always_inline long ctx_fix_csum_blindly(ctx_t *ctx, __u32 offset, bool is_ip6,
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

/*
 * A COMPLETE sum did not change where a checksum makes up for what it covers. The
 * TCP checksum makes up for addresses that are not its own: IPv4's header
 * checksum has done so already, and IPv6 has none, nor one for the hop limit.
 */
static __always_inline void ctx_fix_complete(ctx_t *ctx, bool is_ip6, const struct csum_delta *d)
{
	bpf_csum_update(ctx, is_ip6 ? csum_fold32(d->ip) : ~csum_fold32(d->addrs));
}

/*
 * Helpers cost 20 to 30 ns each where the processor's bugs are worked around
 * (retpolines, safe return), as much as the rest of the translation: where the
 * kernel lets us look, there are none.
 *
 * Return: 0 or a negative errno; then the packet is spoilt.
 */
static __always_inline long ctx_fix_csum(ctx_t *ctx, word16_t *check, __u32 offset, bool is_ip6,
					 const struct csum_delta *d)
{
	struct sk_buff *skb = ctx_kernel(ctx);
	__u8 ip_summed;

	if (!skb)
		return ctx_fix_csum_blindly(ctx, offset, is_ip6, d);
	ip_summed = BPF_CORE_READ_BITFIELD(skb, ip_summed);
	if (ip_summed == CTX_CHECKSUM_PARTIAL)
		*check = csum_fold16(d->addrs + *check);
	else
		*check = csum_mend(*check, d->addrs + d->rest);
	if (ip_summed == CTX_CHECKSUM_COMPLETE)
		ctx_fix_complete(ctx, is_ip6, d);
	return 0;
}

#endif
