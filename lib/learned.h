/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * learned.h - learned flows, as the rest of libladon sees them
 */
#ifndef LADON_LIB_LEARNED_H
#define LADON_LIB_LEARNED_H

#include "../datapath/abi.h"

struct ladon;

/** learned_close() - the programs go on without this process */
void learned_close(struct ladon *ladon);

/** learned_tick() - now and then: clear away a part of what is no longer used */
void learned_tick(struct ladon *ladon);

/** learned_link() - an interface has come, or has this name now */
void learned_link(const struct ladon *ladon, int ifindex, const char *name);

/** learned_strict() - a program has said that conntrack is too strict */
void learned_strict(const struct ladon *ladon, const struct ladon_strict *strict);

#endif
