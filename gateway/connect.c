// SPDX-License-Identifier: GPL-2.0-only
#include "connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/own.h"
#include "admit.h"
#include "asked.h"
#include "config_admit.h"
#include "conn.h"
#include "proxied.h"
#include "removed.h"
#include "target.h"

#define PORT_TRIES 64 /* source ports that are in use towards the backend; they rest after that */

/* ---- which backend ---- */

static const char *route_name(const struct config_route *route)
{
	const char *const names[] = { route->tls, route->target, route->starts, route->regex,
				      route->http_host };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i])
			return names[i];
	return "default";
}

/* Nobody was tried. */
static int pool_lacking(struct conn *c, struct pool *pool)
{
	static const struct {
		const char *what;
		enum ladon_reason why;
	} lacks[] = {
		[POOL_LACKS_ADDRESS] = { "has an address yet", LADON_REASON_NO_BACKEND },
		[POOL_LACKS_VALID] = { "is up", LADON_REASON_BACKENDS_DOWN },
		[POOL_LACKS_ROOM] = { "may have another flow", LADON_REASON_BACKENDS_FULL },
	};
	enum pool_lack lack = pool_lack(pool, conn_now(c));

	log_limited(LOG_LEVEL_WARN, "route %s: no backend of pool %s %s", route_name(c->route),
		    pool_name(pool), lacks[lack].what);
	return conn_turn_away(c, lacks[lack].why);
}

static bool is_transparent(const struct conn *c)
{
	return conn_setup(c)->config->pools[c->route->pool].transparent;
}

/*
 * Whoever sends a PROXY header is believed, but not that the client is nobody, or this host. And
 * no backend answers to its own address, unless it is this host.
 */
static bool source_is_usable(const struct conn *c)
{
	struct locals *locals = &c->worker->locals;

	if (!addr_same_host(&c->who, &c->client) &&
	    (target_is_kept(&c->who) || locals_has(locals, &c->who)))
		return false;
	return !addr_same_host(&c->who, &c->to) || locals_has(locals, &c->to);
}

/* Why a backend that is to see the client's address cannot; NONE: it can */
static enum ladon_reason source_obstacle(const struct conn *c)
{
	if (addr_family(&c->who) != addr_family(&c->to))
		return LADON_REASON_SOURCE_FAMILY;
	return source_is_usable(c) ? LADON_REASON_NONE : LADON_REASON_SOURCE_UNUSABLE;
}

static int route_exhausted(struct conn *c, struct pool *pool)
{
	char text[ADDR_TEXT_MAX];

	if (!c->failed)
		return pool_lacking(c, pool);
	if (c->unseen)
		return conn_turn_away(c, c->unseen);
	if (c->failed == -EADDRNOTAVAIL)
		log_limited(LOG_LEVEL_WARN,
			    "route %s: no source address has a port left for pool %s (%s)",
			    route_name(c->route), pool_name(pool), addr_format(&c->to, text));
	else
		log_limited(LOG_LEVEL_WARN, "route %s: no backend of pool %s answered (%s: %s)",
			    route_name(c->route), pool_name(pool), addr_format(&c->to, text),
			    strerror(-c->failed));
	return conn_turn_away(c, c->failed == -EADDRNOTAVAIL ? LADON_REASON_NO_LOCAL_PORT
							     : LADON_REASON_NO_BACKEND);
}

static int asked_exhausted(struct conn *c, int rc)
{
	if (rc == -EACCES)
		return conn_turn_away(c, LADON_REASON_TARGET_REFUSED);
	if (rc == -EDESTADDRREQ)
		return conn_turn_away(c, LADON_REASON_NOT_REDIRECTED);
	if (rc != -ENOENT)
		return conn_turn_away(c, LADON_REASON_NAMES_BUSY);
	if (c->unseen)
		return conn_turn_away(c, c->unseen);
	if (c->failed == -EADDRNOTAVAIL)
		return conn_turn_away(c, LADON_REASON_NO_LOCAL_PORT);
	return conn_turn_away(c, c->failed ? LADON_REASON_NO_BACKEND : LADON_REASON_NO_TARGET);
}

/* Return: 0: it is in c->backend and c->to */
static int backend_choose(struct conn *c, struct pool *pool)
{
	struct backend *requested = pool_requested(pool);
	int rc;

	if (!requested) {
		c->backend = pool_pick(pool, &c->tries, conn_now(c), &c->to);
		return c->backend ? 0 : route_exhausted(c, pool);
	}
	if (!backend_is_valid(requested, conn_now(c)))
		return pool_lacking(c, pool);
	rc = asked_next(c);
	if (rc == -EAGAIN || rc == -ECANCELED)
		return rc;
	if (rc < 0)
		return asked_exhausted(c, rc);
	backend_take(requested);
	c->backend = requested;
	return 0;
}

