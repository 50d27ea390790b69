/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward_owner.h - one ladond per network namespace has the table of forwards
 *
 * A name of an abstract Unix socket belongs to a network namespace, as the table does, and goes with
 * the process, however that ends.
 */
#ifndef LADON_FORWARD_OWNER_H
#define LADON_FORWARD_OWNER_H

/**
 * forward_owner_take() - become the one
 * @out: hold it as long as the table is yours; -1: somebody else, who is no ladond, has the name
 *
 * Anybody may take such a name. So who has it counts only if it is root or the same user.
 *
 * Return: 0; -EBUSY: another ladond is; or another negative errno.
 */
int forward_owner_take(int *out);

#endif
