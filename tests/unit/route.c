// SPDX-License-Identifier: GPL-2.0-only
/*
 * route.c - the most specific rule wins, as a walk over all rules would find it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../base/own.h"
#include "../../gateway/route.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define ALPN_H2	    "\2h2"
#define ALPN_BOTH   "\2h2\10http/1.1"

static struct hello hello_of(enum peek_protocol protocol, const char *name, const char *more)
{
	struct hello hello = { .protocol = protocol };

	snprintf(hello.name, sizeof(hello.name), "%s", name);
	if (protocol == PEEK_PROTOCOL_TLS) {
		hello.alpn_len = strlen(more);
		memcpy(hello.alpn, more, hello.alpn_len);
	} else {
		snprintf(hello.path, sizeof(hello.path), "%s", more);
	}
	return hello;
}

/* ---- one table, by hand ---- */

enum {
	EXACT,
	EXACT_H2,
	WILD,
	WILD_H3,
	WILD_LONGER,
	ANY_TLS_H2,
	HOST,
	HOST_API,
	HOST_API_V2,
	WILD_HOST_API,
	ANY_HOST,
	ANY_HOST_DOT,
	WORDS,
	REGEX,
	TARGET,
	WILD_TARGET,
	DEFAULT,
	NONE = -1,
};

static struct config_route rules[] = {
	[DEFAULT] = { 0 },
	[WORDS] = { .starts = "SSH-" },
	[REGEX] = { .regex = "x+y" },
	[EXACT] = { .tls = "example.org" },
	[EXACT_H2] = { .tls = "example.org", .alpn = "h2" },
	[WILD] = { .tls = "*.example.org" },
	[WILD_H3] = { .tls = "*.b.example.org", .alpn = "h3" },
	[WILD_LONGER] = { .tls = "*.c.example.org" },
	[ANY_TLS_H2] = { .tls = "*", .alpn = "h2" },
	[HOST] = { .http_host = "example.org" },
	[HOST_API] = { .http_host = "example.org", .http_path = "/api/" },
	[HOST_API_V2] = { .http_host = "example.org", .http_path = "/api/v2/" },
	[WILD_HOST_API] = { .http_host = "*.example.org", .http_path = "/api/" },
	[ANY_HOST] = { .http_host = "*" },
	[TARGET] = { .target = "example.org" },
	[WILD_TARGET] = { .target = "*.example.org" },
	[ANY_HOST_DOT] = { .http_host = "*", .http_path = "/.well-known/" },
};

static const struct {
	const char *name;
	enum peek_protocol protocol;
	const char *host;
	const char *more;
	int want;
} rows[] = {
	{ "the name itself", PEEK_PROTOCOL_TLS, "example.org", "", EXACT },
	{ "an ALPN before none", PEEK_PROTOCOL_TLS, "example.org", ALPN_BOTH, EXACT_H2 },
	{ "one label", PEEK_PROTOCOL_TLS, "a.example.org", "", WILD },
	{ "two labels", PEEK_PROTOCOL_TLS, "x.a.example.org", "", WILD },
	{ "a wildcard before an ALPN", PEEK_PROTOCOL_TLS, "a.example.org", ALPN_H2, WILD },
	{ "an ALPN not offered falls to the next", PEEK_PROTOCOL_TLS, "a.b.example.org", ALPN_H2,
	  WILD },
	{ "the longer wildcard", PEEK_PROTOCOL_TLS, "a.c.example.org", "", WILD_LONGER },
	{ "a wildcard wants a label", PEEK_PROTOCOL_TLS, "c.example.org", "", WILD },
	{ "not only an ending", PEEK_PROTOCOL_TLS, "notexample.org", "", DEFAULT },
	{ "an empty label is none", PEEK_PROTOCOL_TLS, ".example.org", "", DEFAULT },
	{ "any name by ALPN", PEEK_PROTOCOL_TLS, "example.net", ALPN_H2, ANY_TLS_H2 },
	{ "no name by ALPN", PEEK_PROTOCOL_TLS, "", ALPN_H2, ANY_TLS_H2 },
	{ "no name", PEEK_PROTOCOL_TLS, "", "", DEFAULT },
	{ "a host", PEEK_PROTOCOL_HTTP1, "example.org", "/", HOST },
	{ "a path", PEEK_PROTOCOL_HTTP1, "example.org", "/api/x", HOST_API },
	{ "a longer path", PEEK_PROTOCOL_HTTP1, "example.org", "/api/v2/x", HOST_API_V2 },
	{ "between two paths", PEEK_PROTOCOL_HTTP1, "example.org", "/api/v3", HOST_API },
	{ "after all paths", PEEK_PROTOCOL_HTTP1, "example.org", "/z", HOST },
	{ "a path that is too short", PEEK_PROTOCOL_HTTP1, "example.org", "/api", HOST },
	{ "a host without its path", PEEK_PROTOCOL_HTTP1, "a.example.org", "/", ANY_HOST },
	{ "a wildcard with a path", PEEK_PROTOCOL_HTTP1, "a.example.org", "/api/", WILD_HOST_API },
	{ "a host before a path", PEEK_PROTOCOL_HTTP1, "example.org", "/.well-known/x", HOST },
	{ "any host, a path", PEEK_PROTOCOL_HTTP1, "", "/.well-known/x", ANY_HOST_DOT },
	{ "HTTP/2 has no host", PEEK_PROTOCOL_HTTP2, "", "", ANY_HOST },
	{ "a target", PEEK_PROTOCOL_SOCKS5, "example.org", "", TARGET },
	{ "a target by wildcard", PEEK_PROTOCOL_CONNECT, "a.b.example.org", "", WILD_TARGET },
	{ "a target has no default", PEEK_PROTOCOL_SOCKS4, "example.net", "", NONE },
	{ "neither", PEEK_PROTOCOL_NONE, "", "", DEFAULT },
};

