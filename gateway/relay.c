// SPDX-License-Identifier: GPL-2.0-only
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "connect.h"
#include "handoff.h"

/* A read of this size costs as much by copying as by splice(2). */
#define COPY_BYTES ((uint32_t)sizeof(((struct worker *)NULL)->scratch))

/* After as many reads without a pause a lane lets others have their turn. */
#define LANE_ROUNDS 16

/* What one end sent before it broke is still delivered, if the other takes it in time. */
#define BROKEN_MS 5000

#define QUIET_MS     200
#define PAUSE_MAX_MS 30000

void relay_init(struct relay *relay)
{
	relay->in.pipe.read = -1;
	relay->out.pipe.read = -1;
}

void relay_fini(struct conn *c)
{
	pipe_close(&c->relay.in.pipe);
	pipe_close(&c->relay.out.pipe);
	if (relay_began(&c->relay))
		count_sub(&c->listener->counts->relaying, 1);
}

/* ---- the first bytes ---- */

/* Return: 0: all are sent; -EAGAIN: when the back socket is writable again */
static int begin_send(struct conn *c)
{
	struct first *first = &c->first;

	while (first->sent < first->len) {
		ssize_t n;

		if (!(c->back.ready & EPOLLOUT))
			return -EAGAIN;
		n = send(c->back.fd, first->bytes + first->sent, first->len - first->sent,
			 MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0)
			c->back.ready &= ~(uint32_t)EPOLLOUT;
		else
			first->sent += (uint32_t)n;
	}
	return 0;
}

static int begin_watch(struct conn *c, struct watch *watch)
{
	if (watch->events == CONN_RELAYING)
		return 0;
	watch->ready |= EPOLLOUT;
	return loop_watch(&c->worker->loop, watch, CONN_RELAYING);
}

/* From here on it is relayed: the backend has got its bytes, and cannot be exchanged. */
static void relay_start(struct conn *c)
{
	struct relay *relay = &c->relay;
	uint64_t len = c->first.len;

	conn_debug(c, "relay: %s", ladon_reason_text(c->relayed));
	conn_count(c, c->relayed);
	count_add(&c->worker->counts->relay_bytes_in, len);
	count_add(&c->listener->counts->relayed, 1);
	count_add(&c->listener->counts->relaying, 1);
	atomic_fetch_add_explicit(&c->backend->relayed, 1, memory_order_relaxed);
	first_free(&c->first);

	relay->active_ms = conn_now(c);
	relay->idle_ms = c->listener->config->idle_ms;
	conn_limit(c, relay->idle_ms);
	relay->pause_ms = handoff_may_pass(c) ? QUIET_MS : 0;
	if (relay->pause_ms)
		conn_wake(c, relay->pause_ms);
	else
		c->wake_ms = 0;
}

int conn_begin(struct conn *c)
{
	struct ladon *ladon = c->worker->gateway->ladon;
	int rc;

	if (!c->back.events) { /* it was connected at once */
		conn_limit(c, c->listener->config->connect_ms);
		if (begin_watch(c, &c->back) < 0)
			return conn_end(c, LADON_REASON_NO_MEMORY);
	}
	rc = begin_send(c);
	if (rc == -EAGAIN && !c->late)
		return rc;
	if (rc < 0)
		return connect_failed(c, rc == -EAGAIN ? -ETIMEDOUT : rc);
	if (begin_watch(c, &c->front) < 0)
		return conn_end(c, LADON_REASON_NO_MEMORY);
	conn_acknowledge(c, c->relayed);
	if (c->back_guarded)
		ladon_acknowledge(ladon, c->back.fd);
	c->back_guarded = false;
	relay_start(c);
	return 0;
}

/* ---- one direction ---- */

/* The receiver is gone, and whatever was on the way to it. */
static void lane_lose(struct lane *lane, struct watch *to)
{
	to->ready |= EPOLLERR;
	pipe_close(&lane->pipe);
	lane->held = 0;
	lane->ended = true;
	lane->shut = true;
}

