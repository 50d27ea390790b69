// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc.c - the program at tc ingress: packet in, packet out
 *
 * Runs the loaded program by BPF_PROG_TEST_RUN in a network namespace of its
 * own, with maps that are not pinned: nothing of it meets a ladond on the same
 * machine. Needs root. Prints what a packet costs; that is not a test.
 *
 *	client .10:40000 -- .1:443 gateway .1:20000 -- .20:8443 backend
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../datapath/abi.h"
#include "../icmp_error.h"
#include "../segment.h"
#include "counted.h"
#include "ladon.skel.h"

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2) /* Linux 6.15 */
#endif

#define CLIENT	  10
#define GATEWAY	  1
#define BACKEND	  20
#define FLOW_ID	  7
#define IFINDEX	  1 /* the loopback device: any that exists */
#define HOP	  5
#define D_SEQ	  0xfffff000u
#define D_ACK	  0x00012345u
#define D_TSVAL	  1000u
#define D_TSECR	  0xfffffc00u
#define BACK_PORT 20000

static struct ladon_bpf *skel;
static bool old_kernel; /* do as before Linux 6.2, where there is less to see */
static struct ring_buffer *ring;

/* The last event, and how many there were */
static struct ladon_event event;
static int events;

/* What the program made of the last packet */
static struct {
	uint8_t bytes[SEGMENT_BYTES_MAX];
	size_t len;
	uint32_t verdict;
} out;

/* ---- running it ---- */

static bool leaving; /* what is run: what ladon_egress jumps to */
static bool probing; /* ... or ladon_ingress, with a probe */

static int program_fd(void)
{
	return bpf_program__fd(leaving	 ? skel->progs.ladon_leave
			       : probing ? skel->progs.ladon_probe
					 : skel->progs.ladon_ingress);
}

static int run_flags(const uint8_t *packet, size_t len, uint32_t flags)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = (uint32_t)len,
		    .data_out = out.bytes, .data_size_out = sizeof(out.bytes), .flags = flags);
	int rc = bpf_prog_test_run_opts(program_fd(), &opts);

	out.len = opts.data_size_out;
	out.verdict = opts.retval;
	return rc;
}

static void run_bytes(const uint8_t *packet, size_t len)
{
	assert_int_equal(run_flags(packet, len, 0), 0);
}

static void run(const struct segment *s)
{
	uint8_t packet[SEGMENT_BYTES_MAX];

	run_bytes(packet, segment_write(s, packet));
}

static struct ladon_count counted(enum ladon_reason why)
{
	return counted_in(skel->maps.ladon_counters, why);
}

/* Run, and see the verdict, and that this reason was counted once, for this packet. */
static void expect(const struct segment *s, uint32_t verdict, enum ladon_reason why)
{
	struct ladon_count before = counted(why), after;

	run(s);
	after = counted(why);
	assert_int_equal(out.verdict, verdict);
	assert_int_equal(after.packets, before.packets + 1);
	if (why == LADON_REASON_NONE)
		assert_int_equal(after.bytes - before.bytes, out.len - SEGMENT_ETHERNET);
}

static void expect_bytes(const uint8_t *packet, size_t len, uint32_t verdict, enum ladon_reason why)
{
	struct ladon_count before = counted(why);

	run_bytes(packet, len);
	assert_int_equal(out.verdict, verdict);
	assert_int_equal(counted(why).packets, before.packets + 1);
}

#define UNSPEC ((uint32_t)TC_ACT_UNSPEC)

/* The packet that came out is this one, with right checksums. */
static void expect_out(const struct segment *s)
{
	uint8_t want[SEGMENT_BYTES_MAX];
	size_t len = segment_write(s, want);

	assert_int_equal(out.len, len);
	assert_int_equal(segment_sum_ip(out.bytes), 0xffff);
	assert_int_equal(segment_sum_tcp(out.bytes), 0xffff);
	assert_memory_equal(out.bytes, want, len);
}

static int on_event(void *arg, void *data, size_t size)
{
	(void)arg;
	assert_int_equal(size, sizeof(event));
	memcpy(&event, data, sizeof(event));
	events++;
	return 0;
}

static int events_now(void)
{
	events = 0;
	assert_true(ring_buffer__consume(ring) >= 0);
	return events;
}

/* ---- a flow ---- */

static struct ladon_flow_key client_key(bool ip6)
{
	return segment_key(ip6, CLIENT, 40000, GATEWAY, 443);
}

static struct ladon_flow_key back_key(bool ip6)
{
	return segment_key(ip6, BACKEND, 8443, GATEWAY, BACK_PORT);
}

static struct ladon_flow_key reversed(const struct ladon_flow_key *key)
{
	struct ladon_flow_key r;

	memcpy(r.saddr, key->daddr, sizeof(r.saddr));
	memcpy(r.daddr, key->saddr, sizeof(r.daddr));
	r.sport = key->dport;
	r.dport = key->sport;
	return r;
}

static uint32_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* The entry of one direction: arrives with @key, leaves with @leaves. */
static struct ladon_entry make_entry(const struct ladon_flow_key *leaves, bool to_client)
{
	struct ladon_entry flow = {
		.sport = leaves->sport,
		.dport = leaves->dport,
		.d_seq = to_client ? -D_ACK : D_SEQ,
		.d_ack = to_client ? -D_SEQ : D_ACK,
		.d_tsval = to_client ? -D_TSECR : D_TSVAL,
		.d_tsecr = to_client ? -D_TSVAL : D_TSECR,
		.wscale_in = 7,
		.wscale_out = 7,
		.what = LADON_FLOW_TS | (to_client ? LADON_FLOW_TO_CLIENT : 0),
		.route = LADON_ROUTE(HOP, 0),
		.made_ms = clock_ms(),
		.id = FLOW_ID,
	};

	memcpy(flow.saddr, leaves->saddr, sizeof(flow.saddr));
	memcpy(flow.daddr, leaves->daddr, sizeof(flow.daddr));
	return flow;
}

static void put(const struct ladon_flow_key *key, const struct ladon_entry *flow)
{
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_flows), key, flow, BPF_ANY), 0);
}

static void put_hop(uint32_t ifindex)
{
	struct ladon_hop hop = { .state = LADON_HOP_READY, .ifindex = ifindex };
	uint32_t index = HOP;

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_hops), &index, &hop, BPF_ANY), 0);
}

static bool get(const struct ladon_flow_key *key, struct ladon_entry *flow)
{
	return bpf_map_lookup_elem(bpf_map__fd(skel->maps.ladon_flows), key, flow) == 0;
}

/* One direction: the key its packets arrive with, the one they leave with */
struct way {
	struct ladon_flow_key in, out;
};

static struct way way_to_backend(bool ip6)
{
	struct ladon_flow_key back = back_key(ip6);

	return (struct way){ client_key(ip6), reversed(&back) };
}

static struct way way_to_client(bool ip6)
{
	struct ladon_flow_key client = client_key(ip6);

	return (struct way){ back_key(ip6), reversed(&client) };
}

static void make_flow(bool ip6)
{
	struct way c2b = way_to_backend(ip6), b2c = way_to_client(ip6);
	struct ladon_entry flow;

	flow = make_entry(&b2c.out, true);
	put(&b2c.in, &flow);
	flow = make_entry(&c2b.out, false);
	put(&c2b.in, &flow);
}

static struct ladon_entry entry(const struct ladon_flow_key *key)
{
	struct ladon_entry flow;

	assert_true(get(key, &flow));
	return flow;
}

static void edit(const struct ladon_flow_key *key, uint32_t state, uint32_t edge)
{
	struct ladon_entry flow = entry(key);

	flow.state = state;
	flow.edge = edge;
	put(key, &flow);
}

static int each_test(void **state)
{
	struct ladon_flow_key keys[] = { client_key(false), client_key(true), back_key(false),
					 back_key(true) };

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		bpf_map_delete_elem(bpf_map__fd(skel->maps.ladon_flows), &keys[i]);
	events_now();
	return 0;
}

static struct segment data_segment(bool ip6, const struct ladon_flow_key *key)
{
	return (struct segment){
		.ip6 = ip6,
		.key = *key,
		.flags = SEGMENT_ACK | SEGMENT_PSH,
		.seq = 1000,
		.ack = 5000,
		.window = 502,
		.options = { 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8 },
		.options_len = 12,
		.payload_len = 100,
	};
}

static struct segment bare_segment(bool ip6, const struct ladon_flow_key *key, uint8_t flags,
				   uint32_t seq, uint32_t ack)
{
	return (struct segment){
		.ip6 = ip6, .key = *key, .flags = flags, .seq = seq, .ack = ack, .window = 1
	};
}

/* ---- translation ---- */

static struct segment translated(const struct segment *s, const struct way *way, bool to_client)
{
	struct ladon_entry flow = make_entry(&way->out, to_client);
	struct segment t = *s;

	t.key = way->out;
	t.seq += flow.d_seq;
	t.ack += flow.d_ack;
	t.ttl = (uint8_t)((s->ttl ? s->ttl : 64) - 1);
	if (t.options_len == 12) {
		segment_put32(t.options + 4, segment_get32(t.options + 4) + flow.d_tsval);
		segment_put32(t.options + 8, segment_get32(t.options + 8) + flow.d_tsecr);
	}
	return t;
}

