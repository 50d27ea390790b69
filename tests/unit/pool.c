// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - turns are fair, the fewest flows win, and counters add up under threads
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../paths/pool.h"

#define BACKENDS 4
#define NOW	 1000 /* ms */

/* The last one has a name. */
static struct config_backend backend_configs[BACKENDS] = {
	{ .text = "10.0.0.1:1", .weight = 1 },
	{ .text = "10.0.0.2:1", .weight = 1 },
	{ .text = "10.0.0.3:1", .weight = 1 },
	{ .text = "name:1", .weight = 1, .host = "name", .port = 1 },
};

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* @config is the caller's; the pool has the first @len backends */
static struct pool *pool_of(struct config_pool *config, enum pool_policy policy, unsigned int len)
{
	struct pool *pool;

	for (int i = 0; i < BACKENDS; i++)
		if (!backend_configs[i].host)
			backend_configs[i].addr = address(backend_configs[i].text);
	*config = (struct config_pool){
		.name = "p",
		.policy = policy,
		.backends = backend_configs,
		.backends_len = len,
	};
	pool = pool_new(config, NULL);
	assert_non_null(pool);
	return pool;
}

/* A fresh connection's first pick: the index of its backend, -1 for none */
static int pick_one(struct pool *pool)
{
	struct pool_tries tries = { 0 };
	struct addr addr;
	struct backend *backend = pool_pick(pool, &tries, NOW, &addr);

	for (unsigned int i = 0; i < pool_backends(pool); i++)
		if (backend == pool_backend(pool, i))
			return (int)i;
	return -1;
}

static void turns_go_round(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, 3);

	(void)state;
	for (int i = 0; i < 9; i++)
		assert_int_equal(pick_one(pool), i % 3);
	assert_int_equal(atomic_load(&pool_backend(pool, 2)->chosen), 3);
	assert_int_equal(atomic_load(&pool_backend(pool, 2)->flows), 3);
	pool_free(pool);
}

static void a_name_without_an_address_is_passed_over(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS);
	struct addr addr = address("10.0.0.9:1");

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(pick_one(pool), i % 3);
	backend_set_addrs(pool_backend(pool, 3), &addr, 1);
	for (unsigned int i = 0; i < BACKENDS; i++)
		pick_one(pool);
	for (unsigned int i = 0; i < BACKENDS; i++)
		assert_int_equal(pool_backend(pool, i)->chosen, i < 3 ? 3 : 1);
	pool_free(pool);
}

static void who_is_not_valid_is_passed_over(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, 3);

	(void)state;
	backend_set_sick(pool_backend(pool, 1), true);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pick_one(pool), i % 2 * 2);
	backend_set_admin(pool_backend(pool, 0), BACKEND_DRAIN);
	backend_set_admin(pool_backend(pool, 1), BACKEND_UP);
	for (int i = 0; i < 4; i++)
		pick_one(pool);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pool_backend(pool, i)->chosen, i < 2 ? 2 : 4);
	pool_free(pool);
}

static void each_backend_is_tried_once(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, 3);
	struct pool_tries tries = { 0 };
	struct addr addr;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct backend *backend = pool_pick(pool, &tries, NOW, &addr);

		assert_ptr_equal(backend, pool_backend(pool, i));
		assert_true(addr_equal(&addr, &backend_configs[i].addr));
		backend_release(backend);
	}
	assert_null(pool_pick(pool, &tries, NOW, &addr));
	assert_int_equal(atomic_load(&pool_backend(pool, 0)->flows), 0);
	pool_free(pool);
}

static void only_names_and_no_address_is_no_backend(void **state)
{
	struct config_pool config = { .name = "p",
				      .backends = &backend_configs[3],
				      .backends_len = 1 };
	struct pool *pool = pool_new(&config, NULL);

	(void)state;
	assert_int_equal(pick_one(pool), -1);
	pool_free(pool);
}

static void addresses_of_a_name_take_turns_and_are_all_tried(void **state)
{
	struct config_pool config = { .name = "p",
				      .backends = &backend_configs[3],
				      .backends_len = 1 };
	struct pool *pool = pool_new(&config, NULL);
	const struct addr addrs[] = { address("10.0.0.7:1"), address("[2001:db8::7]:1") };
	struct pool_tries tries = { 0 };
	struct addr first, second, third;

	(void)state;
	backend_set_addrs(pool_backend(pool, 0), addrs, 2);
	assert_non_null(pool_pick(pool, &tries, NOW, &first));
	assert_non_null(pool_pick(pool, &tries, NOW, &second));
	assert_true(addr_equal(&first, &addrs[0]));
	assert_true(addr_equal(&second, &addrs[1]));
	assert_null(pool_pick(pool, &tries, NOW, &third));
	pool_free(pool);
}

static void other_backends_are_tried_before_other_addresses(void **state)
{
	struct config_pool config = { .name = "p",
				      .backends = &backend_configs[2],
				      .backends_len = 2 };
	struct addr addrs[2] = { address("10.0.0.7:1"), address("10.0.0.8:1") };
	struct pool_tries tries = { 0 };
	struct addr addr;
	struct pool *pool;

	(void)state;
	backend_configs[2].addr = address(backend_configs[2].text);
	pool = pool_new(&config, NULL);
	backend_set_addrs(pool_backend(pool, 1), addrs, 2);
	assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 0));
	assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 1));
	assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 1));
	assert_true(addr_equal(&addr, &addrs[1]));
	assert_null(pool_pick(pool, &tries, NOW, &addr));
	pool_free(pool);
}

