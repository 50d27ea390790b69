// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - turns are fair, the fewest flows win, and counters add up under threads
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../../paths/pool.h"

#define BACKENDS 4
#define NOW	 1000 /* ms */

/* The last one has a name. */
static struct config_backend backend_configs[BACKENDS] = {
	{ .text = "10.0.0.1:1" },
	{ .text = "10.0.0.2:1" },
	{ .text = "10.0.0.3:1" },
	{ .text = "name:1", .host = "name", .port = 1 },
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
	for (int i = 0; i < 4; i++)
		assert_int_equal(pick_one(pool), (3 + i) % 4);
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
		assert_int_equal(pick_one(pool), 1 + i % 2);
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
	assert_int_equal(pick_one(pool), 2);
	assert_int_equal(pick_one(pool), 0);
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
					      { .text = "10.0.0.9:1" } };
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

static void a_text_that_is_written_twice_is_two_backends(void **state)
{
	struct config_backend twice[] = { { .text = "10.0.0.1:1" }, { .text = "10.0.0.1:1" } };
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
		cmocka_unit_test(a_text_that_is_written_twice_is_two_backends),
		cmocka_unit_test(the_turn_goes_on_in_the_next_pool),
		cmocka_unit_test(threads_share_out_turns_evenly),
		cmocka_unit_test(threads_lose_no_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
