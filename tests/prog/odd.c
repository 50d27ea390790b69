// SPDX-License-Identifier: GPL-2.0-only
/*
 * odd.c - the program at tc ingress under packets that no sane sender writes
 *
 * A table of odd packets of a live flow, with the verdict and the reason of
 * each; the same packets where there is no flow. All of it twice: of flows whose ends
 * speak the same family, and unlike ones. Then a property, for packets
 * cut at every length, with every byte changed, and changed at random: what IP
 * would hand to TCP as a segment of the flow never goes to the stack, which has no
 * socket for it and would answer with a RST. What that is, a slow parser says
 * that shares nothing with packet.h.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../datapath/abi.h"
#include "../segment.h"
#include "counted.h"
#include "ladon.skel.h"

#define HOP	    5
#define LOOPBACK    1 /* an interface that exists */
#define RANDOM_RUNS 20000
#define UNSPEC	    ((uint32_t)TC_ACT_UNSPEC)

static struct ladon_bpf *skel;
static bool crossing; /* flows leave in the other family */

/* What the program made of the last packet */
static struct {
	uint8_t bytes[SEGMENT_BYTES_MAX];
	size_t len;
	uint32_t verdict;
	enum ladon_reason why; /* which counter went up; by one, and no other */
} out;

static const char *const reason_names[] = {
#define NAME(kind, name, text) [LADON_REASON_##name] = #name,
	LADON_REASONS(NAME)
#undef NAME
};

static const char *reason_name(enum ladon_reason why)
{
	return why ? reason_names[why] : "translated";
}

/* ---- running it ---- */

static uint64_t counted(uint32_t why)
{
	return counted_in(skel->maps.ladon_counters, why).packets;
}

static void run(const uint8_t *packet, size_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = (uint32_t)len,
		    .data_out = out.bytes, .data_size_out = sizeof(out.bytes));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ladon_ingress), &opts),
			 0);
	out.len = opts.data_size_out;
	out.verdict = opts.retval;
}

/* The same, and which reason was counted. */
static void run_and_ask(const uint8_t *packet, size_t len)
{
	uint64_t before[LADON_REASON_COUNT];
	int changes = 0;

	for (uint32_t why = 0; why < LADON_REASON_COUNT; why++)
		before[why] = counted(why);
	run(packet, len);
	for (uint32_t why = 0; why < LADON_REASON_COUNT; why++) {
		if (counted(why) == before[why])
			continue;
		out.why = why;
		changes++;
	}
	assert_int_equal(changes, 1);
}

/* ---- a flow ---- */

static struct ladon_flow_key client_key(bool ip6)
{
	return segment_key(ip6, 10, 40000, 1, 443);
}

static void put_entry(const struct ladon_flow_key *arrives, const struct ladon_flow_key *leaves,
		      uint8_t what)
{
	struct ladon_entry entry = { .what = what | LADON_FLOW_TS, .route = HOP, .id = 7 };

	if (crossing)
		entry.what |= LADON_FLOW_CROSS;

	memcpy(entry.saddr, leaves->saddr, 16);
	memcpy(entry.daddr, leaves->daddr, 16);
	entry.sport = leaves->sport;
	entry.dport = leaves->dport;
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_flows), arrives, &entry, BPF_ANY),
		0);
}

static void make_flow(bool ip6)
{
	struct ladon_flow_key in = client_key(ip6), to_client = segment_key(ip6, 1, 443, 10, 40000);
	struct ladon_flow_key to_backend = segment_key(ip6 != crossing, 1, 20000, 20, 8443);
	struct ladon_flow_key back = segment_key(ip6 != crossing, 20, 8443, 1, 20000);

	put_entry(&in, &to_backend, 0);
	put_entry(&back, &to_client, LADON_FLOW_TO_CLIENT);
}

static void delete_flow(bool ip6)
{
	struct ladon_flow_key in = client_key(ip6);
	struct ladon_flow_key back = segment_key(ip6 != crossing, 20, 8443, 1, 20000);

	bpf_map_delete_elem(bpf_map__fd(skel->maps.ladon_flows), &in);
	bpf_map_delete_elem(bpf_map__fd(skel->maps.ladon_flows), &back);
}

