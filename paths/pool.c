// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - backends that serve the same thing, and which of them is next
 *
 * A lock per pool guards its turns, one per backend (backend.c) its addresses; they
 * are held for one choice, or for one copy, and never across a call that could wait.
 *
 * Who can be used is not asked of each backend for each connection: the usable
 * ones stand in a list (turn.h), made anew when a state has changed or an ejection
 * ends. There is one for each tier (roster.h); the next is looked at when nobody of those
 * before is left. The cost of a choice does not depend on how
 * many there are, or on its logarithm only; a walk over all of them is for
 * who comes back after a failure, and where many are full.
 */
#include "pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>


#define LEAST_SCAN    16 /* usable backends of which each is asked for its flows */
#define LEAST_OTHERS  2	 /* of more: so many beside the one whose turn it is */
#define FULL_SKIPS    8	 /* full ones that are passed over before all are looked at */
#define RING_STEPS    64 /* look-ups in a table; after that each is asked for its rank */
#define SLOW_FLOOR    10 /* a share begins with a tenth */
#define PAUSE_DOUBLES 5	 /* of an ejection: 32 times at most */

struct pool {
	const struct config_pool *config;
	atomic_uint_fast64_t panicked;
	atomic_uint *failures; /* of each backend of the configuration that is a source */
	struct roster *next;  /* held; not in force yet; of who may change the pool only. NULL: none */
	pthread_mutex_t lock; /* over what follows, and what is in the roster for it */
	struct roster *roster; /* held */
	uint64_t changes;  /* backend_changes() that the tiers were made of */
	uint64_t until_ms; /* ... or an ejection ends */
	bool panics;	   /* nobody is valid: who might be well is used */
	uint64_t random;
};

/* ---- pools ---- */

static bool takes_turns(const struct pool *pool)
{
	return pool->config->policy == POOL_ROUND_ROBIN || pool->config->policy == POOL_LEAST_FLOWS;
}

/* Dues are in the line as long as somebody stands there. */
static void dues_keep(struct roster *roster)
{
	for (unsigned int t = 0; t < roster->tiers_len; t++) {
		const struct line *line = &roster->tiers[t].line;

		for (unsigned int i = 0; i < line->len; i++)
			roster->members[line->turns[i].index].due = line->turns[i].due;
	}
}

/* With the lock of the former one's pool held */
static void turns_go_on(struct roster *roster, struct roster *former)
{
	dues_keep(former);
	roster_take_turns(roster, former);
}

/* Nobody changes the former pool meanwhile. */
static int roster_first(struct pool *pool, struct pool *former)
{
	int rc = roster_new(pool->config, former ? former->roster : NULL,
			    former ? former->config : NULL, NULL, &pool->roster);

	if (rc < 0 || !former)
		return rc;
	pthread_mutex_lock(&former->lock);
	turns_go_on(pool->roster, former->roster);
	pthread_mutex_unlock(&former->lock);
	return 0;
}

struct pool *pool_new(const struct config_pool *config, struct pool *former)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->config = config;
	pool->changes = UINT64_MAX;
	pthread_mutex_init(&pool->lock, NULL);
	if (former)
		pool->panicked = former->panicked;
	pool->failures = calloc(config->backends_len, sizeof(*pool->failures));
	if (!pool->failures || roster_first(pool, former) < 0) {
		pool_free(pool);
		return NULL;
	}
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	roster_drop(pool->next);
	roster_drop(pool->roster);
	pthread_mutex_destroy(&pool->lock);
	free(pool->failures);
	free(pool);
}

/* ---- who is in it ---- */

int pool_prepare(struct pool *pool, const struct sourced *sourced)
{
	assert(!pool->next);
	if (roster_is(pool->roster, pool->config, sourced))
		return -EALREADY;
	return roster_new(pool->config, pool->roster, pool->config, sourced, &pool->next);
}

