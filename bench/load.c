/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * load.c - the two ends of the benchmark: a server, and clients that measure
 *
 * A client's first 64 bytes are its request, 'e' or 'b' and what it likes; the
 * server either echoes them and all that follows, or sends as fast as it can
 * until the client closes. With -t a TLS ClientHello goes before the request,
 * for gateways that route by server name; the server skips it and no TLS is
 * spoken. With -s or -c the connection is to a proxy, which is asked by SOCKS 5 or by CONNECT
 * for the target first.
 *
 * Everything has a limit, in seconds and in number, and runs on one thread. A
 * client prints one line of JSON about the time after its warm-up.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include "../base/addr.h"
#include "../base/own.h"

#define REQUEST_LEN   64
#define ASK_MAX	      160
#define HELLO_LEN     517 /* what browsers pad to: RFC 7685 */
#define HELLO_NAME    "bench.example"
#define TLS_HANDSHAKE 0x16 /* first byte of a ClientHello's record */
#define CHUNK	      (256 << 10)
#define FDS_MAX	      65536
#define SLOTS_MAX     1024
#define SAMPLES_MAX   (1 << 20)
#define ERRORS_MAX    1000 /* then a client gives up */
#define STALL_NS      (3 * 1000000000ull)
#define SECONDS_MAX   600

static unsigned char chunk[CHUNK];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* cpu_idle_s() - seconds that all CPUs together were not used by anybody on
 * this machine: idle, waiting for a disk, or taken by the hypervisor
 */
static double cpu_idle_s(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
	FILE *f = fopen("/proc/stat", "re");

	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
			 &idle, &iowait, &irq, &softirq, &steal) != 8)
		die("/proc/stat");
	fclose(f);
	return (double)(idle + iowait + steal) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the time that is measured ---- */

/**
 * struct window - from the end of the warm-up to the end of the load
 * @begins, @ends: CLOCK_MONOTONIC, ns
 * @idle_s: cpu_idle_s() when it began
 * @seconds, @busy_s: how long it was, and the CPU time that the machine used in it
 */
struct window {
	uint64_t begins, ends;
	double idle_s, seconds, busy_s;
	bool open, closed;
};

static struct window window_after(double warm_s, double seconds)
{
	struct window w = { 0 };

	w.begins = now_ns() + (uint64_t)(warm_s * 1e9);
	w.ends = w.begins + (uint64_t)(seconds * 1e9);
	return w;
}

static void window_close(struct window *w)
{
	if (!w->open || w->closed)
		return;
	w->closed = true;
	w->seconds = (double)(now_ns() - w->begins) / 1e9;
	w->busy_s = w->seconds * (double)sysconf(_SC_NPROCESSORS_ONLN) - cpu_idle_s() + w->idle_s;
}

/* window_holds() - is @now inside? The first yes opens it, the first no after that closes it. */
static bool window_holds(struct window *w, uint64_t now)
{
	if (now >= w->ends)
		window_close(w);
	if (now < w->begins || now >= w->ends)
		return false;
	if (!w->open) {
		w->open = true;
		w->begins = now;
		w->idle_s = cpu_idle_s();
	}
	return true;
}

/* window_print() - zeros if the load gave up before it began */
static void window_print(struct window *w)
{
	window_close(w);
	printf("\"seconds\": %.4f, \"busy_s\": %.4f", w->seconds, w->busy_s);
}

/* ---- what a client says first ---- */

/* hear() - recv(2) where the end of the stream is an error too */
static ssize_t hear(int fd, void *out, size_t len, int flags)
{
	ssize_t n = recv(fd, out, len, flags);

	if (n == 0)
		errno = ECONNRESET;
	return n ? n : -1;
}

static unsigned char *put16(unsigned char *p, unsigned int value)
{
	*p++ = (unsigned char)(value >> 8);
	*p++ = (unsigned char)value;
	return p;
}

