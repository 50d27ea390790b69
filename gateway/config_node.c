// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_node.c - one value of a YAML file, with its key and its line
 *
 * libyaml itself rather than libcyaml: what libcyaml 1.3 loads has no line
 * numbers in it any more (a pool that does not exist is found only after
 * loading), it reports unknown and repeated keys with the line of the value
 * before them, takes an empty file for a good one, has no "one value or a list
 * of them", and lets aliases multiply without a limit.
 */
#include "config_node.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"

#define PATH_TEXT_MAX  256
#define WORDS_TEXT_MAX 512
#define SLIPS_MAX      2
#define WORD_MAX       64 /* longer ones are not compared */

/* ---- complaints ---- */

/* Values are quoted in messages: one line on a terminal is all they may become. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

static int complain(struct node_file *file, unsigned int line, const char *key, const char *what)
{
	int len;

	if (file->error)
		return -EINVAL;
	if (*key)
		len = asprintf(&file->error, "%s:%u: %s: %s", file->path, line, key, what);
	else
		len = asprintf(&file->error, "%s:%u: %s", file->path, line, what);
	if (len < 0) {
		file->error = NULL;
		return -ENOMEM;
	}
	make_printable(file->error);
	return -EINVAL;
}

/* "listeners[0].routes[2].pool"; what does not fit is cut off at the end */
static size_t path_write(const struct node *node, char *out, size_t size)
{
	size_t used;
	int len;

	if (!node->above) {
		*out = '\0';
		return 0;
	}
	used = path_write(node->above, out, size);
	if (node->key)
		len = snprintf(out + used, size - used, "%s%s", used ? "." : "", node->key);
	else
		len = snprintf(out + used, size - used, "[%u]", node->index);
	used += (size_t)len;
	return used < size ? used : size - 1;
}

int node_fail(const struct node *node, const char *fmt, ...)
{
	_free_ char *what = NULL;
	char key[PATH_TEXT_MAX];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&what, fmt, args);
	va_end(args);
	if (len < 0) {
		what = NULL;
		return -ENOMEM;
	}
	path_write(node, key, sizeof(key));
	return complain(node->file, node->line, key, what);
}

int node_spend(const struct node *node, unsigned int values)
{
	if (values > node->file->budget) {
		node->file->budget = 0;
		return node_fail(node,
				 "aliases and lists multiply to more than %d values; "
				 "write fewer",
				 NODE_BUDGET);
	}
	node->file->budget -= values;
	return 0;
}

/* ---- did you mean ---- */

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/*
 * Optimal string alignment distance: letters inserted, left out, changed, or
 * swapped with their neighbour. Three rows of the usual table are enough.
 */
