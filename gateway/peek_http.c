// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek_http.c - host and path of the first HTTP request
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

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
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
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];
	struct span literal;

	span_skip(s, 1);
	literal = span_cut(s, "]");
	if (!s->len || literal.len >= sizeof(text))
		return false;
	span_skip(s, 1);
	for (size_t i = 0; i < literal.len; i++)
		text[i] = (char)tolower((unsigned char)literal.at[i]);
	text[literal.len] = '\0';
	if (inet_pton(AF_INET6, text, address) != 1)
		return false;
	snprintf(out->name, sizeof(out->name), "[%s]", text);
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
	for (size_t i = 0; i < s.len; i++)
		if (i ? s.at[i] < '0' || s.at[i] > '9' : s.at[i] != ':')
			return false;
	return true;
}

/* RFC 9112 section 5: a folded line begins with a space, which is no name. */
static bool field_parse(struct span line, bool *has_host, struct hello *out)
{
	struct span name = { line.at, token_len(line) };

	span_skip(&line, name.len);
	if (!name.len || !line.len || *line.at != ':')
		return false;
	span_skip(&line, 1);
	if (span_find(line, '\r') || span_find(line, '\0'))
		return false;
	if (name.len != 4 || strncasecmp(name.at, "Host", 4))
		return true;

	if (*has_host)
		return false;
	*has_host = true;
	while (line.len && (*line.at == ' ' || *line.at == '\t'))
		span_skip(&line, 1);
	while (line.len && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
		line.len--;
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

static bool request_parse(struct span head, struct hello *out)
{
	struct span line = line_next(&head);
	struct span method = span_cut(&line, " ");
	bool has_host = false;

	span_skip(&line, 1);
	if (line.len <= VERSION_LEN)
		return false; /* no target */
	line.len -= VERSION_LEN;

	while (head.len > strlen("\r\n"))
		if (!field_parse(line_next(&head), &has_host, out))
			return false;
	return target_parse(method, line, out);
}

enum peek_answer peek_http1(const uint8_t *bytes, size_t len, struct hello *out)
{
	struct span all = { (const char *)bytes, len < PEEK_BYTES_MAX ? len : PEEK_BYTES_MAX };
	ssize_t head;

	if (!method_begins(all) || !first_line_fits(all))
		return PEEK_OTHER;

	head = head_len(all);
	if (!head && all.len < PEEK_BYTES_MAX)
		return PEEK_MORE;
	if (!head || head == -E2BIG)
		return hello_refuse(out, PEEK_PROTOCOL_HTTP1, LADON_REASON_PEEK_LENGTH, 0);

	*out = (struct hello){ .protocol = PEEK_PROTOCOL_HTTP1 };
	if (head < 0 || !request_parse((struct span){ all.at, (size_t)head }, out))
		return hello_refuse(out, PEEK_PROTOCOL_HTTP1, LADON_REASON_PEEK_MALFORMED, 0);
	return PEEK_FOUND;
}

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
