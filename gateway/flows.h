/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flows.h - which backend a handed-off flow belongs to
 *
 * A handed-off connection costs the daemon no memory, so a flow is known by
 * nothing but its addresses when it ends, and flows may be older than the
 * daemon. The backend is found by address. If several pools have the same
 * address, the backend that has most flows there loses one: the sum is right.
 * A backend that a reload has removed is remembered while it has flows.
 */
#ifndef LADON_FLOWS_H
#define LADON_FLOWS_H

#include "gateway.h"

struct addr;
struct flows;

/** flows_new() - knows no backend yet. NULL: no memory */
struct flows *flows_new(struct gateway *gateway);
void flows_free(struct flows *flows);

/** flows_follow() - find the backends of this setup from now on. Return: 0 or -ENOMEM: no change */
int flows_follow(struct flows *flows, const struct setup *setup);

/** flows_backend_each() - call @fn with each address of a backend that is known or remembered */
void flows_backend_each(struct flows *flows, void (*fn)(void *arg, const struct addr *), void *arg);

/** flows_end_word() - how a flow ended, as logs say it */
const char *flows_end_word(enum ladon_end why);

/** flows_adopt() - count the flows that a former daemon left */
void flows_adopt(struct flows *flows);

/** flows_ended() - its backend has a flow less; from any thread, see ladon_options.ended */
void flows_ended(struct flows *flows, const struct ladon_flow *flow, enum ladon_end why);

/** flows_kill() - all of them. Return: how many, or a negative errno */
int flows_kill(struct gateway *gateway);

#endif
