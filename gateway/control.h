/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.h - the Unix socket that ladon(8) talks to
 *
 * One request per connection: a line of JSON, {"command": "flow show", "id": 7},
 * answered by one JSON document and the end of the connection. Errors are
 * {"error": "sentence"}; a key that the command does not know is one. Flows
 * are listed one per line (report.h), so that a reader needs memory for one
 * only. ladon(8) documents the answers' keys. The socket's mode is 0600; the
 * daemon's user and root may connect (SO_PEERCRED). It runs on threads of its
 * own, so that a large answer never delays a connection.
 */
#ifndef LADON_CONTROL_H
#define LADON_CONTROL_H

#include "gateway.h"

struct control;

/**
 * control_start() - listen on config->control
 *
 * A socket file that nobody listens on is replaced; one that answers means
 * that another ladond runs: -EADDRINUSE.
 */
int control_start(struct gateway *gateway, struct control **out);

/** control_stop() - also removes the socket file; NULL is fine */
void control_stop(struct control *control);

#endif