void pool_commit(struct pool *pool)
{
	struct roster *former = pool->roster;

	pthread_mutex_lock(&pool->lock);
	turns_go_on(pool->next, former);
	pool->roster = pool->next;
	pool->changes = UINT64_MAX;
	pthread_mutex_unlock(&pool->lock);
	pool->next = NULL;
	roster_drop(former);
}

void pool_abandon(struct pool *pool)
{
	roster_drop(pool->next);
	pool->next = NULL;
}

void pool_source_failed(struct pool *pool, const struct sourced *sourced)
{
	for (unsigned int e = 0; e < pool->config->backends_len; e++)
		if (sourced_is(sourced, &pool->config->backends[e]))
			atomic_store(&pool->failures[e], sourced->failures);
}

unsigned int pool_source_failures(const struct pool *pool, unsigned int entry)
{
	return atomic_load(&pool->failures[entry]);
}

struct roster *pool_roster(struct pool *pool)
{
	struct roster *roster;

	pthread_mutex_lock(&pool->lock);
	roster = roster_hold(pool->roster);
	pthread_mutex_unlock(&pool->lock);
	return roster;
}

static const struct roster *latest(const struct pool *pool)
{
	return pool->next ? pool->next : pool->roster;
}

unsigned int pool_backends(const struct pool *pool)
{
	return latest(pool)->len;
}

struct backend *pool_backend(struct pool *pool, unsigned int index)
{
	assert(index < latest(pool)->len);
	return latest(pool)->members[index].backend;
}

bool pool_is_told(const struct pool *pool)
{
	for (unsigned int e = 0; e < pool->config->backends_len; e++)
		if (!latest(pool)->told[e])
			return false;
	return true;
}

const struct config_pool *pool_config(const struct pool *pool)
{
	return pool->config;
}

const char *pool_name(const struct pool *pool)
{
	return pool->config->name;
}

uint64_t pool_panicked(const struct pool *pool)
{
	return atomic_load(&pool->panicked);
}

/* ---- who can be used ---- */

/* TURN_SHARE times the weight; less for a while after a return, if the pool is to start slowly. */
static uint64_t member_share(const struct pool *pool, const struct member *member, uint64_t now_ms)
{
	uint64_t share = (uint64_t)member->weight * TURN_SHARE;
	uint64_t since_ms, slow_ms = pool->config->slow_ms;

	if (!slow_ms)
		return share;
	since_ms = backend_since(member->backend);
	if (since_ms == 0 || now_ms >= since_ms + slow_ms)
		return share;
	if (now_ms <= since_ms || (now_ms - since_ms) * SLOW_FLOOR < slow_ms)
		return share / SLOW_FLOOR;
	return share * (now_ms - since_ms) / slow_ms;
}

static void tiers_make(struct pool *pool, uint64_t now_ms)
{
	struct roster *roster = pool->roster;

	for (unsigned int t = 0; t < roster->tiers_len; t++)
		roster->tiers[t].line.len = 0;
	for (unsigned int i = 0; i < roster->len; i++) {
		struct member *member = &roster->members[i];

		member->usable = pool->panics
					 ? backend_is_doubted(member->backend, pool->config->reset)
					 : backend_is_valid(member->backend, now_ms);
		if (member->usable)
			line_join(&roster->tiers[member->tier].line, i, member->due,
				  member_share(pool, member, now_ms), i, roster->len);
	}
	for (unsigned int t = 0; takes_turns(pool) && t < roster->tiers_len; t++)
		line_order(&roster->tiers[t].line);
}

static bool nobody(const struct pool *pool)
{
	for (unsigned int t = 0; t < pool->roster->tiers_len; t++)
		if (pool->roster->tiers[t].line.len)
			return false;
	return true;
}

static uint64_t ejection_ends(const struct pool *pool, uint64_t now_ms)
{
	uint64_t until_ms = UINT64_MAX;

	for (unsigned int i = 0; i < pool->roster->len; i++) {
		uint64_t ends_ms = atomic_load(&pool->roster->members[i].backend->ejected_ms);

		if (ends_ms > now_ms && ends_ms < until_ms)
			until_ms = ends_ms;
	}
	return until_ms;
}

