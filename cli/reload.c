/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reload.c - ladon reload: the daemon reads its configuration again
 */
#include "cli.h"
#include "request.h"

int reload_run(struct cli *cli)
{
	static const struct out_field fields[] = {
		{ "file", OUT_TEXT, "reloaded" },
		{ "listeners", OUT_COUNT, NULL },
		{ "added", OUT_COUNT, NULL },
		{ "removed", OUT_COUNT, NULL },
	};
	json_t *document = request_document(cli, "reload");

	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_fields(&cli->out, document, fields, sizeof(fields) / sizeof(fields[0]));
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}
