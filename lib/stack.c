// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stack.c - the nat chain, the sysctls and the events that such flows depend on
 */
#include "stack.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h> /* before <linux/netfilter.h>, which defines the rest of it */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/attrs.h"
#include "conntrack.h"
#include "private.h"

#define TABLE	      "ladon"
#define CHAIN	      "nat"
#define SRCNAT	      100 /* NF_IP_PRI_NAT_SRC; any hook does: the first registers all four */
#define ORIGINAL      0	  /* IP_CT_DIR_ORIGINAL */
#define BATCH_BYTES   1024
#define MESSAGE_BYTES 16384	/* NLMSG_GOODSIZE at most */
#define EVENTS_BYTES  (1 << 20) /* of a moment in which many connections end */

struct stack {
	struct ladon *ladon;
	struct mnl_socket *events;
	int forwards4_fd, forwards6_fd; /* sysctls, read again each time */
};

/* ---- the table ---- */

static struct nlmsghdr *nft_put(void *at, uint16_t type, uint8_t family, uint16_t flags,
				uint16_t subsystem)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(at);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(subsystem);
	return nlh;
}

static void *batch_put(void *at, uint16_t type)
{
	nft_put(at, type, AF_UNSPEC, 0, NFNL_SUBSYS_NFTABLES);
	return mnl_nlmsg_get_payload_tail(at);
}

static void *table_put(void *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = nft_put(at, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
				       NFPROTO_INET, flags | NLM_F_ACK, 0);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, TABLE);
	return mnl_nlmsg_get_payload_tail(nlh);
}

static void *chain_put(void *at)
{
	struct nlmsghdr *nlh = nft_put(at, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN,
				       NFPROTO_INET, NLM_F_CREATE | NLM_F_ACK, 0);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, CHAIN);
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(NF_INET_POST_ROUTING));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl(SRCNAT));
	mnl_attr_nest_end(nlh, hook);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "nat");
	return mnl_nlmsg_get_payload_tail(nlh);
}

/* One expression of a rule; @fill writes what it takes. */
static void expression_put(struct nlmsghdr *nlh, const char *name, void (*fill)(struct nlmsghdr *))
{
	struct nlattr *elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM), *data;

	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
	fill(nlh);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, elem);
}

static void direction_load(struct nlmsghdr *nlh)
{
	mnl_attr_put_u32(nlh, NFTA_CT_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_CT_KEY, htonl(NFT_CT_DIRECTION));
}

static void direction_compare(struct nlmsghdr *nlh)
{
	struct nlattr *data;

	mnl_attr_put_u32(nlh, NFTA_CMP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_CMP_OP, htonl(NFT_CMP_EQ));
	data = mnl_attr_nest_start(nlh, NFTA_CMP_DATA);
	mnl_attr_put_u8(nlh, NFTA_DATA_VALUE, ORIGINAL);
	mnl_attr_nest_end(nlh, data);
}

/*
 * "ct direction original": a rule that does nothing. A chain of type nat makes the
 * kernel do NAT, but only a rule that looks at a connection makes it track any.
 */
static void *rule_put(void *at)
{
	struct nlmsghdr *nlh = nft_put(at, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE,
				       NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, 0);
	struct nlattr *list;

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, CHAIN);
	list = mnl_attr_nest_start(nlh, NFTA_RULE_EXPRESSIONS);
	expression_put(nlh, "ct", direction_load);
	expression_put(nlh, "cmp", direction_compare);
	mnl_attr_nest_end(nlh, list);
	return mnl_nlmsg_get_payload_tail(nlh);
}

/* All of a batch or nothing: the first error is the answer. */
static int batch_run(const void *batch, const void *end)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	size_t len = (size_t)((const char *)end - (const char *)batch);
	_Alignas(struct nlmsghdr) char answer[MESSAGE_BYTES];
	ssize_t n = 0;
	int rc = 0;

	if (!nl)
		return -errno;
	if (mnl_socket_sendto(nl, batch, len) < 0)
		rc = -errno;
	while (rc == 0 &&
	       (n = recv(mnl_socket_get_fd(nl), answer, sizeof(answer), MSG_DONTWAIT)) > 0)
		if (mnl_cb_run(answer, (size_t)n, 0, 0, NULL, NULL) < 0)
			rc = -errno;
	mnl_socket_close(nl);
	return rc;
}

