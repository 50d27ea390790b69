// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * handoff.c - the order that loses nothing
 *
 *	activate   both entries exist from here on: packets of both ends are
 *	           translated, the sockets hear nothing more
 *	send       what was read, or waits unread, goes to the side it belongs to
 *	vanish     leave.c: what was between tc and the sockets at that moment
 *	           follows, and no FIN, no RST and no TIME_WAIT is left
 *
 * The other order, send and then activate, loses flows: the answer can be
 * faster than the second step. Nothing in here may wait, and nothing after
 * activate may fail: whatever is not sent, its sender still keeps.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "leave.h"
#include "private.h"
#include "source.h"
#include "stack.h"

/* <linux/netfilter_ipv4.h> and <linux/netfilter_ipv6/ip6_tables.h> do not go with <netinet/in.h> */
#define ORIGINAL_DST 80 /* for IPv4 and IPv6 */

static const struct {
	uint32_t reason;
	int err;
} refusals[] = {
	{ LADON_REASON_UNACKED, -EAGAIN },	     { LADON_REASON_ACKED, -EAGAIN },
	{ LADON_REASON_NOT_ESTABLISHED, -ENOTCONN }, { LADON_REASON_NO_SOCKET, -ENOTCONN },
	{ LADON_REASON_TABLE_FULL, -ENOSPC },	     { LADON_REASON_EXISTS, -EEXIST },
	{ LADON_REASON_NO_KERNEL_MEMORY, -ENOMEM },  { LADON_REASON_NO_PRIVILEGE, -EPERM },
};

static int refusal_errno(uint32_t reason)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (refusals[i].reason == reason)
			return refusals[i].err;
	return -EOPNOTSUPP;
}

/*
 * Is the connection tracked? Then conntrack answers with where it was headed
 * when it arrived (net/netfilter/nf_conntrack_proto.c).
 */
static bool is_tracked(int fd, sa_family_t family, struct addr *headed_for)
{
	socklen_t len = sizeof(*headed_for);

	return getsockopt(fd, family == AF_INET ? SOL_IP : SOL_IPV6, ORIGINAL_DST, headed_for,
			  &len) == 0;
}

/*
 * What conntrack knows of the two connections
 *
 * @redirected: REDIRECT and DNAT of this host: the client's packets arrive with
 *	another destination than the socket has, and tc sees them as they arrive. What the
 *	socket sends has got that for its source before it comes by tc.
 */
struct tracking {
	bool front, back, redirected;
};

static void tracking_look(struct tracking *t, int front_fd, int back_fd, struct ladon_request *req)
{
	struct addr headed_for, local, back_for;

	addr_from_16(req->front_socket.daddr, req->front_socket.dport, &local);
	t->front = is_tracked(front_fd, local.sa.sa_family, &headed_for);
	t->redirected = t->front && !addr_equal(&headed_for, &local);
	t->back = is_tracked(back_fd, local.sa.sa_family, &back_for);
	if (!t->redirected)
		return;
	addr_to_16(&headed_for, req->front.daddr);
	req->front.dport = htons(addr_port(&headed_for));
}

/* Once the flow is active it is too late to find out. */
static uint32_t stack_obstacle(const struct ladon *ladon, const struct tracking *t,
			       const struct ladon_flow_key *front)
{
	struct addr client;

	addr_from_16(front->saddr, 0, &client);
	if (ladon->vrf)
		return LADON_REASON_VRF;
	if (t->redirected)
		return LADON_REASON_NAT;
	if (!ladon->stack || !t->front || !t->back)
		return LADON_REASON_UNTRACKED;
	return stack_forwards(ladon->stack, client.sa.sa_family) ? LADON_REASON_NONE
								 : LADON_REASON_NO_FORWARDING;
}

uint32_t ladon_flow_id(struct ladon *ladon)
{
	uint32_t id;

	do {
		id = atomic_fetch_add_explicit(&ladon->next_id, 1, memory_order_relaxed);
	} while (!id);
	return id;
}

/* A test run takes the memory that it needs before it runs the program (net/bpf/test_run.c). */
static uint32_t run_obstacle(int rc)
{
	if (rc == -ENOMEM)
		return LADON_REASON_NO_KERNEL_MEMORY;
	return rc == -EPERM ? LADON_REASON_NO_PRIVILEGE : LADON_REASON_NO_BPF;
}

static int activate_run(struct ladon *ladon, struct ladon_request *req)
{
	int rc = ladon_run_among_ours(ladon, ladon->activate_fd, req, sizeof(*req));

	if (rc < 0)
		req->reason = run_obstacle(rc);
	else
		atomic_store_explicit(&ladon->netfilter, req->netfilter, memory_order_relaxed);
	return req->reason ? refusal_errno(req->reason) : 0;
}

/*
 * Most hosts of ladon have no rules that make conntrack active, and need not ask it. The
 * program sees whether there are any now, so when they come it is asked after all.
 */
static int activate_tracked(struct ladon *ladon, int front_fd, int back_fd,
			    const struct ladon_handoff *how, struct ladon_request *req,
			    struct tracking *tracking)
{
	bool ask = how->stack || atomic_load_explicit(&ladon->netfilter, memory_order_relaxed);
	int rc;