/* ---- odd packets ---- */

/* An ordinary segment, to be spoilt */
struct odd {
	uint8_t bytes[SEGMENT_BYTES_MAX];
	size_t len;
	uint8_t *ip, *tcp;
	bool ip6;
};

static struct odd *ordinary(bool ip6)
{
	static struct odd o;
	struct segment s = {
		.ip6 = ip6,
		.key = client_key(ip6),
		.flags = SEGMENT_ACK,
		.seq = 1000,
		.ack = 5000,
		.window = 502,
		.options = { 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8 },
		.options_len = 12,
		.payload_len = 100,
	};

	o.ip6 = ip6;
	o.len = segment_write(&s, o.bytes);
	o.ip = o.bytes + SEGMENT_ETHERNET;
	o.tcp = segment_tcp(o.bytes);
	return &o;
}

static void ip_len(struct odd *o, size_t len)
{
	if (o->ip6)
		segment_put16(o->ip + 4, (uint32_t)len - 40);
	else
		segment_put16(o->ip + 2, (uint32_t)len);
}

static void right_checksums(struct odd *o)
{
	if (!o->ip6) {
		segment_put16(o->ip + 10, 0);
		segment_put16(o->ip + 10, ~segment_sum_ip(o->bytes));
	}
	segment_put16(o->tcp + 16, 0);
	segment_put16(o->tcp + 16, ~segment_sum_tcp(o->bytes));
}

/* Room of @bytes, zeroed, between IP and TCP header */
static uint8_t *insert(struct odd *o, size_t bytes)
{
	uint8_t *at = o->tcp;

	memmove(at + bytes, at, o->len - (size_t)(at - o->bytes));
	memset(at, 0, bytes);
	o->tcp += bytes;
	o->len += bytes;
	ip_len(o, o->len - SEGMENT_ETHERNET);
	return at;
}

static void options(struct odd *o, const uint8_t *options, size_t len)
{
	memset(o->tcp + 20, 1, 12);
	memcpy(o->tcp + 20, options, len);
	right_checksums(o);
}

#define OPTIONS(o, ...) options(o, (uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* Extension headers of 8 bytes each: @kind for the first, then destination options, then TCP */
static void extensions(struct odd *o, uint8_t kind, int count)
{
	uint8_t *h = insert(o, (size_t)count * 8);

	o->ip[6] = kind;
	for (int i = 0; i < count; i++)
		h[i * 8] = i + 1 < count ? 60 : 6;
}

static void as_it_is(struct odd *o)
{
	(void)o;
}

static void zero_window(struct odd *o)
{
	segment_put16(o->tcp + 14, 0);
	right_checksums(o);
}

static void no_flags(struct odd *o)
{
	o->tcp[13] = 0;
	right_checksums(o);
}

static void all_flags(struct odd *o)
{
	o->tcp[13] = 0xff;
	right_checksums(o);
}

static void syn_fin(struct odd *o)
{
	o->tcp[13] = SEGMENT_SYN | SEGMENT_FIN;
	right_checksums(o);
}

static void syn_rst(struct odd *o)
{
	o->tcp[13] = SEGMENT_SYN | SEGMENT_RST;
	right_checksums(o);
}

static void fin_rst_urg(struct odd *o)
{
	o->tcp[13] = SEGMENT_FIN | SEGMENT_RST | SEGMENT_URG;
	right_checksums(o);
}

static void urgent_beyond_the_end(struct odd *o)
{
	o->tcp[13] |= SEGMENT_URG;
	segment_put16(o->tcp + 18, 0xffff);
	right_checksums(o);
}

static void reserved_bits(struct odd *o)
{
	o->tcp[12] |= 0xf;
	right_checksums(o);
}

static void doff_15(struct odd *o)
{
	o->tcp[12] = 0xf0;
	memset(o->tcp + 20, 1, 40);
	right_checksums(o);
}

static void doff_4(struct odd *o)
{
	o->tcp[12] = 0x40;
	right_checksums(o);
}

