/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * source.h - source ports towards backends
 *
 * A handed-off connection has no socket, so the kernel believes that its port
 * is free. ladon therefore binds every back socket itself, from a range of its
 * own. Ports are counted per (source, backend); no source, NULL, means that the
 * routes choose the address. Each port is taken once and freed once;
 * freed ports rest before they are used again, and are used again in the order
 * in which they were freed.
 *
 * Thread-safe.
 */
#ifndef LADON_SOURCE_H
#define LADON_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/addr.h"

/* A socket that closed by itself may stay in TIME_WAIT so long (include/net/tcp.h) */
#define SOURCE_TIME_WAIT_MS 61000

struct sources;

/**
 * sources_new() - @port_min to @port_max, both included
 * @quarantine_ms: how long the port of a flow rests
 * Return: NULL when out of memory.
 */
struct sources *sources_new(uint16_t port_min, uint16_t port_max, uint32_t quarantine_ms);
void sources_free(struct sources *sources);

/**
 * sources_take() - a port for a connection from @source to @backend
 * @source: its port is ignored; NULL: the routes choose
 * @now_ms: CLOCK_MONOTONIC
 * @token: names the port for sources_give(); never 0
 * Return: 0; -EADDRNOTAVAIL: all are taken or resting; -ENOMEM
 */
int sources_take(struct sources *sources, const struct addr *source, const struct addr *backend,
		 uint64_t now_ms, uint16_t *port, uint64_t *token);

/** sources_chose() - the routes chose this address for the connection of a token */
void sources_chose(struct sources *sources, uint64_t token, const struct addr *local);

/**
 * sources_guess() - the address of the connection of a token: the source, or what was chosen last
 * @local: with the token's port
 * Return: false: nobody has said so far.
 */
bool sources_guess(struct sources *sources, uint64_t token, struct addr *local);

/**
 * sources_give() - a port that no flow took over is free
 * @time_wait: its socket was connected: rest SOURCE_TIME_WAIT_MS, else the quarantine
 */
void sources_give(struct sources *sources, uint64_t token, bool time_wait, uint64_t now_ms);

/** sources_mark() - a port is in use: a flow from before was found. False: it is not ours or was taken */
bool sources_mark(struct sources *sources, const struct addr *source, const struct addr *backend,
		  uint16_t port);

/** sources_end() - the flow that used this port is gone. False: it was not taken */
bool sources_end(struct sources *sources, const struct addr *source, const struct addr *backend,
		 uint16_t port, uint64_t now_ms);

#endif
