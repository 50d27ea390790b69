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
 *	pool_*	ports that go to a pool: to the chain of the pool, where one of its backends is chosen by
 *		turn or by the source; the chain of a pool that has none refuses
 *
 * After that a forwarded connection is known by what its client has asked for, which conntrack
 * keeps as the original destination:
 *
 *	masq_*	... and its source: gets the address of the interface it leaves by
 *	from_*	gets a fixed source
 *
 * Forwards for any address have maps of their own, *_any_*, without addresses. They are looked into when no
 * other forward has taken a connection, and only if it is for an address of this host, which the routes
 * know then (fib). Later they do not: so what is to have another source is written down in a set, asked_*.
 *
 * The chains come just before others of NAT, whose first verdict that translates is final.
 */
#include "nft.h"

#include <errno.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"

#define BEFORE_DSTNAT (-101)	 /* NF_IP_PRI_NAT_DST - 1 */
#define SEED	      0x6c61646f /* the same at every start */
#define BEFORE_SRCNAT 99	 /* NF_IP_PRI_NAT_SRC - 1 */

static const struct family {
	const char *ip, *nfproto, *type, *any;
	sa_family_t family;
} families[] = {
	{ "ip", "ipv4", "ipv4_addr", "0.0.0.0/0", AF_INET },
	{ "ip6", "ipv6", "ipv6_addr", "::/0", AF_INET6 },
};
#define FAMILIES_LEN (sizeof(families) / sizeof(families[0]))

static const char *const protocols[] = { "tcp", "udp" };

/* ---- elements ---- */

static void key_write(FILE *f, const struct config_forward *forward, const char *protocol)
{
	char text[INET6_ADDRSTRLEN];

	if (!addr_is_any(&forward->listen))
		fprintf(f, "%s . ", addr_format_host(&forward->listen, text));
	fprintf(f, "%s . %u", protocol, addr_port(&forward->listen));
	if (forward->last != addr_port(&forward->listen))
		fprintf(f, "-%u", forward->last);
}

static bool is_shifted(const struct config_forward *forward)
{
	return !forward->has_pool && addr_port(&forward->listen) != addr_port(&forward->to);
}

static bool is_kept(const struct config_forward *forward)
{
	return !forward->has_pool && !is_shifted(forward);
}

static bool is_pooled(const struct config_forward *forward)
{
	return forward->has_pool;
}

static bool is_masqueraded(const struct config_forward *forward)
{
	return forward->source == FORWARD_MASQUERADE || forward->has_hairpin;
}

static bool is_fixed(const struct config_forward *forward)
{
	return forward->source == FORWARD_FIXED;
}

static bool is_sourced(const struct config_forward *forward)
{
	return is_masqueraded(forward) || is_fixed(forward);
}

static void to_write(FILE *f, const struct family *family, const struct config_forward *forward,
		     const char *protocol)
{
	unsigned int first = addr_port(&forward->listen), to = addr_port(&forward->to);
	char host[INET6_ADDRSTRLEN];

	(void)family;
	addr_format_host(&forward->to, host);
	for (unsigned int port = first; port <= forward->last; port++) {
		struct config_forward single = *forward;

		addr_set_port(&single.listen, (uint16_t)port);
		single.last = (uint16_t)port;
		key_write(f, &single, protocol);
		fprintf(f, " : %s . %u,\n", host, to + port - first);
	}
}

static void keep_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char host[INET6_ADDRSTRLEN];

	(void)family;
	key_write(f, forward, protocol);
	fprintf(f, " : %s,\n", addr_format_host(&forward->to, host));
}

static void masq_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char prefix[CIDR_TEXT_MAX];

	key_write(f, forward, protocol);
	fprintf(f, " . %s,\n",
		forward->has_hairpin ? cidr_format(&forward->hairpin, prefix) : family->any);
}

static void from_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	char host[INET6_ADDRSTRLEN];

	(void)family;
	key_write(f, forward, protocol);
	fprintf(f, " : %s,\n", addr_format_host(&forward->source_addr, host));
}

static void pool_write(FILE *f, const struct family *family, const struct config_forward *forward,
		       const char *protocol)
{
	key_write(f, forward, protocol);
	fprintf(f, " : goto pool_%u_%s,\n", forward->pool, family->ip);
}

static void sourced_write(FILE *f, const struct family *family,
			  const struct config_forward *forward, const char *protocol)
{
	(void)family;
	key_write(f, forward, protocol);
	fprintf(f, ",\n");
}

/* ---- maps and chains ---- */

