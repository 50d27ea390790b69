// SPDX-License-Identifier: GPL-2.0-only
/*
 * lane.c - one direction of a relay between two pairs of Unix sockets
 *
 *	sender -- from | lane | to -- receiver
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../gateway/lane.h"
#include "../../gateway/worker.h"

#define TOTAL (3u << 20)

static struct worker worker;

/* A TCP socket takes a part of what it is given, a Unix socket all or nothing. */
static bool short_sends;

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	if (short_sends && len > 1)
		len -= (size_t)random() % len;
	return sendto(fd, bytes, len, flags, NULL, 0);
}

struct road {
	struct lane lane;
	struct watch from, to;
	int sender, receiver;
};

static void road_open(struct road *r)
{
	int in[2], out[2];

	memset(r, 0, sizeof(*r));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, out), 0);
	lane_init(&r->lane);
	r->sender = in[0];
	r->from.fd = in[1];
	r->to.fd = out[0];
	r->receiver = out[1];
	r->from.ready = EPOLLIN | EPOLLOUT;
	r->to.ready = EPOLLOUT;
}

static void road_close(struct road *r)
{
	lane_fini(&r->lane);
	pipes_fini(&worker.pipes);
	close(r->sender);
	close(r->from.fd);
	close(r->to.fd);
	close(r->receiver);
}

