// SPDX-License-Identifier: GPL-2.0-only
#include "connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/own.h"
#include "conn.h"
#include "removed.h"

#define PORT_TRIES 64 /* source ports that are in use towards the backend; they rest after that */

/* ---- which backend ---- */

static const char *route_name(const struct config_route *route)
{
	if (route->tls)
		return route->tls;
	return route->http_host ? route->http_host : "default";
}

static int route_exhausted(struct conn *c, struct pool *pool)
{
	char text[ADDR_TEXT_MAX];

	if (c->failed)
		log_limited(LOG_LEVEL_WARN, "route %s: no backend of pool %s answered (%s: %s)",
			    route_name(c->route), pool_name(pool), addr_format(&c->to, text),
			    strerror(-c->failed));
	else
		log_limited(LOG_LEVEL_WARN, "route %s: no backend of pool %s has an address yet",
			    route_name(c->route), pool_name(pool));
	return conn_turn_away(c, LADON_REASON_NO_BACKEND);
}

int conn_route(struct conn *c)
{
	struct pool *pool;

	if (!c->route)
		c->route = route_find(c->listener->routes, &c->worker->hello);
	if (!c->route)
		return conn_turn_away(c, LADON_REASON_NO_ROUTE);
	pool = conn_setup(c)->pools[c->route->pool];
	c->backend = pool_pick(pool, &c->tries, &c->to);
	if (!c->backend)
		return route_exhausted(c, pool);
	conn_debug(c, "route: %s to %s of pool %s", route_name(c->route), c->backend->config->text,
		   pool_name(pool));
	return 0;
}

/* ---- how to connect ---- */

/* Why this connection cannot be handed off, as far as it is known before it is made. */
static enum ladon_reason connect_obstacle(const struct conn *c)
{
	const struct gateway *gateway = c->worker->gateway;

	if (!c->listener->config->handoff)
		return LADON_REASON_HANDOFF_OFF;
	if (!gateway->ladon)
		return gateway->no_handoff;
	if (c->listener->config->stack && addr_family(&c->client) != addr_family(&c->to))
		return LADON_REASON_FAMILY;
	return LADON_REASON_NONE;
}

/* A source address of the configured ones, in turn; the port is the kernel's choice. */
static int connect_bind(struct conn *c, int fd)
{
	const struct config *config = conn_setup(c)->config;
	int on = 1;

	for (unsigned int i = 0; i < config->sources_len; i++) {
		unsigned int next = c->worker->next_source++ % config->sources_len;
		struct addr source = config->sources[next];

		if (source.sa.sa_family != c->to.sa.sa_family)
			continue;
		addr_set_port(&source, 0);
		if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
		    bind(fd, &source.sa, addr_len(&source)) < 0)
			return -errno;
		return 0;
	}
	return 0;
}

static int connect_plain(struct conn *c, int fd)
{
	int on = 1, rc = connect_bind(c, fd);

	if (rc < 0)
		return rc;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(fd, &c->to.sa, addr_len(&c->to)) < 0 ? -errno : 0;
}

