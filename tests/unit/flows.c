// SPDX-License-Identifier: GPL-2.0-only
/*
 * flows.c - ends of flows find their backends, over a made-up library
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../gateway/flows.h"
#include "../../gateway/setup.h"

#define FLOWS 3

/* ---- the fakes ---- */

static struct ladon_flow listed[FLOWS];
static unsigned int killed;

int ladon_flow_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_flow *), void *arg)
{
	int rc = 0;

	(void)ladon;
	for (size_t i = 0; i < FLOWS && rc == 0; i++)
		rc = fn(arg, &listed[i]);
	return rc;
}

int ladon_flow_kill(struct ladon *ladon, const struct ladon_flow *flow)
{
	(void)ladon;
	killed++;
	return flow->state == LADON_FLOW_OPEN ? 0 : -ENOENT;
}

/* ---- two pools with an address in common, and a name ---- */

static struct config_backend a_backends[2], b_backends[1], c_backends[1];
static struct config_pool config_pools[] = {
	{ .name = "a", .backends = a_backends, .backends_len = 2 },
	{ .name = "b", .backends = b_backends, .backends_len = 1 },
	{ .name = "c", .backends = c_backends, .backends_len = 1 },
};
static struct config config = { .pools = config_pools, .pools_len = 3 };
static struct pool *pools[3];
static struct gateway gateway;
static struct setup setup_now = { .config = &config, .pools = pools };
static struct flows *flows;

static struct addr address(const char *text)
{
	struct addr out;

	assert_int_equal(addr_parse(text, &out), 0);
	return out;
}

static struct ladon_flow flow_to(const char *backend)
{
	struct addr to = address(backend);
	struct ladon_flow flow = { .id = 1 };

	memcpy(&flow.backend, &to, sizeof(to));
	flow.client = flow.backend;
	return flow;
}

static int setup(void **state)
{
	struct addr named = address("10.0.0.9:80");

	(void)state;
	a_backends[0].addr = address("10.0.0.2:80");
	a_backends[0].text = (char *)"10.0.0.2:80";
	a_backends[1].addr = address("10.0.0.1:80");
	a_backends[1].text = (char *)"10.0.0.1:80";
	b_backends[0].addr = address("10.0.0.2:80");
	b_backends[0].text = (char *)"10.0.0.2:80";
	c_backends[0].host = "name";
	c_backends[0].text = (char *)"name:80";
	for (unsigned int i = 0; i < config.pools_len; i++)
		pools[i] = pool_new(&config_pools[i], NULL);
	backend_set_addrs(pool_backend(pools[2], 0), &named, 1);
	flows = flows_new(&gateway);
	return flows ? flows_follow(flows, &setup_now) : -1;
}

static int teardown(void **state)
{
	(void)state;
	flows_free(flows);
	for (unsigned int i = 0; i < config.pools_len; i++)
		pool_free(pools[i]);
	return 0;
}

static struct backend *backend_with(unsigned int pool, unsigned int index, uint64_t relayed,
				    uint64_t handed_off)
{
	struct backend *backend = pool_backend(pools[pool], index);

	backend->flows = relayed + handed_off;
	backend->flows_handed_off = handed_off;
	return backend;
}

static void end(const char *backend)
{
	struct ladon_flow flow = flow_to(backend);

	flows_ended(flows, &flow, LADON_END_FIN);
}

static void assert_counts(const struct backend *backend, uint64_t relayed, uint64_t handed_off)
{
	assert_int_equal(backend->flows_handed_off, handed_off);
	assert_int_equal(backend->flows, relayed + handed_off);
}

/* ---- tests ---- */

static void test_the_backend_is_found_by_address(void **state)
{
	struct backend *second = backend_with(0, 1, 0, 2), *first = backend_with(0, 0, 0, 2);

	(void)state;
	end("10.0.0.1:80");
	assert_counts(second, 0, 1);
	assert_counts(first, 0, 2);
}

