// SPDX-License-Identifier: GPL-2.0-only
/*
 * handoff.c - the programs that libladon runs, and the one at tc egress
 *
 * As tests/prog/tc.c: by BPF_PROG_TEST_RUN, in a network namespace of its own,
 * with maps that are not pinned. Two real sockets are handed off in tests/net;
 * here is what needs no second host. Needs root.
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
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../datapath/abi.h"
#include "../segment.h"
#include "counted.h"
#include "ladon.skel.h"

#define FLOW_ID 7

static struct ladon_bpf *skel;

static struct ladon_flow_key client_key(bool ip6)
{
	return segment_key(ip6, 10, 40000, 1, 443);
}

static struct ladon_flow_key back_key(bool ip6)
{
	return segment_key(ip6, 20, 8443, 1, 20000);
}

static struct ladon_flow_key reversed(const struct ladon_flow_key *key)
{
	struct ladon_flow_key r = { .sport = key->dport, .dport = key->sport };

	memcpy(r.saddr, key->daddr, sizeof(r.saddr));
	memcpy(r.daddr, key->saddr, sizeof(r.daddr));
	return r;
}

static int flows_fd(void)
{
	return bpf_map__fd(skel->maps.ladon_flows);
}

static void put(const struct ladon_flow_key *in, const struct ladon_flow_key *out, uint16_t what,
		uint32_t state)
{
	struct ladon_entry entry = { .sport = out->sport,
				     .dport = out->dport,
				     .what = what,
				     .state = state,
				     .id = FLOW_ID,
				     .packets = what ? 3 : 2,
				     .bytes = what ? 300 : 200 };

	memcpy(entry.saddr, out->saddr, sizeof(entry.saddr));
	memcpy(entry.daddr, out->daddr, sizeof(entry.daddr));
	assert_int_equal(bpf_map_update_elem(flows_fd(), in, &entry, BPF_ANY), 0);
}

/* Both entries, in this state, counted as one flow. */
static void make_flow(bool ip6, uint32_t state)
{
	struct ladon_flow_key client = client_key(ip6), back = back_key(ip6);
	struct ladon_flow_key to_client = reversed(&client), to_back = reversed(&back);
	uint32_t zero = 0;
	uint64_t one = 1;

	put(&client, &to_back, 0, state);
	put(&back, &to_client, LADON_FLOW_TO_CLIENT, state);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_live), &zero, &one, 0),
			 0);
}

static uint64_t live(void)
{
	uint32_t zero = 0;
	uint64_t n = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.ladon_live), &zero, &n), 0);
	return n;
}

/* Return: its state, or -1 when there is no such entry */
static int64_t state_of(struct ladon_flow_key key)
{
	struct ladon_entry entry;

	return bpf_map_lookup_elem(flows_fd(), &key, &entry) < 0 ? -1 : (int64_t)entry.state;
}

static void run(const struct bpf_program *prog, void *data, uint32_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = len, .data_out = data,
		    .data_size_out = len);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	assert_int_equal(opts.retval, TC_ACT_OK);
}

static struct ladon_request edit(uint16_t op, uint32_t id)
{
	struct ladon_request req = { .op = op, .front = client_key(false), .id = id };

	run(skel->progs.ladon_edit, &req, sizeof(req));
	return req;
}

/* ---- reaping ---- */

/* Return: what became of the last of as many as a run takes; the others are of no flow. */
static struct ladon_event reap(uint32_t id, bool only_closed)
{
	struct ladon_reaping r = { .only_closed = only_closed, .len = LADON_REAP_MAX };
	const unsigned int last = LADON_REAP_MAX - 1;

	r.flows[last].key = client_key(false);
	r.flows[last].flow.id = id;
	run(skel->progs.ladon_reap, &r, sizeof(r));
	for (unsigned int i = 0; i < last; i++)
		assert_int_equal(r.flows[i].type, 0);
	return r.flows[last];
}

static void test_reap_takes_closed_flows_only(void **state)
{
	struct ladon_event ended;

	(void)state;
	make_flow(false, 0);
	assert_int_equal(reap(FLOW_ID, true).type, 0);
	assert_int_equal(live(), 1);

	make_flow(false, LADON_STATE_CLOSED | LADON_STATE_FIRST);
	ended = reap(FLOW_ID, true);
	assert_int_equal(ended.type, LADON_EVENT_ENDED);
	assert_int_equal(live(), 0);
	assert_int_equal(state_of(client_key(false)), -1);
	assert_int_equal(state_of(back_key(false)), -1);
	assert_int_equal(ended.flow.packets, 2);
	assert_int_equal(ended.back.bytes, 300);
	assert_int_equal(ended.by_client, 1);
	assert_int_equal(ended.reset, 0);
	assert_int_equal(reap(FLOW_ID, true).type, 0);
	assert_int_equal(live(), 0);
}

