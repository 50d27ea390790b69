// SPDX-License-Identifier: GPL-2.0-only
/*
 * forward_conns.c - ask conntrack, over ctnetlink, for connections with DNAT, and delete some
 *
 * The kernel tells all of them in one answer, a page at a time. Who is to go is written down
 * meanwhile and deleted afterwards, by its original tuple and its id: another connection that has
 * come to have the same tuple stays.
 */
#include "forward_conns.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/attrs.h"
#include "../base/own.h"
#include "nft.h"

#define ANSWER_BYTES	 65536
#define QUESTION_BYTES	 256
#define DELETE_BYTES_MAX 512 /* a deletion, and more */

struct walk {
	bool (*is_over)(void *arg, bool udp, const struct addr *asked, const struct addr *server);
	void *arg;
	FILE *deletions; /* messages, one after the other */
};

/* ---- what the kernel says ---- */

static bool host_get(const struct nlattr *attr, struct addr *out)
{
	if (!attr)
		return false;
	*out = (struct addr){ 0 };
	switch (mnl_attr_get_payload_len(attr)) {
	case sizeof(struct in_addr):
		out->sa.sa_family = AF_INET;
		memcpy(&out->in.sin_addr, mnl_attr_get_payload(attr), sizeof(struct in_addr));
		return true;
	case sizeof(struct in6_addr):
		out->sa.sa_family = AF_INET6;
		memcpy(&out->in6.sin6_addr, mnl_attr_get_payload(attr), sizeof(struct in6_addr));
		return true;
	}
	return false;
}

/* One end of a tuple, and its protocol: where the packets go, or, with @source, where they come from */
static bool end_get(const struct nlattr *tuple, bool source, struct addr *out, uint8_t *protocol)
{
	const struct nlattr *at[ATTRS_MAX], *ip[ATTRS_MAX], *proto[ATTRS_MAX], *host, *port;

	attrs_read(tuple, at);
	attrs_read(at[CTA_TUPLE_IP], ip);
	attrs_read(at[CTA_TUPLE_PROTO], proto);
	host = source ? ip[CTA_IP_V4_SRC] : ip[CTA_IP_V4_DST];
	if (!host)
		host = source ? ip[CTA_IP_V6_SRC] : ip[CTA_IP_V6_DST];
	port = proto[source ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT];
	if (!port || !proto[CTA_PROTO_NUM] || !host_get(host, out))
		return false;
	addr_set_port(out, ntohs(mnl_attr_get_u16(port)));
	*protocol = mnl_attr_get_u8(proto[CTA_PROTO_NUM]);
	return true;
}

/* ---- what it is told ---- */

static struct nlmsghdr *message_put(void *at, uint16_t type, uint8_t family, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

/* What names an entry, as the kernel has told it. A zone is also part of the tuple, if it is one direction's. */
static bool deletion_write(FILE *f, uint8_t family, const struct nlattr *const at[])
{
	static const uint16_t names[] = { CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE };
	_Alignas(struct nlmsghdr) char message[DELETE_BYTES_MAX];
	struct nlmsghdr *nlh = message_put(message, IPCTNL_MSG_CT_DELETE, family, NLM_F_ACK);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct nlattr *attr = at[names[i]];

		if (attr &&
		    !mnl_attr_put_check(nlh, sizeof(message), attr->nla_type,
					mnl_attr_get_payload_len(attr), mnl_attr_get_payload(attr)))
			return false;
	}
	return fwrite(nlh, nlh->nlmsg_len, 1, f) == 1;
}

static int entry_look(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *at[ATTRS_MAX];
	struct walk *walk = arg;
	struct addr asked, server;
	uint8_t protocol;

	attrs_of(nlh, at);
	if (!(attr_u32(at[CTA_STATUS]) & IPS_DST_NAT) ||
	    !end_get(at[CTA_TUPLE_ORIG], false, &asked, &protocol) ||
	    !end_get(at[CTA_TUPLE_REPLY], true, &server, &protocol) ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return MNL_CB_OK;
	if (walk->is_over(walk->arg, protocol == IPPROTO_UDP, &asked, &server) &&
	    !deletion_write(walk->deletions, nfg->nfgen_family, at)) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

/* ---- asking and telling ---- */

/* A kernel that does not know the mask tells of all, and entry_look() looks itself. */
static int family_walk(struct mnl_socket *nl, uint8_t family, char *buf, struct walk *walk)
{
	_Alignas(struct nlmsghdr) char question[QUESTION_BYTES];
	struct nlmsghdr *nlh = message_put(question, IPCTNL_MSG_CT_GET, family, NLM_F_DUMP);
	int rc = 1;

	mnl_attr_put_u32(nlh, CTA_STATUS, htonl(IPS_DST_NAT));
	mnl_attr_put_u32(nlh, CTA_STATUS_MASK, htonl(IPS_DST_NAT));
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (rc > 0) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, ANSWER_BYTES);

		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, (size_t)n, 0, 0, entry_look, walk);
	}
	return rc < 0 ? -errno : 0;
}

/* Return: 1: it has been deleted; 0: it had gone by itself; or a negative errno */
static int entry_delete(struct mnl_socket *nl, const struct nlmsghdr *deletion, char *buf)
{
	ssize_t n;

	if (mnl_socket_sendto(nl, deletion, deletion->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(nl, buf, ANSWER_BYTES);
	if (n < 0)
		return -errno;
	if (mnl_cb_run(buf, (size_t)n, 0, 0, NULL, NULL) >= 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

static int all_delete(struct mnl_socket *nl, const char *deletions, size_t size, char *buf)
{
	int len = (int)size, ended = 0, rc = 0;

	for (const struct nlmsghdr *nlh = (const void *)deletions;
	     rc >= 0 && mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		rc = entry_delete(nl, nlh, buf);
		ended += rc > 0;
	}
	return rc < 0 ? rc : ended;
}

/*
 * Learned flows go on until a rule has changed, or nobody has confirmed them for a while: so one
 * does, in a transaction that leaves nothing behind.
 */
static int learned_stop(void)
{
	_free_ char *why = NULL;

	return nft_run("add table inet " NFT_TABLE "-ended\ndelete table inet " NFT_TABLE "-ended",
		       &why);
}

static int walk_run(struct mnl_socket *nl, char *buf, struct walk *walk)
{
	_free_ char *deletions = NULL;
	size_t size = 0;
	int rc, ended;

	walk->deletions = open_memstream(&deletions, &size);
	if (!walk->deletions)
		return -ENOMEM;
	rc = family_walk(nl, AF_INET, buf, walk);
	if (rc == 0)
		rc = family_walk(nl, AF_INET6, buf, walk);
	if (fclose(walk->deletions) != 0 && rc == 0)
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	ended = all_delete(nl, deletions, size, buf);
	return ended > 0 && learned_stop() < 0 ? -EIO : ended;
}

int forward_conns_end(bool (*is_over)(void *arg, bool udp, const struct addr *asked,
				      const struct addr *server),
		      void *arg)
{
	struct walk walk = { .is_over = is_over, .arg = arg };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	_free_ char *buf = malloc(ANSWER_BYTES);
	int rc = -ENOMEM;

	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		rc = -errno;
	else if (buf)
		rc = walk_run(nl, buf, &walk);
	mnl_socket_close(nl);
	return rc;
}
