/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * connect.h - choose a backend, and connect to it
 *
 * One after the other, each backend of the pool is tried, until one answers.
 */
#ifndef LADON_CONNECT_H
#define LADON_CONNECT_H

struct conn;

/** conn_route() - step: the pool, the first time from worker->hello; and its next backend */
int conn_route(struct conn *c);

/** conn_connect() - step: connect the back socket to c->to */
int conn_connect(struct conn *c);

/**
 * connect_check() - a backend that accepts and closes without a word does not serve
 *
 * Return: 0: it is there, or has said something; or a negative errno.
 */
int connect_check(const struct conn *c);

/**
 * connect_failed() - give this backend up, whatever state its socket is in
 * @rc: why
 *
 * Return: for the step: @rc, or -ECANCELED when it is ladon that lacks something.
 */
int connect_failed(struct conn *c, int rc);

#endif
