/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * asked.h - the target that a client asked for, by SOCKS, CONNECT, a ladon prefix, or by where it was headed
 *
 * The one backend of a pool of requested ones: see config_backend.requested. Its addresses are
 * tried in turn, as those of a backend by name are.
 */
#ifndef LADON_ASKED_H
#define LADON_ASKED_H

struct conn;

/**
 * asked_next() - the next address of the target, to c->to
 *
 * Return: 0; -EAGAIN: the name is being looked up; -ENOENT: it has none that has not been
 * tried; -EACCES: nobody may be connected to it; -EDESTADDRREQ: see original_find(); or another negative errno: it cannot be looked up now.
 */
int asked_next(struct conn *c);

/** asked_free() - with c->asked, if there is one; a look-up that is under way is forgotten */
void asked_free(struct conn *c);

#endif
