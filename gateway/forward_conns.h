/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward_conns.h - connections that NAT has sent elsewhere, as conntrack knows them
 */
#ifndef LADON_FORWARD_CONNS_H
#define LADON_FORWARD_CONNS_H

#include <stdbool.h>

#include "../base/addr.h"

/**
 * forward_conns_end() - let conntrack forget those whose end has come
 * @is_over: asked of each; @asked: address and port that the client has asked for, @server: where its
 *	packets go instead
 *
 * The next packet of one is nobody's: it meets the rules, as the first of a new connection does. Learned
 * flows of this are not used any more when this is back.
 *
 * Takes CAP_NET_ADMIN. Waits for the kernel, which goes through all that it tracks.
 *
 * Return: how many, or a negative errno.
 */
int forward_conns_end(bool (*is_over)(void *arg, bool udp, const struct addr *asked,
				      const struct addr *server),
		      void *arg);

#endif