static void tries_have_an_end(void **state)
{
	struct config_backend many[POOL_TRIES_MAX + 1];
	struct config_pool config = { .name = "p",
				      .backends = many,
				      .backends_len = POOL_TRIES_MAX + 1 };
	struct pool_tries tries = { 0 };
	struct pool *pool;
	struct addr addr;

	(void)state;
	for (int i = 0; i <= POOL_TRIES_MAX; i++)
		many[i] = (struct config_backend){ .text = "10.0.0.1:1",
						   .weight = 1,
						   .addr = address("10.0.0.1:1") };
	pool = pool_new(&config, NULL);
	for (int i = 0; i < POOL_TRIES_MAX; i++)
		assert_non_null(pool_pick(pool, &tries, NOW, &addr));
	assert_null(pool_pick(pool, &tries, NOW, &addr));
	pool_free(pool);
}

static void the_fewest_flows_win_and_equals_take_turns(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_LEAST_FLOWS, 3);

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(pick_one(pool), i % 3);
	backend_release(pool_backend(pool, 1));
	backend_release(pool_backend(pool, 1));
	assert_int_equal(pick_one(pool), 1);
	assert_int_equal(pick_one(pool), 1);
	assert_int_equal(pick_one(pool), 0);
	assert_int_equal(pick_one(pool), 2);
	pool_free(pool);
}

static void an_empty_answer_keeps_the_addresses(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS);
	struct backend *named = pool_backend(pool, 3);
	struct addr many[POOL_ADDRS_MAX + 4], got[POOL_ADDRS_MAX];

	(void)state;
	for (unsigned int i = 0; i < POOL_ADDRS_MAX + 4; i++) {
		many[i] = address("10.1.0.0:1");
		many[i].in.sin_addr.s_addr += htonl(i);
	}
	backend_set_addrs(named, many, POOL_ADDRS_MAX + 4);
	assert_int_equal(backend_addrs(named, got), POOL_ADDRS_MAX);
	backend_set_addrs(named, NULL, 0);
	assert_int_equal(backend_addrs(named, got), POOL_ADDRS_MAX);
	assert_true(addr_equal(&got[15], &many[15]));
	pool_free(pool);
}

static void a_backend_is_found_by_its_address(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS);
	struct addr addrs[] = { address("10.0.0.8:1"), address("[2001:db8::8]:1") };
	struct addr other_port = address("10.0.0.2:2");

	(void)state;
	backend_set_addrs(pool_backend(pool, 3), addrs, 2);
	assert_ptr_equal(pool_find(pool, &backend_configs[1].addr), pool_backend(pool, 1));
	assert_ptr_equal(pool_find(pool, &addrs[1]), pool_backend(pool, 3));
	assert_null(pool_find(pool, &other_port));
	pool_free(pool);
}

/* ---- a pool that takes another's place ---- */

static void what_is_known_of_a_backend_outlives_its_pool(void **state)
{
	struct config_backend reordered[] = { backend_configs[3],
					      backend_configs[1],
					      { .text = "10.0.0.9:1", .weight = 1 } };
	struct config_pool config,
		later = { .name = "p", .backends = reordered, .backends_len = 3 };
	struct pool *former = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS), *pool;
	struct addr addr = address("10.0.0.77:1");

	(void)state;
	reordered[1] = backend_configs[1];
	backend_set_addrs(pool_backend(former, 3), &addr, 1);
	pool_backend(former, 1)->flows = 5;
	backend_set_admin(pool_backend(former, 1), BACKEND_DRAIN);
	backend_set_sick(pool_backend(former, 3), true);
	pool = pool_new(&later, former);
	assert_ptr_equal(pool_backend(pool, 0), pool_backend(former, 3));
	assert_ptr_equal(pool_backend(pool, 1), pool_backend(former, 1));
	pool_free(former);
	memset(reordered, 0, sizeof(reordered)); /* the texts are the backends' own */
	assert_true(backend_has(pool_backend(pool, 0), &addr));
	assert_string_equal(pool_backend(pool, 0)->config->host, "name");
	assert_int_equal(pool_backend(pool, 1)->flows, 5);
	assert_int_equal(pool_backend(pool, 1)->admin, BACKEND_DRAIN);
	assert_true(pool_backend(pool, 0)->sick);
	assert_int_equal(pool_backend(pool, 2)->flows, 0);
	pool_free(pool);
}

/* ---- sources ---- */

static struct config_backend sourced_configs[] = {
	{ .text = "10.0.0.1:1", .weight = 1 },
	{ .text = "srv:s", .srv = "s", .weight = 1, .flows_max = 7 },
	{ .text = "file:f", .file = "f", .weight = 1 },
};
static const struct config_pool sourced_config = { .name = "p",
						   .backends = sourced_configs,
						   .backends_len = 3 };

/* "TEXT/RANK TEXT/RANK ..." */
static int say(struct pool *pool, const char *source, const char *texts)
{
	struct listing listing = { 0 };
	struct sourced sourced = { .source = source, .listing = &listing };
	char copy[200], why[LISTING_WHY_MAX], *rest;
	int rc;

	snprintf(copy, sizeof(copy), "%s", texts);
	for (char *text = strtok_r(copy, " ", &rest); text; text = strtok_r(NULL, " ", &rest)) {
		char *rank = strchr(text, '/');
		struct listed *listed;

		*rank = '\0';
		assert_int_equal(listing_add(&listing, text, &listed, why), 0);
		listed->config.rank = (uint16_t)(rank[1] - '0');
		if (listed->config.host) {
			listed->addrs = calloc(1, sizeof(*listed->addrs));
			*listed->addrs = address("10.0.0.99:1");
			listed->addrs_len = 1;
		}
	}
	rc = pool_prepare(pool, &sourced);
	listing_fini(&listing);
	return rc;
}

