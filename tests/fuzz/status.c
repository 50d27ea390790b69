// SPDX-License-Identifier: GPL-2.0-only
/*
 * status.c - the beginning of an HTTP answer, whatever a backend sends
 *
 * An answer other than -EAGAIN is final, so it does not matter how TCP cut the
 * bytes; it comes within STATUS_BYTES; and it is what sscanf(3) makes of them.
 * Each length gets a heap copy of its own.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../paths/status.h"

static void must(int holds)
{
	if (!holds)
		abort();
}

static void check_status(const uint8_t *bytes, unsigned int status)
{
	unsigned int minor, read;
	char text[STATUS_BYTES + 1] = "";

	memcpy(text, bytes, STATUS_BYTES);
	must(sscanf(text, "HTTP/1.%1u %3u", &minor, &read) == 2);
	must(read == status && status >= 100 && status <= 999);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	int final = -EAGAIN;

	for (size_t cut = 0; cut <= len && cut <= STATUS_BYTES + 2; cut++) {
		_free_ uint8_t *copy = malloc(cut + !cut);
		unsigned int status = 0;
		int rc;

		memcpy(copy, bytes, cut);
		rc = status_read(copy, cut, &status);
		must(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
		must(final == -EAGAIN || rc == final);
		must(rc != -EAGAIN || cut < STATUS_BYTES);
		if (rc == 0)
			check_status(copy, status);
		final = rc;
	}
	return 0;
}
