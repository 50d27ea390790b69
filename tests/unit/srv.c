// SPDX-License-Identifier: GPL-2.0-only
/*
 * srv.c - SRV records become backends: bounded, in an order of their own, with weights that a pool takes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../paths/listing.h"
#include "../../paths/srv.h"

/* ---- a message ---- */

struct message {
	uint8_t bytes[65536];
	size_t len;
};

static void put16(struct message *m, unsigned int number)
{
	m->bytes[m->len++] = (uint8_t)(number >> 8);
	m->bytes[m->len++] = (uint8_t)number;
}

static void put_name(struct message *m, const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");

		m->bytes[m->len++] = (uint8_t)len;
		memcpy(m->bytes + m->len, name, len);
		m->len += len;
		name += len + (name[len] == '.');
	}
	m->bytes[m->len++] = 0;
}

static void begin(struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->len = 4;
	put16(m, 1); /* a question */
	m->len = 12;
	put_name(m, "_echo._tcp.example.org");
	put16(m, 33);
	put16(m, 1);
}

/* @data_len: of what the caller writes then */
static void put_record(struct message *m, unsigned int type, uint32_t ttl_s, size_t data_len)
{
	m->bytes[7] = (uint8_t)(m->bytes[7] + 1);
	if (m->bytes[7] == 0)
		m->bytes[6]++;
	put16(m, 0xc00c);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl_s >> 16);
	put16(m, ttl_s & 0xffff);
	put16(m, (unsigned int)data_len);
}

static void put_srv(struct message *m, unsigned int priority, unsigned int weight,
		    unsigned int port, const char *target, uint32_t ttl_s)
{
	put_record(m, 33, ttl_s, 6 + (*target ? strlen(target) + 2 : 1));
	put16(m, priority);
	put16(m, weight);
	put16(m, port);
	put_name(m, target);
}

/* ---- tests ---- */

static struct message m;
static struct srvs srvs;

static void records_are_sorted_and_the_least_ttl_counts(void **state)
{
	(void)state;
	begin(&m);
	put_srv(&m, 20, 0, 80, "late.example.org", 600);
	put_srv(&m, 10, 5, 443, "B.example.org", 60);
	put_srv(&m, 10, 5, 80, "b.example.org", 60);
	put_srv(&m, 10, 7, 443, "a.example.org", 61);
	put_srv(&m, 10, 9, 443, "a.example.org", 61); /* once more */
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
	assert_int_equal(srvs.len, 4);
	assert_int_equal(srvs.ttl_s, 60);
	assert_string_equal(srvs.list[0].host, "a.example.org");
	assert_int_equal(srvs.list[0].weight, 7);
	assert_string_equal(srvs.list[1].host, "b.example.org");
	assert_int_equal(srvs.list[1].port, 80);
	assert_int_equal(srvs.list[2].port, 443);
	assert_string_equal(srvs.list[3].host, "late.example.org");
}

static void an_alias_counts_for_the_ttl(void **state)
{
	(void)state;
	begin(&m);
	put_record(&m, 5, 5, 3);
	put_name(&m, "x");
	put_srv(&m, 1, 1, 80, "a", 60);
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
	assert_int_equal(srvs.ttl_s, 5);
	assert_int_equal(srvs.len, 1);
}

static void no_such_service_is_an_answer(void **state)
{
	(void)state;
	begin(&m);
	put_srv(&m, 0, 0, 0, "", 60);
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
	assert_int_equal(srvs.len, 0);
	begin(&m);
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), -ENODATA);
}

static void targets_that_are_no_names(void **state)
{
	(void)state;
	begin(&m);
	put_srv(&m, 0, 0, 80, "10.0.0.1", 60);
	put_srv(&m, 0, 0, 80, "a b.example.org", 60);
	put_srv(&m, 0, 0, 0, "a.example.org", 60);
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), -ENODATA);
}

/* Cut anywhere, a message is malformed, or has fewer records than it says, never more. */
static void a_message_that_is_cut(void **state)
{
	(void)state;
	begin(&m);
	put_srv(&m, 10, 5, 443, "a.example.org", 60);
	for (size_t len = 0; len < m.len; len++)
		assert_int_equal(srv_parse(m.bytes, len, &srvs), -EBADMSG);
	assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
}

static void the_first_ones_are_kept_whatever_the_order(void **state)
{
	char name[32];

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		begin(&m);
		for (int i = 0; i < 500; i++) {
			int n = turn ? i : 499 - i;

			snprintf(name, sizeof(name), "n%03d.example.org", n);
			put_srv(&m, (unsigned int)n / 10, 1, 80, name, 60);
		}
		assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
		assert_int_equal(srvs.len, SRV_MAX);
		assert_string_equal(srvs.list[0].host, "n000.example.org");
		assert_string_equal(srvs.list[SRV_MAX - 1].host, "n063.example.org");
	}
}

static void weights_fit(void **state)
{
	static const struct {
		unsigned int in[3], out[3];
	} rows[] = {
		{ { 0, 0, 0 }, { 1, 1, 1 } },	      { { 1, 2, 3 }, { 1, 2, 3 } },
		{ { 1000, 1, 10 }, { 1000, 1, 10 } }, { { 65535, 1, 6554 }, { 1000, 1, 100 } },
		{ { 1, 0, 1 }, { 1000, 1, 1000 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct listing listing = { 0 };

		begin(&m);
		put_srv(&m, 7, rows[i].in[0], 1, "a", 60);
		put_srv(&m, 7, rows[i].in[1], 1, "b", 60);
		put_srv(&m, 7, rows[i].in[2], 1, "c", 60);
		put_srv(&m, 9, 65535, 1, "d", 60); /* weighs in its own priority only */
		assert_int_equal(srv_parse(m.bytes, m.len, &srvs), 0);
		assert_int_equal(srv_listing(&srvs, &listing), 0);
		assert_int_equal(listing.len, 4);
		for (int j = 0; j < 3; j++) {
			assert_int_equal(listing.list[j].config.weight, rows[i].out[j]);
			assert_int_equal(listing.list[j].config.rank, 0);
		}
		assert_string_equal(listing.list[3].config.text, "d:1");
		assert_int_equal(listing.list[3].config.rank, 1);
		listing_fini(&listing);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_sorted_and_the_least_ttl_counts),
		cmocka_unit_test(an_alias_counts_for_the_ttl),
		cmocka_unit_test(no_such_service_is_an_answer),
		cmocka_unit_test(targets_that_are_no_names),
		cmocka_unit_test(a_message_that_is_cut),
		cmocka_unit_test(the_first_ones_are_kept_whatever_the_order),
		cmocka_unit_test(weights_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
