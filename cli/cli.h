/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli.h - what main.c and the commands agree on
 */
#ifndef LADON_CLI_H
#define LADON_CLI_H

#include <jansson.h>

#include "out.h"

/* Exit codes of ladon(8) */
enum {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_MISUSED = 2,
};

/**
 * struct cli - one call of ladon(8)
 * @socket: path of the control socket
 * @keys: the pairs of the command line: numbers, strings, true for a key
 *	without a value; checked against the command's table
 * @talk: where errors are told: stderr, but for ladon top's screen
 */
struct cli {
	const char *socket;
	json_t *keys;
	FILE *talk;
	struct out out;
};

/* The commands. Each returns an exit code and has told cli->talk what went wrong. */
int summary_show(struct cli *cli);
int backend_set(struct cli *cli);
int connect_run(struct cli *cli);
int forward_show(struct cli *cli);
int forward_add(struct cli *cli);
int forward_remove(struct cli *cli);
int listener_show(struct cli *cli);
int pool_show(struct cli *cli);
int flow_show(struct cli *cli);
int flow_kill(struct cli *cli);
int flow_why(struct cli *cli);
int reload_run(struct cli *cli);
int stats_show(struct cli *cli);
int token_key(struct cli *cli);
int token_make_run(struct cli *cli);
int token_show(struct cli *cli);
int top_show(struct cli *cli);

/**
 * token_read() - the text of a file with a token and nothing else
 * Return: to be freed; NULL: it was said why
 */
char *token_read(const struct cli *cli, const char *path);

/**
 * pool_complete() - print the names of pools, or, of the pool @name, those of its backends
 * @name: NULL: of pools
 *
 * Prints nothing if no daemon answers.
 */
void pool_complete(const struct cli *cli, const char *name);

/** forward_complete() - print what forwards that were added listen on; nothing if nobody answers */
void forward_complete(const struct cli *cli);

#endif
