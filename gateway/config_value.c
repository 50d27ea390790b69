// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_value.c - the kinds of value that ladon.yaml has: names, addresses, paths
 */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/own.h"
#include "../paths/place.h"
#include "peek.h"

#define PORT_DNS	53
#define ALPN_BYTES_MAX	255 /* RFC 7301 section 3.1 */
#define LIST_BYTES_MAX	(16 * 1024 * 1024)
#define FILE_PREFIX	"file:"
#define LIST_BYTES_COST 1024 /* so many cost as much as a value */

int value_copy(const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

static int refuse(const struct node *node, const char *text, const char *wanted)
{
	return node_fail(node, "\"%.80s\" will not do; %s", text, wanted);
}

/* ---- names ---- */

static bool all_of(const char *text, int (*is)(int))
{
	while (*text && is((unsigned char)*text))
		text++;
	return !*text;
}

static const char *pattern_fault(const char *name)
{
	if (strcmp(name, "*") == 0)
		return NULL;
	if (strncmp(name, "*.", 2) == 0)
		name += 2;
	if (strchr(name, '*'))
		return "a \"*\" stands alone or for what comes first, as in \"*.example.org\"";
	return name_fault(name);
}

int value_label(const struct node *node, char **out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (label_fault(text, strlen(text)))
		return refuse(node, text, "it takes up to 63 letters, digits, '-' and '_'");
	return value_copy(text, out);
}

int value_pattern(const struct node *node, char **out)
{
	const char *text, *fault;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	fault = pattern_fault(text);
	if (fault)
		return refuse(node, text, fault);
	rc = value_copy(text, out);
	text_lower(*out);
	return rc;
}

int value_alpn(const struct node *node, char **out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (strlen(text) > ALPN_BYTES_MAX || !all_of(text, isgraph))
		return refuse(node, text,
			      "it takes an ALPN protocol, such as "
			      "h2 or http/1.1");
	return value_copy(text, out);
}

int value_prefix(const struct node *node, char **out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (*text != '/' || !all_of(text, isgraph) || strpbrk(text, "?#*") ||
	    strlen(text) >= PEEK_PATH_MAX)
		return refuse(node, text,
			      "it takes the beginning of a path, "
			      "such as /api/, without '?', '#', '*' and spaces");
	return value_copy(text, out);
}

int value_interface(const struct node *node, char **out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (strlen(text) >= IF_NAMESIZE || strpbrk(text, "/: "))
		return refuse(node, text, "it takes the name of an interface, such as eth0");
	return value_copy(text, out);
}

int value_file(const struct node *node, size_t max, char **out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (*text != '/' || strlen(text) > max)
		return node_fail(
			node,
			"\"%.80s\" will not do; it takes a path that begins with '/' and has at most %zu characters",
			text, max);
	return value_copy(text, out);
}

int value_percent(const struct node *node, uint32_t *out)
{
	const char *text;
	unsigned long number;
	char *end;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	number = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
	if (number < 1 || number > 100 || strcmp(end, "%") != 0)
		return refuse(node, text, "it takes a share from 1% to 100%, such as 50%");
	*out = (uint32_t)number;
	return 0;
}

/* ---- addresses ---- */

/* @other is for who forgot neither a port nor brackets. */
static int address_fail(const struct node *node, const char *text, const char *other)
{
	char why[PLACE_WHY_MAX];

	place_refuse(text, other, why);
	return node_fail(node, "%s", why);
}

int value_listen(const struct node *node, struct addr *out)
{
	static const char other[] = "it takes an address and a port, as in \"0.0.0.0:443\" or "
				    "\"[::]:443\"";
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (addr_parse(text, out) < 0 || addr_port(out) == 0)
		return address_fail(node, text, other);
	return 0;
}

int value_source(const struct node *node, struct addr *out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (addr_parse_host(text, 0, out) < 0 || addr_is_any(out))
		return refuse(node, text,
			      "it takes an address of this host "
			      "without a port, as in 192.0.2.1 or 2001:db8::1");
	return 0;
}

int value_server(const struct node *node, struct addr *out)
{
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if ((addr_parse(text, out) < 0 && addr_parse_host(text, PORT_DNS, out) < 0) ||
	    addr_port(out) == 0 || addr_is_any(out))
		return refuse(node, text,
			      "it takes the address of a name server, as in 192.0.2.1, "
			      "\"192.0.2.1:5353\" or \"[2001:db8::1]:53\"");
	return 0;
}

int value_backend(const struct node *node, struct config_backend *backend)
{
	char why[PLACE_WHY_MAX];
	const char *text;
	int rc = node_text(node, &text);

	if (rc == 0)
		rc = place_parse(text, backend, why);
	else
		return rc;
	return rc == -EINVAL ? node_fail(node, "%s", why) : rc;
}

/* ---- lists of addresses ---- */

int value_listed(const struct node *node, const char *path, char **out, size_t *len)
{
	struct stat status;
	int rc;

	if (*path != '/')
		return node_fail(
			node, "\"%.80s\" will not do; it takes a path that begins with '/'", path);
	rc = stat(path, &status) < 0 ? -errno : 0;
	if (rc == 0 && !S_ISREG(status.st_mode))
		return node_fail(node, "%.200s is no ordinary file", path);
	if (rc == 0)
		rc = file_read(path, LIST_BYTES_MAX, out, len);
	if (rc < 0)
		return node_fail(node, "%.200s cannot be read by user %u: %s", path, geteuid(),
				 strerror(-rc));
	return node_spend(node, (unsigned int)(*len / LIST_BYTES_COST));
}

static int cidrs_listed(const struct node *node, const char *path, struct cidrs *out)
{
	_free_ char *text = NULL;
	char why[CIDR_WHY_MAX];
	unsigned int line;
	size_t len;
	int rc = value_listed(node, path, &text, &len);

	if (rc == 0)
		rc = cidrs_read(out, text, len, &line, why);
	else
		return rc;
	return rc == -EINVAL ? node_fail(node, "%.200s:%u: %s", path, line, why) : rc;
}

static int cidrs_item(const struct node *node, struct cidrs *out)
{
	char why[CIDR_WHY_MAX];
	struct cidr cidr;
	const char *text;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (strncmp(text, FILE_PREFIX, strlen(FILE_PREFIX)) == 0)
		return cidrs_listed(node, text + strlen(FILE_PREFIX), out);
	rc = cidr_parse(text, &cidr, why);
	return rc < 0 ? node_fail(node, "%s", why) : cidrs_add(out, &cidr);
}

int value_prefixes(const struct node *node, struct cidrs *out)
{
	unsigned int len;
	int rc = node_list(node, &len);

	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		struct node item;

		node_item(node, i, &item);
		rc = cidrs_item(&item, out);
	}
	return rc;
}

int value_cidrs(const struct node *node, struct cidrs *out)
{
	int rc = value_prefixes(node, out);

	cidrs_seal(out);
	return rc;
}
