// SPDX-License-Identifier: GPL-2.0-only
#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int kept_append(struct kept *kept, const uint8_t *bytes, uint32_t len)
{
	uint8_t *grown = realloc(kept->bytes, kept->len + len);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + kept->len, bytes, len);
	kept->bytes = grown;
	kept->len += len;
	return 0;
}

int kept_send(struct kept *kept, int fd)
{
	while (kept->sent < kept->len) {
		ssize_t n =
			send(fd, kept->bytes + kept->sent, kept->len - kept->sent, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		kept->sent += (uint32_t)n;
	}
	return 0;
}

void kept_drop(struct kept *kept, uint32_t len)
{
	kept->len -= len;
	if (kept->len)
		memmove(kept->bytes, kept->bytes + len, kept->len);
	else
		kept_free(kept);
}

void kept_free(struct kept *kept)
{
	free(kept->bytes);
	*kept = (struct kept){ 0 };
}
