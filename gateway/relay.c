// SPDX-License-Identifier: GPL-2.0-only
#include "relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "connect.h"
#include "handoff.h"

/* What one end sent before it broke is still delivered, if the other takes it in time. */
#define BROKEN_MS 5000

#define QUIET_MS     200
#define PAUSE_MAX_MS 30000

void relay_init(struct relay *relay)
{
	lane_init(&relay->in);
	lane_init(&relay->out);
}

void relay_fini(struct conn *c)
{
	lane_fini(&c->relay.in);
	lane_fini(&c->relay.out);
	if (relay_began(&c->relay))
		count_sub(&c->listener->counts->relaying, 1);
}

/* ---- the first bytes ---- */

/* The handoff found an end that is gone: if it is the backend, another may serve. */
static bool begin_is_doubtful(const struct conn *c)
{
	return c->relayed == LADON_REASON_NOT_ESTABLISHED || c->relayed == LADON_REASON_NO_SOCKET;
}

/* Return: 0: all are sent; -EAGAIN: when the back socket is writable again; or why not */
static int begin_send(struct conn *c)
{
	int rc = begin_is_doubtful(c) ? connect_check(c) : 0;

	if (rc < 0)
		return rc;
	if (!(c->back.ready & EPOLLOUT))
		return -EAGAIN;
	rc = kept_send(&c->first, c->back.fd);
	if (rc == -EAGAIN)
		c->back.ready &= ~(uint32_t)EPOLLOUT;
	return rc;
}

static int begin_watch(struct conn *c, struct watch *watch)
{
	if (watch->events == CONN_RELAYING)
		return 0;
	watch->ready |= EPOLLOUT;
	return loop_watch(&c->worker->loop, watch, CONN_RELAYING);
}

/* The kernel counts in seconds, and takes no more of them (net/ipv4/tcp.c). */
#define KEEPALIVE_MAX_S 32767

static int keepalive_s(uint32_t ms)
{
	uint32_t s = ms / 1000 + (ms % 1000 ? 1 : 0);

	return (int)(s < KEEPALIVE_MAX_S ? s : KEEPALIVE_MAX_S);
}

/* It goes on without, if need be. */
static void relay_keep_alive(const struct config_keepalive *keepalive, int fd)
{
	int on = 1, after_s = keepalive_s(keepalive->after_ms), probes = (int)keepalive->probes,
	    interval_s = keepalive_s(keepalive->interval_ms);

	if (!keepalive->after_ms)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after_s, sizeof(after_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
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
	kept_free(&c->first);
	relay->in.received = relay->in.sent = len;

	relay->active_ms = conn_now(c);
	relay->idle_ms = c->listener->config->idle_ms;
	conn_limit(c, relay->idle_ms);
	relay_keep_alive(&c->listener->config->keepalive, c->front.fd);
	relay_keep_alive(&c->listener->config->keepalive, c->back.fd);
	relay->pause_ms = handoff_may_pass(c) ? QUIET_MS : 0;
	if (relay->pause_ms)
		conn_wake(c, relay->pause_ms);
	else
		c->wake_ms = 0;
}

int conn_begin(struct conn *c)
{
	struct ladon *ladon = c->worker->gateway->ladon;
	int rc, on = 1;

	if (!c->back.events) { /* it was connected at once */
		conn_limit(c, c->listener->config->connect_ms);
		rc = begin_watch(c, &c->back);
		if (rc < 0)
			return conn_lack(c, "epoll", rc);
	}
	if (c->back_guarded)
		setsockopt(c->back.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rc = begin_send(c);
	if (rc == -EAGAIN && !c->late)
		return rc;
	if (rc < 0)
		return connect_failed(c, rc == -EAGAIN ? -ETIMEDOUT : rc);
	rc = begin_watch(c, &c->front);
	if (rc < 0)
		return conn_lack(c, "epoll", rc);
	conn_acknowledge(c, c->relayed);
	if (c->back_guarded)
		ladon_acknowledge(ladon, c->back.fd);
	c->back_guarded = false;
	backend_answered(c->backend);
	relay_start(c);
	return 0;
}

/* ---- both directions ---- */

static bool relay_is_broken(const struct conn *c)
{
	return (c->front.ready | c->back.ready) & EPOLLERR;
}

/* What one end learned by a RST, the other shall not mistake for an end of the data. */
static int relay_break(struct conn *c, enum ladon_reason why)
{
	conn_reset(c);
	return conn_end(c, why);
}

static int relay_late(struct conn *c)
{
	struct relay *relay = &c->relay;
	uint64_t idle_ms = conn_now(c) - relay->active_ms;

	if (idle_ms < relay->idle_ms) {
		conn_limit(c, relay->idle_ms - idle_ms);
		return -EAGAIN;
	}
	return relay_is_broken(c) ? relay_break(c, LADON_REASON_RELAY_ERROR)
				  : conn_end(c, LADON_REASON_IDLE);
}

static bool relay_is_quiet(const struct conn *c)
{
	const struct relay *relay = &c->relay;

	return lane_is_empty(&relay->in) && lane_is_empty(&relay->out) &&
	       conn_now(c) - relay->active_ms >= QUIET_MS;
}

static void relay_half_close(struct conn *c)
{
	struct relay *relay = &c->relay;

	if (relay->half_closed || !(relay->in.ended || relay->out.ended))
		return;
	relay->half_closed = true;
	relay->idle_ms = c->listener->config->half_closed_ms;
	conn_limit(c, relay->idle_ms);
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
		if (handoff_try(c))
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

static void relay_lane(struct conn *c, struct lane *lane, struct watch *from, struct watch *to,
		      atomic_uint_fast64_t *count)
{
	uint64_t received = lane->received, sent = lane->sent;
	int more = lane_run(lane, c->worker, from, to);

	if (lane->received != received || lane->sent != sent)
		c->relay.active_ms = conn_now(c);
	count_add(count, lane->received - received);
	if (more)
		conn_later(c);
}

int conn_relay(struct conn *c)
{
	struct worker_counts *counts = c->worker->counts;
	struct relay *relay = &c->relay;

	relay_lane(c, &relay->in, &c->front, &c->back, &counts->relay_bytes_in);
	relay_lane(c, &relay->out, &c->back, &c->front, &counts->relay_bytes_out);
	if (!relay->out.ended)
		relay->by_client = relay->in.ended;
	if (relay->in.shut && relay->out.shut)
		return relay_is_broken(c) ? relay_break(c, LADON_REASON_RELAY_ERROR) : 0;
	relay_half_close(c);
	if (relay_is_broken(c) && relay->idle_ms > BROKEN_MS) {
		relay->idle_ms = BROKEN_MS;
		conn_limit(c, BROKEN_MS);
	}
	if (c->late)
		return relay_late(c);
	return c->woken ? relay_retry(c) : -EAGAIN;
}
