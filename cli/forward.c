/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward.c - ladon forward: ports that the kernel's NAT sends elsewhere
 */
#include <stdio.h>

#include "cli.h"
#include "request.h"

static const struct out_field forward_fields[] = {
	{ "listen", OUT_TEXT, "forward" },
	{ "protocol", OUT_TEXT, NULL },
	{ "to", OUT_TEXT, NULL },
	{ "pool", OUT_TEXT, NULL },
	{ "source", OUT_TEXT, NULL },
	{ "hairpin", OUT_TEXT, NULL },
	{ "when_gone", OUT_TEXT, "when gone" },
	{ "added", OUT_FLAG, NULL },
	{ "flows", OUT_COUNT, NULL },
	{ "refused", OUT_COUNT, NULL },
};

int forward_show(struct cli *cli)
{
	json_t *document = request_document(cli, "forward show");

	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_objects(&cli->out, document, "forwards", FIELDS(forward_fields));
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}

int forward_add(struct cli *cli)
{
	return request_print(cli, "forward add", FIELDS(forward_fields));
}

int forward_remove(struct cli *cli)
{
	static const struct out_field fields[] = { { "removed", OUT_COUNT, NULL } };

	return request_print(cli, "forward remove", FIELDS(fields));
}

/* ---- completion ---- */

void forward_complete(const struct cli *cli)
{
	json_t *document = request_quietly(cli, "forward show");
	const json_t *forward;
	size_t i;

	json_array_foreach(json_object_get(document, "forwards"), i,
			   forward) if (json_is_true(json_object_get(forward, "added")))
		puts(json_string_value(json_object_get(forward, "listen")));
	json_decref(document);
}
