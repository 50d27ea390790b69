/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * conntrack.h - what the kernel's connection tracking knows of ladon's connections
 *
 * Rules that look at `ct state`, and NAT, make the kernel track every
 * connection, both of ladon's too. Once a flow is active, its packets do not
 * come by any more: an entry would stay ESTABLISHED for five days. Unless the
 * stack is to forward them: then one entry takes the place of both, with the
 * NAT between them.
 *
 * A flow is named by its two keys as in struct ladon_request: @front is how the
 * client's packets arrive, @back how the backend's do, which is also the reply
 * direction of a flow's entry.
 */
#ifndef LADON_CONNTRACK_H
#define LADON_CONNTRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "../datapath/abi.h"

struct conntrack;
struct nlmsghdr;

/** conntrack_open() - Return: 0 or a negative errno. A kernel without netfilter: *@out is NULL */
int conntrack_open(struct conntrack **out);
void conntrack_close(struct conntrack *ct);

/** conntrack_forget() - delete the entries of a flow's two handshakes, as far as there are any */
void conntrack_forget(struct conntrack *ct, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back);

/**
 * conntrack_join() - put one entry, with NAT, in the place of those two
 * @timeout_s: how long it lives without a packet; the first one sets the kernel's own time
 *
 * No packet of either connection may meet conntrack meanwhile.
 *
 * Return: 0 or a negative errno; then all of them are gone.
 */
int conntrack_join(struct conntrack *ct, const struct ladon_flow_key *front,
		   const struct ladon_flow_key *back, uint32_t timeout_s);

/** conntrack_part() - delete that entry, if it is there */
void conntrack_part(struct conntrack *ct, const struct ladon_flow_key *back);

/** conntrack_has() - is it there? */
bool conntrack_has(struct conntrack *ct, const struct ladon_flow_key *back);

/**
 * conntrack_relax() - let an entry be liberal about TCP's window from now on, if it is there
 * @original: how packets of its original direction arrive
 */
void conntrack_relax(struct conntrack *ct, const struct ladon_flow_key *original);

/**
 * conntrack_gone() - read an event of the group NFNLGRP_CONNTRACK_DESTROY
 *
 * Return: true: @front and @back were written: the entry was of a TCP connection,
 * and may have been a flow's.
 */
bool conntrack_gone(const struct nlmsghdr *nlh, struct ladon_flow_key *front,
		    struct ladon_flow_key *back);

#endif