static const struct map {
	const char *kind, *name;
	const char *with, *with_more; /* what follows the key, around the family's type;
			     * NULL: without that */
	const char *flags;
	bool (*has)(const struct config_forward *forward);
	void (*write)(FILE *f, const struct family *family, const struct config_forward *forward,
		      const char *protocol);
} maps[] = {
	/* clang-format off */
	{ "map", "to", " : ", " . inet_service", "counter", is_shifted, to_write },
	{ "map", "keep", " : ", "", "flags interval\ncounter", is_kept, keep_write },
	{ "map", "pool", " : verdict", NULL, "counter", is_pooled, pool_write },
	{ "set", "masq", " . ", "", "flags interval", is_masqueraded, masq_write },
	{ "map", "from", " : ", "", "flags interval", is_fixed, from_write },
	/* clang-format on */
};
#define MAPS_LEN (sizeof(maps) / sizeof(maps[0]))

/* Of forwards for any address only */
static const struct map sourced = { "set",	"sourced",    "", NULL, "flags interval",
				    is_sourced, sourced_write };

struct forwards_list {
	const struct config_forward *forwards;
	unsigned int len;
	bool any; /* those for any address, whose maps are named so and have no address in their keys; else the others */
};

static const char *suffix(const struct forwards_list *list)
{
	return list->any ? "_any" : "";
}

static bool elements_have(const struct map *map, const struct family *family,
			  const struct forwards_list *list, const struct config_forward *forward)
{
	return forward->listen.sa.sa_family == family->family &&
	       addr_is_any(&forward->listen) == list->any && map->has(forward);
}

/* An empty list is no list. */
static void elements_write(FILE *f, const struct map *map, const struct family *family,
			   const struct forwards_list *list)
{
	bool begun = false;

	for (unsigned int i = 0; i < list->len; i++) {
		const struct config_forward *forward = &list->forwards[i];

		if (!elements_have(map, family, list, forward))
			continue;
		if (!begun)
			fprintf(f, "elements = {\n");
		begun = true;
		if (forward->tcp)
			map->write(f, family, forward, protocols[0]);
		if (forward->udp)
			map->write(f, family, forward, protocols[1]);
	}
	if (begun)
		fprintf(f, "}\n");
}

static void map_write(FILE *f, const struct map *map, const struct family *family,
		      const struct forwards_list *list)
{
	fprintf(f, "%s %s%s_%s {\ntype %s%sinet_proto . inet_service%s%s%s\n%s\n", map->kind,
		map->name, suffix(list), family->ip, list->any ? "" : family->type,
		list->any ? "" : " . ", map->with, map->with_more ? family->type : "",
		map->with_more ? map->with_more : "", map->flags);
	elements_write(f, map, family, list);
	fprintf(f, "}\n");
}

/* What clients asked for a moment ago that forwards for any address with another source took: NAT's two hooks are one packet's. */
static void asked_write(FILE *f, const struct family *family)
{
	fprintf(f,
		"set asked_%s {\ntype %s . inet_proto . inet_service\nflags dynamic, timeout\n"
		"timeout 10s\nsize 65535\n}\n",
		family->ip, family->type);
}

