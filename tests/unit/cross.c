// SPDX-License-Identifier: GPL-2.0-only
/*
 * cross.c - packets that change their family, against the same ones written in the other
 *
 *	client .10:40000 -- .1:443 gateway .1:20000 -- .20:8443 backend
 *
 * One side speaks IPv6 and the other IPv4; "to6" is the side that a packet goes to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../datapath/cross.h"
#include "../../datapath/cross_icmp.h"
#include "../../datapath/ctx.h"
#include "../icmp_error.h"

#define ROUTER 99
#define ROOM   64
#define D_SEQ  0xfffff000u
#define D_ACK  0x00012345u

/* The IP header is to be aligned: data at 2 modulo 4. */
static struct buffer {
	__attribute__((aligned(4))) uint8_t room[ROOM + 2];
	uint8_t bytes[SEGMENT_BYTES_MAX];
} buffer;

static ctx_t ctx;

static struct ladon_flow_key key_in(bool to6)
{
	return segment_key(!to6, 10, 40000, 1, 443);
}

static struct ladon_flow_key key_out(bool to6)
{
	return segment_key(to6, 1, 20000, 20, 8443);
}

static struct ladon_entry entry_of(const struct ladon_flow_key *leaves)
{
	struct ladon_entry flow = { .sport = leaves->sport,
				    .dport = leaves->dport,
				    .what = LADON_FLOW_CROSS };

	memcpy(flow.saddr, leaves->saddr, sizeof(flow.saddr));
	memcpy(flow.daddr, leaves->daddr, sizeof(flow.daddr));
	return flow;
}

static void take(size_t len)
{
	ctx = (ctx_t){ .data = buffer.bytes,
		       .end = buffer.bytes + len,
		       .len_bytes = (uint32_t)len };
}

static size_t len_now(void)
{
	return (size_t)(ctx.end - ctx.data);
}

/* ---- segments ---- */

static enum verdict cross_it(const struct segment *s, const struct ladon_entry *flow,
			     uint32_t gso_bytes)
{
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };

	take(segment_write(s, buffer.bytes));
	ctx.gso_bytes = gso_bytes;
	assert_int_equal(packet_parse(&ctx, &pkt), VERDICT_CONTINUE);
	return cross_tcp(&ctx, &pkt, flow, &d);
}

/* The identification is the translator's own: it is only seen to be there. */
static uint16_t id_now(void)
{
	return (uint16_t)segment_get16(ctx.data + SEGMENT_ETHERNET + 4);
}

/* Checksums have two zeros: the sums are compared, and then all other bytes. */
static void same_as(const struct segment *want)
{
	static uint8_t bytes[SEGMENT_BYTES_MAX];
	struct segment s = *want;

	s.id = s.ip6 ? 0 : id_now();
	assert_int_equal(segment_write(&s, bytes), len_now());
	assert_int_equal(ctx.len_bytes, len_now());
	assert_int_equal(segment_sum_ip(ctx.data), 0xffff);
	assert_int_equal(segment_sum_tcp(ctx.data), 0xffff);
	memcpy(segment_tcp(bytes) + 16, segment_tcp(ctx.data) + 16, 2);
	assert_memory_equal(ctx.data, bytes, len_now());
}

static void check(struct segment s, struct segment want, struct ladon_entry more)
{
	for (int to6 = 0; to6 < 2; to6++) {
		struct ladon_flow_key out = key_out(to6);
		struct ladon_entry flow = entry_of(&out);

		flow.what |= more.what;
		flow.d_seq = more.d_seq;
		flow.d_ack = more.d_ack;
		flow.d_tsval = more.d_tsval;
		flow.d_tsecr = more.d_tsecr;
		s.ip6 = !to6;
		s.key = key_in(to6);
		want.ip6 = to6;
		want.key = out;
		want.may_be_cut = !to6 && 20 + 20 + s.options_len + s.payload_len <= 1260;
		assert_int_equal(cross_it(&s, &flow, 0), VERDICT_CONTINUE);
		same_as(&want);
	}
}

#define ACKED .flags = SEGMENT_ACK
#define MOVED .seq = 0x100, .ack = 0x200

