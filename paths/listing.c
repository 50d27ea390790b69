// SPDX-License-Identifier: GPL-2.0-only
#include "listing.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/line.h"
#include "place.h"

#define LINE_BYTES_MAX 512

_Static_assert(LISTING_WHY_MAX >= PLACE_WHY_MAX, "a complaint about a place fits");

/* ---- one more ---- */

static int grow(struct listing *listing, char why[LISTING_WHY_MAX])
{
	unsigned int room = listing->room ? listing->room * 2 : 8;
	struct listed *list;

	if (listing->len == CONFIG_BACKENDS_MAX) {
		snprintf(why, LISTING_WHY_MAX, "is one too many; a pool takes up to %u backends",
			 CONFIG_BACKENDS_MAX);
		return -E2BIG;
	}
	if (listing->len < listing->room)
		return 0;
	list = reallocarray(listing->list, room, sizeof(*list));
	if (!list)
		return -ENOMEM;
	listing->list = list;
	listing->room = room;
	return 0;
}

int listing_add(struct listing *listing, const char *text, struct listed **out,
		char why[LISTING_WHY_MAX])
{
	struct listed *listed;
	int rc = grow(listing, why);

	if (rc < 0)
		return rc;
	listed = &listing->list[listing->len++];
	*listed = (struct listed){ .config.weight = 1 };
	rc = place_parse(text, &listed->config, why);
	if (rc == 0)
		*out = listed;
	return rc;
}

void listing_fini(struct listing *listing)
{
	for (unsigned int i = 0; i < listing->len; i++) {
		free(listing->list[i].config.text);
		free(listing->list[i].config.host);
		free(listing->list[i].addrs);
	}
	free(listing->list);
	*listing = (struct listing){ 0 };
}

/* ---- lines ---- */

static int number_read(const char *word, const char *key, unsigned long max, uint32_t *out,
		       char why[LISTING_WHY_MAX])
{
	const char *text = word + strlen(key);
	char *end;
	unsigned long number;

	errno = 0;
	number = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
	if (number < 1 || number > max || errno || *end) {
		snprintf(why, LISTING_WHY_MAX,
			 "%s\"%.40s\" will not do; it takes a number from 1 to %lu", key, text,
			 max);
		return -EINVAL;
	}
	*out = (uint32_t)number;
	return 0;
}

static bool begins(const char *word, const char *key)
{
	return strncmp(word, key, strlen(key)) == 0;
}

static int option_read(const char *word, struct config_backend *backend, char why[LISTING_WHY_MAX])
{
	if (begins(word, "weight="))
		return number_read(word, "weight=", CONFIG_WEIGHT_MAX, &backend->weight, why);
	if (begins(word, "max-flows="))
		return number_read(word, "max-flows=", UINT32_MAX, &backend->flows_max, why);
	if (strcmp(word, "backup=yes") == 0 || strcmp(word, "backup=no") == 0) {
		backend->backup = strcmp(word, "backup=yes") == 0;
		return 0;
	}
	snprintf(why, LISTING_WHY_MAX,
		 "\"%.40s\" is unknown; after the backend there may be weight=N, max-flows=N and "
		 "backup=yes",
		 word);
	return -EINVAL;
}

/* No text of a complaint may do something to a terminal. */
static int printable_check(const char *line, char why[LISTING_WHY_MAX])
{
	for (; *line; line++) {
		if (isgraph((unsigned char)*line) || isblank((unsigned char)*line) || *line == '\r')
			continue;
		snprintf(why, LISTING_WHY_MAX, "has a byte 0x%02x; it takes printable ASCII",
			 (unsigned char)*line);
		return -EINVAL;
	}
	return 0;
}

/* @line: is cut into its words */
static int line_read(struct listing *listing, char *line, char why[LISTING_WHY_MAX])
{
	static const char blanks[] = " \t\r";
	struct listed *listed;
	char *rest, *word;
	int rc;

	line[strcspn(line, "#")] = '\0';
	rc = printable_check(line, why);
	if (rc < 0)
		return rc;
	word = strtok_r(line, blanks, &rest);
	if (!word)
		return 0;
	rc = listing_add(listing, word, &listed, why);
	while (rc == 0 && (word = strtok_r(NULL, blanks, &rest)))
		rc = option_read(word, &listed->config, why);
	return rc;
}

static int line_copy(struct listing *listing, const char *text, size_t len,
		     char why[LISTING_WHY_MAX])
{
	char line[LINE_BYTES_MAX];

	if (len >= sizeof(line) || memchr(text, '\0', len)) {
		snprintf(why, LISTING_WHY_MAX, "%s",
			 len >= sizeof(line) ? "is too long; a line has less than 512 characters"
					     : "has a byte 0x00; it takes printable ASCII");
		return -EINVAL;
	}
	memcpy(line, text, len);
	line[len] = '\0';
	return line_read(listing, line, why);
}

int listing_read(struct listing *listing, const char *text, size_t len, unsigned int *line,
		 char why[LISTING_WHY_MAX])
{
	const char *end = text + len, *at;
	int rc = 0;

	for (*line = 0; rc == 0 && (at = line_next(&text, end, &len));) {
		(*line)++;
		rc = line_copy(listing, at, len, why);
	}
	if (rc < 0 || listing->len)
		return rc;
	*line = *line ? *line : 1;
	snprintf(why, LISTING_WHY_MAX, "is the end, and there is no backend; name one at least");
	return -EINVAL;
}
