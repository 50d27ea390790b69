// SPDX-License-Identifier: GPL-2.0-only
#include "tally.h"

#include <stdlib.h>
#include <string.h>

void tallies_init(struct tallies *tallies)
{
	*tallies = (struct tallies){ .list = NULL };
	pthread_mutex_init(&tallies->lock, NULL);
}

void tallies_fini(struct tallies *tallies)
{
	pthread_mutex_destroy(&tallies->lock);
}

static struct tally *tally_find(struct tallies *tallies, const struct addr *addr)
{
	for (struct tally *t = tallies->list; t; t = t->next)
		if (addr_equal(&t->addr, addr))
			return t;
	return NULL;
}

static struct tally *tally_new(struct tallies *tallies, const struct addr *addr,
			       unsigned int workers)
{
	size_t size = sizeof(struct tally) + workers * sizeof(struct listener_counts);
	struct tally *tally = aligned_alloc(_Alignof(struct tally), size);

	if (!tally)
		return NULL;
	memset(tally, 0, size);
	tally->addr = *addr;
	tally->id = tallies->made++;
	tally->workers = workers;
	tally->next = tallies->list;
	tallies->list = tally;
	return tally;
}

struct tally *tally_hold(struct tallies *tallies, const struct addr *addr, unsigned int workers)
{
	struct tally *tally;

	pthread_mutex_lock(&tallies->lock);
	tally = tally_find(tallies, addr);
	if (!tally)
		tally = tally_new(tallies, addr, workers);
	if (tally)
		tally->holders++;
	pthread_mutex_unlock(&tallies->lock);
	return tally;
}

static void sum_add(struct listener_sum *sum, const struct listener_sum *more)
{
	sum->accepted += more->accepted;
	sum->handed_off += more->handed_off;
	sum->relayed += more->relayed;
	sum->closed += more->closed;
	sum->open += more->open;
	sum->relaying += more->relaying;
	sum->undecided += more->undecided;
	sum->refused += more->refused;
}

struct listener_sum tally_sum(const struct tally *tally)
{
	struct listener_sum sum = { 0 };

	for (unsigned int w = 0; w < tally->workers; w++) {
		const struct listener_counts *counts = &tally->counts[w];

		sum_add(&sum, &(struct listener_sum){ counts->accepted, counts->handed_off,
						      counts->relayed, counts->closed, counts->open,
						      counts->relaying, counts->undecided,
						      counts->refused });
	}
	return sum;
}

static void tally_remove(struct tallies *tallies, struct tally *tally)
{
	const struct listener_sum sum = tally_sum(tally);
	struct tally **at = &tallies->list;

	while (*at != tally)
		at = &(*at)->next;
	*at = tally->next;
	sum_add(&tallies->gone, &sum);
	free(tally);
}

void tally_drop(struct tallies *tallies, struct tally *tally)
{
	if (!tally)
		return;
	pthread_mutex_lock(&tallies->lock);
	if (--tally->holders == 0)
		tally_remove(tallies, tally);
	pthread_mutex_unlock(&tallies->lock);
}

struct listener_sum tallies_sum(struct tallies *tallies)
{
	struct listener_sum sum;

	pthread_mutex_lock(&tallies->lock);
	sum = tallies->gone;
	for (const struct tally *t = tallies->list; t; t = t->next) {
		const struct listener_sum one = tally_sum(t);

		sum_add(&sum, &one);
	}
	pthread_mutex_unlock(&tallies->lock);
	return sum;
}
