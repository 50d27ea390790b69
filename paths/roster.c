// SPDX-License-Identifier: GPL-2.0-only
#include "roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"

#define RANKS  (CONFIG_RANK_MAX + 1)
#define LEVELS (2 * RANKS) /* ordinary ones and backups */

/* A member of the former roster */
struct known {
	uint64_t hash; /* of its text */
	unsigned int index;
	bool taken; /* it is in the new one already */
};

/* One that is being made */
struct making {
	struct roster *roster;
	const struct config_pool *config, *former_config;
	const struct roster *former; /* NULL: none */
	const struct sourced *sourced;
	unsigned int room;   /* of .roster's members */
	struct known *known; /* the members of .former, sorted */
	unsigned int known_len;
};

/* ---- holders ---- */

static void roster_free(struct roster *roster)
{
	for (unsigned int i = 0; i < roster->len; i++)
		backend_drop(roster->members[i].backend);
	for (unsigned int t = 0; t < roster->tiers_len; t++) {
		free(roster->tiers[t].line.turns);
		ring_free(roster->tiers[t].ring);
	}
	free(roster->tiers);
	free(roster->members);
	free(roster->told);
	free(roster);
}

struct roster *roster_hold(struct roster *roster)
{
	atomic_fetch_add(&roster->holders, 1);
	return roster;
}

void roster_drop(struct roster *roster)
{
	if (roster && atomic_fetch_sub(&roster->holders, 1) == 1)
		roster_free(roster);
}

/* ---- what a source says ---- */

bool sourced_is(const struct sourced *sourced, const struct config_backend *entry)
{
	return sourced && config_is_source(entry) && strcmp(sourced->source, entry->text) == 0;
}

/* NULL: what it said before stays */
static const struct listing *entry_listing(const struct making *making, unsigned int e)
{
	const struct config_backend *entry = &making->config->backends[e];

	if (sourced_is(making->sourced, entry))
		return making->sourced->listing;
	return making->sourced ? NULL : entry->listed;
}

/* The entry of the former configuration that has the same text; its index, or backends_len */
static unsigned int former_entry(const struct making *making, unsigned int e)
{
	const struct config_pool *former = making->former_config;

	for (unsigned int i = 0; i < former->backends_len; i++) {
		unsigned int f = (e + i) % former->backends_len;

		if (config_is_source(&former->backends[f]) &&
		    strcmp(former->backends[f].text, making->config->backends[e].text) == 0)
			return f;
	}
	return former->backends_len;
}

/* ---- members ---- */

