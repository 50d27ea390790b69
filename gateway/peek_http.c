// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek_http.c - host and path of the first HTTP request, or the target of CONNECT
 *
 * HTTP/1.x as in RFC 9112; HTTP/2 with prior knowledge by its preface only
 * (RFC 9113 section 3.4): its host is compressed, and behind the settings.
 *
 * A router that reads a request otherwise than its backend does sends it to the
 * wrong place, so where RFC 9112 leaves a choice between lenience and an error,
 * it is an error here: lines end in CR LF, never in LF alone; no CR and no NUL
 * inside them; no line folding; no space before the colon; at most one Host;
 * exactly one space around the target. The head is awaited to its end, since
 * a second Host may be the last field.
 *
 * A first line that does not end in HTTP/1.x is another protocol (SSH, SMTP,
 * HTTP/0.9, ...), and so is an empty one.
 *
 * A path is raw bytes: neither percent-encoding nor "/../" is resolved, and a
 * route's prefix is compared with just what the client sent.
 */
#include "peek.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

/* The longest registered method has 17. Bounds the wait for a space. */
#define METHOD_MAX 32

/*
 * HAProxy and Apache take about a hundred. Each call walks the lines so far: 20 KB of
 * shortest lines, one byte a segment, cost 30 us a segment without this bound.
 */
#define FIELDS_MAX 128

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const char version[] = " HTTP/1."; /* before one digit, at the end of the first line */
#define VERSION_LEN sizeof(version)	  /* the digit in place of the NUL */

/* Part of the client's bytes, not ended by NUL. */
struct span {
	const char *at;
	size_t len;
};

/* What its fields say, beside the host */
struct fields {
	bool has_host, has_credentials;
	bool has_content; /* or may have: RFC 9112 section 6 */
	struct span credentials; /* Proxy-Authorization, RFC 9110 section 11.7.2; "" if none */
};

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.at, text, s.len);
}

/* What stands before the first byte of @stops; @s keeps that byte and the rest. */
static struct span span_cut(struct span *s, const char *stops)
{
	struct span before = { s->at, 0 };

	while (before.len < s->len && !memchr(stops, s->at[before.len], strlen(stops)))
		before.len++;
	s->at += before.len;
	s->len -= before.len;
	return before;
}

static void span_skip(struct span *s, size_t n)
{
	s->at += n;
	s->len -= n;
}

static const char *span_find(struct span s, char c)
{
	return s.len ? memchr(s.at, c, s.len) : NULL;
}

/* tchar, RFC 9110 section 5.6.2 */
static bool is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(struct span s)
{
	size_t n = 0;

	while (n < s.len && is_token(s.at[n]))
		n++;
	return n;
}

/* ---- is the head there? ---- */

/* Could these bytes begin with a method and a space? */
static bool method_begins(struct span s)
{
	size_t n = token_len(s);

	if (n > METHOD_MAX)
		return false;
	return n == s.len || (n && s.at[n] == ' ');
}

/* Does the first line, if it is complete, end in an HTTP/1 version, with or without CR? */
static bool first_line_fits(struct span s)
{
	const char *end = span_find(s, '\n');

	if (!end)
		return true;
	if (end > s.at && end[-1] == '\r')
		end--;
	return end - s.at >= (ptrdiff_t)VERSION_LEN &&
	       !memcmp(end - VERSION_LEN, version, VERSION_LEN - 1) && end[-1] >= '0' &&
	       end[-1] <= '9';
}

/*
 * Return: length of all lines with the empty one, 0 if it has not come,
 * -EBADMSG: a bare LF, -E2BIG: too many lines.
 */
static ssize_t head_len(struct span s)
{
	const char *start = s.at, *lf;

	for (int lines = 0; (lf = span_find(s, '\n')); lines++) {
		size_t len = (size_t)(lf - s.at);

		if (!len || lf[-1] != '\r')
			return -EBADMSG;
		span_skip(&s, len + 1);
		if (len == 1)
			return s.at - start;
		if (lines > FIELDS_MAX) /* the first is the request line */
			return -E2BIG;
	}
	return 0;
}

/* ---- reading it: false where it is malformed ---- */

/* The next line of a head whose lines all end in CR LF, without these. */
static struct span line_next(struct span *head)
{
	struct span line = { head->at, (size_t)(span_find(*head, '\n') - head->at) };

	span_skip(head, line.len + 1);
	line.len--;
	return line;
}

/* "[2001:db8::1]" at the beginning of @s, without NULs; neither zones nor RFC 3986's IPvFuture */
static bool literal_parse(struct span *s, struct hello *out)
{
	struct span literal;

	span_skip(s, 1);
	literal = span_cut(s, "]");
	if (!s->len)
		return false;
	span_skip(s, 1);
	return hello_set_ip6(out, literal.at, literal.len);
}

