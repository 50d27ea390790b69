// SPDX-License-Identifier: GPL-2.0-only
/*
 * translate.c - one packet rewritten, against the same packet written anew
 *
 * Each row says what goes in and what is to come out, field by field. Both are
 * written by segment.h, with checksums summed up from scratch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../datapath/ctx.h"
#include "../../datapath/packet.h"
#include "../../datapath/translate.h"
#include "../segment.h"

/* The IP header is to be aligned: data at 2 modulo 4. */
struct buffer {
	__attribute__((aligned(4))) uint8_t pad[2];
	uint8_t bytes[SEGMENT_BYTES_MAX];
};

static struct ladon_flow_key key_in(bool ip6)
{
	return segment_key(ip6, 10, 40000, 1, 443);
}

static struct ladon_flow_key key_out(bool ip6)
{
	return segment_key(ip6, 1, 20000, 20, 8443);
}

static void flow_addresses(struct ladon_entry *flow, bool ip6)
{
	struct ladon_flow_key out = key_out(ip6);

	memcpy(flow->saddr, out.saddr, sizeof(out.saddr));
	memcpy(flow->daddr, out.daddr, sizeof(out.daddr));
	flow->sport = out.sport;
	flow->dport = out.dport;
}

static enum verdict run(uint8_t *packet, size_t len, const struct ladon_entry *flow)
{
	ctx_t ctx = { .data = packet, .end = packet + len, .len_bytes = (uint32_t)len };
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };
	enum verdict verdict = packet_parse(&ctx, &pkt);

	assert_int_equal(verdict, VERDICT_CONTINUE);
	verdict = translate(&ctx, &pkt, flow, &d);
	assert_int_equal(ctx_fix_csum(&ctx, &pkt.tcp->check, 0, pkt.is_ip6, &d), 0);
	return verdict;
}

/* Checksums have two zeros: the sums are compared, and then all other bytes. */
static void same(uint8_t *got, uint8_t *want, size_t len)
{
	assert_int_equal(segment_sum_tcp(got), 0xffff);
	assert_int_equal(segment_sum_ip(got), 0xffff);
	memcpy(segment_tcp(got) + 16, segment_tcp(want) + 16, 2);
	if (!segment_is_ip6(got))
		memcpy(got + SEGMENT_ETHERNET + 10, want + SEGMENT_ETHERNET + 10, 2);
	assert_memory_equal(got, want, len);
}

static void check(const struct segment *in, const struct segment *out,
		  const struct ladon_entry *flow_template, bool ip6)
{
	static struct buffer got, want;
	struct ladon_entry flow = *flow_template;
	struct segment from = *in, to = *out;
	size_t len;

	from.ip6 = to.ip6 = ip6;
	from.key = key_in(ip6);
	to.key = key_out(ip6);
	flow_addresses(&flow, ip6);
	len = segment_write(&from, got.bytes);
	assert_int_equal(segment_write(&to, want.bytes), len);
	assert_int_equal(run(got.bytes, len, &flow), VERDICT_CONTINUE);
	same(got.bytes, want.bytes, len);
}

/* clang-format off */
#define ACKED      .flags = SEGMENT_ACK
#define OPTIONS(...) .options = { __VA_ARGS__ }, .options_len = sizeof((uint8_t[]){ __VA_ARGS__ })
#define FLOW(more, ...) { .d_seq = 0x100, .d_ack = 0x200, .d_tsval = 0x300, .d_tsecr = 0x400, \
		    .what = LADON_FLOW_TS | (more), ##__VA_ARGS__ }
#define MOVED      .seq = 0x100, .ack = 0x200

