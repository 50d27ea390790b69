// SPDX-License-Identifier: GPL-2.0-only
#include "callers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define BUCKETS_MAX (1u << 20)

struct caller {
	struct caller *next; /* in its bucket */
	uint64_t net;
	uint32_t place;
	uint32_t connections;
};

struct callers {
	pthread_mutex_t lock; /* for the moment of a look-up */
	uint64_t secret[3];
	uint32_t mask, len;
	struct caller *buckets[];
};

struct callers *callers_new(uint32_t len)
{
	struct callers *callers;
	uint32_t buckets = 1;

	while (buckets < len && buckets < BUCKETS_MAX)
		buckets *= 2;
	callers = calloc(1, sizeof(*callers) + buckets * sizeof(struct caller *));
	if (!callers)
		return NULL;
	callers->mask = buckets - 1;
	if (getrandom(callers->secret, sizeof(callers->secret), 0) < 0)
		abort(); /* since Linux 3.17 it cannot fail, for so few bytes */
	pthread_mutex_init(&callers->lock, NULL);
	return callers;
}

void callers_free(struct callers *callers)
{
	if (!callers)
		return;
	for (uint32_t i = 0; i <= callers->mask; i++) {
		struct caller *next;

		for (struct caller *caller = callers->buckets[i]; caller; caller = next) {
			next = caller->next;
			free(caller);
		}
	}
	pthread_mutex_destroy(&callers->lock);
	free(callers);
}

/* An IPv4 address becomes a prefix of ::/32, where no IPv6 client is. */
static uint64_t net_of(const struct addr *client)
{
	uint32_t words[4];

	addr_to_16(client, words);
	if (addr_family(client) == AF_INET)
		return ntohl(words[3]);
	return (uint64_t)ntohl(words[0]) << 32 | ntohl(words[1]);
}

/* Pair-multiply-shift (Dietzfelbinger 1996): with random odd numbers, any two meet as seldom as by chance. */
static struct caller **bucket_of(struct callers *callers, uint64_t net, uint32_t place)
{
	const uint64_t *secret = callers->secret;
	uint64_t hash =
		(secret[0] + (net >> 32)) * (secret[1] + (uint32_t)net) + (secret[2] | 1) * place;

	return &callers->buckets[(uint32_t)(hash >> 32) & callers->mask];
}

/* What points to it, or to NULL at the end of its bucket; with the lock held */
static struct caller **find(struct callers *callers, uint64_t net, uint32_t place)
{
	struct caller **at = bucket_of(callers, net, place);

	while (*at && ((*at)->net != net || (*at)->place != place))
		at = &(*at)->next;
	return at;
}

static int enter(struct callers *callers, uint64_t net, uint32_t place, uint32_t max,
		 struct caller **out)
{
	struct caller **at = find(callers, net, place);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			return -ENOMEM;
		(*at)->net = net;
		(*at)->place = place;
		callers->len++;
	}
	if ((*at)->connections >= max)
		return -EDQUOT;
	(*at)->connections++;
	*out = *at;
	return 0;
}

int callers_enter(struct callers *callers, uint32_t place, const struct addr *client, uint32_t max,
		  struct caller **out)
{
	int rc;

	pthread_mutex_lock(&callers->lock);
	rc = enter(callers, net_of(client), place, max, out);
	pthread_mutex_unlock(&callers->lock);
	return rc;
}

void callers_leave(struct callers *callers, struct caller *caller)
{
	if (!caller)
		return;
	pthread_mutex_lock(&callers->lock);
	if (--caller->connections == 0) {
		*find(callers, caller->net, caller->place) = caller->next;
		callers->len--;
		free(caller);
	}
	pthread_mutex_unlock(&callers->lock);
}

uint32_t callers_len(struct callers *callers)
{
	uint32_t len;

	pthread_mutex_lock(&callers->lock);
	len = callers->len;
	pthread_mutex_unlock(&callers->lock);
	return len;
}