/* A table that is there already is a former process's, and whole. */
static int table_make(void)
{
	_Alignas(struct nlmsghdr) char batch[BATCH_BYTES];
	void *at = batch_put(batch, NFNL_MSG_BATCH_BEGIN);
	int rc;

	at = table_put(at, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	at = chain_put(at);
	at = rule_put(at);
	rc = batch_run(batch, batch_put(at, NFNL_MSG_BATCH_END));
	return rc == -EEXIST ? 0 : rc;
}

static int table_delete(void)
{
	_Alignas(struct nlmsghdr) char batch[BATCH_BYTES];
	void *at = batch_put(batch, NFNL_MSG_BATCH_BEGIN);
	int rc;

	at = table_put(at, NFT_MSG_DELTABLE, 0);
	rc = batch_run(batch, batch_put(at, NFNL_MSG_BATCH_END));
	/* no such table; or no nf_tables, and so none either */
	return rc == -ENOENT || rc == -EPROTONOSUPPORT || rc == -EINVAL ? 0 : rc;
}

static void table_restore(const struct stack *stack)
{
	int rc = table_make();

	if (rc < 0)
		ladon_say(stack->ladon, LADON_LEVEL_ERR,
			  "nft table inet " TABLE " was deleted and cannot be made again: %s",
			  strerror(-rc));
	else
		ladon_say(stack->ladon, LADON_LEVEL_WARN,
			  "nft table inet " TABLE " was deleted; made again");
}

/* ---- events ---- */

/* NFTA_CHAIN_TABLE and NFTA_RULE_TABLE have the number of NFTA_TABLE_NAME. */
static bool is_in_our_table(const struct nlmsghdr *nlh)
{
	const struct nlattr *of[ATTRS_MAX];

	attrs_of(nlh, of);
	return strcmp(attr_text(of[NFTA_TABLE_NAME]), TABLE) == 0;
}

struct seen {
	struct stack *stack;
	bool table_deleted, part_deleted;
};

static int event_take(const struct nlmsghdr *nlh, void *arg)
{
	struct ladon_flow_key front, back;
	struct seen *seen = arg;

	if (conntrack_gone(nlh, &front, &back))
		flows_untracked(seen->stack->ladon, &front, &back);
	if (nlh->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE))
		seen->table_deleted |= is_in_our_table(nlh);
	if (nlh->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN) ||
	    nlh->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE))
		seen->part_deleted |= is_in_our_table(nlh);
	return MNL_CB_OK;
}

void stack_dispatch(struct stack *stack)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct seen seen = { .stack = stack };

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(stack->events), buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) { /* some were lost: look at all */
			flows_check_tracked(stack->ladon);
			seen.table_deleted = true;
			continue;
		}
		if (n <= 0)
			break;
		mnl_cb_run(buf, (size_t)n, 0, 0, event_take, &seen);
	}
	if (seen.table_deleted)
		table_restore(stack);
	else if (seen.part_deleted)
		table_delete(); /* all of it: then it is made again */
}

static int events_open(struct stack *stack)
{
	static const int groups[] = { NFNLGRP_CONNTRACK_DESTROY, NFNLGRP_NFTABLES };
	int size = EVENTS_BYTES;
	int fd;

	stack->events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!stack->events || mnl_socket_bind(stack->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	fd = mnl_socket_get_fd(stack->events);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (mnl_socket_setsockopt(stack->events, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i],
					  sizeof(groups[i])) < 0)
			return -errno;
	return 0;
}

/* ---- a flow ---- */

