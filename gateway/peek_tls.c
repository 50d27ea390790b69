// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek_tls.c - the server name and ALPN list of a TLS ClientHello
 *
 * RFC 8446 sections 4.1.2 and 5.1; the same bytes serve for SSL 3.0 to TLS 1.3.
 *
 * A hello comes in any number of TCP segments and, independently, in any number
 * of records. Each call first walks the record headers only: is the whole
 * message there, and could it still be one? Its contents are read once, when
 * the last byte has come, in place: a cursor hops over the record headers
 * between the message's bytes. Nothing is copied together.
 *
 * What a router must not do is read a hello otherwise than the backend will. So
 * lengths must add up exactly, an extension comes once, a name has only the
 * characters of a name. What ladon does not route by (versions, cipher suites,
 * key shares, GREASE of RFC 8701, whether pre_shared_key is last) is the
 * backend's to judge.
 */
#include "peek.h"

#include <arpa/inet.h>
#include <string.h>

enum {
	RECORD_HANDSHAKE = 22,
	RECORD_MAJOR = 3,  /* the minor version says nothing: RFC 8446 section 5.1 */
	RECORD_HEADER = 5, /* type, version, length */
	RECORD_MAX = 1 << 14,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_HEADER = 4, /* type, 24-bit length */
	/* Version, random, no session id, one cipher suite, one compression method. */
	MESSAGE_MIN = 2 + 32 + 1 + (2 + 2) + (1 + 1),
	/* One so long is in two records at least. */
	MESSAGE_MAX = PEEK_BYTES_MAX - 2 * RECORD_HEADER - MESSAGE_HEADER,
	SESSION_ID_MAX = 32,
};

enum {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_ALPN = 16,
	EXTENSION_ECH = 0xfe0d, /* encrypted_client_hello */
};

enum {
	NAME_HOST = 0, /* RFC 6066 NameType */
	ECH_OUTER = 0, /* ECHClientHelloType */
};

static unsigned int be16(const uint8_t *at)
{
	return (unsigned int)(at[0] << 8 | at[1]);
}

static enum peek_answer refuse(struct hello *out, enum ladon_reason reason, enum tls_alert alert)
{
	return hello_refuse(out, PEEK_PROTOCOL_TLS, reason, (uint8_t)alert);
}

static enum peek_answer malformed(struct hello *out, enum tls_alert alert)
{
	return refuse(out, LADON_REASON_PEEK_MALFORMED, alert);
}

/* ---- is the message there? ---- */

/* One record's header, of which @len bytes have come. Return: PEEK_FOUND if it is right. */
static enum peek_answer record_check(const uint8_t *at, size_t len, struct hello *out)
{
	if (len > 0 && at[0] != RECORD_HANDSHAKE)
		return malformed(out, TLS_ALERT_UNEXPECTED_MESSAGE);
	if (len > 1 && at[1] != RECORD_MAJOR)
		return malformed(out, TLS_ALERT_PROTOCOL_VERSION);
	if (len < RECORD_HEADER)
		return PEEK_MORE;
	if (be16(at + 3) == 0) /* forbidden for handshake records, RFC 8446 section 5.1 */
		return malformed(out, TLS_ALERT_UNEXPECTED_MESSAGE);
	if (be16(at + 3) > RECORD_MAX)
		return malformed(out, TLS_ALERT_RECORD_OVERFLOW);
	return PEEK_FOUND;
}

/* The message's header and how much of the message has come. Return: PEEK_FOUND if all. */
static enum peek_answer message_check(const uint8_t header[MESSAGE_HEADER], size_t have,
				      struct hello *out)
{
	size_t len;

	if (have > 0 && header[0] != MESSAGE_CLIENT_HELLO)
		return malformed(out, TLS_ALERT_UNEXPECTED_MESSAGE);
	if (have < MESSAGE_HEADER)
		return PEEK_MORE;

	len = (size_t)header[1] << 16 | be16(header + 2);
	if (len < MESSAGE_MIN)
		return malformed(out, TLS_ALERT_DECODE_ERROR);
	if (len > MESSAGE_MAX) /* "some field was out of the specified range": ours is smaller */
		return refuse(out, LADON_REASON_PEEK_LENGTH, TLS_ALERT_DECODE_ERROR);
	return have < MESSAGE_HEADER + len ? PEEK_MORE : PEEK_FOUND;
}