static void hit(bool ip6, bool to_client)
{
	struct way way = to_client ? way_to_client(ip6) : way_to_backend(ip6);
	struct segment s = data_segment(ip6, &way.in), t = translated(&s, &way, to_client);
	struct ladon_flow_key other;
	struct ladon_entry flow;

	make_flow(ip6);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	expect_out(&t);
	flow = entry(&way.in);
	assert_int_equal(flow.packets, 1);
	assert_int_equal(flow.bytes, (ip6 ? 40 : 20) + 32 + 100);
	assert_true((int32_t)(clock_ms() - flow.seen_ms) < 1000);
	other = to_client ? client_key(ip6) : back_key(ip6);
	flow = entry(&other);
	assert_int_equal(flow.packets, 0);
}

static void test_hits(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		hit(i & 1, i & 2);
}

/* ---- flows that the stack forwards ---- */

/* The numbers of @s translated, all else as it was */
static struct segment numbered(const struct segment *s, const struct way *way, bool to_client)
{
	struct segment t = translated(s, way, to_client);

	t.key = s->key;
	t.ttl = s->ttl;
	return t;
}

static void make_stack_flow(bool ip6)
{
	struct ladon_flow_key keys[] = { client_key(ip6), back_key(ip6) };

	make_flow(ip6);
	for (int i = 0; i < 2; i++) {
		struct ladon_entry flow = entry(&keys[i]);

		flow.what |= LADON_FLOW_STACK;
		flow.state = LADON_STATE_STACK;
		put(&keys[i], &flow);
	}
}

static void test_the_stack_gets_the_backend_s_numbers(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way in = way_to_backend(ip6), out_way = way_to_client(ip6);
		struct segment s = data_segment(ip6, &in.in), t = numbered(&s, &in, false);

		make_stack_flow(ip6);
		expect(&s, UNSPEC, LADON_REASON_NONE);
		expect_out(&t);
		assert_int_equal(entry(&in.in).packets, 1);

		s = data_segment(ip6, &out_way.in);
		expect(&s, UNSPEC, LADON_REASON_NONE);
		expect_out(&s);
		assert_int_equal(entry(&out_way.in).packets, 1);
	}
}

/* Addresses are translated already when the numbers are. */
static void test_what_leaves_the_stack_gets_the_client_s_numbers(void **state)
{
	(void)state;
	leaving = true;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way way = way_to_client(ip6);
		struct segment s = data_segment(ip6, &way.out), t = numbered(&s, &way, true);

		make_stack_flow(ip6);
		run(&s);
		assert_int_equal(out.verdict, UNSPEC);
		expect_out(&t);
		assert_int_equal(entry(&way.in).packets, 0);
		each_test(NULL);
		expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	}
	leaving = false;
}

static void test_the_stack_gets_nothing_that_makes_no_sense(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = data_segment(false, &way.in);

	(void)state;
	make_stack_flow(false);
	s.options[3] = 0;
	expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	assert_int_equal(entry(&way.in).packets, 0);
}

/* The driver's sum over the whole packet still is its sum. */
static void test_checksum_complete(void **state)
{
	uint8_t packet[SEGMENT_BYTES_MAX];

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way way = way_to_backend(ip6);
		struct segment s = data_segment(ip6, &way.in);
		int rc;

		make_flow(ip6);
		rc = run_flags(packet, segment_write(&s, packet), BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
		if (rc == -EINVAL)
			skip();
		assert_int_equal(rc, 0);
		assert_int_equal(out.verdict, TC_ACT_REDIRECT);
	}
}

static void test_options_that_make_no_sense_are_dropped(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = data_segment(false, &way.in);

	(void)state;
	make_flow(false);
	s.options[3] = 0;
	expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	s.options[3] = 11;
	expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	assert_int_equal(entry(&way.in).packets, 0);
}

static void test_miss(void **state)
{
	struct ladon_flow_key key = segment_key(false, CLIENT, 40001, GATEWAY, 80);
	struct segment s = data_segment(false, &key);

	(void)state;
	expect(&s, UNSPEC, LADON_REASON_NO_FLOW);
	expect_out(&s);
	s.ip6 = true;
	s.key = segment_key(true, CLIENT, 40001, GATEWAY, 80);
	expect(&s, UNSPEC, LADON_REASON_NO_FLOW);
	expect_out(&s);
}

static void test_other_traffic(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = data_segment(false, &way.in);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);

	(void)state;
	make_flow(false);
	packet[SEGMENT_ETHERNET + 9] = IPPROTO_UDP;
	expect_bytes(packet, len, UNSPEC, LADON_REASON_NOT_TCP);
	segment_put16(packet + 12, 0x0806);
	expect_bytes(packet, len, UNSPEC, LADON_REASON_NOT_IP);
	segment_put16(packet + 12, 0x8100);
	expect_bytes(packet, len, UNSPEC, LADON_REASON_NOT_IP);
	packet[0] = 2; /* a MAC address that is not the device's */
	expect_bytes(packet, len, UNSPEC, LADON_REASON_OTHER_HOST);
}

/* ---- what cannot be translated ---- */

static void test_fragments(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = data_segment(false, &way.in);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);

	(void)state;
	segment_put16(packet + SEGMENT_ETHERNET + 6, 0x2000);
	expect_bytes(packet, len, UNSPEC, LADON_REASON_FRAGMENT);
	make_flow(false);
	expect_bytes(packet, len, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	segment_put16(packet + SEGMENT_ETHERNET + 6, 0x2001);
	expect_bytes(packet, len, UNSPEC, LADON_REASON_FRAGMENT);
}

static void test_ip_options(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = data_segment(false, &way.in);
	uint8_t packet[SEGMENT_BYTES_MAX];
	uint8_t *ip = packet + SEGMENT_ETHERNET;
	size_t len = segment_write(&s, packet);

	(void)state;
	memmove(ip + 24, ip + 20, len - SEGMENT_ETHERNET - 20);
	memset(ip + 20, 1, 4);
	ip[0] = 0x46;
	segment_put16(ip + 2, (uint32_t)(len + 4 - SEGMENT_ETHERNET));
	expect_bytes(packet, len + 4, UNSPEC, LADON_REASON_IP_OPTIONS);
	make_flow(false);
	expect_bytes(packet, len + 4, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
}

/* An IPv6 packet with one more header, of 8 bytes, before TCP */
static size_t with_extension(uint8_t kind, uint8_t *packet)
{
	struct way way = way_to_backend(true);
	struct segment s = data_segment(true, &way.in);
	size_t len = segment_write(&s, packet);
	uint8_t *ip = packet + SEGMENT_ETHERNET;

	memmove(ip + 48, ip + 40, len - SEGMENT_ETHERNET - 40);
	memset(ip + 40, 0, 8);
	ip[40] = ip[6];
	ip[6] = kind;
	segment_put16(ip + 4, segment_get16(ip + 4) + 8);
	return len + 8;
}

static void test_extension_headers(void **state)
{
	static const struct {
		uint8_t kind;
		enum ladon_reason why;
	} rows[] = {
		{ IPPROTO_HOPOPTS, LADON_REASON_IP_OPTIONS },
		{ IPPROTO_ROUTING, LADON_REASON_IP_OPTIONS },
		{ IPPROTO_DSTOPTS, LADON_REASON_IP_OPTIONS },
		{ IPPROTO_FRAGMENT, LADON_REASON_FRAGMENT },
	};
	uint8_t packet[SEGMENT_BYTES_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = with_extension(rows[i].kind, packet);

		each_test(state);
		expect_bytes(packet, len, UNSPEC, rows[i].why);
		make_flow(true);
		expect_bytes(packet, len, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
		if (rows[i].kind != IPPROTO_FRAGMENT)
			continue;
		packet[SEGMENT_ETHERNET + 43] = 8; /* a later fragment: no ports to see */
		expect_bytes(packet, len, UNSPEC, LADON_REASON_FRAGMENT);
	}
}

/* ---- holds ---- */

static void test_hold_of_acks(void **state)
{
	struct way way = way_to_client(false);
	struct segment s = bare_segment(false, &way.in, SEGMENT_ACK, 1000, 4999);

	(void)state;
	make_flow(false);
	edit(&way.in, LADON_STATE_HOLD_ACK, 5000);
	expect(&s, TC_ACT_SHOT, LADON_REASON_HELD_ACK);
	s.payload_len = 1; /* data must not wait for the backend to repeat it */
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	s.payload_len = 0;
	expect(&s, TC_ACT_SHOT, LADON_REASON_HELD_ACK);
	s.ack = 5000;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&way.in).state, 0);
	s.ack = 4999; /* an old one, as any other */
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);

	edit(&way.in, LADON_STATE_HOLD_ACK, 5000);
	s.flags = SEGMENT_ACK | SEGMENT_FIN;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
}

static void test_hold_of_data(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = bare_segment(false, &way.in, SEGMENT_ACK, 5000, 1);

	(void)state;
	make_flow(false);
	edit(&way.in, LADON_STATE_HOLD_SEQ, 5001 + D_SEQ);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	s.payload_len = 10;
	expect(&s, TC_ACT_SHOT, LADON_REASON_HELD_DATA);
	s.seq = 5001;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
}

