// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe.c - a probe, as its receiver gets it: written, and translated as on its way
 *
 * The kernel is made up: what would be put into an interface is kept here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>

/* <netinet/in.h>, in here, goes before <linux/in.h> */
#include "../../lib/private.h"
#include "../../lib/probe.h"

#include "../../datapath/ctx.h"
#include "../../datapath/packet.h"
#include "../../datapath/translate.h"
#include "../segment.h"

#define FLOW_ID	 9
#define BACK_IF	 70
#define FRONT_IF 71

/* ---- the fakes ---- */

static struct {
	uint32_t ifindex, id;
	int runs;
	int down; /* this interface is */
} sent;

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	struct ladon_hop hop = { .ifindex = *(const uint32_t *)key };

	(void)fd;
	memcpy(value, &hop, sizeof(hop));
	return 0;
}

int bpf_prog_test_run_opts(int fd, struct bpf_test_run_opts *opts)
{
	const struct __sk_buff *ctx = opts->ctx_in;

	(void)fd;
	sent.runs++;
	sent.ifindex = ctx->ifindex;
	sent.id = ctx->cb[0];
	opts->retval = (int)ctx->ifindex == sent.down ? 2 : 0;
	return 0;
}

/* ---- a flow ---- */

/* How packets of the client and of the backend leave */
static struct ladon_entry entry(bool ip6, bool to_client)
{
	struct ladon_flow_key out = to_client ? segment_key(ip6, 1, 443, 10, 40000)
					      : segment_key(ip6, 1, 20000, 20, 8443);
	struct ladon_entry e = {
		.sport = out.sport,
		.dport = out.dport,
		.d_seq = to_client ? 0xfedc0000 : 1234,
		.d_ack = to_client ? 0u - 1234 : 0u - 0xfedc0000,
		.d_tsval = to_client ? 777 : 0x89abcdef,
		.d_tsecr = to_client ? 0u - 0x89abcdef : 0u - 777,
		.what = LADON_FLOW_TS | (to_client ? LADON_FLOW_TO_CLIENT : 0),
		.route = LADON_ROUTE(to_client ? FRONT_IF : BACK_IF, 3),
		.id = FLOW_ID,
	};

	memcpy(e.saddr, out.saddr, sizeof(e.saddr));
	memcpy(e.daddr, out.daddr, sizeof(e.daddr));
	return e;
}

struct buffer {
	__attribute__((aligned(4))) uint8_t pad[2];
	uint8_t bytes[SEGMENT_BYTES_MAX];
};

struct arrived {
	uint32_t seq, ack, tsval;
};

/* Written for the client or the backend, and translated by its peer's entry */
static struct arrived arrive(const struct ladon_entry *asked, const struct ladon_entry *peer)
{
	struct buffer b = { 0 };
	uint32_t len = probe_write(b.bytes, asked, peer);
	ctx_t ctx = { .data = b.bytes, .end = b.bytes + len, .len_bytes = len };
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };
	const uint8_t *tcp;

	assert_in_range(len, 1, PROBE_BYTES_MAX);
	assert_int_equal(segment_sum_ip(b.bytes), 0xffff);
	assert_int_equal(segment_sum_tcp(b.bytes), 0xffff);
	assert_int_equal(packet_parse(&ctx, &pkt), VERDICT_CONTINUE);
	assert_int_equal(pkt.payload_bytes, 0);
	assert_int_equal(pkt.flags, TCP_ACK);
	assert_memory_equal(pkt.key.saddr, asked->daddr, 16); /* as the peer would send it */
	assert_memory_equal(pkt.key.daddr, asked->saddr, 16);
	assert_int_equal(pkt.key.sport, asked->dport);
	assert_int_equal(pkt.key.dport, asked->sport);
	assert_int_equal(translate(&ctx, &pkt, peer, &d), VERDICT_CONTINUE);
	assert_int_equal(ctx_fix_csum(&ctx, &pkt.tcp->check, 0, pkt.is_ip6, &d), 0);
	assert_int_equal(segment_sum_tcp(b.bytes), 0xffff);
	tcp = segment_tcp(b.bytes);
	assert_int_equal(pkt.options_bytes, peer->what & LADON_FLOW_TS ? 12 : 0);
	return (struct arrived){ segment_get32(tcp + 4), segment_get32(tcp + 8),
				 pkt.options_bytes ? segment_get32(tcp + 24) : 0 };
}

