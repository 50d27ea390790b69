/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.c - the control socket and its documents, over a made-up gateway
 *
 * The library and the pools are replaced by the fakes below; the socket, the
 * threads, the reasons and the JSON are the real ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../gateway/config_forwards.h"
#include "../../gateway/control.h"
#include "../../gateway/ends.h"
#include "../../gateway/forwards.h"
#include "../../gateway/reload.h"
#include "../../gateway/removed.h"
#include "../../gateway/report.h"
#include "../../gateway/setup.h"

/* ---- the fakes ---- */

struct ladon {
	uint32_t flows;
	uint32_t learned;
	int broken; /* what a walk over the flows ends with */
	atomic_uint killed;
};

struct pool {
	struct backend backend;
	struct member member;
	struct roster roster;
};

static struct ladon fake_ladon;

static union ladon_address address(const char *text)
{
	union ladon_address out = { 0 };
	struct addr parsed;

	assert_int_equal(addr_parse(text, &parsed), 0);
	memcpy(&out, &parsed, addr_len(&parsed));
	return out;
}

static struct ladon_flow flow_make(uint32_t id)
{
	struct ladon_flow flow = {
		.id = id,
		.client = address("192.0.2.7:40000"),
		.listener = address("198.51.100.1:443"),
		.source = address("10.0.2.9:10000"),
		.backend = address(id % 2 ? "10.0.2.2:443" : "[2001:db8::2]:443"),
		.packets_in = 10,
		.bytes_in = 1000 + id,
		.packets_out = 20,
		.bytes_out = 5000000000ull,
		.age_ms = 60000,
		.idle_ms = 5,
	};
	return flow;
}

int ladon_flow_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_flow *), void *arg)
{
	int rc = 0;

	for (uint32_t id = 1; id <= ladon->flows && rc == 0; id++) {
		struct ladon_flow flow = flow_make(id);

		rc = fn(arg, &flow);
	}
	return rc ? rc : ladon->broken;
}

int ladon_learned_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_learned_flow *),
		       void *arg)
{
	struct ladon_learned_flow flow = {
		.protocol = IPPROTO_UDP,
		.in = 1,
		.out = 1,
		.packets_in = 5,
		.stack_packets = 2,
	};

	for (uint32_t i = 0; i < ladon->learned; i++)
		fn(arg, &flow);
	return 0;
}

int ladon_learned_why(struct ladon *ladon, int protocol, const struct sockaddr *from,
		      const struct sockaddr *to, unsigned int *reason)
{
	assert_non_null(from);
	assert_non_null(to);
	if (!ladon->learned)
		return -EOPNOTSUPP;
	*reason = protocol == IPPROTO_UDP ? 0 : LADON_REASON_NO_FLOW;
	return 0;
}

int ladon_flow_kill(struct ladon *ladon, const struct ladon_flow *flow)
{
	assert_in_range(flow->id, 1, ladon->flows);
	if (flow->state == LADON_FLOW_KILLED)
		return -ENOENT;
	ladon->killed++;
	return 0;
}

int ladon_stats(struct ladon *ladon, struct ladon_stats *out)
{
	out->flows = ladon->flows;
	out->flows_max = 65536;
	out->packets = 7;
	out->bytes = 7000;
	out->handoffs = 4;
	out->handoff_ns[16] = 4; /* 4096 to 5119 ns */
	return 0;
}

int ladon_reason_packets(struct ladon *ladon, unsigned int reason, uint64_t *out)
{
	(void)ladon;
	*out = reason == LADON_REASON_NO_FLOW ? 3 : 0;
	return 0;
}

int ladon_interface_each(struct ladon *ladon, int (*fn)(void *arg, const char *name), void *arg)
{
	(void)ladon;
	return fn(arg, "eth0");
}

void ends_count(struct ends *ends, struct access_counts *out)
{
	(void)ends;
	*out = (struct access_counts){ .written = 5, .lost = 6 };
}

const char *pool_name(const struct pool *pool)
{
	(void)pool;
	return "web";
}

static unsigned int rosters; /* that are held */

struct roster *pool_roster(struct pool *pool)
{
	pool->member = (struct member){ .backend = &pool->backend, .weight = 3, .flows_max = 1000 };
	pool->roster = (struct roster){ .len = 1, .members = &pool->member };
	rosters++;
	return &pool->roster;
}

unsigned int pool_source_failures(const struct pool *pool, unsigned int entry)
{
	(void)pool;
	assert_int_equal(entry, 0);
	return 3;
}

void roster_drop(struct roster *roster)
{
	(void)roster;
	rosters--;
}

enum pool_state member_state(const struct member *member, uint64_t now_ms)
{
	(void)now_ms;
	return member->backend->admin == BACKEND_DRAIN ? POOL_STATE_DRAIN : POOL_STATE_EJECTED;
}

