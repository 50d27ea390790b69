// SPDX-License-Identifier: GPL-2.0-only
#include "refuse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"

#define LINGER_MS    1000
#define LINGER_BYTES (256 * 1024)

/* clang-format off */
static const struct answer {
	uint8_t alert;	  /* 0: the peeker said which */
	const char *http; /* NULL: nothing to say */
} answers[LADON_REASON_COUNT] = {
	/*                                TLS, RFC 8446 section 6      HTTP, RFC 9110 section 15 */
	[LADON_REASON_PEEK_LENGTH]    = { 0,                           "431 Request Header Fields Too Large" },
	[LADON_REASON_PEEK_MALFORMED] = { 0,                           "400 Bad Request" },
	[LADON_REASON_NO_ROUTE]       = { TLS_ALERT_UNRECOGNIZED_NAME, "421 Misdirected Request" },
	[LADON_REASON_ROUTE_DENIED]   = { TLS_ALERT_ACCESS_DENIED,     "403 Forbidden" },
	[LADON_REASON_NO_BACKEND]     = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable" },
	[LADON_REASON_NO_LOCAL_PORT]  = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable" },
};
/* clang-format on */

/* What to send. Return: its length, 0: nothing */
static size_t answer_format(const struct conn *c, char *out, size_t size)
{
	const struct answer *answer = &answers[c->closed];
	uint8_t alert = c->alert ? c->alert : answer->alert;

	if (c->protocol == PEEK_PROTOCOL_TLS && alert)
		return peek_alert(alert, (uint8_t *)out);
	if (c->protocol != PEEK_PROTOCOL_HTTP1 || !answer->http)
		return 0;
	return (size_t)snprintf(out, size,
				"HTTP/1.1 %s\r\n"
				"Content-Type: text/plain\r\n"
				"Content-Length: %zu\r\n"
				"Connection: close\r\n"
				"\r\n"
				"%s\n",
				answer->http, strlen(answer->http) + 1, answer->http);
}

/* The kernel must not keep its acknowledgements back any longer: nobody will take the
 * bytes over, and the client would repeat them until the socket is gone, to be answered by a RST.
 */
static int refuse_say(struct conn *c)
{
	char text[256];
	size_t len = answer_format(c, text, sizeof(text));

	c->refusal.said = true;
	conn_acknowledge(c, LADON_REASON_ACKED);
	if (len > 0)
		send(c->front.fd, text, len, MSG_NOSIGNAL);
	shutdown(c->front.fd, SHUT_WR);
	if (loop_watch(&c->worker->loop, &c->front, CONN_READING) < 0)
		return 0;
	c->wake_ms = 0;
	conn_limit(c, LINGER_MS);
	return -EAGAIN;
}

int conn_refuse(struct conn *c)
{
	if (!c->refusal.said && refuse_say(c) == 0)
		return 0;
	while (!c->late && c->refusal.drained < LINGER_BYTES) {
		ssize_t n = recv(c->front.fd, c->worker->scratch, sizeof(c->worker->scratch), 0);

		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n <= 0)
			return 0;
		c->refusal.drained += (uint32_t)n;
	}
	return 0;
}
