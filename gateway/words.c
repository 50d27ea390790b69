// SPDX-License-Identifier: GPL-2.0-only
/*
 * words.c - first words that a listener's routes know, beside what the peekers do
 *
 * PCRE2 and not regexec(3): that one ends at a NUL, cannot say that more bytes are
 * needed, and has no limit to its backtracking. Without its JIT compiler, which wants
 * memory that is writable and executable.
 */
#include "words.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "../base/hex.h"

#define NO_WORD	      UINT32_MAX
#define REGEX_HEAP_KB 256 /* one match needs 20 KB as a rule */

/* Bytes, not characters; and (*UTF) in the text cannot change that. */
#define REGEX_OPTIONS (PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP)

struct word {
	uint8_t bytes[WORD_BYTES_MAX];
	uint8_t len;
	uint32_t route;
	uint32_t shorter; /* the longest word that this one begins with */
};

struct regex {
	pcre2_code *code;
	uint32_t route;
};

struct words {
	struct word *starts; /* sorted */
	struct regex *regexes;
	uint32_t starts_len, regexes_len;
	pcre2_match_context *limits;
};

/* ---- as text ---- */

/* What stands behind a backslash. Return: the byte, -1: nothing that is known */
static int escape_decode(const char **text)
{
	static const char names[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
	const char *known;
	int high, low;

	if (**text == 'x') {
		high = hex_digit((*text)[1]);
		low = high < 0 ? -1 : hex_digit((*text)[2]);
		*text += 3;
		return low < 0 ? -1 : high << 4 | low;
	}
	known = **text ? strchr(names, **text) : NULL;
	(*text)++;
	return known ? bytes[known - names] : -1;
}

size_t word_decode(const char *text, uint8_t out[WORD_BYTES_MAX])
{
	size_t len = 0;

	while (*text) {
		int byte = (unsigned char)*text++;

		if (!isprint(byte) || len == WORD_BYTES_MAX)
			return 0;
		if (byte == '\\')
			byte = escape_decode(&text);
		if (byte < 0)
			return 0;
		out[len++] = (uint8_t)byte;
	}
	return len;
}

char *word_encode(const uint8_t *bytes, size_t len)
{
	char *text = malloc(4 * len + 1), *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\\')
			*at++ = '\\';
		if (isprint(bytes[i]))
			*at++ = (char)bytes[i];
		else
			at += sprintf(at, "\\x%02x", bytes[i]);
	}
	*at = '\0';
	return text;
}

/*
 * PCRE2 takes "\xff.{3}" for a partial match when a byte of four has come, but not ".{4}", of
 * which it has consumed nothing then, unless the pattern looks behind anywhere (10.42,
 * mb->allowemptypartial). Nothing stands before the first byte, so this is always true.
 */
#define LOOK_BEHIND "(?<!x)"

/* @at: where in @text the error is */
static pcre2_code *regex_compile(const char *text, int *error, size_t *at)
{
	char whole[sizeof(LOOK_BEHIND) + REGEX_TEXT_MAX];
	pcre2_code *code;

	snprintf(whole, sizeof(whole), LOOK_BEHIND "%s", text);
	code = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED, REGEX_OPTIONS, error, at,
			     NULL);
	*at = code ? 0 : *at - strlen(LOOK_BEHIND);
	return code;
}

/* Return: as pcre2_match(3) */
static int regex_ask(const pcre2_code *code, const uint8_t *bytes, size_t len, uint32_t options,
		     pcre2_match_context *limits)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	int rc = PCRE2_ERROR_NOMEMORY;

	if (data)
		rc = pcre2_match(code, bytes, len, 0, options, data, limits);
	pcre2_match_data_free(data);
	return rc;
}

const char *regex_fault(const char *text, char why[REGEX_WHY_MAX])
{
	char said[160] = "";
	size_t at = 0;
	int error, rc;
	pcre2_code *code;

	if (strlen(text) > REGEX_TEXT_MAX) {
		snprintf(why, REGEX_WHY_MAX, "a regex has at most %d characters", REGEX_TEXT_MAX);
		return why;
	}
	code = regex_compile(text, &error, &at);
	if (!code) {
		pcre2_get_error_message(error, (PCRE2_UCHAR *)said, sizeof(said));
		snprintf(why, REGEX_WHY_MAX, "%s (at character %zu); see pcre2pattern(3)", said,
			 at + 1);
		return why;
	}
	rc = regex_ask(code, (const uint8_t *)"", 0, 0, NULL);
	pcre2_code_free(code);
	if (rc < 0)
		return NULL;
	snprintf(
		why, REGEX_WHY_MAX,
		"it matches nothing at all, and so anything; leave it out, or let it ask for a byte");
	return why;
}

/* ---- building ---- */

static int bytes_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* qsort(3) */
static int word_compare(const void *left, const void *right)
{
	const struct word *a = left, *b = right;

	return bytes_compare(a->bytes, a->len, b->bytes, b->len);
}