static void doff_0(struct odd *o)
{
	o->tcp[12] = 0;
	right_checksums(o);
}

static void doff_beyond_the_end(struct odd *o)
{
	ip_len(o, (size_t)(o->tcp - o->ip) + 24);
	right_checksums(o);
}

static void half_a_tcp_header(struct odd *o)
{
	o->len = (size_t)(o->tcp + 12 - o->bytes);
	ip_len(o, o->len - SEGMENT_ETHERNET);
}

static void padded(struct odd *o)
{
	memset(o->bytes + o->len, 0xaa, 18);
	o->len += 18;
}

static void shorter_than_it_says(struct odd *o)
{
	o->len -= 1;
}

static void says_nothing_of_its_length(struct odd *o)
{
	segment_put16(o->ip + (o->ip6 ? 4 : 2), 0);
}

static void wrong_tcp_checksum(struct odd *o)
{
	o->tcp[16] ^= 0x55;
}

static void option_without_length(struct odd *o)
{
	OPTIONS(o, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8);
}

static void option_of_length_0(struct odd *o)
{
	OPTIONS(o, 8, 0);
}

static void option_of_length_1(struct odd *o)
{
	OPTIONS(o, 5, 1);
}

static void option_beyond_the_end(struct odd *o)
{
	OPTIONS(o, 1, 1, 1, 8, 10);
}

static void option_much_beyond_the_end(struct odd *o)
{
	OPTIONS(o, 254, 255);
}

static void end_before_rubbish(struct odd *o)
{
	OPTIONS(o, 0, 8, 1, 5, 0, 255, 255);
}

static void timestamps_of_length_12(struct odd *o)
{
	OPTIONS(o, 8, 12);
}

static void version_5(struct odd *o)
{
	o->ip[0] = (uint8_t)(0x50 | (o->ip[0] & 0xf));
}

static void vlan_in_the_frame(struct odd *o)
{
	memmove(o->bytes + 16, o->bytes + 12, o->len - 12);
	segment_put16(o->bytes + 12, 0x8100);
	segment_put16(o->bytes + 14, 7);
	o->len += 4;
}

static void ttl_1(struct odd *o)
{
	o->ip[o->ip6 ? 7 : 8] = 1;
	right_checksums(o);
}

static void ttl_0(struct odd *o)
{
	o->ip[o->ip6 ? 7 : 8] = 0;
	right_checksums(o);
}

static void ip4_wrong_header_checksum(struct odd *o)
{
	o->ip[10] ^= 0x55;
}

static void ip4_options(struct odd *o)
{
	memset(insert(o, 4), 1, 4);
	o->ip[0] = 0x46;
}

static void ip4_ihl_15(struct odd *o)
{
	memset(insert(o, 40), 1, 40);
	o->ip[0] = 0x4f;
}

static void ip4_ihl_4(struct odd *o)
{
	o->ip[0] = 0x44;
}

static void ip4_first_fragment(struct odd *o)
{
	segment_put16(o->ip + 6, 0x2000);
}

static void ip4_later_fragment(struct odd *o)
{
	segment_put16(o->ip + 6, 0x2001);
}

static void ip4_reserved_bit(struct odd *o)
{
	segment_put16(o->ip + 6, 0xc000);
	right_checksums(o);
}

static void ip6_hop_by_hop(struct odd *o)
{
	extensions(o, 0, 1);
}

static void ip6_six_extensions(struct odd *o)
{
	extensions(o, 60, 6);
}

static void ip6_seven_extensions(struct odd *o)
{
	extensions(o, 60, 7);
}

static void ip6_atomic_fragment(struct odd *o)
{
	extensions(o, 44, 1);
}

static void ip6_later_fragment(struct odd *o)
{
	extensions(o, 44, 1);
	o->ip[40 + 3] = 8;
}

static void ip6_extension_beyond_the_end(struct odd *o)
{
	extensions(o, 60, 1);
	o->ip[41] = 255;
}

static void ip6_no_next_header(struct odd *o)
{
	o->ip[6] = 59;
}

enum {
	IP4 = 1,
	IP6 = 2,
	BOTH = IP4 | IP6,
};

