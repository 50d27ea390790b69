// SPDX-License-Identifier: GPL-2.0-only
#include "forward_pools.h"

#include <errno.h>
#include <stdlib.h>

#define WHOLE	     720720 /* can be divided by 1 to POOL_ADDRS_MAX */
#define WEIGHTS_MOST (1u << 30)

_Static_assert(WHOLE % 16 == 0 && WHOLE % 13 == 0 && POOL_ADDRS_MAX == 16,
	       "addresses share evenly");

/* Its addresses of the family. Return: how many; 0 as well if it gets no connections */
static unsigned int addrs_get(const struct member *member, sa_family_t family, uint64_t now_ms,
			      struct addr out[POOL_ADDRS_MAX])
{
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int all, len = 0;

	if (!backend_is_valid(member->backend, now_ms))
		return 0;
	all = backend_addrs(member->backend, addrs);
	for (unsigned int i = 0; i < all; i++)
		if (addrs[i].sa.sa_family == family && !addr_stays(&addrs[i]))
			out[len++] = addrs[i];
	return len;
}

/* The first tier in which anybody can be used; UINT_MAX: none */
static unsigned int tier_find(const struct roster *roster, sa_family_t family, uint64_t now_ms)
{
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int tier = UINT_MAX;

	for (unsigned int m = 0; m < roster->len; m++)
		if (roster->members[m].tier < tier &&
		    addrs_get(&roster->members[m], family, now_ms, addrs))
			tier = roster->members[m].tier;
	return tier;
}

static int shares_add(struct nft_pool *pool, const struct addr *addrs, unsigned int len,
		      uint32_t weight)
{
	struct nft_share *shares = realloc(pool->shares, (pool->len + len) * sizeof(*shares));

	if (!shares)
		return -ENOMEM;
	pool->shares = shares;
	for (unsigned int i = 0; i < len; i++)
		shares[pool->len++] =
			(struct nft_share){ .to = addrs[i], .weight = WHOLE / len * weight };
	return 0;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* As small as they can be, and all of them together no more than the kernel can count */
static void weights_reduce(struct nft_share *shares, unsigned int len)
{
	uint32_t divisor = 0;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < len; i++)
		divisor = common_divisor(divisor, shares[i].weight);
	for (unsigned int i = 0; i < len; i++)
		sum += shares[i].weight /= divisor;
	for (unsigned int i = 0; sum > WEIGHTS_MOST && i < len; i++) {
		uint64_t weight = shares[i].weight * (uint64_t)WEIGHTS_MOST / sum;

		shares[i].weight = weight ? (uint32_t)weight : 1;
	}
}

static int family_ask(struct nft_pool *out, const struct roster *roster, sa_family_t family,
		      bool only_first, uint64_t now_ms)
{
	unsigned int tier = tier_find(roster, family, now_ms), from = out->len;
	int rc = 0;

	for (unsigned int m = 0; rc == 0 && m < roster->len; m++) {
		const struct member *member = &roster->members[m];
		struct addr addrs[POOL_ADDRS_MAX];
		unsigned int len =
			member->tier == tier ? addrs_get(member, family, now_ms, addrs) : 0;

		if (len)
			rc = shares_add(out, addrs, len, member->weight);
		if (len && only_first)
			break;
	}
	if (out->len > from)
		weights_reduce(out->shares + from, out->len - from);
	return rc;
}

