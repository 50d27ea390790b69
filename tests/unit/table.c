/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * table.c - the table of learned flows, in plain memory: as programs write it, and as libladon reads it
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../lib/table.h"

#define ENTRIES 20000
#define SECRET	0x9e3779b97f4a7c15
#define LATER	1000000 /* ms: nothing that was done before is recent */

static struct table table_new(uint32_t entries)
{
	struct table table = { .secret = SECRET, .len = LADON_BUCKETS(entries) };

	table.filter = calloc(1, sizeof(*table.filter));
	table.tags = calloc(table.len, sizeof(*table.tags));
	table.entries = calloc(table.len, sizeof(*table.entries));
	assert_true(table.filter && table.tags && table.entries);
	return table;
}

static void table_free(struct table *table)
{
	free(table->filter);
	free(table->tags);
	free(table->entries);
}

/* As a client has them: its ports follow each other, and so do clients. */
static struct ladon_learned_key key_of(uint32_t n)
{
	return (struct ladon_learned_key){ .saddr = { 0, 0, htonl(0xffff),
						      htonl(0xa000000 + n / 100) },
					   .daddr = { 0, 0, htonl(0xffff), htonl(0xc0000201) },
					   .sport = htons((uint16_t)(n % 100 + 30000)),
					   .dport = htons(443),
					   .via = LADON_VIA(2, IPPROTO_UDP) };
}

/* All of an entry tells whose it is. */
static struct ladon_learned entry_of(uint32_t n, uint32_t now_ms)
{
	struct ladon_learned learned = { .key = key_of(n), .confirmed_ms = now_ms };

	learned.packets = learned.bytes = learned.next = learned.ifindex = n;
	return learned;
}

static struct bucket bucket_of(const struct table *table, const struct spot *spot)
{
	return (struct bucket){ table->filter, &table->tags[spot->bucket],
				&table->entries[spot->bucket] };
}

/* As datapath/table.h does */
static bool put(const struct table *table, uint32_t n, uint32_t now_ms)
{
	struct ladon_learned learned = entry_of(n, now_ms);
	struct spot spot = spot_of(&learned.key, table->secret, table->len);
	struct bucket bucket = bucket_of(table, &spot);
	uint32_t place;

	if (!bucket_claim(&bucket, spot.tag, now_ms, &place))
		return false;
	memcpy((char *)&bucket.entries->of[place] + sizeof(learned.key),
	       (char *)&learned + sizeof(learned.key), sizeof(learned) - sizeof(learned.key));
	bucket_publish(&bucket, &learned.key, spot.tag, place);
	return true;
}

static const struct ladon_learned *find(const struct table *table, uint32_t n)
{
	struct ladon_learned_key key = key_of(n);

	return table_find(table, &key);
}

static uint64_t clock_is_ms;

static uint64_t set_clock(void)
{
	return clock_is_ms;
}

static void forget(const struct table *table, uint32_t n, uint32_t now_ms)
{
	struct ladon_learned_key key = key_of(n);

	clock_is_ms = now_ms;
	table_delete(table, &key, set_clock);
}

/* ... but whoever deletes it writes down when, and takes a part of the key away. */
static bool is_of(const struct ladon_learned *learned, uint32_t n)
{
	struct ladon_learned is = *learned;
	struct ladon_learned want = entry_of(n, is.confirmed_ms);

	is.key = want.key;
	return memcmp(&is, &want, sizeof(want)) == 0;
}

static int count(void *arg, const struct ladon_learned *learned)
{
	assert_true(is_of(learned, learned->ifindex));
	++*(uint32_t *)arg;
	return 0;
}

/* The filter has counted what there is. */
static void check_filter(const struct table *table)
{
	struct ladon_filter *want = calloc(1, sizeof(*want));

	assert_non_null(want);
	for (uint32_t at = 0; at < table->len; at++)
		for (uint32_t i = 0; i < LADON_PLACES; i++)
			if (table->tags[at].of[i])
				want->of[table->tags[at].of[i] / 2]++;
	assert_memory_equal(table->filter, want, sizeof(*want));
	free(want);
}

static uint32_t len(const struct table *table)
{
	uint32_t n = 0;

	assert_int_equal(table_each(table, 0, table->len, count, &n), 0);
	return n;
}

/* ---- the tests ---- */

/* Entries 0 to @n - 1, as far as there is room. Return: how many; @is_in: which */
static uint32_t fill(const struct table *table, uint32_t n, bool is_in[])
{
	uint32_t in = 0;

	for (uint32_t i = 0; i < n; i++)
		in += is_in[i] = put(table, i, LATER);
	return in;
}

static void check(const struct table *table, uint32_t n, const bool is_in[])
{
	for (uint32_t i = 0; i < n; i++) {
		const struct ladon_learned *learned = find(table, i);
		struct ladon_learned_key key = key_of(i);

		assert_true(!is_in[i] ||
			    filter_may_have(table->filter,
					    spot_of(&key, table->secret, table->len).tag));
		assert_int_equal(learned != NULL, is_in[i]);
		assert_true(!learned || is_of(learned, i));
	}
}