static void is_in(struct pool *pool, const char *texts)
{
	char got[200] = "";

	for (unsigned int i = 0; i < pool_backends(pool); i++) {
		if (i)
			strcat(got, " ");
		strcat(got, pool_backend(pool, i)->config->text);
	}
	assert_string_equal(got, texts);
}

static void a_source_stands_for_what_it_says(void **state)
{
	struct pool *pool;
	struct roster *roster;

	(void)state;
	sourced_configs[0].addr = address("10.0.0.1:1");
	pool = pool_new(&sourced_config, NULL);
	is_in(pool, "10.0.0.1:1");
	assert_false(pool_is_told(pool));
	assert_int_equal(say(pool, "srv:s", "10.0.0.2:1/0 name:1/0"), 0);
	is_in(pool, "10.0.0.1:1 10.0.0.2:1 name:1");
	assert_int_equal(pick_one(pool), 0);
	assert_int_equal(pick_one(pool), 0); /* it is not in force yet */
	pool_commit(pool);
	backend_set_admin(pool_backend(pool, 1), BACKEND_DRAIN);
	backend_set_sick(pool_backend(pool, 0), true);
	assert_int_equal(pick_one(pool), 2); /* whose address came with it */
	assert_int_equal(say(pool, "srv:s", "10.0.0.2:1/0 name:1/0"), -EALREADY);

	assert_int_equal(say(pool, "file:f", "10.0.0.2:1/0 10.0.0.4:1/0"), 0);
	pool_abandon(pool);
	is_in(pool, "10.0.0.1:1 10.0.0.2:1 name:1");
	assert_int_equal(say(pool, "file:f", "10.0.0.2:1/0 10.0.0.4:1/0"), 0);
	pool_commit(pool);
	is_in(pool, "10.0.0.1:1 10.0.0.2:1 name:1 10.0.0.2:1 10.0.0.4:1");
	assert_int_equal(pool_backend(pool, 1)->admin, BACKEND_DRAIN);
	assert_int_equal(pool_backend(pool, 3)->admin, BACKEND_AUTO); /* another one */
	assert_true(pool_is_told(pool));

	/* who goes through it has those that were there */
	roster = pool_roster(pool);
	assert_int_equal(say(pool, "srv:s", ""), 0);
	pool_commit(pool);
	is_in(pool, "10.0.0.1:1 10.0.0.2:1 10.0.0.4:1");
	assert_true(pool_backend(pool, 0)->sick);
	assert_int_equal(roster->len, 5);
	assert_string_equal(roster->members[2].backend->config->text, "name:1");
	assert_int_equal(roster->members[2].flows_max, 7);
	roster_drop(roster);
	pool_free(pool);
}

static void a_source_keeps_what_it_said_over_a_reload(void **state)
{
	struct config_backend others[] = { { .text = "10.0.0.9:1", .weight = 1 },
					   { .text = "file:g", .file = "g", .weight = 1 },
					   { .text = "srv:s", .srv = "s", .weight = 1 },
					   { .text = "srv:s", .srv = "s", .weight = 1, .backup = true } };
	const struct config_pool later = { .name = "p", .backends = others, .backends_len = 4 };
	struct pool *former = pool_new(&sourced_config, NULL), *pool;
	struct backend *backend;

	(void)state;
	others[0].addr = address("10.0.0.9:1");
	assert_int_equal(say(former, "srv:s", "10.0.0.2:1/0 10.0.0.3:1/1"), 0);
	pool_commit(former);
	backend = pool_backend(former, 1);
	pool = pool_new(&later, former);
	pool_free(former);
	is_in(pool, "10.0.0.9:1 10.0.0.2:1 10.0.0.3:1 10.0.0.2:1 10.0.0.3:1");
	assert_ptr_equal(pool_backend(pool, 1), backend);
	assert_false(pool_is_told(pool)); /* the file is new, and was not read */
	pool_free(pool);
}

/* Ordinary ones of all ranks, then backups */
static void ranks_are_for_when_nobody_before_can_be_used(void **state)
{
	struct config_pool config = sourced_config;

	(void)state;
	for (int policy = 0; policy < POOL_POLICIES; policy++) {
		struct pool *pool;

		config.policy = (enum pool_policy)policy;
		sourced_configs[2].backup = true;
		pool = pool_new(&config, NULL);
		assert_int_equal(say(pool, "srv:s", "10.0.0.2:1/2 10.0.0.3:1/1"), 0);
		pool_commit(pool);
		assert_int_equal(pick_one(pool), 0);
		backend_set_sick(pool_backend(pool, 0), true);
		assert_int_equal(pick_one(pool), 2);
		backend_set_sick(pool_backend(pool, 2), true);
		assert_int_equal(pick_one(pool), 1);
		backend_set_sick(pool_backend(pool, 2), false);
		assert_int_equal(pick_one(pool), 2);
		pool_free(pool);
	}
}

