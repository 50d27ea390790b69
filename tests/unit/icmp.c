// SPDX-License-Identifier: GPL-2.0-only
/*
 * icmp.c - an error translated, against the error that quotes what was really sent
 *
 *	client .10:40000 -- .1:443 gateway .1:20000 -- .20:8443 backend
 *
 * A segment of the client's is written as the client sent it and as ladon passed it
 * on. The error that quotes the second, translated, must be the error that quotes the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../datapath/ctx.h"
#include "../../datapath/icmp.h"
#include "../../datapath/quote.h"
#include "../icmp_error.h"

#define ROUTER 99
#define D_SEQ  0xfffff000u
#define D_ACK  0x00012345u

static struct ladon_flow_key key_of_client(bool ip6)
{
	return segment_key(ip6, 10, 40000, 1, 443);
}

static struct ladon_flow_key key_of_ladon(bool ip6)
{
	return segment_key(ip6, 1, 20000, 20, 8443);
}

static struct ladon_flow_key key_of_backend(bool ip6)
{
	return segment_key(ip6, 20, 8443, 1, 20000);
}

/* From the backend to the client */
static struct ladon_entry backends_entry(bool ip6)
{
	struct ladon_flow_key out = segment_key(ip6, 1, 443, 10, 40000);
	struct ladon_entry flow = {
		.d_seq = -D_ACK, .d_ack = -D_SEQ, .sport = out.sport, .dport = out.dport
	};

	memcpy(flow.saddr, out.saddr, sizeof(flow.saddr));
	memcpy(flow.daddr, out.daddr, sizeof(flow.daddr));
	return flow;
}

static struct segment sent(bool ip6)
{
	return (struct segment){ .ip6 = ip6,
				 .key = key_of_client(ip6),
				 .flags = SEGMENT_ACK,
				 .seq = 0x1234,
				 .ack = 0xffff0000,
				 .window = 77,
				 .options = { 1, 1, 1, 1 },
				 .options_len = 4,
				 .payload_len = 1000 };
}

static struct segment passed_on(bool ip6)
{
	struct segment s = sent(ip6);

	s.key = key_of_ladon(ip6);
	s.seq += D_SEQ;
	if (s.flags & SEGMENT_ACK)
		s.ack += D_ACK;
	return s;
}

static struct icmp_error error_about(bool ip6, const uint8_t *packet, size_t tcp_bytes,
				     uint8_t from, uint8_t to)
{
	return (struct icmp_error){ .ip6 = ip6,
				    .key = segment_key(ip6, from, 0, to, 0),
				    .type = ip6 ? 2 : 3,
				    .code = ip6 ? 0 : 4,
				    .rest = 1400,
				    .quote = packet + SEGMENT_ETHERNET,
				    .quote_len = (ip6 ? 40 : 20) + tcp_bytes };
}

/* Parse a packet in a buffer that ends right behind it. Return: what quote_parse() did. */
static bool parse(uint8_t *bytes, size_t len, struct packet *pkt, struct quote *q,
		  struct ladon_flow_key *key)
{
	ctx_t ctx = { .data = bytes, .end = bytes + len, .len_bytes = (uint32_t)len };

	memset(pkt, 0, sizeof(*pkt));
	memset(q, 0, sizeof(*q));
	memset(key, 0, sizeof(*key));
	return quote_parse(&ctx, pkt, q, key);
}

static void translated(uint8_t *bytes, size_t len, bool ip6)
{
	ctx_t ctx = { .data = bytes, .end = bytes + len, .len_bytes = (uint32_t)len };
	struct ladon_flow_key key, want = key_of_backend(ip6);
	struct ladon_entry flow = backends_entry(ip6);
	struct csum_delta d = { 0 };
	struct packet pkt;
	struct quote q;

	assert_true(parse(bytes, len, &pkt, &q, &key));
	assert_memory_equal(&key, &want, sizeof(key));
	assert_true(q.is_to_sender);
	icmp_translate(&pkt, &q, &flow, &d);
	assert_int_equal(ctx_fix_csum(&ctx, quote_check(&pkt), 0, ip6, &d), 0);
}

