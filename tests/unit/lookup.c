// SPDX-License-Identifier: GPL-2.0-only
/*
 * lookup.c - names are looked up by a thread, and answers come to who has asked
 *
 * A name server of the test's own, on loopback, answers A questions by the name's first letter,
 * and counts them; AAAA has none, SRV one if the letter is "v". With a "c" the name is an alias, for a shorter time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../base/own.h"
#include "../../paths/lookup.h"
#include "../../paths/srv.h"

#define HEADER	  12
#define QTYPE_A	  1
#define QTYPE_SRV 33
#define WAIT_MS	  30000

/* ---- the server ---- */

static struct {
	pthread_t thread;
	int fd;
	char csv[32];
	atomic_uint asked; /* A questions */
	atomic_bool hold;  /* answer nobody for now */
} server;

static size_t answer_srv(uint8_t *packet, size_t len)
{
	static const uint8_t record[] = { 0xc0, HEADER, 0, 33, 0, 1, 0, 0, 0,	60, 0,
					  9,	0,	1, 0,  2, 1, 1, 1, 'x', 0 };

	memcpy(packet + len, record, sizeof(record));
	packet[7] = 1;
	return len + sizeof(record);
}

static size_t answer(uint8_t *packet, size_t len)
{
	static const uint8_t record[] = { 0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2 };
	static const uint8_t alias[] = { 0xc0, HEADER, 0, 5, 0, 1, 0, 0, 0, 5, 0, 3, 1, 'x', 0 };
	char letter = (char)packet[HEADER + 1];
	bool is_a = packet[len - 3] == QTYPE_A && packet[len - 4] == 0;

	packet[2] = 0x81;
	packet[3] = letter == 'n' ? 0x83 : letter == 's' ? 0x82 : 0x80;
	packet[7] = !is_a ? 0 : letter == 'c' ? 2 : letter == 'a';
	packet[11] = 0;	     /* EDNS is not copied */
	if (letter == 'g') { /* garbage */
		memset(packet + HEADER, 0xff, len - HEADER);
		return len;
	}
	if (packet[len - 3] == QTYPE_SRV && letter == 'v')
		return answer_srv(packet, len);
	if (!packet[7])
		return len;
	if (letter == 'c') {
		memcpy(packet + len, alias, sizeof(alias));
		len += sizeof(alias);
	}
	memcpy(packet + len, record, sizeof(record));
	if (letter == 'c')
		packet[len + 1] = (uint8_t)(len - 3); /* whom the alias names */
	packet[len + sizeof(record)] = 7;
	return len + sizeof(record) + 1;
}

/* Up to the end of the question: c-ares may add an OPT record. */
static size_t question_len(const uint8_t *packet)
{
	size_t at = HEADER;

	while (packet[at])
		at += 1 + (size_t)packet[at];
	return at + 5;
}

static void *serve(void *arg)
{
	struct sockaddr_in peer;
	uint8_t packet[1024];

	(void)arg;
	for (;;) {
		socklen_t size = sizeof(peer);
		ssize_t n = recvfrom(server.fd, packet, 512, 0, (void *)&peer, &size);
		size_t len;

		if (n <= HEADER)
			return NULL; /* the end */
		len = question_len(packet);
		server.asked += packet[len - 3] == QTYPE_A;
		if (!server.hold)
			sendto(server.fd, packet, answer(packet, len), 0, (void *)&peer, size);
	}
}

static int server_start(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);

	(void)state;
	server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(server.fd, (void *)&at, size) < 0 ||
	    getsockname(server.fd, (void *)&at, &size) < 0)
		return -1;
	snprintf(server.csv, sizeof(server.csv), "127.0.0.1:%u", ntohs(at.sin_port));
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int server_stop(void **state)
{
	struct sockaddr_in at;
	socklen_t size = sizeof(at);

	(void)state;
	getsockname(server.fd, (void *)&at, &size);
	sendto(server.fd, "", 1, 0, (void *)&at, size);
	pthread_join(server.thread, NULL);
	close(server.fd);
	return 0;
}

/* ---- who asks ---- */

struct asker {
	struct lookup lookup;
	struct answer answer;
	struct srvs srvs;
	unsigned int told;
};

static void told(struct lookup *lookup, const struct answer *answer)
{
	struct asker *asker = (struct asker *)lookup;

	asker->answer = *answer;
	if (answer->srvs)
		asker->srvs = *answer->srvs;
	asker->told++;
}

static int ask(struct asker *asker, struct lookups *lookups, struct notes *notes, const char *name,
	       uint64_t now_ms)
{
	asker->lookup.told = told;
	return lookup_ask(&asker->lookup, lookups, notes, name, now_ms, &asker->answer);
}