uint64_t pool_panicked(const struct pool *pool)
{
	(void)pool;
	return 7;
}

const char *backend_admin_word(enum backend_admin admin)
{
	return admin == BACKEND_DRAIN ? "drain" : "other";
}

bool backend_set_admin(struct backend *backend, enum backend_admin admin)
{
	backend->admin = admin;
	return true;
}

static int looks;

void removed_look(struct removed *removed)
{
	(void)removed;
	looks++;
}

unsigned int backend_addrs(struct backend *backend, struct addr *out)
{
	*out = backend->config->addr;
	return 1;
}

void backend_last_check(struct backend *backend, struct backend_check *out)
{
	*out = backend->checked;
}

struct backend *pool_find(struct pool *pool, const struct addr *addr)
{
	return addr_equal(&pool->backend.config->addr, addr) ? &pool->backend : NULL;
}

struct setup *setup_current(struct gateway *gateway)
{
	return gateway->setup;
}

void setup_drop(struct setup *setup)
{
	(void)setup;
}

static const char *reload_complaint; /* NULL: it succeeds */

int reload(struct gateway *gateway, struct reloaded *out, char **error)
{
	(void)gateway;
	*error = reload_complaint ? strdup(reload_complaint) : NULL;
	*out = (struct reloaded){ .listeners = 2, .added = 1 };
	return reload_complaint ? -EINVAL : 0;
}

/* ---- ... and of forwards: there is one, and the file's reader has its own tests ---- */

static struct config_forward forward_asked;
static const char *forward_complaint;

int config_forward_parse(const char *text, const struct config *config, struct config_forward *out,
			 char **why)
{
	(void)config;
	*out = (struct config_forward){ .last = 80, .tcp = true };
	assert_int_equal(addr_parse("192.0.2.1:80", &out->listen), 0);
	assert_int_equal(addr_parse("10.0.0.1:8080", &out->to), 0);
	if (!strstr(text, "\"listen\": \"192.0.2.1:80\"") || strstr(text, "command")) {
		*why = strdup("listen: is missing");
		return -EINVAL;
	}
	return 0;
}

int config_forward_name_parse(const char *text, struct config_forward *out, char **why)
{
	return config_forward_parse(text, NULL, out, why);
}

char *config_ports_format(const struct config_forward *forward, const struct addr *first,
			  char out[PORTS_TEXT_MAX])
{
	(void)forward;
	return addr_format(first, out);
}

int forwards_add(struct forwards *forwards, struct setup *setup,
		 const struct config_forward *forward, char **why)
{
	(void)forwards;
	(void)setup;
	forward_asked = *forward;
	*why = forward_complaint ? strdup(forward_complaint) : NULL;
	return forward_complaint ? -EEXIST : 0;
}

int forwards_remove(struct forwards *forwards, struct setup *setup,
		    const struct config_forward *name, unsigned int *removed, char **why)
{
	(void)forwards;
	(void)setup;
	forward_asked = *name;
	*why = NULL;
	*removed = 1;
	return forward_complaint ? -EBUSY : 0;
}

int forwards_each(struct forwards *forwards,
		  int (*fn)(void *arg, const struct config_forward *forward, const char *pool,
			    bool added, uint64_t flows, uint64_t refused),
		  void *arg)
{
	(void)forwards;
	(void)fn;
	(void)arg;
	return 0;
}

bool forwards_take(struct forwards *forwards, bool udp, const struct addr *at)
{
	(void)forwards;
	(void)udp;
	(void)at;
	return false;
}

/* ---- the made-up gateway ---- */

struct fixture {
	char directory[32];
	char path[64];
	struct config_backend backend;
	struct config_pool config_pool;
	struct config_listener listeners[2];
	struct config config;
	struct pool pool;
	struct pool *pools[1];
	struct tally *tallies[2];
	struct worker_counts counts[2];
	struct setup setup;
	struct gateway gateway;
	struct privilege who;
	struct control *control;
};

