/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * main.c - ladon(8): look at a running gateway, end flows, let it reload; and go through one
 *
 * Noun, verb, then key value pairs, as in ip(8). Every command is a row in one
 * table; usage, completion and the checks of the command line come from it.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/addr.h"
#include "cli.h"

#define SOCKET_DEFAULT "/run/ladon/control"
#define VERB_DEFAULT   "show"
#define ARGUMENTS_MAX  7

enum argument_kind {
	ARGUMENT_FLAG,	  /* a word without a value */
	ARGUMENT_NUMBER,  /* 0 to 2^32 - 1 */
	ARGUMENT_COUNT,	  /* the same without 0 */
	ARGUMENT_SECONDS, /* 0.1 to 3600, fractions too */
	ARGUMENT_ADDRESS, /* with or without a port */
	ARGUMENT_HOST,	  /* these two: any text, which the command looks at */
	ARGUMENT_FILE,
	ARGUMENT_PORTS, /* these, LISTEN and ADDED: any text, which ladond looks at, as in the file */
	ARGUMENT_PROTOCOLS,
	ARGUMENT_SOURCE,
	ARGUMENT_PREFIX,
	ARGUMENT_GONE,
	ARGUMENT_NAME, /* of a pool */

	/* Operands: first, required, and without the key, which is only the request's */
	ARGUMENT_POOL,
	ARGUMENT_BACKEND,
	ARGUMENT_STATE,
	ARGUMENT_LISTEN,
	ARGUMENT_ADDED,
	ARGUMENT_KEY_ID,
	ARGUMENT_GATEWAY,
	ARGUMENT_TARGET,
	ARGUMENT_KEYS_FILE,
	ARGUMENT_TOKEN_FILE,
	ARGUMENT_TIME,
	ARGUMENT_PROTOCOL,
	ARGUMENT_FROM,
	ARGUMENT_TO,
};

static const char *const states[] = { "auto", "up", "down", "drain" };
#define STATES_LEN (sizeof(states) / sizeof(states[0]))

struct argument {
	const char *key;
	enum argument_kind kind;
};

static const char *const value_names[] = {
	[ARGUMENT_FLAG] = NULL,	  [ARGUMENT_NUMBER] = "N",     [ARGUMENT_COUNT] = "N",
	[ARGUMENT_SECONDS] = "S", [ARGUMENT_ADDRESS] = "ADDR", [ARGUMENT_POOL] = "POOL",
	[ARGUMENT_BACKEND] = "BACKEND", [ARGUMENT_STATE] = "auto|up|down|drain",
	[ARGUMENT_HOST] = "HOST:PORT",	[ARGUMENT_FILE] = "FILE",      [ARGUMENT_KEY_ID] = "ID",
	[ARGUMENT_GATEWAY] = "GATEWAY:PORT", [ARGUMENT_TARGET] = "TARGET:PORT",
	[ARGUMENT_KEYS_FILE] = "KEYS-FILE",  [ARGUMENT_TOKEN_FILE] = "TOKEN-FILE",
	[ARGUMENT_PROTOCOLS] = "tcp|udp|both",
	[ARGUMENT_GONE] = "keep|reset", [ARGUMENT_NAME] = "POOL",
	[ARGUMENT_PREFIX] = "PREFIX",	     [ARGUMENT_PORTS] = "ADDR:PORT[-PORT]",
	[ARGUMENT_LISTEN] = "ADDR:PORT[-PORT]", [ARGUMENT_ADDED] = "ADDR:PORT[-PORT]",
	[ARGUMENT_SOURCE] = "keep|masquerade|ADDR",
	[ARGUMENT_TIME] = "TIME",	     [ARGUMENT_PROTOCOL] = "tcp|udp",
	[ARGUMENT_FROM] = "FROM:PORT",	     [ARGUMENT_TO] = "TO:PORT",
};