static const struct row {
	const char *name;
	struct ladon_entry flow;
	struct segment in, out;
} rows[] = {
	{ "nothing but addresses", { .id = 0 },
	  { ACKED, .seq = 1, .ack = 2, .window = 3, .payload_len = 11 },
	  { ACKED, .seq = 1, .ack = 2, .window = 3, .payload_len = 11 } },
	{ "numbers wrap forward", { .d_seq = 0x10, .d_ack = 0x20 },
	  { ACKED, .seq = 0xfffffff8, .ack = 0xfffffff0 },
	  { ACKED, .seq = 8, .ack = 0x10 } },
	{ "numbers wrap backward", { .d_seq = -0x10u, .d_ack = -0x20u },
	  { ACKED, .seq = 8, .ack = 0x10 },
	  { ACKED, .seq = 0xfffffff8, .ack = 0xfffffff0 } },
	{ "no ACK bit: the number means nothing", FLOW(0),
	  { .flags = SEGMENT_RST, .seq = 5, .ack = 77 },
	  { .flags = SEGMENT_RST, .seq = 0x105, .ack = 77 } },
	{ "a RST that acknowledges", FLOW(0),
	  { .flags = SEGMENT_RST | SEGMENT_ACK }, { .flags = SEGMENT_RST | SEGMENT_ACK, MOVED } },
	{ "the urgent pointer is relative", FLOW(0),
	  { .flags = SEGMENT_ACK | SEGMENT_URG, .urgent = 9, .payload_len = 20 },
	  { .flags = SEGMENT_ACK | SEGMENT_URG, .urgent = 9, .payload_len = 20, MOVED } },

	{ "the usual timestamps", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) },
	  { ACKED, MOVED, OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2) } },
	{ "timestamps wrap", { .what = LADON_FLOW_TS, .d_tsval = 1, .d_tsecr = -2u },
	  { ACKED, OPTIONS(1, 1, 8, 10, 255, 255, 255, 255, 0, 0, 0, 1) },
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 0, 255, 255, 255, 255) } },
	{ "TSecr without ACK means nothing", FLOW(0),
	  { .flags = 0, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) },
	  { .flags = 0, .seq = 0x100, OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 0, 2) } },
	{ "... at an odd offset", FLOW(0),
	  { .flags = 0, OPTIONS(1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1) },
	  { .flags = 0, .seq = 0x100, OPTIONS(1, 8, 10, 0, 0, 3, 1, 0, 0, 0, 2, 1) } },
	{ "neither end speaks timestamps", { .d_tsval = 5, .d_tsecr = 6 },
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) },
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) } },
	{ "neither end, at an odd offset", { .d_tsval = 5, .d_tsecr = 6 },
	  { ACKED, OPTIONS(1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1) },
	  { ACKED, OPTIONS(1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1) } },
	{ "timestamps at an odd offset", FLOW(0),
	  { ACKED, OPTIONS(1, 8, 10, 0xab, 0xcd, 0xff, 1, 0x12, 0x34, 0xfe, 2, 1) },
	  { ACKED, MOVED, OPTIONS(1, 8, 10, 0xab, 0xce, 2, 1, 0x12, 0x35, 2, 2, 1) } },
	{ "timestamps first, the end after them", FLOW(0),
	  { ACKED, OPTIONS(8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 8) },
	  { ACKED, MOVED, OPTIONS(8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 0, 8) } },
	{ "two timestamps: the last one is obeyed", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4, 1) },
	  { ACKED, MOVED,
	    OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 8, 10, 0, 0, 3, 3, 0, 0, 4, 4, 1) } },
	{ "a timestamp of the wrong length is not one", FLOW(0),
	  { ACKED, OPTIONS(8, 6, 0, 0, 0, 1, 1, 1) }, { ACKED, MOVED, OPTIONS(8, 6, 0, 0, 0, 1, 1, 1) } },
	{ "nothing after the end of options", FLOW(0),
	  { ACKED, OPTIONS(0, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1) },
	  { ACKED, MOVED, OPTIONS(0, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1) } },
	{ "timestamps to one who has none", { .what = LADON_FLOW_NO_TS },
	  { ACKED, OPTIONS(1, 1, 8, 10, 9, 8, 7, 6, 5, 4, 3, 2) },
	  { ACKED, OPTIONS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) } },
	{ "... at an odd offset", { .what = LADON_FLOW_NO_TS },
	  { ACKED, OPTIONS(1, 8, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1) },
	  { ACKED, OPTIONS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) } },
	{ "an unknown option is stepped over", FLOW(0),
	  { ACKED, OPTIONS(254, 4, 8, 10, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1) },
	  { ACKED, MOVED, OPTIONS(254, 4, 8, 10, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 1) } },

	{ "one SACK block", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2) },
	  { ACKED, MOVED, OPTIONS(1, 1, 5, 10, 0, 0, 2, 1, 0, 0, 2, 2) } },
	{ "four SACK blocks", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 5, 34, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
			   0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 255, 255, 255, 8) },
	  { ACKED, MOVED, OPTIONS(1, 1, 5, 34, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 2, 3, 0, 0, 2, 4,
				  0, 0, 2, 5, 0, 0, 2, 6, 0, 0, 2, 7, 0, 0, 1, 8) } },
	{ "timestamps and one SACK block", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2) },
	  { ACKED, MOVED,
	    OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 1, 5, 10, 0, 0, 2, 1, 0, 0, 2, 2) } },
	{ "timestamps and three SACK blocks", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 26, 0, 0, 0, 1, 0, 0, 0, 2,
			   0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6) },
	  { ACKED, MOVED,
	    OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 1, 5, 26, 0, 0, 2, 1, 0, 0, 2, 2,
		    0, 0, 2, 3, 0, 0, 2, 4, 0, 0, 2, 5, 0, 0, 2, 6) } },
	{ "SACK at an odd offset, before timestamps", FLOW(0),
	  { ACKED, OPTIONS(1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
			   8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1) },
	  { ACKED, MOVED, OPTIONS(1, 5, 18, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 2, 3, 0, 0, 2, 4,
				  8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 1, 1) } },
	{ "SACK to one who has none", FLOW(LADON_FLOW_NO_SACK),
	  { ACKED, OPTIONS(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, 9, 8, 7, 6, 5, 4, 3, 2) },
	  { ACKED, MOVED,
	    OPTIONS(1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) } },
	{ "nothing but SACK to one who has none", FLOW(LADON_FLOW_NO_SACK),
	  { ACKED, OPTIONS(5, 10, 9, 8, 7, 6, 5, 4, 3, 2, 5, 10, 9, 8, 7, 6, 5, 4, 3, 2,
			   5, 10, 9, 8, 7, 6, 5, 4, 3, 2, 5, 2, 5, 2, 5, 2, 5, 2, 5, 2) },
	  { ACKED, MOVED, OPTIONS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
				  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) } },
	{ "SACK without blocks", FLOW(0),
	  { ACKED, OPTIONS(1, 1, 5, 2) }, { ACKED, MOVED, OPTIONS(1, 1, 5, 2) } },
	{ "SACK of a wrong length is not one", FLOW(0),
	  { ACKED, OPTIONS(5, 6, 0, 0, 0, 1, 1, 1) }, { ACKED, MOVED, OPTIONS(5, 6, 0, 0, 0, 1, 1, 1) } },

	{ "the window in another scale", { .wscale_in = 7, .wscale_out = 2 },
	  { ACKED, .window = 100 }, { ACKED, .window = 3200 } },
	{ "... never larger than the field", { .wscale_in = 14, .wscale_out = 0 },
	  { ACKED, .window = 5 }, { ACKED, .window = 65535 } },
	{ "... a little is not nothing", { .wscale_in = 0, .wscale_out = 14 },
	  { ACKED, .window = 5 }, { ACKED, .window = 1 } },
	{ "... nothing is not a little", { .wscale_in = 14, .wscale_out = 0 },
	  { ACKED, .window = 0 }, { ACKED, .window = 0 } },
	{ "... all of both", { .wscale_in = 14, .wscale_out = 14 },
	  { ACKED, .window = 65535 }, { ACKED, .window = 65535 } },
	{ "a SYN's window has no scale", FLOW(0, .wscale_in = 7),
	  { .flags = SEGMENT_SYN, .window = 64240, OPTIONS(2, 4, 5, 180, 1, 3, 3, 7) },
	  { .flags = SEGMENT_SYN, .window = 64240, .seq = 0x100, OPTIONS(2, 4, 5, 180, 1, 3, 3, 7) } },

	{ "no ECN on the other leg", { .what = LADON_FLOW_NO_ECN },
	  { .flags = SEGMENT_ACK | SEGMENT_ECE | SEGMENT_CWR, .tos = 0xff },
	  { .flags = SEGMENT_ACK, .tos = 0xfc } },
	{ "ECN on both legs", { .id = 0 },
	  { .flags = SEGMENT_ACK | SEGMENT_ECE | SEGMENT_CWR, .tos = 0xfe },
	  { .flags = SEGMENT_ACK | SEGMENT_ECE | SEGMENT_CWR, .tos = 0xfe } },
};
/* clang-format on */

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].name);
		check(&rows[i].in, &rows[i].out, &rows[i].flow, false);
		check(&rows[i].in, &rows[i].out, &rows[i].flow, true);
	}
}