static void fixture_fill(struct fixture *f)
{
	f->backend.text = (char *)"10.0.2.2:443";
	assert_int_equal(addr_parse("10.0.2.2:443", &f->backend.addr), 0);
	f->config_pool = (struct config_pool){ .name = (char *)"web",
					       .backends = &f->backend,
					       .backends_len = 1 };
	f->listeners[0].name = (char *)"any";
	assert_int_equal(addr_parse("[::]:443", &f->listeners[0].addr), 0);
	f->listeners[1].name = (char *)"public";
	assert_int_equal(addr_parse("198.51.100.1:443", &f->listeners[1].addr), 0);
	f->config = (struct config){ .workers = 2,
				     .control = f->path,
				     .pools = &f->config_pool,
				     .pools_len = 1,
				     .listeners = f->listeners,
				     .listeners_len = 2 };
	f->config.path = (char *)"ladon.yaml";
	f->pool.backend.config = &f->backend;
	f->pool.backend.sick = true;
	f->pool.backend.times_sick = 3;
	f->pool.backend.checked = (struct backend_check){ .at_ms = 1,
							  .took_ms = 7,
							  .why = "connect: Connection refused" };
	f->pools[0] = &f->pool;
	tallies_init(&f->gateway.tallies);
	for (int l = 0; l < 2; l++)
		f->tallies[l] = tally_hold(&f->gateway.tallies, &f->listeners[l].addr, 2);
	for (int w = 0; w < 2; w++) {
		f->counts[w].relay_bytes_in = 100;
		f->counts[w].reasons[LADON_REASON_TABLE_FULL] = 5;
		f->tallies[1]->counts[w].accepted = 10;
		f->tallies[1]->counts[w].handed_off = 9;
		f->tallies[0]->counts[w].relaying = 1;
	}
	fake_ladon = (struct ladon){ .flows = 3 };
	f->who = (struct privilege){ .uid = geteuid(), .gid = getegid(), .control_gid = NO_GROUP };
	f->gateway.ladon = &fake_ladon;
	f->gateway.counts = f->counts;
	f->gateway.workers_len = 2;
	f->gateway.setup = &f->setup;
	f->setup = (struct setup){ .gateway = &f->gateway,
				   .config = &f->config,
				   .pools = f->pools,
				   .tallies = f->tallies };
}

static int open_and_start(struct fixture *f, struct control **out)
{
	int rc = control_open(&f->gateway, f->path, &f->who, out);

	return rc < 0 ? rc : control_start(*out);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->directory, "/tmp/ladon-unit-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/run/control", f->directory);
	fixture_fill(f);
	*state = f;
	return open_and_start(f, &f->control);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *slash = strrchr(f->path, '/');

	control_stop(f->control);
	assert_int_equal(access(f->path, F_OK), -1);
	*slash = '\0';
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(rmdir(f->directory), 0);
	for (int l = 0; l < 2; l++)
		tally_drop(&f->gateway.tallies, f->tallies[l]);
	assert_null(f->gateway.tallies.list);
	tallies_fini(&f->gateway.tallies);
	free(f);
	return 0;
}

static int dial(const struct fixture *f)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", f->path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (void *)&name, sizeof(name)), 0);
	return fd;
}

/* Read one document up to the end of the connection, and close. NULL: it is none. */
static json_t *answer_read(int fd)
{
	FILE *f = fdopen(fd, "r");
	json_t *document;

	assert_non_null(f);
	document = json_loadf(f, 0, NULL);
	fclose(f);
	return document;
}

static json_t *ask_bytes(const struct fixture *f, const char *bytes, size_t len)
{
	int fd = dial(f);

	send(fd, bytes, len, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	return answer_read(fd);
}

static json_t *ask(const struct fixture *f, const char *line)
{
	return ask_bytes(f, line, strlen(line));
}

static const char *error_of(const json_t *document)
{
	const char *error = json_string_value(json_object_get(document, "error"));

	return error ? error : "";
}

static json_int_t number(const json_t *document, const char *object, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(document, object), key));
}

/* ---- tests: documents ---- */

static void stats_add_up_all_workers(void **state)
{
	json_t *document = ask(*state, "{\"command\": \"stats show\"}\n");

	assert_int_equal(number(document, "connections", "accepted"), 20);
	assert_int_equal(number(document, "connections", "handed_off"), 18);
	assert_int_equal(number(document, "relay", "bytes_in"), 200);
	assert_int_equal(number(document, "relay", "now"), 2);
	assert_int_equal(number(document, "flows", "live"), 3);
	assert_int_equal(number(document, "packets", "bytes"), 7000);
	json_decref(document);
}

static void stats_list_every_reason(void **state)
{
	json_t *document = ask(*state, "{\"command\": \"stats show\"}\n");
	json_t *reasons = json_object_get(document, "reasons");
	json_t *full = json_object_get(reasons, "table_full");

	assert_int_equal(json_object_size(reasons), LADON_REASON_COUNT - 1);
	assert_int_equal(number(reasons, "no_flow", "count"), 3);
	assert_int_equal(json_integer_value(json_object_get(full, "count")), 10);
	assert_string_equal(json_string_value(json_object_get(full, "group")), "relay");
	json_decref(document);
}

static void median_lies_in_its_bucket(void **state)
{
	json_t *document = ask(*state, "{\"command\": \"stats show\"}\n");

	assert_in_range(number(document, "handoff", "p50_ns"), 4096, 5119);
	json_decref(document);
}

