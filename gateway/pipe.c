// SPDX-License-Identifier: GPL-2.0-only
#include "pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* More bytes per system call than the default of 64 KB. An unprivileged user gets
 * less when all its pipes together exceed pipe-user-pages-soft, see pipe(7).
 */
#define PIPE_BYTES (256 * 1024)

int pipe_take(struct pipes *pipes, struct pipe *out)
{
	int fds[2], size;

	if (pipes->len > 0) {
		*out = pipes->idle[--pipes->len];
		return 0;
	}
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	*out = (struct pipe){ fds[0], fds[1], size > 0 ? (uint32_t)size : PIPE_BUF };
	return 0;
}

void pipe_close(struct pipe *pipe)
{
	if (pipe->read < 0)
		return;
	close(pipe->read);
	close(pipe->write);
	pipe->read = -1;
}

void pipe_give(struct pipes *pipes, struct pipe *pipe)
{
	if (pipe->read < 0)
		return;
	if (pipes->len == PIPES_MAX) {
		pipe_close(pipe);
		return;
	}
	pipes->idle[pipes->len++] = *pipe;
	pipe->read = -1;
}

void pipes_fini(struct pipes *pipes)
{
	while (pipes->len > 0)
		pipe_close(&pipes->idle[--pipes->len]);
}
