// SPDX-License-Identifier: GPL-2.0-only
#include "ends.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"
#include "access_line.h"
#include "callers.h"
#include "conn.h"
#include "flows.h"
#include "report.h"
#include "setup.h"
#include "ticket.h"

struct ends {
	struct access *access;
	enum access_format format;
};

/* ---- life ---- */

int ends_open(const struct config *config, struct ends **out)
{
	const char *path = config->access_to == ACCESS_FILE ? config->access_path : NULL;
	struct ends *ends;
	int rc;

	*out = NULL;
	if (config->access_to == ACCESS_OFF)
		return 0;
	ends = calloc(1, sizeof(*ends));
	rc = ends ? access_open(path, &ends->access) : -ENOMEM;
	if (rc == 0) {
		ends->format = config->access_format;
		*out = ends;
		return 0;
	}
	log_err("access-log %s: %s", path ? path : "stderr", strerror(-rc));
	ends_close(ends);
	return rc;
}

void ends_close(struct ends *ends)
{
	if (!ends)
		return;
	access_close(ends->access);
	free(ends);
}

void ends_reopen(struct ends *ends)
{
	if (ends)
		access_reopen(ends->access);
}

void ends_count(struct ends *ends, struct access_counts *out)
{
	*out = (struct access_counts){ 0 };
	if (ends)
		access_count(ends->access, out);
}

/* ---- lines ---- */

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void line_add(struct ends *ends, const struct access_line *line)
{
	char out[ACCESS_LINE_MAX];

	access_add(ends->access, out, access_line_format(line, ends->format, out));
}

static const char *by_text(bool by_client)
{
	return by_client ? "client" : "backend";
}

/* Empty texts are unknown ones. */
static const char *known(const char *text)
{
	return text && *text ? text : NULL;
}

/* ---- connections ---- */

void ends_name(struct conn *c, const char *name)
{
	if (c->worker->gateway->ends && *name)
		c->name = strdup(name); /* without memory the line lacks it */
}

void ends_user(struct conn *c, const char *user)
{
	if (c->worker->gateway->ends && *user)
		c->user = strdup(user);
}

static const char *conn_pool_name(const struct conn *c)
{
	return c->route ? pool_name(conn_setup(c)->pools[c->route->pool]) : NULL;
}

/* A reason's word says it but for two: what both ends did, and what one of them did to the other. */
static void conn_end_say(const struct conn *c, struct access_line *line)
{
	bool by_client = c->closed == LADON_REASON_CLIENT_GONE;

	line->end = c->closed ? ladon_reason_name(c->closed) : "closed";
	line->by = by_client ? "client" : "ladon";
	if (c->closed == LADON_REASON_RELAY_ERROR) {
		line->end = "reset";
		line->by = by_text(c->front.ready & EPOLLERR);
	} else if (!c->closed) {
		line->by = by_text(c->relay.by_client);
	}
}

void ends_conn(const struct conn *c)
{
	struct ends *ends = c->worker->gateway->ends;
	char client[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];
	bool relayed = relay_began(&c->relay);
	struct access_line line = {
		.time_ms = wall_ms(),
		.duration_ms = clock_ms() - c->began_ms,
		.listener = c->listener->config->name,
		.name = c->name,
		.user = c->user,
		.pool = conn_pool_name(c),
		.how = relayed ? "relay" : "none",
		.why = relayed ? ladon_reason_name(c->relayed) : NULL,
		.bytes_in = c->relay.in.sent,
		.bytes_out = c->relay.out.sent,
	};

	if (!ends)
		return;
	line.client = addr_format(&c->who, client);
	if (c->backend || c->failed)
		line.backend = addr_format(&c->to, backend);
	conn_end_say(c, &line);
	line_add(ends, &line);
}

/* ---- flows ---- */

/* Nobody needs one: a handed-off connection costs no memory then. */
static bool is_forgotten(const struct conn *c)
{
	return !c->worker->gateway->ends && !c->caller;
}

uint32_t ends_leave(struct conn *c)
{
	struct gateway *gateway = c->worker->gateway;
	struct ticket *ticket;
	uint32_t id;

	if (is_forgotten(c))
		return 0;
	ticket = ticket_new(c->listener->config->name, conn_pool_name(c), c->name ? c->name : "",
			    c->user ? c->user : "");
	if (!ticket)
		return 0;
	id = ticket->id = ladon_flow_id(gateway->ladon);
	ticket->began_ms = c->began_ms;
	ticket->who = c->who;
	ticket->bytes_in = c->relay.in.sent + c->first.len;
	ticket->bytes_out = c->relay.out.sent;
	ticket->why = relay_began(&c->relay) ? c->relayed : LADON_REASON_NONE;
	ticket->caller = c->caller;
	c->caller = NULL;
	tickets_leave(gateway->tickets, ticket);
	return id;
}

