// SPDX-License-Identifier: GPL-2.0-only
/*
 * proxy_header.c - PROXY headers as HAProxy sends them, as attackers would, and our own
 *
 * The parser gets a copy of exactly the length it is told, so that AddressSanitizer
 * sees a read past it, and a header full of rubbish, so that a field left out shows.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#include "../../gateway/proxy_header.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIGNATURE    "\r\n\r\n\0\r\nQUIT\n"
#define IP4	     "\xc0\x00\x02\x07\xc0\x00\x02\x09\x9c\x40\x01\xbb" /* 192.0.2.7:40000, .9:443 */
#define IP6                                                                                        \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"                                               \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x9c\x40\x01\xbb"
#define MALFORMED LADON_REASON_PROXY_MALFORMED
#define CHECKSUM  LADON_REASON_PROXY_CHECKSUM
#define LENGTH	  LADON_REASON_PROXY_LENGTH

/* A literal with NULs in it */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1
#define SENT(text)  .bytes = (const uint8_t *)(text), .len = sizeof(text) - 1

/* What HAProxy 2.6 sent: unique id and an empty SSL block, its checksum first of all */
static const uint8_t haproxy_ip4[] =
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x2b\x7f\0\0\x01\x7f\0\0\x01\xdc\x48"
	"\x46\xa1\x03\0\x04\x66\x85\xdb\x54\x05\0\x0d"
	"7F000001:DC48\x20\0\x05\0\0\0\0\0";
static const uint8_t haproxy_ip6[] =
	"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x5b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	"\x01\xb9\x06\x46\xa1\x03\0\x04\x91\xb6\x68\x64\x05\0\x25"
	"00000000000000000000000000000001:B906\x20\0\x05\0\0\0\0\0";

static uint8_t *copied; /* what the last header was read from: its texts point there */

static int copy_free(void **state)
{
	(void)state;
	free(copied);
	copied = NULL;
	return 0;
}

static enum peek_answer parse(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
	static struct proxy_header untouched;
	enum peek_answer answer;

	free(copied);
	copied = malloc(len ? len : 1);
	assert_non_null(copied);
	memcpy(copied, bytes, len);
	memset(out, 0xa5, sizeof(*out));
	memset(&untouched, 0xa5, sizeof(untouched));
	answer = proxy_header_parse(len ? copied : NULL, len, out);
	if (answer == PEEK_MORE || answer == PEEK_OTHER)
		assert_memory_equal(out, &untouched, sizeof(*out));
	if (answer == PEEK_BAD)
		assert_int_equal(out->len, 0);
	return answer;
}

static void expect_addr(const struct addr *addr, const char *want)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(addr, text), want);
}

static void expect_text(struct proxy_text text, const char *want)
{
	if (!want) {
		assert_null(text.at);
		return;
	}
	assert_int_equal(text.len, strlen(want));
	assert_memory_equal(text.at, want, text.len);
}

/* ---- right ones ---- */