static void test_segments(void **state)
{
	static const struct ladon_entry moves = { .d_seq = 0x100,
						  .d_ack = 0x200,
						  .d_tsval = 0x300,
						  .d_tsecr = 0x400,
						  .what = LADON_FLOW_TS };
	static const struct ladon_entry no_ecn = { .what = LADON_FLOW_NO_ECN };

	(void)state;
	check((struct segment){ ACKED, .payload_len = 11 },
	      (struct segment){ ACKED, .payload_len = 11 }, (struct ladon_entry){ .id = 0 });
	check((struct segment){ ACKED }, (struct segment){ ACKED, MOVED }, moves);
	check((struct segment){ ACKED, .options = { 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2 },
				.options_len = 12, .payload_len = 1400 },
	      (struct segment){ ACKED, MOVED, .options = { 1, 1, 8, 10, 0, 0, 3, 1, 0, 0, 4, 2 },
				.options_len = 12, .payload_len = 1400 },
	      moves);
	check((struct segment){ ACKED, .tos = 0xbb, .ttl = 1, .window = 9 },
	      (struct segment){ ACKED, .tos = 0xbb, .ttl = 1, .window = 9 },
	      (struct ladon_entry){ .id = 0 });
	check((struct segment){ .flags = SEGMENT_ACK | SEGMENT_ECE, .tos = 0xbb },
	      (struct segment){ ACKED, .tos = 0xb8 }, no_ecn);
	check((struct segment){ .flags = SEGMENT_RST, .seq = 5, .ack = 77 },
	      (struct segment){ .flags = SEGMENT_RST, .seq = 0x105, .ack = 77 }, moves);
	for (size_t len = 1200; len < 1240;
	     len++) /* around what an IPv6 sender need not go below */
		check((struct segment){ ACKED, .payload_len = len },
		      (struct segment){ ACKED, .payload_len = len },
		      (struct ladon_entry){ .id = 0 });
}

/* DF is about the segments that leave, not about the packet that they travel in. */
static void test_a_super_packet_of_small_segments(void **state)
{
	struct ladon_flow_key out = key_out(false);
	struct ladon_entry flow = entry_of(&out);
	struct segment s = { .ip6 = true, .key = key_in(false), ACKED, .payload_len = 1500 };

	(void)state;
	assert_int_equal(cross_it(&s, &flow, 500), VERDICT_CONTINUE);
	assert_int_equal(segment_get16(ctx.data + SEGMENT_ETHERNET + 6), 0);
	assert_int_equal(cross_it(&s, &flow, 1221), VERDICT_CONTINUE);
	assert_int_equal(segment_get16(ctx.data + SEGMENT_ETHERNET + 6), 0x4000);
}

/* Neighbours differ, a repetition does not: the pieces of two segments are not put together. */
static void test_identifications(void **state)
{
	struct ladon_flow_key out = key_out(false);
	struct ladon_entry flow = entry_of(&out);
	struct segment s = { .ip6 = true, .key = key_in(false), ACKED, .payload_len = 1000 };
	static uint8_t seen[0x10000];
	int twice = 0;

	(void)state;
	for (int i = 0; i < 1000; i++, s.seq += 1000) {
		cross_it(&s, &flow, 0);
		twice += seen[id_now()]++;
	}
	assert_true(twice < 20);
	s.seq -= 1000;
	twice = seen[id_now()];
	cross_it(&s, &flow, 0);
	assert_int_equal(seen[id_now()], twice);
}

static void test_wrong_checksums_stay_wrong(void **state)
{
	(void)state;
	for (int to6 = 0; to6 < 2; to6++) {
		struct ladon_flow_key out = key_out(to6);
		struct ladon_entry flow = entry_of(&out);
		struct segment s = { .ip6 = !to6, .key = key_in(to6), ACKED, .payload_len = 9 };
		struct packet pkt = { 0 };
		struct csum_delta d = { 0 };

		flow.d_seq = 77;
		take(segment_write(&s, buffer.bytes));
		buffer.bytes[len_now() - 2] ^= 0x40;
		assert_int_equal(packet_parse(&ctx, &pkt), VERDICT_CONTINUE);
		assert_int_equal(cross_tcp(&ctx, &pkt, &flow, &d), VERDICT_CONTINUE);
		assert_int_not_equal(segment_sum_tcp(ctx.data), 0xffff);
	}
}

static void test_ip4_headers_are_verified(void **state)
{
	struct segment s = { .key = key_in(true), ACKED };

	(void)state;
	segment_write(&s, buffer.bytes);
	for (int bit = 0; bit < 160; bit++) {
		uint8_t *byte = buffer.bytes + SEGMENT_ETHERNET + bit / 8;

		assert_true(cross_is_sound((void *)(buffer.bytes + SEGMENT_ETHERNET)));
		*byte ^= (uint8_t)(1 << bit % 8);
		assert_false(cross_is_sound((void *)(buffer.bytes + SEGMENT_ETHERNET)));
		*byte ^= (uint8_t)(1 << bit % 8);
	}
}