/* @age_ms after it was made, or before: the clocks differ by a jiffy */
static void expect_hold(uint32_t age_ms, bool held)
{
	struct way way = way_to_client(false);
	struct segment s = bare_segment(false, &way.in, SEGMENT_ACK, 1000, 4999);
	struct ladon_entry flow;

	make_flow(false);
	flow = entry(&way.in);
	flow.state = LADON_STATE_HOLD_ACK | LADON_STATE_HOLD_SEQ;
	flow.edge = 5000;
	flow.made_ms -= age_ms;
	put(&way.in, &flow);
	expect(&s, held ? TC_ACT_SHOT : TC_ACT_REDIRECT,
	       held ? LADON_REASON_HELD_ACK : LADON_REASON_NONE);
	assert_int_equal(!entry(&way.in).state, !held);
}

static void test_a_hold_ends_by_itself(void **state)
{
	(void)state;
	expect_hold(-500u, true);
	expect_hold(0, true);
	expect_hold(LADON_HOLD_MS + 50, false);
	expect_hold((1u << 31) + 1000, false); /* 24.9 days */
	expect_hold(3u << 30, false);
}

/* The twin of a FIN's direction is held: .edge is wanted for both. */
static void test_a_fin_meets_a_hold(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment fin = bare_segment(false, &c2b.in, SEGMENT_FIN | SEGMENT_ACK, 6000, 1);
	struct segment ack = bare_segment(false, &b2c.in, SEGMENT_ACK, 1, 0);
	uint32_t end = 6001 + D_SEQ;

	(void)state;
	make_flow(false);
	edit(&b2c.in, LADON_STATE_HOLD_ACK, 5000 + D_SEQ);
	expect(&fin, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&b2c.in).state, LADON_STATE_PEER_FIN);
	assert_int_equal(entry(&b2c.in).edge, end);
	ack.ack = end;
	expect(&ack, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_true(entry(&b2c.in).state & LADON_STATE_DONE);

	make_flow(false);
	edit(&b2c.in, LADON_STATE_HOLD_SEQ, 1);
	expect(&fin, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&b2c.in).state, LADON_STATE_PEER_FIN);
}

/* ---- ends ---- */

static void close_by_fins(bool client_first)
{
	struct way first = client_first ? way_to_backend(false) : way_to_client(false);
	struct way second = client_first ? way_to_client(false) : way_to_backend(false);
	struct ladon_entry a = entry(&first.in), b = entry(&second.in);
	struct segment s;

	/* FIN with 10 bytes of data; acknowledged without the FIN, then with it */
	s = bare_segment(false, &first.in, SEGMENT_FIN | SEGMENT_ACK, 100, 1);
	s.payload_len = 10;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&first.in).state, LADON_STATE_FIN | LADON_STATE_FIRST);
	assert_int_equal(entry(&second.in).state, LADON_STATE_PEER_FIN);
	s = bare_segment(false, &second.in, SEGMENT_ACK, 1, 110 + a.d_seq);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&second.in).state, LADON_STATE_PEER_FIN);
	s.ack++;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&second.in).state, LADON_STATE_PEER_FIN | LADON_STATE_DONE);
	assert_int_equal(events_now(), 0);

	/* the other FIN, twice, and its acknowledgement, twice */
	s = bare_segment(false, &second.in, SEGMENT_FIN | SEGMENT_ACK, 700, 111 + a.d_seq);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(events_now(), 0);
	s = bare_segment(false, &first.in, SEGMENT_ACK, 111, 701 + b.d_seq);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
}

static void test_fins(void **state)
{
	struct ladon_flow_key client = client_key(false), back = back_key(false);

	for (int client_first = 0; client_first < 2; client_first++) {
		each_test(state);
		make_flow(false);
		close_by_fins(client_first);
		assert_true(entry(&client).state & LADON_STATE_CLOSED);
		assert_true(entry(&back).state & LADON_STATE_CLOSED);
		assert_int_equal(events_now(), 1);
		assert_int_equal(event.type, LADON_EVENT_CLOSED);
		assert_memory_equal(&event.key, &client, sizeof(client));
		assert_int_equal(event.by_client, client_first);
		assert_int_equal(event.reset, 0);
		assert_int_equal(event.flow.id, FLOW_ID);
		assert_false(event.flow.what & LADON_FLOW_TO_CLIENT);
		assert_int_equal(event.back.packets, client_first ? 4 : 2);
	}
}

static void test_resets(void **state)
{
	struct ladon_flow_key client = client_key(false), back = back_key(false);

	for (int by_client = 0; by_client < 2; by_client++) {
		struct way way = by_client ? way_to_backend(false) : way_to_client(false);
		struct segment s = bare_segment(false, &way.in, SEGMENT_RST, 100, 0);
		struct segment t = s;

		each_test(state);
		make_flow(false);
		t.key = way.out;
		t.seq += entry(&way.in).d_seq; /* and no ACK bit: .ack stays */
		t.ttl = 63;
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		expect_out(&t);
		assert_true(entry(&client).state & LADON_STATE_CLOSED);
		assert_true(entry(&back).state & LADON_STATE_CLOSED);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(events_now(), 1);
		assert_int_equal(event.type, LADON_EVENT_CLOSED);
		assert_int_equal(event.reset, 1);
		assert_int_equal(event.by_client, by_client);
	}
}

/* An end that really sent a RST says nothing else any more. */
static void test_a_forged_reset_is_forgotten(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment forged = bare_segment(false, &c2b.in, SEGMENT_RST, 100, 0);
	struct segment more = data_segment(false, &c2b.in);
	struct segment other = data_segment(false, &b2c.in);

	(void)state;
	make_flow(false);
	expect(&forged, TC_ACT_REDIRECT, LADON_REASON_NONE);
	expect(&other, TC_ACT_REDIRECT, LADON_REASON_NONE); /* it may not know yet */
	assert_true(entry(&c2b.in).state & LADON_STATE_CLOSED);
	expect(&more, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(entry(&c2b.in).state, 0);
	assert_int_equal(entry(&b2c.in).state, 0);
	expect(&forged, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_equal(events_now(), 2);
}

/* A bit of its last byte is turned over. It goes on, for its receiver to drop it, and still damaged. */
static void expect_damaged(const struct segment *s)
{
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(s, packet);

	packet[len - 1] ^= 1;
	expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_NONE);
	assert_int_not_equal(segment_sum_tcp(out.bytes), 0xffff);
}

static void test_what_is_damaged_ends_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		bool ip6 = i & 1;
		struct way c2b = way_to_backend(ip6), b2c = way_to_client(ip6);
		struct segment fin = bare_segment(ip6, &c2b.in, SEGMENT_FIN | SEGMENT_ACK, 100, 1);
		struct segment ack, rst = bare_segment(ip6, &c2b.in, SEGMENT_RST, 100, 0);
		struct segment more = data_segment(ip6, &c2b.in);

		fin.payload_len = i & 2 ? 1001 : 0;
		make_flow(ip6);
		ack = bare_segment(ip6, &b2c.in, SEGMENT_ACK, 1,
				   101 + (uint32_t)fin.payload_len + entry(&c2b.in).d_seq);
		expect_damaged(&fin);
		assert_int_equal(entry(&c2b.in).state, 0);
		assert_int_equal(entry(&b2c.in).state, 0);
		expect(&fin, TC_ACT_REDIRECT, LADON_REASON_NONE);
		expect_damaged(&ack);
		assert_int_equal(entry(&b2c.in).state, LADON_STATE_PEER_FIN);
		expect(&ack, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(entry(&b2c.in).state, LADON_STATE_PEER_FIN | LADON_STATE_DONE);

		make_flow(ip6);
		expect_damaged(&rst);
		assert_int_equal(entry(&c2b.in).state, 0);
		assert_int_equal(events_now(), 0);
		expect(&rst, TC_ACT_REDIRECT, LADON_REASON_NONE);
		expect_damaged(&more);
		assert_true(entry(&c2b.in).state & LADON_STATE_CLOSED);
		assert_int_equal(entry(&c2b.in).packets, 3);
		assert_int_equal(events_now(), 1);
	}
}

static void test_syn_on_a_closed_flow(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment s = bare_segment(false, &c2b.in, SEGMENT_SYN, 1, 0);
	static const uint32_t ends[] = { LADON_STATE_CLOSED, LADON_STATE_KILLED };
	struct ladon_entry flow;

	for (size_t i = 0; i < 2; i++) {
		each_test(state);
		make_flow(false);
		edit(&c2b.in, ends[i], 0);
		edit(&b2c.in, ends[i], 0);
		expect(&s, UNSPEC, LADON_REASON_REOPENED);
		expect_out(&s);
		assert_false(get(&c2b.in, &flow));
		assert_false(get(&b2c.in, &flow));
		assert_int_equal(events_now(), 1);
		assert_int_equal(event.type, LADON_EVENT_ENDED);
		assert_memory_equal(&event.key, &c2b.in, sizeof(event.key));
		assert_int_equal(event.flow.id, FLOW_ID);
	}
}