static int flow_give(struct ladon *ladon, const struct ladon_flow_key *front,
		     const struct ladon_flow_key *back, uint32_t id, uint32_t idle_ms)
{
	struct ladon_request req = { .op = LADON_EDIT_STACK, .front = *front, .id = id };
	int rc = conntrack_join(ladon->conntrack, front, back, idle_ms / 1000 + 1);

	if (rc < 0)
		return rc;
	rc = ladon_run(ladon->edit_fd, &req, sizeof(req));
	if (rc < 0 || req.reason) /* not given, or over already */
		conntrack_part(ladon->conntrack, back);
	return rc;
}

/*
 * The sockets would make conntrack anew what is taken from it here, and packets of the
 * flow do not meet it yet.
 */
void stack_take(struct ladon *ladon, const struct ladon_flow_key *front,
		const struct ladon_flow_key *back, uint32_t id, uint32_t idle_ms)
{
	int rc = flow_give(ladon, front, back, id, idle_ms), killed;

	if (rc == 0)
		return;
	killed = flows_kill_one(ladon, front, id);
	if (killed < 0 && killed != -ENOENT) /* it must not stay: flows_tick() sees to it */
		atomic_store(&ladon->unfinished, true);
	conntrack_forget(ladon->conntrack, front, back); /* if it has not */
	ladon_say(ladon, LADON_LEVEL_WARN, "flow %u: conntrack refused it: %s; %s", id,
		  strerror(-rc), killed < 0 ? "trying again" : "killed");
}

/* ---- taking it off ---- */

static void entry_part(struct conntrack *ct, const struct ladon_entry *flow)
{
	struct ladon_flow_key back = { .sport = flow->dport, .dport = flow->sport };

	if (!(flow->state & LADON_STATE_STACK) || flow->what & LADON_FLOW_TO_CLIENT)
		return;
	memcpy(back.saddr, flow->daddr, sizeof(back.saddr));
	memcpy(back.daddr, flow->saddr, sizeof(back.daddr));
	conntrack_part(ct, &back);
}

int stack_cleanup(int flows_fd)
{
	struct conntrack *ct = NULL;
	struct ladon_flow_key key;
	struct ladon_entry flow;
	void *last = NULL;

	if (flows_fd >= 0)
		conntrack_open(&ct);
	while (ct && bpf_map_get_next_key(flows_fd, last, &key) == 0) {
		if (bpf_map_lookup_elem(flows_fd, &key, &flow) == 0)
			entry_part(ct, &flow);
		last = &key;
	}
	conntrack_close(ct);
	return table_delete();
}

/* ---- the whole ---- */

static bool is_on(int fd)
{
	char value;

	return fd >= 0 && pread(fd, &value, 1, 0) == 1 && value != '0';
}

bool stack_forwards(const struct stack *stack, sa_family_t family)
{
	return is_on(family == AF_INET ? stack->forwards4_fd : stack->forwards6_fd);
}

int stack_open(struct ladon *ladon, struct stack **out)
{
	struct stack *stack = calloc(1, sizeof(*stack));
	int rc;

	if (!stack)
		return -ENOMEM;
	stack->ladon = ladon;
	stack->forwards4_fd = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY | O_CLOEXEC);
	stack->forwards6_fd = open("/proc/sys/net/ipv6/conf/all/forwarding", O_RDONLY | O_CLOEXEC);
	rc = ladon->conntrack ? events_open(stack) : -EPROTONOSUPPORT;
	if (rc == 0)
		rc = table_make();
	if (rc < 0) {
		stack_close(stack);
		return rc;
	}
	*out = stack;
	return 0;
}

void stack_close(struct stack *stack)
{
	if (!stack)
		return;
	if (stack->events)
		mnl_socket_close(stack->events);
	if (stack->forwards4_fd >= 0)
		close(stack->forwards4_fd);
	if (stack->forwards6_fd >= 0)
		close(stack->forwards6_fd);
	free(stack);
}

int stack_fd(const struct stack *stack)
{
	return mnl_socket_get_fd(stack->events);
}
