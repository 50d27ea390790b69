// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * rule.c - a rule of nf_tables: does it judge flows, or packets?
 *
 * It is a list of expressions, as the kernel has them and nft(8) has made them. One that is not known here may
 * do anything.
 */
#include "rule.h"

#include <netinet/in.h> /* before <linux/netfilter.h>, which defines the rest of it */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_tcpudp.h>

#include "../base/attrs.h"

#define ETHERTYPE_AT 12 /* in the Ethernet header */

/**
 * struct reading - a rule, as far as it has been read
 * @family: NFPROTO_IPV4 or _IPV6: of the packets that come this far; else any
 * @loaded, @loaded_in: what a comparison is about that follows at once, and its register
 * @by_packet: the expression that tells packets of one flow apart; NULL: none so far
 * @answers: the expression that does more than to drop; NULL: none so far
 * @decides: packets that come this far meet a verdict, or get something that others look at
 * @elsewhere: it is about other protocols than TCP and UDP
 * @tracks, @rewrites: as of rule_read()
 */
struct reading {
	uint8_t family;
	enum {
		LOADED_OTHER,
		LOADED_FAMILY,
		LOADED_PROTOCOL
	} loaded;
	uint32_t loaded_in;
	const char *by_packet, *answers;
	bool decides, elsewhere;
	bool tracks, rewrites;
};

static void read_nothing(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)r;
	(void)data;
	(void)name;
}

static void read_by_packet(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	r->by_packet = name;
}

static void read_decision(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	(void)name;
	r->decides = true;
}

static void read_tracked(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	(void)name;
	r->tracks = true;
}

/* Who is connected is asked once for each flow, and each packet of one that is dropped is a new one. */
static void read_nat(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)name;
	r->tracks = true;
	r->decides |= attr_u32(data[NFTA_NAT_TYPE]) == NFT_NAT_DNAT;
}

static void read_redirect(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	(void)name;
	r->tracks = r->decides = true;
}

static void read_answer(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	r->answers = name;
}

/* A program may give back another packet. */
static void read_queue(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	r->rewrites = true;
	r->answers = name;
}

static void read_synproxy(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)data;
	r->tracks = true;
	r->answers = name;
}

/*
 * Does the part of a header say the same in all packets of a flow? MAC addresses need not: who pretends to be
 * somebody else would silence him.
 */
static bool is_of_flow(uint8_t family, uint32_t base, uint32_t offset, uint32_t len)
{
	if (base == NFT_PAYLOAD_LL_HEADER)
		return offset == ETHERTYPE_AT && len == 2;
	if (base == NFT_PAYLOAD_TRANSPORT_HEADER)
		return offset + len <= 4; /* the ports */
	if (base != NFT_PAYLOAD_NETWORK_HEADER)
		return false;
	if (family == NFPROTO_IPV6)
		return (offset == 6 && len == 1) || (offset >= 8 && offset + len <= 40);
	return (offset == 9 && len == 1) || (offset >= 12 && offset + len <= 20);
}

/* May it be addresses or ports? By the end: what is written may begin before them. */
static bool is_address(uint8_t family, uint32_t base, uint32_t offset, uint32_t len)
{
	if (base == NFT_PAYLOAD_LL_HEADER)
		return offset + len > ETHERTYPE_AT + 2;
	if (base == NFT_PAYLOAD_NETWORK_HEADER)
		return offset + len > (family == NFPROTO_IPV4 ? 12 : 8);
	return base != NFT_PAYLOAD_TRANSPORT_HEADER || offset < 4;
}

static void read_payload(struct reading *r, const struct nlattr **data, const char *name)
{
	uint32_t base = attr_u32(data[NFTA_PAYLOAD_BASE]);
	uint32_t offset = attr_u32(data[NFTA_PAYLOAD_OFFSET]);
	uint32_t len = attr_u32(data[NFTA_PAYLOAD_LEN]);

	if (!data[NFTA_PAYLOAD_DREG]) { /* it writes */
		if (is_address(r->family, base, offset, len))
			r->rewrites = r->decides = true;
		return;
	}
	if (base == NFT_PAYLOAD_NETWORK_HEADER && len == 1 &&
	    ((r->family == NFPROTO_IPV4 && offset == 9) ||
	     (r->family == NFPROTO_IPV6 && offset == 6)))
		r->loaded = LOADED_PROTOCOL;
	r->loaded_in = attr_u32(data[NFTA_PAYLOAD_DREG]);
	if (!is_of_flow(r->family, base, offset, len))
		r->by_packet = name;
}