static void maps_write(FILE *f, const struct forwards_list *list)
{
	for (size_t i = 0; i < FAMILIES_LEN; i++) {
		for (size_t m = 0; m < MAPS_LEN; m++)
			map_write(f, &maps[m], &families[i], list);
		if (!list->any)
			continue;
		map_write(f, &sourced, &families[i], list);
		asked_write(f, &families[i]);
	}
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

static void any_sources_write(FILE *f, const struct family *family, const char *protocol)
{
	const char *ip = family->ip;

	fprintf(f,
		"meta l4proto %s ct original %s daddr . meta l4proto . ct original proto-dst "
		"@asked_%s meta l4proto . ct original proto-dst . %s saddr @masq_any_%s "
		"masquerade\n",
		protocol, ip, ip, ip, ip);
	fprintf(f,
		"meta l4proto %s ct original %s daddr . meta l4proto . ct original proto-dst "
		"@asked_%s snat %s to meta l4proto . ct original proto-dst map @from_any_%s\n",
		protocol, ip, ip, ip, ip);
}

/* Weights as ranges, one after the other. Return: their sum; 0: there is none of the family */
static uint32_t shares_write(FILE *f, const struct family *family, const struct nft_pool *pool)
{
	char host[INET6_ADDRSTRLEN];
	uint32_t sum = 0;

	for (unsigned int i = 0; i < pool->len; i++) {
		const struct nft_share *share = &pool->shares[i];

		if (share->to.sa.sa_family != family->family)
			continue;
		fprintf(f, sum ? ", %u" : "%u", sum);
		if (share->weight > 1)
			fprintf(f, "-%u", sum + share->weight - 1);
		fprintf(f, " : %s . %u", addr_format_host(&share->to, host), addr_port(&share->to));
		sum += share->weight;
	}
	return sum;
}

/* A turn goes through a share before it comes to the next, so it is for equal ones only. */
static bool takes_turns(const struct family *family, const struct nft_pool *pool)
{
	for (unsigned int i = 0; i < pool->len; i++)
		if (pool->shares[i].to.sa.sa_family == family->family &&
		    pool->shares[i].weight != 1)
			return false;
	return true;
}

static void pool_chain_write(FILE *f, const struct family *family, unsigned int index,
			     const struct nft_pool *pool)
{
	_free_ char *shares = NULL;
	size_t size;
	FILE *list = open_memstream(&shares, &size);
	uint32_t sum;

	if (!list)
		return;
	sum = shares_write(list, family, pool);
	fclose(list);
	fprintf(f, "chain pool_%u_%s {\n", index, family->ip);
	if (sum == 0)
		fprintf(f, "meta l4proto tcp reject with tcp reset\nreject\n}\n");
	else if (pool->by_source)
		fprintf(f,
			"meta l4proto { tcp, udp } dnat %s to jhash %s saddr mod %u seed 0x%x map { %s }\n}\n",
			family->ip, family->ip, sum, SEED, shares);
	else
		fprintf(f, "meta l4proto { tcp, udp } dnat %s to numgen %s mod %u map { %s }\n}\n",
			family->ip, takes_turns(family, pool) ? "inc" : "random", sum, shares);
}

/* What comes for an address of this host, and that none of the forwards for one address has taken */
static void any_chain_write(FILE *f, const struct family *family)
{
	const char *ip = family->ip;

	fprintf(f,
		"chain any_%s {\nmeta l4proto . th dport @sourced_any_%s update @asked_%s "
		"{ %s daddr . meta l4proto . th dport }\n",
		ip, ip, ip, ip);
	for (size_t m = 0; m < 2; m++)
		fprintf(f, "dnat %s to meta l4proto . th dport map @%s_any_%s\n", ip, maps[m].name,
			ip);
	fprintf(f, "meta l4proto . th dport vmap @pool_any_%s\n}\n", ip);
}

static void prerouting_write(FILE *f, bool any)
{
	for (size_t i = 0; any && i < FAMILIES_LEN; i++)
		any_chain_write(f, &families[i]);
	fprintf(f, "chain prerouting {\ntype nat hook prerouting priority %d; policy accept;\n",
		BEFORE_DSTNAT);
	for (size_t i = 0; i < FAMILIES_LEN; i++)
		for (size_t m = 0; m < 2; m++)
			fprintf(f, "dnat %s to %s daddr . meta l4proto . th dport map @%s_%s\n",
				families[i].ip, families[i].ip, maps[m].name, families[i].ip);
	for (size_t i = 0; i < FAMILIES_LEN; i++)
		fprintf(f, "%s daddr . meta l4proto . th dport vmap @pool_%s\n", families[i].ip,
			families[i].ip);
	for (size_t i = 0; any && i < FAMILIES_LEN; i++)
		fprintf(f,
			"meta nfproto %s meta l4proto { tcp, udp } fib daddr type local jump any_%s\n",
			families[i].nfproto, families[i].ip);
	fprintf(f, "}\n");
}

/* Its first rule makes the kernel track connections. */
static void postrouting_begin(FILE *f)
{
	fprintf(f,
		"chain postrouting {\ntype nat hook postrouting priority %d; policy accept;\n"
		"ct status & dnat == 0 accept\n",
		BEFORE_SRCNAT);
}

static void postrouting_write(FILE *f, bool any)
{
	postrouting_begin(f);
	for (size_t i = 0; i < FAMILIES_LEN; i++)
		for (size_t p = 0; p < 2; p++) {
			sources_write(f, &families[i], protocols[p]);
			if (any)
				any_sources_write(f, &families[i], protocols[p]);
		}
	fprintf(f, "}\n");
}

static void chains_write(FILE *f, const struct nft_pools *pools, bool any)
{
	for (unsigned int p = 0; p < pools->len; p++)
		for (size_t i = 0; pools->pools[p].used && i < FAMILIES_LEN; i++)
			pool_chain_write(f, &families[i], p, &pools->pools[p]);
	prerouting_write(f, any);
	postrouting_write(f, any);
}

void nft_write(FILE *f, const struct config_forward *forwards, unsigned int len,
	       const struct nft_pools *pools)
{
	struct forwards_list list = { forwards, len, false };
	bool any = false;

	for (unsigned int i = 0; i < len; i++)
		any |= addr_is_any(&forwards[i].listen);
	/* added first, so that there is one to delete */
	fprintf(f, "add table inet " NFT_TABLE "\ndelete table inet " NFT_TABLE "\n");
	fprintf(f, "table inet " NFT_TABLE " {\n");
	if (len == 0) {
		postrouting_begin(f);
		fprintf(f, "}\n}\n");
		return;
	}
	maps_write(f, &list);
	list.any = true;
	if (any)
		maps_write(f, &list);
	chains_write(f, pools, any);
	fprintf(f, "}\n");
}

/* ---- libnftables ---- */

/* Its messages quote the input below the first line, which is long here. */
static char *first_line(const char *text)
{
	return text && *text ? strndup(text, strcspn(text, "\n")) : NULL;
}

/* @flags: NFT_CTX_OUTPUT_*. @out: what it prints, to be freed by the caller; may be NULL */
static int run(const char *commands, unsigned int flags, char **out, char **why)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	int rc = -ENOMEM;

	*out = NULL;
	*why = NULL;
	if (!nft)
		return rc;
	nft_ctx_output_set_flags(nft, flags);
	if (nft_ctx_buffer_error(nft) == 0 && nft_ctx_buffer_output(nft) == 0) {
		rc = nft_run_cmd_from_buffer(nft, commands) == 0 ? 0 : -EIO;
		if (rc < 0)
			*why = first_line(nft_ctx_get_error_buffer(nft));
		else if (flags)
			*out = strdup(nft_ctx_get_output_buffer(nft));
	}
	nft_ctx_free(nft);
	return rc;
}