static bool word_begins(const struct word *word, const uint8_t *bytes, size_t len)
{
	return word->len <= len && !memcmp(word->bytes, bytes, word->len);
}

/* As paths in route.c: what a word begins with stands before it, next or up from there. */
static void word_link(struct word *starts, uint32_t index)
{
	uint32_t i = index - 1; /* NO_WORD before the first */

	while (i != NO_WORD && !word_begins(&starts[i], starts[index].bytes, starts[index].len))
		i = starts[i].shorter;
	starts[index].shorter = i;
}

static int words_add(struct words *words, const struct config_route *route, uint32_t index)
{
	struct regex *regex = &words->regexes[words->regexes_len];
	struct word *word = &words->starts[words->starts_len];
	size_t at;
	int error;

	if (route->starts) {
		word->len = (uint8_t)word_decode(route->starts, word->bytes);
		word->route = index;
		words->starts_len++;
	}
	if (!route->regex)
		return 0;
	regex->code = regex_compile(route->regex, &error, &at);
	if (!regex->code)
		return -ENOMEM; /* it was compiled once when the configuration was checked */
	regex->route = index;
	words->regexes_len++;
	return 0;
}

static int words_fill(struct words *words, const struct config_listener *listener)
{
	words->starts = calloc(listener->routes_len, sizeof(*words->starts));
	words->regexes = calloc(listener->routes_len, sizeof(*words->regexes));
	words->limits = pcre2_match_context_create(NULL);
	if (!words->starts || !words->regexes || !words->limits)
		return -ENOMEM;
	pcre2_set_match_limit(words->limits, REGEX_STEPS_MAX);
	pcre2_set_heap_limit(words->limits, REGEX_HEAP_KB);
	for (uint32_t i = 0; i < listener->routes_len; i++)
		if (words_add(words, &listener->routes[i], i) < 0)
			return -ENOMEM;
	qsort(words->starts, words->starts_len, sizeof(*words->starts), word_compare);
	for (uint32_t i = 0; i < words->starts_len; i++)
		word_link(words->starts, i);
	return 0;
}

int words_new(const struct config_listener *listener, struct words **out)
{
	bool any = false;

	*out = NULL;
	for (unsigned int i = 0; i < listener->routes_len; i++)
		any |= listener->routes[i].starts || listener->routes[i].regex;
	if (!any)
		return 0;
	*out = calloc(1, sizeof(**out));
	if (*out && words_fill(*out, listener) == 0)
		return 0;
	words_free(*out);
	*out = NULL;
	return -ENOMEM;
}

void words_free(struct words *words)
{
	if (!words)
		return;
	for (uint32_t i = 0; i < words->regexes_len; i++)
		pcre2_code_free(words->regexes[i].code);
	pcre2_match_context_free(words->limits);
	free(words->regexes);
	free(words->starts);
	free(words);
}

/* ---- asking ---- */

/* The first word that sorts behind the bytes is the first that they are a beginning of, if any is. */
enum peek_answer words_start(const struct words *words, const uint8_t *bytes, size_t len,
			     unsigned int *route)
{
	uint32_t low = 0, high = words->starts_len, i;
	const struct word *next;

	if (!len)
		return high ? PEEK_MORE : PEEK_OTHER;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct word *word = &words->starts[middle];

		if (bytes_compare(word->bytes, word->len, bytes, len) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	next = &words->starts[low];
	if (low < words->starts_len && next->len > len && !memcmp(next->bytes, bytes, len))
		return PEEK_MORE;
	for (i = low - 1; i != NO_WORD; i = words->starts[i].shorter) {
		if (!word_begins(&words->starts[i], bytes, len))
			continue;
		*route = words->starts[i].route;
		return PEEK_FOUND;
	}
	return PEEK_OTHER;
}

/* A hard partial match: wherever one byte more would have been looked at, it is waited for. */
enum peek_answer words_match(const struct words *words, const uint8_t *bytes, size_t len,
			     unsigned int *route, enum ladon_reason *reason)
{
	uint32_t options = len < REGEX_BYTES_MAX ? PCRE2_PARTIAL_HARD : 0;

	if (len > REGEX_BYTES_MAX)
		len = REGEX_BYTES_MAX;
	for (uint32_t i = 0; i < words->regexes_len; i++) {
		int rc = regex_ask(words->regexes[i].code, bytes, len, options, words->limits);

		if (rc == PCRE2_ERROR_PARTIAL)
			return PEEK_MORE;
		if (rc >= 0) {
			*route = words->regexes[i].route;
			return PEEK_FOUND;
		}
		if (rc != PCRE2_ERROR_NOMATCH) {
			*reason = rc == PCRE2_ERROR_NOMEMORY ? LADON_REASON_NO_MEMORY
							     : LADON_REASON_REGEX_LIMIT;
			return PEEK_BAD;
		}
	}
	return PEEK_OTHER;
}
