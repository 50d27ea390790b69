// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * foreign.c - the rule and the route that make marked packets this host's
 */
#include "foreign.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

#define MESSAGE_BYTES 512
#define ANSWER_BYTES  4096
#define TICKS	      4 /* of ladon_dispatch(): a second */

static const sa_family_t families[] = { AF_INET, AF_INET6 };

#define FAMILIES (sizeof(families) / sizeof(families[0]))

/* ---- rtnetlink ---- */

static struct nlmsghdr *message_put(void *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	return nlh;
}

/* Return: what the kernel says to it, or the length of what it answers in @answer */
static int ask(const struct nlmsghdr *nlh, char answer[ANSWER_BYTES])
{
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	const struct nlmsghdr *said = (const void *)answer;
	ssize_t n = -1;
	int rc = 0;

	if (netlink && mnl_socket_sendto(netlink, nlh, nlh->nlmsg_len) >= 0)
		n = mnl_socket_recvfrom(netlink, answer, ANSWER_BYTES);
	if (n < 0 || !mnl_nlmsg_ok(said, (int)n))
		rc = n < 0 ? -errno : -EPROTO;
	else if (said->nlmsg_type == NLMSG_ERROR)
		rc = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(said))->error;
	if (netlink)
		mnl_socket_close(netlink);
	return rc;
}

static int order(struct nlmsghdr *nlh)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];

	nlh->nlmsg_flags |= NLM_F_ACK;
	return ask(nlh, answer);
}

/* "ip rule add fwmark LADON_MARK/LADON_MARK lookup TABLE pref TABLE" */
static int rule_order(sa_family_t family, uint16_t type, uint16_t flags)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *nlh = message_put(buf, type, flags);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(nlh, sizeof(*rule));

	rule->family = (uint8_t)family;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, LADON_MARK_TABLE);
	mnl_attr_put_u32(nlh, FRA_FWMARK, LADON_MARK);
	mnl_attr_put_u32(nlh, FRA_FWMASK, LADON_MARK);
	mnl_attr_put_u32(nlh, FRA_TABLE, LADON_MARK_TABLE);
	return order(nlh);
}

/* "ip route add local default dev lo table TABLE" */
static int route_order(sa_family_t family, uint16_t type, uint16_t flags)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *nlh = message_put(buf, type, flags);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(nlh, sizeof(*route));

	route->rtm_family = (uint8_t)family;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_HOST;
	route->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(nlh, RTA_TABLE, LADON_MARK_TABLE);
	mnl_attr_put_u32(nlh, RTA_OIF, if_nametoindex("lo"));
	return order(nlh);
}

/* Return: 0 if it is there now; 1 if it was there before; or a negative errno */
static int family_make(sa_family_t family)
{
	uint16_t flags = NLM_F_CREATE | NLM_F_EXCL;
	int rule = rule_order(family, RTM_NEWRULE, flags), route;

	if (rule == -EAFNOSUPPORT || rule == -EOPNOTSUPP)
		return family == AF_INET6 ? 1 : rule; /* a kernel without */
	if (rule < 0 && rule != -EEXIST)
		return rule;
	route = route_order(family, RTM_NEWROUTE, flags);
	if (route < 0 && route != -EEXIST)
		return route;
	return rule == -EEXIST && route == -EEXIST;
}

/* ---- what else it takes ---- */

/* Is an address of nobody's this host's by the mark? Else another rule comes first. */
static bool family_works(sa_family_t family)
{
	/* TEST-NET-1 (RFC 5737) and 2001:db8::1 (RFC 3849) */
	static const uint8_t ip4[4] = { 192, 0, 2, 1 };
	static const uint8_t ip6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES], answer[ANSWER_BYTES];
	struct nlmsghdr *nlh = message_put(buf, RTM_GETROUTE, 0);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(nlh, sizeof(*route));
	const struct nlmsghdr *said = (const void *)answer;

	route->rtm_family = (uint8_t)family;
	route->rtm_dst_len = family == AF_INET ? 32 : 128;
	mnl_attr_put(nlh, RTA_DST, family == AF_INET ? 4 : 16, family == AF_INET ? ip4 : ip6);
	mnl_attr_put_u32(nlh, RTA_MARK, LADON_MARK);
	if (ask(nlh, answer) < 0 || said->nlmsg_type != RTM_NEWROUTE)
		return false;
	return ((const struct rtmsg *)mnl_nlmsg_get_payload(said))->rtm_type == RTN_LOCAL;
}

