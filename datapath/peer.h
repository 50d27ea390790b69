/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * peer.h - into a container without the way through its host's end of the link
 *
 * What leaves by a veth device arrives at its peer, after a second turn through the queue of received
 * packets. If the peer is in another namespace, bpf_redirect_peer() goes on there at once, which is half the
 * price of forwarding. But nothing that waits at the near end sees the packet: so there must be nothing. It is
 * looked at when a flow is learned, and each time it is confirmed.
 *
 * And it overtakes those that were queued before it, such as the last one that went through the stack. So a flow's
 * packets are queued until it has been silent for a moment; from then on they go ahead, and the stack is asked with
 * copies (learned.h), until it gets one again that is none.
 */
#ifndef LADON_PEER_H
#define LADON_PEER_H

#include "ctx.h"
#include "flow.h"
#include "kernel.h"

static __always_inline unsigned long peer_private(const struct net_device *dev)
{
	if (bpf_core_field_exists(dev->priv))
		return (unsigned long)dev + bpf_core_field_offset(dev->priv);
	return (unsigned long)dev + ((bpf_core_type_size(struct net_device) + 31) & ~31u);
}

/* drivers/net/veth.c. Of a veth device only: its private part is another's otherwise */
static __always_inline unsigned long peer_of(const struct net_device *dev)
{
	const struct veth_priv *veth = (const void *)peer_private(dev);
	struct net_device *peer = NULL;

	bpf_core_read(&peer, sizeof(peer), &veth->peer);
	return (unsigned long)peer;
}

/* Does what arrives there go through XDP, or queues of its own, or to other CPUs? */
static __always_inline bool peer_is_special(const struct net_device *peer)
{
	const struct veth_priv *veth = (const void *)peer_private(peer);
	const void *program = NULL, *napi = NULL;

	bpf_core_read(&program, sizeof(program), &veth->_xdp_prog);
	BPF_CORE_READ_INTO(&napi, veth, rq, napi);
	if (program || napi)
		return true;
	return bpf_core_field_exists(peer->_rx->rps_map) && peer->_rx->rps_map;
}

static __always_inline bool peer_is_veth(const struct net_device *dev)
{
	char kind[5] = {};

	if (!bpf_core_type_exists(struct veth_priv))
		return false;
	bpf_probe_read_kernel(kind, sizeof(kind), dev->rtnl_link_ops->kind);
	return kind[0] == 'v' && kind[1] == 'e' && kind[2] == 't' && kind[3] == 'h' && !kind[4];
}

/* Filters at tc egress besides ladon's own, which is one of a priority of its own */
static __always_inline bool peer_has_filters(const struct net_device *dev)
{
	const struct mini_Qdisc *miniq = NULL;
	const struct tcf_proto *first;

	if (bpf_core_field_exists(dev->tcx_egress)) {
		const struct bpf_mprog_bundle *bundle = dev->tcx_egress->parent;
		const struct tcx_entry *tcx = NULL;

		if (bundle->count)
			return true;
		tcx = (const void *)((unsigned long)bundle - bpf_core_field_offset(tcx->bundle));
		bpf_core_read(&miniq, sizeof(miniq), &tcx->miniq);
	} else if (bpf_core_field_exists(dev->miniq_egress)) {
		bpf_core_read(&miniq, sizeof(miniq), &dev->miniq_egress);
	}
	first = BPF_CORE_READ(miniq, filter_list);
	return !first || BPF_CORE_READ(first, next);
}

/* By a program that captures packets: of this device, or of all */
static __always_inline bool peer_is_captured(const struct net_device *dev)
{
	const struct net *net = dev->nd_net.net;

	if (dev->ptype_all.next !=
	    (const void *)((unsigned long)dev + bpf_core_field_offset(dev->ptype_all)))
		return true;
	return bpf_core_field_exists(net->ptype_all) &&
	       net->ptype_all.next !=
		       (const void *)((unsigned long)net + bpf_core_field_offset(net->ptype_all));
}

/* Who would see what leaves by it: a queue, filters, rules, or whoever captures packets */
static __always_inline bool peer_is_seen(const struct net_device *dev)
{
	if (dev->qdisc->enqueue || peer_is_captured(dev))
		return true;
	if (bpf_core_field_exists(dev->nf_hooks_egress) && dev->nf_hooks_egress)
		return true;
	return peer_has_filters(dev);
}

/** peer_is_open() - may what leaves by a device go on at its peer at once? */
static __always_inline bool peer_is_open(const struct net_device *dev)
{
	const struct net_device *peer;

	if (!peer_is_veth(dev))
		return false;
	peer = kernel_cast(peer_of(dev), struct net_device);
	return peer_of(peer) == (unsigned long)dev && peer->flags & DEVICE_UP &&
	       peer->nd_net.net != dev->nd_net.net && !peer_is_special(peer) && !peer_is_seen(dev);
}

/* Longer than any packet waits in a CPU's queue, and than two jiffies */
#define PEER_QUIET_MS 20
#define PEER_STEP_MS  4 /* in which LADON_LEARNED_QUEUED counts: it goes round in a second */

/**
 * peer_is_next() - was none of a flow's packets queued for some time?
 *
 * Else this one will be. Silence of a second or so may look like none at all, once.
 */
static __always_inline bool peer_is_next(struct ladon_learned *learned)
{
	bool is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
	volatile __u8 *queued = (volatile __u8 *)&learned->state + (is_little ? 1 : 2);
	__u32 now_ms = flow_now_ms();
	__u8 now = now_ms / PEER_STEP_MS;

	if (now_ms - learned->confirmed_ms >= PEER_QUIET_MS &&
	    (__u8)(now - *queued) > PEER_QUIET_MS / PEER_STEP_MS)
		return true;
	*queued = now;
	return false;
}

/** peer_goes_ahead() - may a flow's packet go on at the peer of the device that it leaves by? */
static __always_inline bool peer_goes_ahead(struct ladon_learned *learned)
{
	__u32 state = learned->state;

	if (!(state & LADON_LEARNED_PEER) || state & LADON_LEARNED_AHEAD)
		return state & LADON_LEARNED_PEER;
	if (!peer_is_next(learned))
		return false;
	__sync_fetch_and_or(&learned->state, LADON_LEARNED_AHEAD);
	return true;
}

#endif
