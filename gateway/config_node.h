/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_node.h - one value of a YAML file, with its key and its line
 *
 * libyaml reads the file; a node adds where in it a value stands, so that
 * whatever is wrong with a value can be said in one form:
 *
 *	ladon.yaml:7: listeners[0].routes[2].pool: what is wrong; what would be right
 *
 * Nodes are locals of the functions that read them: each points to the node
 * above it and owns nothing. Only the first complaint is kept.
 *
 * Anchors and aliases work. An alias can stand for a list of aliases, and a
 * short file for billions of values, so every value that is read costs one of
 * NODE_BUDGET. Merge keys ("<<") are no part of YAML 1.2 and not known.
 */
#ifndef LADON_CONFIG_NODE_H
#define LADON_CONFIG_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

#define NODE_BUDGET 1000000

struct node_file {
	const char *path;
	yaml_document_t document;
	unsigned int budget; /* values that may still be read */
	char *error;	     /* the first complaint; freed by whoever takes it */
};

struct node {
	struct node_file *file;
	const struct node *above; /* NULL: the whole file */
	const char *key;	  /* in the node above; NULL: an item of a list */
	unsigned int index;	  /* ... at this place */
	unsigned int line;
	yaml_node_t *yaml; /* NULL: the key is not there */
};

/**
 * node_file_open() - parse a file's text
 * @path: for messages; must outlive @file
 * @root: the whole file as a node
 *
 * Return: 0; -EINVAL: not YAML, see file->error; -ENOMEM. In either case end
 * with node_file_close().
 */
int node_file_open(struct node_file *file, const char *path, const void *text, size_t len,
		   struct node *root);

/** node_file_close() - free everything but file->error */
void node_file_close(struct node_file *file);

/**
 * node_fail() - complain about a value
 * Return: -EINVAL, or -ENOMEM if there was no memory for the complaint
 */
__attribute__((format(printf, 2, 3))) int node_fail(const struct node *node, const char *fmt, ...);

/** node_spend() - take @values off the file's budget. Return: 0 or -EINVAL, complained */
int node_spend(const struct node *node, unsigned int values);

/**
 * node_map() - take a mapping apart
 * @keys: the @len keys that may be there, each once
 * @out: a node for each key, in the same order; .yaml is NULL where it is missing
 *
 * Return: 0 or a negative errno, complained.
 */
int node_map(const struct node *node, const char *const *keys, unsigned int len, struct node *out);

/**
 * node_list() - how many items a list has; at least one
 *
 * A single value is a list of one, and a missing one a list of one missing value.
 *
 * Return: 0 or -EINVAL, complained.
 */
int node_list(const struct node *node, unsigned int *len);

/** node_item() - one item of a list, or the single value itself */
void node_item(const struct node *node, unsigned int index, struct node *out);

/**
 * node_each() - have each item of a list read, or the single value itself
 * @fn: what is not 0 ends the walk
 *
 * Return: what @fn returned last; -EINVAL, complained: the list is empty.
 */
int node_each(const struct node *node, int (*fn)(void *arg, const struct node *item), void *arg);

/**
 * node_text() - a scalar
 * @out: NUL-terminated, not empty, without control characters; the file's
 *
 * Return: 0 or a negative errno, complained. So do the others below.
 */
int node_text(const struct node *node, const char **out);

/** node_is_scalar() - neither a list nor a mapping */
bool node_is_scalar(const struct node *node);

/** node_is() - is it this word, and nothing else? */
bool node_is(const struct node *node, const char *word);

/** node_number() - a decimal number from @min to @max; a missing one leaves @out as it is */
int node_number(const struct node *node, uint32_t min, uint32_t max, uint32_t *out);

/** node_range() - two such numbers, as 10000-32767; a missing one leaves both as they are */
int node_range(const struct node *node, uint16_t min, uint16_t max, uint16_t *from, uint16_t *to);

/** node_bool() - yes or no, true or false, on or off; a missing one leaves @out as it is */
int node_bool(const struct node *node, bool *out);

/**
 * node_word() - one of @words; a missing one leaves @out as it is
 * @other: what else the caller takes, for the complaint; NULL: nothing
 * @out: its index
 */
int node_word(const struct node *node, const char *const *words, unsigned int len,
	      const char *other, unsigned int *out);

/**
 * node_ms() - a time such as 500ms, 10s, 5m, 2h, 1d; a bare number is seconds
 *
 * At least 1 ms, at most NODE_DAYS_MAX days. A missing one leaves @out as it is.
 */
int node_ms(const struct node *node, uint32_t *out);

#define NODE_DAYS_MAX 30

/**
 * node_write() - a value that is there as one line of YAML, one level deep
 * @out: the caller's, to be freed
 *
 * Return: 0 or -ENOMEM.
 */
int node_write(const struct node *node, char **out);

/**
 * node_nearest() - the word that was meant
 *
 * Return: the one of @words that is one or two slips of the keyboard away
 * (inserted, left out, changed, swapped letters), or NULL. NULLs in @words are
 * passed over.
 */
const char *node_nearest(const char *word, const char *const *words, unsigned int len);

#endif
