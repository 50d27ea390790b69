/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * token.c - ladon token: keys, and the tokens that are made with them
 *
 * Nothing secret is taken from the command line, which everybody on a host may read.
 */
#include "../base/token.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../base/file.h"
#include "../base/hex.h"
#include "../base/keys.h"
#include "../base/own.h"
#include "cli.h"
#include "endpoint.h"

#define FILE_BYTES_MAX (16 * 1024 * 1024)
#define TOKEN_FILE_MAX 4096
#define DAY_S	       (24 * 3600)
#define TIME_MAX_S     ((uint64_t)36500 * DAY_S)

static const char *text_of(const struct cli *cli, const char *key)
{
	return json_string_value(json_object_get(cli->keys, key));
}

static int failed(const struct cli *cli, const char *what, int error)
{
	fprintf(cli->talk, "ladon: %s: %s\n", what, strerror(error));
	return CLI_FAILED;
}

/* ---- key ---- */

int token_key(struct cli *cli)
{
	json_int_t id = json_integer_value(json_object_get(cli->keys, "id"));
	uint8_t key[TOKEN_KEY_BYTES];

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return failed(cli, "random bytes", errno);
	printf("%" JSON_INTEGER_FORMAT ":", id);
	hex_print(stdout, key, sizeof(key));
	putchar('\n');
	explicit_bzero(key, sizeof(key));
	return CLI_DONE;
}

/* ---- make ---- */

static void own_keys(struct keys **keys)
{
	keys_free(*keys);
}

#define _keys_ __attribute__((cleanup(own_keys)))

/* Return: NULL: it was said why */
static struct keys *keys_load(const struct cli *cli, const char *path)
{
	_free_ char *text = NULL;
	struct keys *keys = NULL;
	char why[KEYS_WHY_MAX];
	unsigned int line;
	size_t len = 0;
	int rc = file_read(path, FILE_BYTES_MAX, &text, &len);

	if (rc == 0) {
		rc = keys_read(text, len, &keys, &line, why);
		explicit_bzero(text, len);
	}
	if (rc == -EINVAL)
		fprintf(cli->talk, "ladon: %s:%u: %s\n", path, line, why);
	else if (rc < 0)
		failed(cli, path, -rc);
	return keys;
}

/* That which is asked for, or the last. NULL: it was said why */
static const struct key *key_choose(const struct cli *cli, const struct keys *keys)
{
	const json_t *id = json_object_get(cli->keys, "id");
	const struct key *key;

	if (!id)
		return keys_last(keys);
	key = keys_find(keys, (uint32_t)json_integer_value(id));
	if (!key)
		fprintf(cli->talk, "ladon: %s: there is no key %" JSON_INTEGER_FORMAT "\n",
			text_of(cli, "keys"), json_integer_value(id));
	return key;
}

/* As in ladon.yaml, but for milliseconds. Return: seconds, 0: it is none */
static uint64_t time_parse(const char *text)
{
	static const struct {
		const char *unit;
		uint64_t seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", DAY_S } };
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return 0;
	number = strtoul(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0)
			return number <= TIME_MAX_S / units[i].seconds ? number * units[i].seconds
								       : 0;
	return 0;
}

/* "*" stands for each host, or port. Return: false: it is none */
static bool target_parse(const char *text, uint8_t *out)
{
	struct endpoint to;

	if (!endpoint_parse(text, &to))
		return false;
	if (strcmp(to.host, "*") != 0)
		return prefix_target_put(to.host, to.port, out);
	memset(out, 0, PREFIX_TARGET_HEAD_BYTES);
	prefix_put16(out + 2, to.port);
	return true;
}

static int misused(const struct cli *cli, const char *word, const char *wanted)
{
	fprintf(cli->talk, "ladon: %s: it takes %s\n", word, wanted);
	return CLI_MISUSED;
}

int token_make_run(struct cli *cli)
{
	_keys_ struct keys *keys = NULL;
	const char *target_text = text_of(cli, "target"), *time_text = text_of(cli, "time");
	uint8_t target[PREFIX_TARGET_BYTES_MAX], token[TOKEN_BYTES_MAX];
	uint64_t seconds = time_parse(time_text);
	const struct key *key;
	size_t len;

	if (!seconds)
		return misused(cli, time_text, "a time such as 10m, 12h or 30d");
	if (!target_parse(target_text ? target_text : "*:*", target))
		return misused(cli, target_text, "HOST:PORT, *.DOMAIN:PORT, or * for either");
	keys = keys_load(cli, text_of(cli, "keys"));
	key = keys ? key_choose(cli, keys) : NULL;
	if (!key)
		return CLI_FAILED;
	len = token_make(key->bytes, key->id, (uint64_t)time(NULL) + seconds, target, token);
	if (!len)
		return failed(cli, "HMAC-SHA256", ENOMEM);
	hex_print(stdout, token, len);
	putchar('\n');
	return CLI_DONE;
}

/* ---- reading one ---- */

char *token_read(const struct cli *cli, const char *path)
{
	_free_ char *text = NULL, *token = NULL;
	size_t len;
	int rc = file_read(path, TOKEN_FILE_MAX, &text, &len);

	if (rc == 0) {
		while (len && isspace((unsigned char)text[len - 1]))
			len--;
		token = strndup(text, len);
		rc = token ? 0 : -ENOMEM;
		explicit_bzero(text, len);
	}
	if (rc < 0)
		failed(cli, path, -rc);
	return TAKE_PTR(token);
}

/* ---- show ---- */

static void target_print(const uint8_t *target, char *out, size_t size)
{
	const uint8_t *host = target + PREFIX_TARGET_HEAD_BYTES;
	char text[INET6_ADDRSTRLEN] = "*", port[8] = "*";

	if (prefix_get16(target + 2))
		snprintf(port, sizeof(port), "%u", prefix_get16(target + 2));
	if (target[0] == PREFIX_HOST_IP4)
		inet_ntop(AF_INET, host, text, sizeof(text));
	if (target[0] == PREFIX_HOST_IP6)
		inet_ntop(AF_INET6, host, text, sizeof(text));
	if (target[0] == PREFIX_HOST_NAME)
		snprintf(out, size, "%.*s:%s", target[1], (const char *)host, port);
	else
		snprintf(out, size, strchr(text, ':') ? "[%s]:%s" : "%s:%s", text, port);
}

static void token_out(struct out *o, const struct token *token)
{
	time_t expires = (time_t)token->expires_s, now = time(NULL);
	char target[PREFIX_TARGET_BYTES_MAX + 8], when[32] = "never";
	struct tm tm;

	target_print(token->target, target, sizeof(target));
	if (expires >= 0 && gmtime_r(&expires, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	out_open(o, NULL);
	out_u64(o, "key_id", OUT_COUNT, token->key_id);
	out_str(o, "expires", when);
	if (expires > now)
		out_u64(o, "left_ms", OUT_MS, (uint64_t)(expires - now) * 1000);
	out_str(o, "target", target);
	out_close(o);
}

int token_show(struct cli *cli)
{
	const char *path = text_of(cli, "token-file");
	_free_ char *text = token_read(cli, path);
	uint8_t bytes[TOKEN_BYTES_MAX];
	struct token token;
	size_t len;

	if (!text)
		return CLI_FAILED;
	len = strlen(text);
	if (len % 2 || len > 2 * sizeof(bytes) || !hex_read(text, bytes, len / 2) ||
	    !token_parse(bytes, len / 2, &token)) {
		fprintf(cli->talk, "ladon: %s: there is no token in it\n", path);
		return CLI_FAILED;
	}
	token_out(&cli->out, &token);
	return CLI_DONE;
}
