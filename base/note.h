/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * note.h - what other threads leave for a worker, to be run in its own thread
 *
 * Without a lock: notes are pushed, and all are taken at once. Each comes to be run
 * once, in the order in which one thread has left its own.
 */
#ifndef LADON_NOTE_H
#define LADON_NOTE_H

#include <stdatomic.h>

struct note {
	struct note *next;
	void (*run)(struct note *note); /* owns it */
};

struct notes {
	struct note *_Atomic last;
	int fd; /* an eventfd that the receiver watches */
};

/** notes_leave() - from any thread; @note is the receiver's from now on */
void notes_leave(struct notes *notes, struct note *note);

/** notes_run() - all there are, in the receiver's thread */
void notes_run(struct notes *notes);

#endif