/* clang-format off */
static const struct row {
	const char *name;
	void (*spoil)(struct odd *o);
	int families;
	uint32_t verdict;        /* of a flow's packet */
	enum ladon_reason why;
	enum ladon_reason alone; /* of one without a flow, which goes to the stack */
} rows[] = {
#define ROW(families, spoil, verdict, why, alone) \
	{ #spoil, spoil, families, verdict, LADON_REASON_##why, LADON_REASON_##alone }
	ROW(BOTH, as_it_is,                     TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, zero_window,                  TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, no_flags,                     TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, all_flags,                    TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, syn_fin,                      TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, syn_rst,                      TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, fin_rst_urg,                  TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, urgent_beyond_the_end,        TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, reserved_bits,                TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, doff_15,                      TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, doff_4,                       TC_ACT_SHOT,     NOT_OURS, SHORT),
	ROW(BOTH, doff_0,                       TC_ACT_SHOT,     NOT_OURS, SHORT),
	ROW(BOTH, doff_beyond_the_end,          TC_ACT_SHOT,     NOT_OURS, SHORT),
	ROW(BOTH, half_a_tcp_header,            TC_ACT_SHOT,     NOT_OURS, SHORT),
	ROW(BOTH, padded,                       TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, shorter_than_it_says,         UNSPEC,          SHORT,    SHORT),
	ROW(BOTH, says_nothing_of_its_length,   TC_ACT_SHOT,     NOT_OURS, SHORT),
	ROW(BOTH, wrong_tcp_checksum,           TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, option_without_length,        TC_ACT_SHOT,     NOT_OURS, NO_FLOW),
	ROW(BOTH, option_of_length_0,           TC_ACT_SHOT,     NOT_OURS, NO_FLOW),
	ROW(BOTH, option_of_length_1,           TC_ACT_SHOT,     NOT_OURS, NO_FLOW),
	ROW(BOTH, option_beyond_the_end,        TC_ACT_SHOT,     NOT_OURS, NO_FLOW),
	ROW(BOTH, option_much_beyond_the_end,   TC_ACT_SHOT,     NOT_OURS, NO_FLOW),
	ROW(BOTH, end_before_rubbish,           TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, timestamps_of_length_12,      TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(BOTH, version_5,                    UNSPEC,          SHORT,    SHORT),
	ROW(BOTH, vlan_in_the_frame,            UNSPEC,          NOT_IP,   NOT_IP),
	ROW(BOTH, ttl_1,                        TC_ACT_REDIRECT, TTL,      NO_FLOW),
	ROW(BOTH, ttl_0,                        TC_ACT_REDIRECT, TTL,      NO_FLOW),
	ROW(IP4,  ip4_wrong_header_checksum,    TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(IP4,  ip4_options,                  TC_ACT_SHOT,     NOT_OURS, IP_OPTIONS),
	ROW(IP4,  ip4_ihl_15,                   TC_ACT_SHOT,     NOT_OURS, IP_OPTIONS),
	ROW(IP4,  ip4_ihl_4,                    UNSPEC,          SHORT,    SHORT),
	ROW(IP4,  ip4_first_fragment,           TC_ACT_SHOT,     NOT_OURS, FRAGMENT),
	ROW(IP4,  ip4_later_fragment,           UNSPEC,          FRAGMENT, FRAGMENT),
	ROW(IP4,  ip4_reserved_bit,             TC_ACT_REDIRECT, NONE,     NO_FLOW),
	ROW(IP6,  ip6_hop_by_hop,               TC_ACT_SHOT,     NOT_OURS, IP_OPTIONS),
	ROW(IP6,  ip6_six_extensions,           TC_ACT_SHOT,     NOT_OURS, IP_OPTIONS),
	ROW(IP6,  ip6_seven_extensions,         UNSPEC,          IP_OPTIONS, IP_OPTIONS),
	ROW(IP6,  ip6_atomic_fragment,          TC_ACT_SHOT,     NOT_OURS, FRAGMENT),
	ROW(IP6,  ip6_later_fragment,           UNSPEC,          FRAGMENT, FRAGMENT),
	ROW(IP6,  ip6_extension_beyond_the_end, UNSPEC,          IP_OPTIONS, IP_OPTIONS),
	ROW(IP6,  ip6_no_next_header,           UNSPEC,          NOT_TCP,  NOT_TCP),
#undef ROW
};
/* clang-format on */

static void expect_row(const struct row *row, bool ip6, bool has_flow)
{
	struct odd *o = ordinary(ip6);
	uint32_t verdict = has_flow ? row->verdict : UNSPEC;
	enum ladon_reason why = has_flow ? row->why : row->alone;

	if (has_flow && crossing && row->spoil == ip4_wrong_header_checksum) {
		verdict = TC_ACT_SHOT;
		why = LADON_REASON_HEADER_CSUM;
	}
	if (has_flow)
		make_flow(ip6);
	row->spoil(o);
	run_and_ask(o->bytes, o->len);
	delete_flow(ip6);
	if (out.verdict != verdict || out.why != why)
		fail_msg("%s, IPv%d, %s flow: verdict %d, %s", row->name, ip6 ? 6 : 4,
			 !has_flow  ? "no"
			 : crossing ? "a crossing"
				    : "a",
			 (int)out.verdict, reason_name(out.why));
}

static void test_odd_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool ip6 = i & 1;

		if (rows[i / 4].families & (ip6 ? IP6 : IP4))
			expect_row(&rows[i / 4], ip6, i & 2);
	}
}

/* ---- what TCP would get ---- */

/* RFC 8200 section 4: where the segment begins; 0: there is none */
static size_t slow_ip6_tcp(const uint8_t *ip, size_t len)
{
	size_t at = 40;
	uint8_t next = ip[6];

	for (int i = 0; next != 6; i++) {
		size_t header;

		if (i == 6 || at + 8 > len || (next != 0 && next != 43 && next != 44 && next != 60))
			return 0;
		if (next == 44 && segment_get16(ip + at + 2) & 0xfff8)
			return 0;
		header = next == 44 ? 8 : ((size_t)ip[at + 1] + 1) * 8;
		next = ip[at];
		at += header;
	}
	return at;
}

/* RFC 791 section 3.1 */
static size_t slow_ip4_tcp(const uint8_t *ip)
{
	if (ip[9] != 6 || segment_get16(ip + 6) & 0x1fff)
		return 0;
	return (size_t)(ip[0] & 0xf) * 4;
}

/* Is it, with its ports, of the flow that make_flow() made? */
static bool is_of_the_flow(const uint8_t *packet, size_t len)
{
	const uint8_t *ip = packet + SEGMENT_ETHERNET;
	bool ip6 = segment_is_ip6(packet);
	struct ladon_flow_key key = client_key(ip6);
	size_t header = ip6 ? 40 : 20, ip_bytes, tcp;

	if ((!ip6 && segment_get16(packet + 12) != 0x0800) || len < SEGMENT_ETHERNET + header)
		return false;
	ip_bytes = segment_ip_len(packet);
	if (ip[0] >> 4 != (ip6 ? 6 : 4) || (!ip6 && (ip[0] & 0xf) < 5) ||
	    ip_bytes > len - SEGMENT_ETHERNET)
		return false;
	tcp = ip6 ? slow_ip6_tcp(ip, ip_bytes) : slow_ip4_tcp(ip);
	if (!tcp || tcp + 4 > ip_bytes)
		return false;
	return memcmp(ip + (ip6 ? 8 : 12), ip6 ? key.saddr : &key.saddr[3], ip6 ? 16 : 4) == 0 &&
	       memcmp(ip + (ip6 ? 24 : 16), ip6 ? key.daddr : &key.daddr[3], ip6 ? 16 : 4) == 0 &&
	       memcmp(ip + tcp, &key.sport, 2) == 0 && memcmp(ip + tcp + 2, &key.dport, 2) == 0;
}

static void expect_no_stack(const uint8_t *packet, size_t len)
{
	make_flow(segment_is_ip6(packet));
	run(packet, len);
	if (out.verdict != UNSPEC || !is_of_the_flow(packet, len))
		return;
	for (size_t i = 0; i < len; i++)
		print_message("%02x%s", packet[i], i % 32 == 31 ? "\n" : " ");
	fail_msg("the stack would get this packet of a flow");
}

static void (*const bases[])(struct odd *) = { as_it_is, ip4_options, ip6_hop_by_hop, doff_15 };
#define BASES (sizeof(bases) / sizeof(bases[0]))

static struct odd *base(size_t i)
{
	struct odd *o = ordinary(i & 1 || bases[i / 2] == ip6_hop_by_hop);

	if (bases[i / 2] != ip4_options || !o->ip6)
		bases[i / 2](o);
	return o;
}

static void test_cut_at_every_length(void **state)
{
	(void)state;
	for (size_t i = 0; i < BASES * 2; i++) {
		struct odd *o = base(i);
		size_t whole = o->len;

		/* a test run wants the whole IP header */
		for (size_t len = SEGMENT_ETHERNET + (o->ip6 ? 40 : 20); len <= whole; len++) {
			expect_no_stack(o->bytes, len); /* the frame alone */
			ip_len(o, len - SEGMENT_ETHERNET);
			expect_no_stack(o->bytes, len); /* and what IP says */
			expect_no_stack(o->bytes, whole);
			ip_len(o, whole - SEGMENT_ETHERNET);
		}
	}
}

/* Values at which something begins or ends */
static const uint8_t telling[] = { 0, 1, 5, 6, 8, 10, 44, 60, 0x45, 0x60, 0x80, 0xff };
#define TELLING (int)sizeof(telling)

static void test_every_byte_of_the_headers_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < BASES * 2; i++) {
		struct odd *o = base(i);

		for (size_t at = 12; at < 120; at++) {
			uint8_t was = o->bytes[at];

			for (int change = 0; change < TELLING + 8; change++) {
				o->bytes[at] = change < TELLING ? telling[change]
								: was ^ 1 << (change - TELLING);
				expect_no_stack(o->bytes, o->len);
			}
			o->bytes[at] = was;
		}
	}
}

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % sides;
}