static void a_text_that_is_written_twice_is_two_backends(void **state)
{
	struct config_backend twice[] = { { .text = "10.0.0.1:1", .weight = 1 },
					  { .text = "10.0.0.1:1", .weight = 1 } };
	struct config_pool config = { .name = "p", .backends = twice, .backends_len = 1 };
	struct pool *former = pool_new(&config, NULL), *pool, *last;

	(void)state;
	config.backends_len = 2;
	pool = pool_new(&config, former);
	assert_ptr_equal(pool_backend(pool, 0), pool_backend(former, 0));
	assert_ptr_not_equal(pool_backend(pool, 1), pool_backend(former, 0));
	last = pool_new(&config, pool);
	assert_ptr_equal(pool_backend(last, 0), pool_backend(pool, 0));
	assert_ptr_equal(pool_backend(last, 1), pool_backend(pool, 1));
	pool_free(former);
	pool_free(pool);
	pool_free(last);
}

static void the_turn_goes_on_in_the_next_pool(void **state)
{
	struct config_pool config;
	struct pool *former = pool_of(&config, POOL_ROUND_ROBIN, 3), *pool;

	(void)state;
	assert_int_equal(pick_one(former), 0);
	pool = pool_new(&config, former);
	assert_int_equal(pick_one(pool), 1);
	pool_free(former);
	assert_int_equal(pick_one(pool), 2);
	pool_free(pool);
}

/* ---- policies ---- */

#define MANY 1000

/* A pool of @len backends 10.1.x.y:1, all of weight 1 */
struct many {
	struct config_pool config;
	struct config_backend backends[MANY];
	char texts[MANY][24];
	struct pool *pool;
};

static void many_fill(struct many *many, enum pool_policy policy, unsigned int len)
{
	memset(many, 0, sizeof(*many));
	many->config = (struct config_pool){
		.name = "p",
		.policy = policy,
		.backends = many->backends,
		.backends_len = len,
		.eject = { .failures = 3, .for_ms = 1000, .share = 50 },
	};
	for (unsigned int i = 0; i < len; i++) {
		snprintf(many->texts[i], sizeof(many->texts[i]), "10.1.%u.%u:1", i / 250,
			 i % 250 + 1);
		many->backends[i] = (struct config_backend){ .text = many->texts[i],
							     .weight = 1,
							     .addr = address(many->texts[i]) };
	}
}

static struct pool *many_open(struct many *many)
{
	many->pool = pool_new(&many->config, NULL);
	assert_non_null(many->pool);
	return many->pool;
}

static struct backend *pick_at(struct pool *pool, uint64_t now_ms)
{
	struct pool_tries tries = { 0 };
	struct addr addr;

	return pool_pick(pool, &tries, now_ms, &addr);
}

static uint64_t chosen(struct pool *pool, unsigned int index)
{
	return atomic_load(&pool_backend(pool, index)->chosen);
}

static struct many many; /* too large for a stack */

static void turns_go_by_weight_all_the_time(void **state)
{
	static const uint32_t weights[] = { 5, 1, 1, 300, 17 };
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 5);
	for (int i = 0; i < 5; i++)
		many.backends[i].weight = weights[i];
	pool = many_open(&many);
	for (unsigned int picks = 1; picks <= 3 * 324; picks++) {
		pick_one(pool);
		for (unsigned int i = 0; i < 5; i++) {
			double due = (double)picks * weights[i] / 324;

			assert_true((double)chosen(pool, i) > due - 2);
			assert_true((double)chosen(pool, i) < due + 2);
		}
	}
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(chosen(pool, i), 3 * weights[i]);
	pool_free(pool);
}

static void heavy_turns_are_spread(void **state)
{
	static const int order[] = { 0, 0, 0, 1, 0, 2, 0 };
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 3);
	many.backends[0].weight = 5;
	pool = many_open(&many);
	for (int i = 0; i < 14; i++)
		assert_int_equal(pick_one(pool), order[i % 7]);
	pool_free(pool);
}

static void a_reload_changes_weights_and_keeps_the_turns(void **state)
{
	struct pool *pool, *next;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 2);
	pool = many_open(&many);
	assert_int_equal(pick_one(pool), 0);
	many.backends[1].weight = 3;
	next = pool_new(&many.config, pool);
	assert_int_equal(pick_one(next), 1);
	for (int i = 0; i < 40; i++)
		pick_one(next);
	assert_in_range(chosen(next, 0), 10, 12);
	pool_free(pool);
	pool_free(next);
}

static void the_fewest_flows_for_the_weight_win(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_LEAST_FLOWS, 3);
	many.backends[0].weight = 3;
	pool = many_open(&many);
	for (int i = 0; i < 50; i++)
		pick_one(pool);
	assert_int_equal(pool_backend(pool, 0)->flows, 30);
	assert_int_equal(pool_backend(pool, 1)->flows, 10);
	for (int i = 0; i < 10; i++)
		backend_release(pool_backend(pool, 0));
	for (int i = 0; i < 10; i++)
		assert_int_equal(pick_one(pool), 0);
	pool_free(pool);
}

/* Idle backends are equals, whatever their weights, and then the weights say whose turn it is. */
static void without_flows_turns_go_by_weight(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_LEAST_FLOWS, 3);
	many.backends[0].weight = 3;
	pool = many_open(&many);
	for (int i = 0; i < 50; i++)
		backend_release(pick_at(pool, NOW));
	assert_int_equal(chosen(pool, 0), 30);
	assert_int_equal(chosen(pool, 1), 10);
	pool_free(pool);
}

/* ... and does not make up for it later with a long row of turns. */
static void who_was_taken_out_of_turn_is_not_left_out(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_LEAST_FLOWS, 2);
	pool = many_open(&many);
	assert_int_equal(pick_one(pool), 0); /* it lives on: the other has fewer */
	for (int i = 0; i < 50; i++)
		backend_release(pick_at(pool, NOW));
	assert_int_equal(chosen(pool, 1), 50);
	backend_release(pool_backend(pool, 0));
	for (int i = 0; i < 6; i++)
		backend_release(pick_at(pool, NOW));
	assert_in_range(chosen(pool, 1), 51, 53);
	pool_free(pool);
}

