/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * connect.c - ladon connect: standard input and output, connected to a target through a gateway
 *
 * As a ProxyCommand of ssh(1), or wherever nc(1) would stand. It sends a ladon prefix, and reads
 * the gateway's answer before it takes what comes for the target's; but it does not wait for the
 * answer to send.
 *
 * Two threads, one for each direction, that do nothing but read and write: neither can keep the
 * other waiting, whoever reads slowly, and the end of one direction is passed on as such.
 */
#include <errno.h>
#include <ladon/ladon.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/own.h"
#include "cli.h"
#include "endpoint.h"

#define BUFFER_BYTES (64 * 1024)

/* ---- to the gateway ---- */

static void own_freeaddrinfo(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

/* Return: connected, or -1 with errno */
static int address_connect(const struct addrinfo *at)
{
	_close_ int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || connect(fd, at->ai_addr, at->ai_addrlen) < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return TAKE_FD(fd);
}

/* One of its addresses after the other. Return: connected, or -1, and it was said why */
static int gateway_connect(const struct cli *cli, const char *text, const struct endpoint *gateway)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	__attribute__((cleanup(own_freeaddrinfo))) struct addrinfo *list = NULL;
	char port[8];
	int rc, fd = -1;

	snprintf(port, sizeof(port), "%u", gateway->port);
	rc = getaddrinfo(gateway->host, port, &hints, &list);
	if (rc != 0) {
		fprintf(cli->talk, "ladon: %s: %s\n", text,
			rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return -1;
	}
	for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
		fd = address_connect(at);
	if (fd < 0)
		fprintf(cli->talk, "ladon: %s: %s\n", text, strerror(errno));
	return fd;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* ---- what is said first ---- */

/* Return: the prefix's length; or -1, and it was said why */
static int prefix_make(const struct cli *cli, const char *target, const char *token_path,
		       char out[LADON_PREFIX_MAX])
{
	_free_ char *token = NULL;
	struct endpoint to;
	int rc;

	if (token_path) {
		token = token_read(cli, token_path);
		if (!token)
			return -1;
	}
	if (!endpoint_parse(target, &to) ||
	    ladon_prefix(out, LADON_PREFIX_MAX, to.host, to.port, NULL, 0) < 0) {
		fprintf(cli->talk, "ladon: %s: it takes HOST:PORT\n", target);
		return -1;
	}
	rc = ladon_prefix(out, LADON_PREFIX_MAX, to.host, to.port, token, LADON_PREFIX_ANSWER);
	if (token)
		explicit_bzero(token, strlen(token));
	if (rc < 0)
		fprintf(cli->talk, "ladon: %s: there is no token in it\n", token_path);
	return rc;
}

/* ---- there ---- */

static void *up_run(void *arg)
{
	static char buffer[BUFFER_BYTES];
	int fd = *(int *)arg;
	ssize_t n;

	do {
		n = read(STDIN_FILENO, buffer, sizeof(buffer));
	} while ((n < 0 && errno == EINTR) || (n > 0 && write_all(fd, buffer, (size_t)n)));
	shutdown(fd, SHUT_WR);
	return NULL;
}

/* ---- and back ---- */

static const char *answer_text(int error)
{
	switch (error) {
	case EACCES:
		return "the gateway lets nobody, or not you, go there";
	case EHOSTUNREACH:
		return "it does not answer, or there is no such name";
	case EINVAL:
		return "the gateway finds the request malformed";
	case EPROTONOSUPPORT:
		return "the gateway is too old, or too new, for this ladon";
	case ENOKEY:
		return "the gateway wants a token; token-file names a file with one";
	case EKEYREJECTED:
		return "the gateway does not know the token";
	case EKEYEXPIRED:
		return "the token has expired";
	case EPERM:
		return "the token is for another target";
	case EIO:
		return "the gateway could not connect, and does not say why";
	case EBADMSG:
		return "what answers is no gateway that takes ladon prefixes";
	default:
		return strerror(error);
	}
}

/* @len: of what was read by then. Return: how much of that was the answer, or -1, and it was said why */
static int answer_read(const struct cli *cli, const char *target, int fd, char *buffer, size_t *len)
{
	int rc;

	while ((rc = ladon_prefix_answer(buffer, *len)) == -EAGAIN) {
		ssize_t n = recv(fd, buffer + *len, BUFFER_BYTES - *len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			fprintf(cli->talk, "ladon: %s: %s\n", target,
				n < 0 ? strerror(errno) : "the gateway closed without an answer");
			return -1;
		}
		*len += (size_t)n;
	}
	if (rc < 0)
		fprintf(cli->talk, "ladon: %s: %s\n", target, answer_text(-rc));
	return rc < 0 ? -1 : rc;
}

static int failed(const struct cli *cli, const char *what)
{
	fprintf(cli->talk, "ladon: %s: %s\n", what, strerror(errno));
	return CLI_FAILED;
}

/* Standard output may be a socket, of which standard input is another descriptor. */
static void output_end(void)
{
	shutdown(STDOUT_FILENO, SHUT_WR);
	close(STDOUT_FILENO);
}

static int down_run(const struct cli *cli, const char *target, int fd)
{
	static char buffer[BUFFER_BYTES];
	size_t len = 0;
	int answer = answer_read(cli, target, fd, buffer, &len);
	ssize_t n;

	if (answer < 0)
		return CLI_FAILED;
	if (!write_all(STDOUT_FILENO, buffer + answer, len - (size_t)answer))
		return failed(cli, "standard output");
	for (;;) {
		n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!write_all(STDOUT_FILENO, buffer, (size_t)n))
			return failed(cli, "standard output");
	}
	if (n < 0)
		return failed(cli, target);
	output_end();
	return CLI_DONE;
}

/* ---- both ---- */

/* When nothing comes any more, the target may still listen. */
static int pump(const struct cli *cli, const char *target, int fd)
{
	pthread_t up;
	int rc = pthread_create(&up, NULL, up_run, &fd);

	if (rc != 0) {
		errno = rc;
		return failed(cli, target);
	}
	rc = down_run(cli, target, fd);
	if (rc == CLI_DONE)
		pthread_join(up, NULL);
	return rc;
}

int connect_run(struct cli *cli)
{
	const char *gateway = json_string_value(json_object_get(cli->keys, "gateway"));
	const char *target = json_string_value(json_object_get(cli->keys, "target"));
	const char *token_path = json_string_value(json_object_get(cli->keys, "token-file"));
	char prefix[LADON_PREFIX_MAX];
	struct endpoint at;
	int len, fd;

	if (!endpoint_parse(gateway, &at) || !at.port) {
		fprintf(cli->talk, "ladon: %s: it takes HOST:PORT\n", gateway);
		return CLI_MISUSED;
	}
	signal(SIGPIPE, SIG_IGN); /* an end that does not listen is for its thread to notice */
	len = prefix_make(cli, target, token_path, prefix);
	if (len < 0)
		return CLI_MISUSED;
	fd = gateway_connect(cli, gateway, &at);
	if (fd < 0)
		return CLI_FAILED;
	if (!write_all(fd, prefix, (size_t)len))
		return failed(cli, gateway);
	return pump(cli, target, fd);
}
