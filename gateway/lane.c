// SPDX-License-Identifier: GPL-2.0-only
#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "worker.h"

/* A read of this size costs about as much by copying as by splice(2). */
#define COPY_BYTES ((uint32_t)sizeof(((struct worker *)NULL)->scratch))

/* After as many reads without a pause others have their turn. */
#define ROUNDS_MAX 16

void lane_init(struct lane *lane)
{
	lane->pipe.read = -1;
}

void lane_fini(struct lane *lane)
{
	pipe_close(&lane->pipe);
	kept_free(&lane->kept);
	lane->held = 0;
}

bool lane_is_empty(const struct lane *lane)
{
	return lane->held == 0 && lane->kept.len == 0;
}

/* The receiver is gone, and whatever was on the way to it. */
static void lane_lose(struct lane *lane, struct watch *to)
{
	to->ready |= EPOLLERR;
	lane_fini(lane);
	lane->ended = true;
	lane->shut = true;
}

/* All is delivered. Behind a RST there is no FIN: whoever closes the receiver sends a RST too. */
static void lane_shut(struct lane *lane, const struct watch *from, const struct watch *to)
{
	if (!(from->ready & EPOLLERR))
		shutdown(to->fd, SHUT_WR); /* fails if it is gone, and then it is shut as well */
	lane->shut = true;
}

/* ---- to the receiver: 0: nothing waits any more; -EAGAIN; or an errno of the socket's ---- */

static int drain_kept(struct lane *lane, struct watch *to)
{
	uint32_t before = lane->kept.sent;
	int rc = kept_send(&lane->kept, to->fd);

	lane->sent += lane->kept.sent - before;
	if (rc == 0)
		kept_free(&lane->kept);
	return rc;
}

static int drain_pipe(struct lane *lane, struct watch *to)
{
	while (lane->held > 0) {
		ssize_t n = splice(lane->pipe.read, NULL, to->fd, NULL, lane->held,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		lane->held -= (uint32_t)n;
		lane->sent += (uint32_t)n;
	}
	return 0;
}

static int lane_drain(struct lane *lane, struct watch *to)
{
	int rc;

	if (lane_is_empty(lane))
		return 0;
	if (!(to->ready & EPOLLOUT))
		return -EAGAIN;
	rc = lane->held ? drain_pipe(lane, to) : drain_kept(lane, to);
	if (rc == -EAGAIN)
		to->ready &= ~(uint32_t)EPOLLOUT;
	else if (rc < 0)
		lane_lose(lane, to);
	return rc;
}

/* ---- from the sender: 0: something happened; -EAGAIN: nothing to read, or nobody who takes it ---- */

/* What a read returned other than bytes */
static int fill_none(struct lane *lane, struct watch *from, ssize_t n)
{
	if (n < 0 && errno == EAGAIN) {
		from->ready &= ~(uint32_t)EPOLLIN;
		return -EAGAIN;
	}
	if (n < 0)
		from->ready |= EPOLLERR;
	lane->ended = true;
	return 0;
}

/* What the receiver has not taken. There is memory for it, or the spare one. */
static void fill_keep(struct lane *lane, struct worker *worker, const uint8_t *bytes, uint32_t len)
{
	if (kept_append(&lane->kept, bytes, len) == 0)
		return;
	lane->kept = (struct kept){ .bytes = memcpy(worker->spare, bytes, len), .len = len };
	worker->spare = NULL;
}

/* Return: how many bytes the receiver took */
static uint32_t fill_send(struct lane *lane, struct watch *to, const uint8_t *bytes, uint32_t len)
{
	ssize_t n = send(to->fd, bytes, len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		lane_lose(lane, to);
		return len;
	}
	if (n < 0)
		n = 0;
	if ((uint32_t)n < len)
		to->ready &= ~(uint32_t)EPOLLOUT;
	lane->sent += (uint32_t)n;
	return (uint32_t)n;
}

/* Without memory: what the receiver takes is read, and the rest stays with the kernel. */
static int fill_peeked(struct lane *lane, struct watch *from, struct watch *to,
		       const uint8_t *bytes, uint32_t len)
{
	uint32_t taken = fill_send(lane, to, bytes, len);

	if (!taken)
		return -EAGAIN;
	recv(from->fd, NULL, taken, MSG_TRUNC); /* tcp(7): they are thrown away */
	lane->received += taken;
	return 0;
}

static int fill_copy(struct lane *lane, struct worker *worker, struct watch *from, struct watch *to)
{
	uint32_t taken;
	ssize_t n;

	if (!worker->spare)
		worker->spare = malloc(COPY_BYTES);
	n = recv(from->fd, worker->scratch, COPY_BYTES, worker->spare ? 0 : MSG_PEEK);
	if (n <= 0)
		return fill_none(lane, from, n);
	lane->bulk = (uint32_t)n == COPY_BYTES;
	if (!worker->spare)
		return fill_peeked(lane, from, to, worker->scratch, (uint32_t)n);
	/* A short read of a stream has emptied the socket (epoll(7)), but for a FIN. */
	if ((uint32_t)n < COPY_BYTES && !(from->ready & (EPOLLRDHUP | EPOLLERR)))
		from->ready &= ~(uint32_t)EPOLLIN;
	lane->received += (uint32_t)n;
	taken = fill_send(lane, to, worker->scratch, (uint32_t)n);
	if (taken < (uint32_t)n)
		fill_keep(lane, worker, worker->scratch + taken, (uint32_t)n - taken);
	return 0;
}

static int fill_splice(struct lane *lane, struct watch *from)
{
	ssize_t n = splice(from->fd, NULL, lane->pipe.write, NULL, lane->pipe.size,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0)
		return fill_none(lane, from, n);
	lane->bulk = (uint32_t)n >= COPY_BYTES;
	lane->received += (uint32_t)n;
	lane->held = (uint32_t)n;
	return 0;
}

static int lane_fill(struct lane *lane, struct worker *worker, struct watch *from, struct watch *to)
{
	if (!(from->ready & (EPOLLIN | EPOLLERR)))
		return -EAGAIN;
	if (lane->bulk && lane->pipe.read < 0 && pipe_take(&worker->pipes, &lane->pipe) < 0)
		lane->bulk = false; /* no descriptors: by copying, then */
	return lane->bulk ? fill_splice(lane, from) : fill_copy(lane, worker, from, to);
}

int lane_run(struct lane *lane, struct worker *worker, struct watch *from, struct watch *to)
{
	int rc = 0;

	if (!lane->shut && to->ready & EPOLLERR)
		lane_lose(lane, to);
	for (int i = 0; i < ROUNDS_MAX && !lane->shut && rc == 0; i++) {
		rc = lane_drain(lane, to);
		if (rc == 0 && lane->ended)
			lane_shut(lane, from, to);
		else if (rc == 0)
			rc = lane_fill(lane, worker, from, to);
	}
	if (lane->held == 0)
		pipe_give(&worker->pipes, &lane->pipe);
	return !lane->shut && rc == 0;
}