	for (;;) {
		if (ask)
			tracking_look(tracking, front_fd, back_fd, req);
		req->reason = how->stack ? stack_obstacle(ladon, tracking, &req->front)
					 : LADON_REASON_NONE;
		if (req->reason)
			return -EOPNOTSUPP;
		req->netfilter = ask;
		rc = activate_run(ladon, req);
		if (ask || !req->netfilter)
			return rc;
		ask = true;
	}
}

/*
 * The routes choose the same source address each time, as a rule: the socket is asked for its
 * own when what they chose last was not right.
 */
static int back_key(struct ladon *ladon, int back_fd, const struct ladon_handoff *how, bool guess,
		    struct ladon_request *req)
{
	const struct sockaddr *at = how->source_address;
	struct addr local;
	int rc;

	req->back_guess = guess && !at && sources_guess(ladon->sources, how->source, &local);
	if (req->back_guess)
		at = &local.sa;
	rc = socket_key(back_fd, how->backend, at, &req->back);
	if (rc == 0 && !at) {
		addr_from_16(req->back.daddr, req->back.dport, &local);
		sources_chose(ladon->sources, how->source, &local);
	}
	return rc;
}

static int activate(struct ladon *ladon, int front_fd, int back_fd, const struct ladon_handoff *how,
		    struct ladon_request *req, struct tracking *tracking)
{
	int rc = socket_key(front_fd, how->client, how->listener, &req->front_socket);

	req->front = req->front_socket;
	if (socket_is_apart(ladon, front_fd) || socket_is_apart(ladon, back_fd)) {
		req->reason = LADON_REASON_VRF;
		return -EOPNOTSUPP;
	}
	req->op = how->stack ? LADON_EDIT_STACK : 0;
	req->front_pending = (uint32_t)how->front_len;
	req->back_pending = (uint32_t)how->back_len;
	req->uncounted = !how->source;
	req->id = how->id ? how->id : ladon_flow_id(ladon);
	req->limits = limits_take(ladon, how);
	req->reason = LADON_REASON_NOT_ESTABLISHED;
	if (rc == 0)
		rc = back_key(ladon, back_fd, how, true, req);
	if (rc == 0)
		rc = activate_tracked(ladon, front_fd, back_fd, how, req, tracking);
	if (!req->back_guess || req->reason != LADON_REASON_NO_SOCKET)
		return rc;
	rc = back_key(ladon, back_fd, how, false, req);
	return rc < 0 ? rc : activate_tracked(ladon, front_fd, back_fd, how, req, tracking);
}

/* What is sent now; what comes to the sockets from here on is looked for when they vanish. */
static void first_bytes(struct ladon *ladon, const struct ladon_handoff *how,
			struct leaving *leaving)
{
	struct ladon_request *req = &leaving->req;

	leaving->in.data = how->front_data;
	leaving->in.len = how->front_len;
	leaving->in.room = req->back_room;
	leaving->in.all_read = req->front_pending == how->front_len;
	leaving->out.data = how->back_data;
	leaving->out.len = how->back_len;
	leaving->out.room = req->front_room;
	leaving->out.all_read = req->back_pending == how->back_len;
	if (req->front_pending)
		carry(&leaving->in);
	if (req->back_pending)
		carry(&leaving->out);
	leaving_settle(ladon, leaving);
}

static void histogram_add(struct ladon *ladon, const struct timespec *start)
{
	struct timespec end;
	unsigned int bucket = 0;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &end);
	ns = (uint64_t)(end.tv_sec - start->tv_sec) * 1000000000 + (uint64_t)end.tv_nsec -
	     (uint64_t)start->tv_nsec;
	while (bucket < LADON_DURATIONS - 1 && ns >= ladon_duration_ns(bucket))
		bucket++;
	atomic_fetch_add_explicit(&ladon->handoff_ns[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&ladon->handoffs, 1, memory_order_relaxed);
}

int ladon_handoff(struct ladon *ladon, int front_fd, int back_fd, struct ladon_handoff *given)
{
	struct ladon_handoff how = LADON_HANDOFF_INIT;
	struct leaving leaving = { .in = { .from = front_fd, .to = back_fd },
				   .out = { .from = back_fd, .to = front_fd } };
	struct ladon_request *req = &leaving.req;
	struct timespec start;
	struct tracking tracking = { 0 };
	int rc;

	if (given)
		memcpy(&how, given, given->size < sizeof(how) ? given->size : sizeof(how));
	clock_gettime(CLOCK_MONOTONIC, &start);
	rc = activate(ladon, front_fd, back_fd, &how, req, &tracking);
	if (given)
		given->reason = req->reason;
	if (rc < 0)
		return rc;
	first_bytes(ladon, &how, &leaving);
	/* A flow of the stack's takes their entries' place (stack.c), and needs it now. */
	leaving.tracked = !how.stack && (tracking.front || tracking.back);
	if (how.leavers && !how.stack)
		leavers_add(how.leavers, &leaving);
	else
		vanish(ladon, &leaving);
	if (how.stack)
		stack_take(ladon, &req->front, &req->back, req->id,
			   how.idle_ms ? how.idle_ms : ladon->options.idle_ms);
	histogram_add(ladon, &start);
	how.reason = LADON_REASON_NONE;
	how.id = req->id;
	how.front_rtt_us = req->front_rtt_us;
	how.back_rtt_us = req->back_rtt_us;
	if (given)
		memcpy(given, &how, given->size < sizeof(how) ? given->size : sizeof(how));
	return 0;
}
