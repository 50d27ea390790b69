// SPDX-License-Identifier: GPL-2.0-only
#include "forward_table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/own.h"
#include "config_forwards.h"
#include "forward_conns.h"

/* ---- what does not go together ---- */

__attribute__((format(printf, 3, 4))) static int refuse(char **why, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(why, fmt, args) < 0)
		*why = NULL;
	va_end(args);
	return rc;
}

static int overlap_check(const struct forward_table *table, char **why)
{
	const struct config_forward *former, *added;
	char listen[PORTS_TEXT_MAX], whose[40] = "another one";
	uint16_t port;
	bool udp;

	if (!taken_clash(&table->taken, &former, &added, &port, &udp))
		return 0;
	if (former->line)
		snprintf(whose, sizeof(whose), "the forward of line %u", former->line);
	return refuse(why, -EEXIST,
		      "%s port %u is taken by %s and, at run time, by %s; leave it to one of them",
		      udp ? "UDP" : "TCP", port, whose,
		      config_ports_format(added, &added->listen, listen));
}

static int listeners_check(const struct forward_table *table, const struct config *config,
			   char **why)
{
	char listen[PORTS_TEXT_MAX];

	for (unsigned int i = table->file_len; i < table->len; i++) {
		const struct config_forward *added = &table->forwards[i];
		const struct config_listener *listener = config_forward_listener(config, added);

		if (listener)
			return refuse(why, -EEXIST,
				      "the listener %s of line %u has a port that is taken, at "
				      "run time, by %s; leave it to one of them",
				      listener->name, listener->line,
				      config_ports_format(added, &added->listen, listen));
	}
	return 0;
}

static int check(const struct forward_table *table, const struct config *config, char **why)
{
	int rc = overlap_check(table, why);

	if (rc == 0)
		rc = listeners_check(table, config, why);
	return rc == 0 ? config_forwards_fit(table->forwards, table->len, why) : rc;
}

/* ---- making one ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int commands_write(struct forward_table *table)
{
	size_t size;
	FILE *f = open_memstream(&table->commands, &size);

	if (!f)
		return -ENOMEM;
	nft_write(f, table->forwards, table->len, &table->pools.now);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

static int forwards_fill(struct forward_table *table, const struct config *config,
			 const struct config_forward *added, unsigned int added_len)
{
	table->file_len = config->forwards_len;
	table->len = table->file_len + added_len;
	table->forwards = calloc((size_t)table->len + 1, sizeof(*table->forwards));
	table->counts = calloc((size_t)table->len + 1, sizeof(*table->counts));
	if (!table->forwards || !table->counts)
		return -ENOMEM;
	for (unsigned int i = 0; i < table->len; i++) {
		table->forwards[i] =
			i < table->file_len ? config->forwards[i] : added[i - table->file_len];
		table->has_pools |= table->forwards[i].has_pool;
		table->has_resets |= table->forwards[i].reset;
	}
	return taken_init(&table->taken, table->forwards, table->len);
}

int forward_table_new(struct setup *setup, const struct config_forward *added,
		      unsigned int added_len, struct forward_table **out, char **why)
{
	struct forward_table *table = calloc(1, sizeof(*table));
	int rc;

	*why = NULL;
	if (!table)
		return -ENOMEM;
	setup_hold(setup);
	table->setup = setup;
	rc = forwards_fill(table, setup->config, added, added_len);
	if (rc == 0)
		rc = check(table, setup->config, why);
	if (rc == 0)
		rc = forward_pools_init(&table->pools, setup, table->forwards, table->len,
					now_ms());
	if (rc == 0)
		rc = commands_write(table);
	if (rc < 0) {
		forward_table_free(table);
		return rc;
	}
	*out = table;
	return 0;
}

void forward_table_free(struct forward_table *table)
{
	if (!table)
		return;
	taken_fini(&table->taken);
	forward_pools_fini(&table->pools);
	setup_drop(table->setup);
	free(table->forwards);
	free(table->counts);
	free(table->commands);
	free(table);
}

bool forward_table_is_stale(const struct forward_table *table)
{
	struct forward_pools pools = { 0 };
	bool stale;

	if (!table->has_pools ||
	    forward_pools_init(&pools, table->setup, table->forwards, table->len, now_ms()) < 0)
		return false;
	stale = !forward_pools_equal(&pools, &table->pools);
	forward_pools_fini(&pools);
	return stale;
}

/* ---- counters ---- */

