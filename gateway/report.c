/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * report.c - what the daemon says about itself, as JSON documents
 *
 * json_pack() takes over the references it is given, also when it fails, and
 * fails when one of them is NULL: nested documents need no checks of their
 * own, and what is left to fail is memory.
 */
#include "report.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

#include "config_forwards.h"
#include "ends.h"
#include "forwards.h"

/* "I" of json_pack() wants exactly this type. */
#define COUNT(value) ((json_int_t)(value))

#define GROUP_PACKET "packet"
#define GROUP_RELAY  "relay"
#define GROUP_CLOSED "closed"

#define REASON_GROUP(kind, name, text) [LADON_REASON_##name] = GROUP_##kind,
static const char *const reason_groups[LADON_REASON_COUNT] = { LADON_REASONS(REASON_GROUP) };
#undef REASON_GROUP

static const char *const flow_states[] = {
	[LADON_FLOW_OPEN] = "open",
	[LADON_FLOW_HALF_CLOSED] = "half_closed",
	[LADON_FLOW_CLOSED] = "closed",
	[LADON_FLOW_KILLED] = "killed",
};

static const char *const policies[POOL_POLICIES] = {
	[POOL_ROUND_ROBIN] = "round_robin",
	[POOL_LEAST_FLOWS] = "least_flows",
	[POOL_FIRST] = "first",
	[POOL_HASH] = "hash",
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t uptime_ms(const struct gateway *gateway)
{
	return now_ms() - gateway->started_ms;
}

/* ---- connections ---- */

static json_t *connections_json(const struct listener_sum *sum)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "accepted", COUNT(sum->accepted),
			 "handed_off", COUNT(sum->handed_off), "relayed", COUNT(sum->relayed),
			 "closed", COUNT(sum->closed), "open", COUNT(sum->open));
}

static json_t *relay_json(const struct gateway *gateway, uint64_t now)
{
	uint64_t in = 0, out = 0;

	for (unsigned int w = 0; w < gateway->workers_len; w++) {
		in += gateway->counts[w].relay_bytes_in;
		out += gateway->counts[w].relay_bytes_out;
	}
	return json_pack("{s:I, s:I, s:I}", "bytes_in", COUNT(in), "bytes_out", COUNT(out), "now",
			 COUNT(now));
}

/* ---- handoff ---- */

/* The median, by interpolation inside its step. */
static uint64_t durations_p50(const uint64_t buckets[LADON_DURATIONS])
{
	uint64_t total = 0, before = 0, half;

	for (unsigned int i = 0; i < LADON_DURATIONS; i++)
		total += buckets[i];
	half = (total + 1) / 2;
	for (unsigned int i = 0; i < LADON_DURATIONS; i++) {
		uint64_t low = i ? ladon_duration_ns(i - 1) : 0;
		uint64_t high = ladon_duration_ns(i);

		if (buckets[i] && before + buckets[i] >= half)
			return low + (uint64_t)((double)(high - low) * (double)(half - before) /
						(double)buckets[i]);
		before += buckets[i];
	}
	return 0;
}

/* [less than so many nanoseconds, how often], for each step that there was */
static json_t *durations_json(const uint64_t buckets[LADON_DURATIONS])
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < LADON_DURATIONS; i++)
		if (buckets[i])
			json_array_append_new(array,
					      json_pack("[I, I]", COUNT(ladon_duration_ns(i)),
							COUNT(buckets[i])));
	return array;
}

static json_t *handoff_json(const struct gateway *gateway, const struct ladon_stats *stats)
{
	const char *reason = NULL, *why = NULL;

	if (!gateway->ladon) {
		reason = ladon_reason_name(gateway->no_handoff);
		why = ladon_reason_text(gateway->no_handoff);
	}
	return json_pack("{s:b, s:s*, s:s*, s:I, s:I, s:o}", "on", gateway->ladon != NULL, "reason",
			 reason, "why", why, "count", COUNT(stats->handoffs), "p50_ns",
			 COUNT(durations_p50(stats->handoff_ns)), "histogram",
			 durations_json(stats->handoff_ns));
}

/* ---- stats and summary ---- */