/* The changes are read first: one that comes meanwhile is seen the next time. */
static void tiers_follow(struct pool *pool, uint64_t now_ms)
{
	uint64_t changes = backend_changes();

	if (pool->changes == changes && now_ms < pool->until_ms)
		return;
	dues_keep(pool->roster);
	pool->changes = changes;
	pool->until_ms = ejection_ends(pool, now_ms);
	pool->panics = false;
	tiers_make(pool, now_ms);
	if (!nobody(pool))
		return;
	pool->panics = true;
	tiers_make(pool, now_ms);
}

/* ---- who is next ---- */

/* One choice that is being made */
struct choice {
	struct pool *pool;
	struct tier *tier;
	const struct pool_tries *tries;
	unsigned int times; /* that a backend must have been tried */
	uint64_t now_ms;
};

static struct member *member_at(const struct choice *choice, unsigned int at)
{
	return &choice->pool->roster->members[choice->tier->line.turns[at].index];
}

static uint64_t share_at(const struct choice *choice, unsigned int at)
{
	return member_share(choice->pool, member_at(choice, at), choice->now_ms);
}

static uint64_t flows_of(const struct member *member)
{
	return atomic_load_explicit(&member->backend->flows, memory_order_relaxed);
}

static bool is_full(const struct member *member)
{
	return member->flows_max && flows_of(member) >= member->flows_max;
}

static unsigned int times_tried(const struct pool_tries *tries, const struct backend *backend)
{
	unsigned int times = 0;

	for (unsigned int i = 0; i < tries->len; i++)
		times += tries->tried[i] == backend;
	return times;
}

static bool fits(const struct choice *choice, const struct member *member)
{
	return times_tried(choice->tries, member->backend) == choice->times &&
	       atomic_load(&member->backend->addrs_len) > choice->times && !is_full(member);
}

/* How much one has, and of which share: 0, so that all are equal, if flows do not count */
struct load {
	uint64_t flows, share;
};

static struct load load_at(const struct choice *choice, unsigned int at, bool by_flows)
{
	if (!by_flows)
		return (struct load){ 0, 1 };
	return (struct load){ flows_of(member_at(choice, at)), share_at(choice, at) };
}

static bool is_lighter(struct load a, struct load b)
{
	return a.flows * b.share < b.flows * a.share;
}

/* Of all that fit: the one with the least load; of equals the one whose turn is first. */
static struct member *pick_of_all(const struct choice *choice, bool by_flows)
{
	struct line *line = &choice->tier->line;
	struct member *member = NULL;
	struct load least = { 0, 1 };
	unsigned int best = 0;

	for (unsigned int at = 0; at < line->len; at++) {
		struct load load;

		if (!fits(choice, member_at(choice, at)))
			continue;
		load = load_at(choice, at, by_flows);
		if (member && !is_lighter(load, least) &&
		    (is_lighter(least, load) || turn_before(&line->turns[best], &line->turns[at])))
			continue;
		best = at;
		least = load;
		member = member_at(choice, at);
	}
	if (member)
		line_take(line, best, share_at(choice, best));
	return member;
}

/* Who is full loses its turn, or it would have to be passed over again and again. */
static struct member *pick_turn(const struct choice *choice)
{
	struct line *line = &choice->tier->line;

	for (int skips = 0; skips < FULL_SKIPS && line->len > 0; skips++) {
		struct member *member = member_at(choice, 0);
		bool found = fits(choice, member);

		if (!found && !is_full(member))
			break;
		line_take(line, 0, share_at(choice, 0));
		if (found)
			return member;
	}
	return pick_of_all(choice, false);
}

/* splitmix64 */
static uint64_t random_next(struct pool *pool)
{
	pool->random += UINT64_C(0x9e3779b97f4a7c15);
	return ring_mix(pool->random);
}

/*
 * Of few, the one with the fewest flows. Of many, the one whose turn it is, which
 * keeps the weights, against some at random, which levels out: to find the very
 * least among thousands takes longer than it is worth, as two choices are almost as
 * good (Mitzenmacher 1996).
 */
