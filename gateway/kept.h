/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kept.h - bytes that were read from one socket and not yet sent to the other
 */
#ifndef LADON_KEPT_H
#define LADON_KEPT_H

#include <stdint.h>

/* Zeroed, there are none. */
struct kept {
	uint8_t *bytes; /* as large as they are, no larger */
	uint32_t len;
	uint32_t sent; /* of them */
};

/** kept_append() - Return: 0 or -ENOMEM */
int kept_append(struct kept *kept, const uint8_t *bytes, uint32_t len);

/** kept_send() - Return: 0: all are sent; -EAGAIN; or another negative errno of send(2) */
int kept_send(struct kept *kept, int fd);

/** kept_drop() - without the first @len bytes, none of which was sent */
void kept_drop(struct kept *kept, uint32_t len);

void kept_free(struct kept *kept);

#endif