static void test_changed_at_random(void **state)
{
	uint32_t seed = 2018;

	(void)state;
	for (int i = 0; i < RANDOM_RUNS; i++) {
		struct odd *o = base(dice(&seed, BASES * 2));

		for (uint32_t changes = 1 + dice(&seed, 4); changes; changes--)
			o->bytes[12 + dice(&seed, 108)] = telling[dice(&seed, sizeof(telling))];
		expect_no_stack(o->bytes, o->len - dice(&seed, 2) * dice(&seed, 130));
	}
	delete_flow(false);
	delete_flow(true);
}

/* ---- set-up ---- */

static int put_jump(uint32_t index, const struct bpf_program *prog)
{
	int fd = bpf_program__fd(prog);

	return bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_jumps), &index, &fd, BPF_ANY);
}

static int set_up(void **state)
{
	struct ladon_hop hop = { .state = LADON_HOP_READY, .ifindex = LOOPBACK };
	uint32_t index = HOP;
	struct bpf_map *map;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("a network namespace: %s\n", strerror(errno));
		return -1;
	}
	skel = ladon_bpf__open();
	if (!skel)
		return -1;
	bpf_object__for_each_map(map, skel->obj)
	{
		bpf_map__set_pin_path(map, NULL);
	}
	if (ladon_bpf__load(skel) < 0 || put_jump(LADON_JUMP_CROSS, skel->progs.ladon_cross) < 0)
		return -1;
	return bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_hops), &index, &hop, BPF_ANY);
}

static int tear_down(void **state)
{
	(void)state;
	ladon_bpf__destroy(skel);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_odd_packets),
		cmocka_unit_test(test_cut_at_every_length),
		cmocka_unit_test(test_every_byte_of_the_headers_changed),
		cmocka_unit_test(test_changed_at_random),
	};

	int failed = cmocka_run_group_tests_name("prog/odd", tests, set_up, tear_down);

	crossing = true;
	return failed +
	       cmocka_run_group_tests_name("prog/odd, unlike families", tests, set_up, tear_down);
}