static void test_reap_takes_any_flow_but_another(void **state)
{
	(void)state;
	make_flow(false, 0);
	assert_int_equal(reap(FLOW_ID + 1, false).type, 0);
	assert_int_equal(state_of(client_key(false)), 0);
	assert_int_equal(reap(FLOW_ID, false).type, LADON_EVENT_ENDED);
	assert_int_equal(state_of(client_key(false)), -1);
	assert_int_equal(state_of(back_key(false)), -1);
}

static void test_reap_leaves_what_is_behind_its_len(void **state)
{
	struct ladon_reaping r = { .len = 1 };

	(void)state;
	make_flow(false, 0);
	r.flows[1].key = client_key(false);
	r.flows[1].flow.id = FLOW_ID;
	run(skel->progs.ladon_reap, &r, sizeof(r));
	assert_int_equal(r.flows[1].type, 0);
	assert_int_equal(live(), 1);
}

/* ---- edits ---- */

static void test_kill_marks_both_directions_once(void **state)
{
	(void)state;
	make_flow(false, 0);
	assert_int_equal(edit(LADON_EDIT_KILL, FLOW_ID).reason, LADON_REASON_NONE);
	assert_int_equal(state_of(client_key(false)), LADON_STATE_KILLED);
	assert_int_equal(state_of(back_key(false)), LADON_STATE_KILLED);
	assert_int_equal(edit(LADON_EDIT_KILL, FLOW_ID).reason, LADON_REASON_NO_FLOW);
}

static void test_settle_ends_the_holds_and_nothing_else(void **state)
{
	(void)state;
	make_flow(false, LADON_STATE_HOLD_ACK | LADON_STATE_HOLD_SEQ | LADON_STATE_FIN);
	assert_int_equal(edit(LADON_EDIT_SETTLE, FLOW_ID).reason, LADON_REASON_NONE);
	assert_int_equal(state_of(client_key(false)), LADON_STATE_FIN);
	assert_int_equal(state_of(back_key(false)), LADON_STATE_FIN);
}

static void test_no_edit_has_another_name(void **state)
{
	(void)state;
	make_flow(false, LADON_STATE_CLOSED);
	assert_int_equal(edit(0, FLOW_ID).reason, LADON_REASON_NO_FLOW);
	assert_int_equal(edit(99, FLOW_ID).reason, LADON_REASON_NO_FLOW);
	assert_int_equal(state_of(client_key(false)), LADON_STATE_CLOSED);
}

/* ---- hops ---- */

static uint32_t hop_state(uint32_t index)
{
	struct ladon_hop hop;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.ladon_hops), &index, &hop), 0);
	return hop.state;
}

/* Each step from the one state that it is for */
static void test_a_hop_goes_step_by_step(void **state)
{
	static const uint32_t to[][4] = {
		/* from                 RETIRE             RENEW              FREE */
		{ LADON_HOP_FREE, LADON_HOP_FREE, LADON_HOP_FREE, LADON_HOP_FREE },
		{ LADON_HOP_FILLING, LADON_HOP_FILLING, LADON_HOP_FILLING, LADON_HOP_FILLING },
		{ LADON_HOP_READY, LADON_HOP_RETIRED, LADON_HOP_READY, LADON_HOP_READY },
		{ LADON_HOP_RETIRED, LADON_HOP_RETIRED, LADON_HOP_READY, LADON_HOP_FREE },
	};
	const uint32_t index = 5;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		for (uint16_t op = LADON_EDIT_HOP_RETIRE; op <= LADON_EDIT_HOP_FREE; op++) {
			struct ladon_hop hop = { .state = to[i][0] };
			uint32_t want = to[i][1 + op - LADON_EDIT_HOP_RETIRE];

			bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_hops), &index, &hop, 0);
			assert_int_equal(edit(op, index).reason, want != hop.state
									 ? LADON_REASON_NONE
									 : LADON_REASON_NO_FLOW);
			assert_int_equal(hop_state(index), want);
		}
	assert_int_equal(edit(LADON_EDIT_HOP_FREE, LADON_HOPS).reason, LADON_REASON_NO_FLOW);
}