static unsigned int slips(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return SLIPS_MAX + 1;
	for (unsigned int j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (unsigned int i = 1; i <= a_len; i++) {
		unsigned int *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned int j = 1; j <= b_len; j++) {
			row[j] = least(least(up[j] + 1, row[j - 1] + 1),
				       up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], up2[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

const char *node_nearest(const char *word, const char *const *words, unsigned int len)
{
	/* half of a short word is no likeness */
	unsigned int best = least(SLIPS_MAX, (unsigned int)strlen(word) / 2) + 1;
	const char *nearest = NULL;

	for (unsigned int i = 0; i < len; i++) {
		unsigned int n = words[i] ? slips(word, words[i]) : best;

		if (n < best) {
			best = n;
			nearest = words[i];
		}
	}
	return nearest;
}

/* ---- the file ---- */

static unsigned int mark_line(const yaml_mark_t *mark)
{
	return (unsigned int)mark->line + 1;
}

/* libyaml keeps no line for bytes that it could not decode, only an offset. */
static unsigned int offset_line(const char *text, size_t len, size_t offset)
{
	unsigned int line = 1;

	for (size_t i = 0; i < len && i < offset; i++)
		line += text[i] == '\n';
	return line;
}

static int complain_syntax(struct node_file *file, const yaml_parser_t *parser, const char *text,
			   size_t len)
{
	const char *problem = parser->problem ? parser->problem : "cannot be read";
	unsigned int line = mark_line(&parser->problem_mark);
	char what[256];

	switch (parser->error) {
	case YAML_MEMORY_ERROR:
		return -ENOMEM;
	case YAML_READER_ERROR:
		return complain(file, offset_line(text, len, parser->problem_offset), "",
				"not text in UTF-8; a configuration is a text file in YAML");
	default:
		break;
	}
	if (parser->context)
		snprintf(what, sizeof(what), "not YAML: %s (%s of line %u); see ladon.yaml(5)",
			 problem, parser->context, mark_line(&parser->context_mark));
	else
		snprintf(what, sizeof(what), "not YAML: %s; see ladon.yaml(5)", problem);
	if (strstr(problem, "tab") || strstr(problem, "cannot start any token"))
		snprintf(what, sizeof(what),
			 "not YAML: %s; indent with spaces, not with tabs, and "
			 "put values with special characters in quotes",
			 problem);
	return complain(file, line, "", what);
}

/* One document and no second one. */
static int load(struct node_file *file, yaml_parser_t *parser, const char *text, size_t len)
{
	yaml_document_t second;
	bool is_last;

	if (!yaml_parser_load(parser, &file->document)) {
		memset(&file->document, 0, sizeof(file->document));
		return complain_syntax(file, parser, text, len);
	}
	if (!yaml_document_get_root_node(&file->document))
		return complain(file, 1, "",
				"the file is empty; it takes at least 'listeners' and "
				"'pools', see ladon.yaml(5)");
	if (!yaml_parser_load(parser, &second))
		return complain_syntax(file, parser, text, len);
	is_last = !yaml_document_get_root_node(&second);
	if (!is_last)
		complain(file, mark_line(&second.start_mark), "",
			 "a second document begins here; one file is one configuration");
	yaml_document_delete(&second);
	return is_last ? 0 : -EINVAL;
}

int node_file_open(struct node_file *file, const char *path, const void *text, size_t len,
		   struct node *root)
{
	yaml_parser_t parser;
	int rc;

	*file = (struct node_file){ .path = path, .budget = NODE_BUDGET };
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, text, len);
	rc = load(file, &parser, text, len);
	yaml_parser_delete(&parser);
	if (rc < 0)
		return rc;
	*root = (struct node){ .file = file, .yaml = yaml_document_get_root_node(&file->document) };
	root->line = mark_line(&root->yaml->start_mark);
	return 0;
}

void node_file_close(struct node_file *file)
{
	yaml_document_delete(&file->document);
}

/* ---- mappings and lists ---- */

static void node_below(const struct node *above, int id, struct node *out)
{
	*out = (struct node){ .file = above->file, .above = above };
	out->yaml = yaml_document_get_node(&above->file->document, id);
	out->line = mark_line(&out->yaml->start_mark);
}

static void words_join(const char *const *words, unsigned int len, char out[WORDS_TEXT_MAX])
{
	size_t used = 0;

	*out = '\0';
	for (unsigned int i = 0; i < len && used < WORDS_TEXT_MAX; i++)
		used += (size_t)snprintf(out + used, WORDS_TEXT_MAX - used, "%s%s", i ? ", " : "",
					 words[i]);
}

static int key_unknown(const struct node *key, const char *const *keys, unsigned int len)
{
	const char *meant = node_nearest(key->key, keys, len);
	char known[WORDS_TEXT_MAX];

	if (meant)
		return node_fail(key, "there is no such key; did you mean \"%s\"?", meant);
	words_join(keys, len, known);
	return node_fail(key, "there is no such key; here go: %s", known);
}

static int key_read(const struct node *node, const yaml_node_pair_t *pair, const char *const *keys,
		    unsigned int len, struct node *out)
{
	const yaml_node_t *yaml = yaml_document_get_node(&node->file->document, pair->key);
	struct node key = { .file = node->file,
			    .above = node,
			    .line = mark_line(&yaml->start_mark) };
	struct node value;
	unsigned int i;

	if (yaml->type != YAML_SCALAR_NODE)
		return node_fail(node, "has a mapping or a list for a key; a key is one word");
	key.key = (const char *)yaml->data.scalar.value;
	for (i = 0; i < len && strcmp(keys[i], key.key) != 0; i++)
		;
	if (i == len || strlen(key.key) != yaml->data.scalar.length)
		return key_unknown(&key, keys, len);
	if (out[i].yaml)
		return node_fail(&key,
				 "the key is here a second time, after line %u; "
				 "remove one of them",
				 out[i].line);
	node_below(node, pair->value, &value);
	value.key = keys[i];
	/* of an alias, and of a list below its key, the key's line is the better one */
	value.line = key.line;
	out[i] = value;
	return 0;
}

int node_map(const struct node *node, const char *const *keys, unsigned int len, struct node *out)
{
	char known[WORDS_TEXT_MAX];
	int rc;

	memset(out, 0, len * sizeof(*out));
	for (unsigned int i = 0; i < len; i++)
		out[i] = (struct node){
			.file = node->file, .above = node, .key = keys[i], .line = node->line
		};
	if (node->yaml->type != YAML_MAPPING_NODE) {
		words_join(keys, len, known);
		return node_fail(node, "must be a mapping; its keys are: %s", known);
	}
	for (const yaml_node_pair_t *pair = node->yaml->data.mapping.pairs.start;
	     pair < node->yaml->data.mapping.pairs.top; pair++) {
		rc = key_read(node, pair, keys, len, out);
		if (rc < 0)
			return rc;
	}
	return node_spend(node, len);
}

int node_list(const struct node *node, unsigned int *len)
{
	const yaml_node_t *yaml = node->yaml;

	*len = 1;
	if (!yaml || yaml->type != YAML_SEQUENCE_NODE)
		return 0;
	*len = (unsigned int)(yaml->data.sequence.items.top - yaml->data.sequence.items.start);
	if (*len == 0)
		return node_fail(node, "is an empty list; write at least one item, or leave the "
				       "key out");
	return 0;
}

void node_item(const struct node *node, unsigned int index, struct node *out)
{
	if (!node->yaml || node->yaml->type != YAML_SEQUENCE_NODE) {
		*out = *node;
		return;
	}
	node_below(node, node->yaml->data.sequence.items.start[index], out);
	out->index = index;
}

int node_each(const struct node *node, int (*fn)(void *arg, const struct node *item), void *arg)
{
	unsigned int len;
	int rc = node_list(node, &len);

	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		struct node item;

		node_item(node, i, &item);
		rc = fn(arg, &item);
	}
	return rc;
}

/* ---- scalars ---- */

int node_text(const struct node *node, const char **out)
{
	const char *text;
	size_t len;

	if (node->yaml->type != YAML_SCALAR_NODE)
		return node_fail(node, "must be a single value, not a %s",
				 node->yaml->type == YAML_MAPPING_NODE ? "mapping" : "list");
	text = (const char *)node->yaml->data.scalar.value;
	len = node->yaml->data.scalar.length;
	if (len == 0)
		return node_fail(node, "has no value; write one, or leave the key out");
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)text[i]))
			return node_fail(node, "has a control character in it; remove it");
	*out = text;
	return node_spend(node, 1);
}

