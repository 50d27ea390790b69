// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * programs.c - load the programs, or take those that are pinned
 *
 * Maps are pinned by name in pin_dir and outlive everybody: a second
 * ladon_open() finds them, checks that it knows their layout (layout.h), and loads
 * its programs on top, which then take the place of those that are attached. No
 * packet meets a gap, no flow notices.
 *
 * Programs are pinned, too, and beside them the list of what was loaded, and by which build.
 * The verifier takes a third of a second to agree to them, and a second time it would find nothing else:
 * so if this very build has loaded all that is pinned, it is used as it is, and a daemon
 * that was killed is back at once. The kernel gives no id twice. So what was pinned under one of
 * the names since, by hand or by another build, is not what the list says, and all are loaded.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/version.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/own.h"
#include "ladon.skel.h"
#include "layout.h"
#include "private.h"

#define LIST_MAP "ladon_loaded"

/* Everything that is pinned, and where its descriptor belongs */
static const struct part {
	const char *name;
	size_t at;
	bool is_program;
} parts[] = {
#define PROGRAM(name)                                                                              \
	{                                                                                          \
		"ladon_" #name, offsetof(struct ladon, name##_fd), true                            \
	}
#define MAP(name)                                                                                  \
	{                                                                                          \
		"ladon_" #name, offsetof(struct ladon, name##_fd), false                           \
	}
	PROGRAM(ingress), PROGRAM(egress),   PROGRAM(local), PROGRAM(enter), PROGRAM(icmp),
	PROGRAM(probe),	  PROGRAM(leave),    PROGRAM(tell),  PROGRAM(cross), PROGRAM(cross_icmp),
	PROGRAM(deliver), PROGRAM(activate), PROGRAM(edit),  PROGRAM(look),  PROGRAM(reap),
	PROGRAM(ask),	  MAP(flows),	     MAP(live),	     MAP(events),    MAP(counters),
	MAP(guards),	  MAP(interfaces),   MAP(jumps),     MAP(hops),	     MAP(limits),
#undef PROGRAM
#undef MAP
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

/**
 * struct list - what was loaded: the value of the pinned map ladon_loaded
 * @build: the hash of the object file
 * @kernel: LINUX_VERSION_CODE of the running one
 * @out_from: as the programs have it, see datapath/out.h
 * @ids: of parts[]
 */
struct list {
	uint64_t build;
	uint32_t kernel;
	uint32_t out_from;
	uint32_t ids[PARTS];
};

static int *part_fd(struct ladon *ladon, const struct part *part)
{
	return (int *)((char *)ladon + part->at);
}

/* Return: 0: the kernel does not tell; it gives no object this id */
static uint32_t part_id(const struct part *part, int fd)
{
	struct bpf_prog_info program = { 0 };
	struct bpf_map_info map = { 0 };
	uint32_t len = part->is_program ? sizeof(program) : sizeof(map);

	if (bpf_obj_get_info_by_fd(fd, part->is_program ? (void *)&program : &map, &len) < 0)
		return 0;
	return part->is_program ? program.id : map.id;
}

/* ---- the list ---- */

/* FNV-1a of the object file: it tells builds apart, and need not withstand anybody. */
static uint64_t build_hash(void)
{
	uint64_t hash = 0xcbf29ce484222325;
	size_t len;
	const uint8_t *elf = ladon_bpf__elf_bytes(&len);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ elf[i]) * 0x100000001b3;
	return hash;
}

/* One of another size is another build's. Return: false: there is none that we can use */
static bool list_read(const struct ladon *ladon, struct list *list)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), zero = 0;
	char path[PIN_PATH_BYTES];
	_close_ int fd = -1;

	pin_path(path, ladon->pin_dir, LIST_MAP);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	       info.value_size == sizeof(*list) && bpf_map_lookup_elem(fd, &zero, list) == 0;
}

/* A new map each time: it is pinned when it says the truth, and not before. */
static int list_write(struct ladon *ladon, uint32_t kernel)
{
	struct list list = { .build = build_hash(), .kernel = kernel, .out_from = ladon->vrf };
	_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, LIST_MAP, sizeof(uint32_t),
					sizeof(list), 1, NULL);
	uint32_t zero = 0;
	char path[PIN_PATH_BYTES];
	int rc = fd < 0 ? fd : 0;

	for (size_t i = 0; i < PARTS; i++)
		list.ids[i] = part_id(&parts[i], *part_fd(ladon, &parts[i]));
	if (rc == 0)
		rc = bpf_map_update_elem(fd, &zero, &list, BPF_ANY);
	pin_path(path, ladon->pin_dir, LIST_MAP);
	if (rc == 0 && unlink(path) < 0 && errno != ENOENT)
		rc = -errno;
	if (rc == 0 && bpf_obj_pin(fd, path) < 0)
		rc = -errno;
	return rc;
}

/* ---- taking ---- */

