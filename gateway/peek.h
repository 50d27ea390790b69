/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * peek.h - what a client's first bytes say, without answering them
 *
 * A peeker sees all the bytes that have come so far, keeps no state between
 * calls and allocates nothing. It is called again with more bytes when it
 * answered PEEK_MORE; any other answer is final, whatever bytes follow. Only
 * the first PEEK_BYTES_MAX bytes count: what is not decided by then is PEEK_BAD.
 * An HTTP/1 head may have 128 fields.
 *
 * Names it finds are copied into the hello, lower case (ASCII), without a
 * trailing dot, checked: letters, digits, '-', '_' and single dots between
 * labels, no longer than 255. A Host may also be an IPv6 literal: "[2001:db8::1]", and
 * so may a target, however the client wrote the address.
 */
#ifndef LADON_PEEK_H
#define LADON_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/prefix.h"
#include "../datapath/reasons.h"

/* No hello is longer: sixteen records' worth of nothing is an attack. */
#define PEEK_BYTES_MAX (20 * 1024)
#define PEEK_NAME_MAX  256
#define PEEK_PATH_MAX  1024
#define PEEK_ALPN_MAX  256

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
	PEEK_PROTOCOL_SOCKS4,
	PEEK_PROTOCOL_SOCKS5,
	PEEK_PROTOCOL_CONNECT, /* of HTTP/1, RFC 9110 section 9.3.6 */
	PEEK_PROTOCOL_PREFIX,  /* ladon's own, PREFIX.md */
	PEEK_PROTOCOL_WORDS, /* none of these, but a route knows the first bytes: words.h */
};

struct words;

/* What a listener's clients may begin with, beside what those of any may */
struct peek_rules {
	bool targets; /* SOCKS, CONNECT and ladon prefixes: they name a target; else CONNECT is HTTP
		       * like any */
	bool users;   /* ... and must name a user first; who sends a prefix must show a token */
	const struct words *words; /* prefixes and regexes of the routes; NULL: there are none */
};

/* Did the client that named a user give the right password? */
enum peek_user {
	PEEK_USER_UNKNOWN,
	PEEK_USER_RIGHT,
	PEEK_USER_WRONG,
};

#define PEEK_SAY_MAX  16
#define PEEK_USER_MAX 256 /* RFC 1929: a length is a byte */

/*
 * A dialogue: SOCKS and CONNECT want answers, and a prefix may. What the client says in it are the first bytes;
 * what ladon says follows from them, so no state is kept for it either. Written when such a
 * peeker answered PEEK_MORE, PEEK_FOUND or PEEK_BAD, else left alone.
 */
struct talk {
	enum peek_user user_is; /* given by the caller */
	size_t consumed;	/* bytes of the first ones that were for ladon itself */
	size_t say_len;
	uint8_t say[PEEK_SAY_MAX]; /* all that ladon has to have said by now; not the last answer,
				    * which depends on the backend, but for PEEK_BAD in SOCKS */
	bool begun; /* with PEEK_MORE: a message has begun, and all so far is for ladon, whatever follows */
	bool asks;		   /* with PEEK_MORE: is this user right? No byte more is to come before */
	char user[PEEK_USER_MAX];  /* with .asks; as it came, without NULs */
	char password[PEEK_USER_MAX];

	/* of a prefix, all within the first bytes */
	bool silent;		      /* no answer is wanted, be it a refusal */
	const uint8_t *target, *token; /* as on the wire; NULL: none was shown */
	size_t token_len;
};

struct hello {
	enum peek_protocol protocol;
	enum ladon_reason reason; /* with PEEK_BAD */
	uint8_t alert;		  /* with PEEK_BAD and TLS: AlertDescription, RFC 8446 section 6 */
	bool has_ech;		  /* the name is the outer one of an encrypted hello, or GREASE */
	char name[PEEK_NAME_MAX]; /* server name, Host without port, or host of the target; "" if none */
	uint16_t port;		  /* of the target; HTTP: of Host. 0: none was said */
	unsigned int word;	  /* the route's index, in the words' protocol; else 0 */
	char path[PEEK_PATH_MAX]; /* HTTP/1: path as sent, without query; cut at the limit */
	size_t alpn_len;
	uint8_t alpn
		[PEEK_ALPN_MAX]; /* TLS: ProtocolNameList's entries (length byte, name), RFC 7301;
				      * whole entries, as many of the first as fit */
};

