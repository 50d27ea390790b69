// SPDX-License-Identifier: GPL-2.0-only
/*
 * leave.c - sockets between their handoff and their end, on loopback, with a made-up clock
 *
 *	client -- front [ladon] back -- server
 *
 * Without CAP_NET_ADMIN there is no TCP_REPAIR, and a FIN when they vanish; what they send is the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/conntrack.h"
#include "../../lib/leave.h"

#define ROOM 1000

/* ---- the fakes ---- */

static uint64_t now_ms;
static int settled, forgotten;
static const char *reset_by;

uint64_t ladon_now_ms(void)
{
	return now_ms;
}

int ladon_run(int prog_fd, void *data, uint32_t len)
{
	const struct ladon_request *req = data;

	(void)prog_fd;
	assert_int_equal(len, sizeof(*req));
	assert_int_equal(req->op, LADON_EDIT_SETTLE);
	settled++;
	return 0;
}

void conntrack_forget(struct conntrack *ct, const struct ladon_flow_key *front,
		      const struct ladon_flow_key *back)
{
	(void)ct;
	assert_int_equal(front->sport, 1);
	assert_int_equal(back->sport, 2);
	forgotten++;
}

void flows_was_reset(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id,
		     bool by_client)
{
	(void)ladon;
	assert_int_equal(front->sport, 1);
	assert_int_equal(id, 7);
	assert_null(reset_by);
	reset_by = by_client ? "client" : "backend";
}

/* ---- set-up ---- */

struct ends {
	int client, front, back, server;
	struct leaving leaving;
};

static struct ladon ladon;
static struct ladon_leavers *leavers;

/* One connection over loopback */
static void connected(int *one, int *other)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (void *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (void *)&at, &len), 0);
	*one = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*one, (void *)&at, sizeof(at)), 0);
	*other = accept(listener, NULL, NULL);
	assert_true(*other >= 0);
	close(listener);
}

static void ends_open(struct ends *e)
{
	memset(e, 0, sizeof(*e));
	connected(&e->client, &e->front);
	connected(&e->server, &e->back);
	e->leaving.in = (struct carry){ .from = e->front, .to = e->back, .room = ROOM };
	e->leaving.out = (struct carry){ .from = e->back, .to = e->front, .room = ROOM };
	e->leaving.in.all_read = e->leaving.out.all_read = true;
	e->leaving.req.front.sport = 1;
	e->leaving.req.back.sport = 2;
	e->leaving.req.id = 7;
}

