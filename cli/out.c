/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.c - each field is written once, for text and for JSON
 */
#include "out.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_GAP "  "

/* ---- values as people read them ---- */

#define VALUE_MAX 32

struct unit {
	double size;
	const char *name;
};

static const struct unit bytes_units[] = {
	{ 1024.0 * 1024 * 1024 * 1024, "TiB" },
	{ 1024.0 * 1024 * 1024, "GiB" },
	{ 1024.0 * 1024, "MiB" },
	{ 1024.0, "KiB" },
	{ 0, "B" },
};

static const struct unit bps_units[] = {
	{ 1e12, "Tbit/s" }, { 1e9, "Gbit/s" }, { 1e6, "Mbit/s" }, { 1e3, "kbit/s" }, { 0, "bit/s" },
};

static const struct unit ns_units[] = {
	{ 1e9, "s" },
	{ 1e6, "ms" },
	{ 1e3, "us" },
	{ 0, "ns" },
};

/* The last unit of a table has size 0, and takes what is left. */
static void unit_format(uint64_t value, const struct unit *unit, char *out)
{
	while (unit->size > 0 && (double)value < unit->size)
		unit++;
	if (unit->size > 0)
		snprintf(out, VALUE_MAX, "%.1f %s", (double)value / unit->size, unit->name);
	else
		snprintf(out, VALUE_MAX, "%" PRIu64 " %s", value, unit->name);
}

