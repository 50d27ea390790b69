/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lookup.h - the addresses of a name, asked by who must not wait
 *
 * One thread asks, many names at once, with c-ares: /etc/hosts first, then the name servers of
 * /etc/resolv.conf, which is read again when it changes. What it found is kept for as long as
 * the records say, within bounds; that a name has no address, for a few seconds. A name that
 * several ask for is asked once.
 *
 * SRV records are looked up by the same thread.
 *
 * Memory is bounded: so many answers are kept, the one that was used longest ago gives way, and
 * so many names may be waited for; who asks for one more is told that it is too much.
 */
#ifndef LADON_LOOKUP_H
#define LADON_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/addr.h"
#include "../base/note.h"

#define LOOKUP_ADDRS_MAX   16
#define LOOKUP_KEPT_MAX	   4096 /* names */
#define LOOKUP_WAITING_MAX 1024 /* names */
#define LOOKUP_LEAST_MS	   1000
#define LOOKUP_MOST_MS	   (3600 * 1000)
#define LOOKUP_HOSTS_MS	   5000 /* how long it is believed what /etc/hosts says, */
#define LOOKUP_NONE_MS	   5000 /* ... that there is no address, */
#define LOOKUP_FAILED_MS   1000 /* ... or that nobody answers */
#define LOOKUP_BUSY_MS	   100 /* until who may wait asks again, where too many names are waited for */

enum lookup_status {
	LOOKUP_FOUND,
	LOOKUP_NONE,   /* no such name, or no address of it */
	LOOKUP_FAILED, /* no name server said so: they are silent, or say that they failed */
};

/**
 * struct answer - of the name servers
 * @until_ms: CLOCK_MONOTONIC; who asks before gets the same answer
 * @addrs: port 0; in the order of RFC 6724, both families
 */
struct answer {
	enum lookup_status status;
	uint64_t until_ms;
	const struct srvs *srvs; /* of lookup_ask_srv(), if found; then there are no addresses */
	unsigned int len;
	struct addr addrs[LOOKUP_ADDRS_MAX];
};

struct lookups;
struct query;
struct srvs;

/* Zeroed but for .told, it waits for nothing. */
struct lookup {
	struct query *query; /* that is waited for; NULL: none */
	/** told() - in the thread that has asked; @answer ends with the call */
	void (*told)(struct lookup *lookup, const struct answer *answer);
};

/**
 * lookups_new() - the thread begins with the first question
 * @servers: "10.0.0.1,[2001:db8::1]:5353" instead of those of resolv.conf; NULL: those
 * @search: names may be relative to the search domains of resolv.conf
 *
 * Return: NULL: no memory.
 */
struct lookups *lookups_new(const char *servers, bool search);

/** lookups_stop() - who waits is told that it failed, by a note; NULL is fine */
void lookups_stop(struct lookups *lookups);

/** lookups_free() - after lookups_stop(); NULL is fine */
void lookups_free(struct lookups *lookups);

/**
 * lookup_ask() - the addresses of @name, lower case
 * @notes: of the thread that asks
 * @now_ms: CLOCK_MONOTONIC
 * @out: written on 0
 *
 * Return: 0: they were known; -EINPROGRESS: lookup->told() will be called, unless
 * lookup_forget() is; -EBUSY: too many names are waited for; -ENOMEM, or why there is no thread.
 */
int lookup_ask(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
	       const char *name, uint64_t now_ms, struct answer *out);

/**
 * lookup_ask_srv() - the SRV records of @name
 *
 * As lookup_ask(), but an answer is not kept, so that it never returns 0.
 */
int lookup_ask_srv(struct lookup *lookup, struct lookups *lookups, struct notes *notes,
		   const char *name);

/** lookup_forget() - the answer is not wanted any more; in the thread that has asked. Always fine */
void lookup_forget(struct lookup *lookup);

#endif