/* Then the kernel asks by the mark where a sender is, too, and finds that this host is (net/ipv4/fib_frontend.c). */
static bool source_is_marked(void)
{
	FILE *file = fopen("/proc/sys/net/ipv4/conf/all/src_valid_mark", "re");
	bool is_marked = file && fgetc(file) == '1';

	if (file)
		fclose(file);
	return is_marked;
}

static void obstacles_say(const struct ladon *ladon)
{
	for (size_t i = 0; i < FAMILIES; i++)
		if (!family_works(families[i]))
			ladon_say(
				ladon, LADON_LEVEL_WARN,
				"source transparent: a routing rule comes before ladon's, and what "
				"%s backends answer is lost; see ip%s rule, and give it a preference "
				"above %d",
				families[i] == AF_INET ? "IPv4" : "IPv6",
				families[i] == AF_INET ? "" : " -6", LADON_MARK_TABLE);
	if (source_is_marked())
		ladon_say(
			ladon, LADON_LEVEL_WARN,
			"source transparent: what IPv4 backends answer is dropped as from a wrong "
			"source; sysctl net.ipv4.conf.all.src_valid_mark=0");
}

/* ---- the whole ---- */

/* Return: as family_make(), of both */
static int both_make(void)
{
	int all = 1;

	for (size_t i = 0; i < FAMILIES; i++) {
		int rc = family_make(families[i]);

		if (rc < 0)
			return rc;
		all &= rc;
	}
	return all;
}

int ladon_transparent(struct ladon *ladon)
{
	uint32_t jump = LADON_JUMP_DELIVER;
	int rc = ladon->vrf ? -EOPNOTSUPP : 0;

	if (ladon->foreign)
		return 0;
	if (rc == 0)
		rc = both_make();
	if (rc >= 0)
		rc = bpf_map_update_elem(ladon->jumps_fd, &jump, &ladon->deliver_fd, BPF_ANY);
	if (rc < 0) {
		ladon_say(
			ladon, LADON_LEVEL_ERR,
			"source transparent: %s (needs CAP_NET_ADMIN and policy routing, and is not "
			"for VRFs)",
			strerror(-rc));
		return rc;
	}
	ladon->foreign = true;
	obstacles_say(ladon);
	return 0;
}

void foreign_tick(struct ladon *ladon)
{
	static const char text[] =
		"source transparent: the routing rule or table %d was deleted; %s";
	int rc;

	if (!ladon->foreign || ++ladon->foreign_ticks % TICKS)
		return;
	rc = both_make();
	if (rc == 0)
		ladon_say(ladon, LADON_LEVEL_WARN, text, LADON_MARK_TABLE, "made again");
	else if (rc < 0 && !ladon->foreign_lost)
		ladon_say(ladon, LADON_LEVEL_ERR, text, LADON_MARK_TABLE, strerror(-rc));
	ladon->foreign_lost = rc < 0;
}

static bool was_there(int rc)
{
	return rc != -ENOENT && rc != -ESRCH && rc != -EAFNOSUPPORT && rc != -EOPNOTSUPP;
}

int foreign_cleanup(void)
{
	int all = 0;

	for (size_t i = 0; i < FAMILIES; i++) {
		int rule = rule_order(families[i], RTM_DELRULE, 0);
		int route = route_order(families[i], RTM_DELROUTE, 0);

		if (rule < 0 && was_there(rule))
			all = rule;
		if (route < 0 && was_there(route))
			all = route;
	}
	return all;
}