/* ---- tests ---- */

/* @told: what the probed end has acknowledged; @heard: what it has had acknowledged */
static void each_number(bool ip6, bool to_client, uint32_t told, uint32_t heard)
{
	struct ladon_entry asked = entry(ip6, !to_client), peer = entry(ip6, to_client);
	struct arrived got;

	asked.acked = (uint16_t)(told >> 16);
	peer.acked = (uint16_t)((heard - peer.d_ack) >> 16);
	got = arrive(&asked, &peer);
	/* before what it expects next, and not by much: RFC 9293 section 3.4 */
	assert_in_range(told - got.seq, 1, 65536);
	/* something that it has sent, and was acknowledged */
	assert_in_range(heard - got.ack, 0, 65535);
}

static void numbers_are_old_ones_wherever_they_wrap(void **state)
{
	static const uint32_t numbers[] = { 0,		1,	    65535,	65536,
					    0x7fffffff, 0x80000000, 0xffff0000, 0xffffffff };
	const size_t len = sizeof(numbers) / sizeof(numbers[0]);

	(void)state;
	for (size_t i = 0; i < len * len * 4; i++)
		each_number(i & 1, i & 2, numbers[i / 4 % len], numbers[i / 4 / len]);
}

/* RFC 7323 section 5.3, R1 */
static bool is_old(uint32_t tsval, uint32_t recent)
{
	return (int32_t)(tsval - recent) < 0;
}

static void timestamps_are_new_ones(void **state)
{
	static const uint32_t recents[] = { 1, 0x7fffffff, 0x80000000, 0xfffffff0 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct ladon_entry asked = entry(false, false), peer = entry(false, true);

		if (recents[i] >> 31)
			asked.state = LADON_STATE_HIGH;
		assert_false(is_old(arrive(&asked, &peer).tsval, recents[i]));
		asked.state ^=
			LADON_STATE_HIGH; /* what was believed is not so: the second is new */
		assert_true(is_old(arrive(&asked, &peer).tsval, recents[i]));
		asked.state += LADON_STATE_PROBE;
		assert_false(is_old(arrive(&asked, &peer).tsval, recents[i]));
	}
}

static void an_end_without_timestamps_gets_none(void **state)
{
	struct ladon_entry asked = entry(true, true), peer = entry(true, false);

	(void)state;
	asked.what &= (uint8_t)~LADON_FLOW_TS;
	peer.what &= (uint8_t)~LADON_FLOW_TS;
	arrive(&asked, &peer);
}

static void it_comes_in_where_the_peer_s_packets_do(void **state)
{
	struct ladon_entry client = entry(false, false), back = entry(false, true);
	static struct ladon ladon;

	(void)state;
	assert_int_equal(probe_send(&ladon, &client, &back), 0);
	assert_int_equal(sent.ifindex, BACK_IF);
	assert_int_equal(sent.id, FLOW_ID);
	assert_int_equal(probe_send(&ladon, &back, &client), 0);
	assert_int_equal(sent.ifindex, FRONT_IF);
	assert_int_equal(sent.runs, 2);
	sent.down = BACK_IF;
	assert_int_equal(probe_send(&ladon, &client, &back), 0);
	assert_int_equal(sent.ifindex, FRONT_IF);
	back.route = client.route;
	assert_int_equal(probe_send(&ladon, &client, &back), -ENETDOWN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_old_ones_wherever_they_wrap),
		cmocka_unit_test(timestamps_are_new_ones),
		cmocka_unit_test(an_end_without_timestamps_gets_none),
		cmocka_unit_test(it_comes_in_where_the_peer_s_packets_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
