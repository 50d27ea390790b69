// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * guard.c - sockets that are to be handed off: opened quietly, or made to speak
 *
 * The rule itself is datapath/quiet.h; here it is laid on a socket and lifted.
 * The kernel has no call that makes a socket acknowledge: when the rule is
 * lifted, the acknowledgement is written by hand and sent from a raw socket.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "private.h"
#include "segment.h"
#include "source.h"

#define TTL	   64
#define BIND_TRIES 64 /* ports of the range that other programs sit on */

static int guard_set(struct ladon *ladon, int fd, const struct ladon_guard *guard)
{
	return bpf_map_update_elem(ladon->guards_fd, &fd, guard, BPF_ANY);
}

int socket_key(int fd, const struct sockaddr *peer, const struct sockaddr *local,
	       struct ladon_flow_key *out)
{
	struct addr from, to;
	socklen_t len = sizeof(from);
	int rc = 0;

	if (peer)
		rc = addr_from(peer, &from);
	else if (getpeername(fd, &from.sa, &len) < 0)
		rc = -errno;
	len = sizeof(to);
	if (rc == 0 && local)
		rc = addr_from(local, &to);
	else if (rc == 0 && getsockname(fd, &to.sa, &len) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;
	addr_to_16(&from, out->saddr);
	addr_to_16(&to, out->daddr);
	out->sport = htons(addr_port(&from));
	out->dport = htons(addr_port(&to));
	return 0;
}

bool socket_is_apart(const struct ladon *ladon, int fd)
{
	uint32_t ifindex = 0;
	socklen_t len = sizeof(ifindex);

	return ladon->has_vrfs &&
	       getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, &len) == 0 &&
	       ifindex != ladon->vrf;
}

int ladon_listen(struct ladon *ladon, int listen_fd)
{
	return guard_set(
		ladon, listen_fd,
		&(struct ladon_guard){ .mode = LADON_GUARD_QUIET, .told = LADON_TOLD_SYN });
}

/* The back socket offers what the client offered, and no larger segments. */
static struct ladon_guard guard_mirror(const struct tcp_info *front)
{
	struct ladon_guard guard = { .mode = LADON_GUARD_QUIET };
	uint32_t mss = front->tcpi_snd_mss;

	if (front->tcpi_options & TCPI_OPT_TIMESTAMPS)
		mss += TS_OPTION_BYTES;
	else
		guard.mirror |= LADON_MIRROR_NO_TS;
	if (!(front->tcpi_options & TCPI_OPT_SACK))
		guard.mirror |= LADON_MIRROR_NO_SACK;
	if (!(front->tcpi_options & TCPI_OPT_WSCALE))
		guard.mirror |= LADON_MIRROR_NO_WSCALE;
	guard.mss = mss < UINT16_MAX ? (uint16_t)mss : 0;
	return guard;
}

/*
 * SO_REUSEADDR: one port serves towards many backends. A port that another
 * program listens on is taken all the same and rests: it comes up again last.
 */
static int source_bind_one(struct ladon *ladon, int fd, const struct addr *source,
			   const struct addr *to, uint64_t *token)
{
	struct addr at = { .sa.sa_family = to->sa.sa_family };
	uint64_t now_ms = ladon_now_ms();
	uint16_t port;
	int rc;

	if (source)
		at = *source;
	for (int i = 0; i < BIND_TRIES; i++) {
		rc = sources_take(ladon->sources, source, to, now_ms, &port, token);
		if (rc < 0)
			return rc;
		addr_set_port(&at, port);
		if (bind(fd, &at.sa, addr_len(&at)) == 0)
			return 0;
		rc = -errno;
		sources_give(ladon->sources, *token, true, now_ms);
		if (rc != -EADDRINUSE)
			return rc;
	}
	return -EADDRNOTAVAIL;
}

static int source_bind(struct ladon *ladon, int fd, const struct addr *to, uint64_t *token)
{
	struct addr source;
	int rc = -EADDRNOTAVAIL;

	if (!ladon->options.sources_len)
		return source_bind_one(ladon, fd, NULL, to, token);
	for (size_t i = 0; i < ladon->options.sources_len && rc == -EADDRNOTAVAIL; i++) {
		if (ladon->source_addrs[i].sa.sa_family != to->sa.sa_family)
			continue;
		addr_from(&ladon->source_addrs[i].sa, &source);
		rc = source_bind_one(ladon, fd, &source, to, token);
	}
	return rc;
}

static bool guard_get(struct ladon *ladon, int fd, struct ladon_guard *out)
{
	return bpf_map_lookup_elem(ladon->guards_fd, &fd, out) == 0 &&
	       out->mode == LADON_GUARD_QUIET;
}

