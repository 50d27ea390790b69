// SPDX-License-Identifier: GPL-2.0-only
/*
 * lookup.c - the addresses of a name, asked by who must not wait
 *
 * A name is one struct known from the first question on: first it is asked for, with those who
 * wait, then it has an answer until a time. The lock is over the tree of them and what they
 * say; c-ares and the descriptors are the thread's alone.
 *
 * SRV records are not kept, so there is no struct but the query.
 *
 * A query is its asker's: only there it is looked at where the answer goes, so to forget
 * needs no lock, and it always comes back to be freed.
 */
#include "lookup.h"

#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../gateway/loop.h"
#include "srv.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define TIMEOUT_MS  2000 /* of the first try; c-ares doubles it for the next */
#define TRIES	    2
#define EVENTS_MAX  32

struct query {
	struct note note;      /* first: it is one */
	struct lookup *lookup; /* NULL: forgotten. The asker's thread only */
	struct notes *notes;
	struct answer answer;
	struct query *next;

	/* of SRV records only */
	struct lookups *lookups;
	struct srvs *srvs; /* what .answer points to */
	STAILQ_ENTRY(query) todo;
	char name[];
};

struct known {
	struct lookups *lookups;
	struct answer answer;
	bool asked; /* for the first time, or again: .answer is not valid */
	struct query *waiting;
	TAILQ_ENTRY(known) used;
	STAILQ_ENTRY(known) next;
	char name[];
};

struct lookups {
	char *servers;
	bool search;
	pthread_mutex_t lock; /* over what follows */
	void *names;	      /* tsearch(3)'s tree of struct known */
	unsigned int len, waiting;
	TAILQ_HEAD(, known) used; /* longest ago first; those that are asked for, too */
	STAILQ_HEAD(, known) todo;
	STAILQ_HEAD(, query) todo_srv;
	bool started, stopping;

	pthread_t thread;
	int wake_fd, epoll_fd;

	/* the thread's */
	ares_channel channel;
	bool is_open;
	bool is_ending;	      /* who is under way is told so, and not asked again */
	bool is_asking;	      /* an answer at once is not of the network */
	struct timespec conf; /* when resolv.conf was written that the channel has read */
};

/* ---- names ---- */

