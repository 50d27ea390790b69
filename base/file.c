// SPDX-License-Identifier: LGPL-2.1-or-later
#include "file.h"

#include <errno.h>
#include <fcntl.h>

#include "own.h"

int file_read(const char *path, size_t max, char **out, size_t *out_len)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_free_ char *text = NULL;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	text = malloc(max); /* pages that are not written cost nothing */
	if (!text)
		return -ENOMEM;
	while (n != 0 && len < max) {
		n = read(fd, text + len, max - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len == max)
		return -EFBIG;
	*out = TAKE_PTR(text);
	*out_len = len;
	return 0;
}
