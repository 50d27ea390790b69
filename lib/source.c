// SPDX-License-Identifier: LGPL-2.1-or-later
#include "source.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024

enum port_state {
	PORT_UNUSED,
	PORT_TAKEN,
	PORT_RESTING,
};

/*
 * A port of the range. It rests in one queue at most, so the queues are chains through the
 * ports themselves: to give one back takes no memory.
 */
struct port {
	uint64_t state : 2;
	uint64_t next : 16;   /* in its queue: an offset in the range */
	uint64_t due_ms : 46; /* a port may lie here for weeks: not to be truncated more */
};

/* Offsets of freed ports, oldest first. All of one queue rest equally long. */
struct rest_queue {
	uint32_t len;
	uint16_t first, last; /* if there are any */
};

struct pair {
	struct pair *next; /* in the bucket */
	uint32_t source[4];
	uint32_t backend[4];
	uint32_t chosen[4]; /* the source that the routes chose last; 0: never */
	uint16_t backend_port;
	uint32_t index;	 /* in sources.pairs */
	uint32_t unused; /* ports of the range not yet handed out, from here on */
	struct rest_queue quarantine, time_wait;
	struct port ports[]; /* the range; pages of ports that are not used yet take no memory */
};

struct sources {
	pthread_mutex_t lock;
	uint16_t port_min, port_max;
	uint32_t quarantine_ms;
	struct pair *buckets[BUCKETS];
	struct pair **pairs;
	uint32_t pairs_len, pairs_size;
};

static uint32_t range_len(const struct sources *s)
{
	return (uint32_t)s->port_max - s->port_min + 1;
}

struct sources *sources_new(uint16_t port_min, uint16_t port_max, uint32_t quarantine_ms)
{
	struct sources *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->port_min = port_min;
	s->port_max = port_max;
	s->quarantine_ms = quarantine_ms;
	return s;
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->pairs_len; i++)
		free(s->pairs[i]);
	free(s->pairs);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void rest_push(struct pair *p, struct rest_queue *q, uint32_t at, uint64_t due_ms)
{
	p->ports[at].due_ms = due_ms & (((uint64_t)1 << 46) - 1);
	if (q->len++)
		p->ports[q->last].next = at & UINT16_MAX;
	else
		q->first = (uint16_t)at;
	q->last = (uint16_t)at;
}

static bool rest_pop(const struct pair *p, struct rest_queue *q, uint64_t now_ms, uint32_t *at)
{
	if (q->len == 0 || now_ms < p->ports[q->first].due_ms)
		return false;
	*at = q->first;
	q->first = p->ports[q->first].next;
	q->len--;
	return true;
}

static uint32_t pair_hash(const uint32_t source[4], const uint32_t backend[4], uint16_t port)
{
	uint32_t h = port * 2654435761u;

	for (int i = 0; i < 4; i++)
		h = (h ^ source[i] ^ (backend[i] << 7 | backend[i] >> 25)) * 2654435761u;
	return (h ^ h >> 16) % BUCKETS;
}

static bool pair_is(const struct pair *p, const uint32_t source[4], const uint32_t backend[4],
		    uint16_t port)
{
	return p->backend_port == port && memcmp(p->source, source, 16) == 0 &&
	       memcmp(p->backend, backend, 16) == 0;
}

static struct pair *pair_add(struct sources *s, const uint32_t source[4], const uint32_t backend[4],
			     uint16_t port, struct pair **bucket)
{
	struct pair *p = calloc(1, sizeof(*p) + range_len(s) * sizeof(struct port));

	if (!p)
		return NULL;
	if (s->pairs_len == s->pairs_size) {
		uint32_t size = s->pairs_size ? s->pairs_size * 2 : 16;
		struct pair **pairs = realloc(s->pairs, size * sizeof(struct pair *));

		if (!pairs) {
			free(p);
			return NULL;
		}
		s->pairs = pairs;
		s->pairs_size = size;
	}
	memcpy(p->source, source, 16);
	memcpy(p->backend, backend, 16);
	p->backend_port = port;
	p->index = s->pairs_len;
	p->next = *bucket;
	*bucket = p;
	s->pairs[s->pairs_len++] = p;
	return p;
}

static void source_to_16(const struct addr *source, uint32_t out[4])
{
	if (!source)
		memset(out, 0, 16);
	else
		addr_to_16(source, out);
}