static uint64_t reason_count(const struct gateway *gateway, unsigned int reason)
{
	uint64_t count = 0;

	if (strcmp(reason_groups[reason], GROUP_PACKET) == 0) {
		if (gateway->ladon && ladon_reason_packets(gateway->ladon, reason, &count) < 0)
			return 0;
		return count;
	}
	for (unsigned int w = 0; w < gateway->workers_len; w++)
		count += gateway->counts[w].reasons[reason];
	return count;
}

static json_t *reasons_json(const struct gateway *gateway)
{
	json_t *reasons = json_object();

	for (unsigned int r = LADON_REASON_NONE + 1; r < LADON_REASON_COUNT; r++) {
		json_t *reason =
			json_pack("{s:s, s:I, s:s}", "group", reason_groups[r], "count",
				  COUNT(reason_count(gateway, r)), "text", ladon_reason_text(r));

		if (json_object_set_new(reasons, ladon_reason_name(r), reason) < 0) {
			json_decref(reasons);
			return NULL;
		}
	}
	return reasons;
}

static json_t *access_json(const struct gateway *gateway)
{
	struct access_counts counts;

	ends_count(gateway->ends, &counts);
	return json_pack("{s:b, s:I, s:I}", "on", gateway->ends != NULL, "written",
			 COUNT(counts.written), "lost", COUNT(counts.lost));
}

/* What stats and the summary have in common. */
static int counters_json(struct gateway *gateway, json_t **out)
{
	struct listener_sum sum = tallies_sum(&gateway->tallies);
	struct ladon_stats stats = LADON_STATS_INIT;
	int rc;

	if (gateway->ladon) {
		rc = ladon_stats(gateway->ladon, &stats);
		if (rc < 0)
			return rc;
	}
	*out = json_pack("{s:s, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:o, s:o, s:o}", "version",
			 LADON_VERSION, "uptime_ms", COUNT(uptime_ms(gateway)), "flows", "live",
			 COUNT(stats.flows), "max", COUNT(stats.flows_max), "packets", "translated",
			 COUNT(stats.packets), "bytes", COUNT(stats.bytes), "handoff",
			 handoff_json(gateway, &stats), "relay", relay_json(gateway, sum.relaying),
			 "connections", connections_json(&sum));
	return *out ? 0 : -ENOMEM;
}

/* Takes over @value; on failure @document is freed too. */
static int document_add(json_t *document, const char *key, json_t *value, json_t **out)
{
	if (json_object_set_new(document, key, value) < 0) {
		json_decref(document);
		return -ENOMEM;
	}
	*out = document;
	return 0;
}

static json_t *shortage_json(struct gateway *gateway)
{
	return json_pack("{s:b, s:I}", "now", atomic_load(&gateway->shortages.workers) > 0, "count",
			 COUNT(atomic_load(&gateway->shortages.count)));
}

int report_stats(const struct setup *setup, json_t **out)
{
	struct gateway *gateway = setup->gateway;
	json_t *document;
	int rc;

	rc = counters_json(gateway, &document);
	if (rc == 0)
		rc = document_add(document, "access_log", access_json(gateway), &document);
	if (rc == 0)
		rc = document_add(document, "shortage", shortage_json(gateway), &document);
	if (rc < 0)
		return rc;
	return document_add(document, "reasons", reasons_json(gateway), out);
}

static int interface_add(void *arg, const char *name)
{
	return json_array_append_new(arg, json_string(name));
}

static json_t *interfaces_json(struct gateway *gateway)
{
	json_t *interfaces = json_array();

	if (gateway->ladon && ladon_interface_each(gateway->ladon, interface_add, interfaces) < 0) {
		json_decref(interfaces);
		return NULL;
	}
	return interfaces;
}

/* ---- listeners and pools ---- */

/* NULL: there are none */
static json_t *limits_json(const struct config_limits *limits)
{
	json_t *json = limits->per_source || limits->undecided ? json_object() : NULL;

	if (limits->per_source)
		json_object_set_new(json, "per_source", json_integer(limits->per_source));
	if (limits->undecided)
		json_object_set_new(json, "undecided", json_integer(limits->undecided));
	return json;
}