static void ends_close(const struct ends *e)
{
	close(e->client);
	close(e->server);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int each_test(void **state)
{
	(void)state;
	memset(&ladon, 0, sizeof(ladon));
	now_ms = 1000;
	settled = forgotten = 0;
	reset_by = NULL;
	leavers = ladon_leavers_new(&ladon);
	return leavers ? 0 : -1;
}

/* Loopback delivers within the call that sends, and never blocks here. */
static void assert_heard(int fd, const char *what)
{
	char got[2 * ROOM];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	assert_int_equal(n, strlen(what));
	assert_memory_equal(got, what, strlen(what));
}

static void assert_silent(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void say(int fd, const char *what)
{
	assert_int_equal(send(fd, what, strlen(what), 0), strlen(what));
}

/* ---- tests ---- */

static void test_they_stay_for_a_millisecond(void **state)
{
	struct ends first, second;

	(void)state;
	ends_open(&first);
	ends_open(&second);
	assert_int_equal(ladon_leavers_run(leavers), -1);
	leavers_add(leavers, &first.leaving);
	now_ms++;
	leavers_add(leavers, &second.leaving);
	assert_int_equal(ladon_leavers_run(leavers), 1);
	assert_true(is_open(first.front) && is_open(first.back));
	now_ms++;
	assert_int_equal(ladon_leavers_run(leavers), 1);
	assert_false(is_open(first.front) || is_open(first.back));
	assert_true(is_open(second.front) && is_open(second.back));
	now_ms += 5;
	assert_int_equal(ladon_leavers_run(leavers), -1);
	assert_false(is_open(second.front) || is_open(second.back));
	ladon_leavers_free(leavers);
	ends_close(&first);
	ends_close(&second);
}

static void test_what_comes_late_follows(void **state)
{
	struct ends e, quiet;

	(void)state;
	ends_open(&quiet);
	ends_open(&e);
	leavers_add(leavers, &quiet.leaving);
	leavers_add(leavers, &e.leaving);
	say(e.client, "a question");
	say(e.server, "a greeting");
	assert_silent(e.server);
	now_ms += 2;
	ladon_leavers_run(leavers);
	assert_heard(e.server, "a question");
	assert_heard(e.client, "a greeting");
	assert_int_equal(settled, 0);
	assert_false(is_open(e.front) || is_open(e.back));
	ladon_leavers_free(leavers);
	ends_close(&quiet);
	ends_close(&e);
}

/* Nagle's rule would keep the second back: nobody tells the socket that the first has arrived. */
static void test_it_follows_first_bytes_that_are_on_their_way(void **state)
{
	struct ends e;
	int off = 0;

	(void)state;
	ends_open(&e);
	setsockopt(e.server, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	e.leaving.in.data = "first,";
	e.leaving.in.len = 6;
	carry(&e.leaving.in);
	assert_int_equal(e.leaving.in.sent, 6);
	leavers_add(leavers, &e.leaving);
	say(e.client, "late");
	ladon_leavers_free(leavers);
	assert_heard(e.server, "first,late");
	ends_close(&e);
}

/* Its sender repeats all of it, and nothing may be held back for it. */
static void test_what_finds_no_room_is_not_waited_for(void **state)
{
	struct ends e;

	(void)state;
	ends_open(&e);
	e.leaving.in.room = 4;
	leavers_add(leavers, &e.leaving);
	say(e.client, "too long");
	ladon_leavers_free(leavers);
	assert_heard(e.server, "too ");
	assert_int_equal(settled, 1);
	ends_close(&e);
}

/* What was cut is a gap, and nothing goes behind it. */
static void test_nothing_follows_a_gap(void **state)
{
	struct ends e;

	(void)state;
	ends_open(&e);
	e.leaving.in.cut = true;
	leavers_add(leavers, &e.leaving);
	say(e.client, "behind it");
	ladon_leavers_free(leavers);
	assert_int_equal(recv(e.server, &(char){ 0 }, 1, MSG_DONTWAIT) > 0, 0);
	ends_close(&e);
}

static void reset(int fd)
{
	struct linger at_once = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

/* A RST is not repeated; what came before it is carried. */
static void test_a_reset_is_told(void **state)
{
	static const char *const by[] = { "client", "backend" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct ends e;
		int one, other;

		ends_open(&e);
		one = i ? e.server : e.client;
		other = i ? e.client : e.server;
		leavers_add(leavers, &e.leaving);
		say(one, "goodbye");
		reset(one);
		now_ms += 2;
		ladon_leavers_run(leavers);
		assert_heard(other, "goodbye");
		assert_string_equal(reset_by, by[i]);
		reset_by = NULL;
		close(other);
	}
	ladon_leavers_free(leavers);
}

/* After its FIN it is another error. */
static void test_a_reset_after_a_fin_is_told(void **state)
{
	struct ends e;

	(void)state;
	ends_open(&e);
	shutdown(e.server, SHUT_WR);
	say(e.back, "unread");
	leavers_add(leavers, &e.leaving);
	close(e.server);
	ladon_leavers_free(leavers);
	assert_string_equal(reset_by, "backend");
	close(e.client);
}

static void test_who_only_closes_has_not_reset(void **state)
{
	struct ends e;

	(void)state;
	ends_open(&e);
	leavers_add(leavers, &e.leaving);
	ends_close(&e);
	ladon_leavers_free(leavers);
	assert_null(reset_by);
}

static void test_one_more_than_fit_makes_them_all_leave(void **state)
{
	struct ends e[65];
	int open = 0;

	(void)state;
	for (int i = 0; i < 65; i++) {
		ends_open(&e[i]);
		leavers_add(leavers, &e[i].leaving);
		say(e[i].client, "late");
	}
	for (int i = 0; i < 65; i++)
		open += is_open(e[i].front) + is_open(e[i].back);
	assert_int_equal(open, 2);
	ladon_leavers_free(leavers);
	for (int i = 0; i < 65; i++) {
		assert_heard(e[i].server, "late");
		ends_close(&e[i]);
	}
}

static void test_conntrack_forgets_what_it_knew(void **state)
{
	struct ends known, unknown;

	(void)state;
	ends_open(&known);
	ends_open(&unknown);
	known.leaving.tracked = true;
	leavers_add(leavers, &known.leaving);
	leavers_add(leavers, &unknown.leaving);
	ladon.conntrack = (void *)&ladon;
	assert_int_equal(forgotten, 0);
	ladon_leavers_free(leavers);
	assert_int_equal(forgotten, 1);
	ends_close(&known);
	ends_close(&unknown);
}

/* Descriptors between theirs belong to somebody else. */
static void test_others_stay_open(void **state)
{
	struct ends e;
	int between;

	(void)state;
	ends_open(&e);
	between = dup(e.front);
	e.leaving.in.to = e.leaving.out.from = fcntl(e.back, F_DUPFD, between + 1);
	close(e.back);
	vanish(&ladon, &e.leaving);
	assert_false(is_open(e.front) || is_open(e.leaving.in.to));
	assert_true(is_open(between));
	close(between);
	ladon_leavers_free(leavers);
	ends_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_they_stay_for_a_millisecond, each_test),
		cmocka_unit_test_setup(test_what_comes_late_follows, each_test),
		cmocka_unit_test_setup(test_it_follows_first_bytes_that_are_on_their_way, each_test),
		cmocka_unit_test_setup(test_what_finds_no_room_is_not_waited_for, each_test),
		cmocka_unit_test_setup(test_nothing_follows_a_gap, each_test),
		cmocka_unit_test_setup(test_a_reset_is_told, each_test),
		cmocka_unit_test_setup(test_a_reset_after_a_fin_is_told, each_test),
		cmocka_unit_test_setup(test_who_only_closes_has_not_reset, each_test),
		cmocka_unit_test_setup(test_one_more_than_fit_makes_them_all_leave, each_test),
		cmocka_unit_test_setup(test_conntrack_forgets_what_it_knew, each_test),
		cmocka_unit_test_setup(test_others_stay_open, each_test),
	};

	return cmocka_run_group_tests_name("leave", tests, NULL, NULL);
}