static void test_of_two_pools_with_the_address_the_busier_one_loses(void **state)
{
	struct backend *a = backend_with(0, 0, 5, 1), *b = backend_with(1, 0, 0, 2);

	(void)state;
	end("10.0.0.2:80");
	assert_counts(b, 0, 1);
	end("10.0.0.2:80");
	end("10.0.0.2:80");
	assert_counts(a, 5, 0);
	assert_counts(b, 0, 0);
}

static void test_a_relayed_flow_is_never_taken(void **state)
{
	struct backend *a = backend_with(0, 0, 3, 0);

	(void)state;
	end("10.0.0.2:80");
	assert_counts(a, 3, 0);
}

static void test_an_address_that_nobody_has_is_an_older_one_of_a_name(void **state)
{
	struct backend *named = backend_with(2, 0, 1, 1), *fixed = backend_with(0, 0, 0, 4);

	(void)state;
	end("10.0.0.77:80");
	assert_counts(named, 1, 0);
	end("10.0.0.77:80");
	assert_counts(named, 1, 0);
	assert_counts(fixed, 0, 4);
}

static void test_flows_of_a_former_daemon_are_counted(void **state)
{
	struct backend *named = backend_with(2, 0, 0, 0), *fixed = backend_with(0, 1, 0, 0);

	(void)state;
	listed[0] = flow_to("10.0.0.9:80");
	listed[1] = flow_to("10.0.0.1:80");
	listed[2] = flow_to("10.0.0.1:80");
	listed[2].state = LADON_FLOW_KILLED;
	flows_adopt(flows);
	assert_counts(named, 0, 1);
	assert_counts(fixed, 0, 1); /* the end of a killed one was told already */
}

static void test_kill_says_how_many(void **state)
{
	(void)state;
	for (size_t i = 0; i < FLOWS; i++)
		listed[i] = flow_to("10.0.0.1:80");
	listed[1].state = LADON_FLOW_CLOSED;
	assert_int_equal(flows_kill(&gateway), 2);
	assert_int_equal(killed, 3);
}

static void test_a_removed_backend_is_known_until_its_last_flow_ends(void **state)
{
	struct backend *removed = backend_with(1, 0, 0, 1), *named = backend_with(2, 0, 0, 3);
	struct config fewer = config;
	struct setup next = { .config = &fewer, .pools = pools };

	(void)state;
	backend_hold(removed);
	fewer.pools_len = 1;
	assert_int_equal(flows_follow(flows, &next), 0);
	end("10.0.0.2:80");
	assert_counts(removed, 0, 0);
	assert_counts(named, 0, 3); /* kept, and not taken for it */
	backend_drop(removed);
}

static void test_a_removed_backend_is_forgotten_afterwards(void **state)
{
	static struct config_backend gone_backends[1];
	static const struct config_pool gone = { .name = "gone",
						 .backends = gone_backends,
						 .backends_len = 1 };
	struct config one = { .pools = (struct config_pool *)&gone, .pools_len = 1 };
	struct pool *pool;
	struct setup with = { .config = &one, .pools = &pool };
	struct backend *backend;

	(void)state;
	gone_backends[0] = a_backends[0];
	pool = pool_new(&gone, NULL);
	backend = pool_backend(pool, 0);
	backend_hold(backend);
	assert_int_equal(flows_follow(flows, &with), 0);
	pool_free(pool);
	assert_int_equal(flows_follow(flows, &setup_now), 0);
	assert_int_equal(backend->holders, 2); /* the test holds it: it may get flows */
	backend_drop(backend);
	assert_int_equal(flows_follow(flows, &setup_now), 0); /* else ASan tells of a leak */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_the_backend_is_found_by_address),
		TEST(test_of_two_pools_with_the_address_the_busier_one_loses),
		TEST(test_a_relayed_flow_is_never_taken),
		TEST(test_an_address_that_nobody_has_is_an_older_one_of_a_name),
		TEST(test_flows_of_a_former_daemon_are_counted),
		TEST(test_kill_says_how_many),
		TEST(test_a_removed_backend_is_known_until_its_last_flow_ends),
		TEST(test_a_removed_backend_is_forgotten_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
