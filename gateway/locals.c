// SPDX-License-Identifier: GPL-2.0-only
#include "locals.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTE_BYTES 4096

static bool question_send(const struct locals *locals, const struct addr *addr)
{
	char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;
	bool is_ip4 = addr_family(addr) == AF_INET;
	uint32_t words[4];

	addr_to_16(addr, words);
	message->nlmsg_type = RTM_GETROUTE;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = locals->asked;
	route = mnl_nlmsg_put_extra_header(message, sizeof(*route));
	route->rtm_family = is_ip4 ? AF_INET : AF_INET6;
	route->rtm_dst_len = is_ip4 ? 32 : 128;
	if (is_ip4)
		mnl_attr_put(message, RTA_DST, 4, &words[3]);
	else
		mnl_attr_put(message, RTA_DST, 16, words);
	return send(locals->fd, message, message->nlmsg_len, 0) > 0;
}

/* No route is an answer, too: it leads to nobody, so not to this host. */
static bool route_is_local(const struct nlmsghdr *message)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type != RTM_NEWROUTE)
		return false;
	return route->rtm_type == RTN_LOCAL || route->rtm_type == RTN_BROADCAST ||
	       route->rtm_type == RTN_ANYCAST || route->rtm_type == RTN_MULTICAST;
}

static bool answer_receive(const struct locals *locals)
{
	_Alignas(struct nlmsghdr) char buffer[ROUTE_BYTES];

	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		ssize_t n = recv(locals->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (n < 0 || !mnl_nlmsg_ok(message, (int)n))
			return true;
		if (message->nlmsg_seq == locals->asked)
			return route_is_local(message);
	}
}

bool locals_has(void *arg, const struct addr *addr)
{
	struct locals *locals = arg;

	if (locals->fd < 0)
		locals->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	locals->asked++;
	return locals->fd < 0 || !question_send(locals, addr) || answer_receive(locals);
}

void locals_close(struct locals *locals)
{
	if (locals->fd >= 0)
		close(locals->fd);
	locals->fd = -1;
}
