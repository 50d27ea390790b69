// SPDX-License-Identifier: GPL-2.0-only
/*
 * nft.c - port forwards as a table of nftables
 *
 * Two rules per family look a new connection up in maps, so that its price does not depend
 * on how many forwards there are; later packets meet conntrack only:
 *
 *	to_*	a port that becomes another: a hash of single ports, since the kernel's NAT to
 *		a range takes any port of it, and not the one as far from the beginning
 *	keep_*	ports that stay: ranges, of any length an element each
 *
 * After that a forwarded connection is known by what its client has asked for, which conntrack
 * keeps as the original destination:
 *
 *	masq_*	... and its source: gets the address of the interface it leaves by
 *	from_*	gets a fixed source
 *
 * The chains come just before others of NAT, whose first verdict that translates is final.
 */
#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"

#define BEFORE_DSTNAT (-101) /* NF_IP_PRI_NAT_DST - 1 */
#define BEFORE_SRCNAT 99     /* NF_IP_PRI_NAT_SRC - 1 */

static const struct family {
	const char *ip, *type, *any;
	sa_family_t family;
} families[] = {
	{ "ip", "ipv4_addr", "0.0.0.0/0", AF_INET },
	{ "ip6", "ipv6_addr", "::/0", AF_INET6 },
};
#define FAMILIES_LEN (sizeof(families) / sizeof(families[0]))

static const char *const protocols[] = { "tcp", "udp" };

/* ---- elements ---- */

static const char *host_format(const struct addr *addr, char text[INET6_ADDRSTRLEN])
{
	const void *host = addr->sa.sa_family == AF_INET ? (const void *)&addr->in.sin_addr
							 : (const void *)&addr->in6.sin6_addr;

	return inet_ntop(addr->sa.sa_family, host, text, INET6_ADDRSTRLEN);
}

static void key_write(FILE *f, const struct config_forward *forward, const char *protocol)
{
	char text[INET6_ADDRSTRLEN];

	fprintf(f, "%s . %s . %u", host_format(&forward->listen, text), protocol,
		addr_port(&forward->listen));
	if (forward->last != addr_port(&forward->listen))
		fprintf(f, "-%u", forward->last);
}

static bool is_shifted(const struct config_forward *forward)
{
	return addr_port(&forward->listen) != addr_port(&forward->to);
}

static void to_write(FILE *f, const struct family *family, const struct config_forward *forward,
		     const char *protocol)
{
	unsigned int first = addr_port(&forward->listen), to = addr_port(&forward->to);
	char listen[INET6_ADDRSTRLEN], host[INET6_ADDRSTRLEN];

	(void)family;
	if (!is_shifted(forward))
		return;
	host_format(&forward->listen, listen);
	host_format(&forward->to, host);
	for (unsigned int port = first; port <= forward->last; port++)
		fprintf(f, "%s . %s . %u : %s . %u,\n", listen, protocol, port, host,
			to + port - first);
}

static void keep_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char host[INET6_ADDRSTRLEN];

	(void)family;
	if (is_shifted(forward))
		return;
	key_write(f, forward, protocol);
	fprintf(f, " : %s,\n", host_format(&forward->to, host));
}

static void masq_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char prefix[CIDR_TEXT_MAX];

	if (forward->source != FORWARD_MASQUERADE && !forward->has_hairpin)
		return;
	key_write(f, forward, protocol);
	fprintf(f, " . %s,\n",
		forward->has_hairpin ? cidr_format(&forward->hairpin, prefix) : family->any);
}

static void from_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char host[INET6_ADDRSTRLEN];

	(void)family;
	if (forward->source != FORWARD_FIXED)
		return;
	key_write(f, forward, protocol);
	fprintf(f, " : %s,\n", host_format(&forward->source_addr, host));
}

/* ---- maps and chains ---- */

static const struct map {
	const char *kind, *name;
	const char *with,
		*with_more; /* what follows the three of the key, around the family's type */
	const char *flags;
	void (*write)(FILE *f, const struct family *family, const struct config_forward *forward,
		      const char *protocol);
} maps[] = {
	{ "map", "to", " : ", " . inet_service", "counter", to_write },
	{ "map", "keep", " : ", "", "flags interval\ncounter", keep_write },
	{ "set", "masq", " . ", "", "flags interval", masq_write },
	{ "map", "from", " : ", "", "flags interval", from_write },
};
#define MAPS_LEN (sizeof(maps) / sizeof(maps[0]))

