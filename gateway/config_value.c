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
#include "target.h"

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

static int interface_add(void *next, const struct node *item)
{
	char ***at = next;

	return value_interface(item, (*at)++);
}

int value_interfaces(const struct node *node, char ***out)
{
	unsigned int len;
	char **next;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	*out = calloc((size_t)len + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	next = *out;
	return node_each(node, interface_add, &next);
}

void texts_free(char **texts)
{
	for (char **text = texts; text && *text; text++)
		free(*text);
	free(texts);
}

/* A port or a range of them */
static int ports_item(const struct node *node, struct target_ports *out)
{
	const char *text;
	uint32_t port = 0;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (strchr(text, '-'))
		return node_range(node, 1, UINT16_MAX, &out->from, &out->to);
	rc = node_number(node, 1, UINT16_MAX, &port);
	out->from = out->to = (uint16_t)port;
	return rc;
}

struct ports_list {
	struct target_ports *ports;
	unsigned int *len;
};

static int ports_add(void *arg, const struct node *item)
{
	const struct ports_list *list = arg;

	return ports_item(item, &list->ports[(*list->len)++]);
}

int value_ports(const struct node *node, struct target_ports **out, unsigned int *out_len)
{
	struct ports_list list;
	unsigned int len;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	*out = calloc(len, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	list = (struct ports_list){ *out, out_len };
	return node_each(node, ports_add, &list);
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

static const char scope_wanted[] =
	"a link-local address needs its interface, as in \"fe80::1%eth0\"";

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
	if (addr_parse(text, out) < 0 || addr_port(out) == 0 || addr_lacks_scope(out))
		return address_fail(node, text, other);
	return 0;
}

int value_reset(const struct node *node, bool *reset)
{
	static const char *const words[] = { "keep", "reset" };
	unsigned int word = *reset;
	int rc = node_word(node, words, 2, NULL, &word);

	*reset = word;
	return rc;
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
	if (addr_lacks_scope(out))
		return refuse(node, text, scope_wanted);
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
	if (addr_lacks_scope(out))
		return refuse(node, text, scope_wanted);
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

static int cidrs_item(void *out, const struct node *node)
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
	return node_each(node, cidrs_item, out);
}

int value_cidrs(const struct node *node, struct cidrs *out)
{
	int rc = value_prefixes(node, out);

	cidrs_seal(out);
	return rc;
}