static json_t *listener_json(const struct setup *setup, unsigned int index)
{
	const struct config_listener *listener = &setup->config->listeners[index];
	const struct listener_sum sum = tally_sum(setup->tallies[index]);
	char address[ADDR_TEXT_MAX];

	return json_pack(
		"{s:s, s:s, s:b, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o*}",
		"name", listener->name, "address", addr_format(&listener->addr, address), "handoff",
		setup->gateway->ladon && listener->handoff, "mode",
		listener->stack ? "stack" : "direct", "peek", listener->peek, "routes",
		COUNT(listener->routes_len), "accepted", COUNT(sum.accepted), "handed_off",
		COUNT(sum.handed_off), "relayed", COUNT(sum.relayed), "closed", COUNT(sum.closed),
		"open", COUNT(sum.open), "relaying", COUNT(sum.relaying), "undecided",
		COUNT(sum.undecided), "refused", COUNT(sum.refused), "limits",
		limits_json(&listener->limits));
}

static json_t *listeners_json(const struct setup *setup)
{
	json_t *listeners = json_array();

	for (unsigned int l = 0; l < setup->config->listeners_len; l++) {
		if (json_array_append_new(listeners, listener_json(setup, l)) < 0) {
			json_decref(listeners);
			return NULL;
		}
	}
	return listeners;
}

int report_listeners(const struct setup *setup, json_t **out)
{
	return document_add(json_object(), "listeners", listeners_json(setup), out);
}

/* ---- forwards ---- */

/* As in the file. Return: a word, or @out */
static const char *source_format(const struct config_forward *forward, char out[INET6_ADDRSTRLEN])
{
	if (forward->source == FORWARD_KEEP)
		return "keep";
	if (forward->source == FORWARD_MASQUERADE)
		return "masquerade";
	return addr_format_host(&forward->source_addr, out);
}

json_t *report_forward(const struct config_forward *forward, const char *pool, bool added,
		       uint64_t flows, uint64_t refused)
{
	char listen[PORTS_TEXT_MAX], to[PORTS_TEXT_MAX], source[INET6_ADDRSTRLEN];
	char prefix[CIDR_TEXT_MAX];
	json_t *json =
		json_pack("{s:s, s:s, s:s*, s:s*, s:s, s:s*, s:s, s:b, s:I}", "listen",
			  config_ports_format(forward, &forward->listen, listen), "protocol",
			  !forward->udp	 ? "tcp"
			  : forward->tcp ? "both"
					 : "udp",
			  "to", pool ? NULL : config_ports_format(forward, &forward->to, to),
			  "pool", pool, "source", source_format(forward, source), "hairpin",
			  forward->has_hairpin ? cidr_format(&forward->hairpin, prefix) : NULL,
			  "when_gone", forward->reset ? "reset" : "keep", "added", added, "flows",
			  COUNT(flows));

	if (pool)
		json_object_set_new(json, "refused", json_integer(COUNT(refused)));
	return json;
}

static int forward_append(void *arg, const struct config_forward *forward, const char *pool,
			  bool added, uint64_t flows, uint64_t refused)
{
	json_t *json = report_forward(forward, pool, added, flows, refused);

	return json_array_append_new(arg, json) < 0 ? -ENOMEM : 0;
}

int report_forwards(const struct setup *setup, json_t **out)
{
	json_t *forwards = json_array();
	int rc = forwards_each(setup->gateway->forwards, forward_append, forwards);

	if (rc < 0) {
		json_decref(forwards);
		return rc;
	}
	return document_add(json_object(), "forwards", forwards, out);
}

int report_summary(const struct setup *setup, json_t **out)
{
	struct gateway *gateway = setup->gateway;
	json_t *document;
	int rc;

	rc = counters_json(gateway, &document);
	if (rc < 0)
		return rc;
	rc = document_add(document, "interfaces", interfaces_json(gateway), out);
	if (rc < 0)
		return rc;
	return document_add(*out, "listeners", listeners_json(setup), out);
}

static const char *const states[POOL_STATES] = {
	[POOL_STATE_UP] = "up",	      [POOL_STATE_UNKNOWN] = "unknown",
	[POOL_STATE_DRAIN] = "drain", [POOL_STATE_DOWN] = "down",
	[POOL_STATE_SICK] = "sick",   [POOL_STATE_EJECTED] = "ejected",
	[POOL_STATE_FULL] = "full",
};

const char *report_state(const struct member *member)
{
	return states[member_state(member, now_ms())];
}