/* ---- errors ---- */

/*
 * What an end sent, as it was passed on in the other family and as it is to be quoted to it:
 * a router quotes what it got, and the quote's own header changes its family back.
 */
struct passage {
	uint8_t passed[SEGMENT_BYTES_MAX], meant[SEGMENT_BYTES_MAX];
	struct ladon_entry back; /* of what the receiver sends */
};

/* @to6: the error's receiver, who sent the segment, speaks IPv6 */
static struct passage passage(bool to6)
{
	struct ladon_flow_key home = segment_key(to6, 1, 443, 10, 40000);
	struct passage p = { .back = entry_of(&home) };
	struct segment s = { .ip6 = !to6,
			     .key = segment_key(!to6, 1, 20000, 20, 8443),
			     .tos = 0x48,
			     .ttl = 17,
			     .flags = SEGMENT_ACK,
			     .seq = 0x1234 + D_SEQ,
			     .ack = 0xffff0000 + D_ACK,
			     .window = 77,
			     .payload_len = 600 };

	p.back.d_seq = -D_ACK;
	p.back.d_ack = -D_SEQ;
	segment_write(&s, p.passed);
	s.ip6 = to6;
	s.key = segment_key(to6, 10, 40000, 1, 443);
	s.seq -= D_SEQ;
	s.ack -= D_ACK;
	segment_write(&s, p.meant);
	return p;
}

/* Return: VERDICT_CONTINUE, or the reason why not */
static uint32_t cross_error_about(const struct passage *p, struct icmp_error *e)
{
	struct ladon_flow_key key = { 0 }, want = segment_key(e->ip6, 20, 8443, 1, 20000);
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };
	struct quote q = { 0 };

	take(icmp_error_write(e, buffer.bytes));
	assert_true(quote_parse(&ctx, &pkt, &q, &key));
	assert_true(q.is_to_sender);
	assert_memory_equal(&key, &want, sizeof(key));
	if (cross_icmp(&ctx, &pkt, &q, &p->back, &d) != VERDICT_CONTINUE)
		return pkt.why;
	assert_int_equal(pkt.why, LADON_REASON_ICMP_ERROR);
	return VERDICT_CONTINUE;
}

static struct icmp_error error_about(const struct passage *p, bool to6, size_t tcp_bytes)
{
	return (struct icmp_error){ .ip6 = !to6,
				    .key = segment_key(!to6, ROUTER, 0, 1, 0),
				    .type = to6 ? 11 : 3,
				    .tos = 0xc0,
				    .ttl = 63,
				    .quote = p->passed + SEGMENT_ETHERNET,
				    .quote_len = (to6 ? 20 : 40) + tcp_bytes };
}

static struct icmp_error error_meant(const struct passage *p, bool to6, size_t tcp_bytes)
{
	return (struct icmp_error){ .ip6 = to6,
				    .key = segment_key(to6, 1, 0, 10, 0),
				    .type = to6 ? 3 : 11,
				    .tos = 0xc0,
				    .ttl = 63,
				    .quote = p->meant + SEGMENT_ETHERNET,
				    .quote_len = (to6 ? 40 : 20) + tcp_bytes };
}

static void forget_checksums(uint8_t *packet, size_t tcp_bytes)
{
	bool ip6 = segment_is_ip6(packet);
	size_t at = icmp_error_at(packet), tcp = at + 8 + (ip6 ? 40 : 20);

	assert_int_equal(icmp_error_sum(packet), 0xffff);
	assert_int_equal(segment_sum_ip(packet), 0xffff);
	memset(packet + at + 2, 0, 2);
	if (tcp_bytes >= 18 && segment_get16(packet + tcp + 16) == 0xffff)
		memset(packet + tcp + 16, 0, 2);
}

static void check_error(bool to6, size_t tcp_bytes)
{
	struct passage p = passage(to6);
	struct icmp_error e = error_about(&p, to6, tcp_bytes), m = error_meant(&p, to6, tcp_bytes);
	static uint8_t want[SEGMENT_BYTES_MAX];

	if (tcp_bytes < 20) /* what depends on the flags is left alone */
		memcpy(segment_tcp(p.meant) + 8, segment_tcp(p.passed) + 8, 12);
	assert_int_equal(cross_error_about(&p, &e), VERDICT_CONTINUE);
	assert_int_equal(icmp_error_write(&m, want), len_now());
	forget_checksums(ctx.data, tcp_bytes);
	forget_checksums(want, tcp_bytes);
	assert_memory_equal(ctx.data, want, len_now());
}