/*
 * Walk the records until the message's last byte. Linear in their number, and
 * only their headers are touched: a hello that comes byte by byte is walked as
 * often as it has bytes.
 */
static enum peek_answer message_find(const uint8_t *bytes, size_t len, struct hello *out)
{
	uint8_t header[MESSAGE_HEADER] = { 0 };
	enum peek_answer answer;
	size_t have = 0, at = 0;

	while ((answer = record_check(bytes + at, len - at, out)) == PEEK_FOUND) {
		size_t record_len = be16(bytes + at + 3), here;

		at += RECORD_HEADER;
		here = record_len < len - at ? record_len : len - at;
		for (size_t i = 0; i < here && have + i < MESSAGE_HEADER; i++)
			header[have + i] = bytes[at + i];
		have += here;

		answer = message_check(header, have, out);
		if (answer != PEEK_MORE || here < record_len)
			return answer;
		at += record_len;
	}
	return answer;
}

/* ---- reading it ---- */

/**
 * struct cursor - reads a vector of the message, wherever its records put it
 * @at: the next byte, or a record header if @fragment is 0
 * @fragment: bytes of the message left in the record at @at
 * @left: bytes left in the vector
 * @bad: a read went past the vector's end; it is empty then and all reads give zeros
 *
 * Only over a message that message_find() found: hops trust the record headers.
 */
struct cursor {
	const uint8_t *at;
	size_t fragment;
	size_t left;
	bool bad;
};

/* Copy @n bytes to @to, or skip them if it is NULL. */
static void cursor_take(struct cursor *c, void *to, size_t n)
{
	uint8_t *out = to;

	if (n > c->left) {
		c->bad = true;
		c->left = 0;
		return;
	}
	c->left -= n;
	while (n) {
		size_t step;

		if (!c->fragment) {
			c->fragment = be16(c->at + 3);
			c->at += RECORD_HEADER;
		}
		step = n < c->fragment ? n : c->fragment;
		if (out) {
			memcpy(out, c->at, step);
			out += step;
		}
		c->at += step;
		c->fragment -= step;
		n -= step;
	}
}

/* A number of 1 to 3 bytes. */
static uint32_t cursor_read(struct cursor *c, size_t width)
{
	uint8_t raw[3] = { 0 };
	uint32_t value = 0;

	cursor_take(c, raw, width);
	for (size_t i = 0; i < width; i++)
		value = value << 8 | raw[i];
	return value;
}

/* A vector whose length takes @width bytes; past it in @c. One that does not fit makes both bad. */
static struct cursor cursor_vector(struct cursor *c, size_t width)
{
	size_t len = cursor_read(c, width);
	struct cursor vector = *c;

	cursor_take(c, NULL, len);
	vector.left = c->bad ? 0 : len;
	vector.bad = c->bad;
	return vector;
}

/* ---- its parts: each returns 0 or the alert to refuse it with ---- */

/*
 * Address literals are "not permitted in HostName" (RFC 6066 section 3), yet some
 * clients send them. They name nothing, as if the extension were not there.
 */