/*
 * When the client has spoken, its bytes are the next thing that goes to the backend,
 * and the last acknowledgement of the handshake may ride on them (net/ipv4/tcp_input.c:
 * tcp_rcv_synsent_state_process()): a packet less for everybody, and the backend wakes once.
 * Bytes that the caller has consumed go nowhere: without that acknowledgement the backend
 * would know of no connection when the handoff is done. So it would with a client that has been
 * acknowledged: what it has said may all be consumed later.
 */
static bool back_hears_at_once(struct ladon *ladon, int front_fd, const struct tcp_info *front)
{
	struct ladon_guard guard;

	if (!front->tcpi_bytes_received)
		return false;
	return !atomic_load_explicit(&ladon->differ, memory_order_relaxed) ||
	       (guard_get(ladon, front_fd, &guard) && front->tcpi_bytes_received > guard.base);
}

static int back_prepare(struct ladon *ladon, int front_fd, int back_fd)
{
	struct tcp_info front = { 0 };
	socklen_t len = sizeof(front);
	struct ladon_guard guard;
	int rc, on = 1, off = 0;

	if (getsockopt(front_fd, IPPROTO_TCP, TCP_INFO, &front, &len) < 0)
		return -errno;
	guard = guard_mirror(&front);
	rc = guard_set(ladon, back_fd, &guard);
	if (rc < 0)
		return rc;
	if (setsockopt(back_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (back_hears_at_once(ladon, front_fd, &front) &&
	     setsockopt(back_fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off)) < 0))
		return -errno;
	return 0;
}

int ladon_connect(struct ladon *ladon, int front_fd, int back_fd, const struct sockaddr *to,
		  uint64_t *source)
{
	struct addr backend;
	uint64_t token;
	int rc;

	rc = addr_from(to, &backend);
	if (rc < 0)
		return rc;
	rc = back_prepare(ladon, front_fd, back_fd);
	if (rc == 0)
		rc = source_bind(ladon, back_fd, &backend, &token);
	if (rc < 0)
		return rc == -EADDRNOTAVAIL ? rc : -EOPNOTSUPP;
	rc = connect(back_fd, &backend.sa, addr_len(&backend)) < 0 ? -errno : 0;
	if (rc < 0 && rc != -EINPROGRESS) {
		ladon_source_free(ladon, token);
		/* Only connect(2) sees the four-tuple, and a bound socket keeps its port. */
		return rc == -EADDRNOTAVAIL ? -EADDRINUSE : rc;
	}
	*source = token;
	return rc;
}

/*
 * The sockets of a flow are gone, so only the table knows. What another thread hands off
 * between this look and the connect would have to have the same address and port: as good as
 * never, and then the handoff is refused (EXISTS).
 */
static bool is_in_table(const struct ladon *ladon, const struct addr *from, const struct addr *to)
{
	struct ladon_flow_key key = { .sport = htons(addr_port(to)),
				      .dport = htons(addr_port(from)) };
	struct ladon_entry entry;

	addr_to_16(to, key.saddr);
	addr_to_16(from, key.daddr);
	return bpf_map_lookup_elem(ladon->flows_fd, &key, &entry) == 0;
}

/* Ports that clients used themselves may lie anywhere; of those that nobody chose there is a range. */
static int foreign_bind(const struct ladon *ladon, int fd, const struct addr *from,
			const struct addr *to)
{
	uint32_t range = (uint32_t)ladon->options.port_max - ladon->options.port_min + 1;
	bool any = !addr_port(from);
	struct addr at = *from;

	for (int i = 0; i < (any ? BIND_TRIES : 1); i++) {
		if (any)
			addr_set_port(&at, (uint16_t)(ladon->options.port_min +
						      arc4random_uniform(range)));
		if (is_in_table(ladon, &at, to))
			continue;
		if (bind(fd, &at.sa, addr_len(&at)) == 0)
			return 0;
		if (errno != EADDRINUSE && errno != EACCES)
			return -errno;
	}
	return any ? -EADDRNOTAVAIL : -EADDRINUSE;
}

static int transparent_set(int fd, sa_family_t family)
{
	bool ip4 = family == AF_INET;
	int on = 1;

	return setsockopt(fd, ip4 ? SOL_IP : SOL_IPV6, ip4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on,
			  sizeof(on)) < 0
		       ? -errno
		       : 0;
}

