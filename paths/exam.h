/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * exam.h - one check of one backend: is there an address of it that answers?
 *
 * Its addresses are tried one after the other, each with a time limit of its
 * own, until one has passed all steps of the kind of check: a connect, or a
 * connect and then what a server of that kind must know to answer. One that
 * passes is enough, and usually the first.
 *
 * What ladon itself lacked, a descriptor or memory, says nothing about the
 * backend: such an exam is void.
 *
 * The connections are ordinary ones: not guarded, from the kernel's ports, and
 * ended by a RST after the answer, so that no TIME_WAIT stays behind.
 */
#ifndef LADON_EXAM_H
#define LADON_EXAM_H

#include <sys/queue.h>
#include <sys/types.h>

#include "../gateway/loop.h"
#include "backend.h"
#include "plan.h"
#include "status.h"

enum exam_result {
	EXAM_WELL,
	EXAM_SICK,
	EXAM_VOID,
};

struct child;

#define CHILDREN_MAX 64

/* Scripts that run, and those that were killed and have not ended; zeroed, there are none */
struct children {
	LIST_HEAD(, child) list;
	unsigned int len; /* at most CHILDREN_MAX */
};

struct exam {
	/* by its owner, before exam_begin() */
	struct loop *loop;
	struct children *children;
	struct plan *plan;		   /* held */
	struct backend *backend;	   /* held */
	struct addr addrs[POOL_ADDRS_MAX]; /* with the ports to be checked */
	unsigned int len;		   /* at least 1 */
	unsigned int at;		   /* the one to begin with */
	struct task ended;		   /* run in the loop, once, when it has ended */

	/* by exam.c */
	uint64_t begun_ms;
	uint64_t took_ms;
	enum exam_result result;   /* when it has ended, as what follows */
	char why[BACKEND_WHY_MAX]; /* not well; else "" */
	unsigned int tried;

	/* of the address that is tried */
	struct watch watch;
	struct timer limit;
	unsigned int step;
	struct child *child; /* exam_script.c's; NULL: there is none */
	char said[BACKEND_WHY_MAX]; /* ... the last line that is not empty, printable, ended by '\0' */
	size_t said_len;
	bool said_whole; /* what follows is another line */
	struct ssl_st *tls;  /* exam_tls.c's; NULL: there is none */
	char *request;	     /* exam_http.c's; NULL: not made yet */
	size_t request_len, sent;
	uint8_t answer[STATUS_BYTES];
	size_t answer_len;
};

/** exam_begin() - ends, whatever happens, by running @exam->ended; from then on it may be freed */
void exam_begin(struct exam *exam);

/** exam_stop() - nobody wants to know any more: it ends as void, unless it has ended already */
void exam_stop(struct exam *exam);

/** children_forget() - when the loop has ended: nobody waits for those that were killed */
void children_forget(struct children *children);

/* ---- for the steps ---- */

/** exam_go_on() - what a step has waited for may be there */
void exam_go_on(struct exam *exam);

/**
 * exam_say() - why a step fails; else it is the errno's text
 */
__attribute__((format(printf, 2, 3))) void exam_say(struct exam *exam, const char *fmt, ...);

/** exam_send() - Return: how many bytes, -EAGAIN or another negative errno */
ssize_t exam_send(struct exam *exam, const void *bytes, size_t len);

/** exam_receive() - Return: how many bytes, 0 at the end, -EAGAIN or another negative errno */
ssize_t exam_receive(struct exam *exam, void *bytes, size_t len);

/*
 * A step is 0 when it is passed, -EAGAIN to be called again when the descriptor
 * is ready, or another negative errno.
 */

#define EXAM_NO_VERDICT (-ECANCELED) /* what failed is not the backend, and has been said */

/** exam_tls() - a handshake; what is sent and received afterwards goes through it */
int exam_tls(struct exam *exam);
ssize_t exam_tls_send(struct exam *exam, const void *bytes, size_t len);
ssize_t exam_tls_receive(struct exam *exam, void *bytes, size_t len);
void exam_tls_close(struct exam *exam);

/** exam_http() - ask, and read the status */
int exam_http(struct exam *exam);

/** exam_script() - run a program, and wait for its end */
int exam_script(struct exam *exam);

/** exam_script_close() - kill it, if it runs */
void exam_script_close(struct exam *exam);

#endif