static const struct good {
	const char *what;
	const uint8_t *bytes;
	size_t len;
	enum proxy_version version;
	const char *source, *destination; /* NULL: the socket's */
	const char *alpn, *authority, *unique_id;
	bool has_checksum;
} goods[] = {
	{ "the example of the specification",
	  SENT("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), PROXY_V1, "192.168.0.1:56324",
	  "192.168.0.11:443" },
	{ "version 1, longest of IPv6",
	  SENT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"),
	  PROXY_V1, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535" },
	{ "version 1 of unlike families", SENT("PROXY TCP6 ::ffff:192.0.2.7 2001:DB8::9 0 1\r\n"),
	  PROXY_V1, "192.0.2.7:0", "[2001:db8::9]:1" },
	{ "unknown, short", SENT("PROXY UNKNOWN\r\n"), PROXY_V1 },
	{ "unknown, longest",
	  SENT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	  PROXY_V1 },
	{ "unknown, with words that mean nothing", SENT("PROXY UNKNOWN 1  2 3 4 5 6 7 8\r\n"),
	  PROXY_V1 },
	{ "version 2, IPv4", SENT(SIGNATURE "\x21\x11\0\x0c" IP4), PROXY_V2, "192.0.2.7:40000",
	  "192.0.2.9:443" },
	{ "version 2, IPv6", SENT(SIGNATURE "\x21\x21\0\x24" IP6), PROXY_V2, "[2001:db8::7]:40000",
	  "[2001:db8::9]:443" },
	{ "HAProxy, IPv4", SENT(haproxy_ip4), PROXY_V2, "127.0.0.1:56392", "127.0.0.1:18081",
	  .unique_id = "7F000001:DC48", .has_checksum = true },
	{ "HAProxy, IPv6", SENT(haproxy_ip6), PROXY_V2, "[::1]:47366", "[::1]:18081",
	  .unique_id = "00000000000000000000000000000001:B906", .has_checksum = true },
	{ "all texts, and unknown types twice",
	  SENT(SIGNATURE "\x21\x11\0\x2c" IP4 "\x01\0\x02h2\xe0\0\x01x\x02\0\x03"
			 "a.b\x04\0\0\x05\0\x04id\0\xff\xe0\0\0\xea\0\x01y"),
	  PROXY_V2, "192.0.2.7:40000", "192.0.2.9:443", "h2", "a.b" },
	{ "an empty text is one", SENT(SIGNATURE "\x21\x11\0\x0f" IP4 "\x02\0\0"), PROXY_V2,
	  "192.0.2.7:40000", "192.0.2.9:443", NULL, "" },
	{ "local", SENT(SIGNATURE "\x20\0\0\0"), PROXY_V2 },
	{ "local, with addresses and TLVs that are not read",
	  SENT(SIGNATURE "\x20\x11\0\x0f" IP4 "\x03\xff\xff"), PROXY_V2 },
	{ "not specified, with what is not read", SENT(SIGNATURE "\x21\0\0\x02xx"), PROXY_V2 },
	{ "IPv4, but what over it?", SENT(SIGNATURE "\x21\x10\0\x0c" IP4), PROXY_V2 },
	{ "UDP, with a name", SENT(SIGNATURE "\x21\x12\0\x10" IP4 "\x02\0\x01x"), PROXY_V2,
	  .authority = "x" },
};

static void takes_right_ones(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(goods); i++) {
		const struct good *g = &goods[i];
		struct proxy_header h;

		print_message("%s\n", g->what);
		for (size_t n = 0; n < g->len; n++)
			if (parse(g->bytes, n, &h) != PEEK_MORE)
				fail_msg("not PEEK_MORE with %zu of %zu bytes", n, g->len);
		assert_int_equal(parse(g->bytes, g->len, &h), PEEK_FOUND);
		assert_int_equal(h.reason, LADON_REASON_NONE);
		assert_int_equal(h.len, g->len);
		assert_int_equal(h.version, g->version);
		assert_int_equal(h.has_checksum, g->has_checksum);
		assert_int_equal(h.has_addresses, g->source != NULL);
		if (g->source) {
			expect_addr(&h.source, g->source);
			expect_addr(&h.destination, g->destination);
		}
		expect_text(h.alpn, g->alpn);
		expect_text(h.authority, g->authority);
		if (g->unique_id)
			expect_text(h.unique_id, g->unique_id);
	}
}

static void leaves_what_follows(void **state)
{
	static const uint8_t bytes[] = "PROXY UNKNOWN\r\n\r\nGET";
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(bytes, sizeof(bytes) - 1, &h), PEEK_FOUND);
	assert_int_equal(h.len, strlen("PROXY UNKNOWN\r\n"));
}

/* ---- wrong ones ---- */

