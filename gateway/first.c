// SPDX-License-Identifier: GPL-2.0-only
#include "first.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "admit.h"
#include "conn.h"
#include "ends.h"

/* One read, as much as there is room for: what did not fit stays in the socket. */
static int first_read(struct conn *c)
{
	uint32_t room = PEEK_BYTES_MAX - c->first.len;
	uint8_t *scratch = c->worker->scratch;
	ssize_t n = recv(c->front.fd, scratch, room, 0);

	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (kept_append(&c->first, scratch, (uint32_t)n) < 0)
		return conn_lack(c, "memory for first bytes", -ENOMEM);
	return 0;
}

/* What the client wants may come in many pieces. It must not wait for an
 * acknowledgement meanwhile: Nagle's algorithm keeps its second piece back until
 * the first is acknowledged, and a large hello may exceed its initial window.
 */
static int first_wait(struct conn *c)
{
	int rc;

	if (c->late)
		return conn_turn_away(c, LADON_REASON_FIRST_BYTES);
	rc = admit_wait(c);
	if (rc < 0)
		return rc;
	if (!c->limit_ms)
		conn_limit(c, c->listener->config->first_bytes_ms);
	if (c->guarded && c->first.len > 0 && !c->wake_ms)
		conn_wake(c, CONN_PATIENCE_MS);
	if (c->guarded && c->woken)
		conn_acknowledge(c, LADON_REASON_ACKED);
	if (c->front.events)
		return -EAGAIN;
	rc = loop_watch(&c->worker->loop, &c->front, CONN_READING);
	return rc < 0 ? conn_lack(c, "epoll", rc) : -EAGAIN;
}

static int first_look(struct conn *c, struct hello *hello)
{
	switch (peek_first(c->first.bytes, c->first.len, hello)) {
	case PEEK_MORE:
		assert(c->first.len < PEEK_BYTES_MAX);
		return -EAGAIN;
	case PEEK_BAD:
		c->protocol = hello->protocol;
		c->alert = hello->alert;
		return conn_turn_away(c, hello->reason);
	default:
		c->protocol = hello->protocol;
		ends_name(c, hello->name);
		conn_debug(c, "peek: %u bytes, \"%s\"", c->first.len, hello->name);
		return 0;
	}
}

int conn_peek(struct conn *c)
{
	struct hello *hello = &c->worker->hello;
	int rc;

	if (!c->listener->config->peek) {
		*hello = (struct hello){ .protocol = PEEK_PROTOCOL_NONE };
		return 0;
	}
	do {
		rc = first_read(c);
		if (rc == 0)
			rc = first_look(c, hello);
		else if (rc == -EAGAIN)
			return first_wait(c);
	} while (rc == -EAGAIN);
	return rc;
}
