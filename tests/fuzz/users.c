// SPDX-License-Identifier: GPL-2.0-only
/*
 * users.c - whatever a file of users holds, it is read, or a line and a complaint without control characters
 */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "../../gateway/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct users *users = NULL;
	char why[USERS_WHY_MAX];
	unsigned int line = 0;

	if (users_read((const char *)bytes, len, &users, &line, why) == 0) {
		assert(!users_know(users, "anna", "secret", 1));
		users_drop(users);
		return 0;
	}
	assert(line >= 1 && line <= len + 1);
	for (const char *c = why; *c; c++)
		assert(!iscntrl((unsigned char)*c));
	return 0;
}
