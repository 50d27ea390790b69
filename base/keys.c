// SPDX-License-Identifier: LGPL-2.1-or-later
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "line.h"

struct keys {
	unsigned int len;
	unsigned int last; /* index of the file's last one */
	struct key list[]; /* sorted by id */
};

static int refuse(char why[KEYS_WHY_MAX], const char *what)
{
	snprintf(why, KEYS_WHY_MAX, "%s", what);
	return -EINVAL;
}

/* @line: of @len characters, without blanks at its ends. Return: 0 or -EINVAL */
static int key_parse(const char *line, size_t len, struct key *out, char why[KEYS_WHY_MAX])
{
	const char *colon = memchr(line, ':', len);
	size_t digits = colon ? (size_t)(colon - line) : 0;
	uint64_t id = 0;

	if (!colon)
		return refuse(why, "no ':' stands in it; a line is ID:KEY, and `ladon token key` "
				   "makes one");
	for (size_t i = 0; i < digits; i++) {
		if (!isdigit((unsigned char)line[i]) || id > UINT32_MAX)
			return refuse(why, "before the ':' stands no number of 32 bits");
		id = id * 10 + (uint64_t)(line[i] - '0');
	}
	if (!digits || id > UINT32_MAX)
		return refuse(why, "before the ':' stands no number of 32 bits");
	if (len != digits + 1 + 2 * TOKEN_KEY_BYTES ||
	    !hex_read(colon + 1, out->bytes, TOKEN_KEY_BYTES))
		return refuse(why, "after the ':' stand no 64 hexadecimal digits");
	out->id = (uint32_t)id;
	return 0;
}

static unsigned int lines_count(const char *text, size_t len)
{
	unsigned int lines = 1;

	while (len--)
		lines += *text++ == '\n';
	return lines;
}

static int lines_read(struct keys *keys, const char *text, size_t len, unsigned int *line,
		      char why[KEYS_WHY_MAX])
{
	const char *end = text + len, *at;
	int rc = 0;

	for (*line = 0; rc == 0 && (at = line_next(&text, end, &len));) {
		struct key *key = &keys->list[keys->len];

		(*line)++;
		while (len && isspace((unsigned char)at[len - 1]))
			len--;
		if (!len || *at == '#')
			continue;
		rc = key_parse(at, len, key, why);
		key->line = *line;
		keys->len += rc == 0;
	}
	return rc;
}

static int key_compare(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int keys_sort(struct keys *keys, unsigned int *line, char why[KEYS_WHY_MAX])
{
	qsort(keys->list, keys->len, sizeof(*keys->list), key_compare);
	for (unsigned int i = 0; i < keys->len; i++) {
		const struct key *key = &keys->list[i];

		if (key->line > keys->list[keys->last].line)
			keys->last = i;
		if (i == 0 || key->id != key[-1].id)
			continue;
		*line = key->line > key[-1].line ? key->line : key[-1].line;
		snprintf(why, KEYS_WHY_MAX, "%u is the id of another key, too; give it a new one",
			 key->id);
		return -EINVAL;
	}
	return 0;
}

int keys_read(const char *text, size_t len, struct keys **out, unsigned int *line,
	      char why[KEYS_WHY_MAX])
{
	unsigned int lines = lines_count(text, len);
	struct keys *keys = calloc(1, sizeof(*keys) + lines * sizeof(struct key));
	int rc;

	if (!keys)
		return -ENOMEM;
	rc = lines_read(keys, text, len, line, why);
	if (rc == 0 && !keys->len) {
		*line = 1;
		rc = refuse(why, "the file has no key; `ladon token key` makes one");
	}
	if (rc == 0)
		rc = keys_sort(keys, line, why);
	if (rc < 0)
		keys_free(keys);
	else
		*out = keys;
	return rc;
}

void keys_free(struct keys *keys)
{
	if (keys)
		explicit_bzero(keys->list, keys->len * sizeof(*keys->list));
	free(keys);
}

const struct key *keys_find(const struct keys *keys, uint32_t id)
{
	const struct key wanted = { .id = id };

	return keys ? bsearch(&wanted, keys->list, keys->len, sizeof(wanted), key_compare) : NULL;
}

const struct key *keys_last(const struct keys *keys)
{
	return &keys->list[keys->last];
}