static int known_compare(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static void known_free(struct lookups *lookups, struct known *known)
{
	tdelete(known, &lookups->names, known_compare);
	TAILQ_REMOVE(&lookups->used, known, used);
	lookups->len--;
	free(known);
}

/* Whoever was used longest ago and is not being asked for gives way. */
static void known_trim(struct lookups *lookups)
{
	struct known *known = TAILQ_FIRST(&lookups->used);

	while (known && known->asked)
		known = TAILQ_NEXT(known, used);
	if (known && lookups->len > LOOKUP_KEPT_MAX)
		known_free(lookups, known);
}

/* Of this name, made if it must be. NULL: no memory */
static struct known *known_get(struct lookups *lookups, const char *name)
{
	size_t size = strlen(name) + 1;
	struct known *fresh = calloc(1, sizeof(*fresh) + size), **found;

	if (!fresh)
		return NULL;
	memcpy(fresh->name, name, size);
	found = tsearch(fresh, &lookups->names, known_compare);
	if (!found || *found != fresh) {
		free(fresh);
		return found ? *found : NULL;
	}
	fresh->lookups = lookups;
	TAILQ_INSERT_TAIL(&lookups->used, fresh, used);
	lookups->len++;
	return fresh;
}

/* ---- answers ---- */

/* In the asker's thread */
static void query_run(struct note *note)
{
	struct query *query = (struct query *)note;
	struct lookup *lookup = query->lookup;

	if (lookup) {
		lookup->query = NULL;
		lookup->told(lookup, &query->answer);
	}
	free(query->srvs);
	free(query);
}

static void known_tell(struct known *known, const struct answer *answer)
{
	struct lookups *lookups = known->lookups;
	struct query *query, *next;

	pthread_mutex_lock(&lookups->lock);
	known->answer = *answer;
	known->asked = false;
	query = known->waiting;
	known->waiting = NULL;
	lookups->waiting--;
	known_trim(lookups);
	pthread_mutex_unlock(&lookups->lock);
	for (; query; query = next) {
		next = query->next;
		query->answer = *answer;
		notes_leave(query->notes, &query->note);
	}
}

/*
 * Each address once. @least_ttl_s: lowered to the least of the records. Aliases count, too: c-ares
 * tells their times apart from those of the addresses that they lead to.
 */
static void answer_fill(const struct ares_addrinfo *info, struct answer *out, int *least_ttl_s)
{
	for (const struct ares_addrinfo_node *node = info->nodes;
	     node && out->len < LOOKUP_ADDRS_MAX; node = node->ai_next) {
		unsigned int i = 0;

		if (addr_from(node->ai_addr, &out->addrs[out->len]) < 0)
			continue;
		addr_set_port(&out->addrs[out->len], 0);
		while (i < out->len && !addr_equal(&out->addrs[i], &out->addrs[out->len]))
			i++;
		out->len += i == out->len;
		if (node->ai_ttl < *least_ttl_s)
			*least_ttl_s = node->ai_ttl;
	}
	for (const struct ares_addrinfo_cname *alias = info->cnames; alias; alias = alias->next)
		if (alias->ttl < *least_ttl_s)
			*least_ttl_s = alias->ttl;
}

static uint64_t keep_ms(int ttl_s)
{
	if (ttl_s <= LOOKUP_LEAST_MS / 1000)
		return LOOKUP_LEAST_MS;
	return ttl_s < LOOKUP_MOST_MS / 1000 ? (uint64_t)ttl_s * 1000 : LOOKUP_MOST_MS;
}

/* @ttl_s: of the least record */
static uint64_t answer_keep_ms(const struct lookups *lookups, const struct answer *answer,
			       int ttl_s)
{
	switch (answer->status) {
	case LOOKUP_FOUND:
		return lookups->is_asking ? LOOKUP_HOSTS_MS : keep_ms(ttl_s);
	case LOOKUP_NONE:
		return LOOKUP_NONE_MS;
	default:
		return LOOKUP_FAILED_MS;
	}
}

/* The servers have changed before one of them has answered. */
static void known_again(struct known *known)
{
	pthread_mutex_lock(&known->lookups->lock);
	STAILQ_INSERT_TAIL(&known->lookups->todo, known, next);
	pthread_mutex_unlock(&known->lookups->lock);
}

static void known_answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct answer answer = { .status = LOOKUP_FAILED };
	struct known *known = arg;
	int ttl_s = LOOKUP_MOST_MS / 1000;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION && !known->lookups->is_ending) {
		known_again(known);
		return;
	}
	if (status == ARES_SUCCESS)
		answer_fill(info, &answer, &ttl_s);
	if (info)
		ares_freeaddrinfo(info);
	if (answer.len)
		answer.status = LOOKUP_FOUND;
	else if (status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA ||
		 status == ARES_EBADNAME)
		answer.status = LOOKUP_NONE;
	answer.until_ms = clock_ms() + answer_keep_ms(known->lookups, &answer, ttl_s);
	known_tell(known, &answer);
}

/* ---- SRV records ---- */

static void srv_parsed(struct query *query, const uint8_t *bytes, size_t len)
{
	uint32_t ttl_s;
	int rc;

	query->srvs = malloc(sizeof(*query->srvs));
	rc = query->srvs ? srv_parse(bytes, len, query->srvs) : -ENOMEM;
	if (rc == -ENODATA)
		query->answer.status = LOOKUP_NONE;
	if (rc < 0)
		return;
	ttl_s = query->srvs->ttl_s;
	query->answer.status = LOOKUP_FOUND;
	query->answer.srvs = query->srvs;
	query->answer.until_ms = clock_ms() + keep_ms(ttl_s < INT_MAX ? (int)ttl_s : INT_MAX);
}

static void srv_answered(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct query *query = arg;
	struct lookups *lookups = query->lookups;
	bool again = status == ARES_EDESTRUCTION && !lookups->is_ending;

	(void)timeouts;
	query->answer = (struct answer){ .status = LOOKUP_FAILED };
	if (status == ARES_SUCCESS)
		srv_parsed(query, bytes, (size_t)len);
	else if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
		query->answer.status = LOOKUP_NONE;
	pthread_mutex_lock(&lookups->lock);
	if (again)
		STAILQ_INSERT_TAIL(&lookups->todo_srv, query, todo);
	else
		lookups->waiting--;
	pthread_mutex_unlock(&lookups->lock);
	if (!again)
		notes_leave(query->notes, &query->note);
}

/* ---- the thread ---- */