static void ms_format(uint64_t ms, char *out)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(out, VALUE_MAX, "%" PRIu64 "ms", ms);
	else if (s < 60)
		snprintf(out, VALUE_MAX, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(out, VALUE_MAX, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, VALUE_MAX, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(out, VALUE_MAX, "%" PRIu64 "d%" PRIu64 "h", s / 86400, s / 3600 % 24);
}

static void value_format(enum out_kind kind, uint64_t value, char *out)
{
	switch (kind) {
	case OUT_FLAG:
		strcpy(out, value ? "yes" : "no");
		break;
	case OUT_SWITCH:
		strcpy(out, value ? "on" : "off");
		break;
	case OUT_PERCENT:
		snprintf(out, VALUE_MAX, "%" PRIu64 " %%", value);
		break;
	case OUT_BYTES:
		unit_format(value, bytes_units, out);
		break;
	case OUT_MS:
		ms_format(value, out);
		break;
	case OUT_NS:
		unit_format(value, ns_units, out);
		break;
	case OUT_BPS:
		unit_format(value, bps_units, out);
		break;
	default:
		snprintf(out, VALUE_MAX, "%" PRIu64, value);
	}
}

/* ---- JSON ---- */

static void json_text(struct out *o, const char *text)
{
	json_t *string = json_string(text);

	if (string)
		json_dumpf(string, o->file, JSON_ENCODE_ANY);
	else
		fputs("null", o->file); /* not UTF-8 */
	json_decref(string);
}

static void json_key(struct out *o, const char *key)
{
	if (o->any[o->depth])
		fputs(", ", o->file);
	o->any[o->depth] = true;
	if (key) {
		json_text(o, key);
		fputs(": ", o->file);
	}
}

static void json_begin(struct out *o, const char *name, char open, char close)
{
	assert(o->depth + 1 < OUT_DEPTH_MAX);
	json_key(o, name);
	fputc(open, o->file);
	o->depth++;
	o->any[o->depth] = false;
	o->brackets[o->depth] = close;
}

static void json_end(struct out *o)
{
	assert(o->depth > 0);
	fputc(o->brackets[o->depth], o->file);
	o->depth--;
	if (o->depth == 0) {
		fputc('\n', o->file);
		o->any[0] = false;
	}
}

/* ---- text ---- */

static _Noreturn void die_of_memory(void)
{
	fputs("ladon: out of memory\n", stderr);
	exit(1);
}

/* "idle_ms" becomes "idle"; what is inside an object of a block begins with its name. */
static void label_make(const struct out *o, const char *key, enum out_kind kind, char *out)
{
	static const char *const suffixes[] = {
		[OUT_PERCENT] = "_percent",
		[OUT_MS] = "_ms",
		[OUT_NS] = "_ns",
		[OUT_BPS] = "_bps",
	};
	const char *suffix = kind < sizeof(suffixes) / sizeof(suffixes[0]) ? suffixes[kind] : NULL;
	size_t cut = suffix ? strlen(suffix) : 0, len;

	snprintf(out, OUT_LABEL_MAX, "%s%s%s", o->prefix, o->prefix[0] ? " " : "", key);
	len = strlen(out);
	if (cut && len > cut && strcmp(out + len - cut, suffix) == 0)
		out[len - cut] = '\0';
	for (char *c = out; *c; c++) {
		if (*c == '_')
			*c = ' ';
	}
}

/* What would move a terminal's cursor is not for the terminal. */
static void cell_add(struct out *o, const char *label, const char *text, bool right)
{
	struct out_row *row = &o->row;
	char *copy = strdup(text);

	assert(row->len < OUT_FIELDS_MAX);
	if (!copy)
		die_of_memory();
	for (unsigned char *c = (unsigned char *)copy; *c; c++) {
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	snprintf(o->labels[row->len], OUT_LABEL_MAX, "%s", label);
	row->cells[row->len].text = copy;
	row->cells[row->len].right = right;
	row->len++;
}

static void row_free(struct out_row *row)
{
	for (unsigned int i = 0; i < row->len; i++)
		free(row->cells[i].text);
	row->len = 0;
}

static void block_begin(struct out *o)
{
	if (o->printed)
		fputc('\n', o->file);
	o->printed = true;
}

/* The fields collected so far, a line each. */
static void block_print(struct out *o)
{
	size_t width = 0;

	if (o->row.len == 0)
		return;
	block_begin(o);
	for (unsigned int i = 0; i < o->row.len; i++) {
		if (strlen(o->labels[i]) > width)
			width = strlen(o->labels[i]);
	}
	for (unsigned int i = 0; i < o->row.len; i++)
		fprintf(o->file, "%-*s" COLUMN_GAP "%s\n", (int)width, o->labels[i],
			o->row.cells[i].text);
	row_free(&o->row);
}

/* The last column is not filled up with spaces. */
static void column_print(struct out *o, unsigned int i, const char *text, bool right, bool last)
{
	int width = (int)o->widths[i];

	if (right)
		fprintf(o->file, "%*s", width, text);
	else if (last)
		fputs(text, o->file);
	else
		fprintf(o->file, "%-*s", width, text);
	fputs(last ? "\n" : COLUMN_GAP, o->file);
}

static void row_print(struct out *o, const struct out_row *row)
{
	for (unsigned int i = 0; i < row->len; i++)
		column_print(o, i, row->cells[i].text, row->cells[i].right, i + 1 == row->len);
}

/* Settle the widths, and print the heading and what was held back. */
static void table_print(struct out *o)
{
	const struct out_row *first = o->rows;

	if (o->rows_len == 0)
		return;
	for (unsigned int i = 0; i < first->len; i++) {
		o->widths[i] = strlen(o->labels[i]);
		for (unsigned int r = 0; r < o->rows_len; r++) {
			size_t width = i < o->rows[r].len ? strlen(o->rows[r].cells[i].text) : 0;

			if (width > o->widths[i])
				o->widths[i] = width;
		}
	}
	block_begin(o);
	for (unsigned int i = 0; i < first->len; i++)
		column_print(o, i, o->labels[i], first->cells[i].right, i + 1 == first->len);
	for (unsigned int r = 0; r < o->rows_len; r++) {
		row_print(o, &o->rows[r]);
		row_free(&o->rows[r]);
	}
	o->rows_len = 0;
	o->streaming = true;
}

static void row_end(struct out *o)
{
	if (o->row.len == 0)
		return; /* was printed as a block above a list of its own */
	if (o->streaming) {
		row_print(o, &o->row);
		row_free(&o->row);
		return;
	}
	o->rows[o->rows_len++] = o->row;
	o->row.len = 0;
	if (o->rows_len == OUT_ROWS_MAX)
		table_print(o);
}

static void text_list(struct out *o, const char *label)
{
	if (!o->rows)
		o->rows = calloc(OUT_ROWS_MAX, sizeof(*o->rows));
	if (!o->rows)
		die_of_memory();
	block_print(o);
	o->lists++;
	o->streaming = false;
	o->first_label = label;
}

static void text_open(struct out *o, const char *name)
{
	if (!o->lists)
		o->prefix = name ? name : "";
	else if (name)
		cell_add(o, o->first_label, name, false);
}

static void text_close(struct out *o)
{
	if (o->lists) {
		row_end(o);
	} else if (o->prefix[0]) {
		o->prefix = "";
	} else {
		block_print(o);
		o->printed = false;
		free(o->rows);
		o->rows = NULL;
	}
}

/* ---- both ---- */

void out_init(struct out *o, FILE *file, bool json)
{
	memset(o, 0, sizeof(*o));
	o->file = file;
	o->json = json;
	o->prefix = "";
}

void out_open(struct out *o, const char *name)
{
	if (o->json)
		json_begin(o, name, '{', '}');
	else
		text_open(o, name);
}

void out_close(struct out *o)
{
	if (o->json)
		json_end(o);
	else
		text_close(o);
}

void out_list(struct out *o, const char *name)
{
	if (o->json)
		json_begin(o, name, '[', ']');
	else
		text_list(o, NULL);
}

void out_map(struct out *o, const char *name, const char *label)
{
	if (o->json)
		json_begin(o, name, '{', '}');
	else
		text_list(o, label);
}

void out_end(struct out *o)
{
	if (o->json) {
		json_end(o);
		return;
	}
	table_print(o);
	o->lists--;
}

static void str_out(struct out *o, const struct out_field *field, const char *value)
{
	char label[OUT_LABEL_MAX];

	if (o->json) {
		json_key(o, field->key);
		json_text(o, value);
		return;
	}
	label_make(o, field->key, field->kind, label);
	cell_add(o, field->label ? field->label : label, value, false);
}

static void u64_out(struct out *o, const struct out_field *field, uint64_t value)
{
	bool is_flag = field->kind == OUT_FLAG || field->kind == OUT_SWITCH;
	char label[OUT_LABEL_MAX];
	char text[VALUE_MAX];

	if (o->json) {
		json_key(o, field->key);
		if (is_flag)
			fputs(value ? "true" : "false", o->file);
		else
			fprintf(o->file, "%" PRIu64, value);
		return;
	}
	label_make(o, field->key, field->kind, label);
	value_format(field->kind, value, text);
	cell_add(o, field->label ? field->label : label, text, !is_flag);
}

/* "a, b, c"; an empty array is "-". */
static void names_out(struct out *o, const struct out_field *field, const json_t *names)
{
	char *text = NULL;
	size_t len, i;
	json_t *name;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		die_of_memory();
	json_array_foreach(names, i, name) fprintf(
		f, "%s%s", i ? ", " : "", json_is_string(name) ? json_string_value(name) : "?");
	if (fclose(f) != 0)
		die_of_memory();
	str_out(o, field, len ? text : "-");
	free(text);
}

static void array_out(struct out *o, const struct out_field *field, const json_t *array)
{
	if (o->json) {
		json_key(o, field->key);
		json_dumpf(array, o->file, 0);
	} else {
		names_out(o, field, array);
	}
}

void out_str(struct out *o, const char *key, const char *value)
{
	str_out(o, &(struct out_field){ .key = key, .kind = OUT_TEXT }, value);
}

void out_u64(struct out *o, const char *key, enum out_kind kind, uint64_t value)
{
	u64_out(o, &(struct out_field){ .key = key, .kind = kind }, value);
}

void out_field(struct out *o, const json_t *from, const struct out_field *field)
{
	const json_t *value = json_object_get(from, field->key);

	if (!o->json && field->label && !field->label[0])
		return;
	if (json_is_string(value))
		str_out(o, field, json_string_value(value));
	else if (json_is_boolean(value))
		u64_out(o, field, json_is_true(value));
	else if (json_is_integer(value))
		u64_out(o, field, (uint64_t)json_integer_value(value));
	else if (json_is_array(value))
		array_out(o, field, value);
	else if (!o->json && o->lists)
		str_out(o, field, "-");
}

void out_fields(struct out *o, const json_t *from, const struct out_field *fields, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out_field(o, from, &fields[i]);
}

void out_objects(struct out *o, const json_t *from, const char *name, const struct out_field *fields,
		 size_t len)
{
	const json_t *object;
	size_t i;

	out_list(o, name);
	json_array_foreach(json_object_get(from, name), i, object)
	{
		out_open(o, NULL);
		out_fields(o, object, fields, len);
		out_close(o);
	}
	out_end(o);
}

void out_parts(struct out *o, const json_t *from, const struct out_part *parts, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const json_t *object = json_object_get(from, parts[i].name);

		out_open(o, parts[i].name);
		for (const struct out_field *field = parts[i].fields; field->key; field++)
			out_field(o, object, field);
		out_close(o);
	}
}
