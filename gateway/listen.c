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

#define BACKLOG	   4096	   /* net.core.somaxconn caps it */
#define ACCEPT_MAX 32	   /* per round: then those that are here have their turn */
#define NOTHING	   EPOLLET /* what epoll watches a paused one for, but for errors */

/* A client that says nothing is kept from us until the kernel has repeated its SYN-ACK
 * once, after a second.
 */
#define DEFER_S 1

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int transparent_set(const struct config_listener *config, int fd)
{
	bool is_ip4 = config->addr.sa.sa_family == AF_INET;

	return set(fd, is_ip4 ? SOL_IP : SOL_IPV6, is_ip4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
		   config->transparent);
}

/*
 * What may be different after a reload. Where nothing can be done before the client
 * has spoken, there is nothing to accept before: one wake-up, and what it said is there.
 * Silence is measured from the accept on.
 */
static int listener_configure(const struct config_listener *config, int fd)
{
	bool defer = config->peek && !config->silence_ms;
	int rc = set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, defer ? DEFER_S : 0);

	if (rc == 0)
		rc = set(fd, IPPROTO_TCP, TCP_MAXSEG, config->mss);
	return rc < 0 ? rc : transparent_set(config, fd);
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

const char *listener_complaint(const struct config_listener *config, int rc)
{
	if (rc == -EPERM && config->transparent)
		return "transparent: yes takes CAP_NET_ADMIN or CAP_NET_RAW; start ladond as root";
	return strerror(-rc);
}

/* accept(2): what has become of the connection that it was to return; the next may be a good one */
static bool is_of_client(int error)
{
	return error == ECONNABORTED || error == EINTR || error == EPROTO || error == ENETDOWN ||
	       error == ENETUNREACH || error == EHOSTDOWN || error == EHOSTUNREACH ||
	       error == ENONET || error == ENOPROTOOPT || error == EOPNOTSUPP;
}

/* Return: there may be more of them */
static bool listener_take(struct listener *listener)
{
	struct addr client = { 0 };
	socklen_t len = sizeof(client);
	int fd = accept4(listener->watch.fd, &client.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		count_add(&listener->counts->accepted, 1);
		conn_new(listener, fd, &client);
		return true;
	}
	if (errno == EAGAIN)
		return false;
	if (is_of_client(errno))
		return true;
	shortage_begin(listener->worker, "accept", -errno);
	return false;
}

static void listener_ready(struct watch *watch, uint32_t ready)
{
	struct listener *listener = container_of(watch, struct listener, watch);
	const struct worker *worker = listener->worker;

	(void)ready;
	if (shortage_join(listener->worker))
		return;
	for (int i = 0; i < ACCEPT_MAX && watch->fd >= 0 && !worker->shortage.pausing; i++)
		if (!listener_take(listener))
			return;
}

int listener_pause(struct listener *listener, bool paused)
{
	if (listener->watch.fd < 0)
		return 0;
	return loop_watch(&listener->worker->loop, &listener->watch, paused ? NOTHING : EPOLLIN);
}

/* ---- life ---- */

void listener_init(struct listener *listener, struct share *share, unsigned int index)
{
	const struct setup *setup = share->setup;

	*listener = (struct listener){ .share = share, .worker = share->worker };
	listener->watch.fd = -1;
	listener->watch.run = listener_ready;
	listener->config = &setup->config->listeners[index];
	listener->peek.targets = listener->config->targets;
	listener->peek.users = listener->config->users || listener->config->keys;
	listener->routes = setup->routes[index];
	listener->peek.words = route_table_words(listener->routes);
	listener->tally = setup->tallies[index];
	listener->counts = &setup->tallies[index]->counts[share->worker->index];
	TAILQ_INIT(&listener->undecided);
	listener->wildcard = addr_is_any(&listener->config->addr) || listener->config->transparent;
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
	int rc;

	listener->watch.fd = former->watch.fd;
	listener->watch.events = former->watch.events;
	listener->guarded = former->guarded;
	former->watch.fd = -1;
	former->watch.events = 0;
	listener->former = NULL;
	rc = listener_configure(listener->config, listener->watch.fd);
	if (rc < 0)
		log_warn("listen %s: %s", listener->config->name,
			 listener_complaint(listener->config, rc));
	listener_guard(listener);
}

void listener_serve(struct listener *listener)
{
	struct worker *worker = listener->worker;
	int rc;

	if (listener->former)
		listener_inherit(listener);
	rc = listener_pause(listener, worker->shortage.pausing);
	if (rc < 0)
		shortage_begin(worker, listener->config->name, rc); /* it tries again */
}

void listener_retire(struct listener *listener)
{
	for (int i = 0; i < BACKLOG && listener->watch.fd >= 0; i++)
		if (!listener_take(listener))
			break;
	listener_close(listener);
}

void listener_close(struct listener *listener)
{
	if (listener->watch.fd >= 0)
		close(listener->watch.fd);
	listener->watch.fd = -1;
	listener->watch.events = 0;
}
