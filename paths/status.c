// SPDX-License-Identifier: GPL-2.0-only
#include "status.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>

/* '#' is a digit, '*' one but 0, '$' what ends a status: a reason may follow, or be missing */
static const char form[] = "HTTP/1.# *##$";
_Static_assert(sizeof(form) - 1 == STATUS_BYTES, "a form for each byte");

static bool fits(char want, uint8_t byte)
{
	switch (want) {
	case '#':
		return isdigit(byte);
	case '*':
		return isdigit(byte) && byte != '0';
	case '$':
		return byte == ' ' || byte == '\r' || byte == '\n';
	default:
		return byte == (uint8_t)want;
	}
}

int status_read(const uint8_t *bytes, size_t len, unsigned int *out)
{
	if (len > STATUS_BYTES)
		len = STATUS_BYTES;
	for (size_t i = 0; i < len; i++)
		if (!fits(form[i], bytes[i]))
			return -EPROTO;
	if (len < STATUS_BYTES)
		return -EAGAIN;
	*out = (bytes[9] - '0') * 100U + (bytes[10] - '0') * 10U + (bytes[11] - '0');
	return 0;
}
