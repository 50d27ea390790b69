// SPDX-License-Identifier: GPL-2.0-only
/*
 * raise.c - a packet turned into the ICMP error about it, against one written anew
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../datapath/ctx.h"
#include "../../datapath/raise.h"
#include "../icmp_error.h"

#define ROOM 64 /* for ctx_insert() */
#define MTU  1400

struct answer {
	uint8_t *buffer;
	uint8_t *bytes;
	size_t len;
};

static struct segment segment(bool ip6, size_t payload_len)
{
	return (struct segment){ .ip6 = ip6,
				 .key = segment_key(ip6, 10, 40000, 1, 443),
				 .flags = SEGMENT_ACK,
				 .seq = 0x12345678,
				 .ack = 0x9abcdef0,
				 .ttl = 1,
				 .payload_len = payload_len };
}

/* The TCP checksum is half made: the sum of the pseudo header */
static void make_partial(uint8_t *packet)
{
	uint8_t *tcp = segment_tcp(packet);
	uint32_t whole = segment_get16(tcp + 16), sum;

	segment_put16(tcp + 16, 0);
	sum = segment_sum(0, tcp,
			  segment_ip_len(packet) - (size_t)(tcp - packet) + SEGMENT_ETHERNET);
	segment_put16(
		tcp + 16,
		segment_sum(
			segment_sum(0, (uint8_t[]){ (uint8_t)(~whole >> 8), (uint8_t)~whole }, 2),
			(uint8_t[]){ (uint8_t)(~sum >> 8), (uint8_t)~sum }, 2));
}

/* What skb_checksum_help() does: sum up from the TCP header to the end, the half included. */
static void complete(uint8_t *tcp, const uint8_t *end)
{
	segment_put16(tcp + 16, ~segment_sum(0, tcp, (size_t)(end - tcp)));
}

/* @padding: bytes behind the packet, as in short Ethernet frames */
static struct answer raised(const uint8_t *packet, size_t len, size_t padding, bool is_partial,
			    enum ladon_reason why)
{
	struct answer a = { .buffer = malloc(ROOM + 2 + len + padding) };
	bool ip6 = segment_is_ip6(packet);
	ctx_t ctx = { .data = a.buffer + ROOM + 2, .is_partial = is_partial };

	assert_non_null(a.buffer);
	memset(a.buffer, 0xee, ROOM + 2 + len + padding);
	memcpy(ctx.data, packet, len);
	ctx.end = ctx.data + len + padding;
	ctx.len_bytes = (uint32_t)(len + padding);
	assert_int_equal(raise_answer(&ctx, (uint32_t)(len - SEGMENT_ETHERNET), ip6, why, MTU),
			 VERDICT_RAISE);
	a.bytes = ctx.data;
	a.len = (size_t)(ctx.end - ctx.data);
	assert_int_equal(a.len, ctx.len_bytes);
	return a;
}

static const struct {
	enum ladon_reason why;
	uint8_t type4, code4, type6, code6;
	uint32_t rest;
} rows[] = {
	{ LADON_REASON_TTL, 11, 0, 3, 0, 0 },
	{ LADON_REASON_TOO_LARGE, 3, 4, 2, 0, MTU },
	{ LADON_REASON_TOO_LARGE_DF, 3, 4, 2, 0, MTU },
	{ LADON_REASON_NO_LINK, 3, 1, 1, 3, 0 },
	{ LADON_REASON_UNREACHABLE, 3, 0, 1, 0, 0 },
	{ LADON_REASON_PROHIBITED, 3, 13, 1, 1, 0 },
};

static void check(bool ip6, size_t payload_len, size_t row)
{
	struct segment s = segment(ip6, payload_len);
	uint8_t packet[SEGMENT_BYTES_MAX], want[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);
	size_t most = ip6 ? 1280 - 48 : 576 - 28;
	struct icmp_error e = { .ip6 = ip6,
				.key = segment_key(ip6, 1, 0, 10, 0),
				.type = ip6 ? rows[row].type6 : rows[row].type4,
				.code = ip6 ? rows[row].code6 : rows[row].code4,
				.rest = rows[row].rest,
				.tos = ip6 ? 0 : 0xc0,
				.quote = packet + SEGMENT_ETHERNET,
				.quote_len = len - SEGMENT_ETHERNET };
	struct answer a;

	if (e.quote_len > most)
		e.quote_len = most;
	memset(packet, 1, 6);
	memset(packet + 6, 2, 6);
	a = raised(packet, len, payload_len % 7, false, rows[row].why);
	assert_int_equal(a.len, icmp_error_write(&e, want));
	memset(want, 2, 6); /* back to where it came from */
	memset(want + 6, 1, 6);
	assert_int_equal(icmp_error_sum(a.bytes), 0xffff);
	assert_memory_equal(a.bytes, want, a.len);
	free(a.buffer);
}

