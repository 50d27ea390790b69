// SPDX-License-Identifier: GPL-2.0-only
#include "listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/own.h"
#include "conn.h"
#include "setup.h"
#include "worker.h"

#define BACKLOG	   4096 /* net.core.somaxconn caps it */
#define ACCEPT_MAX 32	/* per round: then those that are here have their turn */
#define PAUSE_MS   100

/* A client that says nothing is kept from us until the kernel has repeated its SYN-ACK
 * once, after a second.
 */
#define DEFER_S 1

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/*
 * What may be different after a reload. Where nothing can be done before the client
 * has spoken, there is nothing to accept before: one wake-up, and what it said is there.
 */
static int listener_configure(const struct config_listener *config, int fd)
{
	int rc = set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, config->peek ? DEFER_S : 0);

	return rc < 0 ? rc : set(fd, IPPROTO_TCP, TCP_MAXSEG, config->mss);
}

/* What accepted sockets inherit, and what bind(2) obeys. */
static int listener_prepare(const struct config_listener *config, int fd)
{
	int rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (rc == 0)
		rc = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc == 0)
		rc = listener_configure(config, fd);
	if (rc == 0 && config->addr.sa.sa_family == AF_INET6)
		rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	return rc;
}

/* SO_REUSEPORT lets any socket of the same user join, those of another ladond
 * too. The first one binds without: only after that it lets its siblings join.
 */
int listener_bind(struct listener *listener, bool alone)
{
	const struct addr *addr = &listener->config->addr;
	_close_ int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	rc = listener_prepare(listener->config, fd);
	if (rc == 0 && !alone)
		rc = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (rc == 0 && bind(fd, &addr->sa, addr_len(addr)) < 0)
		rc = -errno;
	if (rc == 0 && alone)
		rc = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (rc < 0)
		return rc;
	listener->watch.fd = TAKE_FD(fd);
	return 0;
}

/* What a failed accept4(2) means: most errors are those of one client (accept(2)). */
static void listener_failed(struct listener *listener, int error)
{
	struct worker *worker = listener->worker;

	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return;
	log_limited(LOG_LEVEL_WARN, "listen %s: accept: %s; waiting %d ms", listener->config->name,
		    strerror(error), PAUSE_MS);
	count_add(&worker->counts->reasons[LADON_REASON_NO_DESCRIPTOR], 1);
	loop_watch(&worker->loop, &listener->watch, EPOLLET); /* nothing but errors */
	timer_set(&worker->loop.timers, &listener->pause, worker->loop.now_ms + PAUSE_MS);
}

static void listener_resume(struct timer *timer)
{
	struct listener *listener = container_of(timer, struct listener, pause);

	loop_watch(&listener->worker->loop, &listener->watch, EPOLLIN);
}

/* As long as there are clients and descriptors, but no more than @max */
static void listener_take(struct listener *listener, int max)
{
	for (int i = 0; i < max && listener->watch.fd >= 0; i++) {
		struct addr client = { 0 };
		socklen_t len = sizeof(client);
		int fd =
			accept4(listener->watch.fd, &client.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			listener_failed(listener, errno);
			if (timer_is_set(&listener->pause))
				return;
			continue;
		}
		count_add(&listener->counts->accepted, 1);
		conn_new(listener, fd, &client);
	}
}

static void listener_accept(struct watch *watch, uint32_t ready)
{
	(void)ready;
	listener_take(container_of(watch, struct listener, watch), ACCEPT_MAX);
}

/* ---- life ---- */

void listener_init(struct listener *listener, struct share *share, unsigned int index)
{
	const struct setup *setup = share->setup;

	*listener = (struct listener){ .share = share, .worker = share->worker };
	listener->watch.fd = -1;
	listener->watch.run = listener_accept;
	listener->pause.run = listener_resume;
	listener->config = &setup->config->listeners[index];
	listener->routes = setup->routes[index];
	listener->counts = &setup->tallies[index]->counts[share->worker->index];
	listener->wildcard = addr_is_any(&listener->config->addr);
}

static void listener_guard(struct listener *listener)
{
	struct ladon *ladon = listener->worker->gateway->ladon;
	int rc;

	if (!ladon || !listener->config->handoff || listener->guarded)
		return;
	rc = ladon_listen(ladon, listener->watch.fd);
	if (rc < 0)
		log_warn("listen %s: no early handoff: %s", listener->config->name, strerror(-rc));
	listener->guarded = rc == 0;
}

int listener_listen(struct listener *listener)
{
	listener_guard(listener);
	return listen(listener->watch.fd, BACKLOG) < 0 ? -errno : 0;
}

/*
 * The socket goes on listening all the while. What waits in its queue was guarded or
 * not when it came, so a guard stays, and a handoff that is now off leaves it to the
 * relay to lift it. An event for the former that is still to come in this round finds
 * no socket there, and comes again for this one.
 */
static void listener_inherit(struct listener *listener)
{
	struct listener *former = listener->former;

	timer_stop(&former->worker->loop.timers, &former->pause);
	listener->watch.fd = former->watch.fd;
	listener->watch.events = former->watch.events;
	listener->guarded = former->guarded;
	former->watch.fd = -1;
	former->watch.events = 0;
	listener->former = NULL;
	listener_configure(listener->config, listener->watch.fd);
	listener_guard(listener);
}

void listener_serve(struct listener *listener)
{
	int rc;

	if (listener->former)
		listener_inherit(listener);
	rc = loop_watch(&listener->worker->loop, &listener->watch, EPOLLIN);
	if (rc < 0)
		log_err("listen %s: %s", listener->config->name, strerror(-rc));
}

void listener_retire(struct listener *listener)
{
	listener_take(listener, BACKLOG);
	listener_close(listener);
}

void listener_close(struct listener *listener)
{
	timer_stop(&listener->worker->loop.timers, &listener->pause);
	if (listener->watch.fd >= 0)
		close(listener->watch.fd);
	listener->watch.fd = -1;
	listener->watch.events = 0;
}
