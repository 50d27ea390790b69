// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek.c - ask each protocol whether the first bytes are its own
 *
 * And what the peekers share: how a name is checked and how a refusal looks.
 */
#include "peek.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "words.h"

typedef enum peek_answer (*peeker)(const uint8_t *bytes, size_t len, struct hello *out);
typedef enum peek_answer (*talker)(const struct peek_rules *rules, struct talk *talk,
				   const uint8_t *bytes, size_t len, struct hello *out);

/* A byte string is never good for two of them: at most one finds, the order is free. */
static const peeker peekers[] = { peek_tls, peek_http2, peek_http1 };

/* But for CONNECT, which is HTTP: they are asked first, and who may be right is alone with it. */
static const talker talkers[] = { peek_connect, peek_socks5, peek_socks4, peek_prefix };

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static enum peek_answer word_found(struct hello *out, unsigned int route)
{
	*out = (struct hello){ .protocol = PEEK_PROTOCOL_WORDS, .word = route };
	return PEEK_FOUND;
}

/* What neither is nor may become anything that is known */
static enum peek_answer peek_rest(const struct words *words, const uint8_t *bytes, size_t len,
				  struct hello *out)
{
	enum ladon_reason reason = LADON_REASON_NONE;
	unsigned int route;

	switch (words ? words_match(words, bytes, len, &route, &reason) : PEEK_OTHER) {
	case PEEK_FOUND:
		return word_found(out, route);
	case PEEK_MORE:
		return PEEK_MORE;
	case PEEK_BAD:
		return hello_refuse(out, PEEK_PROTOCOL_WORDS, reason, 0);
	case PEEK_OTHER:
		break;
	}
	*out = (struct hello){ .protocol = PEEK_PROTOCOL_NONE };
	return PEEK_FOUND;
}

enum peek_answer peek_first(const struct peek_rules *rules, struct talk *talk, const uint8_t *bytes,
			    size_t len, struct hello *out)
{
	const struct words *words = rules ? rules->words : NULL;
	enum peek_answer answer = PEEK_OTHER;
	unsigned int route;
	bool more;

	if (words)
		answer = words_start(words, bytes, len, &route);
	if (answer == PEEK_FOUND)
		return word_found(out, route);
	more = answer == PEEK_MORE;
	for (size_t i = 0; rules && rules->targets && i < LEN(talkers); i++) {
		answer = talkers[i](rules, talk, bytes, len, out);
		if (answer != PEEK_OTHER)
			return answer;
	}
	for (size_t i = 0; i < LEN(peekers); i++) {
		answer = peekers[i](bytes, len, out);
		if (answer == PEEK_FOUND || answer == PEEK_BAD)
			return answer;
		more |= answer == PEEK_MORE;
	}
	return more ? PEEK_MORE : peek_rest(words, bytes, len, out);
}

bool hello_offers(const struct hello *hello, const char *protocol)
{
	size_t len = strlen(protocol);
	size_t at = 0;

	while (at < hello->alpn_len) {
		size_t entry_len = hello->alpn[at++];

		if (entry_len == len && !memcmp(hello->alpn + at, protocol, len))
			return true;
		at += entry_len;
	}
	return false;
}

size_t peek_alert(uint8_t description, uint8_t out[7])
{
	/* An alert record, the version that every client takes before one is agreed, fatal. */
	const uint8_t record[7] = { 21, 3, 1, 0, 2, 2, description };

	memcpy(out, record, sizeof(record));
	return sizeof(record);
}

void talk_start(struct talk *talk)
{
	talk->consumed = talk->say_len = talk->token_len = 0;
	talk->begun = talk->asks = talk->silent = false;
	talk->target = talk->token = NULL;
}

bool talk_set_text(char out[PEEK_USER_MAX], const void *text, size_t len)
{
	if (len >= PEEK_USER_MAX || memchr(text, '\0', len))
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

enum peek_answer hello_refuse(struct hello *out, enum peek_protocol protocol,
			      enum ladon_reason reason, uint8_t alert)
{
	*out = (struct hello){ .protocol = protocol, .reason = reason, .alert = alert };
	return PEEK_BAD;
}

static bool name_has(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool hello_set_name(struct hello *out, const char *text, size_t len)
{
	char name[PEEK_NAME_MAX];
	char before = '.';

	if (len >= PEEK_NAME_MAX)
		return false;
	if (len && text[len - 1] == '.')
		len--; /* the root, as in example.org.: the same name */

	for (size_t i = 0; i < len; i++) {
		char c = (char)tolower((unsigned char)text[i]);

		if (c == '.' ? before == '.' : !name_has(c))
			return false;
		name[i] = before = c;
	}
	if (before == '.')
		return false; /* empty, or an empty last label */

	memcpy(out->name, name, len);
	out->name[len] = '\0';
	return true;
}

bool hello_set_ip6(struct hello *out, const char *text, size_t len)
{
	char lower[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (len >= sizeof(lower))
		return false;
	for (size_t i = 0; i < len; i++)
		lower[i] = (char)tolower((unsigned char)text[i]);
	lower[len] = '\0';
	if (inet_pton(AF_INET6, lower, address) != 1)
		return false;
	snprintf(out->name, sizeof(out->name), "[%s]", lower);
	return true;
}

bool hello_set_host(struct hello *out, uint8_t kind, const void *host, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	switch (kind) {
	case PREFIX_HOST_IP4:
		return inet_ntop(AF_INET, host, out->name, sizeof(out->name));
	case PREFIX_HOST_IP6:
		inet_ntop(AF_INET6, host, text, sizeof(text));
		return hello_set_ip6(out, text, strlen(text));
	case PREFIX_HOST_NAME:
		return memchr(host, ':', len) ? hello_set_ip6(out, host, len)
					      : hello_set_name(out, host, len);
	default:
		return false;
	}
}