/* All is delivered. Behind a RST there is no FIN: relay_break() will pass it on. */
static void lane_shut(struct lane *lane, const struct watch *from, const struct watch *to)
{
	if (!(from->ready & EPOLLERR))
		shutdown(to->fd, SHUT_WR); /* fails if it is gone, and then it is shut as well */
	lane->shut = true;
}

/* From the pipe to the receiver. Return: 0: the pipe is empty; -EAGAIN */
static int lane_drain(struct conn *c, struct lane *lane, struct watch *to)
{
	while (lane->held > 0) {
		ssize_t n;

		if (!(to->ready & EPOLLOUT))
			return -EAGAIN;
		n = splice(lane->pipe.read, NULL, to->fd, NULL, lane->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0 && errno == EAGAIN) {
			to->ready &= ~(uint32_t)EPOLLOUT;
		} else if (n <= 0) {
			lane_lose(lane, to);
		} else {
			lane->held -= (uint32_t)n;
			c->relay.active_ms = conn_now(c);
		}
	}
	return 0;
}

/* What a read returned other than bytes. Return: 0: nothing more will come; -EAGAIN */
static int lane_stall(struct lane *lane, struct watch *from, ssize_t n)
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

/* Send, and put the rest into the pipe, which is empty and has room for it. */
static int lane_send(struct lane *lane, struct watch *to, const uint8_t *bytes, uint32_t len)
{
	ssize_t n = to->ready & EPOLLOUT ? send(to->fd, bytes, len, MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN) {
		lane_lose(lane, to);
		return 0;
	}
	if (n < 0)
		n = 0;
	if ((uint32_t)n == len)
		return 0;
	to->ready &= ~(uint32_t)EPOLLOUT;
	n = write(lane->pipe.write, bytes + n, len - (uint32_t)n);
	if (n < 0)
		return -errno;
	lane->held = (uint32_t)n;
	return 0;
}

static int lane_copy(struct conn *c, struct lane *lane, struct watch *from, struct watch *to,
		     uint32_t *moved)
{
	uint8_t *scratch = c->worker->scratch;
	uint32_t room = lane->pipe.size < COPY_BYTES ? lane->pipe.size : COPY_BYTES;
	ssize_t n = recv(from->fd, scratch, room, 0);

	if (n <= 0)
		return lane_stall(lane, from, n);
	/* A short read of a stream has emptied the socket (epoll(7)), but for a FIN. */
	if ((uint32_t)n < room && !(from->ready & (EPOLLRDHUP | EPOLLERR)))
		from->ready &= ~(uint32_t)EPOLLIN;
	lane->bulk = (uint32_t)n == COPY_BYTES && !lane->no_splice;
	*moved = (uint32_t)n;
	return lane_send(lane, to, scratch, (uint32_t)n);
}

static int lane_splice(struct lane *lane, struct watch *from, uint32_t *moved)
{
	ssize_t n = splice(from->fd, NULL, lane->pipe.write, NULL, lane->pipe.size,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0 && errno == EINVAL) { /* a protocol that cannot: by copying, then */
		lane->no_splice = true;
		lane->bulk = false;
		return 0;
	}
	if (n <= 0)
		return lane_stall(lane, from, n);
	lane->bulk = (uint32_t)n >= COPY_BYTES;
	lane->held = (uint32_t)n;
	*moved = (uint32_t)n;
	return 0;
}

/* Bytes are not read before there is a pipe to keep them in.
 * Return: 0: something happened; -EAGAIN; or what ladon lacks.
 */