/* Else its port would never be free again. */
static void test_syn_on_a_closed_flow_that_cannot_be_told_of(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment s = bare_segment(false, &c2b.in, SEGMENT_SYN, 1, 0);
	struct ladon_count before = counted(LADON_REASON_REOPEN_LATER);
	struct ladon_entry flow;
	int made = 0, told;

	(void)state;
	while (counted(LADON_REASON_REOPEN_LATER).packets == before.packets) {
		make_flow(false);
		edit(&c2b.in, LADON_STATE_CLOSED, 0);
		edit(&b2c.in, LADON_STATE_CLOSED, 0);
		run(&s);
		made++;
	}
	assert_int_equal(out.verdict, TC_ACT_SHOT);
	assert_true(get(&c2b.in, &flow));
	assert_true(get(&b2c.in, &flow));
	told = events_now();
	assert_true(made > 1000);
	expect(&s, UNSPEC, LADON_REASON_REOPENED);
	assert_int_equal(told + events_now(), made);
	assert_false(get(&c2b.in, &flow));
}

static void test_syn_on_a_live_flow(void **state)
{
	struct way way = way_to_backend(false);
	struct segment s = bare_segment(false, &way.in, SEGMENT_SYN, 1, 0), t = s;

	(void)state;
	make_flow(false);
	s.window = t.window = 64240;
	t.key = way.out;
	t.seq += D_SEQ;
	t.ttl = 63;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	expect_out(&t);
	assert_int_equal(events_now(), 0);
}

/* ---- killed flows ---- */

static void killed(bool ip6, uint8_t flags, uint32_t seq, uint32_t ack, uint8_t answer_flags)
{
	struct way way = way_to_backend(ip6);
	struct segment s = data_segment(ip6, &way.in), t;

	make_flow(ip6);
	edit(&way.in, LADON_STATE_KILLED, 0);
	s.flags = flags;
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_KILLED);
	t = bare_segment(ip6, &way.in, answer_flags, seq, ack);
	t.key = reversed(&way.in);
	t.window = 0;
	expect_out(&t);
}

static void test_killed_flows_are_answered(void **state)
{
	struct way way = way_to_backend(false);
	struct segment rst = bare_segment(false, &way.in, SEGMENT_RST | SEGMENT_ACK, 1, 2);

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		killed(ip6, SEGMENT_ACK, 5000, 0, SEGMENT_RST);
		killed(ip6, SEGMENT_SYN | SEGMENT_ACK, 5000, 0, SEGMENT_RST);
		killed(ip6, 0, 0, 1100, SEGMENT_RST | SEGMENT_ACK);
		killed(ip6, SEGMENT_FIN, 0, 1101, SEGMENT_RST | SEGMENT_ACK);
	}
	expect(&rst, TC_ACT_SHOT, LADON_REASON_KILLED);
}

static void test_who_was_told_is_known(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment s = data_segment(false, &c2b.in);

	(void)state;
	make_flow(false);
	edit(&c2b.in, LADON_STATE_KILLED, 0);
	edit(&b2c.in, LADON_STATE_KILLED, 0);
	expect(&s, TC_ACT_REDIRECT, LADON_REASON_KILLED);
	assert_int_equal(entry(&c2b.in).state, LADON_STATE_KILLED | LADON_STATE_TOLD);
	assert_int_equal(entry(&b2c.in).state, LADON_STATE_KILLED);
}

/* ---- probes ---- */

#define PROBED(n) ((n) * LADON_STATE_PROBE)

/* A silent flow whose client was probed so many times */
static void make_probed(uint32_t probes, uint32_t state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);

	make_flow(false);
	edit(&c2b.in, PROBED(probes) | state, 0);
	edit(&b2c.in, LADON_STATE_WAITS, 0);
}

static void test_a_probe_is_translated_and_not_noted(void **state)
{
	(void)state;
	probing = true;
	for (int i = 0; i < 8; i++) {
		bool ip6 = i & 1, to_client = i & 2, killed_too = i & 4;
		struct way way = to_client ? way_to_client(ip6) : way_to_backend(ip6);
		struct segment s = data_segment(ip6, &way.in), t;

		s.payload_len = 0;
		t = translated(&s, &way, to_client);
		make_flow(ip6);
		edit(&way.in, killed_too ? LADON_STATE_KILLED | LADON_STATE_STACK : 0, 0);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_PROBE);
		expect_out(&t);
		assert_int_equal(entry(&way.in).packets, 0);
		assert_int_equal(entry(&way.in).seen_ms, 0);

		make_stack_flow(ip6);
		t = to_client ? s : numbered(&s, &way, false);
		expect(&s, UNSPEC, LADON_REASON_PROBE);
		expect_out(&t);
		assert_int_equal(entry(&way.in).packets, 0);
		each_test(NULL);
		expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
	}
	probing = false;
}

/* The second half of the circle was the right one for timestamps, if the second probe is answered. */
static void test_an_answer_is_no_life(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment ack = bare_segment(false, &c2b.in, SEGMENT_ACK, 1, 0x12345678);
	struct segment data = data_segment(false, &c2b.in);

	(void)state;
	for (uint32_t probes = 1; probes <= 4; probes++) {
		make_probed(probes, 0);
		expect(&ack, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(entry(&c2b.in).state, probes % 2 ? 0 : LADON_STATE_HIGH);
		assert_int_equal(entry(&b2c.in).state, 0);
		assert_int_equal(entry(&c2b.in).seen_ms, 0);
		assert_int_equal(entry(&c2b.in).packets, 1);
		assert_int_equal(entry(&c2b.in).acked, 0x1234);
		expect(&ack, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_not_equal(entry(&c2b.in).seen_ms, 0);

		make_probed(probes, LADON_STATE_HIGH);
		expect(&data, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(entry(&c2b.in).state, LADON_STATE_HIGH);
		assert_int_not_equal(entry(&c2b.in).seen_ms, 0);
	}
}

/* The number that the probe acknowledged: of it, the backend has told the upper half. */
static void test_a_reset_that_answers_a_probe(void **state)
{
	struct way c2b = way_to_backend(false), b2c = way_to_client(false);
	struct segment said = bare_segment(false, &b2c.in, SEGMENT_ACK, 1, 0xffff4321);
	struct segment rst = bare_segment(false, &c2b.in, SEGMENT_RST, 0, 0);

	(void)state;
	for (int exact = 0; exact < 2; exact++) {
		make_flow(false);
		expect(&said, TC_ACT_REDIRECT, LADON_REASON_NONE);
		edit(&c2b.in, PROBED(2), 0);
		rst.seq = 0xffff0000 - D_SEQ + !exact;
		if (!exact) {
			expect(&rst, TC_ACT_REDIRECT, LADON_REASON_NONE);
			assert_true(entry(&b2c.in).state & LADON_STATE_CLOSED);
			continue;
		}
		expect(&rst, TC_ACT_SHOT, LADON_REASON_PROBE_RESET);
		assert_int_equal(entry(&c2b.in).state, PROBED(2) | LADON_STATE_KILLED |
							       LADON_STATE_RESET |
							       LADON_STATE_TOLD);
		assert_int_equal(entry(&b2c.in).state, LADON_STATE_KILLED);
		expect(&said, TC_ACT_REDIRECT, LADON_REASON_KILLED);
	}
}

/* ---- no flow ---- */

/* Whatever it is and wherever it goes: a host's own stack knows how to answer. */
static void test_what_has_no_flow_is_the_stacks(void **state)
{
	static const uint8_t flags[] = { SEGMENT_SYN, SEGMENT_SYN | SEGMENT_ACK,
					 SEGMENT_ACK, SEGMENT_FIN | SEGMENT_ACK,
					 SEGMENT_RST, 0 };

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct ladon_flow_key key = client_key(ip6);
		struct segment s = data_segment(ip6, &key);

		for (size_t i = 0; i < sizeof(flags); i++) {
			s.flags = flags[i];
			expect(&s, UNSPEC, LADON_REASON_NO_FLOW);
		}
	}
}

/* ---- ICMP errors about a flow ---- */

#define ROUTER 99

/* An error about a segment that the gateway passed on, @way: how that is answered */
static struct icmp_error error_about(const uint8_t *packet, bool ip6, size_t quote_len,
				     const struct way *way)
{
	struct icmp_error e = { .ip6 = ip6,
				.key = segment_key(ip6, ROUTER, 0, 0, 0),
				.type = ip6 ? 2 : 3,
				.code = ip6 ? 0 : 4,
				.rest = 1400,
				.quote = packet + SEGMENT_ETHERNET,
				.quote_len = quote_len };

	memcpy(e.key.daddr, way->in.daddr, sizeof(e.key.daddr));
	return e;
}

/* What an end sent, what became of it, and the way of what the other end sends */
struct passage {
	struct way there, back;
	uint8_t sent[SEGMENT_BYTES_MAX], passed[SEGMENT_BYTES_MAX];
	size_t len;
};

static struct passage passage(bool ip6, bool to_client)
{
	struct passage p = { .there = to_client ? way_to_client(ip6) : way_to_backend(ip6),
			     .back = to_client ? way_to_backend(ip6) : way_to_client(ip6) };
	struct segment s = data_segment(ip6, &p.there.in), t;

	s.options_len = 0;
	t = translated(&s, &p.there, to_client);
	s.ttl = 63; /* a quote keeps the TTL it was quoted with */
	segment_write(&s, p.sent);
	p.len = segment_write(&t, p.passed);
	make_flow(ip6);
	return p;
}

static void error_translated(bool ip6, bool to_client, size_t tcp_bytes, uint32_t flags)
{
	struct passage p = passage(ip6, to_client);
	size_t quote_len = (ip6 ? 40 : 20) + tcp_bytes;
	struct icmp_error e = error_about(p.passed, ip6, quote_len, &p.back);
	uint8_t packet[SEGMENT_BYTES_MAX], want[SEGMENT_BYTES_MAX];
	struct ladon_count before = counted(LADON_REASON_ICMP_ERROR);
	size_t len = icmp_error_write(&e, packet);
	int rc;

	e.key = p.back.out;
	e.quote = p.sent + SEGMENT_ETHERNET;
	e.ttl = 63;
	icmp_error_write(&e, want);
	rc = run_flags(packet, len, flags);
	if (rc == -EINVAL && flags)
		return;
	assert_int_equal(rc, 0);
	assert_int_equal(out.verdict, TC_ACT_REDIRECT);
	assert_int_equal(counted(LADON_REASON_ICMP_ERROR).packets, before.packets + 1);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.bytes, want, len);
	assert_int_equal(entry(&p.back.in).packets, 0); /* not a packet of the flow */
}

static void test_errors(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		error_translated(i & 1, i & 2, 20 + 100, 0);
		error_translated(i & 1, i & 2, 20, 0);
		error_translated(i & 1, i & 2, 20 + 100, BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
	}
}

/* The least that a router may quote: ports and sequence number */
static void test_an_error_that_quotes_little(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct passage p = passage(ip6, false);
		struct icmp_error e = error_about(p.passed, ip6, (ip6 ? 40 : 20) + 8, &p.back);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = icmp_error_write(&e, packet);
		uint8_t *tcp = out.bytes + len - 8;

		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_ICMP_ERROR);
		assert_int_equal(icmp_error_sum(out.bytes), 0xffff);
		assert_memory_equal(tcp, &p.there.in.sport, 2);
		assert_memory_equal(tcp + 2, &p.there.in.dport, 2);
		assert_int_equal(segment_get32(tcp + 4), 1000);

		segment_put16(packet + SEGMENT_ETHERNET + (ip6 ? 4 : 2),
			      (uint32_t)(len - 1 - SEGMENT_ETHERNET - (ip6 ? 40 : 0)));
		expect_bytes(packet, len - 1, UNSPEC, LADON_REASON_NOT_TCP);
	}
}