static int addrs_compare(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static int known_ask(struct forward_addrs *out, const struct roster *roster,
		     const struct config_pool *config)
{
	out->addrs = calloc((size_t)roster->len + 1, POOL_ADDRS_MAX * sizeof(*out->addrs));
	if (!out->addrs)
		return -ENOMEM;
	out->whole = true;
	for (unsigned int e = 0; e < config->backends_len; e++)
		out->whole &= roster->told[e];
	for (unsigned int m = 0; m < roster->len; m++) {
		unsigned int len = backend_addrs(roster->members[m].backend, out->addrs + out->len);

		out->whole &= len > 0;
		out->len += len;
	}
	qsort(out->addrs, out->len, sizeof(*out->addrs), addrs_compare);
	return 0;
}

static int pool_ask(struct nft_pool *out, struct forward_addrs *known, struct pool *pool,
		    uint64_t now_ms)
{
	bool only_first = pool_config(pool)->policy == POOL_FIRST;
	struct roster *roster = pool_roster(pool);
	int rc;

	out->by_source = pool_config(pool)->policy == POOL_HASH;
	rc = family_ask(out, roster, AF_INET, only_first, now_ms);
	if (rc == 0)
		rc = family_ask(out, roster, AF_INET6, only_first, now_ms);
	if (rc == 0)
		rc = known_ask(known, roster, pool_config(pool));
	roster_drop(roster);
	return rc;
}

int forward_pools_init(struct forward_pools *pools, const struct setup *setup,
		       const struct config_forward *forwards, unsigned int len, uint64_t now_ms)
{
	struct nft_pools *now = &pools->now;
	int rc = 0;

	now->len = setup->config->pools_len;
	now->pools = calloc((size_t)now->len + 1, sizeof(*now->pools));
	pools->known = calloc((size_t)now->len + 1, sizeof(*pools->known));
	if (!now->pools || !pools->known)
		rc = -ENOMEM;
	for (unsigned int i = 0; rc == 0 && i < len; i++)
		if (forwards[i].has_pool)
			now->pools[forwards[i].pool].used = true;
	for (unsigned int p = 0; rc == 0 && p < now->len; p++)
		if (now->pools[p].used)
			rc = pool_ask(&now->pools[p], &pools->known[p], setup->pools[p], now_ms);
	if (rc < 0)
		forward_pools_fini(pools);
	return rc;
}

void forward_pools_fini(struct forward_pools *pools)
{
	for (unsigned int p = 0; pools->now.pools && p < pools->now.len; p++)
		free(pools->now.pools[p].shares);
	for (unsigned int p = 0; pools->known && p < pools->now.len; p++)
		free(pools->known[p].addrs);
	free(pools->now.pools);
	free(pools->known);
	*pools = (struct forward_pools){ 0 };
}

static bool shares_equal(const struct nft_pool *a, const struct nft_pool *b)
{
	if (a->len != b->len)
		return false;
	for (unsigned int i = 0; i < a->len; i++)
		if (a->shares[i].weight != b->shares[i].weight ||
		    !addr_equal(&a->shares[i].to, &b->shares[i].to))
			return false;
	return true;
}

static bool known_equal(const struct forward_addrs *a, const struct forward_addrs *b)
{
	if (a->len != b->len || a->whole != b->whole)
		return false;
	for (unsigned int i = 0; i < a->len; i++)
		if (!addr_equal(&a->addrs[i], &b->addrs[i]))
			return false;
	return true;
}

bool forward_pools_equal(const struct forward_pools *a, const struct forward_pools *b)
{
	for (unsigned int p = 0; p < a->now.len; p++)
		if (!shares_equal(&a->now.pools[p], &b->now.pools[p]) ||
		    !known_equal(&a->known[p], &b->known[p]))
			return false;
	return true;
}

bool forward_pools_serve(const struct forward_pools *pools, const struct config_forward *forward)
{
	const struct nft_pool *pool = forward->has_pool ? &pools->now.pools[forward->pool] : NULL;

	for (unsigned int i = 0; pool && i < pool->len; i++)
		if (pool->shares[i].to.sa.sa_family == forward->listen.sa.sa_family)
			return true;
	return !pool;
}

bool forward_pools_have(const struct forward_pools *pools, unsigned int pool,
			const struct addr *server)
{
	const struct forward_addrs *known = &pools->known[pool];

	return !known->whole ||
	       bsearch(server, known->addrs, known->len, sizeof(*known->addrs), addrs_compare);
}
