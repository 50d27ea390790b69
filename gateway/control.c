/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.c - the Unix socket that ladon(8) talks to
 *
 * A few threads wait on one listening socket; each serves one client from
 * accept to close, in straight lines. Their number is the number of clients at
 * a time, the others wait in the backlog. Every wait has a time limit and ends
 * at control_stop(), so a client that stalls holds up one thread for seconds,
 * and a worker never.
 *
 * An answer leaves through one fixed buffer as fast as the client reads it: a
 * list of a million flows needs no more memory here than a list of one.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "../base/log.h"
#include "../base/own.h"
#include "config_forwards.h"
#include "forwards.h"
#include "reload.h"
#include "removed.h"
#include "report.h"
#include "setup.h"

#define CLIENTS_MAX   4
#define BACKLOG	      128
#define REQUEST_BYTES 4096
#define ANSWER_BYTES  16384 /* what a client must take within ANSWER_MS */
#define REQUEST_MS    5000
#define ANSWER_MS     5000
#define PAUSE_MS      100 /* before accept() is tried again when it failed */
#define NO_LIMIT      -1

/* A thread */
struct server {
	struct control *control;
	pthread_t thread;
	int spare; /* descriptor for a client when there is no other: then, above all, somebody will ask */
};

struct control {
	struct gateway *gateway;
	int listen_fd;
	int stop_fd; /* eventfd; readable once control_stop() was called */
	gid_t group; /* whose members may connect; NO_GROUP: nobody's */
	char *path;
	dev_t dev; /* of the socket file that is ours */
	ino_t ino;
	pthread_mutex_t accepting;
	struct server servers[CLIENTS_MAX];
	unsigned int servers_len;
};

/* One client, on the stack of the thread that serves it. */
struct client {
	struct control *control;
	struct setup *setup; /* in force when the request came; held while it is answered */
	int fd;
	int error; /* of the connection; nothing more is sent after it */
	size_t request_len;
	size_t answer_len;
	char request[REQUEST_BYTES];
	char answer[ANSWER_BYTES];
};

/* ---- waiting ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Until @fd has @events or @deadline_ms (CLOCK_MONOTONIC) has passed.
 * Return: 0, -ETIMEDOUT, or -ECANCELED when the daemon stops. @fd may be -1.
 */
static int control_wait(struct control *control, int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = control->stop_fd, .events = POLLIN },
			{ .fd = fd, .events = events },
		};
		int64_t left_ms = deadline_ms == NO_LIMIT ? -1 : deadline_ms - now_ms();

		if (deadline_ms != NO_LIMIT && left_ms <= 0)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)left_ms) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (fds[0].revents)
			return -ECANCELED;
		if (fds[1].revents)
			return 0;
	}
}

/* ---- answering ---- */