static const struct command {
	const char *noun;
	const char *verb; /* NULL: the noun says all */
	int (*run)(struct cli *cli);
	struct argument arguments[ARGUMENTS_MAX];
	const char *help;
} commands[] = {
	/* clang-format off */
	{ "summary", "show", summary_show, {},
	  "the gateway at a glance; also without any word" },
	{ "backend", "set", backend_set,
	  { { "pool", ARGUMENT_POOL }, { "backend", ARGUMENT_BACKEND }, { "state", ARGUMENT_STATE } },
	  "auto: as checks and connects say; drain: no new connections; up, down: whatever they say" },
	{ "connect", NULL, connect_run,
	  { { "gateway", ARGUMENT_GATEWAY }, { "target", ARGUMENT_TARGET }, { "token-file", ARGUMENT_FILE } },
	  "standard input and output, connected to the target through the gateway" },
	{ "flow", "show", flow_show,
	  { { "id", ARGUMENT_NUMBER }, { "client", ARGUMENT_ADDRESS }, { "backend", ARGUMENT_ADDRESS } },
	  "connections that the kernel carries; all given must match" },
	{ "flow", "kill", flow_kill,
	  { { "id", ARGUMENT_NUMBER }, { "client", ARGUMENT_ADDRESS }, { "backend", ARGUMENT_ADDRESS },
	    { "all", ARGUMENT_FLAG } },
	  "end flows: each end is told with a reset as soon as it speaks" },
	{ "flow", "why", flow_why,
	  { { "protocol", ARGUMENT_PROTOCOL }, { "from", ARGUMENT_FROM }, { "to", ARGUMENT_TO } },
	  "why packets from there to there, as they come, are not sent past the stack" },
	{ "forward", "show", forward_show, {},
	  "ports that the kernel's NAT sends elsewhere" },
	{ "forward", "add", forward_add,
	  { { "listen", ARGUMENT_LISTEN }, { "to", ARGUMENT_PORTS }, { "pool", ARGUMENT_NAME }, { "protocol", ARGUMENT_PROTOCOLS },
	    { "source", ARGUMENT_SOURCE }, { "hairpin", ARGUMENT_PREFIX },
	    { "when-gone", ARGUMENT_GONE } },
	  "one more, until it is removed or ladond ends" },
	{ "forward", "remove", forward_remove,
	  { { "listen", ARGUMENT_ADDED }, { "protocol", ARGUMENT_PROTOCOLS } },
	  "one that was added; what it forwards goes on, unless when-gone says reset" },
	{ "listener", "show", listener_show, {},
	  "where clients come in, and what became of them" },
	{ "pool", "show", pool_show, {},
	  "backends, and how often each was chosen" },
	{ "reload", NULL, reload_run, {},
	  "let ladond read its configuration again: all of it, or nothing" },
	{ "stats", "show", stats_show,
	  { { "all", ARGUMENT_FLAG } },
	  "all counters, and the reasons that occurred (all: every reason)" },
	{ "token", "key", token_key,
	  { { "id", ARGUMENT_KEY_ID } },
	  "a new key, as a line for the file that a listener's tokens are checked with" },
	{ "token", "make", token_make_run,
	  { { "keys", ARGUMENT_KEYS_FILE }, { "time", ARGUMENT_TIME }, { "id", ARGUMENT_NUMBER },
	    { "target", ARGUMENT_HOST } },
	  "a token by the file's last key, or that of the id, for so long, and for one target or all" },
	{ "token", "show", token_show,
	  { { "token-file", ARGUMENT_TOKEN_FILE } },
	  "what a token says of itself; whether it is genuine, only its key can tell" },
	{ "top", "show", top_show,
	  { { "interval", ARGUMENT_SECONDS }, { "count", ARGUMENT_COUNT }, { "flows", ARGUMENT_COUNT } },
	  "the busiest flows, again and again; q quits" },
	/* clang-format on */
};

#define COMMANDS_LEN (sizeof(commands) / sizeof(commands[0]))

static size_t operands_len(const struct command *command)
{
	size_t len = 0;

	while (len < ARGUMENTS_MAX && command->arguments[len].kind >= ARGUMENT_POOL)
		len++;
	return len;
}

/* ---- what is printed about the table ---- */

static void command_print(const struct command *command, FILE *f)
{
	fprintf(f, "  ladon %s%s%s", command->noun, command->verb ? " " : "",
		command->verb ? command->verb : "");
	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].key; i++) {
		const struct argument *argument = &command->arguments[i];
		const char *value = value_names[argument->kind];

		if (i < operands_len(command))
			fprintf(f, " %s", value);
		else
			fprintf(f, " [%s%s%s]", argument->key, value ? " " : "", value ? value : "");
	}
	fprintf(f, "\n      %s\n", command->help);
}

static void usage_print(FILE *f)
{
	fputs("usage: ladon [-j] [-s SOCKET] [NOUN [VERB] [KEY VALUE]...]\n\n", f);
	for (size_t i = 0; i < COMMANDS_LEN; i++)
		command_print(&commands[i], f);
	fputs("\n\"show\" may be left out. Words are exact. ladon(8) has examples.\n\n"
	      "  -j, --json           JSON on standard output\n"
	      "  -s, --socket SOCKET  of ladond; " SOCKET_DEFAULT "\n"
	      "  -h, --help           this\n"
	      "  -V, --version        of this program\n",
	      f);
}

static const struct command *command_find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < COMMANDS_LEN; i++) {
		const struct command *command = &commands[i];

		if (strcmp(command->noun, noun) == 0 && command->verb &&
		    strcmp(command->verb, verb) == 0)
			return command;
	}
	return NULL;
}