static json_t *addresses_json(struct backend *backend)
{
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int len = backend_addrs(backend, addrs);
	json_t *addresses = json_array();
	char text[ADDR_TEXT_MAX];

	for (unsigned int i = 0; i < len; i++)
		json_array_append_new(addresses, json_string(addr_format(&addrs[i], text)));
	return addresses;
}

/* What the file says of it, if it says something, and what is left of an ejection */
static json_t *backend_extras(json_t *document, const struct member *member, const char *state)
{
	const struct backend *backend = member->backend;
	uint64_t now = now_ms(), ejected_ms = atomic_load(&backend->ejected_ms);

	if (member->weight != 1)
		json_object_set_new(document, "weight", json_integer(member->weight));
	if (member->flows_max)
		json_object_set_new(document, "max_flows", json_integer(member->flows_max));
	if (member->rank)
		json_object_set_new(document, "rank", json_integer(member->rank));
	if (backend->config->host)
		json_object_set_new(document, "lookups_failed",
				    json_integer(COUNT(backend->lookups_failed)));
	if (strcmp(state, states[POOL_STATE_EJECTED]) == 0 && ejected_ms > now)
		json_object_set_new(document, "ejected_ms", json_integer(COUNT(ejected_ms - now)));
	return document;
}

/* What its checks say; nothing as long as there is no result */
static void check_add(struct backend *backend, json_t *document)
{
	struct backend_check last;

	backend_last_check(backend, &last);
	if (!last.at_ms)
		return;
	json_object_set_new(document, "health",
			    json_string(atomic_load(&backend->sick) ? "sick" : "well"));
	json_object_set_new(document, "times_sick", json_integer(COUNT(backend->times_sick)));
	json_object_set_new(document, "check", json_string(last.well ? "passed" : last.why));
	json_object_set_new(document, "check_age_ms", json_integer(COUNT(now_ms() - last.at_ms)));
	json_object_set_new(document, "check_took_ms", json_integer(COUNT(last.took_ms)));
}

static json_t *backend_json(const struct member *member)
{
	struct backend *backend = member->backend;
	const char *state = report_state(member);
	json_t *document =
		json_pack("{s:s, s:s, s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I}", "backend",
			  backend->config->text, "state", state, "admin",
			  backend_admin_word(backend->admin), "backup", member->backup, "addresses",
			  addresses_json(backend), "flows", COUNT(backend->flows), "chosen",
			  COUNT(backend->chosen), "failed", COUNT(backend->failed), "handed_off",
			  COUNT(backend->handed_off), "relayed", COUNT(backend->relayed));

	check_add(backend, document);
	return backend_extras(document, member, state);
}

/* NULL: no memory */
static json_t *backends_json(struct pool *pool)
{
	struct roster *roster = pool_roster(pool);
	json_t *backends = json_array();

	for (unsigned int b = 0; backends && b < roster->len; b++) {
		if (json_array_append_new(backends, backend_json(&roster->members[b])) < 0) {
			json_decref(backends);
			backends = NULL;
		}
	}
	roster_drop(roster);
	return backends;
}

/* NULL: no memory */
static json_t *sources_json(const struct config_pool *config, struct pool *pool)
{
	struct roster *roster = pool_roster(pool);
	json_t *sources = json_array();

	for (unsigned int e = 0; e < config->backends_len; e++) {
		if (!config_is_source(&config->backends[e]))
			continue;
		json_array_append_new(sources, json_pack("{s:s, s:b, s:I}", "source",
							 config->backends[e].text, "told",
							 roster->told[e], "lookups_failed",
							 COUNT(pool_source_failures(pool, e))));
	}
	roster_drop(roster);
	return sources;
}

static json_t *pool_json(const struct config_pool *config, struct pool *pool)
{
	json_t *backends = backends_json(pool);

	if (!backends)
		return NULL;
	return json_pack("{s:s, s:s, s:I, s:o, s:o}", "name", pool_name(pool), "policy",
			 policies[config->policy], "panicked", COUNT(pool_panicked(pool)),
			 "sources", sources_json(config, pool), "backends", backends);
}

int report_pools(const struct setup *setup, json_t **out)
{
	json_t *pools = json_array();

	for (unsigned int p = 0; p < setup->config->pools_len; p++) {
		json_t *pool = pool_json(&setup->config->pools[p], setup->pools[p]);

		if (json_array_append_new(pools, pool) < 0) {
			json_decref(pools);
			return -ENOMEM;
		}
	}
	return document_add(json_object(), "pools", pools, out);
}