static int lane_fill(struct conn *c, struct lane *lane, struct watch *from, struct watch *to,
		     atomic_uint_fast64_t *count)
{
	uint32_t moved = 0;
	int rc;

	if (!(from->ready & (EPOLLIN | EPOLLERR)))
		return -EAGAIN;
	if (lane->pipe.read < 0) {
		rc = pipe_take(&c->worker->pipes, &lane->pipe);
		if (rc < 0)
			return rc;
	}
	rc = lane->bulk ? lane_splice(lane, from, &moved) : lane_copy(c, lane, from, to, &moved);
	if (moved) {
		count_add(count, moved);
		c->relay.active_ms = conn_now(c);
	}
	return rc;
}

/* Return: 0, or a negative errno: what ladon lacks. */
static int lane_run(struct conn *c, struct lane *lane, struct watch *from, struct watch *to,
		    atomic_uint_fast64_t *count)
{
	int rc = 0;

	if (!lane->shut && to->ready & EPOLLERR)
		lane_lose(lane, to);
	for (int i = 0; i < LANE_ROUNDS && !lane->shut && rc == 0; i++) {
		rc = lane_drain(c, lane, to);
		if (rc < 0)
			break;
		if (lane->ended)
			lane_shut(lane, from, to);
		else
			rc = lane_fill(c, lane, from, to, count);
	}
	if (lane->held == 0)
		pipe_give(&c->worker->pipes, &lane->pipe);
	if (rc == 0 && !lane->shut)
		conn_later(c);
	return rc == -EAGAIN ? 0 : rc;
}

/* ---- both ---- */

static bool relay_is_broken(const struct conn *c)
{
	return (c->front.ready | c->back.ready) & EPOLLERR;
}

/* What one end learned by a RST, the other shall not mistake for an end of the data. */
static int relay_break(struct conn *c)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->front.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(c->back.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return conn_end(c, LADON_REASON_RELAY_ERROR);
}

static int relay_late(struct conn *c)
{
	struct relay *relay = &c->relay;
	uint64_t idle_ms = conn_now(c) - relay->active_ms;

	if (idle_ms < relay->idle_ms) {
		conn_limit(c, relay->idle_ms - idle_ms);
		return -EAGAIN;
	}
	return relay_is_broken(c) ? relay_break(c) : conn_end(c, LADON_REASON_IDLE);
}

static bool relay_is_quiet(const struct conn *c)
{
	const struct relay *relay = &c->relay;

	return !relay->in.held && !relay->out.held && conn_now(c) - relay->active_ms >= QUIET_MS;
}

/* Time for another try of the handoff. Return: 0: it succeeded; -EAGAIN */
static int relay_retry(struct conn *c)
{
	struct relay *relay = &c->relay;

	c->woken = false;
	c->wake_ms = 0;
	if (relay->in.ended || relay->out.ended)
		return -EAGAIN;
	if (relay_is_quiet(c)) {
		if (handoff_try(c) == 0)
			return 0;
		if (!handoff_may_pass(c))
			return -EAGAIN;
	} else if (!relay->busy) {
		relay->busy = true;
		conn_count(c, LADON_REASON_BUSY);
	}
	relay->pause_ms = relay->pause_ms < PAUSE_MAX_MS / 2 ? relay->pause_ms * 2 : PAUSE_MAX_MS;
	conn_wake(c, relay->pause_ms);
	return -EAGAIN;
}

int conn_relay(struct conn *c)
{
	struct worker_counts *counts = c->worker->counts;
	struct relay *relay = &c->relay;
	int rc;

	rc = lane_run(c, &relay->in, &c->front, &c->back, &counts->relay_bytes_in);
	if (rc == 0)
		rc = lane_run(c, &relay->out, &c->back, &c->front, &counts->relay_bytes_out);
	if (rc < 0)
		return conn_lack(c, rc);
	if (relay->in.shut && relay->out.shut)
		return relay_is_broken(c) ? relay_break(c) : 0;
	if (relay_is_broken(c) && relay->idle_ms > BROKEN_MS) {
		relay->idle_ms = BROKEN_MS;
		conn_limit(c, BROKEN_MS);
	}
	if (c->late)
		return relay_late(c);
	return c->woken ? relay_retry(c) : -EAGAIN;
}