/* That which a noun stands for by itself */
static const struct command *command_default(const char *noun)
{
	for (size_t i = 0; i < COMMANDS_LEN; i++) {
		if (strcmp(commands[i].noun, noun) == 0 && !commands[i].verb)
			return &commands[i];
	}
	return command_find(noun, VERB_DEFAULT);
}

static const struct argument *argument_find(const struct command *command, const char *key)
{
	for (size_t i = operands_len(command); i < ARGUMENTS_MAX && command->arguments[i].key; i++) {
		if (strcmp(command->arguments[i].key, key) == 0)
			return &command->arguments[i];
	}
	return NULL;
}

/*
 * The command that @words begin with, by noun and verb or by noun alone.
 * @used: how many words name it. Return: NULL if none does.
 */
static const struct command *command_take(char *const *words, size_t len, size_t *used)
{
	const struct command *command = NULL;

	if (len >= 2)
		command = command_find(words[0], words[1]);
	*used = command ? 2 : 1;
	return command ? command : command_default(words[0]);
}

/* ---- completion ---- */

static void nouns_complete(void)
{
	for (size_t i = 0; i < COMMANDS_LEN; i++) {
		if (i == 0 || strcmp(commands[i].noun, commands[i - 1].noun) != 0)
			puts(commands[i].noun);
	}
}

static void verbs_complete(const char *noun)
{
	for (size_t i = 0; i < COMMANDS_LEN; i++) {
		if (strcmp(commands[i].noun, noun) == 0 && commands[i].verb)
			puts(commands[i].verb);
	}
}

/* Keys of @command that are not among @words; where a value is to come none, but for names of pools. */
static void keys_complete(const struct cli *cli, const struct command *command, char *const *words, size_t len)
{
	bool used[ARGUMENTS_MAX] = { false };

	for (size_t i = 0; i < len; i++) {
		const struct argument *argument = argument_find(command, words[i]);

		if (!argument)
			return;
		used[argument - command->arguments] = true;
		if (argument->kind != ARGUMENT_FLAG && ++i == len) {
			if (argument->kind == ARGUMENT_NAME)
				pool_complete(cli, NULL);
			return;
		}
	}
	for (size_t i = operands_len(command); i < ARGUMENTS_MAX && command->arguments[i].key; i++) {
		if (!used[i])
			puts(command->arguments[i].key);
	}
}

/* Names are asked of the daemon. @words: the operands before this one */
static void operand_complete(const struct cli *cli, enum argument_kind kind, char *const *words)
{
	if (kind == ARGUMENT_POOL)
		pool_complete(cli, NULL);
	else if (kind == ARGUMENT_BACKEND)
		pool_complete(cli, words[0]);
	else if (kind == ARGUMENT_ADDED)
		forward_complete(cli);
	else if (kind == ARGUMENT_STATE)
		for (size_t i = 0; i < STATES_LEN; i++)
			puts(states[i]);
	else if (kind == ARGUMENT_PROTOCOL)
		puts("tcp\nudp");
}

/* Which words may follow @words? */
static int complete(const struct cli *cli, char *const *words, size_t len)
{
	const struct command *command;
	size_t used;

	if (len == 0) {
		nouns_complete();
		return CLI_DONE;
	}
	if (len == 1)
		verbs_complete(words[0]);
	command = command_take(words, len, &used);
	if (command && len - used < operands_len(command))
		operand_complete(cli, command->arguments[len - used].kind, words + used);
	else if (command)
		keys_complete(cli, command, words + used + operands_len(command),
			      len - used - operands_len(command));
	return CLI_DONE;
}

/* ---- the command line ---- */

static json_t *number_parse(const char *text, json_int_t min)
{
	json_int_t number;
	char *end;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < min || number > UINT32_MAX)
		return NULL;
	return json_integer(number);
}

static json_t *seconds_parse(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
		return NULL;
	return json_real(seconds);
}

static json_t *address_parse(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0 && addr_parse_host(text, 0, &addr) < 0)
		return NULL;
	return json_string(text);
}

static json_t *end_parse(const char *text)
{
	struct addr addr;

	return addr_parse(text, &addr) == 0 && addr_port(&addr) ? json_string(text) : NULL;
}

static json_t *state_parse(const char *text)
{
	for (size_t i = 0; i < STATES_LEN; i++)
		if (strcmp(states[i], text) == 0)
			return json_string(text);
	return NULL;
}