static void summary_says_why_nothing_is_handed_off(void **state)
{
	struct fixture *f = *state;
	json_t *document, *handoff;

	f->gateway.ladon = NULL;
	f->gateway.no_handoff = LADON_REASON_NO_BPF;
	document = ask(f, "{\"command\": \"summary show\"}\n");
	handoff = json_object_get(document, "handoff");
	assert_true(json_is_false(json_object_get(handoff, "on")));
	assert_string_equal(json_string_value(json_object_get(handoff, "reason")), "no_bpf");
	assert_int_equal(json_array_size(json_object_get(document, "listeners")), 2);
	json_decref(document);
}

static void what_a_removed_listener_counted_stays_in_the_sum(void **state)
{
	struct fixture *f = *state;
	struct listener_sum sum;

	tally_drop(&f->gateway.tallies, f->tallies[1]);
	f->tallies[1] = tally_hold(&f->gateway.tallies, &f->listeners[1].addr, 2);
	assert_int_equal(tally_sum(f->tallies[1]).accepted, 0);
	sum = tallies_sum(&f->gateway.tallies);
	assert_int_equal(sum.accepted, 20);
	assert_int_equal(sum.handed_off, 18);
}

static void a_reload_says_what_came_of_it(void **state)
{
	json_t *document = ask(*state, "{\"command\": \"reload\"}\n");

	assert_int_equal(json_integer_value(json_object_get(document, "listeners")), 2);
	assert_int_equal(json_integer_value(json_object_get(document, "added")), 1);
	json_decref(document);
	reload_complaint = "f:7: pool: wrong";
	document = ask(*state, "{\"command\": \"reload\"}\n");
	reload_complaint = NULL;
	assert_string_equal(json_string_value(json_object_get(document, "error")),
			    "f:7: pool: wrong");
	json_decref(document);
}

static void pools_and_listeners_are_listed(void **state)
{
	json_t *pools = ask(*state, "{\"command\": \"pool show\"}\n");
	json_t *listeners = ask(*state, "{\"command\": \"listener show\"}\n");
	json_t *pool = json_array_get(json_object_get(pools, "pools"), 0), *backend;

	assert_string_equal(json_string_value(json_object_get(pool, "policy")), "round_robin");
	assert_int_equal(json_array_size(json_object_get(pool, "backends")), 1);
	assert_int_equal(json_integer_value(json_object_get(pool, "panicked")), 7);
	backend = json_array_get(json_object_get(pool, "backends"), 0);
	assert_string_equal(json_string_value(json_object_get(backend, "health")), "sick");
	assert_string_equal(json_string_value(json_object_get(backend, "check")),
			    "connect: Connection refused");
	assert_int_equal(json_integer_value(json_object_get(backend, "times_sick")), 3);
	assert_int_equal(json_integer_value(json_object_get(backend, "check_took_ms")), 7);
	assert_true(json_integer_value(json_object_get(backend, "check_age_ms")) >= 1000);
	assert_int_equal(json_array_size(json_object_get(listeners, "listeners")), 2);
	json_decref(pools);
	json_decref(listeners);
}

static void a_backend_is_set(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *pools, *backend;

	f->pool.backend.ejected_ms = UINT64_MAX;
	pools = ask(f, "{\"command\": \"pool show\"}\n");
	backend = json_array_get(
		json_object_get(json_array_get(json_object_get(pools, "pools"), 0), "backends"), 0);
	assert_string_equal(json_string_value(json_object_get(backend, "state")), "ejected");
	assert_true(json_is_integer(json_object_get(backend, "ejected_ms")));
	assert_int_equal(json_integer_value(json_object_get(backend, "weight")), 3);
	assert_true(json_is_false(json_object_get(backend, "backup")));
	json_decref(pools);
	looks = 0;
	answer = ask(f, "{\"command\": \"backend set\", \"pool\": \"web\", "
			"\"backend\": \"10.0.2.2:443\", \"state\": \"drain\"}\n");
	assert_string_equal(json_string_value(json_object_get(answer, "state")), "drain");
	assert_string_equal(json_string_value(json_object_get(answer, "admin")), "drain");
	assert_int_equal(f->pool.backend.admin, BACKEND_DRAIN);
	assert_int_equal(looks, 1);
	json_decref(answer);
}

