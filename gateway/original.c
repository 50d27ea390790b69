// SPDX-License-Identifier: GPL-2.0-only
#include "original.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "conn.h"
#include "locals.h"

/* <linux/netfilter_ipv4.h> and <linux/netfilter_ipv6/ip6_tables.h> do not go with <netinet/in.h> */
#define ORIGINAL_DST 80 /* for IPv4 and IPv6 */

static bool is_listener(const struct conn *c, const struct addr *to)
{
	const struct addr *at = &c->listener->config->addr;

	if (addr_port(to) != addr_port(at))
		return false;
	return addr_is_any(at) ? locals_has(&c->worker->locals, to) : addr_equal(at, to);
}

int original_find(const struct conn *c, struct addr *out)
{
	struct addr local = { 0 }, headed_for = { 0 };
	socklen_t len = sizeof(local);
	int level;

	if (getsockname(c->front.fd, &local.sa, &len) < 0)
		return -errno;
	level = addr_family(&local) == AF_INET ? SOL_IP : SOL_IPV6;
	len = sizeof(headed_for);
	*out = local;
	if (getsockopt(c->front.fd, level, ORIGINAL_DST, &headed_for, &len) == 0)
		*out = headed_for; /* else conntrack does not know it: there is no NAT */
	return is_listener(c, out) ? -EDESTADDRREQ : 0;
}
