// SPDX-License-Identifier: GPL-2.0-only
/*
 * peek.c - ask each protocol whether the first bytes are its own
 *
 * And what the peekers share: how a name is checked and how a refusal looks.
 */
#include "peek.h"

#include <ctype.h>
#include <string.h>

enum peek_answer peek_first(const uint8_t *bytes, size_t len, struct hello *out)
{
	/* A byte string is never good for two of them: at most one finds, the order is free. */
	static enum peek_answer (*const peekers[])(const uint8_t *, size_t, struct hello *) = {
		peek_tls,
		peek_http2,
		peek_http1,
	};
	bool more = false;

	for (size_t i = 0; i < sizeof(peekers) / sizeof(peekers[0]); i++) {
		enum peek_answer answer = peekers[i](bytes, len, out);

		if (answer == PEEK_FOUND || answer == PEEK_BAD)
			return answer;
		more |= answer == PEEK_MORE;
	}
	if (more)
		return PEEK_MORE;
	*out = (struct hello){ .protocol = PEEK_PROTOCOL_NONE };
	return PEEK_FOUND;
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
