// SPDX-License-Identifier: GPL-2.0-only
#include "srv.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "listing.h"
#include "place.h"

#define HEADER_BYTES   12
#define QUESTION_BYTES 4  /* behind its name */
#define RECORD_BYTES   10 /* behind its name, before its data */
#define SRV_BYTES      6  /* of the data, before the target */

_Static_assert(SRV_MAX <= CONFIG_RANK_MAX + 1, "a rank for each priority");

/* ---- the message ---- */

struct message {
	const uint8_t *bytes;
	size_t len, at;
};

struct record {
	uint16_t type, class;
	uint32_t ttl_s;
	size_t data, data_len;
};

static uint16_t get16(const struct message *m, size_t at)
{
	return (uint16_t)(m->bytes[at] << 8 | m->bytes[at + 1]);
}

static bool has(const struct message *m, size_t bytes)
{
	return m->len - m->at >= bytes;
}

/* Where it is, and past it. @out: NULL, or the name if it is short enough */
static int name_read(struct message *m, char out[SRV_HOST_MAX])
{
	char *name;
	long size;

	if (!has(m, 1) ||
	    ares_expand_name(m->bytes + m->at, m->bytes, (int)m->len, &name, &size) != ARES_SUCCESS)
		return -EBADMSG;
	m->at += (size_t)size;
	if (out)
		snprintf(out, SRV_HOST_MAX, "%s", strlen(name) < SRV_HOST_MAX ? name : "?");
	ares_free_string(name);
	return m->at <= m->len ? 0 : -EBADMSG;
}

static int record_read(struct message *m, struct record *out)
{
	int rc = name_read(m, NULL);

	if (rc < 0 || !has(m, RECORD_BYTES))
		return -EBADMSG;
	out->type = get16(m, m->at);
	out->class = get16(m, m->at + 2);
	out->ttl_s = (uint32_t)get16(m, m->at + 4) << 16 | get16(m, m->at + 6);
	out->data_len = get16(m, m->at + 8);
	out->data = m->at + RECORD_BYTES;
	m->at = out->data;
	if (!has(m, out->data_len))
		return -EBADMSG;
	m->at += out->data_len;
	return 0;
}

/* ---- the list ---- */

static int srv_compare(const struct srv *a, const struct srv *b)
{
	int order;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	order = strcmp(a->host, b->host);
	return order ? order : (a->port > b->port) - (a->port < b->port);
}

/* Kept in order; the last one gives way. A target that comes twice is one, of the first weight. */
static void srv_insert(struct srvs *srvs, const struct srv *srv)
{
	unsigned int at = srvs->len;

	while (at > 0 && srv_compare(srv, &srvs->list[at - 1]) < 0)
		at--;
	if (at == SRV_MAX || (at > 0 && srv_compare(srv, &srvs->list[at - 1]) == 0))
		return;
	if (srvs->len < SRV_MAX)
		srvs->len++;
	memmove(&srvs->list[at + 1], &srvs->list[at], (srvs->len - 1 - at) * sizeof(*srv));
	srvs->list[at] = *srv;
}

/* Return: 0; -ENODATA: it names nobody */
static int srv_read(const struct message *m, const struct record *record, struct srvs *out)
{
	struct message data = { m->bytes, record->data + record->data_len,
				record->data + SRV_BYTES };
	struct srv srv;

	if (record->data_len <= SRV_BYTES)
		return -EBADMSG;
	srv.priority = get16(m, record->data);
	srv.weight = get16(m, record->data + 2);
	srv.port = get16(m, record->data + 4);
	if (name_read(&data, srv.host) < 0)
		return -EBADMSG;
	if (!*srv.host)
		return -ENODATA;
	text_lower(srv.host);
	if (srv.port && !name_fault(srv.host) && !name_is_numeric(srv.host))
		srv_insert(out, &srv);
	return 0;
}

/* @nobody: a record says that there is no such service */
static int records_read(struct message *m, unsigned int count, struct srvs *out, bool *nobody)
{
	struct record record;
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < count; i++) {
		rc = record_read(m, &record);
		if (rc < 0)
			return rc;
		if (record.ttl_s < out->ttl_s) /* aliases count, too */
			out->ttl_s = record.ttl_s;
		if (record.type != SRV_TYPE || record.class != SRV_CLASS_IN)
			continue;
		rc = srv_read(m, &record, out);
		*nobody |= rc == -ENODATA;
		rc = rc == -ENODATA ? 0 : rc;
	}
	return rc;
}

int srv_parse(const uint8_t *bytes, size_t len, struct srvs *out)
{
	struct message m = { bytes, len, HEADER_BYTES };
	bool nobody = false;
	int rc = 0;

	if (len < HEADER_BYTES)
		return -EBADMSG;
	out->len = 0;
	out->ttl_s = UINT32_MAX;
	for (unsigned int i = get16(&m, 4); rc == 0 && i > 0; i--) {
		rc = name_read(&m, NULL);
		if (rc < 0 || !has(&m, QUESTION_BYTES))
			return -EBADMSG;
		m.at += QUESTION_BYTES;
	}
	rc = records_read(&m, get16(&m, 6), out, &nobody);
	if (rc == 0 && !out->len && !nobody)
		rc = -ENODATA;
	return rc;
}

/* ---- as backends ---- */

/* Of one priority */
struct scale {
	uint32_t most;
	bool any_zero;
};

static struct scale scale_of(const struct srvs *srvs, uint16_t priority)
{
	struct scale scale = { 0 };

	for (unsigned int i = 0; i < srvs->len; i++) {
		const struct srv *srv = &srvs->list[i];

		if (srv->priority != priority)
			continue;
		scale.any_zero |= srv->weight == 0;
		if (srv->weight > scale.most)
			scale.most = srv->weight;
	}
	return scale;
}

static uint32_t weight_of(const struct srv *srv, struct scale scale)
{
	uint32_t weight = srv->weight;

	if (scale.most > CONFIG_WEIGHT_MAX || (scale.any_zero && scale.most))
		weight = weight * CONFIG_WEIGHT_MAX / scale.most;
	return weight ? weight : 1;
}

static int srv_add(const struct srv *srv, uint16_t rank, uint32_t weight, struct listing *out)
{
	char text[SRV_HOST_MAX + sizeof(":65535")], why[LISTING_WHY_MAX];
	struct listed *listed;
	int rc;

	snprintf(text, sizeof(text), "%s:%u", srv->host, srv->port);
	rc = listing_add(out, text, &listed, why);
	if (rc < 0)
		return rc;
	listed->config.rank = rank;
	listed->config.weight = weight;
	return 0;
}

int srv_listing(const struct srvs *srvs, struct listing *out)
{
	struct scale scale = { 0 };
	uint16_t rank = 0;
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < srvs->len; i++) {
		const struct srv *srv = &srvs->list[i];
		bool is_next = i > 0 && srv->priority != srv[-1].priority;

		rank = (uint16_t)(rank + is_next);
		if (i == 0 || is_next)
			scale = scale_of(srvs, srv->priority);
		rc = srv_add(srv, rank, weight_of(srv, scale), out);
	}
	return rc;
}