/* The very least is not looked for among many, but nobody has many more than another. */
static void among_many_flows_are_level(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_LEAST_FLOWS, MANY);
	many.backends[7].weight = 10;
	pool = many_open(&many);
	for (int i = 0; i < 10 * (MANY + 9); i++)
		pick_one(pool);
	for (unsigned int i = 0; i < MANY; i++)
		assert_in_range(pool_backend(pool, i)->flows, i == 7 ? 85 : 6, i == 7 ? 115 : 13);
	for (int i = 0; i < 10; i++)
		if (pool_backend(pool, 3)->flows)
			backend_release(pool_backend(pool, 3));
	for (int i = 0; i < 5 * MANY; i++)
		pick_one(pool);
	assert_in_range(pool_backend(pool, 3)->flows, 8, 18);
	pool_free(pool);
}

static void the_first_is_the_first_that_is_left(void **state)
{
	struct pool_tries tries = { 0 };
	struct pool *pool;
	struct addr addr;

	(void)state;
	many_fill(&many, POOL_FIRST, 3);
	pool = many_open(&many);
	for (int i = 0; i < 5; i++)
		assert_int_equal(pick_one(pool), 0);
	backend_set_sick(pool_backend(pool, 0), true);
	assert_int_equal(pick_one(pool), 1);
	assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 1));
	assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 2));
	assert_null(pool_pick(pool, &tries, NOW, &addr));
	backend_set_sick(pool_backend(pool, 0), false);
	assert_int_equal(pick_one(pool), 0);
	pool_free(pool);
}

/* ---- consistent hashing ---- */

#define KEYS 20000

static uint8_t owners[KEYS]; /* by key, from 0: the texts' last number */

static unsigned int owner(struct pool *pool, unsigned int key)
{
	struct addr source = address("192.0.2.1:1"), addr;
	struct pool_tries tries = { 0 };

	source.in.sin_addr.s_addr += htonl(key);
	tries.key = pool_key(pool, &source, "");
	assert_non_null(pool_pick(pool, &tries, NOW, &addr));
	return ntohl(addr.in.sin_addr.s_addr) % 256 - 1;
}

static void owners_fill(struct pool *pool)
{
	for (unsigned int key = 0; key < KEYS; key++)
		owners[key] = (uint8_t)owner(pool, key);
}

#define RING 10

static void keys_are_shared_out_by_weight(void **state)
{
	unsigned int have[RING] = { 0 };
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, RING);
	many.backends[4].weight = 5;
	pool = many_open(&many);
	owners_fill(pool);
	for (unsigned int key = 0; key < KEYS; key++)
		have[owners[key]]++;
	for (unsigned int i = 0; i < RING; i++)
		assert_in_range(have[i], KEYS * (i == 4 ? 5 : 1) / 14 * 90 / 100,
				KEYS * (i == 4 ? 5 : 1) / 14 * 110 / 100);
	pool_free(pool);
}

/* One of ten leaves: its own keys move, to all of the others, and no other key; and all come back. */
static void only_the_keys_of_who_leaves_move(void **state)
{
	unsigned int moved = 0, have[RING] = { 0 };
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, RING);
	pool = many_open(&many);
	owners_fill(pool);
	backend_set_sick(pool_backend(pool, 3), true);
	for (unsigned int key = 0; key < KEYS; key++) {
		unsigned int now = owner(pool, key);

		if (owners[key] != 3)
			assert_int_equal(now, owners[key]);
		moved += now != owners[key];
		have[now] += owners[key] == 3;
	}
	assert_in_range(moved, KEYS / RING * 95 / 100, KEYS / RING * 105 / 100);
	for (unsigned int i = 0; i < RING; i++)
		if (i != 3)
			assert_in_range(have[i], moved / (RING - 1) * 75 / 100,
					moved / (RING - 1) * 125 / 100);
	backend_set_sick(pool_backend(pool, 3), false);
	for (unsigned int key = 0; key < KEYS; key++)
		assert_int_equal(owner(pool, key), owners[key]);
	pool_free(pool);
}

/* One of ten is taken out of the file: some of the others' keys move, too. */
static void little_moves_when_the_file_changes(void **state)
{
	unsigned int moved = 0;
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, RING);
	pool = many_open(&many);
	owners_fill(pool);
	pool_free(pool);
	many.config.backends_len--; /* the last one */
	pool = many_open(&many);
	for (unsigned int key = 0; key < KEYS; key++)
		moved += owner(pool, key) != owners[key];
	assert_in_range(moved, KEYS / RING * 95 / 100, KEYS / RING * 110 / 100);
	pool_free(pool);
}

static void the_order_in_the_file_does_not_matter(void **state)
{
	struct config_backend swap;
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, RING);
	pool = many_open(&many);
	owners_fill(pool);
	pool_free(pool);
	swap = many.backends[0];
	many.backends[0] = many.backends[7];
	many.backends[7] = swap;
	pool = many_open(&many);
	for (unsigned int key = 0; key < KEYS; key++)
		assert_int_equal(owner(pool, key), owners[key]);
	pool_free(pool);
}