static int back_socket(const struct conn *c)
{
	int fd = socket(c->to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* A fresh socket in c->back: a former one may be half prepared, or bound. Return: 0, or why not */
static int back_open(struct conn *c)
{
	if (c->back.fd >= 0)
		close(c->back.fd);
	c->back.fd = back_socket(c);
	return c->back.fd < 0 ? c->back.fd : 0;
}

/* After a restart the first ports of the range may still belong to what the former daemon left. */
static int connect_guarded(struct conn *c)
{
	struct ladon *ladon = c->worker->gateway->ladon;
	int rc = -EADDRINUSE;

	for (int i = 0; i < PORT_TRIES && rc == -EADDRINUSE; i++) {
		rc = back_open(c);
		if (rc == 0)
			rc = ladon_connect(ladon, c->front.fd, c->back.fd, &c->to.sa, &c->source);
	}
	c->back_guarded = rc == 0 || rc == -EINPROGRESS;
	return rc;
}

/* Return: 0: connected, -EINPROGRESS, or why not; the socket is in c->back in any case. */
static int connect_begin(struct conn *c)
{
	int rc;

	c->obstacle = connect_obstacle(c);
	if (!c->obstacle) {
		rc = connect_guarded(c);
		if (rc != -EADDRNOTAVAIL && rc != -EADDRINUSE)
			return rc;
		c->obstacle = LADON_REASON_NO_PORT;
	}
	rc = back_open(c);
	return rc < 0 ? rc : connect_plain(c, c->back.fd);
}

/* The handshake with a backend on this host, as in a container, is complete by now:
 * asked again, connect(2) says so, and nothing has to be waited for.
 */
static int connect_again(const struct conn *c)
{
	return connect(c->back.fd, &c->to.sa, addr_len(&c->to)) < 0 ? -errno : 0;
}

/* ---- what became of it ---- */

int connect_failed(struct conn *c, int rc)
{
	char text[ADDR_TEXT_MAX];

	if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
		return conn_lack(c, rc);
	atomic_fetch_add_explicit(&c->backend->failed, 1, memory_order_relaxed);
	c->failed = rc;
	conn_debug(c, "connect: %s: %s", addr_format(&c->to, text), strerror(-rc));
	conn_close_back(c);
	return rc;
}

int connect_check(const struct conn *c)
{
	char byte;
	ssize_t n = recv(c->back.fd, &byte, 1, MSG_PEEK);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n > 0 ? 0 : -ECONNRESET;
}

/* What epoll said of the back socket; an answer and a goodbye may have come together. */
static int connect_outcome(const struct conn *c)
{
	socklen_t len = sizeof(int);
	int rc = 0;

	if (c->back.ready & EPOLLERR || !(c->back.ready & EPOLLOUT)) {
		getsockopt(c->back.fd, SOL_SOCKET, SO_ERROR, &rc, &len);
		return rc ? -rc : -ECONNRESET;
	}
	return c->back.ready & EPOLLRDHUP ? connect_check(c) : 0;
}

/* The client has been waiting since it spoke. If it has: is it still there, and
 * does it still not know that it was heard?
 */
static int connect_patience(struct conn *c)
{
	int rc;

	if (c->front.ready & EPOLLERR)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (!c->woken)
		return -EAGAIN;
	if (!c->front.events) {
		rc = loop_watch(&c->worker->loop, &c->front, CONN_READING);
		if (rc < 0)
			return conn_end(c, LADON_REASON_NO_MEMORY);
	}
	if (c->guarded && (c->first.len > 0 || c->front.ready & EPOLLIN))
		conn_acknowledge(c, LADON_REASON_SLOW_CONNECT);
	return -EAGAIN;
}

static int connect_wait(struct conn *c)
{
	int rc = loop_watch(&c->worker->loop, &c->back, CONN_RELAYING);

	if (rc < 0)
		return conn_end(c, LADON_REASON_NO_MEMORY);
	conn_limit(c, c->listener->config->connect_ms);
	if (!c->wake_ms)
		conn_wake(c, CONN_PATIENCE_MS);
	return -EAGAIN;
}

int conn_connect(struct conn *c)
{
	int rc;

	if (c->back.fd < 0) {
		rc = connect_begin(c);
		if (rc == -EINPROGRESS)
			rc = connect_again(c);
		if (rc == -EALREADY)
			return connect_wait(c);
	} else if (c->back.ready & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		rc = connect_outcome(c);
	} else {
		rc = c->late ? -ETIMEDOUT : connect_patience(c);
	}
	if (rc == 0 && removed_is_due(c->worker->gateway->removed, &c->to))
		rc = -ECONNABORTED; /* it began by a former configuration */
	if (rc == 0) {
		conn_debug(c, "connect: %s answered", c->backend->config->text);
		return 0;
	}
	return rc == -EAGAIN || rc == -ECANCELED ? rc : connect_failed(c, rc);
}