/* c-ares has another descriptor, or watches one for something else. */
static void channel_watch(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct lookups *lookups = arg;
	struct epoll_event event = { .events =
					     (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u),
				     .data.fd = fd };

	if (!readable && !writable)
		epoll_ctl(lookups->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(lookups->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0)
		epoll_ctl(lookups->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void channel_close(struct lookups *lookups)
{
	if (lookups->is_open)
		ares_destroy(lookups->channel);
	lookups->is_open = false;
}

static void channel_open(struct lookups *lookups)
{
	struct ares_options options = {
		.flags = lookups->search ? 0 : ARES_FLAG_NOSEARCH,
		.timeout = TIMEOUT_MS,
		.tries = TRIES,
		.lookups = (char[]){ 'f', 'b', '\0' },
		.sock_state_cb = channel_watch,
		.sock_state_cb_data = lookups,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
		   ARES_OPT_SOCK_STATE_CB;

	lookups->is_open = ares_init_options(&lookups->channel, &options, mask) == ARES_SUCCESS;
	if (lookups->is_open && lookups->servers)
		ares_set_servers_ports_csv(lookups->channel, lookups->servers);
}

/* With the servers that resolv.conf has now. Whom others were being asked about is asked for again. */
static void channel_renew(struct lookups *lookups)
{
	struct stat conf = { 0 };

	stat(RESOLV_CONF, &conf);
	if (lookups->is_open && conf.st_mtim.tv_sec == lookups->conf.tv_sec &&
	    conf.st_mtim.tv_nsec == lookups->conf.tv_nsec)
		return;
	channel_close(lookups);
	channel_open(lookups);
	lookups->conf = conf.st_mtim;
}

static void name_ask(struct lookups *lookups, struct known *known)
{
	const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
						   .ai_socktype = SOCK_STREAM };

	channel_renew(lookups);
	lookups->is_asking = true;
	if (lookups->is_open)
		ares_getaddrinfo(lookups->channel, known->name, NULL, &hints, known_answered,
				 known);
	else
		known_answered(known, ARES_ENOTINITIALIZED, 0, NULL);
	lookups->is_asking = false;
}

/* Return: the next name to be asked for; NULL: there is none for now */
static struct known *todo_next(struct lookups *lookups, bool *stopping)
{
	struct known *known;

	pthread_mutex_lock(&lookups->lock);
	known = STAILQ_FIRST(&lookups->todo);
	if (known)
		STAILQ_REMOVE_HEAD(&lookups->todo, next);
	*stopping = lookups->stopping;
	pthread_mutex_unlock(&lookups->lock);
	return known;
}

static void srv_ask(struct lookups *lookups, struct query *query)
{
	channel_renew(lookups);
	if (lookups->is_open)
		ares_search(lookups->channel, query->name, SRV_CLASS_IN, SRV_TYPE, srv_answered, query);
	else
		srv_answered(query, ARES_ENOTINITIALIZED, 0, NULL, 0);
}

static struct query *todo_next_srv(struct lookups *lookups)
{
	struct query *query;

	pthread_mutex_lock(&lookups->lock);
	query = STAILQ_FIRST(&lookups->todo_srv);
	if (query)
		STAILQ_REMOVE_HEAD(&lookups->todo_srv, todo);
	pthread_mutex_unlock(&lookups->lock);
	return query;
}

static int patience_ms(struct lookups *lookups)
{
	struct timeval left;

	if (!lookups->is_open || !ares_timeout(lookups->channel, NULL, &left))
		return -1;
	return (int)(left.tv_sec * 1000 + left.tv_usec / 1000 + 1);
}

static void round_run(struct lookups *lookups)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(lookups->epoll_fd, events, EVENTS_MAX, patience_ms(lookups));
	eventfd_t count;

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;
		bool in = events[i].events & ~(uint32_t)EPOLLOUT;

		if (fd == lookups->wake_fd)
			eventfd_read(fd, &count);
		else
			ares_process_fd(lookups->channel, in ? fd : ARES_SOCKET_BAD,
					events[i].events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	}
	if (lookups->is_open) /* what is late */
		ares_process_fd(lookups->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* At its end the channel answers everybody that it is the end. */
static void *lookups_run(void *arg)
{
	struct lookups *lookups = arg;
	struct query *query;
	struct known *known;
	bool stopping;

	do {
		while ((known = todo_next(lookups, &stopping)))
			name_ask(lookups, known);
		while ((query = todo_next_srv(lookups)))
			srv_ask(lookups, query);
		if (!stopping)
			round_run(lookups);
	} while (!stopping);
	lookups->is_ending = true;
	channel_close(lookups);
	return NULL;
}

/* ---- questions ---- */

/* Return: 0 or a negative errno; the lock is held */
static int lookups_start(struct lookups *lookups)
{
	int rc = 0;

	if (lookups->stopping)
		return -ECANCELED;
	if (!lookups->started)
		rc = pthread_create(&lookups->thread, NULL, lookups_run, lookups);
	lookups->started |= rc == 0;
	return -rc;
}

/* The lock is held. Return: 0: it is asked for by now; or a negative errno: nothing was changed */
static int known_ask(struct lookups *lookups, struct known *known)
{
	int rc = lookups_start(lookups);

	if (rc < 0 || known->asked)
		return rc;
	if (lookups->waiting == LOOKUP_WAITING_MAX)
		return -EBUSY;
	known->asked = true;
	lookups->waiting++;
	STAILQ_INSERT_TAIL(&lookups->todo, known, next);
	eventfd_write(lookups->wake_fd, 1);
	return 0;
}

static int known_wait(struct known *known, struct lookup *lookup, struct notes *notes)
{
	struct query *query = calloc(1, sizeof(*query));
	int rc = query ? known_ask(known->lookups, known) : -ENOMEM;

	if (rc < 0) {
		free(query);
		return rc;
	}
	query->note.run = query_run;
	query->lookup = lookup;
	query->notes = notes;
	query->next = known->waiting;
	known->waiting = query;
	lookup->query = query;
	return -EINPROGRESS;
}

int lookup_ask(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
	       const char *name, uint64_t now_ms, struct answer *out)
{
	struct known *known;
	int rc = -ENOMEM;

	pthread_mutex_lock(&lookups->lock);
	known = known_get(lookups, name);
	if (known) {
		TAILQ_REMOVE(&lookups->used, known, used);
		TAILQ_INSERT_TAIL(&lookups->used, known, used);
		rc = !known->asked && now_ms < known->answer.until_ms
			     ? 0
			     : known_wait(known, lookup, notes);
		if (rc == 0)
			*out = known->answer;
		known_trim(lookups);
	}
	pthread_mutex_unlock(&lookups->lock);
	return rc;
}

/* The lock is held. */
static int srv_wait(struct lookups *lookups, struct query *query)
{
	int rc = lookups_start(lookups);

	if (rc == 0 && lookups->waiting == LOOKUP_WAITING_MAX)
		rc = -EBUSY;
	if (rc < 0)
		return rc;
	lookups->waiting++;
	STAILQ_INSERT_TAIL(&lookups->todo_srv, query, todo);
	eventfd_write(lookups->wake_fd, 1);
	return -EINPROGRESS;
}

int lookup_ask_srv(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
		   const char *name)
{
	size_t size = strlen(name) + 1;
	struct query *query = calloc(1, sizeof(*query) + size);
	int rc;

	if (!query)
		return -ENOMEM;
	memcpy(query->name, name, size);
	query->note.run = query_run;
	query->lookup = lookup;
	query->lookups = lookups;
	query->notes = notes;
	pthread_mutex_lock(&lookups->lock);
	rc = srv_wait(lookups, query);
	pthread_mutex_unlock(&lookups->lock);
	if (rc == -EINPROGRESS)
		lookup->query = query;
	else
		free(query);
	return rc;
}

void lookup_forget(struct lookup *lookup)
{
	if (lookup->query)
		lookup->query->lookup = NULL;
	lookup->query = NULL;
}

/* ---- life ---- */

struct lookups *lookups_new(const char *servers, bool search)
{
	struct lookups *lookups = calloc(1, sizeof(*lookups));
	struct epoll_event event = { .events = EPOLLIN };

	if (!lookups)
		return NULL;
	lookups->servers = servers ? strdup(servers) : NULL;
	lookups->search = search;
	lookups->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	lookups->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	pthread_mutex_init(&lookups->lock, NULL);
	TAILQ_INIT(&lookups->used);
	STAILQ_INIT(&lookups->todo);
	STAILQ_INIT(&lookups->todo_srv);
	event.data.fd = lookups->wake_fd;
	if ((servers && !lookups->servers) || lookups->wake_fd < 0 || lookups->epoll_fd < 0 ||
	    epoll_ctl(lookups->epoll_fd, EPOLL_CTL_ADD, lookups->wake_fd, &event) < 0 ||
	    ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		lookups_free(lookups);
		return NULL;
	}
	return lookups;
}

void lookups_stop(struct lookups *lookups)
{
	bool started;

	if (!lookups)
		return;
	pthread_mutex_lock(&lookups->lock);
	started = lookups->started;
	lookups->started = false;
	lookups->stopping = true;
	pthread_mutex_unlock(&lookups->lock);
	eventfd_write(lookups->wake_fd, 1);
	if (started)
		pthread_join(lookups->thread, NULL);
}

void lookups_free(struct lookups *lookups)
{
	struct known *known;

	if (!lookups)
		return;
	while ((known = TAILQ_FIRST(&lookups->used)))
		known_free(lookups, known);
	if (lookups->wake_fd >= 0)
		close(lookups->wake_fd);
	if (lookups->epoll_fd >= 0)
		close(lookups->epoll_fd);
	pthread_mutex_destroy(&lookups->lock);
	free(lookups->servers);
	free(lookups);
}
