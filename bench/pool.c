// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - what a choice of a backend costs, by policy
 *
 * A thousand backends of unlike weights, a live flow per choice that ends a
 * thousand choices later. Lines are "POLICY N ns"; N is the median of the rounds.
 * With an argument, as many backends as it says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../paths/pool.h"

#define BACKENDS 1000
#define LIVE	 1000  /* flows at a time */
#define CHOICES	 50000 /* per round */
#define ROUNDS	 9

static const char *const policies[POOL_POLICIES] = {
	[POOL_ROUND_ROBIN] = "round-robin",
	[POOL_LEAST_FLOWS] = "least-flows",
	[POOL_FIRST] = "first",
	[POOL_HASH] = "hash",
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fill(struct config_backend *backend, unsigned int i)
{
	char text[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), "10.0.%u.%u:443", i / 250, i % 250 + 1);
	backend->text = strdup(text);
	backend->weight = 1 + i % 7;
	if (!backend->text || addr_parse(text, &backend->addr) < 0)
		exit(1);
}

/* ns per choice, its key included */
static double round_cost(struct pool *pool, struct backend **live)
{
	uint64_t began = now_ns();

	for (unsigned int i = 0; i < CHOICES; i++) {
		struct addr client = { .in = { AF_INET, 1, { i * 2654435761u }, { 0 } } }, to;
		struct pool_tries tries = { .key = pool_key(pool, &client, "") };
		struct backend **slot = &live[i % LIVE];

		if (*slot)
			backend_release(*slot);
		*slot = pool_pick(pool, &tries, 1000, &to);
	}
	return (double)(now_ns() - began) / CHOICES;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(enum pool_policy policy, struct config_backend *backends, unsigned int len)
{
	struct config_pool config = {
		.name = "p", .policy = policy, .backends = backends, .backends_len = len
	};
	struct pool *pool = pool_new(&config, NULL);
	struct backend *live[LIVE] = { NULL };
	double costs[ROUNDS];

	if (!pool)
		exit(1);
	round_cost(pool, live);
	for (int i = 0; i < ROUNDS; i++)
		costs[i] = round_cost(pool, live);
	qsort(costs, ROUNDS, sizeof(costs[0]), compare);
	printf("%s %.0f ns\n", policies[policy], costs[ROUNDS / 2]);
	pool_free(pool);
}

int main(int argc, char **argv)
{
	unsigned int len = argc > 1 ? (unsigned int)atoi(argv[1]) : BACKENDS;
	struct config_backend *backends = calloc(len, sizeof(*backends));

	if (len == 0 || len > CONFIG_BACKENDS_MAX || !backends)
		return 2;
	for (unsigned int i = 0; i < len; i++)
		fill(&backends[i], i);
	for (int policy = 0; policy < POOL_POLICIES; policy++)
		measure((enum pool_policy)policy, backends, len);
	return 0;
}