static void the_most_specific_rule_wins(void **state)
{
	const struct config_listener listener = { .routes = rules, .routes_len = ROWS(rules) };
	struct route_table *table = route_table_new(&listener);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct hello hello = hello_of(rows[i].protocol, rows[i].host, rows[i].more);
		const struct config_route *got = route_find(table, &hello);

		if (got != (rows[i].want == NONE ? NULL : &rules[rows[i].want]))
			fail_msg("%s: rule %td", rows[i].name, got ? got - rules : NONE);
	}
	route_table_free(table);
}

static void first_words_find_their_rule(void **state)
{
	static const struct {
		const char *bytes;
		int want;
	} words[] = {
		{ "SSH-2.0-x", WORDS },
		{ "xxxy\n", REGEX },
		{ "xxxz\n", DEFAULT },
		{ "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", ANY_HOST },
	};
	const struct config_listener listener = { .routes = rules, .routes_len = ROWS(rules) };
	struct route_table *table = route_table_new(&listener);
	const struct peek_rules known = { .words = route_table_words(table) };

	(void)state;
	for (size_t i = 0; i < ROWS(words); i++) {
		struct hello hello;
		struct talk talk = { 0 };
		size_t len = strlen(words[i].bytes);

		assert_int_equal(
			peek_first(&known, &talk, (const uint8_t *)words[i].bytes, len, &hello),
			PEEK_FOUND);
		assert_ptr_equal(route_find(table, &hello), &rules[words[i].want]);
	}
	route_table_free(table);
}

static void without_a_default_the_rest_has_no_route(void **state)
{
	struct config_route only = { .tls = "example.org" };
	const struct config_listener listener = { .routes = &only, .routes_len = 1 };
	struct route_table *table = route_table_new(&listener);
	struct hello tls = hello_of(PEEK_PROTOCOL_TLS, "example.net", "");
	struct hello http = hello_of(PEEK_PROTOCOL_HTTP1, "example.org", "/");

	(void)state;
	assert_null(route_find(table, &tls));
	assert_null(route_find(table, &http));
	route_table_free(table);
}

/* ---- random tables against a walk over all rules ---- */

/* Few words, so that names often meet. */
static const char *const labels[] = { "a", "b", "ab", "org" };
static const char *const paths[] = { "/", "/a", "/a/", "/a/b", "/ab", "/b/a/", "/b" };
static const char *const alpns[] = { "h2", "h3", "x" };

static unsigned int pick(unsigned int n)
{
	return (unsigned int)rand() % n;
}

static void random_name(char out[32], bool is_pattern)
{
	unsigned int count = pick(4);

	*out = '\0';
	if (is_pattern && pick(2))
		strcpy(out, count ? "*." : "*");
	else if (is_pattern && !count)
		count = 1;
	for (unsigned int i = 0; i < count; i++) {
		strcat(out, labels[pick(ROWS(labels))]);
		strcat(out, i + 1 < count ? "." : "");
	}
}

static bool slow_name_matches(const char *pattern, const char *name)
{
	size_t tail = strlen(pattern) - 1, len = strlen(name);

	if (strcmp(pattern, "*") == 0 || strcmp(pattern, name) == 0)
		return true;
	return *pattern == '*' && len > tail && strcmp(name + len - tail, pattern + 1) == 0;
}

static bool slow_matches(const struct config_route *route, const struct hello *hello)
{
	bool is_tls = hello->protocol == PEEK_PROTOCOL_TLS;
	bool is_http = hello->protocol == PEEK_PROTOCOL_HTTP1;

	if (hello->protocol == PEEK_PROTOCOL_SOCKS5)
		return route->target && slow_name_matches(route->target, hello->name);
	if (route->target)
		return false;
	if (route->tls && (!is_tls || !slow_name_matches(route->tls, hello->name)))
		return false;
	if (route->alpn && !hello_offers(hello, route->alpn))
		return false;
	if (route->http_host && (!is_http || !slow_name_matches(route->http_host, hello->name)))
		return false;
	return !route->http_path ||
	       strncmp(route->http_path, hello->path, strlen(route->http_path)) == 0;
}