static void wait_note(struct notes *notes)
{
	struct pollfd fd = { .fd = notes->fd, .events = POLLIN };
	eventfd_t n;

	assert_int_equal(poll(&fd, 1, WAIT_MS), 1);
	eventfd_read(notes->fd, &n);
	notes_run(notes);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct asking {
	struct lookups *lookups;
	struct notes notes;
};

static int setup(void **state)
{
	struct asking *a = calloc(1, sizeof(*a));

	a->lookups = lookups_new(server.csv, false);
	a->notes.fd = eventfd(0, EFD_CLOEXEC);
	server.asked = 0;
	server.hold = false;
	*state = a;
	return a->lookups ? 0 : -1;
}

static int teardown(void **state)
{
	struct asking *a = *state;

	lookups_stop(a->lookups);
	notes_run(&a->notes);
	lookups_free(a->lookups);
	close(a->notes.fd);
	free(a);
	return 0;
}

static void test_found_and_known(void **state)
{
	struct asking *a = *state;
	struct asker asker = { 0 }, again = { 0 };
	char text[ADDR_TEXT_MAX];

	assert_int_equal(ask(&asker, a->lookups, &a->notes, "a.test", now()), -EINPROGRESS);
	while (!asker.told)
		wait_note(&a->notes);
	assert_int_equal(asker.answer.status, LOOKUP_FOUND);
	assert_int_equal(asker.answer.len, 1);
	addr_set_port(&asker.answer.addrs[0], 1);
	assert_string_equal(addr_format(&asker.answer.addrs[0], text), "192.0.2.7:1");
	assert_int_equal(ask(&again, a->lookups, &a->notes, "a.test", now()), 0);
	assert_int_equal(again.answer.len, 1);
	assert_int_equal(server.asked, 1);
	/* 60 seconds later */
	assert_int_equal(ask(&again, a->lookups, &a->notes, "a.test", now() + 61000), -EINPROGRESS);
	while (!again.told)
		wait_note(&a->notes);
	assert_int_equal(server.asked, 2);
}

/* An alias of 5 seconds to an address of 60 */
static void test_an_alias_is_known_for_its_own_time(void **state)
{
	struct asking *a = *state;
	struct asker asker = { 0 };

	assert_int_equal(ask(&asker, a->lookups, &a->notes, "c.test", now()), -EINPROGRESS);
	while (!asker.told)
		wait_note(&a->notes);
	assert_int_equal(asker.answer.status, LOOKUP_FOUND);
	assert_int_equal(asker.answer.len, 1);
	assert_int_equal(ask(&asker, a->lookups, &a->notes, "c.test", now() + 6000), -EINPROGRESS);
	lookup_forget(&asker.lookup);
}

static void test_there_is_none(void **state)
{
	static const struct {
		const char *name;
		enum lookup_status status;
	} rows[] = {
		{ "n.test", LOOKUP_NONE },   /* NXDOMAIN */
		{ "e.test", LOOKUP_NONE },   /* no records */
		{ "s.test", LOOKUP_FAILED }, /* SERVFAIL */
	};
	struct asking *a = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asker asker = { 0 };

		assert_int_equal(ask(&asker, a->lookups, &a->notes, rows[i].name, now()),
				 -EINPROGRESS);
		while (!asker.told)
			wait_note(&a->notes);
		assert_int_equal(asker.answer.status, rows[i].status);
		assert_int_equal(asker.answer.len, 0);
	}
}

static void test_a_name_is_asked_for_once(void **state)
{
	struct asking *a = *state;
	struct asker askers[5] = { 0 };
	unsigned int told_all = 0;

	server.hold = true;
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(&askers[i], a->lookups, &a->notes, "a.test", now()),
				 -EINPROGRESS);
	lookup_forget(&askers[2].lookup);
	lookup_forget(&askers[2].lookup);
	server.hold = false; /* c-ares asks again after its time limit */
	while (told_all < 4) {
		wait_note(&a->notes);
		told_all = 0;
		for (int i = 0; i < 5; i++)
			told_all += askers[i].told;
	}
	assert_true(server.asked <= 2);
	assert_int_equal(askers[2].told, 0);
	assert_int_equal(askers[4].answer.status, LOOKUP_FOUND);
}

static void test_hosts_is_believed_for_a_while(void **state)
{
	struct asking *a = *state;
	struct asker asker = { 0 };
	uint64_t before = now();

	assert_int_equal(ask(&asker, a->lookups, &a->notes, "localhost", before), -EINPROGRESS);
	while (!asker.told)
		wait_note(&a->notes);
	assert_int_equal(asker.answer.status, LOOKUP_FOUND);
	assert_in_range(asker.answer.until_ms, before + LOOKUP_HOSTS_MS, now() + LOOKUP_HOSTS_MS);
	assert_int_equal(server.asked, 0);
}