static void read_meta(struct reading *r, const struct nlattr **data, const char *name)
{
	uint32_t key = attr_u32(data[NFTA_META_KEY]);

	if (!data[NFTA_META_DREG]) {
		r->decides |= key == NFT_META_MARK;
		return;
	}
	r->loaded_in = attr_u32(data[NFTA_META_DREG]);
	r->loaded = key == NFT_META_L4PROTO   ? LOADED_PROTOCOL
		    : key == NFT_META_NFPROTO ? LOADED_FAMILY
					      : LOADED_OTHER;
	switch (key) {
	case NFT_META_PROTOCOL:
	case NFT_META_L4PROTO:
	case NFT_META_NFPROTO:
	case NFT_META_MARK:
	case NFT_META_IIF:
	case NFT_META_IIFNAME:
	case NFT_META_IIFTYPE:
	case NFT_META_IIFGROUP:
	case NFT_META_IIFKIND:
	case NFT_META_OIF:
	case NFT_META_OIFNAME:
	case NFT_META_OIFTYPE:
	case NFT_META_OIFGROUP:
	case NFT_META_OIFKIND:
	case NFT_META_BRI_IIFNAME:
	case NFT_META_BRI_OIFNAME:
		return;
	default:
		r->by_packet = name;
	}
}

static void read_ct(struct reading *r, const struct nlattr **data, const char *name)
{
	r->tracks = true;
	if (!data[NFTA_CT_DREG]) {
		r->decides = true;
		return;
	}
	switch (attr_u32(data[NFTA_CT_KEY])) {
	case NFT_CT_EXPIRATION:
	case NFT_CT_PKTS:
	case NFT_CT_BYTES:
	case NFT_CT_AVGPKT:
		r->by_packet = name;
	}
}

/* A comparison with one byte. Return: -1: it is another */
static int compared_byte(const struct nlattr **data)
{
	const struct nlattr *value[ATTRS_MAX];

	attrs_read(data[NFTA_CMP_DATA], value);
	if (attr_u32(data[NFTA_CMP_OP]) != NFT_CMP_EQ || !value[NFTA_DATA_VALUE] ||
	    mnl_attr_get_payload_len(value[NFTA_DATA_VALUE]) != 1)
		return -1;
	return mnl_attr_get_u8(value[NFTA_DATA_VALUE]);
}

static void read_cmp(struct reading *r, const struct nlattr **data, const char *name)
{
	int value = compared_byte(data);

	(void)name;
	if (value < 0 || attr_u32(data[NFTA_CMP_SREG]) != r->loaded_in)
		return;
	if (r->loaded == LOADED_FAMILY)
		r->family = (uint8_t)value;
	if (r->loaded == LOADED_PROTOCOL && value != IPPROTO_TCP && value != IPPROTO_UDP)
		r->elsewhere = true;
}

static void read_immediate(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)name;
	r->decides |=
		data[NFTA_IMMEDIATE_DREG] && attr_u32(data[NFTA_IMMEDIATE_DREG]) == NFT_REG_VERDICT;
}

static void read_lookup(struct reading *r, const struct nlattr **data, const char *name)
{
	(void)name;
	r->decides |= data[NFTA_LOOKUP_DREG] && attr_u32(data[NFTA_LOOKUP_DREG]) == NFT_REG_VERDICT;
}

static void read_dynset(struct reading *r, const struct nlattr **data, const char *name)
{
	if (data[NFTA_DYNSET_EXPR] || data[NFTA_DYNSET_EXPRESSIONS])
		r->by_packet = name;
}

static void read_objref(struct reading *r, const struct nlattr **data, const char *name)
{
	uint32_t type = attr_u32(data[NFTA_OBJREF_IMM_TYPE]);

	r->tracks |= type != NFT_OBJECT_COUNTER;
	if (type != NFT_OBJECT_COUNTER && type != NFT_OBJECT_CT_HELPER)
		r->by_packet = name;
}

/* ---- iptables-nft: what nf_tables has no expression for ---- */

static bool is_listed(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names;
}

static bool is_xt_tcp_of_flow(const struct nlattr *info)
{
	const struct xt_tcp *tcp;

	if (!info || mnl_attr_get_payload_len(info) < sizeof(*tcp))
		return false;
	tcp = mnl_attr_get_payload(info);
	return !tcp->flg_mask && !tcp->option;
}

/* Revision 3 is what all kernels have that nf_tables has. */
static bool is_xt_conntrack_of_flow(const struct nlattr **data)
{
	const struct nlattr *info = data[NFTA_MATCH_INFO];
	const struct xt_conntrack_mtinfo3 *conntrack;

	if (attr_u32(data[NFTA_MATCH_REV]) != 3 || !info ||
	    mnl_attr_get_payload_len(info) < sizeof(*conntrack))
		return false;
	conntrack = mnl_attr_get_payload(info);
	return !(conntrack->match_flags & XT_CONNTRACK_EXPIRES);
}