static void nearly_all_find_room_in_a_table_that_is_full(void **state)
{
	struct table table = table_new(ENTRIES);
	static bool is_in[ENTRIES];
	uint32_t in;

	(void)state;
	assert_null(find(&table, 0));
	in = fill(&table, ENTRIES, is_in);
	assert_true(in >= ENTRIES - ENTRIES / 200);
	assert_int_equal(len(&table), in);
	check(&table, ENTRIES, is_in);
	check_filter(&table);
	table_free(&table);
}

/* But a few, which have the tag of another in their bucket */
static void all_find_room_in_a_table_that_is_half_full(void **state)
{
	struct table table = table_new(ENTRIES);
	static bool is_in[ENTRIES / 2];

	(void)state;
	assert_true(fill(&table, ENTRIES / 2, is_in) >= ENTRIES / 2 - ENTRIES / 2000);
	table_free(&table);
}

static void what_was_deleted_is_not_found_and_all_else_is(void **state)
{
	struct table table = table_new(ENTRIES);
	static bool is_in[ENTRIES];
	uint32_t in;

	(void)state;
	in = fill(&table, ENTRIES, is_in);
	for (uint32_t n = 0; n < ENTRIES; n += 2) {
		forget(&table, n, LATER);
		in -= is_in[n];
		is_in[n] = false;
	}
	check(&table, ENTRIES, is_in);
	assert_int_equal(len(&table), in);
	check_filter(&table);
	for (uint32_t n = 1; n < ENTRIES; n += 2)
		forget(&table, n, LATER);
	assert_int_equal(len(&table), 0);
	check_filter(&table);
	table_free(&table);
}

static struct table table_of_1000(void)
{
	struct table table = table_new(ENTRIES);

	for (uint32_t n = 0; n < 1000; n++)
		assert_true(put(&table, n, LATER));
	return table;
}

static void a_walk_goes_by_parts_and_ends_when_it_is_told_to(void **state)
{
	struct table table = table_of_1000();
	uint32_t all = 0;

	(void)state;
	for (uint32_t at = 0; at < table.len; at += 10)
		table_each(&table, at, 10, count, &all);
	assert_int_equal(all, 1000);
	table_free(&table);
}

static int stop(void *arg, const struct ladon_learned *learned)
{
	(void)learned;
	return ++*(int *)arg == 3 ? -42 : 0;
}

static void a_walk_that_is_stopped_says_by_what(void **state)
{
	struct table table = table_of_1000();
	int calls = 0;

	(void)state;
	assert_int_equal(table_each(&table, 0, table.len, stop, &calls), -42);
	assert_int_equal(calls, 3);
	table_free(&table);
}

/* Whoever has found an entry goes on to read it, though it is deleted, and others come. */
static void a_place_is_left_alone_for_a_while(void **state)
{
	struct table table = table_new(1); /* one bucket */
	const struct ladon_learned *held;
	uint32_t n;

	(void)state;
	for (n = 0; n < LADON_PLACES; n++)
		assert_true(put(&table, n, LATER));
	assert_false(put(&table, n, LATER));
	held = find(&table, 7);
	forget(&table, 7, LATER + 10); /* by a clock that is ahead */
	assert_null(find(&table, 7));
	assert_false(put(&table, n, LATER));
	assert_false(put(&table, n, LATER - 9000)); /* who is late to use what its clock said */
	assert_false(put(&table, n, LATER + 10 + BUCKET_REST_MS - 1));
	assert_true(is_of(held, 7));
	assert_true(put(&table, n, LATER + 10 + BUCKET_REST_MS));
	assert_true(is_of(find(&table, n), n));
	table_free(&table);
}

static void places_that_were_never_used_are_free_whatever_the_clock(void **state)
{
	static const uint32_t clocks[] = { BUCKET_REST_MS, 0x7fffffff, 0x80000000, 0xffff0000 };

	(void)state;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct table table = table_new(1);

		assert_true(put(&table, 1, clocks[i]));
		table_free(&table);
	}
}

/* Two keys of one bucket and one tag: by chance one pair in some ten thousand */
static void twins(const struct table *table, uint32_t *a, uint32_t *b)
{
	static uint32_t seen[1 << 16];

	memset(seen, 0, sizeof(seen));
	for (*b = 1;; ++*b) {
		struct ladon_learned_key key = key_of(*b);
		struct spot spot = spot_of(&key, table->secret, table->len);

		*a = seen[spot.tag];
		if (*a)
			return;
		seen[spot.tag] = *b;
	}
}

