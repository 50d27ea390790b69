// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * example-proxy.c - a TCP proxy that leaves: everything libladon offers, used
 *
 *	example-proxy LISTEN-ADDRESS PORT BACKEND-ADDRESS PORT [PIN-DIR]
 *
 * One connection at a time is accepted, connected and handed off; those that
 * cannot be handed off get a process of their own that copies bytes. A real
 * proxy would look at the first bytes before it chooses the backend, and would
 * not block.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ladon/ladon.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(void *arg, enum ladon_level level, const char *text)
{
	(void)arg;
	if (level <= LADON_LEVEL_INFO)
		fprintf(stderr, "example-proxy: %s\n", text);
}

static void ended(void *arg, const struct ladon_flow *flow, enum ladon_end why)
{
	(void)arg;
	(void)why;
	printf("flow %u ended: %llu packets in, %llu out\n", flow->id,
	       (unsigned long long)flow->packets_in, (unsigned long long)flow->packets_out);
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "example-proxy: %s: not an IPv4 address\n", host);
		exit(2);
	}
	return a;
}

static int listen_on(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const void *)at, sizeof(*at)) < 0 || listen(fd, 128) < 0) {
		perror("example-proxy: listen");
		exit(1);
	}
	return fd;
}

/* Copies what is there. Return: 0 when that direction has ended */
static int copy(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf)), done = 0, w;

	for (; done < n; done += w)
		if ((w = write(to, buf + done, (size_t)(n - done))) <= 0)
			return 0;
	if (n <= 0)
		shutdown(to, SHUT_WR);
	return n > 0;
}

static void relay(int front, int back)
{
	struct pollfd p[2] = { { front, POLLIN, 0 }, { back, POLLIN, 0 } };

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0)
			return;
		if (p[0].revents && !copy(front, back))
			p[0].fd = -1;
		if (p[1].revents && !copy(back, front))
			p[1].fd = -1;
	}
}

static void relay_in_a_child(struct ladon *ladon, int front, int back)
{
	/* from now on these are ordinary sockets */
	ladon_acknowledge(ladon, front);
	ladon_acknowledge(ladon, back);
	if (fork() == 0) {
		relay(front, back);
		_exit(0);
	}
}

static void serve(struct ladon *ladon, int front, const struct sockaddr_in *to)
{
	struct ladon_handoff how = LADON_HANDOFF_INIT;
	int back = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (ladon_connect(ladon, front, back, (const void *)to, &how.source) < 0) {
		perror("example-proxy: connect");
		close(front);
		close(back);
		return;
	}
	if (ladon_handoff(ladon, front, back, &how) == 0) {
		printf("flow %u: handed off\n", how.id);
		return; /* both descriptors are gone */
	}
	printf("relayed: %s\n", ladon_reason_text(how.reason));
	relay_in_a_child(ladon, front, back);
	close(front);
	close(back);
}

int main(int argc, char **argv)
{
	struct ladon_options options = LADON_OPTIONS_INIT;
	struct sockaddr_in at, to;
	struct ladon *ladon;
	int fd, rc;

	if (argc < 5) {
		fprintf(stderr, "usage: %s LISTEN PORT BACKEND PORT [PIN-DIR]\n", argv[0]);
		return 2;
	}
	at = address(argv[1], argv[2]);
	to = address(argv[3], argv[4]);
	signal(SIGCHLD, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	options.message = say;
	options.ended = ended;
	options.pin_dir = argc > 5 ? argv[5] : NULL;
	rc = ladon_open(&ladon, &options);
	if (rc < 0) {
		fprintf(stderr, "example-proxy: %s\n", strerror(-rc));
		return 1;
	}
	fd = listen_on(&at);
	ladon_listen(ladon, fd);
	for (;;) {
		struct pollfd p[2] = { { fd, POLLIN, 0 }, { ladon_fd(ladon), POLLIN, 0 } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			ladon_dispatch(ladon);
		if (p[0].revents)
			serve(ladon, accept(fd, NULL, NULL), &to);
	}
	ladon_close(ladon);
	return 1;
}