/* Digits up to @end. Return: false if there is none, or more than 32 bits of them */
static bool digits_parse(const char *text, const char **end, uint32_t *out)
{
	uint64_t value = 0;

	for (*end = text; isdigit((unsigned char)**end); (*end)++) {
		value = value * 10 + (uint64_t)(**end - '0');
		if (value > UINT32_MAX)
			return false;
	}
	*out = (uint32_t)value;
	return *end > text;
}

bool node_is_scalar(const struct node *node)
{
	return node->yaml && node->yaml->type == YAML_SCALAR_NODE;
}

bool node_is(const struct node *node, const char *word)
{
	return node_is_scalar(node) &&
	       strcmp((const char *)node->yaml->data.scalar.value, word) == 0;
}

int node_number(const struct node *node, uint32_t min, uint32_t max, uint32_t *out)
{
	const char *text, *end;
	uint32_t value;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	if (!digits_parse(text, &end, &value) || *end || value < min || value > max)
		return node_fail(node, "\"%.40s\" will not do; it takes a number from %u to %u",
				 text, min, max);
	*out = value;
	return 0;
}

int node_range(const struct node *node, uint16_t min, uint16_t max, uint16_t *from, uint16_t *to)
{
	const char *text, *end;
	uint32_t a, b;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	if (!digits_parse(text, &end, &a) || *end != '-' || !digits_parse(end + 1, &end, &b) ||
	    *end || a < min || b > max || a > b)
		return node_fail(node,
				 "\"%.40s\" will not do; it takes a range FROM-TO from %u "
				 "to %u, such as 10000-32767",
				 text, min, max);
	*from = (uint16_t)a;
	*to = (uint16_t)b;
	return 0;
}

