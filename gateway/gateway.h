/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gateway.h - the daemon as a whole: what main.c makes, and all others find
 *
 * Made before the workers start and constant from then on, but for the setup in
 * force, which a reload exchanges (setup.h), and for the counters, which are
 * atomic: each worker has a set of its own, and whoever reads adds them up.
 */
#ifndef LADON_GATEWAY_H
#define LADON_GATEWAY_H

#include <ladon/ladon.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../datapath/reasons.h"
#include "shortage.h"
#include "tally.h"

struct ends;
struct flows;
struct forwards;
struct health;
struct removed;
struct lookups;
struct resolver;
struct setup;
struct callers;
struct tickets;
struct verifier;
struct worker;

struct worker_counts {
	atomic_uint_fast64_t reasons[LADON_REASON_COUNT]; /* RELAY and CLOSED ones */
	atomic_uint_fast64_t relay_bytes_in;  /* client to backend */
	atomic_uint_fast64_t relay_bytes_out;
};

struct gateway {
	struct ladon *ladon;		 /* NULL: everything is relayed, */
	enum ladon_reason no_handoff;	 /* ... for this reason */
	struct ends *ends;		 /* NULL: no access log */
	struct tickets *tickets;	 /* of handed-off connections */
	struct callers *callers;
	struct lookups *lookups;	 /* of targets' names */
	struct verifier *verifier;	 /* of passwords */
	struct worker **workers;	 /* [workers_len] */
	struct worker_counts *counts;	 /* [workers_len] */
	unsigned int workers_len;
	struct flows *flows;
	struct removed *removed;
	struct forwards *forwards;
	struct resolver *resolver;
	struct health *health;
	struct tallies tallies;
	struct shortages shortages;
	uint64_t started_ms;		 /* CLOCK_MONOTONIC */

	pthread_mutex_t changing; /* one reload at a time, and none while it stops */
	atomic_bool stopping;	  /* set with .changing held */
	sem_t obeyed;		  /* posted by each worker that has done what all were told */

	pthread_mutex_t lock; /* over what follows */
	struct setup *setup;  /* in force, and held: setup_current(); NULL: not yet */
};

#endif
