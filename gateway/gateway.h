/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gateway.h - the daemon as a whole: what main.c makes, and all others find
 *
 * Made before the workers start and constant from then on, but for the
 * counters, which are atomic: each worker has a set of its own, and whoever
 * reads adds them up.
 */
#ifndef LADON_GATEWAY_H
#define LADON_GATEWAY_H

#include <ladon/ladon.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../datapath/reasons.h"
#include "../paths/pool.h"
#include "config.h"
#include "route.h"

struct worker;

/* Counters of one listener in one worker; written by that worker alone. */
struct listener_counts {
	atomic_uint_fast64_t accepted;
	atomic_uint_fast64_t handed_off;
	atomic_uint_fast64_t relayed;  /* ever, also those handed off later */
	atomic_uint_fast64_t closed;   /* by ladon, before there was a backend */
	atomic_uint_fast64_t open;     /* held by ladond now, in any state */
	atomic_uint_fast64_t relaying; /* ... of which relayed */
};

struct worker_counts {
	atomic_uint_fast64_t reasons[LADON_REASON_COUNT]; /* RELAY and CLOSED ones */
	atomic_uint_fast64_t relay_bytes_in;  /* client to backend */
	atomic_uint_fast64_t relay_bytes_out;
	struct listener_counts *listeners; /* [config->listeners_len] */
};

struct gateway {
	const struct config *config;
	struct ladon *ladon;		 /* NULL: everything is relayed, */
	enum ladon_reason no_handoff;	 /* ... for this reason */
	struct pool **pools;		 /* [config->pools_len] */
	struct route_table **routes;	 /* [config->listeners_len] */
	struct worker **workers;	 /* [config->workers] */
	struct worker_counts *counts;	 /* [config->workers] */
	uint64_t started_ms;		 /* CLOCK_MONOTONIC */
	atomic_bool stopping;
};

#endif