static void test_every_error(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		check(false, 1000, row);
		check(true, 1000, row);
	}
}

/* Packets of odd length, and those that are cut */
static void test_every_length(void **state)
{
	(void)state;
	for (size_t payload_len = 0; payload_len < 1400; payload_len += payload_len < 20 ? 1 : 23) {
		check(false, payload_len, 1);
		check(true, payload_len, 1);
	}
}

/* The checksum is right once the device has made the other half of the quoted one. */
static void test_a_checksum_that_is_half_made(void **state)
{
	(void)state;
	for (int i = 0; i < 400; i++) {
		bool ip6 = i & 1;
		struct segment s = segment(ip6, (size_t)i * 3);
		uint8_t packet[SEGMENT_BYTES_MAX], *tcp;
		size_t len = segment_write(&s, packet);
		struct answer a;

		make_partial(packet);
		a = raised(packet, len, 0, true, LADON_REASON_TOO_LARGE);
		tcp = a.bytes + icmp_error_at(a.bytes) + 8 + (ip6 ? 40 : 20);
		complete(tcp, a.bytes + a.len);
		assert_int_equal(icmp_error_sum(a.bytes), 0xffff);
		if (a.len == len + (ip6 ? 48 : 28)) { /* all of it is quoted: what was to be sent */
			segment_write(&s, packet);
			assert_memory_equal(a.bytes + icmp_error_at(a.bytes) + 8,
					    packet + SEGMENT_ETHERNET, len - SEGMENT_ETHERNET);
		}
		free(a.buffer);
	}
}

static void test_an_mtu_that_ipv4_cannot_say(void **state)
{
	(void)state;
	assert_int_equal(raise_icmp4(LADON_REASON_TOO_LARGE, 65536).rest, bpf_htonl(65535));
	assert_int_equal(raise_icmp6(LADON_REASON_TOO_LARGE, 65536).rest, bpf_htonl(65536));
}

static unsigned int allowed(uint32_t sender, uint64_t now_ns, unsigned int tries)
{
	unsigned int n = 0;

	while (tries--)
		n += raise_is_allowed(sender, now_ns);
	return n;
}

static void test_how_often(void **state)
{
	const uint64_t second = 1000000000;

	(void)state;
	assert_int_equal(allowed(1, 5 * second, 1000), RAISE_BURST);
	assert_int_equal(allowed(1, 5 * second + RAISE_GAP_NS - 1, 1000), 0);
	assert_int_equal(allowed(1, 5 * second + RAISE_GAP_NS, 1000), 1);
	assert_int_equal(allowed(1, 5 * second + 11 * RAISE_GAP_NS, 1000), 10);
	assert_int_equal(allowed(2, 5 * second, 10), 10); /* another one is told still */
	assert_int_equal(allowed(1, 500 * second, 1000), RAISE_BURST);
	assert_int_equal(allowed(RAISE_SENDERS + 1, 500 * second, 1), 0);
}

static void test_senders_are_spread(void **state)
{
	bool seen[RAISE_SENDERS] = { false };
	unsigned int n = 0;

	(void)state;
	for (unsigned int i = 1; i < 255; i++) {
		struct ladon_flow_key key = segment_key(i & 1, (uint8_t)i, 1, 1, 1);
		uint32_t sender = raise_sender(key.saddr);

		assert_true(sender < RAISE_SENDERS);
		n += !seen[sender];
		seen[sender] = true;
	}
	assert_true(n > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_a_checksum_that_is_half_made),
		cmocka_unit_test(test_an_mtu_that_ipv4_cannot_say),
		cmocka_unit_test(test_how_often),
		cmocka_unit_test(test_senders_are_spread),
	};

	return cmocka_run_group_tests_name("raise", tests, NULL, NULL);
}