/* hello_build() - a ClientHello (RFC 8446 section 4.1.2) of HELLO_LEN bytes */
static void hello_build(unsigned char *hello)
{
	static const unsigned char suites[] = { 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2f };
	static const unsigned char versions[] = { 0, 43, 0, 3, 2, 0x03, 0x04 }; /* TLS 1.3 */
	const size_t name_len = strlen(HELLO_NAME);
	unsigned char *end = hello + HELLO_LEN, *p = hello;

	memset(hello, 0, HELLO_LEN);
	*p++ = TLS_HANDSHAKE;
	p = put16(p, 0x0301);
	p = put16(p, HELLO_LEN - 5);
	p = put16(p, 0x0100); /* client_hello, and the top byte of its length */
	p = put16(p, HELLO_LEN - 9);
	p = put16(p, 0x0303);
	p += 32;  /* random */
	*p++ = 0; /* session id */
	p = put16(p, sizeof(suites));
	p = (unsigned char *)memcpy(p, suites, sizeof(suites)) + sizeof(suites);
	p = put16(p, 0x0100); /* one compression method: none */
	p = put16(p, (unsigned int)(end - p) - 2);
	p = put16(p, 0); /* server_name, RFC 6066 section 3 */
	p = put16(p, (unsigned int)name_len + 5);
	p = put16(p, (unsigned int)name_len + 3);
	*p++ = 0; /* host_name */
	p = put16(p, (unsigned int)name_len);
	p = (unsigned char *)memcpy(p, HELLO_NAME, name_len) + name_len;
	p = (unsigned char *)memcpy(p, versions, sizeof(versions)) + sizeof(versions);
	p = put16(p, 21); /* padding */
	put16(p, (unsigned int)(end - p) - 2);
}

/**
 * struct ask - something to say to a proxy, and its answer
 * @answer_len: 0: it ends with an empty line
 */
struct ask {
	unsigned char bytes[ASK_MAX];
	size_t len, answer_len;
};

/* How a gateway is told what the connection is for */
struct manner {
	bool tls;	   /* by the name in a ClientHello */
	struct addr socks; /* by SOCKS 5: the target; or family 0 */
	struct addr http;  /* by CONNECT */
};

/**
 * struct first - what a connection begins with
 * @asks: to a proxy
 * @bytes: a ClientHello or nothing, then the request
 * @len: of both
 * @request: where the request begins
 */
struct first {
	struct ask asks[2];
	unsigned int asks_len;
	unsigned char bytes[HELLO_LEN + REQUEST_LEN];
	size_t len;
	unsigned char *request;
};

/* RFC 1928 sections 3 and 4: no authentication; CONNECT, the target's address and port */
static void asks_socks(struct first *first, const struct addr *target)
{
	const bool is_ip6 = target->sa.sa_family == AF_INET6;
	struct ask *hello = &first->asks[0], *request = &first->asks[1];
	unsigned char *p = request->bytes;

	memcpy(hello->bytes, "\x05\x01", 3);
	hello->len = 3;
	hello->answer_len = 2;
	memcpy(p, is_ip6 ? "\x05\x01\x00\x04" : "\x05\x01\x00\x01", 4);
	if (is_ip6)
		memcpy(p + 4, &target->in6.sin6_addr, 16);
	else
		memcpy(p + 4, &target->in.sin_addr, 4);
	request->len = is_ip6 ? 22 : 10;
	memcpy(p + request->len - 2, is_ip6 ? &target->in6.sin6_port : &target->in.sin_port, 2);
	request->answer_len = 10; /* the proxy's address, of IPv4 */
	first->asks_len = 2;
}

/* RFC 9110 section 9.3.6 */
static void asks_http(struct first *first, const struct addr *target)
{
	struct ask *ask = &first->asks[0];
	char text[ADDR_TEXT_MAX];

	addr_format(target, text);
	ask->len = (size_t)snprintf((char *)ask->bytes, sizeof(ask->bytes),
				    "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", text, text);
	first->asks_len = 1;
}

static void first_init(struct first *first, char what, const struct manner *how)
{
	memset(first, 0, sizeof(*first));
	if (how->socks.sa.sa_family)
		asks_socks(first, &how->socks);
	if (how->http.sa.sa_family)
		asks_http(first, &how->http);
	first->request = first->bytes + (how->tls ? HELLO_LEN : 0);
	first->len = (size_t)(first->request - first->bytes) + REQUEST_LEN;
	if (how->tls)
		hello_build(first->bytes);
	first->request[0] = (unsigned char)what;
}

/**
 * ask_hear() - some more of a proxy's answer
 * @heard: bytes of it so far; @tail: the last four
 *
 * Return: 1: that was all, and it is a yes; 0: there is more to come; -1: errno, EAGAIN as well
 */
