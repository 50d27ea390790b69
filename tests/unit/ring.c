// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring.c - a table gives each its share, whatever the order, and is the same again
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../paths/ring.h"

#define MEMBERS 20

static char names[MEMBERS][32];

static void members_fill(struct ring_member *members, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		snprintf(names[i], sizeof(names[i]), "10.0.0.%u:443", i);
		members[i] = (struct ring_member){ names[i], 1, (uint16_t)i };
	}
}

/* In slots; every slot is somebody's */
static void shares(const struct ring *ring, unsigned int *out, unsigned int len)
{
	memset(out, 0, len * sizeof(*out));
	for (uint32_t i = 0; i < ring->len; i++) {
		assert_true(ring->slots[i] < len);
		out[ring->slots[i]]++;
	}
}

static void equals_have_equal_shares(void **state)
{
	struct ring_member members[MEMBERS];
	unsigned int have[MEMBERS];
	struct ring *ring;

	(void)state;
	members_fill(members, MEMBERS);
	ring = ring_new(members, MEMBERS);
	shares(ring, have, MEMBERS);
	for (int i = 0; i < MEMBERS; i++)
		assert_in_range(have[i], ring->len / MEMBERS, ring->len / MEMBERS + 1);
	ring_free(ring);
}

static void shares_go_by_weight(void **state)
{
	static const uint32_t rows[][3] = {
		{ 1, 2, 5 }, { 100, 100, 300 }, { 1, 1, 1000 }, { 7, 11, 1000 }
	};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		uint64_t sum = (uint64_t)rows[r][0] + rows[r][1] + rows[r][2];
		struct ring_member members[3];
		unsigned int have[3];
		struct ring *ring;

		members_fill(members, 3);
		for (int i = 0; i < 3; i++)
			members[i].weight = rows[r][i];
		ring = ring_new(members, 3);
		shares(ring, have, 3);
		for (int i = 0; i < 3; i++) {
			uint64_t due = ring->len * rows[r][i] / sum;

			assert_in_range(have[i], due - 1, due + 2);
		}
		ring_free(ring);
	}
}

static void the_order_does_not_matter(void **state)
{
	struct ring_member members[MEMBERS];
	struct ring *ring, *other;

	(void)state;
	members_fill(members, MEMBERS);
	members[3].weight = 4;
	ring = ring_new(members, MEMBERS);
	members_fill(members, MEMBERS);
	members[3].weight = 4;
	for (int i = 0; i < MEMBERS / 2; i++) {
		struct ring_member swap = members[i];

		members[i] = members[MEMBERS - 1 - i];
		members[MEMBERS - 1 - i] = swap;
	}
	other = ring_new(members, MEMBERS);
	assert_int_equal(ring->len, other->len);
	assert_memory_equal(ring->slots, other->slots, ring->len * sizeof(ring->slots[0]));
	ring_free(ring);
	ring_free(other);
}

/* Slots of others that have changed hands, of 10,000 */
static uint32_t moved(const struct ring *before, const struct ring *after, unsigned int leaver)
{
	uint32_t kept = 0, moved = 0;

	assert_int_equal(before->len, after->len);
	for (uint32_t i = 0; i < before->len; i++) {
		assert_int_not_equal(after->slots[i], leaver);
		kept += before->slots[i] != leaver;
		moved += before->slots[i] != leaver && before->slots[i] != after->slots[i];
	}
	return (uint32_t)(moved * UINT64_C(10000) / kept);
}

/* @leaver: @len: nobody */
static struct ring *ring_without(unsigned int len, unsigned int weights, unsigned int leaver)
{
	struct ring_member *members = calloc(len, sizeof(*members));
	char(*texts)[16] = calloc(len, sizeof(*texts));
	unsigned int n = 0;
	struct ring *ring;

	for (unsigned int i = 0; i < len; i++) {
		snprintf(texts[i], sizeof(texts[i]), "b%u:1", i);
		if (i != leaver)
			members[n++] =
				(struct ring_member){ texts[i], 1 + i % weights, (uint16_t)i };
	}
	ring = ring_new(members, n);
	assert_non_null(ring);
	free(texts);
	free(members);
	return ring;
}

/* Also read the other way round: when it joins. bench/ring.c measures it. */
static void few_keys_of_others_move_when_one_leaves(void **state)
{
	static const struct {
		unsigned int len, weights;
		uint32_t most; /* of 10,000 */
	} rows[] = { { 2, 1, 0 },    { 10, 1, 150 },  { 100, 1, 300 }, { 1000, 1, 100 },
		     { 10, 7, 150 }, { 100, 7, 350 }, { 1000, 7, 150 } };

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		struct ring *before = ring_without(rows[r].len, rows[r].weights, rows[r].len);

		for (unsigned int leaver = 0; leaver < rows[r].len; leaver += 1 + rows[r].len / 3) {
			struct ring *after = ring_without(rows[r].len, rows[r].weights, leaver);

			assert_in_range(moved(before, after, leaver), 0, rows[r].most);
			ring_free(after);
		}
		ring_free(before);
	}
}

static void one_name_may_be_two_members(void **state)
{
	struct ring_member members[] = { { "a:1", 1, 0 }, { "a:1", 1, 1 } };
	struct ring *ring = ring_new(members, 2);
	unsigned int have[2];

	(void)state;
	shares(ring, have, 2);
	assert_in_range(have[0], ring->len / 2, ring->len / 2 + 1);
	ring_free(ring);
}

static void one_member_has_all(void **state)
{
	struct ring_member member = { "a:1", 1000, 0 };
	struct ring *ring = ring_new(&member, 1);
	unsigned int have;

	(void)state;
	shares(ring, &have, 1);
	assert_int_equal(have, ring->len);
	ring_free(ring);
}

static void the_most_that_a_pool_has_fit(void **state)
{
	unsigned int len = UINT16_MAX;
	struct ring_member *members = calloc(len, sizeof(*members));
	char(*texts)[16] = calloc(len, sizeof(*texts));
	unsigned int *have = calloc(len, sizeof(*have));
	struct ring *ring;

	(void)state;
	for (unsigned int i = 0; i < len; i++) {
		snprintf(texts[i], sizeof(texts[i]), "b%u:1", i);
		members[i] = (struct ring_member){ texts[i], i == 0 ? 1000 : 1, (uint16_t)i };
	}
	ring = ring_new(members, len);
	shares(ring, have, len);
	for (unsigned int i = 1; i < len; i++)
		assert_in_range(have[i], ring->len / (len + 1000), ring->len / (len + 999) + 1);
	ring_free(ring);
	free(have);
	free(texts);
	free(members);
}

/* What another daemon, or a later version, must compute as well. */
static void hashes_stay_what_they_are(void **state)
{
	(void)state;
	assert_int_equal(ring_hash(0, "", 0), UINT64_C(0xefd01f60ba992926));
	assert_int_equal(ring_hash(0, "www.example.org", 15), UINT64_C(0x9f35ce4e261f9fe4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_have_equal_shares),
		cmocka_unit_test(shares_go_by_weight),
		cmocka_unit_test(the_order_does_not_matter),
		cmocka_unit_test(few_keys_of_others_move_when_one_leaves),
		cmocka_unit_test(one_name_may_be_two_members),
		cmocka_unit_test(one_member_has_all),
		cmocka_unit_test(the_most_that_a_pool_has_fit),
		cmocka_unit_test(hashes_stay_what_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
