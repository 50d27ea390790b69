// SPDX-License-Identifier: GPL-2.0-only
#include "access_line.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TEXTS	   11	/* values that are texts; the time is one */
#define OTHERS_MAX 1000 /* keys, numbers, punctuation */
_Static_assert(TEXTS * 6 * ACCESS_TEXT_MAX + OTHERS_MAX <= ACCESS_LINE_MAX,
	       "nobody needs to look whether there is room");

struct writer {
	char *out;
	size_t len;
	bool json;
	bool any; /* something stands there already */
};

static void put(struct writer *w, const char *text)
{
	size_t len = strlen(text);

	memcpy(w->out + w->len, text, len);
	w->len += len;
}

/* RFC 8259 section 7; in text, too, so that a value has neither blanks nor quotes. */
static void put_escaped(struct writer *w, const char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; text[i] && i < ACCESS_TEXT_MAX; i++) {
		unsigned char byte = (unsigned char)text[i];
		const char escape[] = { '\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15],
					'\0' };

		if (byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\')
			w->out[w->len++] = (char)byte;
		else
			put(w, escape);
	}
}

static void put_key(struct writer *w, const char *key)
{
	if (w->any)
		put(w, w->json ? "," : " ");
	w->any = true;
	put(w, w->json ? "\"" : "");
	put(w, key);
	put(w, w->json ? "\":" : "=");
}

static void field_text(struct writer *w, const char *key, const char *value)
{
	if (!value && w->json)
		return;
	put_key(w, key);
	if (!value) {
		put(w, "-");
		return;
	}
	put(w, w->json ? "\"" : "");
	put_escaped(w, value);
	put(w, w->json ? "\"" : "");
}

static void field_number(struct writer *w, const char *key, uint64_t value, bool known)
{
	char text[24];

	if (!known) {
		field_text(w, key, NULL);
		return;
	}
	put_key(w, key);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	put(w, text);
}

/* RFC 3339, in UTC: a log that is read elsewhere means the same there. */
static void field_time(struct writer *w, const char *key, uint64_t time_ms)
{
	time_t seconds = (time_t)(time_ms / 1000);
	char text[64];
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(text, sizeof(text) - 8, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%03uZ", (unsigned int)(time_ms % 1000));
	field_text(w, key, text);
}

size_t access_line_format(const struct access_line *line, enum access_format format, char *out)
{
	struct writer w = { .out = out, .json = format == ACCESS_JSON };
	bool packets = line->packets_in || line->packets_out;

	put(&w, w.json ? "{" : "");
	field_time(&w, "time", line->time_ms);
	field_text(&w, "client", line->client);
	field_text(&w, "listener", line->listener);
	field_text(&w, "name", line->name);
	field_text(&w, "pool", line->pool);
	field_text(&w, "backend", line->backend);
	field_text(&w, "how", line->how);
	field_text(&w, "why", line->why);
	field_text(&w, "end", line->end);
	field_text(&w, "by", line->by);
	field_number(&w, "duration_ms", line->duration_ms, true);
	field_number(&w, "packets_in", line->packets_in, packets);
	field_number(&w, "bytes_in", line->bytes_in, true);
	field_number(&w, "packets_out", line->packets_out, packets);
	field_number(&w, "bytes_out", line->bytes_out, true);
	field_number(&w, "client_rtt_us", line->client_rtt_us, line->client_rtt_us);
	field_number(&w, "backend_rtt_us", line->backend_rtt_us, line->backend_rtt_us);
	field_text(&w, "user", line->user);
	put(&w, w.json ? "}\n" : "\n");
	return w.len;
}
