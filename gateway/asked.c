// SPDX-License-Identifier: GPL-2.0-only
#include "asked.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../paths/lookup.h"
#include "conn.h"
#include "locals.h"
#include "original.h"
#include "target.h"

struct asked {
	struct conn *conn;
	struct lookup lookup;
	struct answer found;
	unsigned int next; /* of .found.addrs */
	bool is_known;	   /* .found is there */
	uint16_t port;
	bool refused; /* an address, at least */
	char name[];  /* as hello.name */
};

static void asked_told(struct lookup *lookup, const struct answer *answer)
{
	struct asked *asked = container_of(lookup, struct asked, lookup);

	asked->found = *answer;
	asked->is_known = true;
	if (answer->status == LOOKUP_FAILED)
		log_limited(LOG_LEVEL_WARN, "target %s: no name server answers", asked->name);
	conn_later(asked->conn);
}

static struct asked *asked_new(struct conn *c, const struct hello *hello)
{
	size_t size = strlen(hello->name) + 1;
	struct asked *asked = calloc(1, sizeof(*asked) + size);

	if (!asked)
		return NULL;
	asked->conn = c;
	asked->lookup.told = asked_told;
	memcpy(asked->name, hello->name, size);
	asked->port = hello->port;
	return asked;
}

/* Brackets are how a hello has an IPv6 address. */
static int asked_parse(const char *name, struct addr *out)
{
	char text[ADDR_TEXT_MAX];
	size_t len = strlen(name);

	if (*name != '[')
		return addr_parse_host(name, 0, out);
	if (len - 2 >= sizeof(text))
		return -EINVAL;
	memcpy(text, name + 1, len - 2);
	text[len - 2] = '\0';
	return addr_parse_host(text, 0, out);
}

/* Who waits for a name is not kept without an acknowledgement for longer than others. */
static int asked_wait(struct conn *c)
{
	int rc;

	if (c->late)
		return -ENOENT;
	if (c->front.ready & EPOLLERR)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (c->guarded && c->woken && c->first.len)
		conn_acknowledge(c, LADON_REASON_SLOW_CONNECT);
	if (c->front.events)
		return -EAGAIN;
	rc = loop_watch(&c->worker->loop, &c->front, CONN_READING);
	return rc < 0 ? conn_lack(c, "epoll", rc) : -EAGAIN;
}

static bool is_original(const struct conn *c)
{
	return conn_setup(c)->config->pools[c->route->pool].backends[0].original;
}

/* The client's packets have asked. */
static int asked_original(struct asked *asked)
{
	struct addr *to = &asked->found.addrs[0];
	int rc = original_find(asked->conn, to);

	asked->is_known = true;
	asked->found.len = rc == 0;
	asked->port = addr_port(to);
	return rc;
}

/* Return: 0: what there is to know is in c->asked; -EAGAIN: later; or why not */
static int asked_find(struct conn *c)
{
	struct gateway *gateway = c->worker->gateway;
	struct asked *asked = c->asked;
	int rc;

	if (asked)
		return asked->is_known ? 0 : asked_wait(c);
	asked = c->asked = asked_new(c, &c->worker->hello);
	if (!asked)
		return conn_lack(c, "memory for a target", -ENOMEM);
	if (is_original(c))
		return asked_original(asked);
	if (asked_parse(asked->name, &asked->found.addrs[0]) == 0) {
		asked->found.len = 1;
		rc = 0;
	} else {
		rc = lookup_ask(&asked->lookup, gateway->lookups, &c->worker->notes, asked->name,
				conn_now(c), &asked->found);
	}
	asked->is_known = rc == 0;
	if (rc != -EINPROGRESS)
		return rc;
	conn_limit(c, c->listener->config->connect_ms);
	conn_wake(c, CONN_PATIENCE_MS);
	return asked_wait(c);
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
	while (asked->next < asked->found.len) {
		c->to = asked->found.addrs[asked->next++];
		addr_set_port(&c->to, asked->port);
		if (asked_may(c, &c->to))
			return 0;
		asked->refused = true;
	}
	return asked->refused && !c->failed ? -EACCES : -ENOENT;
}

void asked_free(struct conn *c)
{
	if (c->asked)
		lookup_forget(&c->asked->lookup);
	free(c->asked);
	c->asked = NULL;
}