static void client_flush(struct client *client)
{
	int64_t deadline_ms = now_ms() + ANSWER_MS;
	size_t sent = 0;

	while (!client->error && sent < client->answer_len) {
		ssize_t n = send(client->fd, client->answer + sent, client->answer_len - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			client->error =
				control_wait(client->control, client->fd, POLLOUT, deadline_ms);
		else if (errno != EINTR)
			client->error = -errno;
	}
	client->answer_len = 0;
}

/* A json_dump_callback_t. Return: -1 once the client is gone. */
static int client_write(const char *bytes, size_t len, void *arg)
{
	struct client *client = arg;

	while (len > 0 && !client->error) {
		size_t room = sizeof(client->answer) - client->answer_len;
		size_t n = len < room ? len : room;

		memcpy(client->answer + client->answer_len, bytes, n);
		client->answer_len += n;
		bytes += n;
		len -= n;
		if (client->answer_len == sizeof(client->answer))
			client_flush(client);
	}
	return client->error ? -1 : 0;
}

/* Takes over @document. */
static void client_answer(struct client *client, json_t *document)
{
	static const char lack[] = "{\"error\": \"out of memory\"}";

	if (!document)
		client_write(lack, sizeof(lack) - 1, client);
	else if (json_dump_callback(document, client_write, client, 0) < 0 && !client->error)
		client->error = -ENOMEM; /* cut short: the client misses the end */
	client_write("\n", 1, client);
	json_decref(document);
}

__attribute__((format(printf, 2, 3))) static void client_refuse(struct client *client,
								const char *fmt, ...)
{
	json_t *document;
	va_list args;

	va_start(args, fmt);
	document = json_pack("{s:o}", "error", json_vsprintf(fmt, args));
	va_end(args);
	client_answer(client, document);
}

/* ---- commands ---- */

/* Return: false when @value is no address; the port may be left out. */
static bool address_get(const json_t *value, struct addr *out)
{
	const char *text = json_string_value(value);

	return text && (addr_parse(text, out) == 0 || addr_parse_host(text, 0, out) == 0);
}

/* Return: false when a value is malformed; the client has been told. */
static bool filter_get(struct client *client, const json_t *request, struct flow_filter *out)
{
	const json_t *id = json_object_get(request, "id");
	const json_t *from = json_object_get(request, "client");
	const json_t *to = json_object_get(request, "backend");
	json_int_t number = json_integer_value(id);

	*out = (struct flow_filter){ .by_id = id, .by_client = from, .by_backend = to };
	if (id && (!json_is_integer(id) || number < 0 || number > UINT32_MAX))
		client_refuse(client, "id: not the number of a flow");
	else if (from && !address_get(from, &out->client))
		client_refuse(client, "client: not an address, or an address and port");
	else if (to && !address_get(to, &out->backend))
		client_refuse(client, "backend: not an address, or an address and port");
	else {
		out->id = (uint32_t)number;
		return true;
	}
	return false;
}

static void run_flow_show(struct client *client, const json_t *request)
{
	struct flow_filter filter;
	int rc;

	if (!filter_get(client, request, &filter))
		return;
	rc = report_flows(client->setup, &filter, client_write, client);
	if (rc < 0 && !client->error)
		client->error = rc; /* cut short: the client misses the end */
}

struct killing {
	struct ladon *ladon;
	const struct flow_filter *filter;
	int64_t killed;
};

static int kill_matching(void *arg, const struct ladon_flow *flow)
{
	struct killing *killing = arg;

	if (flow_filter_match(killing->filter, flow) && ladon_flow_kill(killing->ladon, flow) == 0)
		killing->killed++;
	return 0;
}

/* Return: how many were killed, or a negative errno. */
static int64_t flows_kill(struct ladon *ladon, const struct flow_filter *filter)
{
	struct killing killing = { .ladon = ladon, .filter = filter };
	int rc = ladon_flow_each(ladon, kill_matching, &killing);

	return rc < 0 ? rc : killing.killed;
}

static void run_flow_kill(struct client *client, const json_t *request)
{
	struct gateway *gateway = client->control->gateway;
	struct flow_filter filter;
	int64_t killed;

	if (!filter_get(client, request, &filter))
		return;
	if (!filter.by_id && !filter.by_client && !filter.by_backend &&
	    !json_is_true(json_object_get(request, "all"))) {
		client_refuse(client, "which flows? id, client, backend or all");
		return;
	}
	if (!gateway->ladon) {
		client_refuse(client, "there are no flows: %s",
			      ladon_reason_text(gateway->no_handoff));
		return;
	}
	killed = flows_kill(gateway->ladon, &filter);
	if (killed < 0) {
		client_refuse(client, "flow kill: %s", strerror((int)-killed));
	} else if (killed == 0 && filter.by_id) {
		client_refuse(client, "no flow %u", filter.id);
	} else {
		log_info("control: killed %lld flows", (long long)killed);
		client_answer(client, json_pack("{s:I}", "killed", (json_int_t)killed));
	}
}

/* A flow of a handoff has these ends, in the client's direction or the other. */
struct finding {
	const struct addr *from, *to;
	bool found;
};

static int find_ends(void *arg, const struct ladon_flow *flow)
{
	struct finding *finding = arg;
	struct addr client, listener, source, backend;

	if (addr_from(&flow->client.sa, &client) < 0 ||
	    addr_from(&flow->listener.sa, &listener) < 0 ||
	    addr_from(&flow->source.sa, &source) < 0 || addr_from(&flow->backend.sa, &backend) < 0)
		return 0;
	finding->found =
		(addr_equal(finding->from, &client) && addr_equal(finding->to, &listener)) ||
		(addr_equal(finding->from, &backend) && addr_equal(finding->to, &source));
	return finding->found;
}

static json_t *why_json(struct gateway *gateway, int protocol, const struct addr *from,
			const struct addr *to, int *rc)
{
	struct finding finding = { .from = from, .to = to };
	unsigned int reason;

	*rc = 0;
	if (protocol == IPPROTO_TCP)
		ladon_flow_each(gateway->ladon, find_ends, &finding);
	if (finding.found)
		return json_pack("{s:b, s:s, s:s}", "fast", 1, "why", "handoff", "text",
				 "of a handed-off connection; translated");
	*rc = ladon_learned_why(gateway->ladon, protocol, &from->sa, &to->sa, &reason);
	if (*rc == -EOPNOTSUPP)
		return json_pack("{s:b, s:s, s:s}", "fast", 0, "why", "off", "text",
				 "nothing is learned: 'accelerate' is off, or could not be had");
	if (*rc < 0)
		return NULL;
	if (reason == LADON_REASON_NONE)
		reason = LADON_REASON_LEARNED;
	return json_pack("{s:b, s:s, s:s}", "fast", reason == LADON_REASON_LEARNED, "why",
			 ladon_reason_name(reason), "text", ladon_reason_text(reason));
}

static void run_flow_why(struct client *client, const json_t *request)
{
	struct gateway *gateway = client->control->gateway;
	const char *word = json_string_value(json_object_get(request, "protocol"));
	struct addr from, to;
	json_t *document;
	int rc;

	if (!word || (strcmp(word, "tcp") != 0 && strcmp(word, "udp") != 0)) {
		client_refuse(client, "protocol: not tcp or udp");
	} else if (!address_get(json_object_get(request, "from"), &from) ||
		   !address_get(json_object_get(request, "to"), &to) || !addr_port(&from) ||
		   !addr_port(&to) || addr_family(&from) != addr_family(&to)) {
		client_refuse(client, "from and to: not two addresses of one family, with ports");
	} else if (!gateway->ladon) {
		client_refuse(client, "there are no flows: %s",
			      ladon_reason_text(gateway->no_handoff));
	} else {
		document = why_json(gateway, strcmp(word, "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP,
				    &from, &to, &rc);
		if (document)
			client_answer(client, document);
		else
			client_refuse(client, "flow why: %s", strerror(rc < 0 ? -rc : ENOMEM));
	}
}

/* Return: false if it is none of the words. */
static bool admin_get(const json_t *request, enum backend_admin *out)
{
	const char *word = json_string_value(json_object_get(request, "state"));

	for (int admin = 0; word && admin < BACKEND_ADMINS; admin++) {
		if (strcmp(word, backend_admin_word((enum backend_admin)admin)) == 0) {
			*out = (enum backend_admin)admin;
			return true;
		}
	}
	return false;
}

static struct pool *pool_get(const struct setup *setup, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "pool"));

	for (unsigned int p = 0; name && p < setup->config->pools_len; p++)
		if (strcmp(pool_name(setup->pools[p]), name) == 0)
			return setup->pools[p];
	return NULL;
}