/* ---- probes ---- */

static struct ladon_entry read_entry(struct ladon_flow_key key)
{
	struct ladon_entry entry;

	assert_int_equal(bpf_map_lookup_elem(flows_fd(), &key, &entry), 0);
	return entry;
}

/* A probe of the client, as a packet of the backend's. Return: the program's verdict */
static uint32_t ask(uint32_t id)
{
	struct segment s = { .key = back_key(false), .flags = SEGMENT_ACK };
	struct __sk_buff ctx = { .cb = { id } };
	uint8_t packet[SEGMENT_BYTES_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));

	opts.data_size_in = (uint32_t)segment_write(&s, packet);
	memset(packet, 0xff, 6);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ladon_ask), &opts), 0);
	return opts.retval;
}

static void lo_set(short flags)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = flags };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

static void test_a_probe_is_noted(void **state)
{
	(void)state;
	lo_set(IFF_UP);
	make_flow(false, LADON_STATE_HOLD_ACK | LADON_STATE_LIMITS(3));
	assert_int_equal(ask(FLOW_ID + 1), TC_ACT_SHOT);
	assert_int_equal(read_entry(client_key(false)).made_ms, 0);
	for (uint32_t i = 1; i <= LADON_PROBES_MAX + 2; i++) {
		uint32_t counted = i < LADON_PROBES_MAX ? i : LADON_PROBES_MAX;

		assert_int_equal(ask(FLOW_ID), TC_ACT_OK);
		assert_int_equal(state_of(client_key(false)),
				 LADON_STATE_LIMITS(3) | counted * LADON_STATE_PROBE);
		assert_int_equal(state_of(back_key(false)),
				 LADON_STATE_LIMITS(3) | LADON_STATE_WAITS);
	}
	assert_int_not_equal(read_entry(client_key(false)).made_ms, 0);
	assert_int_equal(read_entry(back_key(false)).made_ms, 0);
	assert_int_equal(read_entry(client_key(false)).packets, 2); /* nobody has spoken */
	assert_int_equal(read_entry(back_key(false)).packets, 3);
}

static void test_a_probe_that_cannot_be_sent_is_not(void **state)
{
	(void)state;
	lo_set(0);
	make_flow(false, 0);
	assert_int_equal(ask(FLOW_ID), TC_ACT_SHOT);
	assert_int_equal(state_of(client_key(false)), 0);
	assert_int_equal(read_entry(client_key(false)).made_ms, 0);
	lo_set(IFF_UP);
}

/* ---- activation ---- */

static void test_sockets_that_are_not_there_are_refused(void **state)
{
	struct ladon_request req = { .front = client_key(false), .back = back_key(false) };

	(void)state;
	run(skel->progs.ladon_activate, &req, sizeof(req));
	assert_int_equal(req.reason, LADON_REASON_NO_SOCKET);
	req.back = back_key(true);
	req.op = LADON_EDIT_STACK;
	run(skel->progs.ladon_activate, &req, sizeof(req));
	assert_int_equal(req.reason, LADON_REASON_FAMILY);
	run(skel->progs.ladon_look, &req, sizeof(req));
	assert_int_equal(req.reason, LADON_REASON_NO_SOCKET);
}

static void test_a_short_request_is_refused(void **state)
{
	struct ladon_request req = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &req, .data_size_in = sizeof(req) - 1);

	(void)state;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ladon_activate), &opts),
			 0);
	assert_int_equal(opts.retval, TC_ACT_SHOT);
}

/* ---- egress ---- */

/* The verdict on a packet without a socket, as the stack sends resets. */
static uint32_t leaves(const struct segment *s, uint32_t ingress_ifindex)
{
	struct __sk_buff ctx = { .ingress_ifindex = ingress_ifindex };
	uint8_t packet[SEGMENT_BYTES_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));

	opts.data_size_in = (uint32_t)segment_write(s, packet);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ladon_egress), &opts),
			 0);
	return opts.retval;
}

