// SPDX-License-Identifier: GPL-2.0-only
#include "config_words.h"

#include <errno.h>
#include <string.h>

#include "config_value.h"
#include "peek.h"
#include "proxy_header.h"
#include "words.h"

/*
 * Within double quotes YAML itself undoes escapes, some of them into a character that
 * is not the byte that was meant.
 */
static int text_read(const struct node *node, const char **out)
{
	const yaml_node_t *yaml = node->yaml;

	if (yaml->type != YAML_SCALAR_NODE)
		return node_text(node, out);
	for (size_t i = 0; i < yaml->data.scalar.length; i++)
		if (yaml->data.scalar.value[i] < ' ' || yaml->data.scalar.value[i] > '~')
			return node_fail(node,
					 "has a byte in it that is not printable ASCII; write it "
					 "as \\xHH, and all within single quotes");
	return node_text(node, out);
}

int config_starts_read(const struct node *node, char **out)
{
	uint8_t bytes[WORD_BYTES_MAX];
	const char *text;
	size_t len;
	int rc = text_read(node, &text);

	if (rc < 0)
		return rc;
	len = word_decode(text, bytes);
	if (!len)
		return node_fail(node,
				 "\"%.80s\" will not do; it takes up to %d characters, \\xHH, \\r, "
				 "\\n, \\t, \\0 and \\\\",
				 text, WORD_BYTES_MAX);
	*out = word_encode(bytes, len);
	return *out ? 0 : -ENOMEM;
}

int config_regex_read(const struct node *node, char **out)
{
	char why[REGEX_WHY_MAX];
	const char *text;
	int rc = text_read(node, &text);

	if (rc < 0)
		return rc;
	if (regex_fault(text, why))
		return node_fail(node, "\"%.80s\" will not do; %s", text, why);
	return value_copy(text, out);
}

/* ---- ambiguity ---- */

/* RFC 9110 section 9.3 and RFC 5789: any other word may be a method, too, but hardly is one */
static bool begins_method(const uint8_t *bytes, size_t len)
{
	static const char *const methods[] = { "GET ",	   "HEAD ",    "POST ",	 "PUT ",  "DELETE ",
					       "CONNECT ", "OPTIONS ", "TRACE ", "PATCH " };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t method_len = strlen(methods[i]);

		if (!memcmp(bytes, methods[i], len < method_len ? len : method_len))
			return true;
	}
	return false;
}

static bool may_be(enum peek_answer answer)
{
	return answer != PEEK_OTHER;
}

/* Whom clients that begin so may be, of those that are looked for. NULL: nobody */
static const char *others_find(const struct config_listener *listener, const uint8_t *bytes,
			       size_t len)
{
	const struct peek_rules rules = { .targets = true };
	struct proxy_header header;
	struct hello hello;
	struct talk talk = { 0 };

	if (may_be(peek_tls(bytes, len, &hello)))
		return "TLS";
	if (may_be(peek_http2(bytes, len, &hello)) || begins_method(bytes, len))
		return "HTTP";
	if (listener->targets && (may_be(peek_socks5(&rules, &talk, bytes, len, &hello)) ||
				  may_be(peek_socks4(&rules, &talk, bytes, len, &hello))))
		return "SOCKS";
	if (listener->targets && may_be(peek_prefix(&rules, &talk, bytes, len, &hello)))
		return "a ladon prefix";
	if (listener->proxy_from && may_be(proxy_header_parse(bytes, len, &header)))
		return "a PROXY header";
	return NULL;
}

int config_words_check(const struct node *routes, const struct config_listener *listener)
{
	struct node rule = *routes;
	uint8_t bytes[WORD_BYTES_MAX];

	for (unsigned int i = 0; i < listener->routes_len; i++) {
		const struct config_route *route = &listener->routes[i];
		const char *other;

		if (!route->starts)
			continue;
		rule.line = route->line;
		other = others_find(listener, bytes, word_decode(route->starts, bytes));
		if (other)
			return node_fail(
				&rule,
				"a client that starts with \"%s\" may mean %s; let it be longer, "
				"or ask for that",
				route->starts, other);
	}
	return 0;
}