int nft_run(const char *commands, char **why)
{
	_free_ char *nothing = NULL;

	return run(commands, 0, &nothing, why);
}

/* ---- counters ---- */

struct counting {
	void (*fn)(void *arg, bool udp, const struct addr *at, uint64_t flows);
	void *arg;
};

/*
 * @elem: an element's key with its counter; a key's port is a number or a range of them
 * @any: the address of keys that have none
 */
static void element_count(const struct counting *counting, const json_t *elem, const char *any)
{
	const json_t *key = json_object_get(json_object_get(elem, "val"), "concat");
	size_t skip = json_array_size(key) > 2;
	const char *host = skip ? json_string_value(json_array_get(key, 0)) : any;
	const char *protocol = json_string_value(json_array_get(key, skip));
	const json_t *port = json_array_get(key, skip + 1);
	const json_t *range = json_object_get(port, "range");
	json_int_t flows =
		json_integer_value(json_object_get(json_object_get(elem, "counter"), "packets"));
	struct addr at;

	if (range)
		port = json_array_get(range, 0);
	if (flows > 0 && host && protocol &&
	    addr_parse_host(host, (uint16_t)json_integer_value(port), &at) == 0)
		counting->fn(counting->arg, strcmp(protocol, protocols[1]) == 0, &at,
			     (uint64_t)flows);
}

static void document_count(const struct counting *counting, const json_t *document)
{
	const json_t *object, *pair;
	size_t o, e;

	json_array_foreach(json_object_get(document, "nftables"), o, object)
	{
		const json_t *map = json_object_get(object, "map");
		const char *name = json_string_value(json_object_get(map, "name"));
		const char *any = name && strstr(name, "_ip6") ? "::" : "0.0.0.0";

		json_array_foreach(json_object_get(map, "elem"), e, pair) element_count(
			counting, json_object_get(json_array_get(pair, 0), "elem"), any);
	}
}

int nft_count(void (*fn)(void *arg, bool udp, const struct addr *at, uint64_t flows), void *arg)
{
	const struct counting counting = { fn, arg };
	_free_ char *text = NULL, *why = NULL;
	json_t *document;
	int rc = run("list table inet " NFT_TABLE, NFT_CTX_OUTPUT_JSON, &text, &why);

	if (rc < 0)
		return rc;
	document = text ? json_loads(text, 0, NULL) : NULL;
	document_count(&counting, document);
	json_decref(document);
	return document ? 0 : -ENOMEM;
}
