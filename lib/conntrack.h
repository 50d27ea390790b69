/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * conntrack.h - what the kernel's connection tracking knows of ladon's connections
 *
 * Rules that look at `ct state`, and NAT, make the kernel track every
 * connection, both of ladon's too. Once a flow is active, its packets do not
 * come by any more: an entry would stay ESTABLISHED for five days.
 */
#ifndef LADON_CONNTRACK_H
#define LADON_CONNTRACK_H

#include <stdbool.h>

#include "../datapath/abi.h"

struct conntrack;

/** conntrack_open() - Return: 0 or a negative errno. A kernel without netfilter: *@out is NULL */
int conntrack_open(struct conntrack **out);
void conntrack_close(struct conntrack *ct);

/** conntrack_forget() - delete the entries of a flow's two handshakes, as far as there are any */
void conntrack_forget(struct conntrack *ct, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back);

#endif