/* A checksum of zero has two forms: the sums are compared, and then all other bytes. */
static void forget_checksums(uint8_t *packet, size_t len)
{
	bool ip6 = segment_is_ip6(packet);
	size_t at = icmp_error_at(packet), quote = at + 8, tcp = quote + (ip6 ? 40 : 20);

	assert_int_equal(icmp_error_sum(packet), 0xffff);
	assert_int_equal(segment_sum_ip(packet), 0xffff);
	memset(packet + at + 2, 0, 2);
	if (!ip6) {
		assert_int_equal(segment_sum(0, packet + quote, 20), 0xffff);
		memset(packet + SEGMENT_ETHERNET + 10, 0, 2);
		memset(packet + quote + 10, 0, 2);
	}
	if (tcp + 18 <= len && segment_get16(packet + tcp + 16) == 0xffff)
		memset(packet + tcp + 16, 0, 2);
}

/* @tcp_bytes: how many of the segment are quoted */
static void check(bool ip6, size_t tcp_bytes)
{
	struct segment before = sent(ip6), after = passed_on(ip6);
	uint8_t quoted[SEGMENT_BYTES_MAX], meant[SEGMENT_BYTES_MAX], want[SEGMENT_BYTES_MAX];
	struct icmp_error e;
	size_t len, len_meant;
	uint8_t *got = malloc(SEGMENT_BYTES_MAX);

	assert_non_null(got);
	segment_write(&after, quoted);
	segment_write(&before, meant);
	e = error_about(ip6, quoted, tcp_bytes, ROUTER, 1);
	len = icmp_error_write(&e, want);
	memcpy(got + 2, want, len);
	translated(got + 2, len, ip6);

	if (tcp_bytes < 20) { /* what depends on the flags is left alone */
		memcpy(meant + SEGMENT_ETHERNET + (ip6 ? 40 : 20) + 8,
		       quoted + SEGMENT_ETHERNET + (ip6 ? 40 : 20) + 8, 12);
	}
	e = error_about(ip6, meant, tcp_bytes, 1, 10);
	len_meant = icmp_error_write(&e, want);
	assert_int_equal(len, len_meant);
	forget_checksums(got + 2, len);
	forget_checksums(want, len);
	assert_memory_equal(got + 2, want, len);
	free(got);
}

static void test_every_length_of_a_quote(void **state)
{
	(void)state;
	for (size_t tcp_bytes = 8; tcp_bytes <= 1020; tcp_bytes += tcp_bytes < 70 ? 1 : 95) {
		check(false, tcp_bytes);
		check(true, tcp_bytes);
	}
}

/* Options, timestamps and SACK blocks among them, and all beyond stay as they were quoted. */
static void test_what_is_left_alone(void **state)
{
	static const uint8_t options[] = { 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8,
					   1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9 };

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment after = passed_on(ip6);
		uint8_t quoted[SEGMENT_BYTES_MAX];
		__attribute__((aligned(4))) uint8_t room[2 + SEGMENT_BYTES_MAX];
		uint8_t *got = room + 2;
		size_t at = SEGMENT_ETHERNET + (ip6 ? 40 + 8 + 40 : 20 + 8 + 20) + 20;
		struct icmp_error e;

		memcpy(after.options, options, after.options_len = sizeof(options));
		segment_write(&after, quoted);
		e = error_about(ip6, quoted, 120, ROUTER, 1);
		translated(got, icmp_error_write(&e, got), ip6);
		assert_int_equal(icmp_error_sum(got), 0xffff);
		assert_memory_equal(got + at, quoted + SEGMENT_ETHERNET + (ip6 ? 40 : 20) + 20,
				    100);
		/* a window that was scaled cannot be scaled back */
		assert_int_equal(segment_get16(got + at - 6), 77);
	}
}

/* ---- what is not an error about a flow ---- */

/* clang-format off */
static const struct {
	const char *name;
	bool ip6;
	size_t offset; /* from the IP header on */
	uint8_t value;
	bool is_quote;
} rows[] = {
	{ "unreachable",             false, 20, 3,  true },
	{ "time exceeded",           false, 20, 11, true },
	{ "parameter problem",       false, 20, 12, true },
	{ "source quench",           false, 20, 4,  false },
	{ "redirect",                false, 20, 5,  false },
	{ "echo request",            false, 20, 8,  false },
	{ "echo reply",              false, 20, 0,  false },
	{ "its own options",         false, 0,  0x46, false },
	{ "its first fragment",      false, 6,  0x20, false },
	{ "its later fragment",      false, 7,  1,  false },
	{ "not ICMP",                false, 9,  17, false },
	{ "longer than it is",       false, 2,  9,  false },
	{ "quotes IPv6",             false, 28, 0x65, false },
	{ "quotes options",          false, 28, 0x46, false },
	{ "quotes UDP",              false, 37, 17, false },
	{ "quotes a first fragment", false, 34, 0x20, true },
	{ "quotes a later fragment", false, 35, 1,  false },
	{ "quotes without DF",       false, 34, 0,  true },

	{ "unreachable",             true,  40, 1,  true },
	{ "too big",                 true,  40, 2,  true },
	{ "time exceeded",           true,  40, 3,  true },
	{ "parameter problem",       true,  40, 4,  true },
	{ "type 0",                  true,  40, 0,  false },
	{ "type 5",                  true,  40, 5,  false },
	{ "echo request",            true,  40, 128, false },
	{ "neighbour solicitation",  true,  40, 135, false },
	{ "redirect",                true,  40, 137, false },
	{ "not ICMP",                true,  6,  17, false },
	{ "longer than it is",       true,  4,  9,  false },
	{ "quotes IPv4",             true,  48, 0x45, false },
	{ "quotes a fragment",       true,  54, 44, false },
	{ "quotes UDP",              true,  54, 17, false },
};
/* clang-format on */

