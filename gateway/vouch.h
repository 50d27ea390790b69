/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vouch.h - is the token good that a client shows?
 *
 * HMAC-SHA256 takes two microseconds, so a worker does it by itself. The time is said by the caller,
 * in seconds of Unix time: the clocks of whoever made the token and of this host must agree.
 */
#ifndef LADON_VOUCH_H
#define LADON_VOUCH_H

#include "../base/keys.h"
#include "peek.h"

/**
 * token_judge() - of a prefix that was found, in @talk
 * @keys: NULL: there are none, and no token is good
 *
 * What a forged one says is not looked at: only who has a genuine one is told that its time is
 * over, or that it is for another target.
 *
 * Return: LADON_REASON_NONE: it is good for the target; or why not.
 */
enum ladon_reason token_judge(const struct keys *keys, const struct talk *talk, uint64_t now_s);

#endif