/* Timestamps and two SACK edges, behind any number of NOPs */
static void test_every_offset(void **state)
{
	struct ladon_entry flow = FLOW(0);

	(void)state;
	for (unsigned int nops = 0; nops <= 20; nops++) {
		struct segment in = { ACKED, .options_len = 40 };
		struct segment out = { ACKED, MOVED, .options_len = 40 };
		static const uint8_t before[] = { 8, 10, 1, 2, 0xfd, 4, 5, 6, 0xfb, 8,
						  5, 10, 1, 2, 0xfe, 4, 5, 6, 0xfe, 8 };
		static const uint8_t after[] = { 8, 10, 1, 3, 0, 4, 5, 6, 0xff, 8,
						 5, 10, 1, 3, 0, 4, 5, 7, 0,	8 };

		memset(in.options, 1, 40);
		memset(out.options, 1, 40);
		memcpy(in.options + nops, before, sizeof(before));
		memcpy(out.options + nops, after, sizeof(after));
		check(&in, &out, &flow, false);
	}
}

static void test_malformed_options(void **state)
{
	static const struct segment bad[] = {
		{ ACKED, OPTIONS(8, 0, 1, 1) },	 { ACKED, OPTIONS(8, 1, 1, 1) },
		{ ACKED, OPTIONS(1, 1, 1, 8) },	 { ACKED, OPTIONS(8, 10, 1, 1) },
		{ ACKED, OPTIONS(1, 1, 5, 10) }, { ACKED, OPTIONS(254, 255, 1, 1) },
	};
	struct ladon_entry flow = FLOW(0);
	static struct buffer packet;

	(void)state;
	flow_addresses(&flow, false);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct segment s = bad[i];
		size_t len;

		s.key = key_in(false);
		s.payload_len = 40; /* more options could be read there */
		len = segment_write(&s, packet.bytes);
		assert_int_equal(run(packet.bytes, len, &flow), VERDICT_DROP);
	}
}

/* Every value of the field that a checksum can have, the two zeros included */
static void test_checksum_of_every_value(void **state)
{
	struct ladon_entry flow = FLOW(0);

	(void)state;
	for (uint32_t seq = 0; seq < 0x10000; seq += 7) {
		struct segment in = { ACKED, .seq = seq },
			       out = { ACKED, .seq = seq + 0x100, .ack = 0x200 };

		check(&in, &out, &flow, seq & 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_offset),
		cmocka_unit_test(test_malformed_options),
		cmocka_unit_test(test_checksum_of_every_value),
	};

	return cmocka_run_group_tests_name("translate", tests, NULL, NULL);
}