/* 990 of 1000: nobody is met in the table for a long while. */
static void few_that_are_left_keep_their_keys(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, MANY);
	pool = many_open(&many);
	for (unsigned int i = 10; i < MANY; i++)
		backend_set_sick(pool_backend(pool, i), true);
	owners_fill(pool);
	backend_set_sick(pool_backend(pool, 3), true);
	for (unsigned int key = 0; key < KEYS; key++) {
		unsigned int now = owner(pool, key);

		if (owners[key] == 3)
			assert_int_not_equal(now, 3);
		else
			assert_int_equal(now, owners[key]);
	}
	pool_free(pool);
}

static void what_the_hash_goes_by(void **state)
{
	struct addr a = address("192.0.2.1:1"), a_later = address("192.0.2.1:2");
	struct addr mapped = address("[::ffff:192.0.2.1]:1"), b = address("192.0.2.2:1");
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_HASH, 1);
	pool = many_open(&many);
	assert_int_equal(pool_key(pool, &a, "x"), pool_key(pool, &a_later, "y"));
	assert_int_equal(pool_key(pool, &a, ""), pool_key(pool, &mapped, ""));
	assert_int_not_equal(pool_key(pool, &a, "x"), pool_key(pool, &b, "x"));
	many.config.hash = HASH_NAME;
	assert_int_equal(pool_key(pool, &a, "x"), pool_key(pool, &b, "x"));
	assert_int_not_equal(pool_key(pool, &a, "x"), pool_key(pool, &a, "y"));
	assert_int_not_equal(pool_key(pool, &a, ""), pool_key(pool, &b, "")); /* no name */
	many.config.hash = HASH_SOURCE_NAME;
	assert_int_equal(pool_key(pool, &a, "x"), pool_key(pool, &a_later, "x"));
	assert_int_not_equal(pool_key(pool, &a, "x"), pool_key(pool, &b, "x"));
	assert_int_not_equal(pool_key(pool, &a, "x"), pool_key(pool, &a, "y"));
	pool_free(pool);
}

/* ---- backups, limits, slow starts; with each policy ---- */

static void backups_are_for_when_nobody_else_is_left(void **state)
{
	(void)state;
	for (int policy = 0; policy < POOL_POLICIES; policy++) {
		struct pool_tries tries = { 0 };
		struct pool *pool;
		struct addr addr;

		many_fill(&many, (enum pool_policy)policy, 3);
		many.backends[0].backup = true;
		pool = many_open(&many);
		for (int i = 0; i < 10; i++)
			assert_int_not_equal(pick_one(pool), 0);
		backend_set_sick(pool_backend(pool, 1), true);
		backend_set_sick(pool_backend(pool, 2), true);
		assert_int_equal(pick_one(pool), 0);
		backend_set_sick(pool_backend(pool, 1), false);
		assert_int_equal(pick_one(pool), 1);
		pool_pick(pool, &tries, NOW, &addr); /* this one fails */
		assert_ptr_equal(pool_pick(pool, &tries, NOW, &addr), pool_backend(pool, 0));
		assert_null(pool_pick(pool, &tries, NOW, &addr));
		pool_free(pool);
	}
}

static void who_is_full_gets_no_more(void **state)
{
	(void)state;
	for (int policy = 0; policy < POOL_POLICIES; policy++) {
		struct pool *pool;

		many_fill(&many, (enum pool_policy)policy, 40);
		for (int i = 0; i < 39; i++)
			many.backends[i].flows_max = 2;
		many.backends[39].flows_max = 5;
		pool = many_open(&many);
		for (int i = 0; i < 2 * 39 + 5; i++)
			assert_int_not_equal(pick_one(pool), -1);
		assert_int_equal(pick_one(pool), -1);
		assert_int_equal(pool_lack(pool, NOW), POOL_LACKS_ROOM);
		for (unsigned int i = 0; i < 40; i++)
			assert_int_equal(pool_backend(pool, i)->flows, i < 39 ? 2 : 5);
		backend_release(pool_backend(pool, 17));
		assert_int_equal(pick_one(pool), 17);
		pool_free(pool);
	}
}

/* Of @picks, at a time, those that go to the one that came back. */
static unsigned int part_at(struct pool *pool, uint64_t now_ms, unsigned int picks)
{
	uint64_t before = chosen(pool, 0);

	for (unsigned int i = 0; i < picks; i++) {
		struct pool_tries tries = { .key = i * UINT64_C(0x9e3779b97f4a7c15) };
		struct addr addr;
		struct backend *backend = pool_pick(pool, &tries, now_ms, &addr);

		backend_release(backend);
	}
	return (unsigned int)(chosen(pool, 0) - before);
}

static void a_share_grows_after_a_return(void **state)
{
	static const enum pool_policy policies[] = { POOL_ROUND_ROBIN, POOL_LEAST_FLOWS,
						     POOL_HASH };

	(void)state;
	for (int p = 0; p < 3; p++) {
		struct pool *pool;
		uint64_t back;

		many_fill(&many, policies[p], 2);
		many.config.slow_ms = 10000;
		pool = many_open(&many);
		/* At the start nobody has come back. */
		assert_in_range(part_at(pool, NOW, 1000), 450, 550);
		backend_set_sick(pool_backend(pool, 0), true);
		assert_int_equal(part_at(pool, NOW, 100), 0);
		backend_set_sick(pool_backend(pool, 0), false);
		back = backend_since(pool_backend(pool, 0));
		assert_in_range(part_at(pool, back, 1000), 30, 130);
		assert_in_range(part_at(pool, back + 3000, 1000), 110, 280);
		assert_in_range(part_at(pool, back + 6000, 1000), 250, 420);
		assert_in_range(part_at(pool, back + 10000, 1000), 450, 550);
		pool_free(pool);
	}
}

