/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * handoff.h - give both sockets to the kernel
 */
#ifndef LADON_HANDOFF_H
#define LADON_HANDOFF_H

#include <stdbool.h>

struct conn;

/** conn_handoff() - step: 0 means that the sockets are gone; else c->relayed says why not */
int conn_handoff(struct conn *c);

/** handoff_try() - the same, whatever was found against it before. Return: is it done? */
bool handoff_try(struct conn *c);

/** handoff_may_pass() - could the reason that was given be gone later? */
bool handoff_may_pass(const struct conn *c);

#endif