static void what_cannot_be_set_is_said(void **state)
{
	static const struct {
		const char *keys, *error;
	} rows[] = {
		{ "", "pool: there is none of this name" },
		{ ", \"pool\": \"wbe\"", "pool: there is none of this name" },
		{ ", \"pool\": 7", "pool: there is none of this name" },
		{ ", \"pool\": \"web\"", "state: it takes auto, up, down or drain" },
		{ ", \"pool\": \"web\", \"state\": \"off\"",
		  "state: it takes auto, up, down or drain" },
		{ ", \"pool\": \"web\", \"state\": \"drain\"",
		  "backend: pool web has none of this text" },
		{ ", \"pool\": \"web\", \"state\": \"drain\", \"backend\": \"10.0.2.2:44\"",
		  "backend: pool web has none of this text" },
		{ ", \"backends\": \"all\"", "backend set: unknown key backends" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char request[200];
		json_t *answer;

		snprintf(request, sizeof(request), "{\"command\": \"backend set\"%s}\n",
			 rows[i].keys);
		answer = ask(*state, request);
		assert_string_equal(json_string_value(json_object_get(answer, "error")),
				    rows[i].error);
		json_decref(answer);
	}
}

static void flow_has_the_names_of_listener_and_pool(void **state)
{
	json_t *document = ask(*state, "{\"command\": \"flow show\", \"id\": 1}\n");
	json_t *flows = json_object_get(document, "flows");
	json_t *flow = json_array_get(flows, 0);

	assert_int_equal(json_array_size(flows), 1);
	assert_string_equal(json_string_value(json_object_get(flow, "state")), "open");
	assert_string_equal(json_string_value(json_object_get(flow, "listener_name")), "public");
	assert_string_equal(json_string_value(json_object_get(flow, "pool")), "web");
	assert_int_equal(json_integer_value(json_object_get(flow, "bytes_out")), 5000000000ll);
	json_decref(document);
}

static void filters_choose_flows(void **state)
{
	static const struct {
		const char *keys;
		size_t len;
	} rows[] = {
		{ "", 3 },
		{ ", \"id\": 4", 0 },
		{ ", \"client\": \"192.0.2.7\"", 3 },
		{ ", \"client\": \"192.0.2.7:40000\"", 3 },
		{ ", \"client\": \"192.0.2.7:40001\"", 0 },
		{ ", \"backend\": \"10.0.2.2\"", 2 },
		{ ", \"backend\": \"2001:db8::2\"", 1 },
		{ ", \"backend\": \"[2001:db8::2]:443\", \"id\": 2", 1 },
		{ ", \"backend\": \"[2001:db8::2]:443\", \"id\": 1", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[128];
		json_t *document;

		snprintf(line, sizeof(line), "{\"command\": \"flow show\"%s}\n", rows[i].keys);
		document = ask(*state, line);
		assert_int_equal(json_array_size(json_object_get(document, "flows")), rows[i].len);
		json_decref(document);
	}
}

static void without_handoff_there_are_no_flows_and_a_note(void **state)
{
	struct fixture *f = *state;
	json_t *document;

	f->gateway.ladon = NULL;
	f->gateway.no_handoff = LADON_REASON_NO_BPF;
	document = ask(f, "{\"command\": \"flow show\"}\n");
	assert_int_equal(json_array_size(json_object_get(document, "flows")), 0);
	assert_string_equal(json_string_value(json_object_get(document, "note")),
			    ladon_reason_text(LADON_REASON_NO_BPF));
	json_decref(document);
}

static void a_list_that_breaks_off_has_no_end(void **state)
{
	fake_ladon.broken = -EIO;
	assert_null(ask(*state, "{\"command\": \"flow show\"}\n"));
}

static void kill_ends_what_was_named_and_no_more(void **state)
{
	static const struct {
		const char *keys;
		json_int_t killed; /* -1: refused */
	} rows[] = {
		{ "", -1 },
		{ ", \"all\": false", -1 },
		{ ", \"clinet\": \"192.0.2.7\", \"all\": true", -1 },
		{ ", \"id\": 9", -1 },
		{ ", \"id\": 4294967296", -1 },
		{ ", \"id\": \"1\"", -1 },
		{ ", \"client\": \"nobody\"", -1 },
		{ ", \"client\": 7", -1 },
		{ ", \"id\": 2", 1 },
		{ ", \"backend\": \"10.0.2.2\"", 2 },
		{ ", \"client\": \"203.0.113.1\"", 0 },
		{ ", \"all\": true", 3 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_int_t want = rows[i].killed;
		char line[128];
		json_t *document;

		fake_ladon.killed = 0;
		snprintf(line, sizeof(line), "{\"command\": \"flow kill\"%s}\n", rows[i].keys);
		document = ask(*state, line);
		assert_int_equal(json_is_string(json_object_get(document, "error")), want < 0);
		assert_int_equal(fake_ladon.killed, want < 0 ? 0 : want);
		json_decref(document);
	}
}

/* ---- tests: requests ---- */

static void learned_flows_stand_beside_the_others(void **state)
{
	struct fixture *f = *state;
	const json_t *flow;
	json_t *document;

	fake_ladon.flows = 1;
	fake_ladon.learned = 1;
	document = ask(f, "{\"command\": \"flow show\"}\n");
	assert_int_equal(json_array_size(json_object_get(document, "flows")), 2);
	flow = json_array_get(json_object_get(document, "flows"), 0);
	assert_string_equal(json_string_value(json_object_get(flow, "by")), "handoff");
	flow = json_array_get(json_object_get(document, "flows"), 1);
	assert_string_equal(json_string_value(json_object_get(flow, "by")), "learned");
	assert_string_equal(json_string_value(json_object_get(flow, "protocol")), "udp");
	assert_int_equal(json_integer_value(json_object_get(flow, "packets_in")), 5);
	json_decref(document);
}

static void why_a_flow_is_slow_is_answered(void **state)
{
	static const struct {
		uint32_t learned;
		const char *keys, *why; /* .why: of an answer, or how an error begins */
	} rows[] = {
		{ 1, "\"protocol\": \"udp\", \"from\": \"10.0.0.1:1\", \"to\": \"10.0.0.2:2\"",
		  "learned" },
		{ 1, "\"protocol\": \"tcp\", \"from\": \"10.0.0.1:1\", \"to\": \"10.0.0.2:2\"",
		  "no_flow" },
		{ 0, "\"protocol\": \"tcp\", \"from\": \"10.0.0.1:1\", \"to\": \"10.0.0.2:2\"",
		  "off" },
		{ 1, "\"protocol\": \"icmp\", \"from\": \"10.0.0.1:1\", \"to\": \"10.0.0.2:2\"",
		  "protocol: not" },
		{ 1, "\"from\": \"10.0.0.1:1\", \"to\": \"10.0.0.2:2\"", "protocol: not" },
		{ 1, "\"protocol\": \"tcp\", \"from\": \"10.0.0.1\", \"to\": \"10.0.0.2:2\"",
		  "from and to: not" },
		{ 1, "\"protocol\": \"tcp\", \"from\": \"10.0.0.1:1\", \"to\": \"[::1]:2\"",
		  "from and to: not" },
		{ 1, "\"protocol\": \"tcp\", \"from\": 7, \"to\": \"[::1]:2\"",
		  "from and to: not" },
		{ 1, "\"protocol\": \"tcp\", \"from\": \"10.0.0.1:1\"", "from and to: not" },
	};
	struct fixture *f = *state;
	char line[200];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *said;
		json_t *document;

		fake_ladon.learned = rows[i].learned;
		snprintf(line, sizeof(line), "{\"command\": \"flow why\", %s}\n", rows[i].keys);
		document = ask(f, line);
		said = json_string_value(json_object_get(document, "why"));
		if (!said)
			said = error_of(document);
		assert_memory_equal(said, rows[i].why, strlen(rows[i].why));
		json_decref(document);
	}
}

static void odd_requests_are_answered_with_an_error(void **state)
{
	static const struct {
		const char *line;
		const char *error; /* begins with */
	} rows[] = {
		{ "", "the request is not a whole line" },
		{ "{\"command\": \"stats show\"}", "the request is not a whole line" },
		{ "\n", "the request is not JSON" },
		{ "GET / HTTP/1.0\r\n", "the request is not JSON" },
		{ "{\"command\": \"stats show\"} x\n", "the request is not JSON" },
		{ "{\"id\": 1, \"id\": 2}\n", "the request is not JSON" },
		{ "{\"command\": \"\xff\"}\n", "the request is not JSON" },
		{ "{\"command\": \"stats\\u0000show\"}\n", "the request is not JSON" },
		{ "7\n", "the request is not JSON" },
		{ "[]\n", "the request has no command" },
		{ "{}\n", "the request has no command" },
		{ "{\"command\": 7}\n", "the request has no command" },
		{ "{\"command\": \"flow\"}\n", "unknown command" },
		{ "{\"command\": \"stats show\", \"id\": 7}\n", "stats show: unknown key" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *document = ask(*state, rows[i].line);

		assert_non_null(document);
		assert_memory_equal(error_of(document), rows[i].error, strlen(rows[i].error));
		json_decref(document);
	}
}

static void a_forward_is_asked_for_as_in_the_file(void **state)
{
	json_t *document =
		ask(*state, "{\"command\": \"forward add\", \"listen\": \"192.0.2.1:80\"}\n");

	assert_true(json_is_true(json_object_get(document, "added")));
	assert_string_equal(json_string_value(json_object_get(document, "to")), "10.0.0.1:8080");
	assert_int_equal(addr_port(&forward_asked.listen), 80);
	json_decref(document);
	document = ask(*state, "{\"command\": \"forward add\"}\n");
	assert_string_equal(error_of(document), "listen: is missing");
	json_decref(document);

	document = ask(*state, "{\"command\": \"forward remove\", \"listen\": \"192.0.2.1:80\"}\n");
	assert_int_equal(json_integer_value(json_object_get(document, "removed")), 1);
	json_decref(document);
	forward_complaint = "taken";
	document = ask(*state, "{\"command\": \"forward add\", \"listen\": \"192.0.2.1:80\"}\n");
	assert_string_equal(error_of(document), "taken");
	json_decref(document);
	document = ask(*state, "{\"command\": \"forward remove\", \"listen\": \"192.0.2.1:80\"}\n");
	assert_non_null(strstr(error_of(document), "take it out there, and reload"));
	json_decref(document);
	forward_complaint = NULL;
}

static void a_long_or_deep_request_is_refused(void **state)
{
	char bytes[100000];
	json_t *document;

	memset(bytes, '[', sizeof(bytes));
	document = ask_bytes(*state, bytes, sizeof(bytes));
	assert_non_null(strstr(error_of(document), "longer than"));
	json_decref(document);

	bytes[4000] = '\n';
	document = ask_bytes(*state, bytes, 4001);
	assert_non_null(strstr(error_of(document), "not JSON"));
	json_decref(document);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char line[] = "{\"command\": \"pool show\"}\nwhat follows is ignored";
	int fd = dial(*state);
	json_t *document;

	for (size_t i = 0; i < strlen(line); i++)
		send(fd, line + i, 1, MSG_NOSIGNAL);
	document = answer_read(fd);
	assert_non_null(json_object_get(document, "pools"));
	json_decref(document);
}

/* As many as are served at a time: the next one waits, but not for ever. */
static void stalled_clients_are_dropped(void **state)
{
	static const char line[] = "{\"command\": \"flow show\"}\n";
	json_t *document;
	int fds[4];

	fake_ladon.flows = 20000; /* more than a socket's buffer takes */
	for (int i = 0; i < 4; i++)
		fds[i] = dial(*state);
	send(fds[0], "{\"comm", 7, MSG_NOSIGNAL);
	send(fds[3], line, strlen(line), MSG_NOSIGNAL); /* and does not read */
	document = ask(*state, "{\"command\": \"pool show\"}\n");
	assert_non_null(json_object_get(document, "pools"));
	json_decref(document);
	for (int i = 0; i < 3; i++) {
		document = answer_read(fds[i]);
		assert_non_null(strstr(error_of(document), "did not come within"));
		json_decref(document);
	}
	assert_int_equal(poll(&(struct pollfd){ .fd = fds[3], .events = 0 }, 1, 10000), 1);
	assert_null(answer_read(fds[3])); /* misses the end of its list */
}

static void a_hundred_clients_at_once_are_all_answered(void **state)
{
	static const char line[] = "{\"command\": \"flow show\"}\n";
	int fds[100];

	for (size_t i = 0; i < 100; i++) {
		fds[i] = dial(*state);
		send(fds[i], line, strlen(line), MSG_NOSIGNAL);
	}
	for (size_t i = 0; i < 100; i++) {
		json_t *document = answer_read(fds[i]);

		assert_int_equal(json_array_size(json_object_get(document, "flows")), 3);
		json_decref(document);
	}
}

static void clients_that_leave_early_harm_nobody(void **state)
{
	static const char line[] = "{\"command\": \"flow show\"}\n";
	json_t *document;

	fake_ladon.flows = 5000;
	for (int i = 0; i < 8; i++) {
		int fd = dial(*state);

		send(fd, line, strlen(line), MSG_NOSIGNAL);
		if (i % 2) /* wait for the first bytes, then leave */
			assert_int_equal(
				poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 5000), 1);
		close(fd);
	}
	document = ask(*state, line);
	assert_int_equal(json_array_size(json_object_get(document, "flows")), 5000);
	json_decref(document);
}

/* ---- tests: the socket ---- */

static void socket_is_for_its_owner_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

#define STRANGER  65534
#define OPERATORS 54321 /* any group that nobody is in */

/*
 * Connect as a stranger with one group and one supplementary group. This thread
 * alone: seteuid(3) would change the daemon's threads too.
 */
static int dial_as_stranger(const struct fixture *f, gid_t group, gid_t supplementary)
{
	int fd;

	assert_int_equal(syscall(SYS_setgroups, 1, &supplementary), 0);
	assert_int_equal(syscall(SYS_setresgid, -1, group, -1), 0);
	assert_int_equal(syscall(SYS_setresuid, -1, STRANGER, -1), 0);
	fd = dial(f);
	assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	assert_int_equal(syscall(SYS_setresgid, -1, 0, -1), 0);
	assert_int_equal(syscall(SYS_setgroups, 0, NULL), 0);
	return fd;
}

/* Only root can change its user; as another, the daemon's user is the only one to test. */
static void strangers_are_refused(void **state)
{
	struct fixture *f = *state;
	json_t *document;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->directory, 0755), 0);
	assert_int_equal(chmod(f->path, 0666), 0);
	document = answer_read(dial_as_stranger(f, STRANGER, OPERATORS));
	assert_memory_equal(error_of(document), "permission denied", 17);
	json_decref(document);
}

