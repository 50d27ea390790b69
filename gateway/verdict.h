/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict.h - is that password right? asked by a worker, which does not wait
 *
 * crypt(3) takes up to 100 ms, so that guessing is slow. Threads of their own do it,
 * at a lower priority than that of packets and connections; they begin with the first
 * question. The answer comes as a note (note.h) to the thread that has asked. Few
 * questions may wait at a time: who guesses is to be turned away, and not to make a
 * queue of minutes.
 */
#ifndef LADON_VERDICT_H
#define LADON_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/note.h"
#include "users.h"

#define VERDICT_WAITING_MAX 128

struct question;
struct verifier;

/* Zeroed but for .told, it waits for nothing. */
struct verdict {
	struct question *question; /* that waits; NULL: none does */
	/** told() - the answer, in the thread that has asked; may free the verdict */
	void (*told)(struct verdict *verdict, bool right);
};

/** verifier_new() - NULL: no memory */
struct verifier *verifier_new(void);

/** verifier_stop() - answer nobody any more, from when it returns; NULL is fine */
void verifier_stop(struct verifier *verifier);

/** verifier_free() - after verifier_stop(), with nobody left who waits; NULL is fine */
void verifier_free(struct verifier *verifier);

/**
 * verdict_ask() - whether it is the user's password
 * @notes: of the thread that asks
 * @users: held as long as it takes
 * @name, @pass: copied
 * @now_ms: CLOCK_MONOTONIC
 *
 * Return: 1: it is, 0: it is not, -EINPROGRESS: verdict->told() will be called, unless
 * verdict_forget() is; -EBUSY: too many wait already; -ENOMEM.
 */
int verdict_ask(struct verdict *verdict, struct verifier *verifier, struct notes *notes,
		struct users *users, const char *name, const char *pass, uint64_t now_ms);

/** verdict_forget() - the answer is not wanted any more; in the thread that has asked. Always fine */
void verdict_forget(struct verdict *verdict);

#endif
