/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.h - the Unix socket that ladon(8) talks to
 *
 * One request per connection: a line of JSON, {"command": "flow show", "id": 7},
 * answered by one JSON document and the end of the connection. Errors are
 * {"error": "sentence"}; a key that the command does not know is one. Flows
 * are listed one per line (report.h), so that a reader needs memory for one
 * only. ladon(8) documents the answers' keys. Root, the daemon's user and the
 * members of control-group may connect, and may then do everything: the file's
 * mode and owner say so, and the daemon looks again (SO_PEERCRED,
 * SO_PEERGROUPS). It runs on threads of its own, so that a large answer never
 * delays a connection.
 */
#ifndef LADON_CONTROL_H
#define LADON_CONTROL_H

#include "gateway.h"
#include "privilege.h"

struct control;

/**
 * control_open() - make the socket @path, for @who
 * @gateway: has a setup when control_start() is called
 *
 * A socket file that nobody listens on is replaced; one that answers means
 * that another ladond runs: -EADDRINUSE. To be called with the rights to give
 * the file away; free with control_stop().
 */
int control_open(struct gateway *gateway, const char *path, const struct privilege *who,
		 struct control **out);

/** control_start() - answer. Return: 0 or a negative errno; then control_stop() is left to do */
int control_start(struct control *control);

/** control_is_answered() - does somebody listen on @path? */
bool control_is_answered(const char *path);

/** control_stop() - also removes the socket file; NULL is fine */
void control_stop(struct control *control);

#endif
