// SPDX-License-Identifier: GPL-2.0-only
#include "place.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX	253 /* RFC 1035 section 2.3.4, as text without the last dot */
#define LABEL_BYTES_MAX 63

/* ---- names ---- */

const char *label_fault(const char *label, size_t len)
{
	if (len == 0)
		return "a name neither begins nor ends with a dot, nor has two in a row";
	if (len > LABEL_BYTES_MAX)
		return "between two dots there are at most 63 characters";
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
			return "a name has letters, digits, '-' and '_' between its dots (other "
			       "scripts as xn--...), no scheme, port or path";
	return NULL;
}

const char *name_fault(const char *name)
{
	if (strlen(name) > NAME_BYTES_MAX)
		return "a name has at most 253 characters";
	for (;;) {
		size_t len = strcspn(name, ".");
		const char *fault = label_fault(name, len);

		if (fault || !name[len])
			return fault;
		name += len + 1;
	}
}

void text_lower(char *text)
{
	for (; text && *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

static bool all_digits(const char *text)
{
	while (isdigit((unsigned char)*text))
		text++;
	return !*text;
}

/*
 * A name whose last label is a number is an IPv4 address that went wrong:
 * getaddrinfo(3) would take 10.0.2 for 10.0.0.2.
 */
bool name_is_numeric(const char *host)
{
	const char *dot = strrchr(host, '.');

	return all_digits(dot ? dot + 1 : host);
}

/* ---- places ---- */

static const char scope_wanted[] =
	"a link-local address needs its interface, as in \"[fe80::1%eth0]:443\"";

/* Return: -EINVAL */
static int refuse(const char *text, const char *wanted, char why[PLACE_WHY_MAX])
{
	snprintf(why, PLACE_WHY_MAX, "\"%.80s\" will not do; %s", text, wanted);
	return -EINVAL;
}

void place_refuse(const char *text, const char *other, char why[PLACE_WHY_MAX])
{
	struct addr a;

	if (addr_parse(text, &a) == 0 && addr_lacks_scope(&a))
		refuse(text, scope_wanted, why);
	else if (addr_parse_host(text, 0, &a) == 0 && a.sa.sa_family == AF_INET)
		snprintf(why, PLACE_WHY_MAX, "\"%s\" has no port; write \"%s:443\"", text, text);
	else if (addr_parse_host(text, 0, &a) == 0)
		refuse(text,
		       "IPv6 is written in brackets and with a port, as in "
		       "\"[2001:db8::1]:443\"",
		       why);
	else if (strchr(text, '%'))
		refuse(text, "what stands after '%' must be an interface of this host", why);
	else
		refuse(text, other, why);
}

static int name_parse(struct config_backend *backend, char why[PLACE_WHY_MAX])
{
	static const char other[] = "it takes an address or a name, and a port, as in "
				    "\"10.0.2.2:443\", \"[2001:db8::1]:443\" or "
				    "\"www.example.org:443\"";
	const char *port = strrchr(backend->text, ':');
	unsigned long number =
		port && isdigit((unsigned char)port[1]) ? strtoul(port + 1, NULL, 10) : 0;
	const char *fault;

	if (!port || number < 1 || number > UINT16_MAX || !all_digits(port + 1)) {
		place_refuse(backend->text, other, why);
		return -EINVAL;
	}
	backend->host = strndup(backend->text, (size_t)(port - backend->text));
	if (!backend->host)
		return -ENOMEM;
	if (!*backend->host || strpbrk(backend->host, ":[]") || name_is_numeric(backend->host)) {
		place_refuse(backend->text, other, why);
		return -EINVAL;
	}
	text_lower(backend->host);
	fault = name_fault(backend->host);
	if (fault)
		return refuse(backend->text, fault, why);
	backend->port = (uint16_t)number;
	return 0;
}

int place_parse(const char *text, struct config_backend *backend, char why[PLACE_WHY_MAX])
{
	backend->text = strdup(text);
	if (!backend->text)
		return -ENOMEM;
	if (addr_parse(text, &backend->addr) < 0)
		return name_parse(backend, why);
	if (addr_lacks_scope(&backend->addr))
		return refuse(text, scope_wanted, why);
	backend->port = addr_port(&backend->addr);
	if (backend->port && !addr_is_any(&backend->addr))
		return 0;
	snprintf(why, PLACE_WHY_MAX,
		 "\"%s\" cannot be connected to; it takes the address and the port of a backend",
		 text);
	return -EINVAL;
}