/* Larger is more specific: exact, length of the name, length of the path, ALPN. */
static long slow_rank(const struct config_route *route)
{
	const char *name = route->tls	   ? route->tls
			   : route->target ? route->target
					   : route->http_host;
	long rank = name ? 1 + (*name != '*') * 1000 + (long)strlen(name) : 0;

	rank = rank * 1000 + (route->http_path ? (long)strlen(route->http_path) : 0);
	return rank * 2 + (route->alpn != NULL);
}

static const struct config_route *slow_find(const struct config_route *routes, unsigned int len,
					    const struct hello *hello)
{
	const struct config_route *best = NULL;

	for (unsigned int i = 0; i < len; i++)
		if (slow_matches(&routes[i], hello) &&
		    (!best || slow_rank(&routes[i]) > slow_rank(best)))
			best = &routes[i];
	return best;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_new(const struct config_route *routes, unsigned int len,
		   const struct config_route *route)
{
	for (unsigned int i = 0; i < len; i++)
		if (same_text(routes[i].tls, route->tls) &&
		    same_text(routes[i].alpn, route->alpn) &&
		    same_text(routes[i].target, route->target) &&
		    same_text(routes[i].http_host, route->http_host) &&
		    same_text(routes[i].http_path, route->http_path))
			return false;
	return true;
}

static struct config_route random_route(char name[32])
{
	struct config_route route = { 0 };

	random_name(name, true);
	if (pick(2)) {
		route.tls = name;
		route.alpn = pick(2) ? (char *)alpns[pick(ROWS(alpns))] : NULL;
	} else if (pick(4) == 0) {
		route.target = name;
	} else if (pick(20)) {
		route.http_host = name;
		route.http_path = pick(3) ? (char *)paths[pick(ROWS(paths))] : NULL;
	}
	return route;
}

static struct hello random_hello(void)
{
	static const char *const offers[] = { "", ALPN_H2, "\2h3\2h2", "\1x\2h3" };
	char name[32];

	random_name(name, false);
	if (pick(2))
		return hello_of(PEEK_PROTOCOL_TLS, name, offers[pick(ROWS(offers))]);
	if (pick(3) == 0)
		return hello_of(PEEK_PROTOCOL_SOCKS5, name, "");
	return hello_of(PEEK_PROTOCOL_HTTP1, name, paths[pick(ROWS(paths))]);
}

static void random_tables_agree_with_a_walk_over_all_rules(void **state)
{
	enum {
		ROUTES = 60
	};
	char names[ROUTES][32];
	struct config_route routes[ROUTES];

	(void)state;
	srand(1);
	for (int round = 0; round < 300; round++) {
		struct config_listener listener = { .routes = routes };
		unsigned int len = 0, tries = 1 + pick(ROUTES);
		struct route_table *table;

		while (tries-- > 0) {
			routes[len] = random_route(names[len]);
			len += is_new(routes, len, &routes[len]);
		}
		listener.routes_len = len;
		table = route_table_new(&listener);
		for (int i = 0; i < 200; i++) {
			struct hello hello = random_hello();
			const struct config_route *want = slow_find(routes, len, &hello);

			if (route_find(table, &hello) != want)
				fail_msg("round %d: %s %s: want rule %td", round, hello.name,
					 hello.path, want ? want - routes : NONE);
		}
		route_table_free(table);
	}
}

/* ---- speed ---- */

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void ten_thousand_names_are_found_in_no_time(void **state)
{
	enum {
		NAMES = 10000,
		FINDS = 200000
	};
	_free_ struct config_route *routes = calloc(NAMES, sizeof(*routes));
	_free_ struct hello *hellos = calloc(64, sizeof(*hellos));
	_free_ char(*names)[40] = calloc(NAMES, sizeof(*names));
	struct config_listener listener = { .routes = routes, .routes_len = NAMES };
	struct route_table *table;
	unsigned int found = 0;
	double took_ns;

	(void)state;
	for (int i = 0; i < NAMES; i++) {
		snprintf(names[i], sizeof(names[i]), "%sservice-%d.example.org", i % 2 ? "" : "*.",
			 i);
		routes[i].tls = names[i];
	}
	for (int i = 0; i < 64; i++) {
		char name[48];

		snprintf(name, sizeof(name), "%sservice-%d.example.org", i % 2 ? "" : "www.",
			 i * 151);
		hellos[i] = hello_of(PEEK_PROTOCOL_TLS, name, ALPN_BOTH);
	}
	table = route_table_new(&listener);
	took_ns = now_ns();
	for (int i = 0; i < FINDS; i++)
		found += route_find(table, &hellos[i % 64]) != NULL;
	took_ns = now_ns() - took_ns;
	assert_int_equal(found, FINDS);
	print_message("%.0f ns per look-up\n", took_ns / FINDS);
	assert_true(took_ns / FINDS < 5000); /* with sanitizers; without, a tenth */
	route_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_rule_wins),
		cmocka_unit_test(first_words_find_their_rule),
		cmocka_unit_test(without_a_default_the_rest_has_no_route),
		cmocka_unit_test(random_tables_agree_with_a_walk_over_all_rules),
		cmocka_unit_test(ten_thousand_names_are_found_in_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
