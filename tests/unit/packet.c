// SPDX-License-Identifier: GPL-2.0-only
/*
 * packet.c - what the parser says of whole, broken and truncated packets
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../datapath/ctx.h"
#include "../../datapath/packet.h"
#include "../../datapath/sound.h"
#include "../segment.h"

#define IP (SEGMENT_ETHERNET)

static struct segment segment(bool ip6)
{
	return (struct segment){
		.ip6 = ip6,
		.key = segment_key(ip6, 10, 40000, 1, 443),
		.flags = SEGMENT_ACK | SEGMENT_FIN,
		.seq = 0x12345678,
		.ack = 0x9abcdef0,
		.window = 77,
		.options = { 1, 1, 8, 10 },
		.options_len = 12,
		.payload_len = 30,
	};
}

/*
 * Parse the first @linear bytes of a packet of @len, in a buffer that ends right
 * behind them: whatever is read past it is caught by the address sanitizer.
 */
static enum verdict parse(const uint8_t *packet, size_t linear, size_t len, __u32 gso_bytes,
			  struct packet *pkt)
{
	uint8_t *bytes = malloc(linear + 2);
	ctx_t ctx = { .len_bytes = (uint32_t)len, .gso_bytes = gso_bytes };
	enum verdict verdict;

	assert_non_null(bytes);
	memcpy(bytes + 2, packet, linear);
	ctx.data = bytes + 2;
	ctx.end = ctx.data + linear;
	memset(pkt, 0, sizeof(*pkt));
	verdict = packet_parse(&ctx, pkt);
	free(bytes);
	return verdict;
}

static void expect(const uint8_t *packet, size_t len, enum verdict verdict, enum ladon_reason why,
		   bool has_key)
{
	struct packet pkt;

	assert_int_equal(parse(packet, len, len, 0, &pkt), verdict);
	assert_int_equal(pkt.why, why);
	assert_int_equal(pkt.has_key, has_key);
}

/*
 * For each number of linear bytes: either more of them are asked for, or the parser says
 * what it says of all of them. Return: how many are not asked for any more.
 */
static size_t linear_enough(const uint8_t *packet, size_t len)
{
	size_t enough = len + 1;
	struct packet all, some;

	parse(packet, len, len, 0, &all);
	for (size_t cut = len + 1; cut-- > 0;) {
		uint8_t *bytes = malloc(cut + 2);
		ctx_t ctx = { .data = bytes + 2, .end = bytes + 2 + cut, .len_bytes = (__u32)len };
		bool is_linear;

		assert_non_null(bytes);
		memcpy(bytes + 2, packet, cut);
		is_linear = packet_is_linear(&ctx);
		free(bytes);
		if (!is_linear)
			continue;
		enough = cut;
		parse(packet, cut, len, 0, &some);
		assert_int_equal(some.why, all.why);
		assert_int_equal(some.has_key, all.has_key);
		assert_memory_equal(&some.key, &all.key, sizeof(all.key));
		assert_int_equal(some.options_bytes, all.options_bytes);
	}
	return enough;
}

static void test_a_whole_packet(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = segment(ip6);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet);
		struct packet pkt;

		/* padding behind the packet, as short Ethernet frames have, is not payload */
		memset(packet + len, 0xee, 6);
		for (size_t padding = 0; padding <= 6; padding += 6) {
			assert_int_equal(parse(packet, len + padding, len + padding, 0, &pkt),
					 VERDICT_CONTINUE);
			assert_int_equal(pkt.why, LADON_REASON_NONE);
			assert_true(pkt.has_key);
			assert_int_equal(pkt.is_ip6, ip6);
			assert_memory_equal(&pkt.key, &s.key, sizeof(s.key));
			assert_int_equal(pkt.len_bytes, len - SEGMENT_ETHERNET);
			assert_int_equal(pkt.payload_bytes, 30);
			assert_int_equal(pkt.options_bytes, 12);
			assert_int_equal(pkt.flags, TCP_ACK | TCP_FIN);
			assert_int_equal(pkt.seq, 0x12345678);
			assert_int_equal(pkt.ack, 0x9abcdef0);
		}
	}
}