static bool part_get(struct ladon *ladon, const struct part *part, uint32_t id)
{
	char path[PIN_PATH_BYTES];
	int fd;

	pin_path(path, ladon->pin_dir, part->name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	*part_fd(ladon, part) = fd;
	return id && part_id(part, fd) == id;
}

static void parts_drop(struct ladon *ladon)
{
	for (size_t i = 0; i < PARTS; i++) {
		int *fd = part_fd(ladon, &parts[i]);

		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
}

/* Return: false: they are to be loaded; nothing has happened */
static bool parts_take(struct ladon *ladon, uint32_t *kernel)
{
	struct list list;

	if (!layout_is_known(ladon->pin_dir) || !list_read(ladon, &list) ||
	    list.build != build_hash() || list.out_from != ladon->vrf)
		return false;
	for (size_t i = 0; i < PARTS; i++) {
		if (!part_get(ladon, &parts[i], list.ids[i])) {
			parts_drop(ladon);
			return false;
		}
	}
	*kernel = list.kernel;
	return true;
}

/* ---- loading ---- */

/* libbpf has one printer per process; while we load, it is ours. */
static _Thread_local const struct ladon *loading;

static int libbpf_say(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char text[512];

	if (!loading || level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	ladon_say(loading, LADON_LEVEL_DEBUG, "%s", text);
	return 0;
}

static int load_failed(const struct ladon *ladon, int rc)
{
	const char *hint = "";

	if (rc == -EPERM || rc == -EACCES)
		hint = " (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)";
	ladon_say(ladon, LADON_LEVEL_ERR, "programs: the kernel refused them: %s%s", strerror(-rc),
		  hint);
	if (rc == -EPERM)
		return -EPERM;
	return rc == -ENOMEM ? -ENOMEM : -EOPNOTSUPP;
}

/* libbpf has pinned the maps. The object closes its descriptors; ours stay. */
static int part_keep(struct ladon *ladon, const struct part *part, const struct bpf_object *obj)
{
	int loaded = part->is_program
			     ? bpf_program__fd(bpf_object__find_program_by_name(obj, part->name))
			     : bpf_object__find_map_fd_by_name(obj, part->name);
	int *fd = part_fd(ladon, part);
	char path[PIN_PATH_BYTES];

	*fd = dup(loaded);
	if (*fd < 0)
		return -errno;
	if (!part->is_program)
		return 0;
	pin_path(path, ladon->pin_dir, part->name);
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(*fd, path) < 0 ? -errno : 0;
}

/* It is held against what is pinned before it is loaded: a refusal changes nothing. */
static int skeleton_load(struct ladon *ladon, struct ladon_bpf *skel)
{
	int rc;

	if (ladon->vrf)
		skel->rodata->out_from = ladon->vrf;
	bpf_map__set_max_entries(skel->maps.ladon_flows, ladon->options.flows_max * 2);
	rc = layout_check(ladon, skel->obj);
	if (rc < 0)
		return rc;
	rc = ladon_bpf__load(skel);
	if (rc < 0)
		return load_failed(ladon, rc);
	for (size_t i = 0; i < PARTS && rc == 0; i++)
		rc = part_keep(ladon, &parts[i], skel->obj);
	return rc;
}

static int parts_load(struct ladon *ladon, uint32_t *kernel)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = ladon->pin_dir);
	struct ladon_bpf *skel = ladon_bpf__open_opts(&opts);
	int rc;

	if (!skel)
		return load_failed(ladon, -errno);
	rc = skeleton_load(ladon, skel);
	if (rc == 0)
		*kernel = (uint32_t)skel->kconfig->LINUX_KERNEL_VERSION;
	ladon_bpf__destroy(skel);
	return rc;
}

/* ---- */

/*
 * Those that are attached jump to those that are not. To ladon_deliver only if somebody asks for
 * that: lib/foreign.c.
 */
static int programs_join(const struct ladon *ladon)
{
	const int fds[LADON_JUMPS] = {
		[LADON_JUMP_ENTER] = ladon->enter_fd,
		[LADON_JUMP_ICMP] = ladon->icmp_fd,
		[LADON_JUMP_LEAVE] = ladon->leave_fd,
		[LADON_JUMP_TELL] = ladon->tell_fd,
		[LADON_JUMP_CROSS] = ladon->cross_fd,
		[LADON_JUMP_CROSS_ICMP] = ladon->cross_icmp_fd,
		[LADON_JUMP_PROBE] = ladon->probe_fd,
	};
	int rc = 0;

	for (uint32_t i = 0; i < LADON_JUMPS && rc == 0; i++)
		if (fds[i])
			rc = bpf_map_update_elem(ladon->jumps_fd, &i, &fds[i], BPF_ANY);
		else
			bpf_map_delete_elem(ladon->jumps_fd, &i);
	return rc;
}

/* What datapath/ctx_tc.h does without on this kernel. */
static void kernel_lacks_say(const struct ladon *ladon, uint32_t kernel)
{
	if (kernel < KERNEL_VERSION(6, 2, 0))
		ladon_say(ladon, LADON_LEVEL_INFO,
			  "Linux before 6.2: no remembered next hops, no direct checksums; "
			  "each packet costs more");
}

int programs_load(struct ladon *ladon)
{
	libbpf_print_fn_t printer = libbpf_set_print(libbpf_say);
	bool is_loaded;
	uint32_t kernel = 0;
	int rc = 0;

	loading = ladon;
	is_loaded = parts_take(ladon, &kernel);
	if (!is_loaded)
		rc = parts_load(ladon, &kernel);
	if (rc == 0)
		rc = layout_write(ladon);
	if (rc == 0)
		rc = programs_join(ladon);
	if (rc == 0 && !is_loaded)
		rc = list_write(ladon, kernel);
	loading = NULL;
	libbpf_set_print(printer);
	if (rc == 0)
		kernel_lacks_say(ladon, kernel);
	return rc == -EACCES ? -EPERM : rc;
}
