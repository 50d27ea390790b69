// SPDX-License-Identifier: GPL-2.0-only
#include "note.h"

#include <stddef.h>
#include <sys/eventfd.h>

void notes_leave(struct notes *notes, struct note *note)
{
	note->next = atomic_load(&notes->last);
	while (!atomic_compare_exchange_weak(&notes->last, &note->next, note))
		;
	eventfd_write(notes->fd, 1);
}

void notes_run(struct notes *notes)
{
	struct note *next, *first = NULL;

	for (struct note *note = atomic_exchange(&notes->last, NULL); note; note = next) {
		next = note->next;
		note->next = first;
		first = note;
	}
	for (; first; first = next) {
		next = first->next;
		first->run(first);
	}
}