static void test_errors_that_are_none_of_ours(void **state)
{
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct passage p = passage(ip6, false);
		struct icmp_error e = error_about(p.passed, ip6, 80, &p.back);
		uint8_t packet[SEGMENT_BYTES_MAX];

		e.type = ip6 ? 128 : 8; /* a ping, whatever it carries */
		expect_bytes(packet, icmp_error_write(&e, packet), UNSPEC, LADON_REASON_NOT_TCP);
		e.type = ip6 ? 137 : 5; /* a redirect is about this machine's own routes */
		expect_bytes(packet, icmp_error_write(&e, packet), UNSPEC, LADON_REASON_NOT_TCP);
		e.type = ip6 ? 1 : 3;
		e.quote = p.sent + SEGMENT_ETHERNET; /* what came, not what was passed on */
		expect_bytes(packet, icmp_error_write(&e, packet), UNSPEC, LADON_REASON_NOT_TCP);
		e.quote = p.passed + SEGMENT_ETHERNET;
		each_test(state);
		expect_bytes(packet, icmp_error_write(&e, packet), UNSPEC, LADON_REASON_NOT_TCP);
	}
}

static void test_errors_that_go_no_further(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct passage p = passage(ip6, false);
		struct icmp_error e = error_about(p.passed, ip6, 80, &p.back);
		uint8_t packet[SEGMENT_BYTES_MAX];

		e.ttl = 1;
		expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT,
			     LADON_REASON_ICMP_UNSENT);
		e.ttl = 64;
		((uint8_t *)e.key.daddr)[15] ^= 2;
		expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT,
			     LADON_REASON_ICMP_ASTRAY);
	}
}

/* ---- ICMP errors of ladon's own ---- */

/* As the programs learn of it: the MTU of an interface is asked for once in a jiffy. */
static void set_mtu(int mtu)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = mtu };
	struct timespec some_jiffies = { .tv_nsec = 40000000 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFMTU, &request), 0);
	close(fd);
	nanosleep(&some_jiffies, NULL);
}

/* A segment from another client each time: senders are told so and so often. */
static struct segment next_segment(bool ip6, size_t payload_len)
{
	static uint8_t client = 100;
	struct way way = way_to_backend(ip6);
	struct ladon_entry flow = make_entry(&way.out, false);
	struct segment s;

	way.in = segment_key(ip6, ++client, 40000, GATEWAY, 443);
	put(&way.in, &flow);
	s = data_segment(ip6, &way.in);
	s.payload_len = payload_len;
	return s;
}

static void expect_error(const struct segment *s, const uint8_t *packet, size_t len, uint8_t type,
			 uint8_t code, uint32_t rest)
{
	struct ladon_flow_key key = reversed(&s->key);
	size_t most = s->ip6 ? 1280 - 48 : 576 - 28;
	struct icmp_error e = { .ip6 = s->ip6,
				.key = key,
				.type = type,
				.code = code,
				.rest = rest,
				.tos = s->ip6 ? 0 : 0xc0,
				.quote = packet + SEGMENT_ETHERNET,
				.quote_len = len - SEGMENT_ETHERNET };
	uint8_t want[SEGMENT_BYTES_MAX];

	if (e.quote_len > most)
		e.quote_len = most;
	assert_int_equal(out.len, icmp_error_write(&e, want));
	assert_int_equal(icmp_error_sum(out.bytes), 0xffff);
	assert_memory_equal(out.bytes, want, out.len);
}

static void test_ttl(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = next_segment(ip6, 1200);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len;

		s.ttl = 1;
		len = segment_write(&s, packet);
		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TTL);
		expect_error(&s, packet, len, ip6 ? 3 : 11, 0, 0);
		assert_int_equal(entry(&s.key).packets, 0);
		s.payload_len = 1;
		len = segment_write(&s, packet);
		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TTL);
		expect_error(&s, packet, len, ip6 ? 3 : 11, 0, 0);
		s.ttl = 2;
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	}
}

static void test_a_sender_is_told_so_and_so_often(void **state)
{
	struct segment s = next_segment(false, 0), other = next_segment(false, 0);
	unsigned int told, untold = 0;

	(void)state;
	s.ttl = other.ttl = 1;
	for (told = 0; untold == 0 && told < 10000; told++) {
		run(&s);
		untold = out.verdict == TC_ACT_SHOT;
	}
	assert_in_range(told, 50, 9999);
	assert_true(counted(LADON_REASON_UNTOLD).packets > 0);
	expect(&other, TC_ACT_REDIRECT, LADON_REASON_TTL);
}

static void test_too_large(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t headers = (ip6 ? 40 : 20) + 32;
		struct segment s = next_segment(ip6, 1400 - headers);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len;

		set_mtu(1400);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		s.payload_len++;
		len = segment_write(&s, packet);
		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TOO_LARGE);
		expect_error(&s, packet, len, ip6 ? 2 : 3, ip6 ? 0 : 4, 1400);
		set_mtu(65536);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
	}
}

static void test_too_large_without_df(void **state)
{
	struct segment s = next_segment(false, 1400);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);
	uint8_t *ip = packet + SEGMENT_ETHERNET;

	(void)state;
	segment_put16(ip + 6, 0);
	segment_put16(ip + 10, 0);
	segment_put16(ip + 10, ~segment_sum(0, ip, 20));
	set_mtu(1400);
	expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TOO_LARGE_DF);
	expect_error(&s, packet, len, 3, 4, 1400);
	set_mtu(65536);
}

static void run_gso(const struct segment *s, uint32_t gso_bytes)
{
	uint8_t packet[SEGMENT_BYTES_MAX];
	struct __sk_buff skb = { .gso_size = gso_bytes, .gso_segs = 2 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet,
		    .data_size_in = (uint32_t)segment_write(s, packet), .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes), .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	assert_int_equal(bpf_prog_test_run_opts(program_fd(), &opts), 0);
	out.len = opts.data_size_out;
	out.verdict = opts.retval;
}

/* Of many segments that travel as one, each has to fit. */
static void test_the_segments_of_a_super_packet(void **state)
{
	(void)state;
	set_mtu(1400);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		uint32_t fits = 1400 - (ip6 ? 40 : 20) - 32;
		struct segment s = next_segment(ip6, 1800);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet);
		struct ladon_count before = counted(LADON_REASON_TOO_LARGE);

		run_gso(&s, fits);
		assert_int_equal(out.verdict, TC_ACT_REDIRECT);
		assert_int_equal(entry(&s.key).packets, 1);
		run_gso(&s, fits + 1);
		assert_int_equal(counted(LADON_REASON_TOO_LARGE).packets, before.packets + 1);
		assert_int_equal(entry(&s.key).packets, 1);
		expect_error(&s, packet, len, ip6 ? 2 : 3, ip6 ? 0 : 4, 1400);
	}
	set_mtu(65536);
}