static void test_every_length_of_a_quote(void **state)
{
	(void)state;
	for (size_t tcp_bytes = 8; tcp_bytes <= 620; tcp_bytes += tcp_bytes < 70 ? 1 : 50) {
		check_error(false, tcp_bytes);
		check_error(true, tcp_bytes);
	}
}

struct word {
	uint8_t type, code;
	uint32_t rest;
	uint8_t to_type, to_code; /* 0: no word for it */
	uint32_t to_rest;
};

/* RFC 7915 section 4.2, a line for each of its cases */
static const struct word to_icmp6[] = {
	{ 3, 0, 0, 1, 0, 0 },
	{ 3, 1, 0, 1, 0, 0 },
	{ 3, 2, 0, 4, 1, 6 },
	{ 3, 3, 0, 1, 4, 0 },
	{ 3, 4, 1400, 2, 0, 1420 },
	{ 3, 4, 0xabcd0000 + 1400, 2, 0, 1420 }, /* the upper half is not the MTU's */
	{ 3, 4, 1260, 2, 0, 1280 },
	{ 3, 4, 576, 2, 0, 1280 },
	{ 3, 4, 0xffff, 2, 0, 65555 },
	{ 3, 4, 0, 2, 0, 1280 }, /* of 640 bytes: below every plateau that IPv6 knows */
	{ 3, 5, 0, 1, 0, 0 },
	{ 3, 6, 0, 1, 0, 0 },
	{ 3, 7, 0, 1, 0, 0 },
	{ 3, 8, 0, 1, 0, 0 },
	{ 3, 9, 0, 1, 1, 0 },
	{ 3, 10, 0, 1, 1, 0 },
	{ 3, 11, 0, 1, 0, 0 },
	{ 3, 12, 0, 1, 0, 0 },
	{ 3, 13, 0, 1, 1, 0 },
	{ 3, 14, 0, 0, 0, 0 },
	{ 3, 15, 0, 1, 1, 0 },
	{ 3, 16, 0, 0, 0, 0 },
	{ 11, 0, 0x00200000, 3, 0, 0 }, /* with the length of RFC 4884, which goes */
	{ 11, 1, 0, 3, 1, 0 },
	{ 12, 0, 0, 4, 0, 0 },
	{ 12, 0, 1u << 24, 4, 0, 1 },
	{ 12, 0, 2u << 24, 4, 0, 4 },
	{ 12, 0, 3u << 24, 4, 0, 4 },
	{ 12, 0, 4u << 24, 0, 0, 0 },
	{ 12, 0, 7u << 24, 0, 0, 0 },
	{ 12, 2, 8u << 24, 4, 0, 7 },
	{ 12, 0, 9u << 24, 4, 0, 6 },
	{ 12, 0, 10u << 24, 0, 0, 0 },
	{ 12, 0, 12u << 24, 4, 0, 8 },
	{ 12, 0, 15u << 24, 4, 0, 8 },
	{ 12, 0, 16u << 24, 4, 0, 24 },
	{ 12, 0, 19u << 24, 4, 0, 24 },
	{ 12, 0, 20u << 24, 0, 0, 0 },
	{ 12, 1, 0, 0, 0, 0 },
	{ 12, 3, 0, 0, 0, 0 },
};

/* Section 5.2 */
static const struct word to_icmp4[] = {
	{ 1, 0, 0, 3, 1, 0 },
	{ 1, 1, 0, 3, 10, 0 },
	{ 1, 2, 0, 3, 1, 0 },
	{ 1, 3, 0, 3, 1, 0 },
	{ 1, 4, 0, 3, 3, 0 },
	{ 1, 5, 0, 0, 0, 0 },
	{ 1, 255, 0, 0, 0, 0 },
	{ 2, 0, 1500, 3, 4, 1480 },
	{ 2, 0, 1280, 3, 4, 1260 },
	{ 2, 0, 0x20000, 3, 4, 0xffff },
	{ 2, 0, 0xffffffff, 3, 4, 0xffff },
	{ 2, 0, 0, 3, 4, 68 },
	{ 3, 0, 0x10000000, 11, 0, 0 },
	{ 3, 1, 0, 11, 1, 0 },
	{ 4, 0, 0, 12, 0, 0 },
	{ 4, 0, 1, 12, 0, 1u << 24 },
	{ 4, 0, 2, 0, 0, 0 },
	{ 4, 0, 4, 12, 0, 2u << 24 },
	{ 4, 0, 5, 12, 0, 2u << 24 },
	{ 4, 0, 6, 12, 0, 9u << 24 },
	{ 4, 0, 7, 12, 0, 8u << 24 },
	{ 4, 0, 8, 12, 0, 12u << 24 },
	{ 4, 0, 23, 12, 0, 12u << 24 },
	{ 4, 0, 24, 12, 0, 16u << 24 },
	{ 4, 0, 39, 12, 0, 16u << 24 },
	{ 4, 0, 40, 0, 0, 0 },
	{ 4, 0, 0x100, 0, 0, 0 },
	{ 4, 1, 6, 3, 2, 0 },
	{ 4, 2, 0, 0, 0, 0 },
};

