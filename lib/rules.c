// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * rules.c - what kind of rules there are
 *
 * They are read as the kernel has them; rule.c is about one of them. In doubt nothing is promised: rules of the
 * old iptables, say, are not among these.
 */
#include "rules.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h> /* before <linux/netfilter.h>, which defines the rest of it */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/attrs.h"
#include "../base/own.h"
#include "rule.h"

#define MESSAGE_BYTES 65536
#define SETS_MAX      512 /* of rules; the kernel looks for each among all, and the caller waits */

/* What else there may be: see others_look() */
enum {
	OTHERS_LEGACY = 1 << 0,
	OTHERS_IPVS = 1 << 1,
};

static const char *const legacy_paths[] = {
	"/proc/self/net/ip_tables_names",
	"/proc/self/net/ip6_tables_names",
};

#define LEGACY_PATHS (sizeof(legacy_paths) / sizeof(legacy_paths[0]))

/**
 * struct rules - whom to ask
 * @nl: NULL: to be opened again
 * @legacy_fds: of legacy_paths; opened in time, since only root may; -1: there was none
 * @generation, @others: what was judged last
 */
struct rules {
	struct mnl_socket *nl;
	uint32_t seq;
	int legacy_fds[LEGACY_PATHS];
	bool is_judged;
	uint32_t generation;
	unsigned int others;
	char *buf;
};

static void socket_close(struct rules *rules)
{
	if (rules->nl)
		mnl_socket_close(rules->nl);
	rules->nl = NULL;
}

static int socket_open(struct rules *rules)
{
	int rc = 0;

	if (rules->nl)
		return 0;
	rules->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!rules->nl || mnl_socket_bind(rules->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		rc = -errno;
		socket_close(rules);
	}
	return rc;
}

int rules_open(struct rules **out)
{
	struct rules *rules = calloc(1, sizeof(*rules));
	int rc = -ENOMEM;

	if (!rules)
		return rc;
	for (size_t i = 0; i < LEGACY_PATHS; i++)
		rules->legacy_fds[i] = open(legacy_paths[i], O_RDONLY | O_CLOEXEC);
	rules->buf = malloc(MESSAGE_BYTES);
	if (rules->buf)
		rc = socket_open(rules);
	if (rc == 0)
		*out = rules;
	else
		rules_close(rules);
	return rc;
}

void rules_close(struct rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < LEGACY_PATHS; i++)
		if (rules->legacy_fds[i] >= 0)
			close(rules->legacy_fds[i]);
	socket_close(rules);
	free(rules->buf);
	free(rules);
}