int node_bool(const struct node *node, bool *out)
{
	static const char *const words[][2] = { { "no", "yes" },
						{ "false", "true" },
						{ "off", "on" } };
	const char *text;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int yes = 0; yes < 2; yes++) {
			if (strcmp(text, words[i][yes]) == 0) {
				*out = yes;
				return 0;
			}
		}
	}
	return node_fail(node, "\"%.40s\" will not do; it takes yes or no", text);
}

static const char *scalar_text(const struct node *node, int id)
{
	const yaml_node_t *yaml = yaml_document_get_node(&node->file->document, id);

	return yaml->type == YAML_SCALAR_NODE ? (const char *)yaml->data.scalar.value : "...";
}

static void list_write(const struct node *node, FILE *to)
{
	const yaml_node_item_t *first = node->yaml->data.sequence.items.start;

	for (const yaml_node_item_t *i = first; i < node->yaml->data.sequence.items.top; i++)
		fprintf(to, "%s%s", i > first ? ", " : "[", scalar_text(node, *i));
	fputs("]", to);
}

static void map_write(const struct node *node, FILE *to)
{
	const yaml_node_pair_t *first = node->yaml->data.mapping.pairs.start;

	for (const yaml_node_pair_t *i = first; i < node->yaml->data.mapping.pairs.top; i++)
		fprintf(to, "%s%s: %s", i > first ? ", " : "{", scalar_text(node, i->key),
			scalar_text(node, i->value));
	fputs("}", to);
}

int node_write(const struct node *node, char **out)
{
	size_t len;
	FILE *to = open_memstream(out, &len);

	if (!to)
		return -ENOMEM;
	if (node->yaml->type == YAML_SEQUENCE_NODE)
		list_write(node, to);
	else if (node->yaml->type == YAML_MAPPING_NODE)
		map_write(node, to);
	else
		fputs((const char *)node->yaml->data.scalar.value, to);
	if (fclose(to) == 0)
		return 0;
	free(*out);
	*out = NULL;
	return -ENOMEM;
}

/* "a", "a or b", "a, b or c" */
static void choice_join(const char *const *words, unsigned int len, const char *other,
			char out[WORDS_TEXT_MAX])
{
	unsigned int last = other ? len : len - 1;
	size_t used = 0;

	for (unsigned int i = 0; i <= last && used < WORDS_TEXT_MAX; i++)
		used += (size_t)snprintf(out + used, WORDS_TEXT_MAX - used, "%s%s",
					 i == 0	     ? ""
					 : i == last ? " or "
						     : ", ",
					 i < len ? words[i] : other);
}

int node_word(const struct node *node, const char *const *words, unsigned int len,
	      const char *other, unsigned int *out)
{
	char choice[WORDS_TEXT_MAX];
	const char *text;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < len; i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	choice_join(words, len, other, choice);
	return node_fail(node, "\"%.40s\" will not do; it takes %s", text, choice);
}

int node_ms(const struct node *node, uint32_t *out)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = { { "", 1000 },	  { "ms", 1 },		{ "s", 1000 },
		      { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 } };
	const uint64_t max = (uint64_t)NODE_DAYS_MAX * 24 * 3600 * 1000;
	const char *text, *end;
	uint32_t value;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &text);
	if (rc < 0)
		return rc;
	for (size_t i = 0; digits_parse(text, &end, &value) && i < sizeof(units) / sizeof(units[0]);
	     i++) {
		uint64_t ms = (uint64_t)value * units[i].ms;

		if (strcmp(end, units[i].name) == 0 && ms >= 1 && ms <= max) {
			*out = (uint32_t)ms;
			return 0;
		}
	}
	return node_fail(node,
			 "\"%.40s\" will not do; it takes a time from 1ms to %dd, such as "
			 "500ms, 10s, 5m or 2h",
			 text, NODE_DAYS_MAX);
}