static struct member *pick_least(const struct choice *choice)
{
	struct line *line = &choice->tier->line;
	struct member *best = NULL;
	struct load least;

	if (line->len <= LEAST_SCAN)
		return pick_of_all(choice, true);
	for (int i = 0; i <= LEAST_OTHERS; i++) {
		unsigned int at =
			i == 0 ? 0 : (unsigned int)(random_next(choice->pool) % line->len);
		struct load load = load_at(choice, at, true);

		if (!fits(choice, member_at(choice, at)) || (best && !is_lighter(load, least)))
			continue;
		best = member_at(choice, at);
		least = load;
	}
	line_take(line, 0, share_at(choice, 0));
	return best ? best : pick_of_all(choice, true);
}

static struct member *pick_first(const struct choice *choice)
{
	for (unsigned int at = 0; at < choice->tier->line.len; at++)
		if (fits(choice, member_at(choice, at)))
			return member_at(choice, at);
	return NULL;
}

/* A number for the pair of a key and a backend, the same wherever it is made */
static uint64_t rank(const struct choice *choice, const struct member *member)
{
	return ring_mix(choice->tries->key ^ member->backend->hash);
}

/* Of a backend that starts slowly, the same part of its keys has come back already each time. */
static bool has_come_back(const struct choice *choice, const struct member *member)
{
	uint64_t whole = (uint64_t)member->weight * TURN_SHARE;
	uint64_t share = member_share(choice->pool, member, choice->now_ms);

	return share == whole || rank(choice, member) % whole < share;
}

/* Rendezvous hashing: slower than the table, but nobody has to be met in it. */
static struct member *pick_by_rank(const struct choice *choice)
{
	struct member *best = NULL;

	for (unsigned int at = 0; at < choice->tier->line.len; at++) {
		struct member *member = member_at(choice, at);

		if (fits(choice, member) && (!best || rank(choice, member) > rank(choice, best)))
			best = member;
	}
	return best;
}

static struct member *pick_hash(const struct choice *choice)
{
	for (uint64_t step = 0; step < RING_STEPS; step++) {
		unsigned int index = ring_find(choice->tier->ring, choice->tries->key, step);
		struct member *member = &choice->pool->roster->members[index];

		if (member->usable && fits(choice, member) && has_come_back(choice, member))
			return member;
	}
	return pick_by_rank(choice);
}

static struct member *pick_by_policy(const struct choice *choice)
{
	static struct member *(*const policies[POOL_POLICIES])(const struct choice *) = {
		[POOL_ROUND_ROBIN] = pick_turn,
		[POOL_LEAST_FLOWS] = pick_least,
		[POOL_FIRST] = pick_first,
		[POOL_HASH] = pick_hash,
	};

	return policies[choice->pool->config->policy](choice);
}

/* A tier comes after all other addresses of the names of those before. */
static struct member *pick(struct pool *pool, const struct pool_tries *tries, uint64_t now_ms)
{
	struct choice choice = { .pool = pool, .tries = tries, .now_ms = now_ms };
	struct member *member = NULL;

	for (unsigned int t = 0; t < pool->roster->tiers_len; t++) {
		choice.tier = &pool->roster->tiers[t];
		for (choice.times = 0; choice.times <= tries->len; choice.times++) {
			if (choice.tier->line.len > 0)
				member = pick_by_policy(&choice);
			if (member)
				return member;
		}
	}
	return NULL;
}

uint64_t pool_key(const struct pool *pool, const struct addr *source, const char *name)
{
	enum pool_hash by = pool->config->hash;
	uint64_t key = 0;
	uint32_t bytes[4];

	if (pool->config->policy != POOL_HASH)
		return 0;
	if (by != HASH_SOURCE && *name)
		key = ring_hash(0, name, strlen(name));
	if (by == HASH_NAME && *name)
		return key;
	addr_to_16(source, bytes);
	return ring_hash(key, bytes, sizeof(bytes));
}