static void of_two_keys_with_one_tag_the_first_has_it(void **state)
{
	struct table table = table_new(1);
	uint32_t first, second;

	(void)state;
	twins(&table, &first, &second);
	assert_true(put(&table, first, LATER));
	assert_false(put(&table, second, LATER));
	assert_null(find(&table, second));
	forget(&table, second, LATER);
	assert_true(is_of(find(&table, first), first));
	table_free(&table);
}

/* Neither CPU has seen the other's, yet. */
static void a_key_that_two_have_put_in_goes_as_one(void **state)
{
	struct table table = table_new(1);
	struct ladon_learned_key key = key_of(5);
	struct spot spot = spot_of(&key, table.secret, table.len);

	(void)state;
	for (uint32_t place = 3; place < 20; place += 10) {
		table.entries->of[place] = entry_of(5, LATER);
		assert_true(bucket_turn(table.tags, place, BUCKET_FREE, spot.tag));
	}
	assert_non_null(find(&table, 5));
	forget(&table, 5, LATER);
	assert_null(find(&table, 5));
	assert_int_equal(len(&table), 0);
	table_free(&table);
}

static void a_place_that_is_being_filled_is_nobodys(void **state)
{
	struct table table = table_new(1);
	struct ladon_learned_key key = key_of(6);
	uint32_t own = spot_of(&key, table.secret, table.len).tag % LADON_PLACES;

	(void)state;
	table.entries->of[own] = entry_of(5, LATER);
	table.entries->of[own].key.via = 0;
	assert_true(bucket_turn(table.tags, own, BUCKET_FREE, BUCKET_BUSY));
	assert_false(bucket_turn(table.tags, own, BUCKET_FREE, 77)); /* another CPU is too late */
	assert_null(find(&table, 5));
	assert_int_equal(len(&table), 0);
	assert_true(put(&table, 6, LATER));
	assert_true(is_of(find(&table, 6), 6));
	assert_true(is_of(&table.entries->of[own], 5));
	table_free(&table);
}

/* Most have the place that their key names, and need no tags to be found. */
static void who_comes_first_has_its_own_place(void **state)
{
	struct table table = table_new(ENTRIES);

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		struct ladon_learned_key key = key_of(n);
		struct spot spot = spot_of(&key, table.secret, table.len);

		assert_true(put(&table, n, LATER));
		assert_ptr_equal(find(&table, n),
				 &table.entries[spot.bucket].of[spot.tag % LADON_PLACES]);
	}
	table_free(&table);
}

/* ---- several at once ---- */

#define WRITES 300000
#define KEYS   200

static struct table shared;
static int writers;

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void *write_some(void *arg)
{
	uint32_t x = *(uint32_t *)arg;

	for (int i = 0; i < WRITES; i++) {
		struct ladon_learned_key key;

		x = x * 1664525 + 1013904223;
		key = key_of((x >> 8) % KEYS);
		if (x >> 31)
			put(&shared, (x >> 8) % KEYS, (uint32_t)clock_ms());
		else
			table_delete(&shared, &key, clock_ms);
	}
	__atomic_sub_fetch(&writers, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Return: an entry was not what its key says */
static void *read_some(void *arg)
{
	(void)arg;
	for (uint32_t n = 0; __atomic_load_n(&writers, __ATOMIC_SEQ_CST); n = (n + 1) % KEYS) {
		uint64_t began_ms = clock_ms();
		const struct ladon_learned *found = find(&shared, n);
		bool is = !found || is_of(found, n);

		/* who was put to sleep for so long may have read something else */
		if (!is && clock_ms() - began_ms < BUCKET_REST_MS / 2)
			return &shared;
	}
	return NULL;
}

static void whoever_reads_meanwhile_reads_one_entry(void **state)
{
	pthread_t threads[4];
	uint32_t seeds[2] = { 1, 2 };
	void *wrong;

	(void)state;
	shared = table_new(ENTRIES); /* nearly a bucket for each: places rest long */
	writers = 2;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &seeds[i]), 0);
	for (int i = 2; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_some, NULL), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	len(&shared); /* no tag is left that is nobody's */
	check_filter(&shared);
	table_free(&shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nearly_all_find_room_in_a_table_that_is_full),
		cmocka_unit_test(all_find_room_in_a_table_that_is_half_full),
		cmocka_unit_test(what_was_deleted_is_not_found_and_all_else_is),
		cmocka_unit_test(a_walk_goes_by_parts_and_ends_when_it_is_told_to),
		cmocka_unit_test(a_walk_that_is_stopped_says_by_what),
		cmocka_unit_test(a_place_is_left_alone_for_a_while),
		cmocka_unit_test(places_that_were_never_used_are_free_whatever_the_clock),
		cmocka_unit_test(of_two_keys_with_one_tag_the_first_has_it),
		cmocka_unit_test(a_key_that_two_have_put_in_goes_as_one),
		cmocka_unit_test(who_comes_first_has_its_own_place),
		cmocka_unit_test(a_place_that_is_being_filled_is_nobodys),
		cmocka_unit_test(whoever_reads_meanwhile_reads_one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
