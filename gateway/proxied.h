/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * proxied.h - the PROXY header: heard from a proxy before ladon, and said to a backend behind it
 *
 * Where `proxy-from` has a client's address, its first bytes are a header, and c->who is
 * who it says; where it has not, such a header is a lie, since a backend might believe it.
 * The header is ladon's: consumed, and for the backend another one is made.
 */
#ifndef LADON_PROXIED_H
#define LADON_PROXIED_H

struct conn;

/** proxied_begin() - with a new connection: c->who, and whether a header is due */
void proxied_begin(struct conn *c);

/**
 * proxied_read() - take the header off the first bytes, if one is due
 *
 * Return: 0: the client's own follow; -EAGAIN: more bytes are needed; or the client has been
 * turned away.
 */
int proxied_read(struct conn *c);

/**
 * proxied_introduce() - make the header that the route's pool wants, into c->introduction
 *
 * While worker->hello is the connection's. Return: 0, or -ECANCELED: no memory.
 */
int proxied_introduce(struct conn *c);

#endif
