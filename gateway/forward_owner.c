// SPDX-License-Identifier: GPL-2.0-only
#include "forward_owner.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/own.h"

/* Without a path: the name begins with a NUL, and its length is its end */
static const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0ladon-forward" };
#define NAME_BYTES (offsetof(struct sockaddr_un, sun_path) + sizeof("\0ladon-forward") - 1)

/* Nobody accepts: when strangers have filled the queue, it is nobody's word against another's, and false. */
static bool is_ladond(void)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct ucred who;
	socklen_t len = sizeof(who);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&name, NAME_BYTES) < 0)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	if (who.uid == 0 || who.uid == geteuid())
		return true;
	log_warn("forwards: user %u, process %d, has the name @ladon-forward and is ignored",
		 who.uid, who.pid);
	return false;
}

int forward_owner_take(int *out)
{
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&name, NAME_BYTES) == 0) {
		if (listen(fd, SOMAXCONN) < 0)
			return -errno;
		*out = TAKE_FD(fd);
		return 0;
	}
	if (errno != EADDRINUSE)
		return -errno;
	if (is_ladond())
		return -EBUSY;
	*out = -1;
	return 0;
}
