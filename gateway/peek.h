/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * peek.h - what a client's first bytes say, without answering them
 *
 * A peeker sees all the bytes that have come so far, keeps no state between
 * calls and allocates nothing. It is called again with more bytes when it
 * answered PEEK_MORE. Names it finds are copied into the hello, lower case
 * (ASCII), checked: letters, digits, '-', '_', '.', no longer than 255.
 */
#ifndef LADON_PEEK_H
#define LADON_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../datapath/reasons.h"

/* No hello is longer: sixteen records' worth of nothing is an attack. */
#define PEEK_BYTES_MAX (20 * 1024)
#define PEEK_NAME_MAX 256
#define PEEK_PATH_MAX 1024
#define PEEK_ALPN_MAX 256

enum peek_answer {
	PEEK_FOUND, /* the hello is complete */
	PEEK_MORE,  /* right so far, needs more bytes */
	PEEK_OTHER, /* not this protocol */
	PEEK_BAD,   /* this protocol, but malformed or refused: see .reason */
};

enum peek_protocol {
	PEEK_PROTOCOL_NONE, /* neither: only a route without conditions matches */
	PEEK_PROTOCOL_TLS,
	PEEK_PROTOCOL_HTTP1,
	PEEK_PROTOCOL_HTTP2, /* prior knowledge; no host is known */
};

struct hello {
	enum peek_protocol protocol;
	enum ladon_reason reason;   /* with PEEK_BAD */
	uint8_t alert;		    /* with PEEK_BAD and TLS: AlertDescription, RFC 8446 section 6 */
	bool has_ech;		    /* the name is the outer one of an encrypted hello */
	char name[PEEK_NAME_MAX];   /* server name or Host without port; "" if none */
	char path[PEEK_PATH_MAX];   /* HTTP/1: path, without query; cut at the limit */
	size_t alpn_len;
	uint8_t alpn[PEEK_ALPN_MAX]; /* TLS: ProtocolNameList's entries (length byte, name), RFC 7301 */
};

/**
 * peek_first() - ask each peeker in turn
 * @bytes: everything the client has sent so far
 * @len: of @bytes
 * @out: written on PEEK_FOUND and PEEK_BAD
 *
 * Return: PEEK_FOUND (protocol NONE when no peeker knows the bytes),
 * PEEK_MORE or PEEK_BAD.
 */
enum peek_answer peek_first(const uint8_t *bytes, size_t len, struct hello *out);

enum peek_answer peek_tls(const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_http1(const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_http2(const uint8_t *bytes, size_t len, struct hello *out);

/** hello_offers() - does the TLS hello offer this ALPN protocol? */
bool hello_offers(const struct hello *hello, const char *protocol);

/**
 * peek_alert() - the TLS record that says why: to be sent before the connection is closed
 * Return: its length; @out has 7 bytes
 */
size_t peek_alert(uint8_t description, uint8_t out[7]);

#endif
