// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conntrack.c - delete entries over ctnetlink
 *
 * Both of a flow go in one system call. The kernel does as it is told before
 * that call returns, and answers only what it could not do: an entry that is
 * not there. Nobody reads those answers; a socket keeps as many as its small
 * buffer takes.
 */
#include "conntrack.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/addr.h"

#define MESSAGE_BYTES_MAX 256 /* what one deletion takes, and more */
#define ANSWERS_BYTES	  1   /* the kernel makes it its minimum */

struct conntrack {
	struct mnl_socket *orders;
};

int conntrack_open(struct conntrack **out)
{
	int size = ANSWERS_BYTES;
	struct conntrack *ct = calloc(1, sizeof(*ct));

	if (!ct)
		return -ENOMEM;
	ct->orders = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!ct->orders) {
		free(ct);
		*out = NULL;
		return errno == EPROTONOSUPPORT ? 0 : -errno;
	}
	setsockopt(mnl_socket_get_fd(ct->orders), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	*out = ct;
	return 0;
}

void conntrack_close(struct conntrack *ct)
{
	if (!ct)
		return;
	mnl_socket_close(ct->orders);
	free(ct);
}

static struct nlmsghdr *message_put(void *at, uint16_t type, uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

static bool is_ip4(const struct ladon_flow_key *key)
{
	struct addr a;

	addr_from_16(key->saddr, 0, &a);
	return a.sa.sa_family == AF_INET;
}

static void addresses_put(struct nlmsghdr *nlh, const struct ladon_flow_key *key)
{
	struct nlattr *ip = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);

	if (is_ip4(key)) {
		mnl_attr_put_u32(nlh, CTA_IP_V4_SRC, key->saddr[3]);
		mnl_attr_put_u32(nlh, CTA_IP_V4_DST, key->daddr[3]);
	} else {
		mnl_attr_put(nlh, CTA_IP_V6_SRC, sizeof(key->saddr), key->saddr);
		mnl_attr_put(nlh, CTA_IP_V6_DST, sizeof(key->daddr), key->daddr);
	}
	mnl_attr_nest_end(nlh, ip);
}

/* @type: CTA_TUPLE_ORIG or CTA_TUPLE_REPLY: which direction of the entry @key is */
static void tuple_put(struct nlmsghdr *nlh, uint16_t type, const struct ladon_flow_key *key)
{
	struct nlattr *tuple = mnl_attr_nest_start(nlh, type), *proto;

	addresses_put(nlh, key);
	proto = mnl_attr_nest_start(nlh, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(nlh, CTA_PROTO_NUM, IPPROTO_TCP);
	mnl_attr_put_u16(nlh, CTA_PROTO_SRC_PORT, key->sport);
	mnl_attr_put_u16(nlh, CTA_PROTO_DST_PORT, key->dport);
	mnl_attr_nest_end(nlh, proto);
	mnl_attr_nest_end(nlh, tuple);
}

static struct ladon_flow_key key_reverse(const struct ladon_flow_key *key)
{
	struct ladon_flow_key out = { .sport = key->dport, .dport = key->sport };

	memcpy(out.saddr, key->daddr, sizeof(out.saddr));
	memcpy(out.daddr, key->saddr, sizeof(out.daddr));
	return out;
}

/* Return: where the next message goes */
static void *delete_put(void *at, const struct ladon_flow_key *original)
{
	uint8_t family = is_ip4(original) ? AF_INET : AF_INET6;
	struct nlmsghdr *nlh = message_put(at, IPCTNL_MSG_CT_DELETE, family);

	tuple_put(nlh, CTA_TUPLE_ORIG, original);
	return mnl_nlmsg_get_payload_tail(nlh);
}

/* The back connection is ladon's own: its original direction is from ladon to the backend. */
void conntrack_forget(struct conntrack *ct, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back)
{
	struct ladon_flow_key opened = key_reverse(back);
	_Alignas(struct nlmsghdr) char orders[2 * MESSAGE_BYTES_MAX];
	char *end = delete_put(delete_put(orders, front), &opened);

	mnl_socket_sendto(ct->orders, orders, (size_t)(end - orders));
}
