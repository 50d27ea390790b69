// SPDX-License-Identifier: GPL-2.0-only
/*
 * nft.c - what nftables is told: each forward in the maps that it belongs to, and in no other
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../gateway/nft.h"

static struct config_forward forward(const char *listen, uint16_t last, const char *to)
{
	struct config_forward out = { .last = last, .tcp = true };

	assert_int_equal(addr_parse(listen, &out.listen), 0);
	assert_int_equal(addr_parse(to, &out.to), 0);
	return out;
}

static char *text_with(const struct config_forward *forwards, unsigned int len,
		       struct nft_pool *pool)
{
	const struct nft_pools pools = { pool, pool ? 1 : 0 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	nft_write(f, forwards, len, &pools);
	fclose(f);
	return text;
}

static char *text_of(const struct config_forward *forwards, unsigned int len)
{
	return text_with(forwards, len, NULL);
}

/* Elements of a map as they are written; "" if it has none. To be freed. */
static char *elements(const char *text, const char *map)
{
	const char *at = strstr(text, map), *end, *first;

	assert_non_null(at);
	end = strstr(at, "}\n");
	first = strstr(at, "elements = {\n");
	if (!first || first > end)
		return strdup("");
	first += strlen("elements = {\n");
	return strndup(first, (size_t)(end - first));
}

static void check(const struct config_forward *one, const char *map, const char *expected)
{
	_free_ char *text = text_of(one, 1);
	_free_ char *have = elements(text, map);

	assert_string_equal(have, expected);
}

static void ports_that_change_are_single(void **state)
{
	struct config_forward one = forward("192.0.2.1:80", 82, "10.0.0.1:8080");

	(void)state;
	check(&one, " to_ip ",
	      "192.0.2.1 . tcp . 80 : 10.0.0.1 . 8080,\n"
	      "192.0.2.1 . tcp . 81 : 10.0.0.1 . 8081,\n"
	      "192.0.2.1 . tcp . 82 : 10.0.0.1 . 8082,\n");
	check(&one, " keep_ip ", "");
	check(&one, " to_ip6 ", "");
	check(&one, " masq_ip ", "");
	check(&one, " from_ip ", "");
}

static void ports_that_stay_are_a_range(void **state)
{
	struct config_forward one = forward("[fd00::1]:80", 65535, "[fd00::2]:80");

	(void)state;
	one.udp = true;
	check(&one, " keep_ip6 ",
	      "fd00::1 . tcp . 80-65535 : fd00::2,\n"
	      "fd00::1 . udp . 80-65535 : fd00::2,\n");
	check(&one, " to_ip6 ", "");
	check(&one, " keep_ip ", "");
}

static void sources_are_changed_as_asked(void **state)
{
	struct config_forward one = forward("192.0.2.1:80", 80, "10.0.0.1:80");
	char why[CIDR_WHY_MAX];

	(void)state;
	one.source = FORWARD_MASQUERADE;
	check(&one, " masq_ip ", "192.0.2.1 . tcp . 80 . 0.0.0.0/0,\n");
	check(&one, " from_ip ", "");
	one.source = FORWARD_FIXED;
	assert_int_equal(addr_parse_host("10.0.0.9", 0, &one.source_addr), 0);
	check(&one, " masq_ip ", "");
	check(&one, " from_ip ", "192.0.2.1 . tcp . 80 : 10.0.0.9,\n");
	one.source = FORWARD_KEEP;
	one.has_hairpin = true;
	assert_int_equal(cidr_parse("10.0.0.0/8", &one.hairpin, why), 0);
	check(&one, " masq_ip ", "192.0.2.1 . tcp . 80 . 10.0.0.0/8,\n");
	check(&one, " from_ip ", "");
}

static void share_set(struct nft_share *share, const char *to, uint32_t weight)
{
	share->weight = weight;
	assert_int_equal(addr_parse(to, &share->to), 0);
}

static void check_pool(struct nft_pool *pool, const char *four, const char *six)
{
	struct config_forward one = forward("192.0.2.1:80", 80, "10.0.0.1:81");
	_free_ char *text = NULL, *element = NULL, *nothing = NULL;

	one.has_pool = true;
	one.to = (struct addr){ 0 };
	text = text_with(&one, 1, pool);
	element = elements(text, "map pool_ip ");
	nothing = elements(text, "map to_ip ");
	assert_string_equal(element, "192.0.2.1 . tcp . 80 : goto pool_0_ip,\n");
	assert_string_equal(nothing, "");
	assert_non_null(strstr(text, four));
	assert_non_null(strstr(text, six));
}

static void pools_share_by_turn_weight_or_source(void **state)
{
	static const char refuse[] =
		"chain pool_0_ip6 {\nmeta l4proto tcp reject with tcp reset\nreject\n}\n";
	struct nft_share shares[3] = { 0 };
	struct nft_pool pool = { .used = true, .shares = shares, .len = 2 };

	(void)state;
	share_set(&shares[0], "10.0.0.1:8080", 1);
	share_set(&shares[1], "10.0.0.2:8081", 1);
	share_set(&shares[2], "[fd00::1]:80", 2);
	check_pool(&pool,
		   "chain pool_0_ip {\nmeta l4proto { tcp, udp } dnat ip to numgen inc mod 2 map { "
		   "0 : 10.0.0.1 . 8080, 1 : 10.0.0.2 . 8081 }\n}\n",
		   refuse);
	pool.by_source = true;
	check_pool(&pool, "dnat ip to jhash ip saddr mod 2 seed 0x6c61646f map { 0 : 10", refuse);
	pool.by_source = false;
	pool.len = 3;
	shares[1].weight = 3;
	check_pool(
		&pool,
		"dnat ip to numgen random mod 4 map { 0 : 10.0.0.1 . 8080, 1-3 : 10.0.0.2 . 8081 }",
		"dnat ip6 to numgen random mod 2 map { 0-1 : fd00::1 . 80 }");
}

static void any_address_is_in_maps_of_its_own(void **state)
{
	struct config_forward one = forward("0.0.0.0:80", 81, "10.0.0.1:8080");
	struct config_forward plain = forward("192.0.2.1:80", 80, "10.0.0.1:80");
	_free_ char *none = text_of(&plain, 1);

	(void)state;
	one.source = FORWARD_MASQUERADE;
	check(&one, " to_any_ip ", "tcp . 80 : 10.0.0.1 . 8080,\ntcp . 81 : 10.0.0.1 . 8081,\n");
	check(&one, " masq_any_ip ", "tcp . 80-81 . 0.0.0.0/0,\n");
	check(&one, " sourced_any_ip ", "tcp . 80-81,\n");
	check(&one, " to_any_ip6 ", "");
	check(&one, " to_ip ", "");
	check(&one, " masq_ip ", "");
	assert_null(strstr(none, "_any_"));
	assert_null(strstr(none, "fib"));
}

static void without_forwards_the_kernel_tracks_on(void **state)
{
	_free_ char *text = text_of(NULL, 0);

	(void)state;
	assert_non_null(strstr(text, "delete table inet ladon-forward\n"));
	assert_non_null(strstr(text, "type nat hook postrouting"));
	assert_non_null(strstr(text, "ct status"));
	assert_null(strstr(text, "prerouting"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_that_change_are_single),
		cmocka_unit_test(ports_that_stay_are_a_range),
		cmocka_unit_test(sources_are_changed_as_asked),
		cmocka_unit_test(pools_share_by_turn_weight_or_source),
		cmocka_unit_test(any_address_is_in_maps_of_its_own),
		cmocka_unit_test(without_forwards_the_kernel_tracks_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
