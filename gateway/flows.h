/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flows.h - which backend a handed-off flow belongs to
 *
 * A handed-off connection costs the daemon no memory, so a flow is known by
 * nothing but its addresses when it ends, and flows may be older than the
 * daemon. The backend is found by address. If several pools have the same
 * address, the backend that has most flows there loses one: the sum is right.
 */
#ifndef LADON_FLOWS_H
#define LADON_FLOWS_H

#include "gateway.h"

struct flows;

/** flows_new() - @gateway's pools must exist, and outlive it. NULL: no memory */
struct flows *flows_new(struct gateway *gateway);
void flows_free(struct flows *flows);

/** flows_adopt() - count the flows that a former daemon left */
void flows_adopt(struct flows *flows);

/** flows_ended() - its backend has a flow less; from any thread, see ladon_options.ended */
void flows_ended(struct flows *flows, const struct ladon_flow *flow, enum ladon_end why);

/** flows_kill() - all of them. Return: how many, or a negative errno */
int flows_kill(struct gateway *gateway);

#endif
