/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * show.c - ladon, ladon listener: how things stand
 */
#include "cli.h"
#include "request.h"


static const struct out_field listener_fields[] = {
	{ "name", OUT_TEXT, "listener" }, { "address", OUT_TEXT, NULL },
	{ "handoff", OUT_SWITCH, NULL },  { "mode", OUT_TEXT, NULL },
	{ "peek", OUT_SWITCH, NULL },	  { "routes", OUT_COUNT, NULL },
	{ "accepted", OUT_COUNT, NULL },  { "handed_off", OUT_COUNT, NULL },
	{ "relayed", OUT_COUNT, NULL },	  { "closed", OUT_COUNT, NULL },
	{ "open", OUT_COUNT, NULL },	  { "relaying", OUT_COUNT, NULL },
	{ "undecided", OUT_COUNT, NULL }, { "refused", OUT_COUNT, NULL },
};

int listener_show(struct cli *cli)
{
	json_t *document = request_document(cli, "listener show");

	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_objects(&cli->out, document, "listeners", FIELDS(listener_fields));
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}

/*
 * Of the connections that got as far as a backend, those that are in the
 * kernel's hands. Some of the accepted may still be on their way.
 */
static uint64_t handed_off_percent(const json_t *connections)
{
	json_int_t handed_off = json_integer_value(json_object_get(connections, "handed_off"));
	json_int_t served = json_integer_value(json_object_get(connections, "accepted")) -
			    json_integer_value(json_object_get(connections, "closed"));

	if (served <= 0 || handed_off <= 0)
		return 0;
	return handed_off < served ? (uint64_t)(handed_off * 100 / served) : 100;
}

static const struct out_part summary_parts[] = {
	/* clang-format off */
	{ "handoff",	 { { "on", OUT_SWITCH, "handoff" },
			   { "reason", OUT_TEXT, "" },
			   { "why", OUT_TEXT, "because" },
			   { "count", OUT_COUNT, "" },
			   { "p50_ns", OUT_NS, "handoff p50" } } },
	{ "flows",	 { { "live", OUT_COUNT, "flows" },
			   { "max", OUT_COUNT, "flows at most" } } },
	{ "relay",	 { { "now", OUT_COUNT, "relayed now" },
			   { "bytes_in", OUT_BYTES, "" },
			   { "bytes_out", OUT_BYTES, "" } } },
	{ "packets",	 { { "translated", OUT_COUNT, "packets" },
			   { "bytes", OUT_BYTES, "bytes" } } },
	{ "connections", { { "accepted", OUT_COUNT, "accepted" },
			   { "handed_off", OUT_COUNT, "" },
			   { "relayed", OUT_COUNT, "" },
			   { "closed", OUT_COUNT, "" },
			   { "open", OUT_COUNT, "" } } },
	/* clang-format on */
};

int summary_show(struct cli *cli)
{
	static const struct out_field head[] = {
		{ "version", OUT_TEXT, "ladond" },
		{ "uptime_ms", OUT_MS, NULL },
	};
	static const struct out_field interfaces = { "interfaces", OUT_ARRAY, NULL };
	json_t *document = request_document(cli, "summary show");
	struct out *o = &cli->out;

	if (!document)
		return CLI_FAILED;
	out_open(o, NULL);
	out_fields(o, document, FIELDS(head));
	out_parts(o, document, FIELDS(summary_parts));
	out_u64(o, "handed_off_percent", OUT_PERCENT,
		handed_off_percent(json_object_get(document, "connections")));
	out_field(o, document, &interfaces);
	out_objects(o, document, "listeners", FIELDS(listener_fields));
	out_close(o);
	json_decref(document);
	return CLI_DONE;
}