int ladon_connect_from(struct ladon *ladon, int front_fd, int back_fd, const struct sockaddr *from,
		       const struct sockaddr *to)
{
	struct addr source, backend;
	int rc = addr_from(from, &source);

	if (rc == 0)
		rc = addr_from(to, &backend);
	if (rc == 0 && addr_family(&source) != addr_family(&backend))
		rc = -EAFNOSUPPORT;
	if (rc == 0)
		rc = transparent_set(back_fd, addr_family(&source));
	if (rc < 0)
		return rc;
	rc = back_prepare(ladon, front_fd, back_fd);
	if (rc < 0)
		return -EOPNOTSUPP;
	rc = foreign_bind(ladon, back_fd, &source, &backend);
	if (rc < 0)
		return rc;
	rc = connect(back_fd, &backend.sa, addr_len(&backend)) < 0 ? -errno : 0;
	return rc == -EADDRNOTAVAIL ? -EADDRINUSE : rc; /* as in ladon_connect() */
}

void ladon_source_free(struct ladon *ladon, uint64_t source)
{
	if (source)
		sources_give(ladon->sources, source, true, ladon_now_ms());
}

/* From the socket, which the key of a request is the destination of */
static void ack_send(struct ladon *ladon, const struct ladon_request *req)
{
	struct ladon_flow_key key = { .sport = req->front.dport, .dport = req->front.sport };
	uint8_t segment[SEGMENT_ACK_BYTES_MAX];
	struct addr to;
	size_t len;

	memcpy(key.saddr, req->front.daddr, sizeof(key.saddr));
	memcpy(key.daddr, req->front.saddr, sizeof(key.daddr));
	len = segment_write_ack(segment, &key, &req->view, TTL);
	addr_from_16(key.daddr, 0, &to);
	sendto(to.sa.sa_family == AF_INET ? ladon->raw4_fd : ladon->raw6_fd, segment, len,
	       MSG_NOSIGNAL, &to.sa, addr_len(&to));
}

/* What an acknowledgement of the socket's would say now */
static int ack_look(struct ladon *ladon, int fd, struct ladon_request *out)
{
	int rc = socket_is_apart(ladon, fd) ? -EOPNOTSUPP : socket_key(fd, NULL, NULL, &out->front);

	return rc < 0 ? rc : ladon_run_among_ours(ladon, ladon->look_fd, out, sizeof(*out));
}

/*
 * Ours leaves while the socket is still quiet: an acknowledgement of the
 * kernel's that overtook it would make it look old (RFC 7323 section 5). What
 * came in between is acknowledged by a second one.
 */
int ladon_acknowledge(struct ladon *ladon, int fd)
{
	struct ladon_request req = { 0 }, after;
	int rc = ack_look(ladon, fd, &req);

	if (rc == 0 && !req.reason) /* else it is closing: its FIN says it */
		ack_send(ladon, &req);
	after = req;
	atomic_store_explicit(&ladon->differ, true, memory_order_relaxed);
	if (guard_set(ladon, fd, &(struct ladon_guard){ .mode = LADON_GUARD_OFF }) < 0 &&
	    bpf_map_delete_elem(ladon->guards_fd, &fd) < 0) /* it takes no memory */
		return -errno;
	if (rc == 0 && !req.reason)
		rc = ladon_run_among_ours(ladon, ladon->look_fd, &after, sizeof(after));
	if (rc == 0 && !after.reason && after.view.rcv_nxt != req.view.rcv_nxt)
		ack_send(ladon, &after);
	return rc;
}

/* Bytes, and perhaps a FIN, that the socket has received */
static int socket_received(int fd, uint64_t *out)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -errno;
	*out = info.tcpi_bytes_received;
	return 0;
}

/*
 * On an ordinary socket the guard is laid first, and counted after: whatever was acknowledged
 * before it was there has been received by then.
 */
int ladon_consumed(struct ladon *ladon, int fd, uint64_t bytes)
{
	struct ladon_guard guard = { 0 };
	bool was_quiet = guard_get(ladon, fd, &guard);
	uint64_t received = bytes;
	int rc;

	atomic_store_explicit(&ladon->differ, true, memory_order_relaxed);
	guard.base = bytes;
	guard.mode = LADON_GUARD_QUIET;
	guard.told = LADON_TOLD_ANY; /* what leaves meanwhile might not be noted */
	rc = guard_set(ladon, fd, &guard);
	if (rc == 0 && !was_quiet)
		rc = socket_received(fd, &received);
	if (rc == 0 && received > bytes)
		rc = -EAGAIN;
	if (rc < 0 && !was_quiet)
		ladon_acknowledge(ladon, fd);
	return rc;
}

/* All that had come after the look is what had come before it: that is what the look has seen. */
void ladon_acknowledge_consumed(struct ladon *ladon, int fd, uint64_t bytes)
{
	struct ladon_request req = { 0 };
	uint64_t received;

	if (ack_look(ladon, fd, &req) == 0 && !req.reason && socket_received(fd, &received) == 0 &&
	    received == bytes)
		ack_send(ladon, &req);
}