/* All of this text: it may be written twice. Return: one, or NULL */
static const struct member *backends_set(const struct pool *pool, const struct roster *roster,
					 const char *text, enum backend_admin admin)
{
	const struct member *found = NULL;

	for (unsigned int b = 0; text && b < roster->len; b++) {
		struct backend *backend = roster->members[b].backend;

		if (strcmp(backend->config->text, text) != 0)
			continue;
		found = &roster->members[b];
		if (backend_set_admin(backend, admin))
			log_info("control: pool %s: %s is set to %s", pool_name(pool), text,
				 backend_admin_word(admin));
	}
	return found;
}

/* Connections that a pool resets for it are gone when the client hears of it. */
static void backend_set_answer(struct client *client, struct pool *pool, const char *text,
			       enum backend_admin admin)
{
	struct roster *roster = pool_roster(pool);
	const struct member *found = backends_set(pool, roster, text, admin);

	if (found) {
		removed_look(client->control->gateway->removed);
		client_answer(client, json_pack("{s:s, s:s, s:s, s:s}", "pool", pool_name(pool),
						"backend", text, "admin", backend_admin_word(admin),
						"state", report_state(found)));
	} else {
		client_refuse(client, "backend: pool %s has none of this text", pool_name(pool));
	}
	roster_drop(roster);
}