static const struct bad {
	const char *what;
	const uint8_t *bytes;
	size_t len;
	enum ladon_reason reason;
} bads[] = {
	{ "no family", BYTES("PROXY \r\n"), MALFORMED },
	{ "another family", BYTES("PROXY TCP5 192.0.2.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "UDP in version 1", BYTES("PROXY UDP4 192.0.2.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "unknown in small letters", BYTES("PROXY unknown\r\n"), MALFORMED },
	{ "two spaces", BYTES("PROXY  TCP4 192.0.2.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "a space at the end", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 1 2 \r\n"), MALFORMED },
	{ "a tab", BYTES("PROXY TCP4\t192.0.2.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "a port too few", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 1\r\n"), MALFORMED },
	{ "a port of 65536", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 65536 2\r\n"), MALFORMED },
	{ "a port beyond 32 bits", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 4294967297 2\r\n"),
	  MALFORMED },
	{ "a port with a sign", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 +1 2\r\n"), MALFORMED },
	{ "a port with a zero before it", BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 01 2\r\n"),
	  MALFORMED },
	{ "an octal address", BYTES("PROXY TCP4 192.0.02.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "IPv6 as IPv4", BYTES("PROXY TCP4 2001:db8::7 2001:db8::9 1 2\r\n"), MALFORMED },
	{ "IPv4 as IPv6", BYTES("PROXY TCP6 192.0.2.7 192.0.2.9 1 2\r\n"), MALFORMED },
	{ "a zone", BYTES("PROXY TCP6 fe80::1%lo fe80::2%lo 1 2\r\n"), MALFORMED },
	{ "a lone LF", BYTES("PROXY UNKNOWN\n"), MALFORMED },
	{ "a lone CR", BYTES("PROXY UNKNOWN\rx"), MALFORMED },
	{ "a NUL", BYTES("PROXY UNKNOWN\0"), MALFORMED },
	{ "107 bytes without an end",
	  BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655355\r"),
	  MALFORMED },
	{ "version 1 in binary", BYTES(SIGNATURE "\x11"), MALFORMED },
	{ "command 2", BYTES(SIGNATURE "\x22"), MALFORMED },
	{ "family 4", BYTES(SIGNATURE "\x21\x41"), MALFORMED },
	{ "protocol 3", BYTES(SIGNATURE "\x21\x13"), MALFORMED },
	{ "shorter than its addresses", BYTES(SIGNATURE "\x21\x11\0\x0b" IP4), MALFORMED },
	{ "a path of 107 bytes", BYTES(SIGNATURE "\x21\x31\0\x01x"), MALFORMED },
	{ "4081 bytes follow", BYTES(SIGNATURE "\x21\x11\x0f\xf1"), LENGTH },
	{ "half a TLV's head", BYTES(SIGNATURE "\x21\x11\0\x0e" IP4 "\x02\0"), MALFORMED },
	{ "a TLV over the end", BYTES(SIGNATURE "\x21\x11\0\x10" IP4 "\x02\0\x02x"), MALFORMED },
	{ "two names", BYTES(SIGNATURE "\x21\x11\0\x14" IP4 "\x02\0\x01x\x02\0\x01x"), MALFORMED },
	{ "two checksums",
	  BYTES(SIGNATURE "\x21\x11\0\x1a" IP4 "\x03\0\x04"
			  "0000\x03\0\x04"
			  "0000"),
	  MALFORMED },
	{ "a checksum of 3 bytes",
	  BYTES(SIGNATURE "\x21\x11\0\x12" IP4 "\x03\0\x03"
			  "000"),
	  MALFORMED },
	{ "a wrong checksum",
	  BYTES(SIGNATURE "\x21\x11\0\x13" IP4 "\x03\0\x04"
			  "0000"),
	  CHECKSUM },
	{ "an SSL block of 4 bytes", BYTES(SIGNATURE "\x21\x11\0\x13" IP4 "\x20\0\x04\0\0\0\0"),
	  MALFORMED },
	{ "a TLV over the end of the SSL block",
	  BYTES(SIGNATURE "\x21\x11\0\x17" IP4 "\x20\0\x08\0\0\0\0\0\x21\0\x01"), MALFORMED },
};

static void refuses_wrong_ones(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bads); i++) {
		const struct bad *b = &bads[i];
		uint8_t more[1024] = { 0 };
		struct proxy_header h;

		print_message("%s\n", b->what);
		assert_int_equal(parse(b->bytes, b->len, &h), PEEK_BAD);
		assert_int_equal(h.reason, b->reason);
		memcpy(more, b->bytes, b->len);
		assert_int_equal(parse(more, sizeof(more), &h), PEEK_BAD);
		assert_int_equal(h.reason, b->reason);
	}
}

static void leaves_others_alone(void **state)
{
	static const char *const others[] = { "X",	   "PRI",	   "PROXYX",
					      "POST /",	   "\x16\x03\x01", "\r\nX",
					      "\r\n\r\n\n" };
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < COUNT(others); i++)
		assert_int_equal(parse((const uint8_t *)others[i], strlen(others[i]), &h),
				 PEEK_OTHER);
}

static void takes_no_unique_id_of_129_bytes(void **state)
{
	uint8_t bytes[16 + 12 + 3 + 129] = SIGNATURE "\x21\x11\0\x90" IP4 "\x05\0\x81";
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(bytes, sizeof(bytes), &h), PEEK_BAD);
	assert_int_equal(h.reason, MALFORMED);
	bytes[15] = 0x8f;
	bytes[30] = 0x80;
	assert_int_equal(parse(bytes, sizeof(bytes) - 1, &h), PEEK_FOUND);
	assert_int_equal(h.unique_id.len, 128);
}

/* Not one bit of what the checksum covers may change, and none may make us crash. */
static void sees_each_flipped_bit(void **state)
{
	uint8_t bytes[sizeof(haproxy_ip6) - 1];
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < 8 * sizeof(bytes); i++) {
		enum peek_answer answer;

		memcpy(bytes, haproxy_ip6, sizeof(bytes));
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		answer = parse(bytes, sizeof(bytes), &h);
		if (i == 12 * 8 || i / 8 == 13) /* LOCAL, or not TCP */
			continue;
		if (i / 8 == 52) /* the type of the checksum */
			continue;
		assert_int_not_equal(answer, PEEK_FOUND);
	}
}