static void test_the_interface_is_gone(void **state)
{
	struct timespec some_jiffies = { .tv_nsec = 40000000 };

	(void)state;
	put_hop(9999);
	nanosleep(&some_jiffies, NULL);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = next_segment(ip6, 100);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet);

		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_NO_LINK);
		expect_error(&s, packet, len, ip6 ? 1 : 3, ip6 ? 3 : 1, 0);
	}
	put_hop(IFINDEX);
	nanosleep(&some_jiffies, NULL);
}

/* ---- flows whose ends speak unlike families ---- */

/* @ip6: how a packet of the way arrives */
static struct way crossing(bool ip6, bool to_client)
{
	struct ladon_flow_key to = to_client ? client_key(!ip6) : back_key(!ip6);

	return (struct way){ to_client ? back_key(ip6) : client_key(ip6), reversed(&to) };
}

static void make_crossing(const struct way *way, bool to_client)
{
	struct ladon_entry flow = make_entry(&way->out, to_client);

	flow.what |= LADON_FLOW_CROSS;
	put(&way->in, &flow);
}

/* @s as it leaves; IPv4's identification is ladon's choice, and taken from what came out */
static struct segment crossed(const struct segment *s, const struct way *way, bool to_client)
{
	struct segment t = translated(s, way, to_client);

	t.ip6 = !s->ip6;
	t.may_be_cut = s->ip6 && 40 + t.options_len + t.payload_len <= 1260;
	t.id = s->ip6 ? (uint16_t)segment_get16(out.bytes + SEGMENT_ETHERNET + 4) : 0;
	return t;
}

static void crosses(bool ip6, bool to_client, size_t payload_len, uint32_t flags)
{
	struct way way = crossing(ip6, to_client);
	struct segment s = data_segment(ip6, &way.in), t;
	struct ladon_count before = counted(LADON_REASON_NONE), after;
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len;
	int rc;

	make_crossing(&way, to_client);
	s.tos = 0xb9;
	s.payload_len = payload_len;
	len = segment_write(&s, packet);
	rc = run_flags(packet, len, flags);
	if (rc == -EINVAL && flags)
		return;
	assert_int_equal(rc, 0);
	assert_int_equal(out.verdict, TC_ACT_REDIRECT);
	t = crossed(&s, &way, to_client);
	expect_out(&t);
	after = counted(LADON_REASON_NONE);
	assert_int_equal(after.packets, before.packets + 1);
	assert_int_equal(after.bytes - before.bytes, len - SEGMENT_ETHERNET);
	assert_int_equal(entry(&way.in).packets, 1);
	assert_int_equal(entry(&way.in).bytes, len - SEGMENT_ETHERNET); /* as it arrived */
}

static void test_families_are_crossed(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		crosses(i & 1, i & 2, 100, 0);
		crosses(i & 1, i & 2, 1401, 0);
		crosses(i & 1, i & 2, 100, BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
		crosses(i & 1, i & 2, 1401, BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
	}
}

/* IPv6 has no checksum of the header that would say so at the end of the way. */
static void test_a_damaged_header_does_not_cross(void **state)
{
	struct way way = crossing(false, false);
	struct segment s = data_segment(false, &way.in);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);

	(void)state;
	make_crossing(&way, false);
	packet[SEGMENT_ETHERNET + 1] ^= 4;
	expect_bytes(packet, len, TC_ACT_SHOT, LADON_REASON_HEADER_CSUM);
	assert_int_equal(entry(&way.in).packets, 0);
}

static void test_what_cannot_be_translated_does_not_cross(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way way = crossing(ip6, false);
		struct segment s = data_segment(ip6, &way.in);

		make_crossing(&way, false);
		s.options[3] = 0;
		expect(&s, TC_ACT_SHOT, LADON_REASON_NOT_OURS);
		assert_int_equal(entry(&way.in).packets, 0);
	}
}

/* Of another client each time: senders are told so and so often. */
static struct segment next_crossing(bool ip6, size_t payload_len)
{
	struct segment s = next_segment(ip6, payload_len);
	struct way way = crossing(ip6, false);

	way.in = s.key;
	make_crossing(&way, false);
	return s;
}

static void test_ttl_of_what_would_cross(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = next_crossing(ip6, 1200);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len;

		s.ttl = 1;
		len = segment_write(&s, packet);
		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TTL);
		expect_error(&s, packet, len, ip6 ? 3 : 11, 0, 0);
		assert_int_equal(entry(&s.key).packets, 0);
	}
}

/* What counts is the size that it leaves with, and what is said is the one it may arrive with. */
static void test_too_large_to_cross(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		uint32_t fits = ip6 ? 1420 : 1380;
		struct segment s = next_crossing(ip6, fits - (ip6 ? 40 : 20) - 32);
		struct ladon_count before;
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len;

		set_mtu(1400);
		expect_bytes(packet, segment_write(&s, packet), TC_ACT_REDIRECT, LADON_REASON_NONE);
		s.payload_len++;
		len = segment_write(&s, packet);
		expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TOO_LARGE);
		expect_error(&s, packet, len, ip6 ? 2 : 3, ip6 ? 0 : 4, fits);

		s.payload_len = 1800;
		before = counted(LADON_REASON_TOO_LARGE);
		run_gso(&s, fits - (ip6 ? 40 : 20) - 32);
		assert_int_equal(out.verdict, TC_ACT_REDIRECT);
		assert_int_equal(segment_is_ip6(out.bytes), !ip6);
		run_gso(&s, fits - (ip6 ? 40 : 20) - 31);
		assert_int_equal(counted(LADON_REASON_TOO_LARGE).packets, before.packets + 1);
		set_mtu(65536);
	}
}

/* An IPv4 link may be narrower than any IPv6 sender believes: it is told the least that it does. */
static void test_too_large_for_a_very_narrow_link(void **state)
{
	struct segment s = next_crossing(true, 1000);
	uint8_t packet[SEGMENT_BYTES_MAX];
	size_t len = segment_write(&s, packet);

	(void)state;
	set_mtu(1000);
	expect_bytes(packet, len, TC_ACT_REDIRECT, LADON_REASON_TOO_LARGE);
	expect_error(&s, packet, len, 2, 0, 1280);
	set_mtu(65536);
}

static void test_killed_flows_answer_in_the_family_of_who_asks(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way way = crossing(ip6, false);
		struct segment s = data_segment(ip6, &way.in), want;
		struct ladon_flow_key key = reversed(&way.in);

		make_crossing(&way, false);
		edit(&way.in, LADON_STATE_KILLED, 0);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_KILLED);
		want = bare_segment(ip6, &key, SEGMENT_RST, 5000, 0);
		want.window = 0;
		expect_out(&want);
	}
}

/* An error about what crossed from @ip6 crosses back, with what it quotes. */
static void error_crosses(bool ip6, size_t tcp_bytes, uint32_t flags)
{
	struct way there = crossing(ip6, false), back = crossing(!ip6, true);
	struct segment s = data_segment(ip6, &there.in), t;
	struct icmp_error e;
	uint8_t sent[SEGMENT_BYTES_MAX], passed[SEGMENT_BYTES_MAX], packet[SEGMENT_BYTES_MAX];
	size_t len;
	int rc;

	make_crossing(&there, false);
	make_crossing(&back, true);
	s.options_len = 0;
	t = crossed(&s, &there, false);
	t.may_be_cut = false;
	t.id = 0;
	segment_write(&t, passed);
	s.ttl = 63;
	segment_write(&s, sent);
	e = error_about(passed, !ip6, (ip6 ? 20 : 40) + tcp_bytes, &back);
	len = icmp_error_write(&e, packet);
	rc = run_flags(packet, len, flags);
	if (rc == -EINVAL && flags)
		return;
	assert_int_equal(rc, 0);
	assert_int_equal(out.verdict, TC_ACT_REDIRECT);
	e = (struct icmp_error){ .ip6 = ip6,
				 .key = back.out,
				 .type = ip6 ? 2 : 3,
				 .code = ip6 ? 0 : 4,
				 .rest = ip6 ? 1420 : 1380,
				 .ttl = 63,
				 .quote = sent + SEGMENT_ETHERNET,
				 .quote_len = (ip6 ? 40 : 20) + tcp_bytes };
	len = icmp_error_write(&e, packet);
	assert_int_equal(out.len, len);
	assert_int_equal(icmp_error_sum(out.bytes), 0xffff);
	assert_memory_equal(out.bytes, packet, len);
}

static void test_errors_cross(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		error_crosses(ip6, 120, 0);
		error_crosses(ip6, 20, 0);
		error_crosses(ip6, 120, BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
	}
}

static void test_errors_that_do_not_cross(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct way way = crossing(ip6, true);
		struct ladon_flow_key sent = reversed(&way.in);
		struct segment s = data_segment(ip6, &sent);
		struct icmp_error e;
		uint8_t quoted[SEGMENT_BYTES_MAX], packet[SEGMENT_BYTES_MAX];
		size_t len;

		make_crossing(&way, true);
		s.payload_len = 1400;
		segment_write(&s, quoted);
		e = error_about(quoted, ip6, 80, &way);
		e.type = ip6 ? 4 : 3;
		e.code = ip6 ? 2 : 14;
		expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT,
			     LADON_REASON_ICMP_NO_WORD);
		e.ttl = 1;
		expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT,
			     LADON_REASON_ICMP_UNSENT);
		e.ttl = 64;
		((uint8_t *)e.key.daddr)[15] ^= 2;
		expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT,
			     LADON_REASON_ICMP_ASTRAY);
		if (ip6)
			continue;
		((uint8_t *)e.key.daddr)[15] ^= 2;
		len = icmp_error_write(&e, packet);
		packet[SEGMENT_ETHERNET + 8]++;
		expect_bytes(packet, len, TC_ACT_SHOT, LADON_REASON_HEADER_CSUM);
	}
}

