/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * request.h - ask the daemon over its control socket
 *
 * Whatever goes wrong is said on cli->talk here, once.
 */
#ifndef LADON_REQUEST_H
#define LADON_REQUEST_H

#include "cli.h"

/**
 * request_document() - ask with the keys of the command line; the answer is one document
 * @command: "pool show"
 *
 * Return: the document, the caller's; NULL: it failed, or the daemon refused.
 */
json_t *request_document(const struct cli *cli, const char *command);

/** request_quietly() - without keys, for completion: nothing is said if it fails */
json_t *request_quietly(const struct cli *cli, const char *command);

/** request_print() - the same, and print these fields of the document. Return: CLI_DONE or CLI_FAILED */
int request_print(struct cli *cli, const char *command, const struct out_field *fields, size_t len);

/**
 * request_flows() - "flow show", read flow by flow: memory for one is enough
 * @keys: which flows; NULL: all
 * @fn: called with each
 *
 * Return: 0; -1: it failed, or the daemon refused, or the list has no end.
 */
int request_flows(const struct cli *cli, const json_t *keys,
		  void (*fn)(void *arg, const json_t *flow), void *arg);

#endif
