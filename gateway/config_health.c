// SPDX-License-Identifier: GPL-2.0-only
#include "config_health.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"

#define INTERVAL_MS	5000
#define INTERVAL_MIN_MS 100 /* more often is a load of its own */
#define TIMEOUT_MS	2000
#define RISE		2
#define FALL		3
#define IN_A_ROW_MAX	1000
#define STATUS_MIN	200
#define STATUS_MAX	399
#define COMMAND_MAX	64

enum key {
	CHECK,
	INTERVAL,
	TIMEOUT,
	RISE_KEY,
	FALL_KEY,
	PORT,
	PATH,
	HOST,
	STATUS,
	SNI,
	VERIFY,
	CA,
	COMMAND,
	KEYS
};
static const char *const keys[KEYS] = { "check",  "interval", "timeout", "rise",   "fall",
					"port",	  "path",     "host",	 "status", "sni",
					"verify", "ca",	      "command" };

static const char *const checks[HEALTH_CHECKS] = {
	[HEALTH_TCP] = "tcp",	  [HEALTH_HTTP] = "http",     [HEALTH_TLS] = "tls",
	[HEALTH_HTTPS] = "https", [HEALTH_SCRIPT] = "script",
};

#define HTTP_CHECKS (1U << HEALTH_HTTP | 1U << HEALTH_HTTPS)
#define TLS_CHECKS  (1U << HEALTH_TLS | 1U << HEALTH_HTTPS)

/* Keys that not every check has: a bit for each that does, and their names */
static const struct only {
	enum key key;
	unsigned int checks;
	const char *names;
} onlys[] = {
	{ PATH, HTTP_CHECKS, "http' or 'https" },   { HOST, HTTP_CHECKS, "http' or 'https" },
	{ STATUS, HTTP_CHECKS, "http' or 'https" }, { SNI, TLS_CHECKS, "tls' or 'https" },
	{ VERIFY, TLS_CHECKS, "tls' or 'https" },   { CA, TLS_CHECKS, "tls' or 'https" },
	{ COMMAND, 1U << HEALTH_SCRIPT, "script" },
};

static int check_read(const struct node *node, enum health_check *out)
{
	unsigned int word = 0;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; it takes the kind of check, such as tcp");
	rc = node_word(node, &checks[HEALTH_TCP], HEALTH_CHECKS - HEALTH_TCP, NULL, &word);
	*out = (enum health_check)(HEALTH_TCP + word);
	return rc;
}

/* When, and how often until it counts */
static int times_read(const struct node *at, struct config_health *health)
{
	int rc = node_ms(&at[INTERVAL], &health->interval_ms);

	if (rc == 0 && health->interval_ms < INTERVAL_MIN_MS)
		return node_fail(&at[INTERVAL], "is too short; it takes %u ms at least",
				 INTERVAL_MIN_MS);
	if (rc == 0)
		rc = node_ms(&at[TIMEOUT], &health->timeout_ms);
	if (rc == 0)
		rc = node_number(&at[RISE_KEY], 1, IN_A_ROW_MAX, &health->rise);
	if (rc == 0)
		rc = node_number(&at[FALL_KEY], 1, IN_A_ROW_MAX, &health->fall);
	return rc;
}

static int keys_check(const struct node *at, enum health_check check)
{
	for (size_t i = 0; i < sizeof(onlys) / sizeof(onlys[0]); i++)
		if (at[onlys[i].key].yaml && !(onlys[i].checks & 1U << check))
			return node_fail(&at[onlys[i].key], "goes only with 'check: %s'",
					 onlys[i].names);
	return 0;
}

/* ---- HTTP, TLS ---- */

#define TEXT_MAX   255
#define TARGET_MAX 1023

/* A word of visible characters that goes into a request as it stands; a missing one stays NULL */
static int word_read(const struct node *node, size_t max, const char *what, char **out)
{
	const char *text;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	for (const char *c = text; *c; c++)
		if (!isascii(*c) || !isgraph((unsigned char)*c))
			rc = -EINVAL;
	if (rc < 0 || strlen(text) > max || (*what == '/' && *text != '/'))
		return node_fail(node,
				 "\"%.80s\" will not do; it takes up to %zu visible ASCII "
				 "characters, such as %s",
				 text, max, what);
	return value_copy(text, out);
}