static void run_backend_set(struct client *client, const json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "backend"));
	struct pool *pool = pool_get(client->setup, request);
	enum backend_admin admin;

	if (!pool) {
		client_refuse(client, "pool: there is none of this name");
		return;
	}
	if (!admin_get(request, &admin)) {
		client_refuse(client, "state: it takes auto, up, down or drain");
		return;
	}
	backend_set_answer(client, pool, text, admin);
}

/*
 * The request is read as a mapping of the file would be. @why: of a refusal; to be freed
 * Return: 0, with the answer in @out, or a negative errno
 */
static int forward_add(struct gateway *gateway, const char *text, json_t **out, char **why)
{
	const struct config *config = gateway->setup->config;
	struct config_forward forward;
	char listen[PORTS_TEXT_MAX];
	const char *pool;
	int rc = config_forward_parse(text, config, &forward, why);

	if (rc == 0)
		rc = forwards_add(gateway->forwards, gateway->setup, &forward, why);
	if (rc < 0)
		return rc;
	log_info("control: forward %s added",
		 config_ports_format(&forward, &forward.listen, listen));
	pool = forward.has_pool ? config->pools[forward.pool].name : NULL;
	*out = report_forward(&forward, pool, true, 0, 0);
	return 0;
}

static int forward_remove(struct gateway *gateway, const char *text, json_t **out, char **why)
{
	struct config_forward name;
	char listen[PORTS_TEXT_MAX];
	unsigned int removed = 0;
	int rc = config_forward_name_parse(text, &name, why);

	if (rc == 0)
		rc = forwards_remove(gateway->forwards, gateway->setup, &name, &removed, why);
	if (rc == -EBUSY)
		*why = strdup("it is one of the file's; take it out there, and reload");
	else if (rc == -ENOENT)
		*why = strdup("there is no such forward; ladon forward show lists them");
	if (rc < 0)
		return rc;
	log_info("control: forward %s removed", config_ports_format(&name, &name.listen, listen));
	*out = json_pack("{s:I}", "removed", (json_int_t)removed);
	return 0;
}

/* Not while the configuration changes, whose forwards and listeners they must agree with */
static void forward_change(struct client *client, const json_t *request,
			   int (*change)(struct gateway *gateway, const char *text, json_t **out,
					 char **why))
{
	struct gateway *gateway = client->control->gateway;
	json_t *keys = json_copy((json_t *)request), *answer = NULL;
	_free_ char *text = NULL, *why = NULL;
	int rc;

	json_object_del(keys, "command");
	text = json_dumps(keys, 0);
	json_decref(keys);
	pthread_mutex_lock(&gateway->changing);
	if (atomic_load(&gateway->stopping))
		rc = -ECANCELED;
	else
		rc = text ? change(gateway, text, &answer, &why) : -ENOMEM;
	pthread_mutex_unlock(&gateway->changing);
	if (rc < 0)
		client_refuse(client, "%s", why ? why : strerror(-rc));
	else
		client_answer(client, answer);
}

static void run_forward_add(struct client *client, const json_t *request)
{
	forward_change(client, request, forward_add);
}

static void run_forward_remove(struct client *client, const json_t *request)
{
	forward_change(client, request, forward_remove);
}

static void run_reload(struct client *client, const json_t *request)
{
	struct reloaded reloaded;
	char *error;

	(void)request;
	if (reload(client->control->gateway, &reloaded, &error) < 0) {
		client_refuse(client, "%s", error ? error : strerror(ENOMEM));
		free(error);
		return;
	}
	client_answer(client, json_pack("{s:s, s:I, s:I, s:I}", "file", client->setup->config->path,
					"listeners", (json_int_t)reloaded.listeners, "added",
					(json_int_t)reloaded.added, "removed",
					(json_int_t)reloaded.removed));
}

