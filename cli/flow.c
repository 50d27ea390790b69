/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flow.c - ladon flow: the handed-off connections
 */
#include "cli.h"
#include "request.h"

static const struct out_field flow_fields[] = {
	{ "by", OUT_TEXT, NULL },
	{ "protocol", OUT_TEXT, NULL },
	{ "id", OUT_COUNT, NULL },
	{ "state", OUT_TEXT, NULL },
	{ "client", OUT_TEXT, NULL },
	{ "listener_name", OUT_TEXT, "listener" },
	{ "listener", OUT_TEXT, "address" },
	{ "source", OUT_TEXT, NULL },
	{ "backend", OUT_TEXT, NULL },
	{ "pool", OUT_TEXT, NULL },
	{ "packets_in", OUT_COUNT, NULL },
	{ "bytes_in", OUT_BYTES, NULL },
	{ "packets_out", OUT_COUNT, NULL },
	{ "bytes_out", OUT_BYTES, NULL },
	{ "age_ms", OUT_MS, NULL },
	{ "idle_ms", OUT_MS, NULL },
	{ "in", OUT_TEXT, NULL },
	{ "out", OUT_TEXT, NULL },
	{ "stack_packets", OUT_COUNT, NULL },
	{ "confirmed_ms", OUT_MS, "confirmed" },
};

struct flow_list {
	struct out *out;
	uint64_t len;
};

/* Not before there is an answer: a failed command prints no list. */
static void list_begin(struct out *o)
{
	out_open(o, NULL);
	out_list(o, "flows");
}

static void flow_out(void *arg, const json_t *flow)
{
	struct flow_list *list = arg;

	if (list->len++ == 0)
		list_begin(list->out);
	out_open(list->out, NULL);
	out_fields(list->out, flow, FIELDS(flow_fields));
	out_close(list->out);
}

int flow_show(struct cli *cli)
{
	const json_t *id = json_object_get(cli->keys, "id");
	struct flow_list list = { .out = &cli->out };
	int rc = request_flows(cli, cli->keys, flow_out, &list);

	if (rc < 0 && list.len == 0)
		return CLI_FAILED;
	if (list.len == 0)
		list_begin(&cli->out);
	out_end(&cli->out);
	out_close(&cli->out);
	if (rc == 0 && id && list.len == 0) {
		fprintf(cli->talk, "ladon: no flow %" JSON_INTEGER_FORMAT "\n",
			json_integer_value(id));
		return CLI_FAILED;
	}
	return rc == 0 ? CLI_DONE : CLI_FAILED;
}

int flow_kill(struct cli *cli)
{
	static const struct out_field fields[] = { { "killed", OUT_COUNT, NULL } };

	if (json_object_size(cli->keys) == 0) {
		fputs("ladon: flow kill: which flows? id, client, backend or all\n", cli->talk);
		return CLI_MISUSED;
	}
	return request_print(cli, "flow kill", FIELDS(fields));
}

int flow_why(struct cli *cli)
{
	static const struct out_field fields[] = {
		{ "fast", OUT_SWITCH, NULL },
		{ "why", OUT_TEXT, NULL },
		{ "text", OUT_TEXT, NULL },
	};

	return request_print(cli, "flow why", FIELDS(fields));
}