static struct pair *pair_find(struct sources *s, const struct addr *source,
			      const struct addr *backend, bool add)
{
	uint16_t port = addr_port(backend);
	uint32_t from[4], to[4];
	struct pair **bucket;

	source_to_16(source, from);
	addr_to_16(backend, to);
	bucket = &s->buckets[pair_hash(from, to, port)];
	for (struct pair *p = *bucket; p; p = p->next)
		if (pair_is(p, from, to, port))
			return p;
	return add ? pair_add(s, from, to, port, bucket) : NULL;
}

static bool unused_take(const struct sources *s, struct pair *p, uint32_t *at)
{
	while (p->unused < range_len(s)) {
		*at = p->unused++;
		if (p->ports[*at].state == PORT_UNUSED) /* else sources_mark() was here */
			return true;
	}
	return false;
}

static bool pair_take(const struct sources *s, struct pair *p, uint64_t now_ms, uint16_t *port)
{
	uint32_t at;

	/* Never-used ports first: the longest rest there is. */
	if (!unused_take(s, p, &at) && !rest_pop(p, &p->quarantine, now_ms, &at) &&
	    !rest_pop(p, &p->time_wait, now_ms, &at))
		return false;
	p->ports[at].state = PORT_TAKEN;
	*port = (uint16_t)(s->port_min + at);
	return true;
}

int sources_take(struct sources *s, const struct addr *source, const struct addr *backend,
		 uint64_t now_ms, uint16_t *port, uint64_t *token)
{
	struct pair *p;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	p = pair_find(s, source, backend, true);
	if (!p)
		rc = -ENOMEM;
	else if (!pair_take(s, p, now_ms, port))
		rc = -EADDRNOTAVAIL;
	else
		*token = (uint64_t)(p->index + 1) << 16 | *port;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static bool pair_give(const struct sources *s, struct pair *p, uint16_t port, bool time_wait,
		      uint64_t now_ms)
{
	uint32_t at = (uint32_t)port - s->port_min;

	if (port < s->port_min || port > s->port_max || p->ports[at].state != PORT_TAKEN)
		return false;
	p->ports[at].state = PORT_RESTING;
	if (time_wait)
		rest_push(p, &p->time_wait, at, now_ms + SOURCE_TIME_WAIT_MS);
	else
		rest_push(p, &p->quarantine, at, now_ms + s->quarantine_ms);
	return true;
}

static struct pair *pair_of(const struct sources *s, uint64_t token)
{
	uint64_t index = token >> 16;

	return index >= 1 && index <= s->pairs_len ? s->pairs[index - 1] : NULL;
}

void sources_chose(struct sources *s, uint64_t token, const struct addr *local)
{
	struct pair *p;

	pthread_mutex_lock(&s->lock);
	p = pair_of(s, token);
	if (p)
		addr_to_16(local, p->chosen);
	pthread_mutex_unlock(&s->lock);
}

bool sources_guess(struct sources *s, uint64_t token, struct addr *local)
{
	static const uint32_t none[4];
	uint32_t guess[4] = { 0 };
	struct pair *p;

	pthread_mutex_lock(&s->lock);
	p = pair_of(s, token);
	if (p)
		memcpy(guess, memcmp(p->source, none, 16) ? p->source : p->chosen, 16);
	pthread_mutex_unlock(&s->lock);
	if (memcmp(guess, none, 16) == 0)
		return false;
	addr_from_16(guess, htons((uint16_t)token), local);
	return true;
}

void sources_give(struct sources *s, uint64_t token, bool time_wait, uint64_t now_ms)
{
	struct pair *p;

	pthread_mutex_lock(&s->lock);
	p = pair_of(s, token);
	if (p)
		pair_give(s, p, (uint16_t)token, time_wait, now_ms);
	pthread_mutex_unlock(&s->lock);
}

bool sources_mark(struct sources *s, const struct addr *source, const struct addr *backend,
		  uint16_t port)
{
	bool marked = false;
	struct pair *p;

	if (port < s->port_min || port > s->port_max)
		return false;
	pthread_mutex_lock(&s->lock);
	p = pair_find(s, source, backend, true);
	if (p && p->ports[port - s->port_min].state == PORT_UNUSED) {
		p->ports[port - s->port_min].state = PORT_TAKEN;
		marked = true;
	}
	pthread_mutex_unlock(&s->lock);
	return marked;
}

bool sources_end(struct sources *s, const struct addr *source, const struct addr *backend,
		 uint16_t port, uint64_t now_ms)
{
	bool freed = false;
	struct pair *p;

	pthread_mutex_lock(&s->lock);
	p = pair_find(s, source, backend, false);
	if (p)
		freed = pair_give(s, p, port, false, now_ms);
	pthread_mutex_unlock(&s->lock);
	return freed;
}