static void test_srv_records(void **state)
{
	static const struct {
		const char *name;
		enum lookup_status status;
	} rows[] = {
		{ "v.test", LOOKUP_FOUND },
		{ "n.test", LOOKUP_NONE },
		{ "e.test", LOOKUP_NONE },
		{ "s.test", LOOKUP_FAILED },
	};
	struct asking *a = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asker *asker = calloc(1, sizeof(*asker));
		uint64_t before = now();

		asker->lookup.told = told;
		assert_int_equal(
			lookup_ask_srv(&asker->lookup, a->lookups, &a->notes, rows[i].name),
			-EINPROGRESS);
		while (!asker->told)
			wait_note(&a->notes);
		assert_int_equal(asker->answer.status, rows[i].status);
		if (asker->answer.status == LOOKUP_FOUND) {
			assert_int_equal(asker->srvs.len, 1);
			assert_string_equal(asker->srvs.list[0].host, "x");
			assert_int_equal(asker->srvs.list[0].port, 257);
			assert_in_range(asker->answer.until_ms, before + 60000, now() + 60000);
		}
		free(asker);
	}
}

static void test_srv_records_that_nobody_waits_for(void **state)
{
	static struct asker forgotten, waiting;
	struct asking *a = *state;

	server.hold = true;
	forgotten.lookup.told = waiting.lookup.told = told;
	assert_int_equal(lookup_ask_srv(&forgotten.lookup, a->lookups, &a->notes, "v.test"),
			 -EINPROGRESS);
	assert_int_equal(lookup_ask_srv(&waiting.lookup, a->lookups, &a->notes, "v.test"),
			 -EINPROGRESS);
	lookup_forget(&forgotten.lookup);
	lookups_stop(a->lookups);
	notes_run(&a->notes);
	assert_int_equal(forgotten.told, 0);
	assert_int_equal(waiting.told, 1);
	assert_int_equal(waiting.answer.status, LOOKUP_FAILED);
	assert_int_equal(lookup_ask_srv(&waiting.lookup, a->lookups, &a->notes, "v.test"),
			 -ECANCELED);
}

static void test_too_many(void **state)
{
	static struct asker askers[LOOKUP_WAITING_MAX], one_more;
	struct asking *a = *state;
	char name[32];

	server.hold = true;
	for (int i = 0; i < LOOKUP_WAITING_MAX; i++) {
		snprintf(name, sizeof(name), "a%d.test", i);
		assert_int_equal(ask(&askers[i], a->lookups, &a->notes, name, now()), -EINPROGRESS);
	}
	assert_int_equal(ask(&one_more, a->lookups, &a->notes, "b.test", now()), -EBUSY);
	/* one that is asked for already is not one more */
	assert_int_equal(ask(&one_more, a->lookups, &a->notes, "a0.test", now()), -EINPROGRESS);
	lookups_stop(a->lookups);
	notes_run(&a->notes);
	for (int i = 0; i < LOOKUP_WAITING_MAX; i++) {
		assert_int_equal(askers[i].told, 1);
		assert_int_equal(askers[i].answer.status, LOOKUP_FAILED);
	}
	assert_int_equal(one_more.told, 1);
	assert_int_equal(ask(&one_more, a->lookups, &a->notes, "b.test", now()), -ECANCELED);
}

/* More names than are kept: the last ones are still known. */
static void test_what_is_kept_is_bounded(void **state)
{
	enum {
		NAMES = LOOKUP_KEPT_MAX + 500
	};
	struct asking *a = *state;
	struct asker asker = { 0 };
	char name[32];

	for (int i = 0; i < NAMES; i++) {
		unsigned int before = asker.told;

		snprintf(name, sizeof(name), "a%d.test", i);
		assert_int_equal(ask(&asker, a->lookups, &a->notes, name, now()), -EINPROGRESS);
		while (asker.told == before)
			wait_note(&a->notes);
	}
	assert_int_equal(ask(&asker, a->lookups, &a->notes, name, now()), 0);
	assert_int_equal(ask(&asker, a->lookups, &a->notes, "a0.test", now()), -EINPROGRESS);
	lookup_forget(&asker.lookup);
}

/* By dice, while answers come: under sanitizers nobody who has gone is told. */
static void test_asking_and_forgetting(void **state)
{
	struct asking *a = *state;
	struct asker *askers[50] = { 0 };
	char name[32];

	srand(1);
	for (int i = 0; i < 20000; i++) {
		struct asker **asker = &askers[rand() % 50];

		if (*asker) {
			lookup_forget(&(*asker)->lookup);
			free(*asker);
			*asker = NULL;
		} else {
			*asker = calloc(1, sizeof(**asker));
			snprintf(name, sizeof(name), "%c%d.test", "anse"[rand() % 4], rand() % 900);
			ask(*asker, a->lookups, &a->notes, name, now());
		}
		if (rand() % 8 == 0)
			notes_run(&a->notes);
	}
	for (int i = 0; i < 50; i++) {
		if (askers[i])
			lookup_forget(&askers[i]->lookup);
		free(askers[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_found_and_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_alias_is_known_for_its_own_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_there_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_name_is_asked_for_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hosts_is_believed_for_a_while, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_srv_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_srv_records_that_nobody_waits_for, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_kept_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asking_and_forgetting, setup, teardown),
	};

	return cmocka_run_group_tests(tests, server_start, server_stop);
}