static int ask_hear(int fd, const struct ask *ask, size_t *heard, uint32_t *tail, int flags)
{
	unsigned char bytes[512];
	ssize_t n =
		hear(fd, bytes, ask->answer_len ? ask->answer_len - *heard : sizeof(bytes), flags);

	for (ssize_t i = 0; i < n; i++, ++*heard) {
		*tail = *tail << 8 | bytes[i];
		/* SOCKS: METHOD and REP are 0. HTTP/1.x 200 */
		if ((ask->answer_len && *heard == 1 && bytes[i] != 0) ||
		    (!ask->answer_len && *heard == 9 && bytes[i] != '2')) {
			errno = ECONNREFUSED;
			return -1;
		}
	}
	if (n < 0)
		return -1;
	return ask->answer_len ? *heard == ask->answer_len : *tail == 0x0d0a0d0a;
}

/* dial() - a blocking connection that has said its first bytes; ends the program on failure */
static int dial(const struct addr *to, const struct first *first)
{
	const struct timeval patience = { .tv_sec = 3 };
	const int one = 1;
	_close_ int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, &to->sa, addr_len(to)) < 0)
		die("connect");
	for (unsigned int i = 0; i < first->asks_len; i++) {
		const struct ask *ask = &first->asks[i];
		size_t heard = 0;
		uint32_t tail = 0;
		int rc = 0;

		if (send(fd, ask->bytes, ask->len, MSG_NOSIGNAL) != (ssize_t)ask->len)
			die("send");
		while (rc == 0)
			rc = ask_hear(fd, ask, &heard, &tail, 0);
		if (rc < 0)
			die("proxy");
	}
	if (send(fd, first->bytes, first->len, MSG_NOSIGNAL) != (ssize_t)first->len)
		die("send");
	return TAKE_FD(fd);
}

static int epoll_new(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		die("epoll_create1");
	return epoll;
}

static void epoll_set(int epoll, int operation, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = { .events = events, .data.u32 = tag };

	if (epoll_ctl(epoll, operation, fd, &event) < 0)
		die("epoll_ctl");
}

/* ---- serve ---- */

/**
 * struct peer - one connection of the server; its index is its descriptor
 * @what: 0 until the request is complete, then its first byte
 * @begun: the first byte was seen
 * @skip: bytes of a ClientHello still to come
 * @got: bytes of the request
 */
struct peer {
	unsigned char what;
	bool begun;
	uint16_t skip;
	uint16_t got;
	unsigned char request[REQUEST_LEN];
};

static struct peer peers[FDS_MAX];

/* peer_feed() - bytes of the beginning. Return: how many belong to it */
static size_t peer_feed(struct peer *p, const unsigned char *bytes, size_t len)
{
	size_t used = 0, n;

	if (!p->begun && len > 0) {
		p->begun = true;
		p->skip = bytes[0] == TLS_HANDSHAKE ? HELLO_LEN : 0;
	}
	n = len < p->skip ? len : p->skip;
	p->skip -= (uint16_t)n;
	used += n;
	n = len - used < (size_t)(REQUEST_LEN - p->got) ? len - used
							: (size_t)(REQUEST_LEN - p->got);
	memcpy(p->request + p->got, bytes + used, n);
	p->got += (uint16_t)n;
	if (p->got == REQUEST_LEN)
		p->what = p->request[0];
	return used + n;
}

/* say() - all or nothing: what is echoed is small */
static bool say(int fd, const void *bytes, size_t len)
{
	return len == 0 || send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* peer_read() - Return: false when the connection is over */
static bool peer_read(int epoll, int fd)
{
	struct peer *p = &peers[fd];
	bool beginning = !p->what;
	size_t used = 0;
	ssize_t n = recv(fd, chunk, 4096, 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	if (beginning)
		used = peer_feed(p, chunk, (size_t)n);
	if (!p->what || p->what == 'b') {
		if (beginning && p->what)
			epoll_set(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, (uint32_t)fd);
		return true;
	}
	if (beginning && !say(fd, p->request, REQUEST_LEN))
		return false;
	return say(fd, chunk + used, (size_t)n - used);
}

static bool peer_write(int fd)
{
	return send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

static void peers_accept(int epoll, int listener)
{
	const int one = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd >= FDS_MAX) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		memset(&peers[fd], 0, sizeof(peers[fd]));
		epoll_set(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint32_t)fd);
	}
}

static int listen_on(const struct addr *at)
{
	const int one = 1;
	_close_ int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &at->sa, addr_len(at)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	return TAKE_FD(fd);
}

