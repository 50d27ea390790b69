/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * say.h - what ladon itself says before it leaves
 *
 * To the client the last answer of a dialogue ("connected", SOCKS and CONNECT), to the
 * backend a PROXY header. Nobody but ladon's sockets could repeat these bytes, so they have
 * to be acknowledged before those vanish.
 */
#ifndef LADON_SAY_H
#define LADON_SAY_H

struct conn;

/**
 * conn_say() - step: say it, and wait until it has been heard
 *
 * Nothing to say is nothing to wait for. If an end is kept waiting for too long, the
 * connection goes on unheard, which is to be relayed, and handed off later.
 */
int conn_say(struct conn *c);

#endif