void ends_left(const struct conn *c, uint32_t id, uint32_t client_rtt_us, uint32_t backend_rtt_us)
{
	if (id)
		tickets_note(c->worker->gateway->tickets, id, client_rtt_us, backend_rtt_us);
}

void ends_stayed(struct conn *c, uint32_t id)
{
	struct ticket *ticket = id ? tickets_take(c->worker->gateway->tickets, id) : NULL;

	if (ticket)
		c->caller = ticket->caller;
	free(ticket);
}

/* As if it had been handed off just now, to one of the listener's that limits its sources. */
static int adopt_one(void *arg, const struct ladon_flow *flow)
{
	struct gateway *gateway = arg;
	const struct setup *setup = gateway->setup;
	unsigned int l = report_listener(setup, flow);
	const char *pool = report_pool_name(setup, flow);
	struct ticket *ticket;
	struct addr client;

	if (l == setup->config->listeners_len || !setup->config->listeners[l].limits.per_source ||
	    flow->state == LADON_FLOW_KILLED || addr_from(&flow->client.sa, &client) < 0)
		return 0;
	ticket = ticket_new(setup->config->listeners[l].name, pool ? pool : "", "", "");
	if (!ticket)
		return 0;
	ticket->id = flow->id;
	ticket->began_ms = clock_ms() - flow->age_ms;
	callers_enter(gateway->callers, setup->tallies[l]->id, &client, UINT32_MAX,
		      &ticket->caller);
	tickets_leave(gateway->tickets, ticket);
	return 0;
}

void ends_adopt(struct gateway *gateway)
{
	ladon_flow_each(gateway->ladon, adopt_one, gateway);
}

/* What a flow says of itself; also of one that is older than the daemon */
static void flow_say(const struct ladon_flow *flow, enum ladon_end why, struct access_line *line)
{
	bool by_ends = why == LADON_END_FIN || why == LADON_END_RESET;
	/* The ends were done with it when they fell silent; ladon is done with it now. */
	uint64_t since_ms = by_ends ? flow->idle_ms : 0;

	line->time_ms = wall_ms() - since_ms;
	line->duration_ms = flow->age_ms - since_ms;
	line->how = "handoff";
	line->end = flows_end_word(why);
	line->by = by_ends || why == LADON_END_DEAD ? by_text(flow->by_client) : "ladon";
	line->packets_in = flow->packets_in;
	line->bytes_in = flow->bytes_in;
	line->packets_out = flow->packets_out;
	line->bytes_out = flow->bytes_out;
}

/* What only the ticket knows */
static void ticket_say(const struct ticket *ticket, const struct ladon_flow *flow,
		       struct access_line *line)
{
	line->duration_ms += clock_ms() - flow->age_ms - ticket->began_ms;
	line->listener = ticket_listener(ticket);
	line->pool = known(ticket_pool(ticket));
	line->name = known(ticket_name(ticket));
	line->user = known(ticket_user(ticket));
	line->why = ticket->why ? ladon_reason_name(ticket->why) : NULL;
	line->bytes_in += ticket->bytes_in;
	line->bytes_out += ticket->bytes_out;
	line->client_rtt_us = ticket->client_rtt_us;
	line->backend_rtt_us = ticket->backend_rtt_us;
}

static char *address_text(const union ladon_address *address, char *out)
{
	struct addr parsed = { 0 };

	addr_from(&address->sa, &parsed);
	return addr_format(&parsed, out);
}

static void flow_line(struct gateway *gateway, const struct ladon_flow *flow, enum ladon_end why,
		      const struct ticket *ticket)
{
	char client[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];
	struct access_line line = { 0 };
	struct setup *setup = NULL;

	line.client = ticket && addr_family(&ticket->who) ? addr_format(&ticket->who, client)
							  : address_text(&flow->client, client);
	line.backend = address_text(&flow->backend, backend);
	flow_say(flow, why, &line);
	if (ticket) {
		ticket_say(ticket, flow, &line);
	} else {
		setup = setup_current(gateway);
		line.listener = report_listener_name(setup, flow);
		line.pool = report_pool_name(setup, flow);
	}
	line_add(gateway->ends, &line);
	if (setup)
		setup_drop(setup);
}

void ends_flow(struct gateway *gateway, const struct ladon_flow *flow, enum ladon_end why)
{
	struct ticket *ticket = tickets_take(gateway->tickets, flow->id);

	if (ticket)
		callers_leave(gateway->callers, ticket->caller);
	if (gateway->ends)
		flow_line(gateway, flow, why, ticket);
	free(ticket);
}
