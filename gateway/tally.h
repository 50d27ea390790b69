/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tally.h - counters of a listener, which outlive its configuration
 *
 * A tally belongs to an address. It is held by each setup that listens there,
 * so a reload changes no count, and a listener that is removed is still counted
 * while it has connections. After that its counts live on in the sum of all.
 *
 * Thread-safe; the counters themselves are atomic, and written without a lock.
 */
#ifndef LADON_TALLY_H
#define LADON_TALLY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../base/addr.h"

/* Counters of one listener in one worker; written by that worker alone, on a cache line of its own. */
struct listener_counts {
	_Alignas(64) atomic_uint_fast64_t accepted;
	atomic_uint_fast64_t handed_off;
	atomic_uint_fast64_t relayed;	/* ever, also those handed off later */
	atomic_uint_fast64_t closed;	/* by ladon, before there was a backend */
	atomic_uint_fast64_t open;	/* held by ladond now, in any state */
	atomic_uint_fast64_t relaying;	/* ... of which relayed */
	atomic_uint_fast64_t undecided; /* ... of which have not said what they want */
	atomic_uint_fast64_t refused;	/* of those closed: by allow, deny or limits, at accept */
};

/* The same, added up. */
struct listener_sum {
	uint64_t accepted, handed_off, relayed, closed, open, relaying, undecided, refused;
};

struct tally {
	struct tally *next; /* of the gateway's */
	struct addr addr;
	uint32_t id;	      /* no other has had it, while the daemon runs */
	unsigned int holders; /* setups; under the lock of the tallies */
	unsigned int workers;
	struct listener_counts counts[]; /* [workers] */
};

struct tallies {
	pthread_mutex_t lock; /* over what follows */
	struct tally *list;
	uint32_t made;
	struct listener_sum gone; /* of listeners that nobody holds any more */
};

void tallies_init(struct tallies *tallies);
void tallies_fini(struct tallies *tallies);

/** tally_hold() - that of @addr, a new one if it has none. NULL: out of memory */
struct tally *tally_hold(struct tallies *tallies, const struct addr *addr, unsigned int workers);

/** tally_drop() - NULL is fine */
void tally_drop(struct tallies *tallies, struct tally *tally);

/** tally_sum() - of all workers */
struct listener_sum tally_sum(const struct tally *tally);

/** tallies_sum() - of all listeners there are, and ever were */
struct listener_sum tallies_sum(struct tallies *tallies);

#endif