/* A status, or two with a hyphen */
static bool statuses_parse(const char *text, struct config_statuses *out)
{
	unsigned long from, to;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	from = to = strtoul(text, &end, 10);
	if (*end == '-' && isdigit((unsigned char)end[1]))
		to = strtoul(end + 1, &end, 10);
	if (*end || from < 100 || to > 999 || from > to)
		return false;
	*out = (struct config_statuses){ (uint16_t)from, (uint16_t)to };
	return true;
}

static int status_add(void *arg, const struct node *item)
{
	struct config_health *health = arg;
	const char *text;
	int rc = node_text(item, &text);

	if (rc < 0)
		return rc;
	if (statuses_parse(text, &health->statuses[health->statuses_len++]))
		return 0;
	return node_fail(item,
			 "\"%.40s\" will not do; it takes a status or a range of them, such as 200 "
			 "or 200-399",
			 text);
}

/* One, or a list of them; none: as it is */
static int statuses_read(const struct node *node, struct config_health *health)
{
	unsigned int len;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	if (len > CONFIG_STATUSES_MAX)
		return node_fail(node, "has %u items; it takes up to %u", len, CONFIG_STATUSES_MAX);
	health->statuses_len = 0;
	return node_each(node, status_add, health);
}

static int http_read(const struct node *at, struct config_health *health)
{
	int rc;

	health->statuses[0] = (struct config_statuses){ STATUS_MIN, STATUS_MAX };
	health->statuses_len = 1;
	rc = word_read(&at[PATH], TARGET_MAX, "/alive", &health->texts[HEALTH_PATH]);
	if (rc == 0)
		rc = word_read(&at[HOST], TEXT_MAX, "www.example.org", &health->texts[HEALTH_HOST]);
	if (rc == 0)
		rc = statuses_read(&at[STATUS], health);
	return rc;
}

static int tls_read(const struct node *at, struct config_health *health)
{
	int rc = word_read(&at[SNI], TEXT_MAX, "www.example.org", &health->texts[HEALTH_SNI]);

	if (rc == 0)
		rc = node_bool(&at[VERIFY], &health->verify);
	if (rc < 0 || !at[CA].yaml)
		return rc;
	if (!health->verify)
		return node_fail(&at[CA], "goes only with 'verify: yes'");
	return value_file(&at[CA], PATH_MAX - 1, &health->texts[HEALTH_CA]);
}

/* ---- script ---- */

struct command_list {
	char **first, **next;
};

static int command_add(void *arg, const struct node *item)
{
	struct command_list *list = arg;
	char **out = list->next++;
	const char *text;
	int rc;

	if (out == list->first)
		return value_file(item, PATH_MAX - 1, out);
	rc = node_text(item, &text);
	return rc < 0 ? rc : value_copy(text, out);
}

static int command_read(const struct node *node, struct config_health *health)
{
	struct command_list list;
	unsigned int len;
	int rc;

	if (health->check != HEALTH_SCRIPT)
		return 0;
	if (!node->yaml)
		return node_fail(node, "is missing; it takes a path, and arguments, as in "
				       "[/usr/local/bin/check, --quick]");
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	if (len > COMMAND_MAX)
		return node_fail(node, "has %u items; it takes up to %u", len, COMMAND_MAX);
	health->command = calloc(len + 1, sizeof(*health->command));
	if (!health->command)
		return -ENOMEM;
	list.first = list.next = health->command;
	return node_each(node, command_add, &list);
}

int config_health(const struct node *node, struct config_pool *pool)
{
	struct config_health *health = &pool->health;
	struct node at[KEYS];
	uint32_t port = 0;
	int rc;

	if (!node->yaml)
		return 0;
	if (pool->backends[0].requested)
		return node_fail(node, "goes not with %s backends, of which none is known "
				       "before a client asks for it", pool->backends[0].text);
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0)
		rc = check_read(&at[CHECK], &health->check);
	if (rc == 0)
		rc = keys_check(at, health->check);
	if (rc < 0)
		return rc;
	health->interval_ms = INTERVAL_MS;
	health->timeout_ms = TIMEOUT_MS;
	health->rise = RISE;
	health->fall = FALL;
	rc = times_read(at, health);
	if (rc == 0)
		rc = node_number(&at[PORT], 1, UINT16_MAX, &port);
	health->port = (uint16_t)port;
	if (rc == 0)
		rc = http_read(at, health);
	if (rc == 0)
		rc = tls_read(at, health);
	if (rc == 0)
		rc = command_read(&at[COMMAND], health);
	return rc;
}
