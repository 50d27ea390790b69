// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * reason.c - words and sentences for the one list of reasons
 */
#include <ctype.h>
#include <stddef.h>

#include "private.h"

static const struct {
	const char *name;
	const char *text;
} reasons[] = {
#define REASON_ROW(kind, word, sentence) [LADON_REASON_##word] = { #word, sentence },
	[LADON_REASON_NONE] = { "NONE", "none" }, LADON_REASONS(REASON_ROW)
#undef REASON_ROW
};
_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == LADON_REASON_COUNT, "one row each");

/* The list is written once, in capitals; people read small letters. */
static char names[LADON_REASON_COUNT][32];

__attribute__((constructor)) static void names_lower(void)
{
	for (size_t r = 0; r < LADON_REASON_COUNT; r++)
		for (size_t i = 0; reasons[r].name[i] && i + 1 < sizeof(names[r]); i++)
			names[r][i] = (char)tolower((unsigned char)reasons[r].name[i]);
}

const char *ladon_reason_name(unsigned int reason)
{
	return reason < LADON_REASON_COUNT ? names[reason] : NULL;
}

const char *ladon_reason_text(unsigned int reason)
{
	return reason < LADON_REASON_COUNT ? reasons[reason].text : NULL;
}