static void test_every_truncation(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = segment(ip6);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet), headers = len - s.payload_len;
		struct packet pkt;

		assert_int_equal(linear_enough(packet, len), headers);
		for (size_t cut = 0; cut < len; cut++) {
			/* the packet is whole, but only that much of it is linear */
			assert_int_equal(parse(packet, cut, len, 0, &pkt),
					 cut < headers ? VERDICT_STACK : VERDICT_CONTINUE);
			assert_int_equal(pkt.why,
					 cut < headers ? LADON_REASON_SHORT : LADON_REASON_NONE);
			/* there is no more of it */
			expect(packet, cut, VERDICT_STACK, LADON_REASON_SHORT, false);
		}
	}
}

/* One byte of an IPv4 packet changed */
static void test_ip4_headers(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
		uint8_t value;
		enum verdict verdict;
		enum ladon_reason why;
		bool has_key;
	} rows[] = {
		{ "ARP", 13, 6, VERDICT_STACK, LADON_REASON_NOT_IP, false },
		{ "a VLAN tag in the packet", 12, 0x81, VERDICT_STACK, LADON_REASON_NOT_IP, false },
		{ "version 5", IP, 0x55, VERDICT_STACK, LADON_REASON_SHORT, false },
		{ "a header of 16 bytes", IP, 0x44, VERDICT_STACK, LADON_REASON_SHORT, false },
		{ "options", IP, 0x46, VERDICT_STACK, LADON_REASON_IP_OPTIONS, true },
		{ "options up to the end", IP, 0x4f, VERDICT_STACK, LADON_REASON_IP_OPTIONS, true },
		{ "longer than it is", IP + 2, 1, VERDICT_STACK, LADON_REASON_SHORT, false },
		{ "shorter than its headers", IP + 3, 51, VERDICT_STACK, LADON_REASON_SHORT, true },
		{ "no payload", IP + 3, 52, VERDICT_CONTINUE, LADON_REASON_NONE, true },
		{ "no length", IP + 3, 0, VERDICT_STACK, LADON_REASON_SHORT, true },
		{ "a first fragment", IP + 6, 0x20, VERDICT_STACK, LADON_REASON_FRAGMENT, true },
		{ "a later fragment", IP + 7, 1, VERDICT_STACK, LADON_REASON_FRAGMENT, false },
		{ "the reserved flag", IP + 6, 0x80, VERDICT_CONTINUE, LADON_REASON_NONE, true },
		{ "UDP", IP + 9, 17, VERDICT_STACK, LADON_REASON_NOT_TCP, false },
		{ "TCP header of 16", IP + 32, 0x40, VERDICT_STACK, LADON_REASON_SHORT, true },
		{ "TCP header of 60", IP + 32, 0xf0, VERDICT_CONTINUE, LADON_REASON_NONE, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct segment s = segment(false);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet);

		print_message("  %s\n", rows[i].name);
		packet[rows[i].offset] = rows[i].value;
		expect(packet, len, rows[i].verdict, rows[i].why, rows[i].has_key);
		linear_enough(packet, len);
	}
}

/* A packet with @count extension headers of 8 bytes, each of this kind */
static size_t with_extensions(uint8_t kind, unsigned int count, uint8_t *packet)
{
	struct segment s = segment(true);
	size_t len = segment_write(&s, packet), added = count * 8;
	uint8_t *ip = packet + IP;

	memmove(ip + 40 + added, ip + 40, len - IP - 40);
	memset(ip + 40, 0, added);
	for (unsigned int i = 0; i < count; i++)
		ip[40 + 8 * i] = i + 1 < count ? kind : 6;
	ip[6] = kind;
	segment_put16(ip + 4, segment_get16(ip + 4) + (uint32_t)added);
	return len + added;
}

