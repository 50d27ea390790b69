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
 * What accepted sockets inherit, and what bind(2) obeys. Where nothing can be done
 * before the client has spoken, there is nothing to accept before: one wake-up, and
 * what it said is there.
 */
static int listener_prepare(const struct config_listener *config, int fd)
{
	int rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (rc == 0)
		rc = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc == 0 && config->peek)
		rc = set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_S);
	if (rc == 0 && config->mss)
		rc = set(fd, IPPROTO_TCP, TCP_MAXSEG, config->mss);
	if (rc == 0 && config->addr.sa.sa_family == AF_INET6)
		rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	return rc;
}

/* SO_REUSEPORT lets any socket of the same user join, those of another ladond
 * too. The first one binds without: only after that it lets its siblings join.
 */
int listener_bind(struct listener *listener, bool first)
{
	const struct addr *addr = &listener->config->addr;
	_close_ int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	rc = listener_prepare(listener->config, fd);
	if (rc == 0 && !first)
		rc = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (rc == 0 && bind(fd, &addr->sa, addr_len(addr)) < 0)
		rc = -errno;
	if (rc == 0 && first)
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

static void listener_accept(struct watch *watch, uint32_t ready)
{
	struct listener *listener = container_of(watch, struct listener, watch);

	(void)ready;
	for (int i = 0; i < ACCEPT_MAX && watch->fd >= 0; i++) {
		struct addr client = { 0 };
		socklen_t len = sizeof(client);
		int fd = accept4(watch->fd, &client.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

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

int listener_start(struct listener *listener, struct ladon *ladon)
{
	int rc;

	listener->watch.run = listener_accept;
	listener->pause.run = listener_resume;
	listener->wildcard = addr_is_any(&listener->config->addr);
	if (ladon && listener->config->handoff) {
		rc = ladon_listen(ladon, listener->watch.fd);
		if (rc < 0)
			log_warn("listen %s: no early handoff: %s", listener->config->name,
				 strerror(-rc));
		listener->guarded = rc == 0;
	}
	if (listen(listener->watch.fd, BACKLOG) < 0)
		return -errno;
	return loop_watch(&listener->worker->loop, &listener->watch, EPOLLIN);
}

void listener_close(struct listener *listener)
{
	timer_stop(&listener->worker->loop.timers, &listener->pause);
	if (listener->watch.fd >= 0)
		close(listener->watch.fd);
	listener->watch.fd = -1;
	listener->watch.events = 0;
}
