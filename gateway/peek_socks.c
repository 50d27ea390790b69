// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek_socks.c - the target that a SOCKS client asks for
 *
 * SOCKS 5, RFC 1928, with or without a user and a password, RFC 1929; SOCKS 4 and 4A,
 * as in OpenSSH's SOCKS4.protocol and socks4a.protocol. Of what can be asked for, a
 * connection (CONNECT) is the one thing that ladon makes.
 *
 * A client of SOCKS 5 speaks three times, and waits for an answer each time, or does not
 * wait: so its whole half of the dialogue is read anew at each call, and what ladon must
 * have said by now follows from it. The last answer depends on the backend, unless the
 * request is refused right here.
 *
 * An address that the client writes as a name ("192.0.2.1", "2001:db8::1") is that address.
 */
#include "peek.h"

#include <string.h>

#define SOCKS4 4
#define SOCKS5 5

#define COMMAND_CONNECT 1
#define USER_VERSION	1
#define METHOD_NONE	0
#define METHOD_PASSWORD 2
#define NO_METHOD	0xff

/* Where the reader is. What is asked of it past the end is 0, and .short_of_it stays true. */
struct reader {
	const uint8_t *at, *end;
	bool short_of_it;
};

static const uint8_t *take(struct reader *r, size_t len)
{
	static const uint8_t nothing[256];
	const uint8_t *at = r->at;

	if (r->short_of_it || (size_t)(r->end - r->at) < len) {
		r->short_of_it = true;
		return nothing;
	}
	r->at += len;
	return at;
}

static uint8_t take8(struct reader *r)
{
	return *take(r, 1);
}

static uint16_t take16(struct reader *r)
{
	const uint8_t *at = take(r, 2);

	return (uint16_t)(at[0] << 8 | at[1]);
}

static void say(struct talk *talk, const uint8_t *bytes, size_t len)
{
	memcpy(talk->say + talk->say_len, bytes, len);
	talk->say_len += len;
}

static void say2(struct talk *talk, uint8_t first, uint8_t second)
{
	say(talk, (const uint8_t[]){ first, second }, 2);
}

static enum peek_answer refuse(struct hello *out, enum peek_protocol protocol,
			       enum ladon_reason why)
{
	return hello_refuse(out, protocol, why, 0);
}

/* ---- version 5 ---- */

/* Return: PEEK_FOUND: on with the next message; so do the others */
static enum peek_answer read_methods(const struct peek_rules *rules, struct talk *talk,
				     struct reader *r, struct hello *out)
{
	uint8_t wanted = rules->users ? METHOD_PASSWORD : METHOD_NONE;
	uint8_t len = take8(r);
	const uint8_t *methods = take(r, len);

	if (r->short_of_it)
		return PEEK_MORE;
	if (!memchr(methods, wanted, len)) {
		say2(talk, SOCKS5, NO_METHOD);
		return refuse(out, PEEK_PROTOCOL_SOCKS5,
			      rules->users ? LADON_REASON_NO_USER : LADON_REASON_PEEK_MALFORMED);
	}
	say2(talk, SOCKS5, wanted);
	return PEEK_FOUND;
}

static enum peek_answer refuse_user(struct talk *talk, struct hello *out)
{
	say2(talk, USER_VERSION, 1);
	return refuse(out, PEEK_PROTOCOL_SOCKS5, LADON_REASON_NO_USER);
}

/* RFC 1929 section 2 */
static enum peek_answer read_user(struct talk *talk, struct reader *r, struct hello *out)
{
	uint8_t version = take8(r), user_len, password_len;
	const uint8_t *user, *password;

	if (!r->short_of_it && version != USER_VERSION)
		return refuse_user(talk, out);
	user_len = take8(r);
	user = take(r, user_len);
	password_len = take8(r);
	password = take(r, password_len);
	if (r->short_of_it)
		return PEEK_MORE;
	if (!talk_set_text(talk->user, user, user_len) ||
	    !talk_set_text(talk->password, password, password_len) ||
	    talk->user_is == PEEK_USER_WRONG)
		return refuse_user(talk, out);
	talk->asks = talk->user_is == PEEK_USER_UNKNOWN;
	if (talk->asks)
		return PEEK_MORE;
	say2(talk, USER_VERSION, 0);
	return PEEK_FOUND;
}

static enum peek_answer refuse_request(struct talk *talk, struct hello *out, enum socks5_reply why,
				       enum ladon_reason reason)
{
	talk->say_len += peek_socks5_reply(why, talk->say + talk->say_len);
	return refuse(out, PEEK_PROTOCOL_SOCKS5, reason);
}

static enum peek_answer read_request(struct talk *talk, struct reader *r, struct hello *out)
{
	struct hello hello = { .protocol = PEEK_PROTOCOL_SOCKS5 };
	const uint8_t *head = take(r, 4), *address;
	size_t len;

