// SPDX-License-Identifier: GPL-2.0-only
#include "proxied.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../base/cidr.h"
#include "admit.h"
#include "conn.h"
#include "proxy_header.h"

/* ---- heard ---- */

void proxied_begin(struct conn *c)
{
	const struct cidrs *from = c->listener->config->proxy_from;

	c->who = c->client;
	c->header_due = from && cidrs_has(from, &c->client);
}

/* Whoever must not say one may begin like it: as long as it could be one, it is waited for. */
static int proxied_distrust(struct conn *c)
{
	struct proxy_header header;

	if (!c->listener->config->proxy_from || !c->listener->config->peek || c->header.len)
		return 0;
	switch (proxy_header_parse(c->first.bytes, c->first.len, &header)) {
	case PEEK_OTHER:
		return 0;
	case PEEK_MORE:
		return -EAGAIN;
	default:
		return conn_turn_away(c, LADON_REASON_PROXY_UNTRUSTED);
	}
}

/*
 * A proxy that hands off, too, says its header by itself, and nothing more until that has been
 * acknowledged (say.c); and we have nothing to say.
 */
static void header_heard(const struct conn *c)
{
	if (c->guarded && !c->first.len)
		ladon_acknowledge_consumed(c->worker->gateway->ladon, c->front.fd, c->consumed);
}

static int header_keep(struct conn *c, const struct proxy_header *header)
{
	if (kept_append(&c->header, c->first.bytes, (uint32_t)header->len) < 0)
		return conn_lack(c, "memory for a PROXY header", -ENOMEM);
	if (header->has_addresses)
		c->who = header->source;
	kept_drop(&c->first, (uint32_t)header->len);
	c->header_due = false;
	conn_consumed(c, c->consumed + (uint32_t)header->len);
	header_heard(c);
	return conn_admit(c); /* who the client is has been said just now */
}

int proxied_read(struct conn *c)
{
	struct proxy_header header;
	char text[ADDR_TEXT_MAX];
	int rc;

	if (!c->header_due)
		return proxied_distrust(c);
	switch (proxy_header_parse(c->first.bytes, c->first.len, &header)) {
	case PEEK_MORE:
		return -EAGAIN;
	case PEEK_OTHER:
		return conn_turn_away(c, LADON_REASON_PROXY_MISSING);
	case PEEK_BAD:
		return conn_turn_away(c, header.reason);
	case PEEK_FOUND:
		break;
	}
	rc = header_keep(c, &header);
	if (rc == 0)
		conn_debug(c, "proxied: for %s", addr_format(&c->who, text));
	return rc;
}

/* ---- said ---- */

/* What came in is passed on: its TLVs, and where the client connected to. */
static void introduce_from(const struct conn *c, struct proxy_header *out)
{
	struct proxy_header heard;

	if (!c->header.len ||
	    proxy_header_parse(c->header.bytes, c->header.len, &heard) != PEEK_FOUND)
		return;
	out->has_checksum = heard.has_checksum;
	out->authority = heard.authority;
	out->alpn = heard.alpn;
	out->unique_id = heard.unique_id;
	out->ssl = heard.ssl;
	out->tlvs = heard.tlvs;
	if (heard.has_addresses) {
		out->has_addresses = true;
		out->source = heard.source;
		out->destination = heard.destination;
	}
}

/* The socket's own two */
static bool introduce_socket(const struct conn *c, struct proxy_header *out)
{
	socklen_t len = sizeof(out->destination);

	out->source = c->client;
	out->has_addresses = getsockname(c->front.fd, &out->destination.sa, &len) == 0;
	return out->has_addresses;
}

static struct proxy_text text_of(const void *at, size_t len)
{
	return (struct proxy_text){ len ? at : NULL, len };
}

/* Of several protocols the backend chooses. */
static struct proxy_text only_alpn(const struct hello *hello)
{
	if (!hello->alpn_len || hello->alpn_len != 1 + (size_t)hello->alpn[0])
		return (struct proxy_text){ 0 };
	return text_of(hello->alpn + 1, hello->alpn[0]);
}

/* The time makes it differ from those of another run. */
static size_t unique_id(const struct conn *c, char *out, size_t size)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (size_t)snprintf(out, size, "%jx%05lx-%" PRIx64, (intmax_t)now.tv_sec,
				now.tv_nsec / 1000, c->id);
}

int proxied_introduce(struct conn *c)
{
	const struct config_send_proxy *how =
		&conn_setup(c)->config->pools[c->route->pool].send_proxy;
	const struct hello *hello = &c->worker->hello;
	struct proxy_header header = { .version = how->version };
	uint8_t bytes[PROXY_BYTES_MAX];
	char id[PROXY_UNIQUE_ID_MAX];
	size_t len;

	if (!how->version)
		return 0;
	introduce_from(c, &header);
	if (!header.has_addresses && !introduce_socket(c, &header))
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (how->authority && !header.authority.at)
		header.authority = text_of(hello->name, strlen(hello->name));
	if (how->alpn && !header.alpn.at)
		header.alpn = only_alpn(hello);
	if (how->unique_id && !header.unique_id.at)
		header.unique_id = text_of(id, unique_id(c, id, sizeof(id)));
	len = proxy_header_format(&header, bytes);
	if (!len) { /* with what was added to what came in */
		header.tlvs = header.ssl = (struct proxy_text){ 0 };
		len = proxy_header_format(&header, bytes);
	}
	if (kept_append(&c->introduction, bytes, (uint32_t)len) < 0)
		return conn_lack(c, "memory for a PROXY header", -ENOMEM);
	return 0;
}