static int known_compare(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int known_fill(struct making *making)
{
	unsigned int len = making->former ? making->former->len : 0;

	making->known = calloc(len + 1, sizeof(*making->known));
	if (!making->known)
		return -ENOMEM;
	for (unsigned int i = 0; i < len; i++)
		making->known[i] = (struct known){ .hash = making->former->members[i].backend->hash,
						   .index = i };
	qsort(making->known, len, sizeof(*making->known), known_compare);
	making->known_len = len;
	return 0;
}

/* The one of the same text that was not taken yet: a text may be written twice. NULL: there is none */
static struct known *known_find(const struct making *making, const char *text)
{
	uint64_t hash = ring_hash(0, text, strlen(text));
	unsigned int low = 0, high = making->known_len;

	while (low < high) { /* the first that is not smaller */
		unsigned int middle = low + (high - low) / 2;

		if (making->known[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < making->known_len && making->known[low].hash == hash; low++) {
		struct known *known = &making->known[low];
		const struct backend *backend = making->former->members[known->index].backend;

		if (!known->taken && strcmp(backend->config->text, text) == 0)
			return known;
	}
	return NULL;
}

/* A backend that is new in the pool of a daemon that runs comes back as others do: slowly. */
static int member_find(struct making *making, const struct config_backend *config,
		       struct member *out)
{
	struct known *known = known_find(making, config->text);

	out->from = MEMBER_NEW;
	if (known) {
		known->taken = true;
		out->from = known->index;
		out->backend = making->former->members[known->index].backend;
		backend_hold(out->backend);
		return 0;
	}
	out->backend = backend_new(config, making->config->name);
	if (!out->backend)
		return -ENOMEM;
	if (making->former)
		backend_returned(out->backend);
	return 0;
}

/* Room for one more, zeroed. NULL: no memory */
static struct member *member_room(struct making *making)
{
	struct roster *roster = making->roster;
	struct member *members;

	if (roster->len == making->room) {
		making->room = making->room ? making->room * 2 : making->config->backends_len;
		members = reallocarray(roster->members, making->room, sizeof(*members));
		if (!members)
			return NULL;
		roster->members = members;
	}
	return memset(&roster->members[roster->len], 0, sizeof(*members));
}

static int member_add(struct making *making, const struct config_backend *config, unsigned int e)
{
	struct roster *roster = making->roster;
	struct member *member;
	int rc;

	if (roster->len == CONFIG_BACKENDS_MAX)
		return -E2BIG;
	member = member_room(making);
	rc = member ? member_find(making, config, member) : -ENOMEM;
	if (rc < 0)
		return rc;
	roster->len++;
	member->entry = e;
	member->weight = config->weight;
	member->flows_max = config->flows_max;
	member->backup = config->backup;
	member->rank = config->rank;
	return 0;
}

/* What an SRV record does not say its source does. */
static int listed_add(struct making *making, const struct listed *listed, unsigned int e)
{
	const struct config_backend *entry = &making->config->backends[e];
	struct config_backend config = listed->config;
	int rc;

	if (entry->srv) {
		config.flows_max = entry->flows_max;
		config.backup = entry->backup;
	}
	rc = member_add(making, &config, e);
	if (rc == 0 && listed->addrs_len) {
		struct backend *backend = making->roster->members[making->roster->len - 1].backend;

		if (!backend_has_address(backend))
			backend_set_addrs(backend, listed->addrs, listed->addrs_len);
	}
	return rc;
}

static int listing_members(struct making *making, const struct listing *listing, unsigned int e)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < listing->len; i++)
		rc = listed_add(making, &listing->list[i], e);
	return rc;
}

/* The source has not been heard since: those that it had, of which its entry may say something else. */
static int former_members(struct making *making, unsigned int e)
{
	const struct config_backend *entry = &making->config->backends[e];
	unsigned int f = making->former ? former_entry(making, e) : 0;
	int rc = 0;

	if (!making->former || f == making->former_config->backends_len)
		return 0;
	making->roster->told[e] = making->former->told[f];
	for (unsigned int i = 0; rc == 0 && i < making->former->len; i++) {
		const struct member *member = &making->former->members[i];
		struct config_backend config = *member->backend->config;

		if (member->entry != f)
			continue;
		config.weight = member->weight;
		config.rank = member->rank;
		config.flows_max = entry->srv ? entry->flows_max : member->flows_max;
		config.backup = entry->srv ? entry->backup : member->backup;
		rc = member_add(making, &config, e);
	}
	return rc;
}

static int entry_members(struct making *making, unsigned int e)
{
	const struct config_backend *entry = &making->config->backends[e];
	const struct listing *listing;

	making->roster->told[e] = true;
	if (!config_is_source(entry))
		return member_add(making, entry, e);
	listing = entry_listing(making, e);
	if (listing)
		return listing_members(making, listing, e);
	making->roster->told[e] = false;
	return former_members(making, e);
}

/* ---- tiers ---- */

static unsigned int level(const struct member *member)
{
	return (member->backup ? RANKS : 0) + member->rank;
}

/* @members: room for all */
static int tier_fill(struct roster *roster, unsigned int t, bool hash, struct ring_member *members)
{
	struct tier *tier = &roster->tiers[t];
	unsigned int len = 0;

	for (unsigned int i = 0; i < roster->len; i++) {
		const struct member *member = &roster->members[i];

		if (member->tier == t)
			members[len++] =
				(struct ring_member){ .name = member->backend->config->text,
						      .weight = member->weight,
						      .index = (uint16_t)i };
	}
	tier->line.turns = calloc(len, sizeof(*tier->line.turns));
	if (!tier->line.turns)
		return -ENOMEM;
	if (hash)
		tier->ring = ring_new(members, len);
	return !hash || tier->ring ? 0 : -ENOMEM;
}

static int tiers_alloc(struct roster *roster)
{
	unsigned int tiers[LEVELS] = { 0 };

	for (unsigned int i = 0; i < roster->len; i++)
		tiers[level(&roster->members[i])] = 1;
	for (unsigned int l = 0; l < LEVELS; l++)
		if (tiers[l])
			tiers[l] = roster->tiers_len++;
	for (unsigned int i = 0; i < roster->len; i++)
		roster->members[i].tier = tiers[level(&roster->members[i])];
	roster->tiers = calloc(roster->tiers_len + 1, sizeof(*roster->tiers));
	return roster->tiers ? 0 : -ENOMEM;
}

static int tiers_make(struct making *making)
{
	struct roster *roster = making->roster;
	bool hash = making->config->policy == POOL_HASH;
	_free_ struct ring_member *members = calloc(roster->len + 1, sizeof(*members));
	int rc = members ? tiers_alloc(roster) : -ENOMEM;

	for (unsigned int t = 0; rc == 0 && t < roster->tiers_len; t++)
		rc = tier_fill(roster, t, hash, members);
	return rc;
}

/* ---- all of it ---- */

static int roster_make(struct making *making)
{
	int rc = 0;

	making->roster->holders = 1;
	making->roster->told = calloc(making->config->backends_len, sizeof(bool));
	if (!making->roster->told)
		return -ENOMEM;
	for (unsigned int e = 0; rc == 0 && e < making->config->backends_len; e++)
		rc = entry_members(making, e);
	return rc < 0 ? rc : tiers_make(making);
}

int roster_new(const struct config_pool *config, const struct roster *former,
	       const struct config_pool *former_config, const struct sourced *sourced,
	       struct roster **out)
{
	struct making making = { .config = config,
				 .former = former,
				 .former_config = former_config,
				 .sourced = sourced };
	int rc;

	making.roster = calloc(1, sizeof(*making.roster));
	if (!making.roster)
		return -ENOMEM;
	rc = known_fill(&making);
	if (rc == 0)
		rc = roster_make(&making);
	if (rc < 0)
		roster_free(making.roster);
	else
		*out = making.roster;
	free(making.known);
	return rc;
}

void roster_take_turns(struct roster *roster, const struct roster *former)
{
	for (unsigned int i = 0; i < roster->len; i++)
		if (roster->members[i].from != MEMBER_NEW)
			roster->members[i].due = former->members[roster->members[i].from].due;
	for (unsigned int t = 0; t < roster->tiers_len && t < former->tiers_len; t++)
		roster->tiers[t].line.now = former->tiers[t].line.now;
}

/* ---- the same? ---- */

static bool member_is(const struct member *member, const struct config_backend *entry,
		      const struct config_backend *listed)
{
	return strcmp(member->backend->config->text, listed->text) == 0 &&
	       member->weight == listed->weight && member->rank == listed->rank &&
	       (entry->srv ||
		(member->flows_max == listed->flows_max && member->backup == listed->backup));
}

static bool entry_is(const struct roster *roster, const struct config_pool *config, unsigned int e,
		     const struct listing *listing)
{
	unsigned int next = 0;

	for (unsigned int i = 0; i < roster->len; i++) {
		const struct member *member = &roster->members[i];

		if (member->entry != e)
			continue;
		if (next == listing->len ||
		    !member_is(member, &config->backends[e], &listing->list[next].config))
			return false;
		next++;
	}
	return roster->told[e] && next == listing->len;
}

bool roster_is(const struct roster *roster, const struct config_pool *config,
	       const struct sourced *sourced)
{
	for (unsigned int e = 0; e < config->backends_len; e++)
		if (sourced_is(sourced, &config->backends[e]) &&
		    !entry_is(roster, config, e, sourced->listing))
			return false;
	return true;
}
