// SPDX-License-Identifier: GPL-2.0-only
#include "privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/own.h"

static const cap_value_t lasting[] = { CAP_NET_BIND_SERVICE, CAP_NET_ADMIN };

static bool is_permitted(cap_t caps, cap_value_t cap)
{
	cap_flag_value_t value = CAP_CLEAR;

	return cap_get_flag(caps, cap, CAP_PERMITTED, &value) == 0 && value == CAP_SET;
}

static bool may_change_user(void)
{
	cap_t caps = cap_get_proc();
	bool may = caps && is_permitted(caps, CAP_SETUID) && is_permitted(caps, CAP_SETGID);

	cap_free(caps);
	return may;
}

static int user_find(const char *name, struct privilege *out)
{
	const struct passwd *user = getpwnam(name);

	if (!user) {
		log_err("user: no user is named \"%s\"", name);
		return -ENOENT;
	}
	if (user->pw_uid == geteuid())
		return 0;
	if (!may_change_user() && geteuid() == 0) {
		log_err("user: to become %s takes CAP_SETUID and CAP_SETGID", name);
		return -EPERM;
	}
	if (!may_change_user()) {
		log_warn("user: to become %s takes root's rights; going on as user %u", name,
			 geteuid());
		return 0;
	}
	out->change = true;
	out->name = name;
	out->uid = user->pw_uid;
	out->gid = user->pw_gid;
	return 0;
}

static int group_find(const char *name, gid_t *out)
{
	const struct group *group = getgrnam(name);

	if (!group) {
		log_err("control-group: no group is named \"%s\"", name);
		return -ENOENT;
	}
	*out = group->gr_gid;
	return 0;
}

int privilege_find(const struct config *config, struct privilege *out)
{
	int rc = 0;

	*out = (struct privilege){ .uid = geteuid(), .gid = getegid(), .control_gid = NO_GROUP };
	if (config->user)
		rc = user_find(config->user, out);
	if (rc == 0 && config->control_group)
		rc = group_find(config->control_group, &out->control_gid);
	return rc;
}

void privilege_leave_file(const struct privilege *who, const char *path)
{
	_close_ int fd = -1;

	if (who->change)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd >= 0 && fchown(fd, who->uid, who->gid) < 0)
		unlink(path);
}

/* Capabilities that are permitted outlive the change only if asked to. */
static int user_change(const struct privilege *who)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || initgroups(who->name, who->gid) < 0 ||
	    setresgid(who->gid, who->gid, who->gid) < 0 ||
	    setresuid(who->uid, who->uid, who->uid) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* Nothing is inheritable, and with that nothing ambient: what ladond runs has no rights. */
static int caps_keep(bool handoff)
{
	cap_t now = cap_get_proc(), then = cap_init();
	int rc = now && then ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < sizeof(lasting) / sizeof(lasting[0]); i++) {
		if (!is_permitted(now, lasting[i]) || (lasting[i] == CAP_NET_ADMIN && !handoff))
			continue;
		if (cap_set_flag(then, CAP_PERMITTED, 1, &lasting[i], CAP_SET) < 0 ||
		    cap_set_flag(then, CAP_EFFECTIVE, 1, &lasting[i], CAP_SET) < 0)
			rc = -errno;
	}
	if (rc == 0 && cap_set_proc(then) < 0)
		rc = -errno;
	cap_free(now);
	cap_free(then);
	return rc;
}

int privilege_drop(const struct privilege *who, bool handoff)
{
	int rc = who->change ? user_change(who) : 0;

	if (rc == 0)
		rc = caps_keep(handoff);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = -errno;
	return rc;
}
