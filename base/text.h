/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * text.h - are two texts, or two lists of them, the same? NULL is the same as NULL only
 */
#ifndef LADON_TEXT_H
#define LADON_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool text_is_same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/** texts_are_same() - the same for lists that end with NULL */
static inline bool texts_are_same(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return !*a && !*b;
}

#endif