/* [":" *DIGIT], the whole of @s. An empty one, and one that is too large, is 0: only CONNECT asks. */
static bool port_parse(struct span s, struct hello *out)
{
	uint32_t port = 0;

	if (s.len && *s.at != ':')
		return false;
	for (size_t i = 1; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		if (port <= UINT16_MAX)
			port = port * 10 + (uint32_t)(s.at[i] - '0');
	}
	out->port = port <= UINT16_MAX ? (uint16_t)port : 0;
	return true;
}

/* uri-host [":" port], RFC 9110 section 7.2, without NULs; with user information it is malformed */
static bool authority_parse(struct span s, struct hello *out)
{
	if (s.len && *s.at == '[') {
		if (!literal_parse(&s, out))
			return false;
	} else {
		struct span host = span_cut(&s, ":");

		if (!hello_set_name(out, host.at, host.len))
			return false;
	}
	return port_parse(s, out);
}

static struct span span_trim(struct span s)
{
	while (s.len && (*s.at == ' ' || *s.at == '\t'))
		span_skip(&s, 1);
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static bool name_is(struct span name, const char *text)
{
	return name.len == strlen(text) && !strncasecmp(name.at, text, name.len);
}

/* RFC 9112 section 5: a folded line begins with a space, which is no name. */
static bool field_parse(struct span line, struct fields *fields, struct hello *out)
{
	struct span name = { line.at, token_len(line) };

	span_skip(&line, name.len);
	if (!name.len || !line.len || *line.at != ':')
		return false;
	span_skip(&line, 1);
	if (span_find(line, '\r') || span_find(line, '\0'))
		return false;
	if (name_is(name, "Proxy-Authorization")) {
		if (fields->has_credentials)
			return false;
		fields->has_credentials = true;
		fields->credentials = span_trim(line);
	}
	if (name_is(name, "Transfer-Encoding") ||
	    (name_is(name, "Content-Length") && !span_is(span_trim(line), "0")))
		fields->has_content = true;
	if (!name_is(name, "Host"))
		return true;

	if (fields->has_host)
		return false;
	fields->has_host = true;
	line = span_trim(line);
	return !line.len || authority_parse(line, out); /* an empty one is right, section 3.2 */
}

static void path_set(struct span s, struct hello *out)
{
	struct span path = span_cut(&s, "?#");

	if (!path.len)
		path = (struct span){ "/", 1 }; /* http://example.org?query */
	if (path.len >= PEEK_PATH_MAX)
		path.len = PEEK_PATH_MAX - 1;
	memcpy(out->path, path.at, path.len);
	out->path[path.len] = '\0';
}

/* scheme "://" authority path: what a client sends to a proxy, RFC 9112 section 3.2.2 */
static bool absolute_parse(struct span target, struct hello *out)
{
	struct span scheme = span_cut(&target, ":/?#");

	if (!scheme.len || target.len < 3 || memcmp(target.at, "://", 3))
		return false;
	span_skip(&target, 3);
	if (!authority_parse(span_cut(&target, "/?#"), out))
		return false;
	path_set(target, out);
	return true;
}

/* The four forms of RFC 9112 section 3.2. An authority here replaces that of Host. */
static bool target_parse(struct span method, struct span target, struct hello *out)
{
	for (size_t i = 0; i < target.len; i++)
		if ((uint8_t)target.at[i] <= ' ' || target.at[i] == 0x7f)
			return false;

	if (span_is(method, "CONNECT"))
		return authority_parse(target, out);
	if (span_is(target, "*")) {
		path_set(target, out);
		return span_is(method, "OPTIONS");
	}
	if (*target.at != '/')
		return absolute_parse(target, out);
	path_set(target, out);
	return true;
}

static bool request_parse(struct span head, struct fields *fields, struct hello *out)
{
	struct span line = line_next(&head);
	struct span method = span_cut(&line, " ");

	span_skip(&line, 1);
	if (line.len <= VERSION_LEN)
		return false; /* no target */
	line.len -= VERSION_LEN;

	while (head.len > strlen("\r\n"))
		if (!field_parse(line_next(&head), fields, out))
			return false;
	return target_parse(method, line, out);
}

/* @head: written with PEEK_FOUND: the bytes of a head that is there and well-formed */
static enum peek_answer request_peek(struct span all, enum peek_protocol protocol,
				     struct span *head, struct fields *fields, struct hello *out)
{
	struct hello hello = { .protocol = protocol };
	ssize_t len;

	if (!method_begins(all) || !first_line_fits(all))
		return PEEK_OTHER;