struct backend *pool_pick(struct pool *pool, struct pool_tries *tries, uint64_t now_ms,
			  struct addr *out)
{
	struct backend *backend = NULL; /* it outlives the roster, as it has a flow */
	struct member *member;

	if (tries->len == POOL_TRIES_MAX)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	tiers_follow(pool, now_ms);
	member = pick(pool, tries, now_ms);
	if (member) {
		backend = member->backend;
		*out = backend_next_addr(backend);
		backend_take(backend);
		if (pool->panics)
			atomic_fetch_add(&pool->panicked, 1);
		tries->tried[tries->len++] = backend;
	}
	pthread_mutex_unlock(&pool->lock);
	return backend;
}

enum pool_state member_state(const struct member *member, uint64_t now_ms)
{
	const struct backend *backend = member->backend;
	enum backend_admin admin = atomic_load(&backend->admin);

	if (backend_is_valid(backend, now_ms))
		return is_full(member) ? POOL_STATE_FULL : POOL_STATE_UP;
	if (!backend_has_address(backend))
		return POOL_STATE_UNKNOWN;
	if (admin == BACKEND_DRAIN || admin == BACKEND_DOWN)
		return admin == BACKEND_DRAIN ? POOL_STATE_DRAIN : POOL_STATE_DOWN;
	return atomic_load(&backend->sick) ? POOL_STATE_SICK : POOL_STATE_EJECTED;
}

enum pool_lack pool_lack(struct pool *pool, uint64_t now_ms)
{
	enum pool_lack lack = POOL_LACKS_ADDRESS;

	pthread_mutex_lock(&pool->lock);
	tiers_follow(pool, now_ms);
	for (unsigned int i = 0; i < pool->roster->len; i++)
		if (backend_has_address(pool->roster->members[i].backend))
			lack = POOL_LACKS_VALID;
	if (!nobody(pool))
		lack = POOL_LACKS_ROOM;
	pthread_mutex_unlock(&pool->lock);
	return lack;
}

/* ---- ejection ---- */

static unsigned int ejected(const struct pool *pool, uint64_t now_ms)
{
	unsigned int len = 0;

	for (unsigned int i = 0; i < pool->roster->len; i++)
		len += atomic_load(&pool->roster->members[i].backend->ejected_ms) > now_ms;
	return len;
}

/* Others of its connections fail at the same time: once is enough. */
uint64_t pool_failed(struct pool *pool, struct backend *backend, uint64_t now_ms)
{
	const struct config_eject *eject = &pool->config->eject;
	unsigned int row = atomic_fetch_add(&backend->failed_in_a_row, 1) + 1;
	uint64_t for_ms = 0;

	atomic_fetch_add_explicit(&backend->failed, 1, memory_order_relaxed);
	if (!eject->failures || row < eject->failures || backend->config->requested)
		return 0; /* what is requested is another one each time */
	pthread_mutex_lock(&pool->lock);
	if (atomic_load(&backend->ejected_ms) <= now_ms &&
	    (uint64_t)(ejected(pool, now_ms) + 1) * 100 <= (uint64_t)pool->roster->len * eject->share) {
		unsigned int before = atomic_load(&backend->ejections);

		for_ms = (uint64_t)eject->for_ms
			 << (before < PAUSE_DOUBLES ? before : PAUSE_DOUBLES);
		backend_eject(backend, now_ms + for_ms);
	}
	pthread_mutex_unlock(&pool->lock);
	return for_ms;
}

/* Such a pool has one backend, and never another. */
struct backend *pool_requested(struct pool *pool)
{
	return pool->config->backends[0].requested ? pool->roster->members[0].backend : NULL;
}

struct backend *pool_find(struct pool *pool, const struct addr *addr)
{
	struct roster *roster = pool_roster(pool);
	struct backend *found = NULL;

	for (unsigned int i = 0; !found && i < roster->len; i++)
		if (backend_has(roster->members[i].backend, addr))
			found = roster->members[i].backend;
	roster_drop(roster);
	return found;
}