static void test_an_error_that_is_too_long_to_cross(void **state)
{
	struct way way = crossing(false, true);
	struct ladon_flow_key sent = reversed(&way.in);
	struct segment s = data_segment(false, &sent);
	struct icmp_error e;
	uint8_t quoted[SEGMENT_BYTES_MAX], packet[SEGMENT_BYTES_MAX];

	(void)state;
	make_crossing(&way, true);
	s.payload_len = 1400;
	segment_write(&s, quoted);
	e = error_about(quoted, false, 1240 - 28, &way);
	expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_REDIRECT,
		     LADON_REASON_ICMP_ERROR);
	assert_int_equal(segment_ip_len(out.bytes), 1280);
	e.quote_len++;
	expect_bytes(packet, icmp_error_write(&e, packet), TC_ACT_SHOT, LADON_REASON_ICMP_UNSENT);
}

/* ---- routes that change ---- */

#define AGAIN_MS 2048 /* OUT_AGAIN_MS */

/* Since Linux 6.2, see ctx_kernel() */
static bool sees_generation(void)
{
	struct utsname kernel;
	int major, minor;

	return uname(&kernel) == 0 && sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 2));
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void shell(const char *command)
{
	assert_int_equal(system(command), 0);
}

static void let_lo_forward(bool on)
{
	write_file("/proc/sys/net/ipv4/conf/lo/forwarding", on ? "1" : "0");
	write_file("/proc/sys/net/ipv6/conf/lo/forwarding", on ? "1" : "0");
}

/* The one route to the backend, in ip-route(8)'s words */
static void route(bool ip6, const char *type, const char *way)
{
	char command[200];

	snprintf(command, sizeof(command),
		 ip6 ? "ip -6 route del 2001:db8::/64 2>/dev/null;"
		       "ip -6 route add %s 2001:db8::/64 %s"
		     : "ip route replace %s 192.0.2.0/24 %s",
		 type, way);
	shell(command);
}

static struct ladon_hop hop_of(const struct segment *s)
{
	uint32_t index = LADON_ROUTE_HOP(entry(&s->key).route);
	struct ladon_hop hop;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.ladon_hops), &index, &hop), 0);
	assert_int_equal(hop.state, LADON_HOP_READY);
	return hop;
}

static void test_the_way_is_asked_for(void **state)
{
	uint32_t ways;

	(void)state;
	shell("modprobe -q veth 2>/dev/null; ip link add ways type veth peer name peer && ip link set ways up &&"
	      "ip link set peer up");
	ways = if_nametoindex("ways");
	let_lo_forward(true);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = next_segment(ip6, 100);
		struct ladon_hop hop;

		route(ip6, "unicast", "dev ways");
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		hop = hop_of(&s);
		assert_int_equal(hop.ifindex, ways);
		assert_int_equal(hop.family, 0);

		route(ip6, "unicast",
		      ip6 ? "via fe80::7 dev ways" : "via 10.7.7.7 dev ways onlink");
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		hop = hop_of(&s);
		assert_int_equal(hop.ifindex, ways);
		assert_int_equal(hop.family, ip6 ? AF_INET6 : AF_INET);
		assert_int_equal(hop.gateway[0], inet_addr(ip6 ? "254.128.0.0" : "10.7.7.7"));
		assert_int_equal(hop.gateway[3], ip6 ? inet_addr("0.0.0.7") : 0);
	}
	route(false, "unicast", "via inet6 fe80::7 dev ways");
	for (int i = 0; i < 2; i++) {
		struct segment s = next_segment(false, 100);

		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(hop_of(&s).family, AF_INET6);
		assert_int_equal(hop_of(&s).gateway[3], inet_addr("0.0.0.7"));
	}
	let_lo_forward(false);
	shell("ip link del ways");
}

/*
 * On lo, where packets of tests go: while a neighbour is not known, each packet asks (out.h).
 * IPv6's are forgotten when the MTU falls below 1280.
 */
static bool neighbours_known(void)
{
	return system("for a in 192.0.2.20 2001:db8::ab00:0:0:1 2001:db8::ab00:0:0:14; do "
		      "ip neigh replace $a lladdr 02:00:00:00:00:01 dev lo nud permanent || exit 1; "
		      "done") == 0;
}

/* The first packet after a change asks; the others go where the entry says. */
static void test_the_way_is_remembered(void **state)
{
	(void)state;
	if (old_kernel || !sees_generation())
		skip();
	assert_true(neighbours_known());
	let_lo_forward(true);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s;
		struct ladon_entry flow;

		while (clock_ms() % AGAIN_MS > AGAIN_MS / 2)
			usleep(1000); /* then nothing is asked for without reason */
		s = next_segment(ip6, 100);
		route(ip6, "unicast", "dev lo");
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		flow = entry(&s.key);
		assert_int_equal(hop_of(&s).ifindex, IFINDEX);
		put_hop(9999);
		flow.route = LADON_ROUTE(HOP, flow.route / LADON_HOPS);
		put(&s.key, &flow);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NO_LINK);
		assert_int_equal(entry(&s.key).route, flow.route);
		shell("ip route add 198.51.100.0/24 dev lo; ip route del 198.51.100.0/24;"
		      "ip -6 route add 2001:db8:1::/64 dev lo; ip -6 route del 2001:db8:1::/64");
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(hop_of(&s).ifindex, IFINDEX);
		put_hop(IFINDEX);
	}
	let_lo_forward(false);
	shell("ip route del 192.0.2.0/24; ip -6 route del 2001:db8::/64");
}

/* ... and so does the first packet of a flow for some time. */
static void test_the_way_is_asked_for_again(void **state)
{
	(void)state;
	if (old_kernel || !sees_generation())
		skip();
	let_lo_forward(true);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct segment s = next_segment(ip6, 100);
		struct ladon_entry flow;

		route(ip6, "unicast", "dev lo");
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		put_hop(9999);
		flow = entry(&s.key);
		flow.route = LADON_ROUTE(HOP, flow.route / LADON_HOPS);
		flow.seen_ms -= AGAIN_MS;
		put(&s.key, &flow);
		expect(&s, TC_ACT_REDIRECT, LADON_REASON_NONE);
		assert_int_equal(hop_of(&s).ifindex, IFINDEX);
		put_hop(IFINDEX);
	}
	let_lo_forward(false);
	shell("ip route del 192.0.2.0/24; ip -6 route del 2001:db8::/64");
}

static void test_there_is_no_way(void **state)
{
	static const struct {
		const char *type;
		enum ladon_reason why;
		uint8_t code4, code6;
	} rows[] = { { "unreachable", LADON_REASON_UNREACHABLE, 0, 0 },
		     { "prohibit", LADON_REASON_PROHIBITED, 13, 1 },
		     { "blackhole", LADON_REASON_BLACKHOLE, 0, 0 },
		     { NULL, LADON_REASON_UNREACHABLE, 0, 0 } };

	(void)state;
	let_lo_forward(true);
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool ip6 = i & 1;
		struct segment s = next_segment(ip6, 100);
		uint8_t packet[SEGMENT_BYTES_MAX];
		size_t len = segment_write(&s, packet);

		if (rows[i / 2].type)
			route(ip6, rows[i / 2].type, "");
		else
			shell(ip6 ? "ip -6 route del 2001:db8::/64" : "ip route del 192.0.2.0/24");
		if (rows[i / 2].why == LADON_REASON_BLACKHOLE) {
			expect(&s, TC_ACT_SHOT, LADON_REASON_BLACKHOLE);
			continue;
		}
		expect_bytes(packet, len, TC_ACT_REDIRECT, rows[i / 2].why);
		expect_error(&s, packet, len, ip6 ? 1 : 3,
			     ip6 ? rows[i / 2].code6 : rows[i / 2].code4, 0);
		assert_int_equal(entry(&s.key).packets, 0);
	}
	let_lo_forward(false);
}

/*
 * A driver's sum over the whole packet is that of the answer afterwards. Where the packet is
 * cut, the kernel forgets it (CHECKSUM_NONE), and the test run would compare all the same.
 */
static void test_checksum_complete_of_an_error(void **state)
{
	uint8_t packet[SEGMENT_BYTES_MAX];

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct segment s = next_segment(i & 1, (size_t)i * 101);
		size_t len;
		int rc;

		s.ttl = 1;
		len = segment_write(&s, packet);
		rc = run_flags(packet, len, BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
		if (rc == -EINVAL)
			skip();
		assert_int_equal(rc, 0);
		expect_error(&s, packet, len, i & 1 ? 3 : 11, 0, 0);
	}
}

/* ---- what a packet costs ---- */

#define COST_REPEAT 60 /* a packet is aged by each translation */
#define COST_RUNS   2000