static void assert_served(int fd)
{
	static const char line[] = "{\"command\": \"pool show\"}\n";
	json_t *document;

	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	document = answer_read(fd);
	assert_non_null(json_object_get(document, "pools"));
	json_decref(document);
}

static void the_control_group_may_connect(void **state)
{
	struct fixture *f = *state;
	json_t *document;
	struct stat st;

	if (geteuid() != 0)
		skip();
	control_stop(f->control);
	f->who.control_gid = OPERATORS;
	assert_int_equal(open_and_start(f, &f->control), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(st.st_gid, OPERATORS);

	assert_int_equal(chmod(f->directory, 0755), 0);
	assert_served(dial_as_stranger(f, OPERATORS, STRANGER));
	assert_served(dial_as_stranger(f, STRANGER, OPERATORS));
	assert_int_equal(chmod(f->path, 0666), 0);
	document = answer_read(dial_as_stranger(f, STRANGER, STRANGER));
	assert_memory_equal(error_of(document), "permission denied", 17);
	json_decref(document);
}

static void the_socket_belongs_to_the_user_that_ladond_becomes(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	if (geteuid() != 0)
		skip();
	control_stop(f->control);
	f->who.change = true;
	f->who.uid = f->who.gid = STRANGER;
	assert_int_equal(open_and_start(f, &f->control), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_uid, STRANGER);
	assert_int_equal(st.st_gid, STRANGER);
}

static void a_live_socket_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	json_t *document;

	assert_int_equal(control_open(&f->gateway, f->path, &f->who, &second), -EADDRINUSE);
	document = ask(f, "{\"command\": \"pool show\"}\n");
	assert_non_null(document);
	json_decref(document);
}