static bool is_address(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static uint8_t host_name(struct cursor c, struct hello *out)
{
	char name[PEEK_NAME_MAX];
	size_t len = c.left;

	if (!len)
		return TLS_ALERT_DECODE_ERROR; /* opaque HostName<1..2^16-1> */
	if (len >= sizeof(name))
		return TLS_ALERT_ILLEGAL_PARAMETER;
	cursor_take(&c, name, len);
	name[len] = '\0';
	if (strlen(name) == len && is_address(name))
		return 0;
	return hello_set_name(out, name, len) ? 0 : TLS_ALERT_ILLEGAL_PARAMETER;
}

/* RFC 6066 section 3: names of unknown types also begin with a 16-bit length. */
static uint8_t server_name(struct cursor c, struct hello *out)
{
	struct cursor list = cursor_vector(&c, 2);
	bool named = false;

	if (c.bad || c.left || !list.left)
		return TLS_ALERT_DECODE_ERROR;
	while (list.left) {
		uint32_t type = cursor_read(&list, 1);
		struct cursor name = cursor_vector(&list, 2);
		uint8_t alert;

		if (list.bad)
			return TLS_ALERT_DECODE_ERROR;
		if (type != NAME_HOST)
			continue;
		if (named) {
			out->reason = LADON_REASON_SEVERAL_NAMES;
			return TLS_ALERT_ILLEGAL_PARAMETER;
		}
		named = true;
		alert = host_name(name, out);
		if (alert)
			return alert;
	}
	return 0;
}

/* RFC 7301 section 3.1. All entries are checked, the first that fit are kept. */
static uint8_t alpn(struct cursor c, struct hello *out)
{
	struct cursor list = cursor_vector(&c, 2);
	bool full = false;

	if (c.bad || c.left || !list.left)
		return TLS_ALERT_DECODE_ERROR;
	while (list.left) {
		struct cursor name = cursor_vector(&list, 1);
		size_t len = name.left;

		if (list.bad || !len)
			return TLS_ALERT_DECODE_ERROR;
		full |= len >= PEEK_ALPN_MAX - out->alpn_len;
		if (full)
			continue;
		out->alpn[out->alpn_len++] = (uint8_t)len;
		cursor_take(&name, out->alpn + out->alpn_len, len);
		out->alpn_len += len;
	}
	return 0;
}

static uint8_t extension(uint32_t type, struct cursor c, struct hello *out)
{
	switch (type) {
	case EXTENSION_SERVER_NAME:
		return server_name(c, out);
	case EXTENSION_ALPN:
		return alpn(c, out);
	case EXTENSION_ECH:
		out->has_ech = cursor_read(&c, 1) == ECH_OUTER;
		return c.bad ? TLS_ALERT_DECODE_ERROR : 0;
	default:
		return 0;
	}
}

/* RFC 8446 section 4.2: no type twice, else it were open which one counts. */
static uint8_t extensions(struct cursor c, struct hello *out)
{
	uint64_t seen[(1 << 16) / 64] = { 0 };

	while (c.left) {
		uint32_t type = cursor_read(&c, 2);
		struct cursor body = cursor_vector(&c, 2);
		uint64_t bit = 1ULL << type % 64;
		uint8_t alert;

		if (c.bad)
			return TLS_ALERT_DECODE_ERROR;
		if (seen[type / 64] & bit)
			return TLS_ALERT_ILLEGAL_PARAMETER;
		seen[type / 64] |= bit;
		alert = extension(type, body, out);
		if (alert)
			return alert;
	}
	return 0;
}

static uint8_t client_hello(struct cursor c, struct hello *out)
{
	struct cursor session_id, suites, methods, list;

	cursor_take(&c, NULL, 2 + 32); /* legacy_version, random */
	session_id = cursor_vector(&c, 1);
	suites = cursor_vector(&c, 2);
	methods = cursor_vector(&c, 1);
	if (c.bad || session_id.left > SESSION_ID_MAX || !suites.left || suites.left % 2 ||
	    !methods.left)
		return TLS_ALERT_DECODE_ERROR;
	if (!c.left)
		return 0; /* before TLS 1.3, extensions may be missing altogether */
	list = cursor_vector(&c, 2);
	if (c.bad || c.left)
		return TLS_ALERT_DECODE_ERROR;
	return extensions(list, out);
}

enum peek_answer peek_tls(const uint8_t *bytes, size_t len, struct hello *out)
{
	struct cursor c = { .at = bytes, .left = PEEK_BYTES_MAX };
	enum peek_answer answer;
	uint8_t alert;

	if (!len)
		return PEEK_MORE;
	if (len > PEEK_BYTES_MAX)
		len = PEEK_BYTES_MAX;
	/* An SSL 2.0 hello, which begins with 0x80, is none of ours either. */
	if (bytes[0] != RECORD_HANDSHAKE || (len > 1 && bytes[1] != RECORD_MAJOR))
		return PEEK_OTHER;

	answer = message_find(bytes, len, out);
	if (answer == PEEK_MORE && len == PEEK_BYTES_MAX)
		return refuse(out, LADON_REASON_PEEK_LENGTH, TLS_ALERT_DECODE_ERROR);
	if (answer != PEEK_FOUND)
		return answer;

	*out = (struct hello){ .protocol = PEEK_PROTOCOL_TLS };
	cursor_take(&c, NULL, 1); /* the message's type; its length is that of a vector */
	alert = client_hello(cursor_vector(&c, 3), out);
	if (!alert)
		return PEEK_FOUND;
	return refuse(out, out->reason ? out->reason : LADON_REASON_PEEK_MALFORMED, alert);
}