/* Sets may be of MAC addresses, or ask for how many packets there were; a bridge's port is not the interface. */
static void read_match(struct reading *r, const struct nlattr **data, const char *name)
{
	static const char *const of_flows[] = {
		"addrtype", "comment", "devgroup", "iprange", "mark", "multiport", "udp", NULL,
	};
	static const char *const of_packets[] = { "mac", "physdev", "set", NULL };
	static const char *const of_conntrack[] = { "connmark", "state", NULL };
	const char *match = data[NFTA_MATCH_NAME] ? mnl_attr_get_str(data[NFTA_MATCH_NAME]) : "";

	if (is_listed(of_flows, match) ||
	    (strcmp(match, "tcp") == 0 && is_xt_tcp_of_flow(data[NFTA_MATCH_INFO])))
		return;
	r->tracks |= !is_listed(of_packets, match);
	if (!is_listed(of_conntrack, match) &&
	    (strcmp(match, "conntrack") != 0 || !is_xt_conntrack_of_flow(data)))
		r->by_packet = *match ? match : name;
}

static void read_target(struct reading *r, const struct nlattr **data, const char *name)
{
	static const char *const harmless[] = { "CHECKSUM", "LOG", "NFLOG", "TCPMSS", NULL };
	static const char *const deciding[] = { "MARK", "NOTRACK", NULL };
	static const char *const of_conntrack[] = { "MASQUERADE", "SNAT", NULL };
	static const char *const of_conntrack_deciding[] = { "CONNMARK", "CT", "DNAT", "REDIRECT",
							     NULL };
	const char *target = data[NFTA_TARGET_NAME] ? mnl_attr_get_str(data[NFTA_TARGET_NAME]) : "";

	r->decides |= is_listed(deciding, target) || is_listed(of_conntrack_deciding, target);
	if (is_listed(harmless, target) || is_listed(deciding, target))
		return;
	r->tracks = true;
	if (is_listed(of_conntrack, target) || is_listed(of_conntrack_deciding, target))
		return;
	r->rewrites = true;
	r->answers = *target ? target : name;
}

static const struct expression {
	const char *name;
	void (*read)(struct reading *r, const struct nlattr **data, const char *name);
} expressions[] = {
	{ "bitwise", read_nothing },
	{ "byteorder", read_nothing },
	{ "cmp", read_cmp },
	{ "counter", read_nothing },
	{ "ct", read_ct },
	{ "dynset", read_dynset },
	{ "fib", read_nothing },
	{ "flow_offload", read_tracked },
	{ "immediate", read_immediate },
	{ "last", read_nothing },
	{ "log", read_nothing },
	{ "lookup", read_lookup },
	{ "masq", read_tracked },
	{ "match", read_match },
	{ "meta", read_meta },
	{ "nat", read_nat },
	{ "notrack", read_decision },
	{ "objref", read_objref },
	{ "payload", read_payload },
	{ "range", read_nothing },
	{ "redir", read_redirect },
	{ "rt", read_nothing },
	{ "socket", read_nothing },
	{ "target", read_target },

	/* each packet's own */
	{ "exthdr", read_by_packet },
	{ "hash", read_by_packet },
	{ "limit", read_by_packet },
	{ "numgen", read_by_packet },
	{ "osf", read_by_packet },
	{ "quota", read_by_packet },
	{ "xfrm", read_by_packet },

	/* answers, copies and other ways */
	{ "dup", read_answer },
	{ "fwd", read_answer },
	{ "queue", read_queue },
	{ "reject", read_answer },
	{ "synproxy", read_synproxy },
	{ "tproxy", read_answer },
};

static void expression_read(struct reading *r, const struct nlattr *elem)
{
	const struct nlattr *expr[ATTRS_MAX], *data[ATTRS_MAX];
	const char *name;

	attrs_read(elem, expr);
	attrs_read(expr[NFTA_EXPR_DATA], data);
	name = expr[NFTA_EXPR_NAME] ? mnl_attr_get_str(expr[NFTA_EXPR_NAME]) : "?";
	if (strcmp(name, "cmp") != 0)
		r->loaded = LOADED_OTHER;
	for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++)
		if (strcmp(expressions[i].name, name) == 0) {
			expressions[i].read(r, data, name);
			return;
		}
	r->by_packet = name;
	r->tracks = r->rewrites = true;
}

const char *rule_read(uint8_t family, const struct nlattr *list, bool *tracks, bool *rewrites)
{
	struct reading r = { .family = family };
	const struct nlattr *elem;

	mnl_attr_for_each_nested(elem, list)
	{
		expression_read(&r, elem);
	}
	*tracks |= r.tracks;
	*rewrites |= r.rewrites;
	if (r.elsewhere)
		return NULL;
	if (r.answers)
		return r.answers;
	return r.decides ? r.by_packet : NULL;
}