static void survives_each_changed_byte(void **state)
{
	struct proxy_header h;

	(void)state;
	for (size_t i = 0; i < COUNT(goods); i++) {
		uint8_t bytes[256];

		for (size_t n = 0; n < goods[i].len * 256; n++) {
			memcpy(bytes, goods[i].bytes, goods[i].len);
			bytes[n / 256] = (uint8_t)n;
			parse(bytes, goods[i].len, &h);
		}
	}
}

/* ---- writing ---- */

static struct proxy_header make(enum proxy_version version, const char *source,
				const char *destination)
{
	struct proxy_header h = { .version = version, .has_addresses = source };

	if (source) {
		assert_int_equal(addr_parse(source, &h.source), 0);
		assert_int_equal(addr_parse(destination, &h.destination), 0);
	}
	return h;
}

static void expect_bytes(const struct proxy_header *h, const uint8_t *want, size_t len)
{
	uint8_t bytes[PROXY_BYTES_MAX];

	assert_int_equal(proxy_header_format(h, bytes), len);
	assert_memory_equal(bytes, want, len);
}

static void writes_version_1(void **state)
{
	struct proxy_header h = make(PROXY_V1, "192.168.0.1:56324", "192.168.0.11:443");

	(void)state;
	expect_bytes(&h, BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"));
	h = make(PROXY_V1, "[2001:db8::7]:1", "[2001:db8::9]:65535");
	expect_bytes(&h, BYTES("PROXY TCP6 2001:db8::7 2001:db8::9 1 65535\r\n"));
	h = make(PROXY_V1, "192.0.2.7:1", "[2001:db8::9]:2");
	expect_bytes(&h, BYTES("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::9 1 2\r\n"));
	h = make(PROXY_V1, "[::ffff:192.0.2.7]:1", "192.0.2.9:2");
	expect_bytes(&h, BYTES("PROXY TCP4 192.0.2.7 192.0.2.9 1 2\r\n"));
	h = make(PROXY_V1, NULL, NULL);
	expect_bytes(&h, BYTES("PROXY UNKNOWN\r\n"));
}

static void writes_version_2(void **state)
{
	struct proxy_header h = make(PROXY_V2, "192.0.2.7:40000", "192.0.2.9:443");

	(void)state;
	expect_bytes(&h, BYTES(SIGNATURE "\x21\x11\0\x0c" IP4));
	h.alpn = (struct proxy_text){ (const uint8_t *)"h2", 2 };
	h.authority = (struct proxy_text){ (const uint8_t *)"a.b", 3 };
	expect_bytes(&h, BYTES(SIGNATURE "\x21\x11\0\x17" IP4 "\x01\0\x02h2\x02\0\x03"
					 "a.b"));
	h = make(PROXY_V2, "[2001:db8::7]:40000", "[2001:db8::9]:443");
	expect_bytes(&h, BYTES(SIGNATURE "\x21\x21\0\x24" IP6));
	h = make(PROXY_V2, "192.0.2.7:40000", "[2001:db8::9]:443");
	expect_bytes(&h,
		     BYTES(SIGNATURE "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07"
				     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x9c\x40\x01\xbb"));
	h = make(PROXY_V2, NULL, NULL);
	expect_bytes(&h, BYTES(SIGNATURE "\x20\0\0\0"));
}

/* HAProxy puts its checksum first, we put it last: so the sum is another one. */
static void passes_texts_on(void **state)
{
	uint8_t bytes[PROXY_BYTES_MAX];
	struct proxy_header h, again;

	(void)state;
	for (size_t i = 0; i < COUNT(goods); i++) {
		size_t len;

		assert_int_equal(parse(goods[i].bytes, goods[i].len, &h), PEEK_FOUND);
		len = proxy_header_format(&h, bytes);
		assert_int_equal(parse(bytes, len, &again), PEEK_FOUND);
		assert_int_equal(again.version, goods[i].version);
		assert_int_equal(again.has_checksum, goods[i].has_checksum);
		assert_int_equal(again.has_addresses, goods[i].source != NULL);
		if (!again.has_addresses)
			continue;
		expect_addr(&again.source, goods[i].source);
		expect_addr(&again.destination, goods[i].destination);
		expect_text(again.authority, goods[i].authority);
		if (goods[i].unique_id)
			expect_text(again.unique_id, goods[i].unique_id);
	}
}

static void keeps_unknown_types(void **state)
{
	static const uint8_t bytes[] =
		SIGNATURE "\x21\x11\0\x1e" IP4 "\xe0\0\x01x\x04\0\0\x02\0\x01n\xe0\0\0\xea\0\x01y";
	struct proxy_header h;

	(void)state;
	assert_int_equal(parse(bytes, sizeof(bytes) - 1, &h), PEEK_FOUND);
	expect_bytes(&h, BYTES(SIGNATURE "\x21\x11\0\x1b" IP4
					 "\x02\0\x01n\xe0\0\x01x\xe0\0\0\xea\0\x01y"));
	h.tlvs.len = 0;
	h.authority.at = NULL;
	expect_bytes(&h, BYTES(SIGNATURE "\x21\x11\0\x0c" IP4));
}

static void writes_no_more_than_fits(void **state)
{
	static const uint8_t long_one[UINT16_MAX + 1];
	struct proxy_header h = make(PROXY_V2, "192.0.2.7:40000", "192.0.2.9:443");
	uint8_t bytes[PROXY_BYTES_MAX];

	(void)state;
	h.has_checksum = true;
	h.authority = (struct proxy_text){ long_one, PROXY_BYTES_MAX - 16 - 12 - 3 - 7 };
	assert_int_equal(proxy_header_format(&h, bytes), PROXY_BYTES_MAX);
	assert_int_equal(parse(bytes, sizeof(bytes), &h), PEEK_FOUND);
	h.authority = (struct proxy_text){ long_one, PROXY_BYTES_MAX - 16 - 12 - 3 - 6 };
	assert_int_equal(proxy_header_format(&h, bytes), 0);
	h.authority.len = UINT16_MAX + 1;
	assert_int_equal(proxy_header_format(&h, bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_right_ones),
		cmocka_unit_test(leaves_what_follows),
		cmocka_unit_test(refuses_wrong_ones),
		cmocka_unit_test(leaves_others_alone),
		cmocka_unit_test(takes_no_unique_id_of_129_bytes),
		cmocka_unit_test(sees_each_flipped_bit),
		cmocka_unit_test(survives_each_changed_byte),
		cmocka_unit_test(writes_version_1),
		cmocka_unit_test(writes_version_2),
		cmocka_unit_test(passes_texts_on),
		cmocka_unit_test(keeps_unknown_types),
		cmocka_unit_test(writes_no_more_than_fits),
	};

	return cmocka_run_group_tests(tests, NULL, copy_free);
}