/*
 * A key that is not listed is refused: what is not understood could be the one
 * that narrows down what is to be killed.
 */
static const struct command {
	const char *name;
	const char *keys[7];					   /* besides "command" */
	int (*report)(const struct setup *setup, json_t **out);	   /* either a document, */
	void (*run)(struct client *client, const json_t *request); /* ... or an action */
} commands[] = {
	/* clang-format off */
	{ .name = "summary show",  .report = report_summary },
	{ .name = "stats show",	   .report = report_stats },
	{ .name = "listener show", .report = report_listeners },
	{ .name = "pool show",	   .report = report_pools },
	{ .name = "forward show",  .report = report_forwards },
	{ .name = "forward add",   .run = run_forward_add, 
	  .keys = { "listen", "to", "pool", "protocol", "source", "hairpin", "when-gone" } },
	{ .name = "forward remove", .run = run_forward_remove, .keys = { "listen", "protocol" } },
	{ .name = "flow show",	   .run = run_flow_show, .keys = { "id", "client", "backend" } },
	{ .name = "flow why",	   .run = run_flow_why, .keys = { "protocol", "from", "to" } },
	{ .name = "backend set",   .run = run_backend_set, .keys = { "pool", "backend", "state" } },
	{ .name = "reload",	   .run = run_reload },
	{ .name = "flow kill",	   .run = run_flow_kill, .keys = { "id", "client", "backend", "all" } },
	/* clang-format on */
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static bool command_takes(const struct command *command, const char *key)
{
	for (size_t i = 0; i < sizeof(command->keys) / sizeof(command->keys[0]); i++) {
		if (command->keys[i] && strcmp(command->keys[i], key) == 0)
			return true;
	}
	return strcmp(key, "command") == 0;
}

static void command_report(const struct command *command, struct client *client)
{
	json_t *document;
	int rc;

	rc = command->report(client->setup, &document);
	if (rc < 0)
		client_refuse(client, "%s: %s", command->name, strerror(-rc));
	else
		client_answer(client, document);
}

static void command_run(const struct command *command, struct client *client, json_t *request)
{
	const char *key;
	json_t *value;

	json_object_foreach(request, key, value)
	{
		if (!command_takes(command, key)) {
			client_refuse(client, "%s: unknown key %s", command->name, key);
			return;
		}
	}
	log_debug("control: %s", command->name);
	client->setup = setup_current(client->control->gateway);
	if (command->run)
		command->run(client, request);
	else
		command_report(command, client);
	setup_drop(client->setup);
}

/* ---- requests ---- */

static void request_run(struct client *client)
{
	const struct command *command;
	json_error_t error;
	const char *name;
	json_t *request;

	request = json_loadb(client->request, client->request_len, JSON_REJECT_DUPLICATES, &error);
	name = json_string_value(json_object_get(request, "command"));
	command = name ? command_find(name) : NULL;
	if (!request)
		client_refuse(client, "the request is not JSON: %s", error.text);
	else if (!name)
		client_refuse(client, "the request has no command");
	else if (!command)
		client_refuse(client, "unknown command %s", name);
	else
		command_run(command, client, request);
	json_decref(request);
}

/*
 * Read up to the end of the line; what follows it is ignored.
 * Return: 0, -EMSGSIZE, -ETIMEDOUT, -ECANCELED, -ENODATA: the client closed
 * before, or another negative errno of recv(2).
 */
static int request_read(struct client *client)
{
	int64_t deadline_ms = now_ms() + REQUEST_MS;

	while (client->request_len < sizeof(client->request)) {
		char *tail = client->request + client->request_len;
		ssize_t n;
		char *end;
		int rc;

		rc = control_wait(client->control, client->fd, POLLIN, deadline_ms);
		if (rc < 0)
			return rc;
		n = recv(client->fd, tail, sizeof(client->request) - client->request_len,
			 MSG_DONTWAIT);
		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		end = memchr(tail, '\n', (size_t)n);
		client->request_len += (size_t)n;
		if (end) {
			client->request_len = (size_t)(end - client->request);
			return 0;
		}
	}
	return -EMSGSIZE;
}

/* Return: the peer's supplementary groups, to be freed by the caller; NULL: none */
static gid_t *groups_get(int fd, size_t *count)
{
	socklen_t len = 0;
	gid_t *groups = NULL;

	*count = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return NULL;
	groups = malloc(len);
	if (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0)
		*count = len / sizeof(*groups);
	return groups;
}

static bool client_is_member(int fd, const struct ucred *peer, gid_t group)
{
	_free_ gid_t *groups = NULL;
	size_t count;

	if (group == NO_GROUP)
		return false;
	if (peer->gid == group)
		return true;
	groups = groups_get(fd, &count);
	for (size_t i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* The file's mode says the same, but the file may be passed on or its mode changed. */
static bool client_is_permitted(const struct control *control, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid() ||
	       client_is_member(fd, &peer, control->group);
}

static void client_serve(struct control *control, int fd)
{
	struct client client;
	int rc;

	/* not initialised as a whole: 20 KB that nobody reads before they are written */
	client.control = control;
	client.fd = fd;
	client.error = 0;
	client.request_len = 0;
	client.answer_len = 0;

	rc = client_is_permitted(control, fd) ? request_read(&client) : -EACCES;
	switch (rc) {
	case 0:
		request_run(&client);
		break;
	case -EACCES:
		client_refuse(&client,
			      "permission denied: neither root, nor the daemon's user, nor of its "
			      "control-group");
		break;
	case -EMSGSIZE:
		client_refuse(&client, "the request is longer than %d bytes", REQUEST_BYTES - 1);
		break;
	case -ETIMEDOUT:
		client_refuse(&client, "the request did not come within %d ms", REQUEST_MS);
		break;
	case -ENODATA:
		client_refuse(&client, "the request is not a whole line");
		break;
	default:
		return; /* the connection is gone, or the daemon stops */
	}
	client_flush(&client);
}

static bool client_waits(int listen_fd)
{
	struct pollfd pollfd = { .fd = listen_fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

/*
 * Without a descriptor to be had accept4(2) does not even say whether there is a client: all
 * threads were woken for one. A worker may be faster and take what is freed here: then another
 * thread, with a descriptor of its own in reserve, serves the client.
 *
 * Return: a descriptor, or -1 with errno set
 */
static int client_accept(struct server *server)
{
	struct control *control = server->control;
	int fd;

	pthread_mutex_lock(&control->accepting);
	fd = accept4(control->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && errno == EMFILE && server->spare >= 0 && client_waits(control->listen_fd)) {
		close(server->spare);
		server->spare = -1;
		fd = accept4(control->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	pthread_mutex_unlock(&control->accepting);
	return fd;
}

/* Its descriptor becomes the spare one, if that was used, before anybody else can take it. */
static void client_close(struct server *server, int fd)
{
	if (server->spare < 0)
		server->spare = dup3(server->control->stop_fd, fd, O_CLOEXEC);
	if (server->spare != fd)
		close(fd);
}

static void *control_thread(void *arg)
{
	struct server *server = arg;
	struct control *control = server->control;

	while (control_wait(control, control->listen_fd, POLLIN, NO_LIMIT) == 0) {
		int fd = client_accept(server);

		if (fd >= 0) {
			client_serve(control, fd);
			client_close(server, fd);
		} else if (errno != EAGAIN) { /* else another thread was faster */
			control_wait(control, -1, 0, now_ms() + PAUSE_MS);
		}
	}
	return NULL;
}

/* ---- the socket ---- */

/*
 * Only the last directory of the path: a missing one above it is a mistake in it.
 * The daemon's user must be able to remove the socket at the end.
 */
static int directory_make(const char *path, const struct privilege *who)
{
	const char *slash = strrchr(path, '/');
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len == 0)
		return 0;
	memcpy(directory, path, len);
	directory[len] = '\0';
	if (mkdir(directory, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (who->change && chown(directory, who->uid, who->gid) < 0)
		return -errno;
	return 0;
}

/*
 * Remove a socket file that nobody listens on.
 * Return: 0; -EADDRINUSE: somebody does; -ENOTSOCK: it is another kind of file.
 */
static int stale_remove(const struct sockaddr_un *name)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (lstat(name->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	/* EAGAIN is a full backlog, and a live listener all the same */
	if (connect(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(name->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

/*
 * The mode goes on the socket, not on the file afterwards: bind(2) makes the
 * file with it (unix_bind() takes it from the socket's inode), so the file is
 * never open to others and the umask of all threads stays as it is.
 */
static int socket_bind(int fd, const struct sockaddr_un *name)
{
	int rc;

	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	rc = stale_remove(name);
	if (rc < 0)
		return rc;
	return bind(fd, (const struct sockaddr *)name, sizeof(*name)) < 0 ? -errno : 0;
}

/* The mode first: afterwards the file is another's. */
static int socket_give(const char *path, const struct privilege *who)
{
	bool shared = who->control_gid != NO_GROUP;

	if (shared && chmod(path, 0660) < 0)
		return -errno;
	if ((shared || who->change) &&
	    chown(path, who->uid, shared ? who->control_gid : who->gid) < 0)
		return -errno;
	return 0;
}

static int socket_open(const char *path, const struct privilege *who, int *out)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	_close_ int fd = -1;
	int rc;

	if (strlen(path) >= sizeof(name.sun_path))
		return -ENAMETOOLONG;
	strcpy(name.sun_path, path);
	rc = directory_make(path, who);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = socket_bind(fd, &name);
	if (rc < 0)
		return rc;
	rc = socket_give(path, who);
	if (rc == 0 && listen(fd, BACKLOG) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(path);
		return rc;
	}
	*out = TAKE_FD(fd);
	return 0;
}

/* Signals are for the thread that started us. */
int control_start(struct control *control)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (control->servers_len < CLIENTS_MAX && rc == 0) {
		struct server *server = &control->servers[control->servers_len];

		server->control = control;
		server->spare = fcntl(control->stop_fd, F_DUPFD_CLOEXEC, 0);
		rc = pthread_create(&server->thread, NULL, control_thread, server);
		if (rc == 0) {
			pthread_setname_np(server->thread, "ladon-control");
			control->servers_len++;
		} else if (server->spare >= 0) {
			close(server->spare);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

bool control_is_answered(const char *path)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	if (fd < 0 || strlen(path) >= sizeof(name.sun_path))
		return false;
	strcpy(name.sun_path, path);
	return connect(fd, (const struct sockaddr *)&name, sizeof(name)) == 0 || errno == EAGAIN;
}

int control_open(struct gateway *gateway, const char *path, const struct privilege *who,
		 struct control **out)
{
	struct control *control;
	struct stat st;
	int rc;

	control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	pthread_mutex_init(&control->accepting, NULL);
	json_object_seed(0); /* it reads /dev/urandom, now and not when descriptors have run out */
	control->gateway = gateway;
	control->group = who->control_gid;
	control->listen_fd = -1;
	control->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = control->stop_fd < 0 ? -errno : socket_open(path, who, &control->listen_fd);
	if (rc == 0) {
		control->path = strdup(path);
		rc = control->path && stat(path, &st) == 0 ? 0 : -errno;
	}
	if (rc == 0) {
		control->dev = st.st_dev;
		control->ino = st.st_ino;
		*out = control;
	} else {
		control_stop(control);
	}
	return rc;
}

/* The file may be another daemon's by now, if someone removed ours. */
static void socket_remove(const struct control *control)
{
	struct stat st;

	if (control->path && lstat(control->path, &st) == 0 && st.st_dev == control->dev &&
	    st.st_ino == control->ino)
		unlink(control->path);
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	if (control->stop_fd >= 0)
		eventfd_write(control->stop_fd, 1);
	for (unsigned int i = 0; i < control->servers_len; i++) {
		pthread_join(control->servers[i].thread, NULL);
		if (control->servers[i].spare >= 0)
			close(control->servers[i].spare);
	}
	socket_remove(control);
	if (control->listen_fd >= 0)
		close(control->listen_fd);
	if (control->stop_fd >= 0)
		close(control->stop_fd);
	pthread_mutex_destroy(&control->accepting);
	free(control->path);
	free(control);
}