/* Return: NULL if @text is not a value of this kind. */
static json_t *value_parse(enum argument_kind kind, const char *text)
{
	switch (kind) {
	case ARGUMENT_NUMBER:
	case ARGUMENT_KEY_ID:
		return number_parse(text, 0);
	case ARGUMENT_COUNT:
		return number_parse(text, 1);
	case ARGUMENT_SECONDS:
		return seconds_parse(text);
	case ARGUMENT_ADDRESS:
		return address_parse(text);
	case ARGUMENT_POOL:
	case ARGUMENT_BACKEND:
	case ARGUMENT_HOST:
	case ARGUMENT_PROTOCOLS:
	case ARGUMENT_PREFIX:
	case ARGUMENT_GONE:
	case ARGUMENT_NAME:
	case ARGUMENT_PORTS:
	case ARGUMENT_SOURCE:
	case ARGUMENT_LISTEN:
	case ARGUMENT_ADDED:
	case ARGUMENT_FILE:
	case ARGUMENT_GATEWAY:
	case ARGUMENT_TARGET:
	case ARGUMENT_KEYS_FILE:
	case ARGUMENT_TOKEN_FILE:
	case ARGUMENT_TIME:
		return json_string(text);
	case ARGUMENT_STATE:
		return state_parse(text);
	case ARGUMENT_PROTOCOL:
		return strcmp(text, "tcp") == 0 || strcmp(text, "udp") == 0 ? json_string(text) : NULL;
	case ARGUMENT_FROM:
	case ARGUMENT_TO:
		return end_parse(text);
	case ARGUMENT_FLAG:
		break;
	}
	return json_true();
}

static int misused(const char *what, const char *word)
{
	fprintf(stderr, "ladon: %s: %s; ladon --help lists what there is\n", word, what);
	return CLI_MISUSED;
}

/* Return: CLI_DONE with @keys filled, or CLI_MISUSED. */
static int keys_parse(const struct command *command, char *const *words, size_t len, json_t *keys)
{
	for (size_t i = 0; i < len; i++) {
		const struct argument *argument = argument_find(command, words[i]);
		const char *key = words[i];
		json_t *value;

		if (!argument)
			return misused("unknown word", key);
		if (json_object_get(keys, key))
			return misused("given twice", key);
		if (argument->kind != ARGUMENT_FLAG && ++i == len)
			return misused("its value is missing", key);
		value = value_parse(argument->kind, words[i]);
		if (!value)
			return misused("not a value of this key", words[i]);
		json_object_set_new(keys, key, value);
	}
	return CLI_DONE;
}

/* Return: CLI_DONE with @keys filled, or CLI_MISUSED. */
static int operands_parse(const struct command *command, char *const *words, size_t len,
			  json_t *keys)
{
	for (size_t i = 0; i < operands_len(command); i++) {
		const struct argument *argument = &command->arguments[i];
		json_t *value;

		if (i >= len)
			return misused("is missing", value_names[argument->kind]);
		value = value_parse(argument->kind, words[i]);
		if (!value)
			return misused(argument->kind == ARGUMENT_STATE
					       ? "it takes auto, up, down or drain"
					       : "it takes a number",
				       words[i]);
		json_object_set_new(keys, argument->key, value);
	}
	return CLI_DONE;
}

/* What stdout could not take, a full disk say, is a failure as well. */
static int out_finish(int rc)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return rc;
	fprintf(stderr, "ladon: standard output: %s\n", strerror(errno));
	return CLI_FAILED;
}

static int run(struct cli *cli, char *const *words, size_t len)
{
	char *const summary[] = { "summary" };
	const struct command *command;
	size_t used;
	int rc;

	if (len == 0) {
		words = summary;
		len = 1;
	}
	command = command_take(words, len, &used);
	if (!command)
		return misused("unknown word", words[0]);
	cli->keys = json_object();
	rc = operands_parse(command, words + used, len - used, cli->keys);
	used += operands_len(command);
	if (rc == CLI_DONE)
		rc = keys_parse(command, words + used, len - used, cli->keys);
	if (rc == CLI_DONE)
		rc = out_finish(command->run(cli));
	json_decref(cli->keys);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },	{ "socket", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },	{ "version", no_argument, NULL, 'V' },
		{ "complete", no_argument, NULL, 'C' }, { 0 },
	};
	struct cli cli = { .socket = SOCKET_DEFAULT, .talk = stderr };
	bool json = false, completes = false;
	int option;

	while ((option = getopt_long(argc, argv, "js:hV", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 's':
			cli.socket = optarg;
			break;
		case 'h':
			usage_print(stdout);
			return out_finish(CLI_DONE);
		case 'V':
			puts("ladon " LADON_VERSION);
			return out_finish(CLI_DONE);
		case 'C':
			completes = true;
			break;
		default:
			return CLI_MISUSED; /* getopt has said why */
		}
	}
	if (completes)
		return complete(&cli, argv + optind, (size_t)(argc - optind));
	out_init(&cli.out, stdout, json);
	return run(&cli, argv + optind, (size_t)(argc - optind));
}