/* As after kill -9: the file is there, and nobody listens. */
static void a_stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	json_t *document;

	control_stop(f->control);
	snprintf(name.sun_path, sizeof(name.sun_path), "%s", f->path);
	assert_int_equal(bind(fd, (void *)&name, sizeof(name)), 0);
	close(fd);
	assert_int_equal(open_and_start(f, &f->control), 0);
	document = ask(f, "{\"command\": \"pool show\"}\n");
	assert_non_null(document);
	json_decref(document);
}

static void a_file_of_another_kind_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct control *control;
	int fd;

	control_stop(f->control);
	f->control = NULL;
	fd = open(f->path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(control_open(&f->gateway, f->path, &f->who, &control), -ENOTSOCK);
	assert_int_equal(unlink(f->path), 0);
}

static void a_path_that_fits_no_socket_is_refused(void **state)
{
	struct fixture *f = *state;
	struct control *control;
	char path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(control_open(&f->gateway, path, &f->who, &control), -ENAMETOOLONG);
}

/* Somebody removed our file and another daemon made its own: that one stays. */
static void stop_removes_only_its_own_file(void **state)
{
	struct fixture *f = *state;
	struct control *second;

	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(open_and_start(f, &second), 0);
	control_stop(f->control);
	assert_int_equal(access(f->path, F_OK), 0);
	f->control = second;
}

