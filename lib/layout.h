/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * layout.h - may this build use the maps that another one pinned?
 *
 * Sizes are compared map by map, and what the bytes mean by LADON_ABI, which is
 * the value of the pinned map ladon_layout. Flows depend on some maps: if those
 * are not fit, nothing is touched. The others are replaced: their successors are
 * pinned under a second name, for the programs to be loaded with, and take the
 * first one when these are attached.
 *
 *	layout_check() → load → layout_write() → attach → layout_settle()
 */
#ifndef LADON_LAYOUT_H
#define LADON_LAYOUT_H

#include <stdbool.h>

struct bpf_object;
struct ladon;

/** layout_is_known() - @pin_dir holds no flows, or flows whose layout this build knows */
bool layout_is_known(const char *pin_dir);

/**
 * layout_check() - hold the maps of @obj, before it is loaded, against those that are pinned
 *
 * The flow table gets the size of the one that is pinned.
 *
 * Return: 0; -EBUSY, and a message said why: flows are there that this build
 * would not understand; another negative errno.
 */
int layout_check(const struct ladon *ladon, struct bpf_object *obj);

/** layout_write() - from now on flows may be of this build's layout. Return: 0 or a negative errno */
int layout_write(const struct ladon *ladon);

/** layout_settle() - give replaced maps their names. Return: 0 or a negative errno */
int layout_settle(const struct ladon *ladon);

#endif