static struct pool *conn_pool(const struct conn *c)
{
	return conn_setup(c)->pools[c->route->pool];
}

/* Once: later another backend is looked for, with the same rule, and the hello is another's. */
static int route_choose(struct conn *c)
{
	admit_decided(c);
	c->route = route_find(c->listener->routes, &c->worker->hello);
	if (!c->route)
		return conn_turn_away(c, LADON_REASON_NO_ROUTE);
	if (!config_admit_has(c->route->admit, &c->who))
		return conn_turn_away(c, LADON_REASON_ROUTE_DENIED);
	c->tries.key = pool_key(conn_pool(c), &c->who, c->worker->hello.name);
	return proxied_introduce(c);
}

int conn_route(struct conn *c)
{
	int rc = c->route ? 0 : route_choose(c);
	struct pool *pool;

	if (rc < 0)
		return rc;
	pool = conn_pool(c);
	rc = backend_choose(c, pool);
	if (rc == 0)
		conn_debug(c, "route: %s to %s of pool %s", route_name(c->route),
			   c->backend->config->text, pool_name(pool));
	return rc;
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

static void back_close(struct conn *c)
{
	if (c->back.fd >= 0)
		close(c->back.fd);
	c->back.fd = -1;
}

/* A fresh socket in c->back: a former one may be half prepared, or bound. Return: 0, or why not */
static int back_open(struct conn *c)
{
	back_close(c);
	c->back.fd = socket(c->to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return c->back.fd < 0 ? -errno : 0;
}

/* Return: what connect(2) says, but never -EAGAIN: there is nothing that epoll would tell of */
static int back_connect(const struct conn *c)
{
	int rc = connect(c->back.fd, &c->to.sa, addr_len(&c->to)) < 0 ? -errno : 0;

	return rc == -EAGAIN ? -ENOBUFS : rc;
}

/* The next one in turn of the configured source addresses. NULL: the routes choose */
static const struct addr *source_next(const struct conn *c)
{
	const struct config *config = conn_setup(c)->config;

	for (unsigned int i = 0; i < config->sources_len; i++) {
		unsigned int next = c->worker->next_source++ % config->sources_len;

		if (config->sources[next].sa.sa_family == c->to.sa.sa_family)
			return &config->sources[next];
	}
	return NULL;
}

/* The port is the kernel's choice, made when it knows the backend too. */
static int back_bind(const struct conn *c, const struct addr *source)
{
	struct addr at = *source;
	int on = 1;

	addr_set_port(&at, 0);
	if (setsockopt(c->back.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
	    bind(c->back.fd, &at.sa, addr_len(&at)) < 0)
		return -errno;
	return 0;
}

static int connect_from(struct conn *c, const struct addr *source)
{
	int on = 1, rc = back_open(c);

	if (rc == 0 && source)
		rc = back_bind(c, source);
	if (rc < 0)
		return rc;
	setsockopt(c->back.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return back_connect(c);
}

/* From the next source address, until one has a port left for this backend */
static int connect_plain(struct conn *c)
{
	unsigned int tries = conn_setup(c)->config->sources_len;
	int rc;

	do {
		rc = connect_from(c, source_next(c));
	} while (rc == -EADDRNOTAVAIL && tries-- > 1);
	return rc;
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

/*
 * From the client's own address, and port, if no other connection to the backend has that. There
 * is no falling back to another address: whoever wants to see the client's must not take
 * the gateway's for one. Return: as connect_guarded()
 */
static int connect_transparent(struct conn *c)
{
	struct ladon *ladon = c->worker->gateway->ladon;
	struct addr from = c->who;
	int rc = -EADDRINUSE;

	c->unseen = source_obstacle(c);
	if (c->unseen)
		return -EADDRNOTAVAIL;
	for (int i = 0; i < PORT_TRIES && rc == -EADDRINUSE; i++) {
		rc = back_open(c);
		if (rc == 0)
			rc = ladon_connect_from(ladon, c->front.fd, c->back.fd, &from.sa,
						&c->to.sa);
		addr_set_port(&from, 0);
	}
	c->back_guarded = rc == 0 || rc == -EINPROGRESS;
	if (rc == -EADDRINUSE)
		return -EADDRNOTAVAIL;
	return rc == -EOPNOTSUPP || rc == -EAGAIN ? -ENOBUFS : rc;
}

/* Return: why a connection has to be relayed that could not even begin to be handed off, or NONE */
static enum ladon_reason guarded_obstacle(int rc)
{
	if (rc == -EADDRNOTAVAIL || rc == -EADDRINUSE)
		return LADON_REASON_NO_PORT;
	return rc == -EOPNOTSUPP ? LADON_REASON_NO_KERNEL_MEMORY : LADON_REASON_NONE;
}

/* Return: 0: connected, -EINPROGRESS, or why not; the socket, if there is one, is in c->back. */
static int connect_begin(struct conn *c)
{
	int rc;

	c->obstacle = connect_obstacle(c);
	if (is_transparent(c))
		return connect_transparent(c);
	if (!c->obstacle) {
		rc = connect_guarded(c);
		c->obstacle = guarded_obstacle(rc);
		if (!c->obstacle)
			return rc == -EAGAIN ? -ENOBUFS : rc;
	}
	return connect_plain(c);
}

/* The handshake with a backend on this host, as in a container, is complete by now:
 * asked again, connect(2) says so, and nothing has to be waited for.
 */
static int connect_again(const struct conn *c)
{
	return connect(c->back.fd, &c->to.sa, addr_len(&c->to)) < 0 ? -errno : 0;
}

/* ---- what became of it ---- */

static void backend_failed(const struct conn *c)
{
	struct pool *pool = conn_pool(c);
	uint64_t for_ms = pool_failed(pool, c->backend, conn_now(c));

	if (for_ms)
		log_info("pool %s: %s is ejected for %" PRIu64
			 " ms: one connect after another has failed",
			 pool_name(pool), c->backend->config->text, for_ms);
}

/*
 * Not the backend's fault: another one may have a source port left, or this one is not to be used. Or
 * it may have answered to where the client's address led it, past this host.
 */
static bool is_ours(const struct conn *c, int rc)
{
	return rc == -EADDRNOTAVAIL || rc == -ECONNABORTED ||
	       (rc == -ETIMEDOUT && is_transparent(c));
}

int connect_failed(struct conn *c, int rc)
{
	char text[ADDR_TEXT_MAX];

	if (shortage_is(rc))
		return conn_lack(c, "connect", rc);
	if (!is_ours(c, rc))
		backend_failed(c);
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
			return conn_lack(c, "epoll", rc);
	}
	if (c->guarded && (c->first.len > 0 || c->front.ready & EPOLLIN))
		conn_acknowledge(c, LADON_REASON_SLOW_CONNECT);
	return -EAGAIN;
}

static int connect_wait(struct conn *c)
{
	int rc = loop_watch(&c->worker->loop, &c->back, CONN_RELAYING);

	if (rc < 0)
		return conn_lack(c, "epoll", rc);
	conn_limit(c, c->listener->config->connect_ms);
	if (!c->wake_ms)
		conn_wake(c, CONN_PATIENCE_MS);
	return -EAGAIN;
}

/* It keeps its backend, and its turn, until there is a socket to be had. */
static int connect_starve(struct conn *c, int rc)
{
	back_close(c);
	if (c->late)
		return conn_lack(c, "connect", rc);
	if (!c->lacks)
		conn_limit(c, c->listener->config->connect_ms);
	if (!c->wake_ms)
		conn_wake(c, CONN_PATIENCE_MS);
	shortage_wait(c, "connect", rc);
	return connect_patience(c);
}

int conn_connect(struct conn *c)
{
	int rc;

	if (c->back.fd < 0) {
		rc = connect_begin(c);
		if (shortage_is(rc))
			return connect_starve(c, rc);
		shortage_leave(c);
		if (rc == -EINPROGRESS)
			rc = connect_again(c);
		if (rc == -EALREADY)
			return connect_wait(c);
	} else if (c->back.ready & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		rc = connect_outcome(c);
	} else {
		rc = c->late ? -ETIMEDOUT : connect_patience(c);
	}
	if (rc == 0 && removed_why(c->worker->gateway->removed, &c->to))
		rc = -ECONNABORTED; /* it began before */
	if (rc == 0) {
		conn_debug(c, "connect: %s answered", c->backend->config->text);
		return 0;
	}
	return rc == -EAGAIN || rc == -ECANCELED ? rc : connect_failed(c, rc);
}
