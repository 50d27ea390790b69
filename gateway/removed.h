/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * removed.h - what becomes of connections to backends that are gone from the file, or down
 *
 * `removed-backends` says it: they are kept, which is no work, or cut, at once or
 * after some time. A backend is an address here, and is gone if no pool has it any
 * more: so a pool that was removed needs no rule of its own, and neither does a
 * daemon that starts with a smaller file and adopts flows.
 *
 * Who is gone is found out once, when a configuration comes into force: a name
 * whose addresses change later cuts nothing. Since a name that has not been looked
 * up yet could be the one that flows lead to, nobody is gone before all names of the
 * file have been found. And where clients may request any target, an address that was
 * no pool's is one of those.
 *
 *	in force → (all names found) → look: who is gone, until when → due → cut
 *
 * A pool's `when-down: reset` says it of backends that are down: these are gone, at
 * once, unless another backend of the same address is not down. They come back
 * when they do, and are looked at whenever a backend's state changes.
 *
 * Handed-off flows are killed by the thread that gets there; what is relayed belongs
 * to the workers, who are asked, and waited for. A connection that was still being
 * set up by the former file finds that its backend does not answer.
 */
#ifndef LADON_REMOVED_H
#define LADON_REMOVED_H

#include "gateway.h"

struct addr;
struct removed;

/** removed_new() - nobody is. NULL: no memory or descriptor */
struct removed *removed_new(struct gateway *gateway);
void removed_free(struct removed *removed);

/** removed_fd() - readable when it is time for removed_tick() */
int removed_fd(const struct removed *removed);

/** removed_tick() - look, or cut who is due. Not from a worker */
void removed_tick(struct removed *removed);

/**
 * removed_follow() - another configuration is in force: cut what it says
 *
 * Back when that is done, if it is to be at once. gateway->changing is held, and
 * all workers serve the setup.
 */
void removed_follow(struct removed *removed);

/** removed_look() - a backend's state has changed: as removed_tick(), but now */
void removed_look(struct removed *removed);

/**
 * removed_why() - have the connections to this backend come to their end? From any thread
 * Return: LADON_REASON_REMOVED or _WENT_DOWN; LADON_REASON_NONE: they have not
 */
enum ladon_reason removed_why(struct removed *removed, const struct addr *backend);

#endif
