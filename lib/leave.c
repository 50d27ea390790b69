// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * leave.c - two sockets, until they vanish
 *
 * A packet that was between tc and its socket when the flow began is heard by the
 * socket, and by nobody else. It is not acknowledged, so its sender repeats it: after
 * 200 ms, if nothing follows that would betray the gap. Sockets that stay for a
 * moment send it on instead. That moment costs nobody anything: the flow is in use,
 * and a shadow says nothing of its own (datapath/quiet.h). They are in TCP_REPAIR
 * already, so whoever kills the process cannot make them speak either.
 *
 * A RST is not repeated: if that is what the socket has heard, the flow is killed.
 */
#include "leave.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "conntrack.h"

#define CHUNK_BYTES   (64 * 1024)
#define FLUSH_TRIES   32  /* yields to a device that has not taken everything yet */
#define SEGMENT_BYTES 500 /* fit into any host's segment (RFC 9293 section 3.7.1), options too */

#define LEAVERS_MAX 64 /* pairs; one more, and all vanish */
#define LEAVE_MS    2  /* of a clock of whole milliseconds: at least one. A packet takes some us */

struct ladon_leavers {
	struct ladon *ladon;
	size_t len;
	struct leaving leaving[LEAVERS_MAX]; /* in order of since_ms */
};

/* ---- the bytes ---- */

/*
 * All of it is to leave now. TCP keeps the last bytes of several segments back as long as
 * the first are unacknowledged (RFC 9293 section 3.7.4), and this socket hears nothing more.
 */
