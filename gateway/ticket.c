// SPDX-License-Identifier: GPL-2.0-only
#include "ticket.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MAX (1u << 20)

struct tickets {
	pthread_mutex_t lock;
	uint32_t mask;
	struct ticket *buckets[]; /* by the lowest bits of the id: ids count up */
};

static const char *text_after(const char *text)
{
	return text + strlen(text) + 1;
}

const char *ticket_listener(const struct ticket *ticket)
{
	return ticket->texts;
}

const char *ticket_pool(const struct ticket *ticket)
{
	return text_after(ticket->texts);
}

const char *ticket_name(const struct ticket *ticket)
{
	return text_after(ticket_pool(ticket));
}

const char *ticket_user(const struct ticket *ticket)
{
	return text_after(ticket_name(ticket));
}

struct ticket *ticket_new(const char *listener, const char *pool, const char *name,
			  const char *user)
{
	const char *const texts[] = { listener, pool, name, user };
	size_t len = 0;
	struct ticket *ticket;
	char *at;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		len += strlen(texts[i]) + 1;
	ticket = malloc(sizeof(*ticket) + len);
	if (!ticket)
		return NULL;
	*ticket = (struct ticket){ 0 };
	at = ticket->texts;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		at = stpcpy(at, texts[i]) + 1;
	return ticket;
}

struct tickets *tickets_new(uint32_t flows)
{
	uint32_t len = 1;
	struct tickets *tickets;

	while (len < flows && len < BUCKETS_MAX)
		len *= 2;
	tickets = calloc(1, sizeof(*tickets) + len * sizeof(struct ticket *));
	if (!tickets)
		return NULL;
	tickets->mask = len - 1;
	pthread_mutex_init(&tickets->lock, NULL);
	return tickets;
}

void tickets_free(struct tickets *tickets)
{
	if (!tickets)
		return;
	for (uint32_t i = 0; i <= tickets->mask; i++) {
		struct ticket *next, *ticket = tickets->buckets[i];

		for (; ticket; ticket = next) {
			next = ticket->next;
			free(ticket);
		}
	}
	pthread_mutex_destroy(&tickets->lock);
	free(tickets);
}

void tickets_leave(struct tickets *tickets, struct ticket *ticket)
{
	struct ticket **bucket = &tickets->buckets[ticket->id & tickets->mask];

	pthread_mutex_lock(&tickets->lock);
	ticket->next = *bucket;
	*bucket = ticket;
	pthread_mutex_unlock(&tickets->lock);
}

/* What points to it, or to NULL at the end of its bucket; with the lock held */
static struct ticket **find(struct tickets *tickets, uint32_t id)
{
	struct ticket **at = &tickets->buckets[id & tickets->mask];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

void tickets_note(struct tickets *tickets, uint32_t id, uint32_t client_rtt_us,
		  uint32_t backend_rtt_us)
{
	struct ticket *ticket;

	pthread_mutex_lock(&tickets->lock);
	ticket = *find(tickets, id);
	if (ticket) {
		ticket->client_rtt_us = client_rtt_us;
		ticket->backend_rtt_us = backend_rtt_us;
	}
	pthread_mutex_unlock(&tickets->lock);
}

struct ticket *tickets_take(struct tickets *tickets, uint32_t id)
{
	struct ticket **at, *ticket;

	pthread_mutex_lock(&tickets->lock);
	at = find(tickets, id);
	ticket = *at;
	if (ticket)
		*at = ticket->next;
	pthread_mutex_unlock(&tickets->lock);
	return ticket;
}
