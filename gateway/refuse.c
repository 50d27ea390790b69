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
	uint8_t alert;	     /* 0: the peeker said which */
	const char *http;    /* NULL: nothing to say */
	const char *connect; /* NULL: as to HTTP */
	uint8_t reply;	     /* 0: SOCKS5_FAILURE, which is PREFIX_FAILURE */
} answers[LADON_REASON_COUNT] = {
	/*                                 TLS, RFC 8446 section 6      HTTP, RFC 9110 section 15,             its CONNECT, and SOCKS 5 and ladon prefixes */
	[LADON_REASON_PEEK_LENGTH]     = { 0,                           "431 Request Header Fields Too Large", NULL, 0 },
	[LADON_REASON_PEEK_MALFORMED]  = { 0,                           "400 Bad Request",                     NULL, 0 },
	[LADON_REASON_NO_ROUTE]        = { TLS_ALERT_UNRECOGNIZED_NAME, "421 Misdirected Request",             "403 Forbidden", SOCKS5_NOT_ALLOWED },
	[LADON_REASON_ROUTE_DENIED]    = { TLS_ALERT_ACCESS_DENIED,     "403 Forbidden",                       NULL, SOCKS5_NOT_ALLOWED },
	[LADON_REASON_NO_BACKEND]      = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable",             "502 Bad Gateway", 0 },
	[LADON_REASON_NO_LOCAL_PORT]   = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable",             NULL, 0 },
	[LADON_REASON_BACKENDS_DOWN]   = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable",             "502 Bad Gateway", 0 },
	[LADON_REASON_BACKENDS_FULL]   = { TLS_ALERT_INTERNAL_ERROR,    "503 Service Unavailable",             "502 Bad Gateway", 0 },
	[LADON_REASON_NO_USER]         = { 0,                           NULL,                                  "407 Proxy Authentication Required", 0 },
	[LADON_REASON_USERS_BUSY]      = { 0,                           NULL,                                  "503 Service Unavailable", 0 },
	[LADON_REASON_NAMES_BUSY]      = { 0,                           NULL,                                  "503 Service Unavailable", 0 },
	[LADON_REASON_NO_TARGET]       = { 0,                           NULL,                                  "502 Bad Gateway", SOCKS5_HOST_UNREACHABLE },
	[LADON_REASON_TARGET_REFUSED]  = { 0,                           NULL,                                  "403 Forbidden", SOCKS5_NOT_ALLOWED },
	[LADON_REASON_PREFIX_MALFORMED]   = { .reply = PREFIX_MALFORMED },
	[LADON_REASON_PREFIX_UNSUPPORTED] = { .reply = PREFIX_UNSUPPORTED },
	[LADON_REASON_TOKEN_MISSING]      = { .reply = PREFIX_TOKEN_MISSING },
	[LADON_REASON_TOKEN_UNKNOWN_KEY]  = { .reply = PREFIX_TOKEN_REFUSED },
	[LADON_REASON_TOKEN_FORGED]       = { .reply = PREFIX_TOKEN_REFUSED },
	[LADON_REASON_TOKEN_EXPIRED]      = { .reply = PREFIX_TOKEN_EXPIRED },
	[LADON_REASON_TOKEN_ELSEWHERE]    = { .reply = PREFIX_TOKEN_ELSEWHERE },
};
/* clang-format on */

/* Why the target could not be connected to: RFC 1928 section 6; of prefixes, too, PREFIX.md section 5 */
static uint8_t reply_why(const struct conn *c)
{
	uint8_t why = answers[c->closed].reply;

	if (c->closed == LADON_REASON_NO_BACKEND) {
		switch (-c->failed) {
		case ECONNREFUSED:
			return SOCKS5_REFUSED;
		case ENETUNREACH:
			return SOCKS5_NETWORK_UNREACHABLE;
		case EHOSTUNREACH:
		case ETIMEDOUT:
			return SOCKS5_HOST_UNREACHABLE;
		}
	}
	return why ? why : SOCKS5_FAILURE;
}

static const char *http_status(const struct conn *c)
{
	const struct answer *answer = &answers[c->closed];

	if (c->protocol != PEEK_PROTOCOL_CONNECT)
		return answer->http;
	if (c->closed == LADON_REASON_NO_BACKEND && c->failed == -ETIMEDOUT)
		return "504 Gateway Timeout";
	return answer->connect ? answer->connect : answer->http;
}

static size_t http_format(const struct conn *c, char *out, size_t size)
{
	const char *status = http_status(c);

	if (!status)
		return 0;
	return (size_t)snprintf(out, size,
				"HTTP/1.1 %s\r\n"
				"%s"
				"Content-Type: text/plain\r\n"
				"Content-Length: %zu\r\n"
				"Connection: close\r\n"
				"\r\n"
				"%s\n",
				status,
				c->closed == LADON_REASON_NO_USER
					? "Proxy-Authenticate: Basic realm=\"ladon\"\r\n"
					: "",
				strlen(status) + 1, status);
}

static size_t tls_format(const struct conn *c, uint8_t *out)
{
	uint8_t alert = c->alert ? c->alert : answers[c->closed].alert;

	return alert ? peek_alert(alert, out) : 0;
}

/* What to send. Return: its length, 0: nothing */
static size_t answer_format(const struct conn *c, char *out, size_t size)
{
	if (c->answered)
		return 0;
	switch (c->protocol) {
	case PEEK_PROTOCOL_TLS:
		return tls_format(c, (uint8_t *)out);
	case PEEK_PROTOCOL_HTTP1:
	case PEEK_PROTOCOL_CONNECT:
		return http_format(c, out, size);
	case PEEK_PROTOCOL_SOCKS4:
		return peek_socks4_reply(false, (uint8_t *)out);
	case PEEK_PROTOCOL_SOCKS5:
		return peek_socks5_reply(reply_why(c), (uint8_t *)out);
	case PEEK_PROTOCOL_PREFIX:
		return peek_prefix_answer(reply_why(c), (uint8_t *)out);
	default:
		return 0;
	}
}

/* The kernel must not keep its acknowledgements back any longer: nobody will take the
 * bytes over, and the client would repeat them until the socket is gone, to be answered by a RST.
 */
static int refuse_say(struct conn *c)
{
	char text[320];
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
