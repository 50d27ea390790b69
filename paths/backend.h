/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * backend.h - one backend of a pool: where it is, how it is, what was counted of it
 *
 * Whether it gets connections is asked of one predicate, backend_is_valid().
 * Three parties have a say, each of which writes words of its own:
 *
 *	the operator    backend_set_admin()   auto: what the others say; up, down and drain
 *					      overrule them
 *	health checks   backend_set_sick()
 *	connects        backend_eject()       for a time, after failures in a row (pool_failed())
 *
 * A backend that has no address yet is not valid whatever they say. Each change
 * adds one to backend_changes(): whoever keeps something that was made of states,
 * such as a pool, makes it again when that has moved.
 *
 * Thread-safe: state and counters are atomic and read without a lock. A backend
 * outlives its configuration: the pool that takes the old one's place at a
 * reload holds it too, with all that is known of it and counted.
 */
#ifndef LADON_BACKEND_H
#define LADON_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/addr.h"
#include "../gateway/config.h"

#define POOL_ADDRS_MAX 16 /* addresses of one name that are used */

/* What the operator wants; kept over a reload, not over a restart */
enum backend_admin {
	BACKEND_AUTO,  /* as checks and connects say */
	BACKEND_UP,    /* whatever they say */
	BACKEND_DOWN,  /* as if checks had found it sick */
	BACKEND_DRAIN, /* no new connections; those that are there go on */
	BACKEND_ADMINS,
};

/** backend_admin_word() - as the operator says it */
const char *backend_admin_word(enum backend_admin admin);
#define BACKEND_WHY_MAX 160

/* What the last check of a backend has found out */
struct backend_check {
	uint64_t at_ms; /* when it ended, CLOCK_MONOTONIC; 0: there was none */
	uint32_t took_ms;
	bool well;
	char why[BACKEND_WHY_MAX]; /* it is not, in words; else "" */
};

struct check;
struct name;

struct backend {
	const struct config_backend *config; /* a copy of its own */
	const char *pool;		     /* name of its pool */
	uint64_t hash;			     /* of its text */
	atomic_uint holders;		     /* pools, and whoever else called backend_hold() */

	/* its state; times are CLOCK_MONOTONIC */
	_Atomic enum backend_admin admin;
	atomic_bool sick;
	atomic_uint addrs_len;		  /* written under the lock */
	atomic_uint_fast64_t ejected_ms;  /* until then; 0: it never was */
	atomic_uint_fast64_t returned_ms; /* when it was last let in again; 0: always there */
	atomic_uint failed_in_a_row;	  /* connects */
	atomic_uint ejections;		  /* since one succeeded */
	atomic_uint lookups_failed;	  /* in a row; paths/resolve.c's */

	/* counters */
	atomic_uint_fast64_t flows;	       /* live now: relayed and handed off */
	atomic_uint_fast64_t flows_handed_off; /* ... of which libladon will say when they end */
	atomic_uint_fast64_t chosen;	       /* ever */
	atomic_uint_fast64_t failed;	       /* connects that failed */
	atomic_uint_fast64_t times_sick;       /* that checks have made it sick */
	atomic_uint_fast64_t handed_off;
	atomic_uint_fast64_t relayed;

	bool indexed;	      /* gateway/flows.c, under its lock */
	struct check *check;  /* paths/health.c's, in its thread */
	struct name *name;    /* paths/resolve.c's, in its thread */
	pthread_mutex_t lock; /* over what follows */
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int next_addr;
	struct backend_check checked;
};

/**
 * backend_new() - with one holder, the caller
 * @config: copied
 * @pool: the name of its pool, copied
 *
 * Return: NULL when out of memory.
 */
struct backend *backend_new(const struct config_backend *config, const char *pool);

/** backend_hold() - keep it beyond its pool, until backend_drop() */
void backend_hold(struct backend *backend);
void backend_drop(struct backend *backend);

/* ---- state; from any thread ---- */

/** backend_is_valid() - may it get new connections at @now_ms? */
bool backend_is_valid(const struct backend *backend, uint64_t now_ms);

/** backend_is_down() - by the operator's word, or, if that is auto, by a check's */
bool backend_is_down(const struct backend *backend);

/**
 * backend_is_doubted() - is it not valid, if so, only because of checks and connects?
 * @sick_is_down: a check's word counts as the operator's
 */
bool backend_is_doubted(const struct backend *backend, bool sick_is_down);

/** backend_since() - when it came back, CLOCK_MONOTONIC; 0: it was always there */
uint64_t backend_since(const struct backend *backend);

/** backend_set_admin() - Return: whether that is a change */
bool backend_set_admin(struct backend *backend, enum backend_admin admin);

/** backend_set_sick() - what a check has found out. Return: whether that is a change */
bool backend_set_sick(struct backend *backend, bool sick);

/** backend_checked() - a check has ended; whether that makes it sick is another question */
void backend_checked(struct backend *backend, const struct backend_check *result);

/** backend_last_check() - copy what backend_checked() was told last */
void backend_last_check(struct backend *backend, struct backend_check *out);

/** backend_eject() - too many connects have failed: nobody gets it until @until_ms */
void backend_eject(struct backend *backend, uint64_t until_ms);

/** backend_answered() - a connect has succeeded, and the bytes of the client have got there */
void backend_answered(struct backend *backend);

/** backend_returned() - it is there from now on */
void backend_returned(struct backend *backend);

/** backend_changes() - how often a backend's state has changed, of all that there are */
uint64_t backend_changes(void);

/**
 * backends_watch() - be called when the operator or a check has changed a backend's state
 * @fn: from the thread that did it; must not wait. NULL: nobody is called any more
 *
 * Before, and after, there are threads that could do it.
 */
void backends_watch(void (*fn)(void *arg), void *arg);

/* ---- where it is ---- */

/**
 * backend_set_addrs() - what a look-up found; an empty answer keeps the old one
 *
 * What connects have found out is forgotten if none of the addresses stays.
 */
void backend_set_addrs(struct backend *backend, const struct addr *addrs, unsigned int len);

/** backend_addrs() - copy what is known now. Return: how many, at most POOL_ADDRS_MAX */
unsigned int backend_addrs(struct backend *backend, struct addr *out);

/** backend_has_address() - is one known, or whatever the client requests? */
bool backend_has_address(const struct backend *backend);

/** backend_next_addr() - its addresses take turns; it has one at least */
struct addr backend_next_addr(struct backend *backend);

/** backend_has() - is this one of its addresses now? */
bool backend_has(struct backend *backend, const struct addr *addr);

/* ---- live flows ---- */

/** backend_take() - one live flow more, as pool_pick() counts it */
void backend_take(struct backend *backend);

/** backend_release() - one live flow less */
void backend_release(struct backend *backend);

#endif