/* serve() - until stdin ends or @seconds passed; says "ready" when it listens */
static void serve(const struct addr *at, double seconds)
{
	struct epoll_event events[256];
	_close_ int listener = listen_on(at);
	_close_ int epoll = epoll_new();
	uint64_t ends = now_ns() + (uint64_t)(seconds * 1e9);

	memset(peers, 1, sizeof(peers)); /* now, not while memory is being measured */
	epoll_set(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint32_t)listener);
	epoll_set(epoll, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, STDIN_FILENO);
	printf("ready\n");
	fflush(stdout);

	while (now_ns() < ends) {
		int n = epoll_wait(epoll, events, 256, 1000);

		for (int i = 0; i < n; i++) {
			int fd = (int)events[i].data.u32;

			if (fd == STDIN_FILENO)
				return;
			if (fd == listener)
				peers_accept(epoll, listener);
			else if ((events[i].events & ~(uint32_t)EPOLLOUT &&
				  !peer_read(epoll, fd)) ||
				 (events[i].events & EPOLLOUT && !peer_write(fd)))
				close(fd);
		}
	}
}

/* ---- bulk ---- */

/* bulk() - download over @n connections at once */
static void bulk(const struct addr *to, double seconds, unsigned int n, const struct manner *how)
{
	struct window window = window_after(0.3, seconds);
	struct epoll_event events[SLOTS_MAX];
	_close_ int epoll = epoll_new();
	struct first first;
	uint64_t now, bytes = 0;

	first_init(&first, 'b', how);
	for (unsigned int i = 0; i < n; i++) {
		int fd = dial(to, &first);

		epoll_set(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint32_t)fd);
	}
	while ((now = now_ns()) < window.ends) {
		bool counts = window_holds(&window, now);
		int ready = epoll_wait(epoll, events, SLOTS_MAX, 100);

		for (int i = 0; i < ready; i++) {
			ssize_t got =
				hear((int)events[i].data.u32, chunk, sizeof(chunk), MSG_DONTWAIT);

			if (got < 0 && errno != EAGAIN)
				die("recv");
			bytes += counts && got > 0 ? (uint64_t)got : 0;
		}
	}
	printf("{\"bytes\": %llu, ", (unsigned long long)bytes);
	window_print(&window);
	printf("}\n");
}

/* ---- ping ---- */

static int compare_u32(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* ping() - one byte there and back, again and again on one connection */
static void ping(const struct addr *to, double seconds, const struct manner *how)
{
	struct window window = window_after(0.1, seconds);
	_free_ uint32_t *ns = calloc(SAMPLES_MAX, sizeof(*ns));
	struct first first;
	unsigned char echo[REQUEST_LEN], byte = 0;
	uint64_t sent, got;
	size_t n = 0;
	_close_ int fd = -1;

	if (!ns)
		die("memory");
	first_init(&first, 'e', how);
	fd = dial(to, &first);
	if (hear(fd, echo, sizeof(echo), MSG_WAITALL) != sizeof(echo))
		die("recv");
	while ((sent = now_ns()) < window.ends && n < SAMPLES_MAX) {
		byte++;
		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || hear(fd, echo, 1, 0) != 1)
			die("round trip");
		if (echo[0] != byte) {
			errno = EBADMSG;
			die("round trip");
		}
		got = now_ns();
		if (window_holds(&window, sent))
			ns[n++] = got - sent > UINT32_MAX ? UINT32_MAX : (uint32_t)(got - sent);
	}
	qsort(ns, n, sizeof(*ns), compare_u32);
	printf("{\"round_trips\": %zu, \"p50_us\": %.3f, \"p99_us\": %.3f, ", n,
	       n ? ns[n / 2] / 1e3 : 0, n ? ns[n * 99 / 100] / 1e3 : 0);
	window_print(&window);
	printf("}\n");
}

/* ---- connect and hold ---- */

/**
 * struct slot - one connection that is being made
 * @fd: -1: none
 * @began: ns
 * @said: how much of what is to be said: each ask, then the first bytes
 * @got: bytes of the answer, or the echo
 * @tail: as of ask_hear()
 * @request: what must come back
 */
struct slot {
	int fd;
	uint64_t began;
	unsigned int said;
	size_t got;
	uint32_t tail;
	unsigned char request[REQUEST_LEN];
};

/**
 * struct burst - many connections, each with one request and one answer
 * @left: how many may still be begun
 * @done: complete ones, in the window
 * @errors: refused, reset, closed early, stalled, or answered with other bytes
 * @trouble: the first of them, in words
 * @keep: complete ones stay open
 */