static bool is_served(const struct forward_table *table, unsigned int index)
{
	return forward_pools_serve(&table->pools, &table->forwards[index]);
}

uint64_t forward_table_flows(const struct forward_table *table, unsigned int index)
{
	const struct forward_count *count = &table->counts[index];

	return count->flows + (is_served(table, index) ? count->now : 0);
}

uint64_t forward_table_refused(const struct forward_table *table, unsigned int index)
{
	const struct forward_count *count = &table->counts[index];

	return count->refused + (is_served(table, index) ? 0 : count->now);
}

static void count_add(void *arg, bool udp, const struct addr *at, uint64_t flows)
{
	struct forward_table *table = arg;
	const struct config_forward *forward = taken_find(&table->taken, udp, at);

	if (forward)
		table->counts[forward - table->forwards].next += flows;
}

/* Each is asked for the ports that it changes, and sums them up. If it has gone, what it said last is all there is. */
void forward_table_count(struct forward_table *table)
{
	if (table->len == 0)
		return;
	for (unsigned int i = 0; i < table->len; i++)
		table->counts[i].next = 0;
	if (nft_count(count_add, table) < 0)
		return;
	for (unsigned int i = 0; i < table->len; i++)
		table->counts[i].now = table->counts[i].next;
}

void forward_table_restart(struct forward_table *table)
{
	for (unsigned int i = 0; i < table->len; i++)
		table->counts[i] = (struct forward_count){
			.flows = forward_table_flows(table, i),
			.refused = forward_table_refused(table, i),
		};
}

static bool is_same(const struct config_forward *a, const struct config_forward *b)
{
	return addr_equal(&a->listen, &b->listen) && a->last == b->last && a->tcp == b->tcp &&
	       a->udp == b->udp;
}

void forward_table_follow(struct forward_table *table, const struct forward_table *former)
{
	for (unsigned int i = 0; i < table->len; i++) {
		const struct config_forward *forward = &table->forwards[i];
		const struct config_forward *was =
			taken_find(&former->taken, !forward->tcp, &forward->listen);
		unsigned int f = was ? (unsigned int)(was - former->forwards) : 0;

		if (was && is_same(was, forward))
			table->counts[i] = (struct forward_count){
				.flows = forward_table_flows(former, f),
				.refused = forward_table_refused(former, f),
			};
	}
}

/* ---- what goes on ---- */

const struct config_forward *forward_table_find(const struct forward_table *table, bool udp,
						const struct addr *at, struct locals *locals)
{
	struct addr any = { .sa.sa_family = at->sa.sa_family };
	const struct config_forward *found = taken_find(&table->taken, udp, at);

	if (found)
		return found;
	addr_set_port(&any, addr_port(at));
	found = taken_find(&table->taken, udp, &any);
	return found && locals_has(locals, at) ? found : NULL;
}

struct ending {
	const struct forward_table *table, *former;
	struct locals *locals;
};

static bool leads(const struct forward_table *table, const struct config_forward *forward,
		  const struct addr *asked, const struct addr *server)
{
	struct addr to = forward->to;

	if (forward->has_pool)
		return forward_pools_have(&table->pools, forward->pool, server);
	addr_set_port(&to,
		      (uint16_t)(addr_port(&to) + addr_port(asked) - addr_port(&forward->listen)));
	return addr_equal(&to, server);
}

/* What no forward takes is none of ladon's business, unless the former table had one that did. */
static bool is_over(void *arg, bool udp, const struct addr *asked, const struct addr *server)
{
	const struct ending *ending = arg;
	const struct config_forward *forward =
		forward_table_find(ending->table, udp, asked, ending->locals);

	if (forward)
		return forward->reset && !leads(ending->table, forward, asked, server);
	if (ending->former)
		forward = forward_table_find(ending->former, udp, asked, ending->locals);
	return forward && forward->reset;
}

int forward_table_end(const struct forward_table *table, const struct forward_table *former,
		      struct locals *locals)
{
	struct ending ending = { table, former, locals };

	if (!table->has_resets && !(former && former->has_resets))
		return 0;
	return forward_conns_end(is_over, &ending);
}
