/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hops.h - free the next hops that no flow uses any more
 */
#ifndef LADON_HOPS_H
#define LADON_HOPS_H

#include "private.h"

/** hops_mark() - a walk through all flows has met these entries */
void hops_mark(struct ladon *ladon, const struct ladon_entry *entries, uint32_t len);

/**
 * hops_sweep() - the walk is over
 * @is_whole: it has met each entry that was there all the time
 */
void hops_sweep(struct ladon *ladon, bool is_whole);

#endif