static void check_words(bool to6, const struct word *words, size_t count)
{
	for (const struct word *w = words; w < words + count; w++) {
		struct passage p = passage(to6);
		struct icmp_error e = error_about(&p, to6, 20);
		const uint8_t *icmp;
		uint32_t rc;

		e.type = w->type;
		e.code = w->code;
		e.rest = w->rest;
		rc = cross_error_about(&p, &e);
		assert_int_equal(rc, w->to_type ? (uint32_t)VERDICT_CONTINUE
						: (uint32_t)LADON_REASON_ICMP_NO_WORD);
		if (!w->to_type)
			continue;
		icmp = ctx.data + icmp_error_at(ctx.data);
		assert_int_equal(icmp[0], w->to_type);
		assert_int_equal(icmp[1], w->to_code);
		assert_int_equal(segment_get32(icmp + 4), w->to_rest);
		assert_int_equal(icmp_error_sum(ctx.data), 0xffff);
	}
}

static void test_types_and_codes(void **state)
{
	(void)state;
	check_words(true, to_icmp6, sizeof(to_icmp6) / sizeof(to_icmp6[0]));
	check_words(false, to_icmp4, sizeof(to_icmp4) / sizeof(to_icmp4[0]));
}

/* A router of before RFC 1191 does not say what would have fit: less than what did not. */
static void test_plateaus(void **state)
{
	static const uint16_t plateaus[] = { 32000, 17914, 8166, 4352, 2002, 1492 };
	size_t at = 0;

	(void)state;
	for (uint32_t len = 0xffff; len > 0; len--) {
		while (at < 6 && plateaus[at] >= len)
			at++;
		assert_int_equal(cross_mtu6(0, len), at < 6 ? plateaus[at] + 20 : 1280);
	}
}

static void test_a_damaged_error_stays_so(void **state)
{
	(void)state;
	for (int to6 = 0; to6 < 2; to6++) {
		struct passage p = passage(to6);
		struct icmp_error e = error_about(&p, to6, 60);
		struct ladon_flow_key key = { 0 };
		struct packet pkt = { 0 };
		struct csum_delta d = { 0 };
		struct quote q = { 0 };

		take(icmp_error_write(&e, buffer.bytes));
		buffer.bytes[len_now() - 3] ^= 0x20;
		assert_true(quote_parse(&ctx, &pkt, &q, &key));
		assert_int_equal(cross_icmp(&ctx, &pkt, &q, &p.back, &d), VERDICT_CONTINUE);
		assert_int_not_equal(icmp_error_sum(ctx.data), 0xffff);
	}
}

static void test_too_long_for_icmp6(void **state)
{
	struct packet pkt = { .len_bytes = 1240 };

	(void)state;
	assert_false(cross_icmp_is_long(&pkt));
	pkt.len_bytes++;
	assert_true(cross_icmp_is_long(&pkt));
	pkt.is_ip6 = true;
	assert_false(cross_icmp_is_long(&pkt));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_a_super_packet_of_small_segments),
		cmocka_unit_test(test_identifications),
		cmocka_unit_test(test_wrong_checksums_stay_wrong),
		cmocka_unit_test(test_ip4_headers_are_verified),
		cmocka_unit_test(test_every_length_of_a_quote),
		cmocka_unit_test(test_types_and_codes),
		cmocka_unit_test(test_plateaus),
		cmocka_unit_test(test_a_damaged_error_stays_so),
		cmocka_unit_test(test_too_long_for_icmp6),
	};

	return cmocka_run_group_tests_name("cross", tests, NULL, NULL);
}
