/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * out.h - each field is written once, for text and for JSON
 *
 * JSON is what the calls say: objects, lists and values in their base unit; a
 * document is one line. Text is made from the same calls: the fields of an
 * object become lines of "label value", the objects of a list become the rows
 * of a table. A label is the key without its unit, "idle_ms" becomes "idle"; a
 * value gets the unit that suits its size.
 *
 * Writes as it goes: of a list, only the first OUT_ROWS_MAX rows are held back,
 * for the widths of the columns.
 */
#ifndef LADON_OUT_H
#define LADON_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OUT_FIELDS_MAX 24
#define OUT_LABEL_MAX  32
#define OUT_ROWS_MAX   512
#define OUT_DEPTH_MAX  8

enum out_kind {
	OUT_TEXT,
	OUT_FLAG,   /* JSON boolean; "yes" or "no" */
	OUT_SWITCH, /* JSON boolean; "on" or "off" */
	OUT_COUNT,
	OUT_PERCENT, /* key ends in _percent */
	OUT_BYTES,
	OUT_MS,	   /* key ends in _ms */
	OUT_NS,	   /* key ends in _ns */
	OUT_BPS,   /* bits per second; key ends in _bps */
	OUT_ARRAY, /* JSON array; of strings where text shows it */
};

/**
 * struct out_field - a key that is copied from a document of the daemon
 * @label: in text; NULL: made from the key; "": the field is left out of text
 */
struct out_field {
	const char *key;
	enum out_kind kind;
	const char *label;
};

/** struct out_part - an object of the document, and which of its keys are copied */
struct out_part {
	const char *name;
	struct out_field fields[8]; /* ended by a key of NULL */
};

struct out_cell {
	char *text; /* owned */
	bool right; /* numbers are aligned right */
};

struct out_row {
	struct out_cell cells[OUT_FIELDS_MAX];
	unsigned int len;
};

/* Made by out_init(); the rest of it is out.c's. */
struct out {
	FILE *file;
	bool json;

	unsigned int depth;
	bool any[OUT_DEPTH_MAX];      /* something was written at this depth already */
	char brackets[OUT_DEPTH_MAX]; /* that will close it */

	bool printed;		 /* a blank line must precede the next block */
	unsigned int lists;	 /* that are open: inside one, objects are rows */
	const char *prefix;	 /* name of the object inside the block; "" */
	const char *first_label; /* of the rows' names in an out_map() */
	char labels[OUT_FIELDS_MAX][OUT_LABEL_MAX];
	struct out_row row;   /* being filled */
	struct out_row *rows; /* [OUT_ROWS_MAX], held back */
	unsigned int rows_len;
	bool streaming; /* widths are settled, rows are printed at once */
	size_t widths[OUT_FIELDS_MAX];
};

void out_init(struct out *o, FILE *file, bool json);

/**
 * out_open() - begin an object
 * @name: NULL for the outermost and in a list; else it must live until out_close()
 */
void out_open(struct out *o, const char *name);
void out_close(struct out *o);

/** out_list() - begin a list of objects with the same fields */
void out_list(struct out *o, const char *name);

/** out_map() - a list whose objects have names: a JSON object; in text, a first column @label */
void out_map(struct out *o, const char *name, const char *label);

/** out_end() - end what out_list() or out_map() began */
void out_end(struct out *o);

void out_str(struct out *o, const char *key, const char *value);
void out_u64(struct out *o, const char *key, enum out_kind kind, uint64_t value);

/**
 * out_field() - copy one field of @from
 *
 * A key that @from lacks (an older daemon, or nothing to say) is left out of
 * JSON, and is "-" in a table.
 */
void out_field(struct out *o, const json_t *from, const struct out_field *field);
void out_fields(struct out *o, const json_t *from, const struct out_field *fields, size_t len);

#define FIELDS(array) (array), sizeof(array) / sizeof((array)[0])

/** out_objects() - a list of that name: these fields of each object of the array that @from has by it */
void out_objects(struct out *o, const json_t *from, const char *name, const struct out_field *fields,
		 size_t len);

/** out_parts() - copy objects of @from, each below its name */
void out_parts(struct out *o, const json_t *from, const struct out_part *parts, size_t len);

#endif
