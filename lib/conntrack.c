// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conntrack.c - delete and make entries over ctnetlink
 *
 * All that a flow needs goes in one system call. The kernel does as it is told
 * before that call returns, so that an answer is there at once. To deletions it
 * answers only when it could not: an entry that is not there. Nobody reads that;
 * the socket keeps as many as its small buffer takes.
 */
#include "conntrack.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/addr.h"
#include "../base/attrs.h"

#define DELETE_BYTES_MAX 256 /* what one deletion takes, and more */
#define JOIN_BYTES_MAX	 512
#define ANSWERS_BYTES	 1 /* the kernel makes it its minimum */

struct conntrack {
	struct mnl_socket *orders;    /* nobody reads it */
	struct mnl_socket *questions; /* read by who holds .lock */
	pthread_mutex_t lock;
	uint32_t seq; /* of the last question */
};

int conntrack_open(struct conntrack **out)
{
	struct conntrack *ct = calloc(1, sizeof(*ct));
	int size = ANSWERS_BYTES, rc;

	if (!ct)
		return -ENOMEM;
	pthread_mutex_init(&ct->lock, NULL);
	ct->orders = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	ct->questions = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!ct->orders || !ct->questions) {
		rc = errno == EPROTONOSUPPORT ? 0 : -errno;
		conntrack_close(ct);
		*out = NULL;
		return rc;
	}
	setsockopt(mnl_socket_get_fd(ct->orders), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	*out = ct;
	return 0;
}

void conntrack_close(struct conntrack *ct)
{
	if (!ct)
		return;
	if (ct->orders)
		mnl_socket_close(ct->orders);
	if (ct->questions)
		mnl_socket_close(ct->questions);
	pthread_mutex_destroy(&ct->lock);
	free(ct);
}

static struct nlmsghdr *message_put(void *at, uint16_t type, uint32_t seq, uint8_t family,
				    uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = seq;
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
static void *delete_put(void *at, uint16_t type, const struct ladon_flow_key *key)
{
	uint8_t family = is_ip4(key) ? AF_INET : AF_INET6;
	struct nlmsghdr *nlh = message_put(at, IPCTNL_MSG_CT_DELETE, 0, family, 0);

	tuple_put(nlh, type, key);
	return mnl_nlmsg_get_payload_tail(nlh);
}

/* The back connection is ladon's own: its original direction is from ladon to the backend. */
void conntrack_forget(struct conntrack *ct, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back)
{
	struct ladon_flow_key opened = key_reverse(back);
	_Alignas(struct nlmsghdr) char orders[2 * DELETE_BYTES_MAX];
	char *end = delete_put(orders, CTA_TUPLE_ORIG, front);

	end = delete_put(end, CTA_TUPLE_ORIG, &opened);
	mnl_socket_sendto(ct->orders, orders, (size_t)(end - orders));
}

/* ---- one entry for both ---- */

/* The addresses and ports that one end of a flow's packets is changed into */
static void nat_put(struct nlmsghdr *nlh, uint16_t type, const __be32 addr[4], __be16 port,
		    bool ip4)
{
	struct nlattr *nat = mnl_attr_nest_start(nlh, type), *proto;

	if (ip4)
		mnl_attr_put_u32(nlh, CTA_NAT_V4_MINIP, addr[3]);
	else
		mnl_attr_put(nlh, CTA_NAT_V6_MINIP, 16, addr);
	proto = mnl_attr_nest_start(nlh, CTA_NAT_PROTO);
	mnl_attr_put_u16(nlh, CTA_PROTONAT_PORT_MIN, port);
	mnl_attr_nest_end(nlh, proto);
	mnl_attr_nest_end(nlh, nat);
}

/* @flags: IP_CT_TCP_FLAG_* that both directions are to have; @state: TCP_CONNTRACK_*; NONE: the one it has */
static void tcp_put(struct nlmsghdr *nlh, uint8_t flags, enum tcp_conntrack state)
{
	const struct nf_ct_tcp_flags both = { .flags = flags, .mask = flags };
	struct nlattr *info = mnl_attr_nest_start(nlh, CTA_PROTOINFO);
	struct nlattr *tcp = mnl_attr_nest_start(nlh, CTA_PROTOINFO_TCP);

	if (state != TCP_CONNTRACK_NONE)
		mnl_attr_put_u8(nlh, CTA_PROTOINFO_TCP_STATE, (uint8_t)state);
	mnl_attr_put(nlh, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(both), &both);
	mnl_attr_put(nlh, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(both), &both);
	mnl_attr_nest_end(nlh, tcp);
	mnl_attr_nest_end(nlh, info);
}

/* The kernel makes the reply direction by itself out of the given one and the NAT. */
static void *join_put(void *at, uint32_t seq, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back, uint32_t timeout_s)
{
	struct ladon_flow_key reply = key_reverse(front);
	bool ip4 = is_ip4(front);
	struct nlmsghdr *nlh = message_put(at, IPCTNL_MSG_CT_NEW, seq, ip4 ? AF_INET : AF_INET6,
					   NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);

	tuple_put(nlh, CTA_TUPLE_ORIG, front);
	tuple_put(nlh, CTA_TUPLE_REPLY, &reply);
	nat_put(nlh, CTA_NAT_DST, back->saddr, back->sport, ip4);
	nat_put(nlh, CTA_NAT_SRC, back->daddr, back->dport, ip4);
	mnl_attr_put_u32(nlh, CTA_STATUS, htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED));
	mnl_attr_put_u32(nlh, CTA_TIMEOUT, htonl(timeout_s));
	/* It has not seen the handshake, nor the window scales. */
	tcp_put(nlh, IP_CT_TCP_FLAG_BE_LIBERAL | IP_CT_TCP_FLAG_SACK_PERM,
		TCP_CONNTRACK_ESTABLISHED);
	return mnl_nlmsg_get_payload_tail(nlh);
}