static void stop_does_not_wait_for_a_stalled_client(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);
	struct timespec before, after;

	send(fd, "{", 1, MSG_NOSIGNAL);
	clock_gettime(CLOCK_MONOTONIC, &before);
	control_stop(f->control);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 0, 2);
	close(fd);
	f->control = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stats_add_up_all_workers),
		TEST(stats_list_every_reason),
		TEST(median_lies_in_its_bucket),
		TEST(summary_says_why_nothing_is_handed_off),
		TEST(what_a_removed_listener_counted_stays_in_the_sum),
		TEST(a_reload_says_what_came_of_it),
		TEST(pools_and_listeners_are_listed),
		TEST(a_backend_is_set),
		TEST(what_cannot_be_set_is_said),
		TEST(flow_has_the_names_of_listener_and_pool),
		TEST(filters_choose_flows),
		TEST(without_handoff_there_are_no_flows_and_a_note),
		TEST(a_list_that_breaks_off_has_no_end),
		TEST(kill_ends_what_was_named_and_no_more),
		TEST(learned_flows_stand_beside_the_others),
		TEST(why_a_flow_is_slow_is_answered),
		TEST(odd_requests_are_answered_with_an_error),
		TEST(a_forward_is_asked_for_as_in_the_file),
		TEST(a_long_or_deep_request_is_refused),
		TEST(a_request_may_come_byte_by_byte),
		TEST(stalled_clients_are_dropped),
		TEST(a_hundred_clients_at_once_are_all_answered),
		TEST(clients_that_leave_early_harm_nobody),
		TEST(socket_is_for_its_owner_alone),
		TEST(strangers_are_refused),
		TEST(the_control_group_may_connect),
		TEST(the_socket_belongs_to_the_user_that_ladond_becomes),
		TEST(a_live_socket_is_not_taken),
		TEST(a_stale_socket_is_replaced),
		TEST(a_file_of_another_kind_is_left_alone),
		TEST(a_path_that_fits_no_socket_is_refused),
		TEST(stop_removes_only_its_own_file),
		TEST(stop_does_not_wait_for_a_stalled_client),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
