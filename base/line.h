/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * line.h - a text, line by line
 */
#ifndef LADON_LINE_H
#define LADON_LINE_H

#include <stddef.h>
#include <string.h>

/**
 * line_next() - the next line, without its newline
 * @rest: what is left of the text, up to @end; it is moved on
 * @len: of the line; there may be NULs in it
 *
 * Return: where the line begins; NULL: there is none any more. A newline at the end begins none.
 */
static inline const char *line_next(const char **rest, const char *end, size_t *len)
{
	const char *line = *rest, *newline;

	if (line >= end)
		return NULL;
	newline = memchr(line, '\n', (size_t)(end - line));
	*len = (size_t)((newline ? newline : end) - line);
	*rest = newline ? newline + 1 : end;
	return line;
}

#endif