struct burst {
	const struct addr *to;
	struct first first;
	struct window window;
	struct slot slots[SLOTS_MAX];
	unsigned int slots_len;
	int epoll;
	uint64_t left, done, errors, begun;
	char trouble[128];
	bool keep;
};

/* What went wrong is in errno; 0: other bytes came back */
static void slot_trouble(struct burst *b, const struct slot *s, const char *what)
{
	if (b->errors++ == 0)
		snprintf(b->trouble, sizeof(b->trouble), "%s: %s, after %.1f ms", what,
			 errno ? strerror(errno) : "not what was said",
			 (double)(now_ns() - s->began) / 1e6);
}

static void slot_begin(struct burst *b, struct slot *s)
{
	s->fd = -1;
	if (b->left == 0 || b->errors >= ERRORS_MAX)
		return;
	b->left--;
	b->begun++;
	s->said = 0;
	s->got = 0;
	s->began = now_ns();
	s->fd = socket(b->to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		die("socket");
	memcpy(s->request, b->first.request, REQUEST_LEN);
	memcpy(s->request + 8, &b->begun, sizeof(b->begun));
	if (connect(s->fd, &b->to->sa, addr_len(b->to)) < 0 && errno != EINPROGRESS)
		slot_trouble(b, s, "connect"); /* the slot is found by burst_sweep() */
	epoll_set(b->epoll, EPOLL_CTL_ADD, s->fd, EPOLLIN | EPOLLOUT | EPOLLET,
		  (uint32_t)(s - b->slots));
}

static void slot_done(struct burst *b, struct slot *s)
{
	if (window_holds(&b->window, now_ns()))
		b->done++;
	if (b->keep)
		epoll_set(b->epoll, EPOLL_CTL_DEL, s->fd, 0, 0);
	else
		close(s->fd);
	slot_begin(b, s);
}

static void slot_fail(struct burst *b, struct slot *s, const char *what)
{
	slot_trouble(b, s, what);
	close(s->fd);
	slot_begin(b, s);
}

static int slot_errno(const struct slot *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return err ? err : ECONNRESET;
}

/* slot_say() - what comes next, all at once: a new socket has room */
static bool slot_say(const struct burst *b, struct slot *s)
{
	const struct ask *ask = &b->first.asks[s->said];
	const bool asks = s->said < b->first.asks_len;
	struct iovec iov[] = {
		{ asks ? (void *)ask->bytes : (void *)b->first.bytes,
		  asks ? ask->len : b->first.len - REQUEST_LEN },
		{ s->request, asks ? 0 : REQUEST_LEN },
	};
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

	s->said++;
	s->got = 0;
	return sendmsg(s->fd, &message, MSG_NOSIGNAL) == (ssize_t)(iov[0].iov_len + iov[1].iov_len);
}

/* slot_ask() - Return: true: the first bytes have been said, and what comes is the echo */
static bool slot_ask(struct burst *b, struct slot *s)
{
	while (s->said <= b->first.asks_len) {
		int rc = ask_hear(s->fd, &b->first.asks[s->said - 1], &s->got, &s->tail, 0);

		if (rc < 0 && errno == EAGAIN)
			return false;
		if (rc < 0 || (rc == 1 && !slot_say(b, s))) {
			slot_fail(b, s, "proxy");
			return false;
		}
	}
	return true;
}

static void slot_event(struct burst *b, struct slot *s, uint32_t events)
{
	unsigned char echo[REQUEST_LEN];
	ssize_t n;

	if (!s->said) {
		if (events & (EPOLLERR | EPOLLHUP)) {
			errno = slot_errno(s);
			slot_fail(b, s, "connect");
			return;
		}
		if (!slot_say(b, s))
			slot_fail(b, s, "send");
		return;
	}
	if (!slot_ask(b, s))
		return;
	while (s->got < REQUEST_LEN) { /* edges are told once: to the end */
		n = hear(s->fd, echo, REQUEST_LEN - s->got, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 || memcmp(echo, s->request + s->got, (size_t)n) != 0) {
			errno = n < 0 ? errno : 0;
			slot_fail(b, s, "answer");
			return;
		}
		s->got += (size_t)n;
	}
	slot_done(b, s);
}

/* burst_sweep() - end what makes no progress. Return: slots in use */
static unsigned int burst_sweep(struct burst *b)
{
	const uint64_t now = now_ns();
	unsigned int used = 0;

	for (unsigned int i = 0; i < b->slots_len; i++) {
		if (b->slots[i].fd >= 0 && now - b->slots[i].began > STALL_NS) {
			errno = ETIMEDOUT;
			slot_fail(b, &b->slots[i], b->slots[i].said ? "answer" : "connect");
		}
		used += b->slots[i].fd >= 0;
	}
	return used;
}

/* burst_run() - until the window ends, or nothing is left to do; what was begun is finished */
static void burst_run(struct burst *b)
{
	struct epoll_event events[256];
	uint64_t now, swept = now_ns();

	for (unsigned int i = 0; i < b->slots_len; i++)
		slot_begin(b, &b->slots[i]);
	while ((now = now_ns()) < b->window.ends + 2 * STALL_NS) {
		int n = epoll_wait(b->epoll, events, 256, 100);

		if (!window_holds(&b->window, now) && now >= b->window.ends)
			b->left = 0;
		for (int i = 0; i < n; i++)
			slot_event(b, &b->slots[events[i].data.u32], events[i].events);
		if (now - swept < 100000000 && b->left)
			continue;
		swept = now;
		if (burst_sweep(b) == 0)
			break;
	}
}

static struct burst *burst_new(const struct addr *to, unsigned int slots, const struct manner *how)
{
	struct burst *b = calloc(1, sizeof(*b));

	if (!b)
		die("memory");
	b->to = to;
	b->slots_len = slots;
	b->epoll = epoll_new();
	first_init(&b->first, 'e', how);
	return b;
}

/* connections() - @n at a time, as many as there is time for */
static void connections(const struct addr *to, double seconds, unsigned int n,
			const struct manner *how)
{
	_free_ struct burst *b = burst_new(to, n, how);

	b->left = UINT64_MAX;
	b->window = window_after(0.2, seconds);
	burst_run(b);
	printf("{\"connections\": %llu, \"errors\": %llu, \"trouble\": \"%s\", ",
	       (unsigned long long)b->done, (unsigned long long)b->errors, b->trouble);
	window_print(&b->window);
	printf("}\n");
}

/* hold() - make @n connections and keep them until stdin ends or @seconds passed */
static void hold(const struct addr *to, double seconds, unsigned int n, const struct manner *how)
{
	_free_ struct burst *b = burst_new(to, 64, how);
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	b->left = n;
	b->keep = true;
	b->window = window_after(0, seconds);
	burst_run(b);
	printf("{\"connections\": %llu, \"errors\": %llu}\n", (unsigned long long)b->done,
	       (unsigned long long)b->errors);
	fflush(stdout);
	poll(&input, 1, (int)(seconds * 1000));
}

/* ---- the command line ---- */

static _Noreturn void usage(void)
{
	fputs("usage: load serve|bulk|ping|connect|hold [-t] [-s TARGET | -c TARGET] [-n CONNECTIONS] "
	      "ADDR:PORT SECONDS\n",
	      stderr);
	exit(2);
}

/* fds_raise() - as many descriptors as there may be, up to FDS_MAX */
static void fds_raise(void)
{
	struct rlimit limit = { .rlim_cur = FDS_MAX, .rlim_max = FDS_MAX };

	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	unsigned int n = 1;
	struct manner how = { 0 };
	double seconds;
	struct addr addr;
	int option;

	while ((option = getopt(argc, argv, "tn:s:c:")) != -1) {
		if (option == 't')
			how.tls = true;
		else if (option == 's' && addr_parse(optarg, &how.socks) == 0)
			continue;
		else if (option == 'c' && addr_parse(optarg, &how.http) == 0)
			continue;
		else if (option == 'n')
			n = (unsigned int)strtoul(optarg, NULL, 10);
		else
			usage();
	}
	if (argc - optind != 3 || addr_parse(argv[optind + 1], &addr) < 0)
		usage();
	seconds = strtod(argv[optind + 2], NULL);
	if (!(seconds > 0 && seconds <= SECONDS_MAX) || n < 1 || n > FDS_MAX)
		usage();
	fds_raise();
	if (!strcmp(argv[optind], "serve"))
		serve(&addr, seconds);
	else if (!strcmp(argv[optind], "bulk") && n <= SLOTS_MAX)
		bulk(&addr, seconds, n, &how);
	else if (!strcmp(argv[optind], "ping"))
		ping(&addr, seconds, &how);
	else if (!strcmp(argv[optind], "connect") && n <= SLOTS_MAX)
		connections(&addr, seconds, n, &how);
	else if (!strcmp(argv[optind], "hold"))
		hold(&addr, seconds, n, &how);
	else
		usage();
	return 0;
}