static struct nlmsghdr *question_put(struct rules *rules, uint16_t type, uint16_t flags,
				     uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(rules->buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++rules->seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

/* Send it, and let @fn see each answer. Return: 0 or a negative errno */
static int question_ask(struct rules *rules, const struct nlmsghdr *nlh, mnl_cb_t fn, void *arg)
{
	unsigned int portid = mnl_socket_get_portid(rules->nl);
	int rc = MNL_CB_OK;

	if (mnl_socket_sendto(rules->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (rc > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(rules->nl, rules->buf, MESSAGE_BYTES);

		if (n < 0)
			return -errno;
		rc = mnl_cb_run(rules->buf, (size_t)n, rules->seq, portid, fn, arg);
	}
	return rc < 0 ? -errno : 0;
}

static int ask(struct rules *rules, uint16_t type, uint16_t flags, mnl_cb_t fn, void *arg)
{
	return question_ask(rules, question_put(rules, type, flags, AF_UNSPEC), fn, arg);
}

/* ---- the generation ---- */

static int generation_take(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(attr));
	}
	return MNL_CB_OK;
}

static int generation_read(struct rules *rules, uint32_t *out)
{
	return ask(rules, NFT_MSG_GETGEN, NLM_F_ACK, generation_take, out);
}

/* ---- all of them ---- */

/* They refuse before there is a route, and that is not repeated: dropped.h */
static bool is_ours(const char *table)
{
	return strcmp(table, "ladon") == 0 || strcmp(table, "ladon-forward") == 0;
}

static int rule_take(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	struct judgement *out = arg;
	const struct nlattr *of[ATTRS_MAX];
	const char *what = NULL;

	attrs_of(nlh, of);
	if (nfg->nfgen_family != NFPROTO_ARP && of[NFTA_RULE_EXPRESSIONS])
		what = rule_read(nfg->nfgen_family, of[NFTA_RULE_EXPRESSIONS], &out->tracks,
				 &out->rewrites);
	if (!what || !out->by_flow || is_ours(attr_text(of[NFTA_RULE_TABLE])))
		return MNL_CB_OK;
	out->by_flow = false;
	snprintf(out->why, sizeof(out->why), "table %s, chain %s: %s",
		 attr_text(of[NFTA_RULE_TABLE]), attr_text(of[NFTA_RULE_CHAIN]), what);
	return MNL_CB_OK;
}

/**
 * struct sets - those that stand in a rule: "ip saddr { 192.0.2.1 limit rate 1/second }"
 * @anonymous: only their elements say whether there is more to them than that they are there
 */
struct sets {
	struct judgement *out;
	struct set {
		uint8_t family;
		char table[NFT_TABLE_MAXNAMELEN];
		char name[NFT_SET_MAXNAMELEN];
	} * anonymous;
	size_t len, size;
};

static void set_judge(struct judgement *out, const char *table, const char *name, const char *what)
{
	if (!what || strcmp(what, "counter") == 0 || !out->by_flow)
		return;
	out->by_flow = false;
	snprintf(out->why, sizeof(out->why), "table %s, set %s: %s", table, name, what);
}

/* Of what a set says about all of its elements, or one about itself. Return: NULL: nothing */
static const char *statement_name(const struct nlattr *one, const struct nlattr *several)
{
	const struct nlattr *expr[ATTRS_MAX];

	attrs_read(one, expr);
	if (one)
		return attr_text(expr[NFTA_EXPR_NAME]);
	return several ? "several" : NULL;
}

static int set_keep(struct sets *sets, uint8_t family, const char *table, const char *name)
{
	if (sets->len == sets->size) {
		size_t size = sets->size ? 2 * sets->size : 64;
		struct set *more = reallocarray(sets->anonymous, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		sets->anonymous = more;
		sets->size = size;
	}
	sets->anonymous[sets->len].family = family;
	snprintf(sets->anonymous[sets->len].table, NFT_TABLE_MAXNAMELEN, "%s", table);
	snprintf(sets->anonymous[sets->len].name, NFT_SET_MAXNAMELEN, "%s", name);
	sets->len++;
	return 0;
}

/* A set whose elements have more to them than that they are there */
static int set_take(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *of[NFTA_SET_MAX + 1] = { NULL };
	struct sets *sets = arg;

	mnl_attr_for_each(attr, nlh, sizeof(*nfg))
	{
		if (mnl_attr_get_type(attr) <= NFTA_SET_MAX)
			of[mnl_attr_get_type(attr)] = attr;
	}
	set_judge(sets->out, attr_text(of[NFTA_SET_TABLE]), attr_text(of[NFTA_SET_NAME]),
		  statement_name(of[NFTA_SET_EXPR], of[NFTA_SET_EXPRESSIONS]));
	if (attr_u32(of[NFTA_SET_FLAGS]) & NFT_SET_ANONYMOUS &&
	    set_keep(sets, nfg->nfgen_family, attr_text(of[NFTA_SET_TABLE]),
		     attr_text(of[NFTA_SET_NAME])) < 0) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int elements_take(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *elem, *list[ATTRS_MAX], *of[ATTRS_MAX];
	struct judgement *out = arg;

	attrs_of(nlh, list);
	if (!list[NFTA_SET_ELEM_LIST_ELEMENTS])
		return MNL_CB_OK;
	mnl_attr_for_each_nested(elem, list[NFTA_SET_ELEM_LIST_ELEMENTS])
	{
		attrs_read(elem, of);
		set_judge(out, attr_text(list[NFTA_SET_ELEM_LIST_TABLE]),
			  attr_text(list[NFTA_SET_ELEM_LIST_SET]),
			  statement_name(of[NFTA_SET_ELEM_EXPR], of[NFTA_SET_ELEM_EXPRESSIONS]));
	}
	return MNL_CB_OK;
}

static int elements_judge(struct rules *rules, const struct set *set, struct judgement *out)
{
	struct nlmsghdr *nlh = question_put(rules, NFT_MSG_GETSETELEM, NLM_F_DUMP, set->family);

	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, set->table);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set->name);
	return question_ask(rules, nlh, elements_take, out);
}

/* Once it is known that a flow is not judged as a whole, nothing more need be known. */
static int sets_judge(struct rules *rules, struct judgement *out)
{
	struct sets sets = { .out = out };
	int rc = ask(rules, NFT_MSG_GETSET, NLM_F_DUMP, set_take, &sets);

	if (sets.len > SETS_MAX)
		set_judge(out, "?", "of a rule", "too many to look at");
	for (size_t i = 0; rc == 0 && out->by_flow && i < sets.len; i++)
		rc = elements_judge(rules, &sets.anonymous[i], out);
	free(sets.anonymous);
	return rc == -ENOENT ? -EAGAIN : rc; /* one has gone meanwhile */
}

/* Has the old iptables tables here? What cannot be read may say so. */
static bool has_legacy(int *fd, const char *path)
{
	char byte;

	if (*fd < 0)
		*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return errno != ENOENT;
	return pread(*fd, &byte, 1, 0) != 0;
}

/* Its changes have no generation: it is looked for each time. */
static unsigned int others_look(struct rules *rules)
{
	unsigned int others = 0;

	for (size_t i = 0; i < LEGACY_PATHS; i++)
		if (has_legacy(&rules->legacy_fds[i], legacy_paths[i]))
			others |= OTHERS_LEGACY;
	if (access("/proc/self/net/ip_vs", F_OK) == 0)
		others |= OTHERS_IPVS;
	return others;
}

/* IPVS sends packets elsewhere that conntrack knows nothing of. */
static void others_judge(unsigned int others, struct judgement *out)
{
	out->rewrites |= others != 0;
	if (!(others & OTHERS_LEGACY))
		return;
	out->tracks = true;
	out->by_flow = false;
	snprintf(out->why, sizeof(out->why), "tables of the old iptables");
}

static int nftables_judge(struct rules *rules, struct judgement *out)
{
	uint32_t after = 0;
	int rc = ask(rules, NFT_MSG_GETRULE, NLM_F_DUMP, rule_take, out);

	if (rc == 0)
		rc = sets_judge(rules, out);
	if (rc == 0)
		rc = generation_read(rules, &after);
	if (rc == 0 && after != out->generation)
		rc = -EAGAIN;
	return rc == -EINTR ? -EAGAIN : rc;
}

int rules_judge(struct rules *rules, struct judgement *out)
{
	struct judgement next = { .by_flow = true };
	unsigned int others = others_look(rules);
	int rc = socket_open(rules);

	if (rc == 0)
		rc = generation_read(rules, &next.generation);
	if (rc == 0 && rules->is_judged && rules->generation == next.generation &&
	    rules->others == others)
		return 0;
	if (rc == 0)
		rc = nftables_judge(rules, &next);
	if (rc < 0) {
		socket_close(rules); /* the rest of an answer may be waiting there */
		return rc;
	}
	others_judge(others, &next);
	rules->is_judged = true;
	rules->generation = next.generation;
	rules->others = others;
	*out = next;
	return 1;
}