static void hurry(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Return: true if there may be more to read */
static bool carry_once(struct carry *c)
{
	uint8_t chunk[CHUNK_BYTES];
	ssize_t n = c->all_read ? 0 : recv(c->from, chunk, sizeof(chunk), MSG_DONTWAIT);
	struct iovec iov[2] = { { (void *)c->data, c->len }, { chunk, n > 0 ? (size_t)n : 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t want = iov[0].iov_len + iov[1].iov_len;
	ssize_t sent;

	if (iov[0].iov_len > c->room)
		iov[0].iov_len = c->room;
	if (iov[1].iov_len > c->room - iov[0].iov_len)
		iov[1].iov_len = c->room - iov[0].iov_len;
	c->len = 0;
	if (want == 0)
		return false;
	if (c->sent || want > SEGMENT_BYTES)
		hurry(c->to);
	sent = sendmsg(c->to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		sent = 0;
	c->room -= (uint32_t)sent;
	c->sent += (size_t)sent;
	c->cut = (size_t)sent < want;
	return n == sizeof(chunk) && !c->cut;
}

void carry(struct carry *c)
{
	while (!c->cut && carry_once(c))
		;
}

/*
 * What is unsent when the socket vanishes is gone, and its hold would stay. The first segment
 * leaves at once: nothing is in flight before it.
 */
static bool flushed(const struct carry *c)
{
	int unsent = 0;

	if (c->sent <= SEGMENT_BYTES)
		return true;
	for (int i = 0; i < FLUSH_TRIES; i++) {
		if (ioctl(c->to, SIOCOUTQNSD, &unsent) < 0 || unsent == 0)
			return true;
		sched_yield();
	}
	return false;
}

void leaving_settle(struct ladon *ladon, struct leaving *leaving)
{
	struct ladon_request *req = &leaving->req;

	if (!leaving->in.cut && !leaving->out.cut && flushed(&leaving->in) &&
	    flushed(&leaving->out))
		return;
	req->op = LADON_EDIT_SETTLE;
	ladon_run(ladon->edit_fd, req, sizeof(*req));
}

/* ---- the sockets ---- */

/* Should it fail, the FIN is kept back by datapath/quiet.h. */
static void repair(const struct leaving *leaving, int mode)
{
	setsockopt(leaving->in.from, IPPROTO_TCP, TCP_REPAIR, &mode, sizeof(mode));
	setsockopt(leaving->in.to, IPPROTO_TCP, TCP_REPAIR, &mode, sizeof(mode));
}

/* Has a RST been heard? One that follows a FIN is EPIPE (net/ipv4/tcp_input.c, tcp_reset()). */
static bool was_reset(const struct pollfd *ready)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return ready->revents & POLLERR &&
	       getsockopt(ready->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
	       (error == ECONNRESET || error == EPIPE);
}

/* What was on its way through the stack when the flow began has come: to the front, the back or both. */
static void late(struct ladon *ladon, struct leaving *leaving, const struct pollfd ready[2])
{
	bool client = was_reset(&ready[0]), backend = was_reset(&ready[1]);

	leaving->in.all_read = leaving->out.all_read = false;
	carry(&leaving->in);
	carry(&leaving->out);
	leaving_settle(ladon, leaving);
	if (client || backend)
		flows_was_reset(ladon, &leaving->req.front, leaving->req.id, client);
}

/* Return: how many of the 2 * @len have something to read, or ended */
static int look(const struct leaving *leaving, size_t len, struct pollfd *fds)
{
	for (size_t i = 0; i < len; i++) {
		fds[2 * i] = (struct pollfd){ .fd = leaving[i].in.from, .events = POLLIN };
		fds[2 * i + 1] = (struct pollfd){ .fd = leaving[i].in.to, .events = POLLIN };
	}
	return poll(fds, (nfds_t)(2 * len), 0);
}

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

/* Those that were made one after the other go in one call. */
static void close_all(int *fds, size_t len)
{
	size_t end;

	qsort(fds, len, sizeof(*fds), by_number);
	for (size_t i = 0; i < len; i = end) {
		for (end = i + 1; end < len && fds[end] == fds[end - 1] + 1; end++)
			;
		if (close_range((unsigned int)fds[i], (unsigned int)fds[end - 1], 0) < 0)
			for (size_t k = i; k < end; k++)
				close(fds[k]);
	}
}

/* They are in repair. Nothing of theirs passes conntrack any more, which forgets them. */
static void vanish_all(struct ladon *ladon, struct leaving *leaving, size_t len)
{
	struct pollfd ready[2 * LEAVERS_MAX];
	int fds[2 * LEAVERS_MAX];
	int n = look(leaving, len, ready);

	for (size_t i = 0; i < len; i++) {
		if (n && (ready[2 * i].revents || ready[2 * i + 1].revents)) {
			repair(&leaving[i], TCP_REPAIR_OFF_NO_WP);
			late(ladon, &leaving[i], &ready[2 * i]);
			repair(&leaving[i], TCP_REPAIR_ON);
		}
		fds[2 * i] = leaving[i].in.from;
		fds[2 * i + 1] = leaving[i].in.to;
	}
	close_all(fds, 2 * len);
	for (size_t i = 0; i < len && ladon->conntrack; i++)
		if (leaving[i].tracked)
			conntrack_forget(ladon->conntrack, &leaving[i].req.front,
					 &leaving[i].req.back);
}

void vanish(struct ladon *ladon, struct leaving *leaving)
{
	repair(leaving, TCP_REPAIR_ON);
	vanish_all(ladon, leaving, 1);
}

/* ---- later ---- */

struct ladon_leavers *ladon_leavers_new(struct ladon *ladon)
{
	struct ladon_leavers *leavers = calloc(1, sizeof(*leavers));

	if (leavers)
		leavers->ladon = ladon;
	return leavers;
}

static void leavers_vanish(struct ladon_leavers *leavers, size_t n)
{
	if (n == 0)
		return;
	vanish_all(leavers->ladon, leavers->leaving, n);
	leavers->len -= n;
	memmove(leavers->leaving, leavers->leaving + n, leavers->len * sizeof(*leavers->leaving));
}

void leavers_add(struct ladon_leavers *leavers, const struct leaving *leaving)
{
	if (leavers->len == LEAVERS_MAX)
		leavers_vanish(leavers, LEAVERS_MAX);
	leavers->leaving[leavers->len] = *leaving;
	leavers->leaving[leavers->len++].since_ms = ladon_now_ms();
	repair(leaving, TCP_REPAIR_ON);
}

int ladon_leavers_run(struct ladon_leavers *leavers)
{
	uint64_t now = ladon_now_ms();
	size_t due = 0;

	while (due < leavers->len && now - leavers->leaving[due].since_ms >= LEAVE_MS)
		due++;
	leavers_vanish(leavers, due);
	return leavers->len ? (int)(leavers->leaving[0].since_ms + LEAVE_MS - now) : -1;
}

void ladon_leavers_free(struct ladon_leavers *leavers)
{
	if (!leavers)
		return;
	leavers_vanish(leavers, leavers->len);
	free(leavers);
}