static void who_starts_slowly_and_alone_serves_all(void **state)
{
	(void)state;
	for (int policy = 0; policy < POOL_POLICIES; policy++) {
		struct pool *pool;

		many_fill(&many, (enum pool_policy)policy, 2);
		many.config.slow_ms = 1000000;
		pool = many_open(&many);
		backend_set_sick(pool_backend(pool, 0), true);
		backend_set_sick(pool_backend(pool, 1), true);
		backend_set_sick(pool_backend(pool, 0), false);
		assert_int_equal(part_at(pool, backend_since(pool_backend(pool, 0)), 100), 100);
		pool_free(pool);
	}
}

static void who_is_new_in_the_file_starts_slowly(void **state)
{
	struct pool *pool, *next;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 3);
	many.config.backends_len = 2;
	pool = many_open(&many);
	many.config.backends_len = 3;
	next = pool_new(&many.config, pool);
	assert_int_equal(backend_since(pool_backend(next, 0)), 0);
	assert_int_not_equal(backend_since(pool_backend(next, 2)), 0);
	pool_free(pool);
	pool_free(next);
}

/* ---- ejection ---- */

static uint64_t failures(struct pool *pool, unsigned int index, uint64_t now_ms, int times)
{
	uint64_t for_ms = 0;

	for (int i = 0; i < times; i++)
		for_ms = pool_failed(pool, pool_backend(pool, index), now_ms);
	return for_ms;
}

static void failures_in_a_row_eject(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 2);
	pool = many_open(&many);
	assert_int_equal(failures(pool, 0, NOW, 2), 0);
	backend_answered(pool_backend(pool, 0));
	assert_int_equal(failures(pool, 0, NOW, 2), 0);
	assert_int_equal(failures(pool, 0, NOW, 1), 1000);
	assert_int_equal(pool_backend(pool, 0)->failed, 5);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(pick_at(pool, NOW + 999), pool_backend(pool, 1));
	for (int i = 0; i < 4; i++)
		pick_at(pool, NOW + 1000);
	assert_int_equal(chosen(pool, 0), 2);
	pool_free(pool);
}

static void pauses_grow_until_one_answers(void **state)
{
	uint64_t now_ms = NOW;
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 4);
	pool = many_open(&many);
	failures(pool, 0, now_ms, 2);
	for (int i = 0; i < 8; i++) {
		uint64_t for_ms = 1000u << (i < 5 ? i : 5);

		assert_int_equal(failures(pool, 0, now_ms, 1), for_ms);
		assert_int_equal(failures(pool, 0, now_ms, 9), 0); /* that were under way */
		now_ms += for_ms;
	}
	backend_answered(pool_backend(pool, 0));
	assert_int_equal(failures(pool, 0, now_ms, 2), 0);
	assert_int_equal(failures(pool, 0, now_ms, 1), 1000);
	pool_free(pool);
}

static void never_more_than_the_share_of_a_pool(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 5);
	pool = many_open(&many);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(failures(pool, i, NOW, 3), i < 2 ? 1000 : 0);
	assert_int_equal(failures(pool, 2, NOW + 1000, 1), 1000); /* the others are back */
	pool_free(pool);
	many.config.backends_len = 1;
	pool = many_open(&many);
	assert_int_equal(failures(pool, 0, NOW, 9), 0);
	pool_free(pool);
}

static void an_ejection_survives_a_reload(void **state)
{
	struct pool *pool, *next;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 2);
	pool = many_open(&many);
	failures(pool, 0, NOW, 3);
	next = pool_new(&many.config, pool);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pick_one(next), 1);
	pool_free(pool);
	pool_free(next);
}

static void where_it_is_off_nobody_is_ejected(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 2);
	many.config.eject.failures = 0;
	pool = many_open(&many);
	assert_int_equal(failures(pool, 0, NOW, 100), 0);
	assert_int_equal(pool_backend(pool, 0)->failed, 100);
	pool_free(pool);
}

/* ---- nobody is valid ---- */

static void when_all_are_sick_all_are_used(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 3);
	pool = many_open(&many);
	backend_set_sick(pool_backend(pool, 0), true);
	backend_set_sick(pool_backend(pool, 1), true);
	backend_set_admin(pool_backend(pool, 2), BACKEND_DRAIN);
	assert_int_equal(pool_panicked(pool), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pick_one(pool), i % 2);
	assert_int_equal(pool_panicked(pool), 4);
	backend_set_sick(pool_backend(pool, 1), false);
	assert_int_equal(pick_one(pool), 1);
	assert_int_equal(pick_one(pool), 1);
	assert_int_equal(pool_panicked(pool), 4);
	pool_free(pool);
}

static void who_is_sick_for_certain_is_not_used(void **state)
{
	struct pool *pool;

	(void)state;
	many_fill(&many, POOL_ROUND_ROBIN, 2);
	many.config.reset = true;
	pool = many_open(&many);
	backend_set_sick(pool_backend(pool, 0), true);
	backend_set_sick(pool_backend(pool, 1), true);
	assert_int_equal(pick_one(pool), -1);
	assert_int_equal(pool_lack(pool, NOW), POOL_LACKS_VALID);
	pool_free(pool);
}

