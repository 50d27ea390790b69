/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * privilege.h - what ladond may do once it has started
 *
 * Nearly nothing of what the start needs is needed later. Programs and maps are
 * reached by descriptors, which the kernel checks when they are made (since
 * 5.19 also where unprivileged BPF is switched off), and the raw sockets are
 * open. What remains:
 *
 *	CAP_NET_ADMIN		TCP_REPAIR, by which sockets vanish; programs on
 *				interfaces that come later
 *	CAP_NET_BIND_SERVICE	listeners below port 1024
 */
#ifndef LADON_PRIVILEGE_H
#define LADON_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "config.h"

/**
 * struct privilege - who ladond is to be
 * @change: to another user than now, with the privilege to do so
 * @name: the user's, for initgroups(3)
 * @uid, @gid: with @change the user's; else what they are
 * @control_gid: whose members may use the control socket; NO_GROUP: nobody's
 */
struct privilege {
	bool change;
	const char *name;
	uid_t uid;
	gid_t gid;
	gid_t control_gid;
};

#define NO_GROUP ((gid_t)-1)

/**
 * privilege_find() - look up config->user and config->control_group
 *
 * Started by another user than root, ladond stays who it is, and says so if the
 * configuration names somebody else; root that cannot change gives up.
 *
 * Return: 0, or as was said, -ENOENT: no such user or group; -EPERM: root may not change.
 */
int privilege_find(const struct config *config, struct privilege *out);

/**
 * privilege_leave_file() - an empty file for the user, unless there is one
 * @path: perhaps in a directory where only root may make it: /var/log/ladon of the
 *	shipped service
 *
 * Call it before privilege_drop(). Errors are left to whoever opens it.
 */
void privilege_leave_file(const struct privilege *who, const char *path);

/**
 * privilege_drop() - become that user, keep what is needed later, and gain nothing any more
 * @handoff: connections are handed off
 *
 * Call it while the process has one thread: capabilities are a thread's own.
 *
 * Return: 0 or a negative errno.
 */
int privilege_drop(const struct privilege *who, bool handoff);

#endif