/* What epoll would say next: everything, since Unix sockets are ready when one looks. */
static int road_run(struct road *r)
{
	r->from.ready |= EPOLLIN;
	r->to.ready |= EPOLLOUT;
	return lane_run(&r->lane, &worker, &r->from, &r->to);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

/* Return: bytes sent */
static size_t say(const struct road *r, size_t at, size_t len)
{
	static uint8_t bytes[1 << 17];
	ssize_t n;

	if (len > sizeof(bytes))
		len = sizeof(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(at + i);
	n = send(r->sender, bytes, len, MSG_NOSIGNAL);
	return n > 0 ? (size_t)n : 0;
}

static size_t hear(const struct road *r, size_t at, size_t len)
{
	static uint8_t bytes[1 << 17];
	ssize_t n;

	n = recv(r->receiver, bytes, len < sizeof(bytes) ? len : sizeof(bytes), 0);
	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(bytes[i], pattern(at + (size_t)i));
	return n > 0 ? (size_t)n : 0;
}

/* TOTAL bytes in pieces of random size, up to 2^max each. Return: was splice(2) used? */
static bool transfer(struct road *r, unsigned int max)
{
	size_t said = 0, heard = 0;
	bool spliced = false;

	srandom(1);
	while (heard < TOTAL) {
		size_t left = TOTAL - said;
		size_t want = 1 + (size_t)random() % (1u << random() % (max + 1));

		said += say(r, said, want < left ? want : left);
		assert_true(road_run(r) >= 0);
		spliced |= r->lane.held > 0 || worker.pipes.len > 0;
		heard += hear(r, heard, 1 + (size_t)random() % (1u << random() % 18));
		assert_true(r->lane.received - r->lane.sent <= 256 * 1024);
	}
	assert_int_equal(r->lane.received, TOTAL);
	assert_int_equal(r->lane.sent, TOTAL);
	return spliced;
}

static void assert_owns_nothing(const struct lane *lane)
{
	assert_true(lane_is_empty(lane));
	assert_int_equal(lane->pipe.read, -1);
	assert_null(lane->kept.bytes);
}

static void test_small_and_large_pieces_arrive_in_order(void **state)
{
	struct road r;

	(void)state;
	road_open(&r);
	assert_true(transfer(&r, 17));
	assert_owns_nothing(&r.lane);
	road_close(&r);
}

static void test_a_part_that_was_not_taken_is_sent_later(void **state)
{
	struct road r;

	(void)state;
	road_open(&r);
	short_sends = true;
	transfer(&r, 14);
	short_sends = false;
	assert_owns_nothing(&r.lane);
	road_close(&r);
}

static void test_short_messages_need_no_pipe(void **state)
{
	struct road r;

	(void)state;
	road_open(&r);
	for (size_t at = 0; at < 100000; at += 1000) {
		assert_int_equal(say(&r, at, 1000), 1000);
		assert_int_equal(road_run(&r), 0);
		assert_int_equal(hear(&r, at, 1000), 1000);
		assert_int_equal(r.from.ready & EPOLLIN, 0); /* a short read was the last */
	}
	assert_int_equal(worker.pipes.len, 0);
	assert_owns_nothing(&r.lane);
	road_close(&r);
}

static void test_without_descriptors_all_is_copied(void **state)
{
	struct rlimit old, none;
	struct road r;

	(void)state;
	road_open(&r);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)r.receiver + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_false(transfer(&r, 17));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	road_close(&r);
}

static void test_a_receiver_that_does_not_read_stops_the_sender(void **state)
{
	struct road r;
	size_t said = 0, n;

	(void)state;
	road_open(&r);
	do {
		n = say(&r, said, 1 << 16);
		said += n;
		while (road_run(&r) > 0)
			;
	} while (n > 0);
	assert_true(r.lane.received - r.lane.sent <= 256 * 1024);
	assert_int_equal(r.to.ready & EPOLLOUT, 0); /* else the loop would spin */
	road_close(&r);
}

static void test_an_end_comes_after_the_last_byte(void **state)
{
	struct road r;
	size_t said = 0, heard = 0, n;

	(void)state;
	road_open(&r);
	while ((n = say(&r, said, 1 << 16)) > 0)
		said += n;
	shutdown(r.sender, SHUT_WR);
	r.from.ready |= EPOLLRDHUP;
	for (int i = 0; i < 1000 && !r.lane.shut; i++) {
		assert_true(road_run(&r) >= 0);
		heard += hear(&r, heard, 1 << 16);
	}
	while ((n = hear(&r, heard, 1 << 16)) > 0)
		heard += n;
	assert_int_equal(heard, said);
	assert_true(r.lane.ended && r.lane.shut);
	assert_int_equal(recv(r.receiver, &n, 1, 0), 0);
	assert_int_equal(r.from.ready & EPOLLERR, 0);
	assert_owns_nothing(&r.lane);
	road_close(&r);
}

/* A Unix socket is reset when its peer closes with unread bytes. */
static void test_a_reset_is_no_end(void **state)
{
	struct road r;
	char byte;

	(void)state;
	road_open(&r);
	assert_int_equal(send(r.from.fd, "x", 1, 0), 1);
	close(r.sender);
	r.sender = -1;
	assert_int_equal(road_run(&r), 0);
	assert_true(r.from.ready & EPOLLERR);
	assert_true(r.lane.ended && r.lane.shut);
	assert_int_equal(recv(r.receiver, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	road_close(&r);
}

static void test_a_receiver_that_is_gone_frees_what_waited(void **state)
{
	struct road r;
	size_t said = 0;

	(void)state;
	road_open(&r);
	while (lane_is_empty(&r.lane)) {
		said += say(&r, said, 1 << 16);
		assert_true(road_run(&r) >= 0);
	}
	close(r.receiver);
	r.receiver = -1;
	assert_int_equal(road_run(&r), 0);
	assert_true(r.to.ready & EPOLLERR);
	assert_true(r.lane.shut);
	assert_owns_nothing(&r.lane);
	road_close(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_and_large_pieces_arrive_in_order),
		cmocka_unit_test(test_a_part_that_was_not_taken_is_sent_later),
		cmocka_unit_test(test_short_messages_need_no_pipe),
		cmocka_unit_test(test_without_descriptors_all_is_copied),
		cmocka_unit_test(test_a_receiver_that_does_not_read_stops_the_sender),
		cmocka_unit_test(test_an_end_comes_after_the_last_byte),
		cmocka_unit_test(test_a_reset_is_no_end),
		cmocka_unit_test(test_a_receiver_that_is_gone_frees_what_waited),
	};

	signal(SIGPIPE, SIG_IGN); /* splice(2) knows no MSG_NOSIGNAL */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
