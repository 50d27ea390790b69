/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.c - ladon pool, ladon backend: who serves, and who is to
 */
#include <string.h>

#include "cli.h"
#include "request.h"

static void pool_out(struct out *o, const json_t *pool)
{
	static const struct out_field pool_fields[] = {
		{ "name", OUT_TEXT, "pool" },
		{ "policy", OUT_TEXT, NULL },
		{ "panicked", OUT_COUNT, NULL },
	};
	static const struct out_field backend_fields[] = {
		{ "backend", OUT_TEXT, NULL },	       { "state", OUT_TEXT, NULL },
		{ "ejected_ms", OUT_MS, "for" },       { "admin", OUT_TEXT, "set to" },
		{ "backup", OUT_SWITCH, NULL },	       { "rank", OUT_COUNT, NULL },
		{ "weight", OUT_COUNT, NULL },	       { "max_flows", OUT_COUNT, "max" },
		{ "addresses", OUT_ARRAY, NULL },      { "flows", OUT_COUNT, NULL },
		{ "chosen", OUT_COUNT, NULL },	       { "failed", OUT_COUNT, NULL },
		{ "handed_off", OUT_COUNT, NULL },     { "relayed", OUT_COUNT, NULL },
		{ "times_sick", OUT_COUNT, NULL },     { "check", OUT_TEXT, NULL },
		{ "check_age_ms", OUT_MS, "age" },     { "check_took_ms", OUT_MS, "took" },
		{ "lookups_failed", OUT_COUNT, NULL },
	};
	static const struct out_field source_fields[] = {
		{ "source", OUT_TEXT, NULL },
		{ "told", OUT_SWITCH, NULL },
		{ "lookups_failed", OUT_COUNT, NULL },
	};

	out_open(o, NULL);
	out_fields(o, pool, FIELDS(pool_fields));
	out_objects(o, pool, "sources", FIELDS(source_fields));
	out_objects(o, pool, "backends", FIELDS(backend_fields));
	out_close(o);
}

int pool_show(struct cli *cli)
{
	json_t *document = request_document(cli, "pool show");
	const json_t *pool;
	size_t i;

	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_list(&cli->out, "pools");
	json_array_foreach(json_object_get(document, "pools"), i, pool) pool_out(&cli->out, pool);
	out_end(&cli->out);
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}

int backend_set(struct cli *cli)
{
	static const struct out_field fields[] = {
		{ "pool", OUT_TEXT, NULL },
		{ "backend", OUT_TEXT, NULL },
		{ "admin", OUT_TEXT, "set to" },
		{ "state", OUT_TEXT, NULL },
	};

	return request_print(cli, "backend set", FIELDS(fields));
}

/* ---- completion ---- */

static void backends_print(const json_t *pool)
{
	const json_t *backend;
	size_t i;

	json_array_foreach(json_object_get(pool, "backends"), i, backend)
		puts(json_string_value(json_object_get(backend, "backend")));
}

void pool_complete(const struct cli *cli, const char *name)
{
	json_t *document = request_quietly(cli, "pool show");
	const json_t *pool;
	size_t i;

	json_array_foreach(json_object_get(document, "pools"), i, pool)
	{
		const char *text = json_string_value(json_object_get(pool, "name"));

		if (!name)
			puts(text);
		else if (strcmp(name, text) == 0)
			backends_print(pool);
	}
	json_decref(document);
}