static void elements_write(FILE *f, const struct map *map, const struct family *family,
			   const struct config_forward *forwards, unsigned int len)
{
	_free_ char *text = NULL;
	size_t size = 0;
	FILE *list = open_memstream(&text, &size);

	if (!list)
		return;
	for (unsigned int i = 0; i < len; i++) {
		if (forwards[i].listen.sa.sa_family != family->family)
			continue;
		if (forwards[i].tcp)
			map->write(list, family, &forwards[i], protocols[0]);
		if (forwards[i].udp)
			map->write(list, family, &forwards[i], protocols[1]);
	}
	fclose(list);
	if (size) /* an empty list is no list */
		fprintf(f, "elements = {\n%s}\n", text);
}

static void map_write(FILE *f, const struct map *map, const struct family *family,
		      const struct config_forward *forwards, unsigned int len)
{
	fprintf(f, "%s %s_%s {\ntype %s . inet_proto . inet_service%s%s%s\n%s\n", map->kind,
		map->name, family->ip, family->type, map->with, family->type, map->with_more,
		map->flags);
	elements_write(f, map, family, forwards, len);
	fprintf(f, "}\n");
}

/* The type of a port in conntrack's tuple is known to nft only where the protocol is. */
static void sources_write(FILE *f, const struct family *family, const char *protocol)
{
	const char *ip = family->ip;

	fprintf(f,
		"meta l4proto %s ct original %s daddr . meta l4proto . ct original proto-dst . "
		"%s saddr @masq_%s masquerade\n"
		"meta l4proto %s snat %s to ct original %s daddr . meta l4proto . "
		"ct original proto-dst map @from_%s\n",
		protocol, ip, ip, ip, protocol, ip, ip, ip);
}

static void chains_write(FILE *f)
{
	fprintf(f, "chain prerouting {\ntype nat hook prerouting priority %d; policy accept;\n",
		BEFORE_DSTNAT);
	for (size_t i = 0; i < FAMILIES_LEN; i++)
		for (size_t m = 0; m < 2; m++)
			fprintf(f, "dnat %s to %s daddr . meta l4proto . th dport map @%s_%s\n",
				families[i].ip, families[i].ip, maps[m].name, families[i].ip);
	fprintf(f,
		"}\nchain postrouting {\ntype nat hook postrouting priority %d; policy accept;\n"
		"ct status & dnat == 0 accept\n",
		BEFORE_SRCNAT);
	for (size_t i = 0; i < FAMILIES_LEN; i++)
		for (size_t p = 0; p < 2; p++)
			sources_write(f, &families[i], protocols[p]);
	fprintf(f, "}\n");
}

void nft_write(FILE *f, const struct config_forward *forwards, unsigned int len)
{
	/* added first, so that there is one to delete */
	fprintf(f, "add table inet " NFT_TABLE "\ndelete table inet " NFT_TABLE "\n");
	if (len == 0)
		return;
	fprintf(f, "table inet " NFT_TABLE " {\n");
	for (size_t m = 0; m < MAPS_LEN; m++)
		for (size_t i = 0; i < FAMILIES_LEN; i++)
			map_write(f, &maps[m], &families[i], forwards, len);
	chains_write(f);
	fprintf(f, "}\n");
}

/* ---- libnftables ---- */

/* Its messages quote the input below the first line, which is long here. */
static char *first_line(const char *text)
{
	return text && *text ? strndup(text, strcspn(text, "\n")) : NULL;
}

int nft_run(const char *commands, char **why)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	int rc = -ENOMEM;

	*why = NULL;
	if (!nft)
		return rc;
	if (nft_ctx_buffer_error(nft) == 0 && nft_ctx_buffer_output(nft) == 0) {
		rc = nft_run_cmd_from_buffer(nft, commands) == 0 ? 0 : -EIO;
		if (rc < 0)
			*why = first_line(nft_ctx_get_error_buffer(nft));
	}
	nft_ctx_free(nft);
	return rc;
}