/* ---- flows ---- */

/* Port 0 in @want stands for every port. */
static bool address_match(const struct addr *want, const union ladon_address *have)
{
	struct addr address;

	if (addr_from(&have->sa, &address) < 0)
		return false;
	if (addr_port(want) == 0)
		addr_set_port(&address, 0);
	return addr_equal(want, &address);
}

bool flow_filter_match(const struct flow_filter *filter, const struct ladon_flow *flow)
{
	return (!filter->by_id || filter->id == flow->id) &&
	       (!filter->by_client || address_match(&filter->client, &flow->client)) &&
	       (!filter->by_backend || address_match(&filter->backend, &flow->backend));
}

/* How exactly @listener names @addr: 0: not at all. A socket on [::] takes IPv4 too. */
static int listener_fit(const struct config_listener *listener, const struct addr *addr)
{
	if (addr_equal(&listener->addr, addr))
		return 3;
	if (!addr_is_any(&listener->addr) || addr_port(&listener->addr) != addr_port(addr))
		return 0;
	if (listener->addr.sa.sa_family == addr_family(addr))
		return 2;
	return listener->addr.sa.sa_family == AF_INET6 ? 1 : 0;
}

/* listeners_len for a flow of a listener that the configuration no longer has. */
static unsigned int listener_index(const struct config *config, const struct addr *addr)
{
	unsigned int found = config->listeners_len;
	int best = 0;

	for (unsigned int l = 0; l < config->listeners_len; l++) {
		int fit = listener_fit(&config->listeners[l], addr);

		if (fit > best) {
			best = fit;
			found = l;
		}
	}
	return found;
}

/* NULL for a backend that no pool has, or no longer has. */
static const char *backend_pool_name(const struct setup *setup, const struct addr *addr)
{
	for (unsigned int p = 0; p < setup->config->pools_len; p++) {
		if (pool_find(setup->pools[p], addr))
			return pool_name(setup->pools[p]);
	}
	return NULL;
}

/* Return: @out, "?" for an address of no known family. */
static char *address_text(const union ladon_address *address, struct addr *parsed, char *out)
{
	memset(parsed, 0, sizeof(*parsed));
	addr_from(&address->sa, parsed);
	return addr_format(parsed, out);
}

unsigned int report_listener(const struct setup *setup, const struct ladon_flow *flow)
{
	struct addr listener;

	if (addr_from(&flow->listener.sa, &listener) < 0)
		return setup->config->listeners_len;
	return listener_index(setup->config, &listener);
}

const char *report_listener_name(const struct setup *setup, const struct ladon_flow *flow)
{
	unsigned int l = report_listener(setup, flow);

	return l < setup->config->listeners_len ? setup->config->listeners[l].name : NULL;
}

const char *report_pool_name(const struct setup *setup, const struct ladon_flow *flow)
{
	struct addr backend;

	if (addr_from(&flow->backend.sa, &backend) < 0)
		return NULL;
	return backend_pool_name(setup, &backend);
}

static json_t *flow_json(const struct setup *setup, const struct ladon_flow *flow)
{
	char client_text[ADDR_TEXT_MAX], listener_text[ADDR_TEXT_MAX];
	char source_text[ADDR_TEXT_MAX], backend_text[ADDR_TEXT_MAX];
	struct addr client, listener, source, backend;

	address_text(&flow->client, &client, client_text);
	address_text(&flow->listener, &listener, listener_text);
	address_text(&flow->source, &source, source_text);
	address_text(&flow->backend, &backend, backend_text);
	return json_pack(
		"{s:s, s:I, s:s, s:s, s:s, s:s*, s:s, s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:I}",
		"by", "handoff", "id", COUNT(flow->id), "state", flow_states[flow->state], "client",
		client_text, "listener", listener_text, "listener_name",
		report_listener_name(setup, flow), "source", source_text, "backend", backend_text,
		"pool", report_pool_name(setup, flow), "packets_in", COUNT(flow->packets_in),
		"bytes_in", COUNT(flow->bytes_in), "packets_out", COUNT(flow->packets_out),
		"bytes_out", COUNT(flow->bytes_out), "age_ms", COUNT(flow->age_ms), "idle_ms",
		COUNT(flow->idle_ms));
}

