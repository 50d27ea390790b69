// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * cleanup.c - take everything off that ladon left in the kernel, and nothing else
 *
 * A filter is ladon's if it is at ladon's priority and handle and its program
 * has ladon's name and uses the maps that are pinned; if none is, the name must do.
 * A qdisc is, if ladon_interfaces says that ladon made it, and goes only when no
 * filter of anybody is left in it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/magic.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../base/own.h"
#include "foreign.h"
#include "layout.h"
#include "private.h"
#include "stack.h"

#define PROGRAM_MAPS 32 /* more than any program of ours uses */

/* ---- filters ---- */

/* Each program uses one of these, that of every version. */
struct ours {
	uint32_t flows_id, guards_id, jumps_id; /* of maps; 0: not pinned */
};

static uint32_t map_id(const char *dir, const char *name)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	_close_ int fd = -1;
	char path[PIN_PATH_BYTES];

	pin_path(path, dir, name);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

static bool program_is_ours(uint32_t id, const struct ours *ours)
{
	_close_ int fd = bpf_prog_get_fd_by_id(id);
	uint32_t maps[PROGRAM_MAPS];
	struct bpf_prog_info info = { .nr_map_ids = PROGRAM_MAPS,
				      .map_ids = (uint64_t)(uintptr_t)maps };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ||
	    (strcmp(info.name, "ladon_ingress") != 0 && strcmp(info.name, "ladon_egress") != 0 &&
	     strcmp(info.name, "ladon_local") != 0))
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAPS; i++)
		if (maps[i] == ours->flows_id || maps[i] == ours->guards_id ||
		    maps[i] == ours->jumps_id)
			return true;
	return !ours->flows_id && !ours->guards_id;
}

/* Return: 0, also if nothing of ladon's is there; or a negative errno */
static int point_detach(const struct ours *ours, int ifindex, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, found, .priority = TC_PRIORITY, .handle = TC_HANDLE);
	LIBBPF_OPTS(bpf_tc_opts, gone, .priority = TC_PRIORITY, .handle = TC_HANDLE);

	if (bpf_tc_query(&hook, &found) < 0 || !program_is_ours(found.prog_id, ours))
		return 0;
	return bpf_tc_detach(&hook, &gone);
}

/* ---- qdiscs ---- */

static int filter_seen(const struct nlmsghdr *nlh, void *arg)
{
	bool *any = arg;

	*any |= nlh->nlmsg_type == RTM_NEWTFILTER;
	return MNL_CB_OK;
}

/* Return: 0, with @any set if there is one; or a negative errno */
static int filters_look(struct mnl_socket *netlink, int ifindex, uint32_t parent, bool *any)
{
	char buf[16384]; /* NLMSG_GOODSIZE */
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct tcmsg *tc;
	ssize_t n;

	nlh->nlmsg_type = RTM_GETTFILTER;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex;
	tc->tcm_parent = parent;
	if (mnl_socket_sendto(netlink, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(netlink, buf, sizeof(buf));
		if (n < 0)
			return -errno;
	} while (mnl_cb_run(buf, (size_t)n, 0, 0, filter_seen, any) > MNL_CB_STOP);
	return 0;
}

/* With both points the whole qdisc goes. */
int qdisc_remove(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	bool any = false;
	int rc;

	if (!netlink)
		return -errno;
	rc = mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (rc == 0)
		rc = filters_look(netlink, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), &any);
	if (rc == 0)
		rc = filters_look(netlink, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), &any);
	mnl_socket_close(netlink);
	if (rc < 0 || any)
		return rc;
	rc = bpf_tc_hook_destroy(&hook);
	return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

/* @interfaces_fd: -1: nobody knows whose the qdisc is */
static int interface_clean(const struct ours *ours, int interfaces_fd, int ifindex)
{
	int rc = point_detach(ours, ifindex, BPF_TC_INGRESS), err;
	uint8_t qdisc = LADON_QDISC_FOUND;

	err = point_detach(ours, ifindex, BPF_TC_EGRESS);
	rc = rc < 0 ? rc : err;
	if (interfaces_fd >= 0)
		bpf_map_lookup_elem(interfaces_fd, &ifindex, &qdisc);
	if (rc == 0 && qdisc == LADON_QDISC_MADE)
		rc = qdisc_remove(ifindex);
	return rc;
}

