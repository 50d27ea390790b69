// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring.c - what it costs those who stay when a backend leaves a pool of hash
 *
 * Of the keys that were not the leaver's, how many find another backend than before, in the table
 * that a reload makes anew. Joining is the same the other way round: of the keys that the newcomer
 * does not get, how many move. Lines are "BACKENDS WEIGHTS: had H %, moved M % (most W %)": means
 * over those that leave, one at a time, in some pools of other addresses each, and the worst.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../paths/ring.h"

#define BACKENDS_MAX 2000
#define POOLS	     10
#define LEAVERS	     10
#define KEYS	     200000

static char names[BACKENDS_MAX][32];

static uint32_t equal(unsigned int i)
{
	(void)i;
	return 1;
}

static uint32_t unlike(unsigned int i)
{
	return 1 + i % 7;
}

/* Half of all for the first */
static uint32_t one_heavy(unsigned int i)
{
	return i == 0 ? 100 : 1;
}

static struct ring *ring_without(unsigned int len, uint32_t (*weight)(unsigned int),
				 unsigned int leaver)
{
	struct ring_member members[BACKENDS_MAX];
	struct ring *ring;
	unsigned int n = 0;

	for (unsigned int i = 0; i < len; i++)
		if (i != leaver)
			members[n++] = (struct ring_member){ names[i], weight(i), (uint16_t)i };
	ring = ring_new(members, n);
	if (!ring)
		exit(1);
	return ring;
}

static void names_fill(unsigned int pool)
{
	for (unsigned int i = 0; i < BACKENDS_MAX; i++)
		snprintf(names[i], sizeof(names[i]), "10.%u.%u.%u:443", pool, i / 250, i % 250 + 1);
}

/* Of the keys of others, in percent, how many have moved. @had: written: the leaver's, of all */
static double moved(const struct ring *before, const struct ring *after, unsigned int leaver,
		    double *had)
{
	unsigned int gone = 0, other = 0;

	for (uint64_t i = 0; i < KEYS; i++) {
		uint64_t key = ring_mix(i + 1);
		unsigned int was = ring_find(before, key, 0);

		gone += was == leaver;
		other += was != leaver && was != ring_find(after, key, 0);
	}
	*had = 100.0 * gone / KEYS;
	return 100.0 * other / (KEYS - gone);
}

struct sums {
	double had, moved, most;
	unsigned int count;
};

static void pool_measure(unsigned int len, uint32_t (*weight)(unsigned int), struct sums *sums)
{
	unsigned int leavers = len < LEAVERS ? len : LEAVERS;
	struct ring *before = ring_without(len, weight, len);

	for (unsigned int i = 0; i < leavers; i++) {
		unsigned int leaver = i * (len / leavers);
		struct ring *after = ring_without(len, weight, leaver);
		double had, one = moved(before, after, leaver, &had);

		sums->had += had;
		sums->moved += one;
		sums->most = one > sums->most ? one : sums->most;
		sums->count++;
		ring_free(after);
	}
	ring_free(before);
}

static void measure(unsigned int len, uint32_t (*weight)(unsigned int), const char *weights)
{
	struct sums sums = { 0 };

	for (unsigned int pool = 0; pool < POOLS; pool++) {
		names_fill(pool);
		pool_measure(len, weight, &sums);
	}
	printf("%4u %s: had %.2f %%, moved %.2f %% (most %.2f %%)\n", len, weights,
	       sums.had / sums.count, sums.moved / sums.count, sums.most);
}

int main(void)
{
	static const unsigned int lens[] = { 2, 10, 100, 160, 161, 1000, 1300, 1301 };

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		measure(lens[i], equal, "equal");
	for (unsigned int len = 10; len <= 1000; len *= 10) {
		measure(len, unlike, "of weights 1 to 7");
		measure(len, one_heavy, "of weight 1, one of 100");
	}
	return 0;
}