struct flow_walk {
	const struct setup *setup;
	const struct flow_filter *filter;
	json_dump_callback_t write;
	void *arg;
	bool any;
};

static int walk_text(struct flow_walk *walk, const char *text)
{
	return walk->write(text, strlen(text), walk->arg) ? -EPIPE : 0;
}

static int walk_row(struct flow_walk *walk, json_t *row)
{
	int rc;

	if (!row)
		return -ENOMEM;
	rc = walk_text(walk, walk->any ? ",\n" : "\n");
	walk->any = true;
	if (rc == 0 && json_dump_callback(row, walk->write, walk->arg, JSON_COMPACT) < 0)
		rc = -EPIPE;
	json_decref(row);
	return rc;
}

static int walk_flow(void *arg, const struct ladon_flow *flow)
{
	struct flow_walk *walk = arg;

	return flow_filter_match(walk->filter, flow) ? walk_row(walk, flow_json(walk->setup, flow))
						     : 0;
}

/* Whose it is: a forward, or a rule of somebody else's */
static const char *learned_by(const struct setup *setup, const struct ladon_learned_flow *flow)
{
	struct addr to;

	if (addr_from(&flow->to.sa, &to) < 0 ||
	    !forwards_take(setup->gateway->forwards, flow->protocol == IPPROTO_UDP, &to))
		return "learned";
	return "forward";
}

static json_t *learned_json(const struct setup *setup, const struct ladon_learned_flow *flow)
{
	char from_text[ADDR_TEXT_MAX], to_text[ADDR_TEXT_MAX];
	char as_from_text[ADDR_TEXT_MAX], as_to_text[ADDR_TEXT_MAX];
	char in[IF_NAMESIZE] = "", out[IF_NAMESIZE] = "";
	struct addr from, to, as_from, as_to;

	address_text(&flow->from, &from, from_text);
	address_text(&flow->to, &to, to_text);
	address_text(&flow->as_from, &as_from, as_from_text);
	address_text(&flow->as_to, &as_to, as_to_text);
	if_indextoname(flow->in, in);
	if_indextoname(flow->out, out);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "by",
		learned_by(setup, flow), "protocol", flow->protocol == IPPROTO_UDP ? "udp" : "tcp",
		"client", from_text, "listener", to_text, "source", as_from_text, "backend",
		as_to_text, "in", in, "out", out, "packets_in", COUNT(flow->packets_in), "bytes_in",
		COUNT(flow->bytes_in), "packets_out", COUNT(flow->packets_out), "bytes_out",
		COUNT(flow->bytes_out), "stack_packets", COUNT(flow->stack_packets), "confirmed_ms",
		COUNT(flow->confirmed_ms), "mark", COUNT(flow->mark));
}

static int walk_learned(void *arg, const struct ladon_learned_flow *learned)
{
	const struct ladon_flow flow = { .client = learned->from, .backend = learned->as_to };
	struct flow_walk *walk = arg;

	return flow_filter_match(walk->filter, &flow)
		       ? walk_row(walk, learned_json(walk->setup, learned))
		       : 0;
}

/* {"note": "..."} without its end, to be followed by the list. */
static int walk_note(struct flow_walk *walk)
{
	json_t *note = json_string(ladon_reason_text(walk->setup->gateway->no_handoff));
	int rc = walk_text(walk, "{\"note\": ");

	if (rc == 0 && json_dump_callback(note, walk->write, walk->arg, JSON_ENCODE_ANY) < 0)
		rc = -EPIPE;
	json_decref(note);
	return rc ? rc : walk_text(walk, ", \"flows\": [");
}

int report_flows(const struct setup *setup, const struct flow_filter *filter,
		 json_dump_callback_t write, void *arg)
{
	struct flow_walk walk = { .setup = setup, .filter = filter, .write = write, .arg = arg };
	struct ladon *ladon = setup->gateway->ladon;
	int rc;

	if (ladon) {
		rc = walk_text(&walk, "{\"flows\": [");
		if (rc == 0)
			rc = ladon_flow_each(ladon, walk_flow, &walk);
		if (rc == 0)
			rc = ladon_learned_each(ladon, walk_learned, &walk);
	} else {
		rc = walk_note(&walk);
	}
	return rc < 0 ? rc : walk_text(&walk, "\n]}\n");
}
