// SPDX-License-Identifier: GPL-2.0-only
#include "asked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "locals.h"
#include "target.h"

struct asked {
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int len, next;
	uint16_t port;
	bool refused; /* an address, at least */
	char name[]; /* as hello.name */
};

static struct asked *asked_new(const struct hello *hello)
{
	size_t size = strlen(hello->name) + 1;
	struct asked *asked = calloc(1, sizeof(*asked) + size);

	if (!asked)
		return NULL;
	memcpy(asked->name, hello->name, size);
	asked->port = hello->port;
	return asked;
}

/* Brackets are how a hello has an IPv6 address. */
static int asked_parse(const char *name, uint16_t port, struct addr *out)
{
	char text[ADDR_TEXT_MAX];
	size_t len = strlen(name);

	if (*name != '[')
		return addr_parse_host(name, port, out);
	if (len - 2 >= sizeof(text))
		return -EINVAL;
	memcpy(text, name + 1, len - 2);
	text[len - 2] = '\0';
	return addr_parse_host(text, port, out);
}

/* Return: 0: its addresses are known */
static int asked_find(struct conn *c)
{
	struct asked *asked = c->asked;

	if (asked)
		return 0;
	asked = c->asked = asked_new(&c->worker->hello);
	if (!asked)
		return conn_lack(c, "memory for a target", -ENOMEM);
	if (asked_parse(asked->name, asked->port, &asked->addrs[0]) == 0)
		asked->len = 1;
	return 0;
}

static bool asked_may(const struct conn *c, const struct addr *to)
{
	return target_admits(c->listener->config->reach, to, locals_has, &c->worker->locals);
}

int asked_next(struct conn *c)
{
	int rc = asked_find(c);
	struct asked *asked = c->asked;

	if (rc < 0)
		return rc;
	while (asked->next < asked->len) {
		const struct addr *to = &asked->addrs[asked->next++];

		if (asked_may(c, to)) {
			c->to = *to;
			return 0;
		}
		asked->refused = true;
	}
	return asked->refused && !c->failed ? -EACCES : -ENOENT;
}

void asked_free(struct conn *c)
{
	free(c->asked);
	c->asked = NULL;
}
