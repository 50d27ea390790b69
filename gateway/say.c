// SPDX-License-Identifier: GPL-2.0-only
#include "say.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "conn.h"
#include "connect.h"

static const char connected[] = "HTTP/1.1 200 Connection established\r\n\r\n";

/* Return: its length, 0: this client waits for none */
static size_t answer_format(const struct conn *c, uint8_t out[sizeof(connected)])
{
	if (c->answered)
		return 0;
	switch (c->protocol) {
	case PEEK_PROTOCOL_SOCKS4:
		return peek_socks4_reply(true, out);
	case PEEK_PROTOCOL_SOCKS5:
		return peek_socks5_reply(SOCKS5_GRANTED, out);
	case PEEK_PROTOCOL_PREFIX:
		return peek_prefix_answer(PREFIX_CONNECTED, out);
	case PEEK_PROTOCOL_CONNECT:
		memcpy(out, connected, sizeof(connected));
		return sizeof(connected) - 1;
	default:
		return 0;
	}
}

/*
 * Connecting took so long that the client was acknowledged. If it said nothing more than its
 * request, which needs no repeating, it is as if it never had been.
 */
static void hush_again(struct conn *c)
{
	if (c->guarded || !c->listener->guarded || c->first.len)
		return;
	if (ladon_consumed(c->worker->gateway->ladon, c->front.fd, c->consumed) < 0)
		return;
	c->guarded = true;
	c->loud = LADON_REASON_NONE;
}

static int answer(struct conn *c)
{
	uint8_t text[sizeof(connected)];
	size_t len = answer_format(c, text);

	if (len && send(c->front.fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	c->answered |= len > 0;
	return 0;
}

static bool has_something(const struct conn *c)
{
	uint8_t text[sizeof(connected)];

	return c->introduction.sent < c->introduction.len || answer_format(c, text);
}

/* ---- was it heard? ---- */

static bool is_heard(int fd)
{
	int unheard = 0;

	return ioctl(fd, SIOCOUTQ, &unheard) < 0 || unheard == 0;
}

static uint32_t round_trip_ms(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info.tcpi_rtt / 1000;
}

/*
 * No event tells of an acknowledgement that comes alone. It is looked for after a round trip,
 * and then in pauses that grow with the wait.
 */
static int say_wait(struct conn *c, uint32_t pause_ms)
{
	int rc = 0;

	if (!c->front.events)
		rc = loop_watch(&c->worker->loop, &c->front, CONN_READING);
	if (rc == 0 && !c->back.events)
		rc = loop_watch(&c->worker->loop, &c->back, CONN_RELAYING);
	if (rc < 0)
		return conn_lack(c, "epoll", rc);
	conn_wake(c, pause_ms);
	return -EAGAIN;
}

/* A backend that cannot be told is given up before the client hears that it is there. */
static int say_begin(struct conn *c)
{
	int rc = kept_send(&c->introduction, c->back.fd);
	uint32_t front_ms, back_ms;

	if (rc < 0) /* -EAGAIN: of a socket that has sent nothing yet: the kernel has no memory for it */
		return connect_failed(c, rc == -EAGAIN ? -ENOBUFS : rc);
	hush_again(c);
	rc = answer(c);
	if (rc < 0 || c->obstacle || c->loud)
		return rc;
	front_ms = round_trip_ms(c->front.fd);
	back_ms = round_trip_ms(c->back.fd);
	c->said_ms = conn_now(c);
	conn_limit(c, c->listener->config->connect_ms);
	return say_wait(c, (front_ms > back_ms ? front_ms : back_ms) + 1);
}

int conn_say(struct conn *c)
{
	uint64_t waited_ms;

	if (has_something(c))
		return say_begin(c);
	if (!c->said_ms || (is_heard(c->front.fd) && is_heard(c->back.fd)))
		return 0;
	if (c->front.ready & EPOLLERR)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (c->back.ready & EPOLLERR)
		return connect_failed(c, -ECONNRESET);
	waited_ms = conn_now(c) - c->said_ms;
	if (c->late || ((c->front.ready | c->back.ready) & EPOLLIN && waited_ms > CONN_PATIENCE_MS))
		return 0;
	return c->woken ? say_wait(c, (uint32_t)(waited_ms / 4) + 1) : -EAGAIN;
}
