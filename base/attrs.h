/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * attrs.h - attributes of netlink messages by their types, as conntrack and nf_tables nest them
 *
 * Of what the kernel says only the length is checked.
 */
#ifndef LADON_ATTRS_H
#define LADON_ATTRS_H

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdint.h>
#include <string.h>

#define ATTRS_MAX 32 /* those of larger types are left out */

static inline void attrs_put(const struct nlattr *attr, const struct nlattr *out[ATTRS_MAX])
{
	if (mnl_attr_get_type(attr) < ATTRS_MAX)
		out[mnl_attr_get_type(attr)] = attr;
}

/** attrs_read() - what is nested in @nest; NULL: nothing */
static inline void attrs_read(const struct nlattr *nest, const struct nlattr *out[ATTRS_MAX])
{
	const struct nlattr *attr;

	memset(out, 0, ATTRS_MAX * sizeof(*out));
	if (!nest)
		return;
	mnl_attr_for_each_nested(attr, nest)
	{
		attrs_put(attr, out);
	}
}

/** attrs_of() - what a message of netfilter's holds */
static inline void attrs_of(const struct nlmsghdr *nlh, const struct nlattr *out[ATTRS_MAX])
{
	const struct nlattr *attr;

	memset(out, 0, ATTRS_MAX * sizeof(*out));
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		attrs_put(attr, out);
	}
}

/** attr_u32() - in host byte order, from the network's; 0: there is none */
static inline uint32_t attr_u32(const struct nlattr *attr)
{
	return attr && mnl_attr_get_payload_len(attr) >= sizeof(uint32_t)
		       ? ntohl(mnl_attr_get_u32(attr))
		       : 0;
}

static inline const char *attr_text(const struct nlattr *attr)
{
	return attr ? mnl_attr_get_str(attr) : "?";
}

#endif