	if (r->short_of_it)
		return PEEK_MORE;
	if (head[0] != SOCKS5)
		return refuse_request(talk, out, SOCKS5_FAILURE, LADON_REASON_PEEK_MALFORMED);
	if (head[1] != COMMAND_CONNECT)
		return refuse_request(talk, out, SOCKS5_COMMAND, LADON_REASON_NO_COMMAND);
	if (head[3] == PREFIX_HOST_IP4)
		len = 4;
	else if (head[3] == PREFIX_HOST_IP6)
		len = 16;
	else if (head[3] == PREFIX_HOST_NAME)
		len = take8(r);
	else
		return refuse_request(talk, out, SOCKS5_ADDRESS, LADON_REASON_PEEK_MALFORMED);
	address = take(r, len);
	hello.port = take16(r);
	if (r->short_of_it)
		return PEEK_MORE;
	if (!hello.port || !hello_set_host(&hello, head[3], address, len))
		return refuse_request(talk, out, SOCKS5_FAILURE, LADON_REASON_PEEK_MALFORMED);
	*out = hello;
	return PEEK_FOUND;
}

enum peek_answer peek_socks5(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out)
{
	struct reader r = { .at = bytes, .end = bytes + len };
	enum peek_answer answer;

	if (len && take8(&r) != SOCKS5)
		return PEEK_OTHER;
	talk_start(talk);
	talk->begun = len > 0;
	if (!len)
		return PEEK_MORE;
	answer = read_methods(rules, talk, &r, out);
	if (answer == PEEK_FOUND) {
		talk->consumed = (size_t)(r.at - bytes);
		answer = rules->users ? read_user(talk, &r, out) : PEEK_FOUND;
	}
	if (answer == PEEK_FOUND) {
		talk->consumed = (size_t)(r.at - bytes);
		answer = read_request(talk, &r, out);
	}
	if (answer == PEEK_FOUND)
		talk->consumed = (size_t)(r.at - bytes);
	return answer;
}

size_t peek_socks5_reply(enum socks5_reply why, uint8_t out[10])
{
	const uint8_t reply[10] = { SOCKS5, (uint8_t)why, 0, PREFIX_HOST_IP4 };

	memcpy(out, reply, sizeof(reply));
	return sizeof(reply);
}

/* ---- version 4 ---- */

/* Text up to a NUL. NULL: longer than it may be */
static const char *take_text(struct reader *r)
{
	size_t left = (size_t)(r->end - r->at);
	const uint8_t *text = r->at, *end = memchr(text, '\0', left);

	if (r->short_of_it || !end) {
		r->short_of_it = true;
		return left < PEEK_NAME_MAX ? "" : NULL;
	}
	take(r, (size_t)(end - text) + 1);
	return end - text < PEEK_NAME_MAX ? (const char *)text : NULL;
}

static enum peek_answer refuse4(struct talk *talk, struct hello *out, enum ladon_reason why)
{
	talk->say_len = peek_socks4_reply(false, talk->say);
	return refuse(out, PEEK_PROTOCOL_SOCKS4, why);
}

enum peek_answer peek_socks4(const struct peek_rules *rules, struct talk *talk,
			     const uint8_t *bytes, size_t len, struct hello *out)
{
	struct hello hello = { .protocol = PEEK_PROTOCOL_SOCKS4 };
	struct reader r = { .at = bytes, .end = bytes + len };
	const uint8_t *address;
	const char *name = "";
	uint8_t command;
	bool is_named, is_set;

	if (len && take8(&r) != SOCKS4)
		return PEEK_OTHER;
	talk_start(talk);
	talk->begun = len > 0;
	command = take8(&r);
	hello.port = take16(&r);
	address = take(&r, 4);
	if (!len || r.short_of_it)
		return PEEK_MORE;
	if (command != COMMAND_CONNECT)
		return refuse4(talk, out, LADON_REASON_NO_COMMAND);
	if (rules->users)
		return refuse4(talk, out, LADON_REASON_NO_USER); /* it has no password to give */
	if (!take_text(&r))
		return refuse4(talk, out, LADON_REASON_PEEK_LENGTH);
	is_named = !address[0] && !address[1] && !address[2] && address[3]; /* 4A: 0.0.0.x */
	if (is_named)
		name = take_text(&r);
	if (!name)
		return refuse4(talk, out, LADON_REASON_PEEK_LENGTH);
	if (r.short_of_it)
		return PEEK_MORE;
	talk->consumed = (size_t)(r.at - bytes);
	if (is_named)
		is_set = hello_set_host(&hello, PREFIX_HOST_NAME, name, strlen(name));
	else
		is_set = hello_set_host(&hello, PREFIX_HOST_IP4, address, 4);
	if (!hello.port || !is_set)
		return refuse4(talk, out, LADON_REASON_PEEK_MALFORMED);
	*out = hello;
	return PEEK_FOUND;
}

size_t peek_socks4_reply(bool granted, uint8_t out[8])
{
	const uint8_t reply[8] = { 0, granted ? 90 : 91 };

	memcpy(out, reply, sizeof(reply));
	return sizeof(reply);
}