/* The least of many averages: others share the machine. */
static void print_cost(int fd, const char *family, const char *name, const uint8_t *packet,
		       size_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = (uint32_t)len,
		    .repeat = COST_REPEAT);
	uint32_t least = UINT32_MAX;

	for (int i = 0; i < COST_RUNS; i++) {
		assert_int_equal(bpf_prog_test_run_opts(fd, &opts), 0);
		if (opts.duration < least)
			least = opts.duration;
	}
	print_message("cost: %s, %-20s %3u ns per packet\n", family, name, least);
}

static void print_segment_cost(const char *name, const struct segment *s)
{
	uint8_t packet[SEGMENT_BYTES_MAX];

	print_cost(program_fd(), s->ip6 ? "IPv6" : "IPv4", name, packet, segment_write(s, packet));
}

/* A flow into itself, so that a packet that was translated is translated again */
static void print_costs(bool ip6)
{
	static const uint8_t ts_sack[] = { 1, 1, 8,  10, 0, 0, 0,  9, 0, 0, 0,	8, 1, 1, 5,  18,
					   0, 0, 10, 0,	 0, 0, 11, 0, 0, 0, 12, 0, 0, 0, 13, 0 };
	static const uint8_t odd[] = { 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1 };
	struct ladon_flow_key key = client_key(ip6),
			      other = segment_key(ip6, CLIENT, 1, BACKEND, 1);
	struct segment s = data_segment(ip6, &key);
	struct ladon_entry flow = make_entry(&key, false);

	put(&key, &flow);
	print_segment_cost("hit, timestamps", &s);
	memcpy(s.options, odd, s.options_len = sizeof(odd));
	print_segment_cost("hit, odd timestamps", &s);
	s.payload_len = 0;
	memcpy(s.options, ts_sack, s.options_len = sizeof(ts_sack));
	print_segment_cost("hit, SACK", &s);
	s.key = other;
	print_segment_cost("miss", &s);
	s.flags = SEGMENT_SYN;
	print_segment_cost("miss, SYN", &s);
}

/* There and back, so that a packet that crossed crosses again: the mean of both */
static void print_crossing_cost(void)
{
	struct ladon_flow_key keys[] = { client_key(false), client_key(true) };
	struct segment s = data_segment(false, &keys[0]);
	uint8_t packet[SEGMENT_BYTES_MAX];

	for (int i = 0; i < 2; i++) {
		struct ladon_entry flow = make_entry(&keys[!i], false);

		flow.what |= LADON_FLOW_CROSS;
		put(&keys[i], &flow);
	}
	print_cost(program_fd(), "both", "crossed, timestamps", packet, segment_write(&s, packet));
}

/* What a test run costs by itself: of a program that says "pass" */
static void print_empty_cost(void)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_OK },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	static const uint8_t nothing[64];
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", pass, 2, NULL);

	assert_true(fd >= 0);
	print_cost(fd, "none", "an empty program", nothing, sizeof(nothing));
	close(fd);
}

static void test_print_costs(void **state)
{
	(void)state;
	let_lo_forward(true);
	route(false, "unicast", "dev lo");
	route(true, "unicast", "dev lo");
	print_empty_cost();
	print_costs(false);
	print_costs(true);
	print_crossing_cost();
	let_lo_forward(false);
	shell("ip route del 192.0.2.0/24; ip -6 route del 2001:db8::/64");
}

/* ---- set-up ---- */

static void lo_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

static int put_jump(uint32_t index, const struct bpf_program *prog)
{
	int fd = bpf_program__fd(prog);

	return bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_jumps), &index, &fd, BPF_ANY);
}

static int set_up(void **state)
{
	struct bpf_map *map;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("a network namespace: %s\n", strerror(errno));
		return -1;
	}
	lo_up();
	skel = ladon_bpf__open();
	if (!skel || !neighbours_known())
		return -1;
	bpf_object__for_each_map(map, skel->obj)
	{
		bpf_map__set_pin_path(map, NULL);
	}
	skel->rodata->ctx_is_old_kernel = old_kernel;
	if (ladon_bpf__load(skel) < 0)
		return -1;
	put_hop(IFINDEX);
	if (put_jump(LADON_JUMP_ENTER, skel->progs.ladon_enter) < 0 ||
	    put_jump(LADON_JUMP_ICMP, skel->progs.ladon_icmp) < 0 ||
	    put_jump(LADON_JUMP_CROSS, skel->progs.ladon_cross) < 0 ||
	    put_jump(LADON_JUMP_CROSS_ICMP, skel->progs.ladon_cross_icmp) < 0)
		return -1;
	ring = ring_buffer__new(bpf_map__fd(skel->maps.ladon_events), on_event, NULL, NULL);
	return ring ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	ring_buffer__free(ring);
	ladon_bpf__destroy(skel);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_hits, each_test),
		cmocka_unit_test_setup(test_the_stack_gets_the_backend_s_numbers, each_test),
		cmocka_unit_test_setup(test_what_leaves_the_stack_gets_the_client_s_numbers,
				       each_test),
		cmocka_unit_test_setup(test_the_stack_gets_nothing_that_makes_no_sense, each_test),
		cmocka_unit_test_setup(test_checksum_complete, each_test),
		cmocka_unit_test_setup(test_options_that_make_no_sense_are_dropped, each_test),
		cmocka_unit_test_setup(test_miss, each_test),
		cmocka_unit_test_setup(test_other_traffic, each_test),
		cmocka_unit_test_setup(test_fragments, each_test),
		cmocka_unit_test_setup(test_ip_options, each_test),
		cmocka_unit_test_setup(test_extension_headers, each_test),
		cmocka_unit_test_setup(test_hold_of_acks, each_test),
		cmocka_unit_test_setup(test_hold_of_data, each_test),
		cmocka_unit_test_setup(test_a_hold_ends_by_itself, each_test),
		cmocka_unit_test_setup(test_a_fin_meets_a_hold, each_test),
		cmocka_unit_test_setup(test_fins, each_test),
		cmocka_unit_test_setup(test_resets, each_test),
		cmocka_unit_test_setup(test_a_forged_reset_is_forgotten, each_test),
		cmocka_unit_test_setup(test_what_is_damaged_ends_nothing, each_test),
		cmocka_unit_test_setup(test_syn_on_a_closed_flow, each_test),
		cmocka_unit_test_setup(test_syn_on_a_closed_flow_that_cannot_be_told_of, each_test),
		cmocka_unit_test_setup(test_syn_on_a_live_flow, each_test),
		cmocka_unit_test_setup(test_killed_flows_are_answered, each_test),
		cmocka_unit_test_setup(test_who_was_told_is_known, each_test),
		cmocka_unit_test_setup(test_a_probe_is_translated_and_not_noted, each_test),
		cmocka_unit_test_setup(test_an_answer_is_no_life, each_test),
		cmocka_unit_test_setup(test_a_reset_that_answers_a_probe, each_test),
		cmocka_unit_test_setup(test_what_has_no_flow_is_the_stacks, each_test),
		cmocka_unit_test_setup(test_errors, each_test),
		cmocka_unit_test_setup(test_an_error_that_quotes_little, each_test),
		cmocka_unit_test_setup(test_errors_that_are_none_of_ours, each_test),
		cmocka_unit_test_setup(test_errors_that_go_no_further, each_test),
		cmocka_unit_test_setup(test_ttl, each_test),
		cmocka_unit_test_setup(test_a_sender_is_told_so_and_so_often, each_test),
		cmocka_unit_test_setup(test_too_large, each_test),
		cmocka_unit_test_setup(test_too_large_without_df, each_test),
		cmocka_unit_test_setup(test_the_segments_of_a_super_packet, each_test),
		cmocka_unit_test_setup(test_the_interface_is_gone, each_test),
		cmocka_unit_test_setup(test_checksum_complete_of_an_error, each_test),
		cmocka_unit_test_setup(test_families_are_crossed, each_test),
		cmocka_unit_test_setup(test_a_damaged_header_does_not_cross, each_test),
		cmocka_unit_test_setup(test_what_cannot_be_translated_does_not_cross, each_test),
		cmocka_unit_test_setup(test_ttl_of_what_would_cross, each_test),
		cmocka_unit_test_setup(test_too_large_to_cross, each_test),
		cmocka_unit_test_setup(test_too_large_for_a_very_narrow_link, each_test),
		cmocka_unit_test_setup(test_killed_flows_answer_in_the_family_of_who_asks,
				       each_test),
		cmocka_unit_test_setup(test_errors_cross, each_test),
		cmocka_unit_test_setup(test_errors_that_do_not_cross, each_test),
		cmocka_unit_test_setup(test_an_error_that_is_too_long_to_cross, each_test),
		cmocka_unit_test_setup(test_the_way_is_asked_for, each_test),
		cmocka_unit_test_setup(test_the_way_is_remembered, each_test),
		cmocka_unit_test_setup(test_the_way_is_asked_for_again, each_test),
		cmocka_unit_test_setup(test_there_is_no_way, each_test),
		cmocka_unit_test_setup(test_print_costs, each_test),
	};
	int failed;

	failed = cmocka_run_group_tests_name("prog/tc", tests, set_up, tear_down);
	old_kernel = true;
	failed += cmocka_run_group_tests_name("prog/tc, older kernels", tests, set_up, tear_down);
	return failed;
}
