/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * own.h - locals that own something
 *
 * An owning local is marked, initialised on the spot, and leaves only through
 * TAKE_FD or TAKE_PTR, so one function can be checked for leaks by itself.
 */
#ifndef LADON_OWN_H
#define LADON_OWN_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void own_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void own_free(void *p)
{
	free(*(void **)p);
}

static inline int own_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define _close_ __attribute__((cleanup(own_close)))
#define _free_ __attribute__((cleanup(own_free)))

#define TAKE_FD(fd) own_take_fd(&(fd))
#define TAKE_PTR(p)                     \
	({                              \
		__auto_type taken_ = (p); \
		(p) = NULL;             \
		taken_;                 \
	})

#endif