/*
 * The answer to the message @seq: the kernel has queued it before send() returned.
 * Return: 0: an acknowledgement or an entry; or a negative errno
 */
static int answer_read(struct conntrack *ct, uint32_t seq)
{
	_Alignas(struct nlmsghdr) char buf[4096];

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(ct->questions), buf, sizeof(buf), MSG_DONTWAIT);
		const struct nlmsghdr *nlh = (const void *)buf;
		int len = (int)n;

		if (n < 0)
			return -errno;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_seq != seq)
				continue;
			if (nlh->nlmsg_type != NLMSG_ERROR)
				return 0;
			return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error;
		}
	}
}

static int ask(struct conntrack *ct, uint32_t seq, const void *message, const void *end)
{
	size_t len = (size_t)((const char *)end - (const char *)message);

	if (mnl_socket_sendto(ct->questions, message, len) < 0)
		return -errno;
	return answer_read(ct, seq);
}

int conntrack_join(struct conntrack *ct, const struct ladon_flow_key *front,
		   const struct ladon_flow_key *back, uint32_t timeout_s)
{
	_Alignas(struct nlmsghdr) char message[2 * DELETE_BYTES_MAX + JOIN_BYTES_MAX];
	struct ladon_flow_key opened = key_reverse(back);
	void *at = message;
	int rc;

	pthread_mutex_lock(&ct->lock);
	at = delete_put(at, CTA_TUPLE_ORIG, front);
	at = delete_put(at, CTA_TUPLE_ORIG, &opened);
	at = join_put(at, ++ct->seq, front, back, timeout_s);
	rc = ask(ct, ct->seq, message, at);
	pthread_mutex_unlock(&ct->lock);
	return rc;
}

void conntrack_part(struct conntrack *ct, const struct ladon_flow_key *back)
{
	_Alignas(struct nlmsghdr) char order[DELETE_BYTES_MAX];
	char *end = delete_put(order, CTA_TUPLE_REPLY, back);

	mnl_socket_sendto(ct->orders, order, (size_t)(end - order));
}

void conntrack_relax(struct conntrack *ct, const struct ladon_flow_key *original)
{
	_Alignas(struct nlmsghdr) char order[JOIN_BYTES_MAX];
	struct nlmsghdr *nlh =
		message_put(order, IPCTNL_MSG_CT_NEW, 0, is_ip4(original) ? AF_INET : AF_INET6, 0);

	tuple_put(nlh, CTA_TUPLE_ORIG, original);
	tcp_put(nlh, IP_CT_TCP_FLAG_BE_LIBERAL, TCP_CONNTRACK_NONE);
	mnl_socket_sendto(ct->orders, nlh, nlh->nlmsg_len);
}

bool conntrack_has(struct conntrack *ct, const struct ladon_flow_key *back)
{
	_Alignas(struct nlmsghdr) char question[DELETE_BYTES_MAX];
	struct nlmsghdr *nlh;
	int rc;

	pthread_mutex_lock(&ct->lock);
	nlh = message_put(question, IPCTNL_MSG_CT_GET, ++ct->seq, is_ip4(back) ? AF_INET : AF_INET6,
			  0);
	tuple_put(nlh, CTA_TUPLE_REPLY, back);
	rc = ask(ct, ct->seq, question, mnl_nlmsg_get_payload_tail(nlh));
	pthread_mutex_unlock(&ct->lock);
	return rc == 0;
}

/* ---- events ---- */

_Static_assert(CTA_MAX < ATTRS_MAX, "all of them are wanted");

static bool address_get(const struct nlattr *const ip[], uint16_t type4, uint16_t type6,
			__be32 out[4])
{
	const struct nlattr *attr = ip[type4] ? ip[type4] : ip[type6];
	struct addr a = { .sa.sa_family = AF_INET };

	if (!attr || mnl_attr_get_payload_len(attr) != (ip[type4] ? 4 : 16))
		return false;
	if (!ip[type4]) {
		memcpy(out, mnl_attr_get_payload(attr), 16);
		return true;
	}
	a.in.sin_addr.s_addr = mnl_attr_get_u32(attr);
	addr_to_16(&a, out);
	return true;
}

static bool tuple_get(const struct nlattr *tuple, struct ladon_flow_key *out)
{
	const struct nlattr *at[ATTRS_MAX], *ip[ATTRS_MAX], *proto[ATTRS_MAX];

	attrs_read(tuple, at);
	attrs_read(at[CTA_TUPLE_IP], ip);
	attrs_read(at[CTA_TUPLE_PROTO], proto);
	if (!proto[CTA_PROTO_NUM] || mnl_attr_get_u8(proto[CTA_PROTO_NUM]) != IPPROTO_TCP ||
	    !proto[CTA_PROTO_SRC_PORT] || !proto[CTA_PROTO_DST_PORT])
		return false;
	out->sport = mnl_attr_get_u16(proto[CTA_PROTO_SRC_PORT]);
	out->dport = mnl_attr_get_u16(proto[CTA_PROTO_DST_PORT]);
	return address_get(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC, out->saddr) &&
	       address_get(ip, CTA_IP_V4_DST, CTA_IP_V6_DST, out->daddr);
}

bool conntrack_gone(const struct nlmsghdr *nlh, struct ladon_flow_key *front,
		    struct ladon_flow_key *back)
{
	const struct nlattr *at[ATTRS_MAX];

	if (nlh->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE))
		return false;
	attrs_of(nlh, at);
	return tuple_get(at[CTA_TUPLE_ORIG], front) && tuple_get(at[CTA_TUPLE_REPLY], back);
}
