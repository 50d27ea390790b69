/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * conn.h - one connection of a client, from accept to handoff or end
 *
 * Its life is the table in conn.c. A step returns 0 when it is done, -EAGAIN to
 * be called again when something happened (a socket, or the connection's one
 * timer, which is always set then), and any other negative errno to go the other way.
 * -ECANCELED ends the connection at once: there is nobody left to serve or to tell.
 *
 * Sockets are watched edge-triggered: watch.ready collects what epoll said, and
 * whoever reads or writes until the kernel has no more takes the bit away.
 */
#ifndef LADON_CONN_H
#define LADON_CONN_H

#include <inttypes.h>

#include "../base/log.h"
#include "kept.h"
#include "refuse.h"
#include "relay.h"
#include "setup.h"
#include "verdict.h"
#include "worker.h"

/* What a socket is watched for before and while bytes are relayed. Errors always come. */
#define CONN_READING  (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define CONN_RELAYING (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* How long bytes of the client may lie in a guarded socket without an acknowledgement:
 * half of the shortest retransmission timeout of Linux.
 */
#define CONN_PATIENCE_MS 100

enum conn_state {
	CONN_ADMIT,
	CONN_PEEK,
	CONN_ROUTE,
	CONN_CONNECT,
	CONN_SAY,
	CONN_HANDOFF,
	CONN_BEGIN,
	CONN_RELAY,
	CONN_REFUSE,
	CONN_DONE,
};

struct caller;

struct conn {
	/* conn.c */
	struct conn *next, **link; /* worker->conns */
	struct task later;	   /* runs the connection again, or frees it */
	struct worker *worker;
	struct listener *listener;
	uint64_t id;
	enum conn_state state;

	/* times: conn_limit(), conn_wake() */
	struct timer timer;
	uint64_t limit_ms; /* when the step's time is up */
	uint64_t wake_ms;  /* when the step wants to be called before that; 0: it does not */
	bool late;	   /* the time is up */
	bool woken;	   /* the wake time has come */

	/* shortage.c */
	TAILQ_ENTRY(conn) waits;
	bool lacks; /* it is in the queue of its worker */

	/* admit.c */
	struct caller *caller; /* whose connection it is; NULL: that does not matter */
	bool undecided;	       /* it has not said what it wants, */
	TAILQ_ENTRY(conn) among_undecided; /* ... and is in this list of its listener */

	/* the client: first.c, refuse.c */
	struct watch front;
	struct addr client; /* the socket's peer */
	struct addr who;    /* the client: the same, or who a PROXY header says */
	uint64_t began_ms;
	char *name; /* that it asked for, for ends.c; NULL: unknown */
	char *user; /* ... and that it is, by its password */
	struct kept first; /* until a backend has them */
	enum peek_protocol protocol;
	bool guarded;		  /* what the client sends is not acknowledged */
	enum ladon_reason loud;	  /* else: why not */
	enum ladon_reason closed; /* why ladon ends the connection; NONE: it does not */
	uint8_t alert;		  /* ... in TLS, if the peeker said so; else 0 */
	struct refusal refusal;

	/* PROXY headers: proxied.c */
	bool header_due;	  /* the first bytes begin with one */
	struct kept header;	  /* as it came */
	struct kept introduction; /* what the backend gets before the client's bytes */

	/* a dialogue with the client: first.c, say.c */
	uint32_t consumed;	/* bytes of the client's that were for ladon itself */
	uint8_t said;		/* bytes of the dialogue that ladon has said */
	enum peek_user user_is;
	struct verdict verdict;
	bool unheard;	  /* the user's password could not be checked: too many were */
	bool answered;	  /* it has the last answer; what else it hears is its backend's */
	uint64_t said_ms; /* when ladon said that last answer; 0: there was none */

	/* the backend: connect.c */
	const struct config_route *route;
	struct backend *backend; /* held: see backend_release(); NULL: none */
	struct addr to;
	struct pool_tries tries;
	struct asked *asked; /* what the client asked for; NULL: nothing yet */
	int failed; /* negative errno of the backend that failed last; 0: none has */
	enum ladon_reason unseen; /* ... or why that must not see the client's address; NONE: it may */
	struct watch back;
	uint64_t source;   /* see ladon_connect(); 0: a port of the kernel's choice */
	bool back_guarded; /* what the backend sends is not acknowledged */

	/* handoff.c, relay.c */
	enum ladon_reason obstacle; /* to a handoff with this backend, ever; NONE: none is known */
	enum ladon_reason relayed;  /* why it is relayed now */
	struct relay relay;
};

/**
 * conn_new() - begin with a client that was accepted, and go as far as possible
 * @fd: taken, also when there is no memory and the client is turned away
 */
void conn_new(struct listener *listener, int fd, const struct addr *client);

/** conn_run() - go on until there is something to wait for */
void conn_run(struct conn *c);

/** conn_later() - go on at the end of this round: others are waiting too */
void conn_later(struct conn *c);

/** conn_cut() - end it now, because of the operator */
void conn_cut(struct conn *c);

/** conn_expel() - end it now, both ends by a RST; not from a step of its own */
void conn_expel(struct conn *c, enum ladon_reason why);

/** conn_reset() - when it ends, both ends are to be told by a RST */
void conn_reset(struct conn *c);

/** conn_limit() - what the connection does now may take @ms: then its step is called with @late */
void conn_limit(struct conn *c, uint64_t ms);

/** conn_wake() - in @ms its step is called with @woken, if the limit does not come first */
void conn_wake(struct conn *c, uint64_t ms);

/** conn_sleep() - ... not any more */
void conn_sleep(struct conn *c);

/** conn_end() - end the connection without a word. Return: -ECANCELED, for the step to return */
int conn_end(struct conn *c, enum ladon_reason why);

/**
 * conn_lack() - ... for want of memory or descriptors; nobody is accepted for now
 * @what: could not be done
 * @rc: negative errno that said so
 */
int conn_lack(struct conn *c, const char *what, int rc);

/** conn_turn_away() - ... but tell the client. Return: -ECONNREFUSED, for the step to return */
int conn_turn_away(struct conn *c, enum ladon_reason why);

/**
 * conn_acknowledge() - the client must not wait any longer: the front becomes an ordinary socket
 * @why: the connection has to be relayed now, until it is quiet
 */
void conn_acknowledge(struct conn *c, enum ladon_reason why);

/** conn_consumed() - the first @bytes of the client were for ladon itself */
void conn_consumed(struct conn *c, uint32_t bytes);

/** conn_close_back() - the backend and its port are given up, or have served */
void conn_close_back(struct conn *c);

/** conn_setup() - the setup under which it began, and with which it goes on */
static inline const struct setup *conn_setup(const struct conn *c)
{
	return c->listener->share->setup;
}

static inline uint64_t conn_now(const struct conn *c)
{
	return c->worker->loop.now_ms;
}

static inline void conn_count(const struct conn *c, enum ladon_reason reason)
{
	count_add(&c->worker->counts->reasons[reason], 1);
}

#define conn_debug(c, fmt, ...) log_debug("#%" PRIu64 " " fmt, (c)->id, ##__VA_ARGS__)

#endif