/* AlertDescription, RFC 8446 section 6 and RFC 6066 section 3: those that ladon sends */
enum tls_alert {
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_RECORD_OVERFLOW = 22,
	TLS_ALERT_ILLEGAL_PARAMETER = 47,
	TLS_ALERT_ACCESS_DENIED = 49,
	TLS_ALERT_DECODE_ERROR = 50,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_INTERNAL_ERROR = 80,
	TLS_ALERT_UNRECOGNIZED_NAME = 112,
};

/* REP, RFC 1928 section 6: those that ladon sends */
enum socks5_reply {
	SOCKS5_GRANTED,
	SOCKS5_FAILURE,
	SOCKS5_NOT_ALLOWED,
	SOCKS5_NETWORK_UNREACHABLE,
	SOCKS5_HOST_UNREACHABLE,
	SOCKS5_REFUSED,
	SOCKS5_TTL,
	SOCKS5_COMMAND,
	SOCKS5_ADDRESS,
};

/**
 * peek_first() - ask each peeker in turn
 * @rules: NULL: TLS and HTTP only
 * @talk: of the client; only with @rules
 * @bytes: everything the client has sent so far
 * @len: of @bytes
 * @out: written on PEEK_FOUND and PEEK_BAD
 *
 * In this order: prefixes of the routes, dialogues, peekers, regexes. Only the last
 * allocate anything, and not for longer than the call.
 *
 * Return: PEEK_FOUND (protocol NONE when neither a peeker nor a route knows the bytes),
 * PEEK_MORE or PEEK_BAD.
 */
enum peek_answer peek_first(const struct peek_rules *rules, struct talk *talk, const uint8_t *bytes,
			    size_t len, struct hello *out);

/* One protocol each: PEEK_OTHER where peek_first() would ask the next; @out as there. */
enum peek_answer peek_tls(const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_http1(const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_http2(const uint8_t *bytes, size_t len, struct hello *out);

/* The same of dialogues */
enum peek_answer peek_socks4(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_socks5(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_connect(const struct peek_rules *rules, struct talk *talk,
			      const uint8_t *bytes, size_t len, struct hello *out);
enum peek_answer peek_prefix(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out);

/** hello_offers() - does the TLS hello offer this ALPN protocol? */
bool hello_offers(const struct hello *hello, const char *protocol);

/**
 * peek_alert() - the TLS record that says why: to be sent before the connection is closed
 * Return: its length; @out has 7 bytes
 */
size_t peek_alert(uint8_t description, uint8_t out[7]);

/**
 * peek_socks5_reply() - the last answer to a SOCKS 5 client
 *
 * The address that ladon connects from is left out (0.0.0.0, port 0): no client needs it
 * after CONNECT, and it would tell strangers how the gateway looks from inside.
 *
 * Return: its length; @out has 10 bytes
 */
size_t peek_socks5_reply(enum socks5_reply why, uint8_t out[10]);

/** peek_socks4_reply() - ... to one of SOCKS 4. Return: its length; @out has 8 bytes */
size_t peek_socks4_reply(bool granted, uint8_t out[8]);

/**
 * peek_prefix_answer() - ... to one that has sent a ladon prefix, and wants to know
 * @status: an enum prefix_status, or an enum socks5_reply, which say the same
 *
 * Return: its length.
 */
size_t peek_prefix_answer(uint8_t status, uint8_t out[PREFIX_ANSWER_BYTES]);

/* ---- for the peekers ---- */

/** talk_start() - nothing has been consumed, nothing said */
void talk_start(struct talk *talk);

/**
 * talk_set_text() - a user's name or password
 * Return: false: too long, or it has a NUL: it would look like a shorter one
 */
bool talk_set_text(char out[PEEK_USER_MAX], const void *text, size_t len);

/**
 * hello_refuse() - make the hello an empty one that says why
 * @alert: an enum tls_alert, or 0 when @protocol is not TLS
 *
 * Return: PEEK_BAD.
 */
enum peek_answer hello_refuse(struct hello *out, enum peek_protocol protocol,
			      enum ladon_reason reason, uint8_t alert);

/** hello_set_name() - check, lower and copy a name. Return: false if it is none; @out unchanged */
bool hello_set_name(struct hello *out, const char *text, size_t len);

/**
 * hello_set_host() - the host of a target as it is on the wire
 * @kind: ATYP of SOCKS 5, an enum prefix_host; an IPv6 address that is written as a name is that address
 * @len: of a name
 *
 * Return: false: it is none.
 */
bool hello_set_host(struct hello *out, uint8_t kind, const void *host, size_t len);

/** hello_set_ip6() - @text, of @len, is an IPv6 address: the name is "[text]". Return: as above */
bool hello_set_ip6(struct hello *out, const char *text, size_t len);

#endif