static int interfaces_clean(const char *dir)
{
	const struct ours ours = { map_id(dir, "ladon_flows"), map_id(dir, "ladon_guards"),
				   map_id(dir, "ladon_jumps") };
	struct if_nameindex *all = if_nameindex();
	_close_ int fd = -1;
	char path[PIN_PATH_BYTES];
	int rc = 0;

	if (!all)
		return -errno;
	pin_path(path, dir, "ladon_interfaces");
	fd = bpf_obj_get(path);
	for (const struct if_nameindex *i = all; i->if_index; i++) {
		int err = interface_clean(&ours, fd, (int)i->if_index);

		rc = rc < 0 ? rc : err;
	}
	if_freenameindex(all);
	return rc;
}

/* ---- conntrack table and pins ---- */

/* A table of another layout has no such flows, as far as this version knows. */
static int table_clean(const char *dir)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	_close_ int fd = -1;
	char path[PIN_PATH_BYTES];

	pin_path(path, dir, "ladon_flows");
	fd = bpf_obj_get(path);
	if (fd < 0 || !layout_is_known(dir) || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 ||
	    info.key_size != sizeof(struct ladon_flow_key) ||
	    info.value_size != sizeof(struct ladon_entry))
		return stack_cleanup(-1);
	return stack_cleanup(fd);
}

/* By what their names begin with: another version may have pinned more than this one knows. */
static int pins_remove(const char *dir)
{
	DIR *pins = opendir(dir);
	const struct dirent *pin;
	int rc = 0;

	if (!pins)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while ((pin = readdir(pins)))
		if (strncmp(pin->d_name, "ladon_", 6) == 0 &&
		    unlinkat(dirfd(pins), pin->d_name, 0) < 0 && rc == 0)
			rc = -errno;
	closedir(pins);
	return rc;
}

/*
 * A file system that ladon mounted has its root there, and the mode that pin_dir_open() gave it, to which
 * the kernel adds the sticky bit (kernel/bpf/inode.c).
 */
static bool mount_is_ours(const char *dir)
{
	char above_path[512];
	struct stat here, above;
	struct statfs fs;

	snprintf(above_path, sizeof(above_path), "%s/..", dir);
	return statfs(dir, &fs) == 0 && fs.f_type == BPF_FS_MAGIC && stat(dir, &here) == 0 &&
	       stat(above_path, &above) == 0 && here.st_dev != above.st_dev &&
	       (here.st_mode & 0777) == 0700;
}

/* Of a BPF file system: names with a dot are the kernel's own there, as maps.debug (kernel/bpf/inode.c). */
static bool is_empty(const char *dir)
{
	DIR *entries = opendir(dir);
	const struct dirent *entry;

	if (!entries)
		return false;
	while ((entry = readdir(entries)) && strchr(entry->d_name, '.'))
		;
	closedir(entries);
	return !entry;
}

/* Whatever else is in the directory keeps it. */
static void directory_remove(const char *dir)
{
	if (mount_is_ours(dir) && is_empty(dir))
		umount2(dir, UMOUNT_NOFOLLOW);
	rmdir(dir);
}

/* All but the directory */
static int everything_remove(const char *dir)
{
	libbpf_print_fn_t printer = libbpf_set_print(NULL); /* it would print what is not there */
	int rc = interfaces_clean(dir), err;

	libbpf_set_print(printer);
	err = table_clean(dir);
	rc = rc < 0 ? rc : err;
	err = foreign_cleanup();
	rc = rc < 0 ? rc : err;
	err = pins_remove(dir);
	rc = rc < 0 ? rc : err;
	err = forward_undo();
	return rc < 0 ? rc : err;
}

int ladon_cleanup(const char *pin_dir)
{
	const char *dir = pin_dir ? pin_dir : PIN_DIR;
	int lock_fd = pins_lock(dir), rc;

	if (lock_fd == -EBUSY)
		return lock_fd;
	rc = everything_remove(dir);
	if (lock_fd >= 0)
		close(lock_fd); /* what is open is not unmounted */
	if (rc == 0)
		directory_remove(dir);
	return rc;
}