static void test_ip6_extension_headers(void **state)
{
	uint8_t packet[SEGMENT_BYTES_MAX];
	struct packet pkt;
	size_t len;

	(void)state;
	for (unsigned int count = 1; count < PACKET_EXTENSIONS_MAX; count++) {
		struct segment s = segment(true);

		len = with_extensions(IPPROTO_DSTOPTS, count, packet);
		expect(packet, len, VERDICT_STACK, LADON_REASON_IP_OPTIONS, true);
		parse(packet, len, len, 0, &pkt);
		assert_memory_equal(&pkt.key, &s.key, sizeof(s.key));
		for (size_t cut = IP + 40; cut < len; cut++)
			parse(packet, cut, len, 0, &pkt);
		linear_enough(packet, len);
	}
	len = with_extensions(IPPROTO_DSTOPTS, PACKET_EXTENSIONS_MAX + 1, packet);
	expect(packet, len, VERDICT_STACK, LADON_REASON_IP_OPTIONS, false);

	len = with_extensions(IPPROTO_DSTOPTS, 1, packet);
	packet[IP + 41] = 255; /* its length leads out of the packet */
	expect(packet, len, VERDICT_STACK, LADON_REASON_IP_OPTIONS, false);

	len = with_extensions(IPPROTO_FRAGMENT, 1, packet);
	expect(packet, len, VERDICT_STACK, LADON_REASON_FRAGMENT, true);
	packet[IP + 43] = 8;
	expect(packet, len, VERDICT_STACK, LADON_REASON_FRAGMENT, false);

	len = with_extensions(IPPROTO_UDP, 1, packet);
	expect(packet, len, VERDICT_STACK, LADON_REASON_NOT_TCP, false);
	packet[IP] = 0x45;
	expect(packet, len, VERDICT_STACK, LADON_REASON_SHORT, false);
}

/* More than 64 KB: the length does not fit into the header and is 0. */
static void test_a_big_super_packet(void **state)
{
	struct segment s = segment(false);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);
	struct packet pkt;

	(void)state;
	segment_put16(packet + IP + 2, 0);
	assert_int_equal(parse(packet, len, 100000, 1448, &pkt), VERDICT_CONTINUE);
	assert_int_equal(pkt.len_bytes, 100000 - SEGMENT_ETHERNET);
	assert_int_equal(pkt.payload_bytes, 100000 - SEGMENT_ETHERNET - 52);
	assert_int_equal(parse(packet, len, 100000, 0, &pkt), VERDICT_STACK);
}

/* ---- the checksum ---- */

static bool is_sound(const uint8_t *packet, size_t len)
{
	struct packet pkt = {};
	uint8_t *bytes = malloc(len + 2);
	ctx_t ctx = { .data = bytes + 2, .end = bytes + 2 + len, .len_bytes = (uint32_t)len };
	bool sound;

	assert_non_null(bytes);
	memcpy(ctx.data, packet, len);
	assert_int_equal(packet_parse(&ctx, &pkt), VERDICT_CONTINUE);
	sound = packet_is_sound(&ctx, &pkt);
	ctx.is_partial = true;
	assert_true(packet_is_sound(&ctx, &pkt)); /* nobody has made it yet */
	free(bytes);
	return sound;
}

static void test_a_checksum_of_any_length(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++)
		for (size_t payload_len = 0; payload_len < 1400;
		     payload_len += payload_len < 100 ? 1 : 61) {
			struct segment s = segment(ip6);
			uint8_t packet[SEGMENT_BYTES_MAX];
			size_t len;

			s.payload_len = payload_len;
			len = segment_write(&s, packet);
			assert_true(is_sound(packet, len));
			memset(packet + len, 0xee, 7); /* what is behind is not the packet's */
			assert_true(is_sound(packet, len + 7));
		}
}

/* In the addresses, the TCP header and the payload; what would be another header is left out. */
static void test_every_bit_counts(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = segment(ip6);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet), from = IP + (ip6 ? 8 : 12);
		size_t doff = (size_t)(segment_tcp(packet) - packet) + 12;

		for (size_t bit = from * 8; bit < len * 8; bit++) {
			if (bit / 8 == doff)
				continue;
			packet[bit / 8] ^= 1 << bit % 8;
			assert_false(is_sound(packet, len));
			packet[bit / 8] ^= 1 << bit % 8;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_packet),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_ip4_headers),
		cmocka_unit_test(test_ip6_extension_headers),
		cmocka_unit_test(test_a_big_super_packet),
		cmocka_unit_test(test_a_checksum_of_any_length),
		cmocka_unit_test(test_every_bit_counts),
	};

	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