	len = head_len(all);
	if (!len && all.len < PEEK_BYTES_MAX)
		return PEEK_MORE;
	if (!len || len == -E2BIG)
		return hello_refuse(out, protocol, LADON_REASON_PEEK_LENGTH, 0);

	*head = (struct span){ all.at, len < 0 ? 0 : (size_t)len };
	if (len < 0 || !request_parse(*head, fields, &hello))
		return hello_refuse(out, protocol, LADON_REASON_PEEK_MALFORMED, 0);
	*out = hello;
	return PEEK_FOUND;
}

static struct span span_first(const uint8_t *bytes, size_t len)
{
	return (struct span){ (const char *)bytes, len < PEEK_BYTES_MAX ? len : PEEK_BYTES_MAX };
}

enum peek_answer peek_http1(const uint8_t *bytes, size_t len, struct hello *out)
{
	struct fields fields = { 0 };
	struct span head;

	return request_peek(span_first(bytes, len), PEEK_PROTOCOL_HTTP1, &head, &fields, out);
}

/* ---- CONNECT ---- */

#define CREDENTIALS_MAX (2 * PEEK_USER_MAX) /* "user:password" */

/* "Basic" and base64 of "user:password", RFC 7617 section 2 */
static bool credentials_parse(struct span s, struct talk *talk)
{
	struct span scheme, user;
	uint8_t text[CREDENTIALS_MAX + 2];
	int len;

	if (!s.len)
		return false;
	scheme = span_cut(&s, " ");
	s = span_trim(s);
	if (!name_is(scheme, "Basic") || !s.len || s.len % 4 || s.len > CREDENTIALS_MAX / 3 * 4)
		return false;
	len = EVP_DecodeBlock(text, (const unsigned char *)s.at, (int)s.len);
	for (size_t i = 1; i <= 2 && s.at[s.len - i] == '='; i++)
		len--; /* what it stands for was decoded as zeros */
	if (len < 0)
		return false;
	s = (struct span){ (const char *)text, (size_t)len };
	user = span_cut(&s, ":");
	if (!s.len)
		return false;
	span_skip(&s, 1);
	return talk_set_text(talk->user, user.at, user.len) &&
	       talk_set_text(talk->password, s.at, s.len);
}

static enum peek_answer user_peek(struct span credentials, struct talk *talk, struct hello *hello)
{
	if (!credentials_parse(credentials, talk) || talk->user_is == PEEK_USER_WRONG)
		return hello_refuse(hello, PEEK_PROTOCOL_CONNECT, LADON_REASON_NO_USER, 0);
	talk->asks = talk->user_is == PEEK_USER_UNKNOWN;
	return talk->asks ? PEEK_MORE : PEEK_FOUND;
}

/*
 * What follows the head is the target's, so there can be no content (RFC 9110 section 9.3.6). Who
 * announces some, by one field or the other or both, may have taken it for part of the request, or
 * a proxy on the way may have: that would be somebody else's bytes in the tunnel. A length of 0 is
 * what some old clients say.
 */
static bool connect_is_plain(const struct hello *hello, const struct fields *fields)
{
	return hello->port && !fields->has_content;
}

enum peek_answer peek_connect(const struct peek_rules *rules, struct talk *talk,
			      const uint8_t *bytes, size_t len, struct hello *out)
{
	static const char method[] = "CONNECT ";
	size_t method_len = sizeof(method) - 1;
	struct fields fields = { 0 };
	enum peek_answer answer;
	struct hello hello;
	struct span head;

	if (len && memcmp(bytes, method, len < method_len ? len : method_len))
		return PEEK_OTHER;
	answer = request_peek(span_first(bytes, len), PEEK_PROTOCOL_CONNECT, &head, &fields, &hello);
	if (answer == PEEK_OTHER)
		return answer;
	talk_start(talk);
	talk->begun = len >= method_len;
	if (answer == PEEK_FOUND && !connect_is_plain(&hello, &fields))
		answer = hello_refuse(&hello, PEEK_PROTOCOL_CONNECT, LADON_REASON_PEEK_MALFORMED, 0);
	if (answer == PEEK_FOUND) {
		talk->consumed = head.len;
		if (rules->users)
			answer = user_peek(fields.credentials, talk, &hello);
	}
	if (answer != PEEK_MORE)
		*out = hello;
	return answer;
}

/* ---- HTTP/2 ---- */

enum peek_answer peek_http2(const uint8_t *bytes, size_t len, struct hello *out)
{
	size_t preface_len = sizeof(preface) - 1;

	if (len && memcmp(bytes, preface, len < preface_len ? len : preface_len))
		return PEEK_OTHER;
	if (len < preface_len)
		return PEEK_MORE;
	*out = (struct hello){ .protocol = PEEK_PROTOCOL_HTTP2 };
	return PEEK_FOUND;
}