static size_t some_error(bool ip6, size_t tcp_bytes, uint8_t *out)
{
	struct segment after = passed_on(ip6);
	uint8_t quoted[SEGMENT_BYTES_MAX];
	struct icmp_error e;

	segment_write(&after, quoted);
	e = error_about(ip6, quoted, tcp_bytes, ROUTER, 1);
	return icmp_error_write(&e, out);
}

static void test_rows(void **state)
{
	__attribute__((aligned(4))) uint8_t room[2 + SEGMENT_BYTES_MAX];
	struct ladon_flow_key key;
	struct packet pkt;
	struct quote q;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = some_error(rows[i].ip6, 40, room + 2);

		print_message("  %s\n", rows[i].name);
		room[2 + SEGMENT_ETHERNET + rows[i].offset] = rows[i].value;
		assert_int_equal(parse(room + 2, len, &pkt, &q, &key), rows[i].is_quote);
	}
}

/* Cut off anywhere, by the link or by its own length; what is padding is not quoted. */
static void test_every_truncation(void **state)
{
	uint8_t whole[SEGMENT_BYTES_MAX];
	struct ladon_flow_key key;
	struct packet pkt;
	struct quote q;

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t len = some_error(ip6, 60, whole);
		size_t least = SEGMENT_ETHERNET + (ip6 ? 40 + 8 + 40 : 20 + 8 + 20) + 8;

		for (size_t cut = 0; cut <= len; cut++) {
			uint8_t *bytes = malloc(cut + 2);
			uint32_t said = (uint32_t)(cut - SEGMENT_ETHERNET - (ip6 ? 40 : 0));

			assert_non_null(bytes);
			memcpy(bytes + 2, whole, cut);
			assert_int_equal(parse(bytes + 2, cut, &pkt, &q, &key), cut == len);
			if (cut >= least) {
				segment_put16(bytes + 2 + SEGMENT_ETHERNET + (ip6 ? 4 : 2), said);
				assert_true(parse(bytes + 2, cut, &pkt, &q, &key));
				assert_int_equal(q.is_whole, cut >= least + 12);
			}
			free(bytes);
			if (cut < SEGMENT_ETHERNET + 40)
				continue;
			bytes = malloc(len + 2);
			assert_non_null(bytes);
			memcpy(bytes + 2, whole, len);
			segment_put16(bytes + 2 + SEGMENT_ETHERNET + (ip6 ? 4 : 2),
				      said); /* the rest is padding */
			assert_int_equal(parse(bytes + 2, len, &pkt, &q, &key), cut >= least);
			assert_int_equal(q.is_whole, cut >= least + 12);
			free(bytes);
		}
	}
}

static void test_an_error_to_another_than_the_sender(void **state)
{
	__attribute__((aligned(4))) uint8_t room[2 + SEGMENT_BYTES_MAX];
	struct ladon_flow_key key;
	struct packet pkt;
	struct quote q;

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t address = SEGMENT_ETHERNET + (ip6 ? 24 : 16), bytes = ip6 ? 16 : 4;
		size_t len = some_error(ip6, 20, room + 2);

		for (size_t i = 0; i < bytes; i++) {
			room[2 + address + i] ^= 1;
			assert_true(parse(room + 2, len, &pkt, &q, &key));
			assert_false(q.is_to_sender);
			room[2 + address + i] ^= 1;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length_of_a_quote),
		cmocka_unit_test(test_what_is_left_alone),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_an_error_to_another_than_the_sender),
	};

	return cmocka_run_group_tests_name("icmp", tests, NULL, NULL);
}
