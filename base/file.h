/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file.h - a whole file in memory
 */
#ifndef LADON_FILE_H
#define LADON_FILE_H

#include <stddef.h>

/**
 * file_read() - all of it, if that is less than @max bytes
 * @out: the caller's, to be freed; no NUL at its end
 *
 * Return: 0; -EFBIG: it is larger; another negative errno.
 */
int file_read(const char *path, size_t max, char **out, size_t *len);

#endif