static void each_lack_has_its_name(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		backend_set_admin(pool_backend(pool, i), i == 0 ? BACKEND_DOWN : BACKEND_DRAIN);
	assert_int_equal(pick_one(pool), -1);
	assert_int_equal(pool_lack(pool, NOW), POOL_LACKS_VALID);
	pool_free(pool);
	config.backends = &backend_configs[3];
	config.backends_len = 1;
	pool = pool_new(&config, NULL);
	assert_int_equal(pick_one(pool), -1);
	assert_int_equal(pool_lack(pool, NOW), POOL_LACKS_ADDRESS);
	pool_free(pool);
}

/* ---- threads ---- */

#define THREADS 4
#define PICKS	3000 /* by each; divisible by the backends */

static void *pick_and_release(void *arg)
{
	struct pool *pool = arg;
	struct backend *held[3] = { NULL };

	for (int i = 0; i < PICKS; i++) {
		struct pool_tries tries = { 0 };
		struct backend **slot = &held[i % 3];
		struct addr addr;

		if (*slot)
			backend_release(*slot);
		*slot = pool_pick(pool, &tries, NOW, &addr);
		if (i % 100 == 0)
			backend_set_addrs(pool_backend(pool, 3), &addr, 1);
	}
	for (int i = 0; i < 3; i++)
		backend_release(held[i]);
	return NULL;
}

static void run_threads(struct pool *pool)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pick_and_release, pool), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void threads_share_out_turns_evenly(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_ROUND_ROBIN, BACKENDS);
	struct addr addr = address("10.0.0.9:1");

	(void)state;
	backend_set_addrs(pool_backend(pool, 3), &addr, 1);
	run_threads(pool);
	for (unsigned int i = 0; i < BACKENDS; i++) {
		assert_int_equal(atomic_load(&pool_backend(pool, i)->chosen),
				 THREADS * PICKS / BACKENDS);
		assert_int_equal(atomic_load(&pool_backend(pool, i)->flows), 0);
	}
	pool_free(pool);
}

static void threads_lose_no_flow(void **state)
{
	struct config_pool config;
	struct pool *pool = pool_of(&config, POOL_LEAST_FLOWS, BACKENDS);
	uint64_t chosen = 0;

	(void)state;
	run_threads(pool);
	for (unsigned int i = 0; i < BACKENDS; i++) {
		chosen += atomic_load(&pool_backend(pool, i)->chosen);
		assert_int_equal(atomic_load(&pool_backend(pool, i)->flows), 0);
	}
	assert_int_equal(chosen, THREADS * PICKS);
	pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_go_round),
		cmocka_unit_test(a_name_without_an_address_is_passed_over),
		cmocka_unit_test(who_is_not_valid_is_passed_over),
		cmocka_unit_test(each_backend_is_tried_once),
		cmocka_unit_test(only_names_and_no_address_is_no_backend),
		cmocka_unit_test(addresses_of_a_name_take_turns_and_are_all_tried),
		cmocka_unit_test(other_backends_are_tried_before_other_addresses),
		cmocka_unit_test(tries_have_an_end),
		cmocka_unit_test(the_fewest_flows_win_and_equals_take_turns),
		cmocka_unit_test(an_empty_answer_keeps_the_addresses),
		cmocka_unit_test(a_backend_is_found_by_its_address),
		cmocka_unit_test(what_is_known_of_a_backend_outlives_its_pool),
		cmocka_unit_test(a_source_stands_for_what_it_says),
		cmocka_unit_test(a_source_keeps_what_it_said_over_a_reload),
		cmocka_unit_test(ranks_are_for_when_nobody_before_can_be_used),
		cmocka_unit_test(a_text_that_is_written_twice_is_two_backends),
		cmocka_unit_test(the_turn_goes_on_in_the_next_pool),
		cmocka_unit_test(turns_go_by_weight_all_the_time),
		cmocka_unit_test(heavy_turns_are_spread),
		cmocka_unit_test(a_reload_changes_weights_and_keeps_the_turns),
		cmocka_unit_test(the_fewest_flows_for_the_weight_win),
		cmocka_unit_test(without_flows_turns_go_by_weight),
		cmocka_unit_test(who_was_taken_out_of_turn_is_not_left_out),
		cmocka_unit_test(among_many_flows_are_level),
		cmocka_unit_test(the_first_is_the_first_that_is_left),
		cmocka_unit_test(keys_are_shared_out_by_weight),
		cmocka_unit_test(only_the_keys_of_who_leaves_move),
		cmocka_unit_test(little_moves_when_the_file_changes),
		cmocka_unit_test(the_order_in_the_file_does_not_matter),
		cmocka_unit_test(few_that_are_left_keep_their_keys),
		cmocka_unit_test(what_the_hash_goes_by),
		cmocka_unit_test(backups_are_for_when_nobody_else_is_left),
		cmocka_unit_test(who_is_full_gets_no_more),
		cmocka_unit_test(a_share_grows_after_a_return),
		cmocka_unit_test(who_starts_slowly_and_alone_serves_all),
		cmocka_unit_test(who_is_new_in_the_file_starts_slowly),
		cmocka_unit_test(failures_in_a_row_eject),
		cmocka_unit_test(pauses_grow_until_one_answers),
		cmocka_unit_test(never_more_than_the_share_of_a_pool),
		cmocka_unit_test(an_ejection_survives_a_reload),
		cmocka_unit_test(where_it_is_off_nobody_is_ejected),
		cmocka_unit_test(when_all_are_sick_all_are_used),
		cmocka_unit_test(who_is_sick_for_certain_is_not_used),
		cmocka_unit_test(each_lack_has_its_name),
		cmocka_unit_test(threads_share_out_turns_evenly),
		cmocka_unit_test(threads_lose_no_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
