/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * report.h - what the daemon says about itself, as JSON documents
 *
 * The documents that ladon(8) prints, without the socket that carries them.
 * Keys are an interface: they may be added, never renamed or removed, and
 * ladon(8) documents them. A counter is read while others write it: two
 * counters of one document need not belong to the same instant.
 *
 * What is configured is that of the setup which is given, held by the caller.
 * Functions return 0 or a negative errno. A document is the caller's.
 */
#ifndef LADON_REPORT_H
#define LADON_REPORT_H

#include <jansson.h>

#include "setup.h"

/* Which flows are meant. Port 0 in an address stands for every port. */
struct flow_filter {
	bool by_id, by_client, by_backend; /* all that is set must match */
	uint32_t id;
	struct addr client;
	struct addr backend;
};

bool flow_filter_match(const struct flow_filter *filter, const struct ladon_flow *flow);

/** report_stats() - all counters, and every reason with its word, group and sentence */
int report_stats(const struct setup *setup, json_t **out);

/** report_summary() - the same with listeners and interfaces, and without reasons */
int report_summary(const struct setup *setup, json_t **out);

/** report_listener() - a flow's, as an index; listeners_len if it is not configured any more */
unsigned int report_listener(const struct setup *setup, const struct ladon_flow *flow);

/** report_listener_name() - ... by name; NULL */
const char *report_listener_name(const struct setup *setup, const struct ladon_flow *flow);

/** report_state() - what keeps new connections from a backend, in a word; "up": nothing */
const char *report_state(const struct member *member);

/** report_pool_name() - NULL for a flow to a backend that no pool has any more */
const char *report_pool_name(const struct setup *setup, const struct ladon_flow *flow);

int report_listeners(const struct setup *setup, json_t **out);
int report_pools(const struct setup *setup, json_t **out);
int report_forwards(const struct setup *setup, json_t **out);

/** report_forward() - one of them. @pool: its name, or NULL. Return: NULL: no memory */
json_t *report_forward(const struct config_forward *forward, const char *pool, bool added,
		       uint64_t flows, uint64_t refused);

/**
 * report_flows() - stream {"flows": [...]}, one flow per line
 * @filter: which flows
 * @write: takes the pieces in order; another value than 0 ends the walk
 * @arg: passed to @write
 *
 * The first line ends with "[", each following one holds one flow, with a
 * comma but for the last, and the last line is "]}". So a reader can parse as
 * it reads, needs memory for one flow only, and knows when the end is missing.
 * With "note" in the first line there are no flows, for the reason it says.
 *
 * Return: -EPIPE when @write ended it.
 */
int report_flows(const struct setup *setup, const struct flow_filter *filter,
		 json_dump_callback_t write, void *arg);

#endif