static void test_the_stack_does_not_reset_a_live_flow(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct ladon_flow_key client = client_key(ip6), back = back_key(ip6);
		struct segment s = { .ip6 = ip6, .key = reversed(&client), .flags = SEGMENT_RST };

		assert_int_equal(leaves(&s, 0), (uint32_t)TC_ACT_UNSPEC); /* no flow */
		make_flow(ip6, 0);
		assert_int_equal(leaves(&s, 0), TC_ACT_STOLEN);
		assert_int_equal(leaves(&s, 1), (uint32_t)TC_ACT_UNSPEC); /* forwarded */
		s.flags = SEGMENT_RST | SEGMENT_ACK;
		assert_int_equal(leaves(&s, 0), TC_ACT_STOLEN);
		s.key = reversed(&back);
		assert_int_equal(leaves(&s, 0), TC_ACT_STOLEN);
		s.flags = SEGMENT_ACK;
		assert_int_equal(leaves(&s, 0), (uint32_t)TC_ACT_UNSPEC);
	}
}

/* A socket on loopback whose program at egress is ladon's */
static int lo_socket(bool ip6, struct sockaddr_storage *addr, socklen_t *len)
{
	const struct timeval patience = { .tv_sec = 10 };
	int fd = socket(ip6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	memset(addr, 0, sizeof(*addr));
	addr->ss_family = ip6 ? AF_INET6 : AF_INET;
	if (ip6)
		((struct sockaddr_in6 *)addr)->sin6_addr = in6addr_loopback;
	else
		((struct sockaddr_in *)addr)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*len = ip6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	return fd;
}

static uint64_t stolen_acks(void)
{
	return counted_in(skel->maps.ladon_counters, LADON_REASON_QUIET_ACK).packets;
}

/*
 * A socket that is taken for established before TCP has sent the last acknowledgement of its
 * handshake: that leaves, or its peer would have no connection. No other one does.
 */
static void test_a_shadow_ends_its_handshake(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("lo"),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(skel->progs.ladon_egress));
	/* no timestamps: whoever makes it a shadow knows the clock's value */
	struct ladon_guard guard = { .mode = LADON_GUARD_ACTIVE, .mirror = LADON_MIRROR_NO_TS };
	struct sockaddr_storage addr;
	socklen_t len;
	char byte;

	(void)state;
	lo_set(IFF_UP);
	assert_int_equal(bpf_tc_hook_create(&hook), 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	for (int ip6 = 0; ip6 < 2; ip6++) {
		int listener = lo_socket(ip6, &addr, &len), peer;
		int fd = lo_socket(ip6, &addr, &len);
		uint64_t stolen;

		assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
		assert_int_equal(listen(listener, 1), 0);
		assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.ladon_guards), &fd,
						     &guard, BPF_ANY),
				 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
		peer = accept(listener, NULL, NULL);
		assert_true(peer >= 0);

		stolen = stolen_acks();
		assert_int_equal(send(peer, "x", 1, 0), 1);
		assert_int_equal(recv(fd, &byte, 1, 0), 1); /* acknowledged at once: its first */
		assert_int_not_equal(stolen_acks(), stolen);
		close(peer);
		close(fd);
		close(listener);
	}
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	assert_int_equal(bpf_tc_hook_destroy(&hook), 0);
}

/* ---- set-up ---- */

static int each_test(void **state)
{
	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct ladon_flow_key client = client_key(ip6), back = back_key(ip6);

		bpf_map_delete_elem(flows_fd(), &client);
		bpf_map_delete_elem(flows_fd(), &back);
	}
	return 0;
}

static int set_up(void **state)
{
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
	return ladon_bpf__load(skel);
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
		cmocka_unit_test_setup(test_reap_takes_closed_flows_only, each_test),
		cmocka_unit_test_setup(test_reap_takes_any_flow_but_another, each_test),
		cmocka_unit_test_setup(test_reap_leaves_what_is_behind_its_len, each_test),
		cmocka_unit_test_setup(test_kill_marks_both_directions_once, each_test),
		cmocka_unit_test_setup(test_settle_ends_the_holds_and_nothing_else, each_test),
		cmocka_unit_test_setup(test_no_edit_has_another_name, each_test),
		cmocka_unit_test_setup(test_a_hop_goes_step_by_step, each_test),
		cmocka_unit_test_setup(test_a_probe_is_noted, each_test),
		cmocka_unit_test_setup(test_a_probe_that_cannot_be_sent_is_not, each_test),
		cmocka_unit_test_setup(test_sockets_that_are_not_there_are_refused, each_test),
		cmocka_unit_test_setup(test_a_short_request_is_refused, each_test),
		cmocka_unit_test_setup(test_the_stack_does_not_reset_a_live_flow, each_test),
		cmocka_unit_test_setup(test_a_shadow_ends_its_handshake, each_test),
	};

	return cmocka_run_group_tests_name("prog/handoff", tests, set_up, tear_down);
}
