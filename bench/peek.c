// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek.c - what it costs to read first bytes, and to find a route among ten thousand
 *
 *	peek FILE...	each has the first bytes of a connection
 *
 * Lines are "CASE N ns"; N is the median of the rounds. A tenth of the rules are wildcards. Names
 * are looked up in random order, so that rules come from memory as they would for a gateway with
 * as many sites.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../gateway/route.h"

#define FIRST_MAX 20000
#define RULES	  10000
#define WILD	  10	/* every so many-th rule is a wildcard */
#define LOOKS	  20000 /* per round */
#define ROUNDS	  9

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* @round: does what is to be measured LOOKS times */
static void measure(const char *prefix, const char *name, void (*round)(void *), void *arg)
{
	double costs[ROUNDS];

	round(arg);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t began = now_ns();

		round(arg);
		costs[i] = (double)(now_ns() - began) / LOOKS;
	}
	qsort(costs, ROUNDS, sizeof(costs[0]), compare);
	printf("%s_%s %.0f ns\n", prefix, name, costs[ROUNDS / 2]);
}

/* ---- first bytes ---- */

struct first {
	uint8_t bytes[FIRST_MAX];
	size_t len;
};

static void peeks(void *arg)
{
	const struct peek_rules rules = { .targets = true };
	const struct first *first = arg;

	for (int i = 0; i < LOOKS; i++) {
		struct talk talk;
		struct hello hello;

		if (peek_first(&rules, &talk, first->bytes, first->len, &hello) != PEEK_FOUND)
			exit(1);
	}
}

static void file_measure(const char *path)
{
	const char *slash = strrchr(path, '/');
	static struct first first;
	FILE *f = fopen(path, "r");

	if (!f)
		exit(1);
	first.len = fread(first.bytes, 1, sizeof(first.bytes), f);
	fclose(f);
	measure("peek", slash ? slash + 1 : path, peeks, &first);
}

/* ---- routes ---- */

struct looks {
	const struct route_table *table;
	struct hello *hellos; /* LOOKS of them */
	bool found;
};

static void finds(void *arg)
{
	const struct looks *l = arg;

	for (int i = 0; i < LOOKS; i++)
		if (!route_find(l->table, &l->hellos[i]) == l->found)
			exit(1);
}

static void rule_name(char *out, size_t size, const char *before, unsigned int i)
{
	snprintf(out, size, "%ssite%u.example.%s", before, i, i % 3 ? "org" : "net");
}

/* @wild: names below wildcards; @found: else of rules that there are not */
static void hellos_fill(struct hello *hellos, bool wild, bool found)
{
	memset(hellos, 0, LOOKS * sizeof(*hellos));
	for (unsigned int i = 0; i < LOOKS; i++) {
		unsigned int rule = (unsigned int)rand() % RULES;

		rule = wild ? rule - rule % WILD : rule % WILD ? rule : rule + 1;
		hellos[i].protocol = PEEK_PROTOCOL_TLS;
		rule_name(hellos[i].name, sizeof(hellos[i].name), wild ? "www.shop." : "",
			  found ? rule : rule + RULES);
	}
}

static void routes_measure(void)
{
	struct config_route *routes = calloc(RULES, sizeof(*routes));
	const struct config_listener listener = { .routes = routes, .routes_len = RULES };
	struct looks l = { .hellos = calloc(LOOKS, sizeof(*l.hellos)) };
	struct route_table *table;
	char name[PEEK_NAME_MAX];

	if (!routes || !l.hellos)
		exit(1);
	for (unsigned int i = 0; i < RULES; i++) {
		rule_name(name, sizeof(name), i % WILD ? "" : "*.", i);
		routes[i].tls = strdup(name);
	}
	l.table = table = route_table_new(&listener);
	if (!table)
		exit(1);
	l.found = true;
	hellos_fill(l.hellos, false, true);
	measure("route", "name", finds, &l);
	hellos_fill(l.hellos, true, true);
	measure("route", "wildcard", finds, &l);
	l.found = false;
	hellos_fill(l.hellos, false, false);
	measure("route", "none", finds, &l);
	route_table_free(table);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		file_measure(argv[i]);
	routes_measure();
	return 0;
}
