/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stats.c - ladon stats: all counters, and why things were refused
 */
#include "cli.h"
#include "request.h"

static const struct out_part stats_parts[] = {
	/* clang-format off */
	{ "flows",	 { { "live", OUT_COUNT, NULL },
			   { "max", OUT_COUNT, NULL } } },
	{ "packets",	 { { "translated", OUT_COUNT, NULL },
			   { "bytes", OUT_BYTES, NULL } } },
	{ "handoff",	 { { "on", OUT_SWITCH, "handoff" },
			   { "reason", OUT_TEXT, NULL },
			   { "why", OUT_TEXT, "" },
			   { "count", OUT_COUNT, NULL },
			   { "p50_ns", OUT_NS, NULL },
			   { "histogram", OUT_ARRAY, "" } } },
	{ "relay",	 { { "bytes_in", OUT_BYTES, NULL },
			   { "bytes_out", OUT_BYTES, NULL },
			   { "now", OUT_COUNT, NULL } } },
	{ "connections", { { "accepted", OUT_COUNT, NULL },
			   { "handed_off", OUT_COUNT, NULL },
			   { "relayed", OUT_COUNT, NULL },
			   { "closed", OUT_COUNT, NULL },
			   { "open", OUT_COUNT, NULL } } },
	{ "access_log",	 { { "on", OUT_SWITCH, "access log" },
			   { "written", OUT_COUNT, NULL },
			   { "lost", OUT_COUNT, NULL } } },
	{ "shortage",	 { { "now", OUT_SWITCH, "shortage" },
			   { "count", OUT_COUNT, NULL } } },
	/* clang-format on */
};

static void reason_out(struct out *o, const char *name, const json_t *reason)
{
	static const struct out_field fields[] = {
		{ "group", OUT_TEXT, NULL },
		{ "count", OUT_COUNT, NULL },
		{ "text", OUT_TEXT, NULL },
	};

	out_open(o, name);
	out_fields(o, reason, fields, sizeof(fields) / sizeof(fields[0]));
	out_close(o);
}

/* The daemon lists them group by group; so do we. JSON always has all of them. */
static void reasons_out(struct out *o, json_t *reasons, bool all)
{
	const char *name;
	json_t *reason;

	out_map(o, "reasons", "reason");
	json_object_foreach(reasons, name, reason)
	{
		if (all || o->json || json_integer_value(json_object_get(reason, "count")) > 0)
			reason_out(o, name, reason);
	}
	out_end(o);
}

int stats_show(struct cli *cli)
{
	static const struct out_field head[] = {
		{ "version", OUT_TEXT, "ladond" },
		{ "uptime_ms", OUT_MS, NULL },
	};
	bool all = json_object_get(cli->keys, "all") != NULL;
	json_t *document;

	json_object_del(cli->keys, "all"); /* ours, not the daemon's */
	document = request_document(cli, "stats show");
	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_fields(&cli->out, document, head, sizeof(head) / sizeof(head[0]));
	out_parts(&cli->out, document, stats_parts, sizeof(stats_parts) / sizeof(stats_parts[0]));
	reasons_out(&cli->out, json_object_get(document, "reasons"), all);
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}
