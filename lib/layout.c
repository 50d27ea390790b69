// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * layout.c - compare versions and sizes of pinned maps, replace those that hold no flows
 *
 * Until layout_settle() everything that is pinned stays under its name, so that
 * a start that fails half-way leaves the former build what it needs. A map of
 * programs above all: the kernel empties it when its last pin is gone, even if
 * attached programs still jump through it.
 */
#include "layout.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/own.h"
#include "private.h"

#define VERSION_MAP "ladon_layout"

/* Maps that no flow depends on, and what is lost with them. All others must be fit. */
static const struct {
	const char *name, *loss;
} replaceable[] = {
	{ "ladon_counters", "packet counters begin at 0" },
	{ "ladon_events", "ends that nobody has read yet are found by looking" },
	{ "ladon_interfaces", "a clsact qdisc that ladon made will stay" },
	{ "ladon_jumps", "nothing" },
};

static void successor_path(char *out, const char *dir, const char *name)
{
	snprintf(out, PIN_PATH_BYTES, "%s/%s_new", dir, name);
}

/* ---- the version ---- */

/* Return: 0, with @out 0 if there are no flows that could have one; or a negative errno */
static int version_read(const char *dir, uint32_t *out)
{
	_close_ int flows_fd = -1;
	_close_ int fd = -1;
	uint32_t zero = 0;
	char path[PIN_PATH_BYTES];

	*out = 0;
	pin_path(path, dir, "ladon_flows");
	flows_fd = bpf_obj_get(path);
	if (flows_fd < 0)
		return flows_fd == -ENOENT ? 0 : flows_fd;
	pin_path(path, dir, VERSION_MAP);
	fd = bpf_obj_get(path);
	if (fd == -ENOENT) {
		*out = LADON_ABI_UNWRITTEN;
		return 0;
	}
	return fd < 0 ? fd : bpf_map_lookup_elem(fd, &zero, out);
}

static bool version_is_known(uint32_t version)
{
	return version == 0 || (version >= LADON_ABI_OLDEST && version <= LADON_ABI);
}

bool layout_is_known(const char *pin_dir)
{
	uint32_t version;

	return version_read(pin_dir, &version) == 0 && version_is_known(version);
}

static int version_create(const char *path, int *out)
{
	_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, VERSION_MAP, sizeof(uint32_t),
					sizeof(uint32_t), 1, NULL);

	if (fd < 0)
		return fd;
	if (bpf_obj_pin(fd, path) < 0)
		return -errno;
	*out = TAKE_FD(fd);
	return 0;
}

int layout_write(const struct ladon *ladon)
{
	const uint32_t zero = 0, version = LADON_ABI;
	char path[PIN_PATH_BYTES];
	_close_ int fd = -1;

	pin_path(path, ladon->pin_dir, VERSION_MAP);
	fd = bpf_obj_get(path);
	if (fd == -ENOENT) {
		int rc = version_create(path, &fd);

		if (rc < 0)
			return rc;
	}
	return fd < 0 ? fd : bpf_map_update_elem(fd, &zero, &version, BPF_ANY);
}

/* ---- maps ---- */

__attribute__((format(printf, 2, 3))) static int refuse(const struct ladon *ladon, const char *fmt,
							...)
{
	char found[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(found, sizeof(found), fmt, args);
	va_end(args);
	ladon_say(ladon, LADON_LEVEL_ERR,
		  "%s holds flows of %s, and this version takes layouts %u to %u: go on with the "
		  "version that made them, or end them with ladond --cleanup",
		  ladon->pin_dir, found, LADON_ABI_OLDEST, LADON_ABI);
	return -EBUSY;
}

/* Return: 0, -ENOENT: nothing is pinned there, or another negative errno */
static int pinned_info(const char *path, struct bpf_map_info *info)
{
	_close_ int fd = bpf_obj_get(path);
	uint32_t len = sizeof(*info);

	if (fd < 0)
		return fd;
	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

/* What libbpf asks for before it takes a pinned map over. */
static bool map_fits(const struct bpf_map *map, const struct bpf_map_info *info)
{
	return bpf_map__type(map) == info->type && bpf_map__key_size(map) == info->key_size &&
	       bpf_map__value_size(map) == info->value_size &&
	       bpf_map__max_entries(map) == info->max_entries &&
	       bpf_map__map_flags(map) == info->map_flags;
}

static bool map_is_replaceable(const struct bpf_map *map)
{
	for (size_t i = 0; i < sizeof(replaceable) / sizeof(replaceable[0]); i++)
		if (strcmp(bpf_map__name(map), replaceable[i].name) == 0)
			return true;
	return false;
}

/* One that a start that died has left is taken, if it fits. @wanted: else nobody needs it */
static int successor_prepare(const struct ladon *ladon, struct bpf_map *map, bool wanted)
{
	struct bpf_map_info info;
	char path[PIN_PATH_BYTES];
	int rc;

	successor_path(path, ladon->pin_dir, bpf_map__name(map));
	rc = pinned_info(path, &info);
	if (rc == 0 && !(wanted && map_fits(map, &info)) && unlink(path) < 0)
		rc = -errno;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	return wanted ? bpf_map__set_pin_path(map, path) : 0;
}

static int map_check(const struct ladon *ladon, struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	struct bpf_map_info info = { 0 };
	char path[PIN_PATH_BYTES];
	bool fits;
	int rc;

	pin_path(path, ladon->pin_dir, name);
	rc = pinned_info(path, &info);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && strcmp(name, "ladon_flows") == 0)
		bpf_map__set_max_entries(map, info.max_entries);
	fits = rc == -ENOENT || map_fits(map, &info);
	if (map_is_replaceable(map))
		return successor_prepare(ladon, map, !fits);
	if (fits)
		return 0;
	return refuse(ladon,
		      "another %s (type %u, key %u, value %u bytes, %u entries, flags %#x; not "
		      "%u, %u, %u, %u, %#x)",
		      name, info.type, info.key_size, info.value_size, info.max_entries,
		      info.map_flags, bpf_map__type(map), bpf_map__key_size(map),
		      bpf_map__value_size(map), bpf_map__max_entries(map), bpf_map__map_flags(map));
}

int layout_check(const struct ladon *ladon, struct bpf_object *obj)
{
	uint32_t version;
	struct bpf_map *map;
	int rc = version_read(ladon->pin_dir, &version);

	if (rc == 0 && !version_is_known(version))
		return refuse(ladon, "layout %u", version);
	bpf_object__for_each_map(map, obj) if (rc == 0 && bpf_map__pin_path(map)) rc =
		map_check(ladon, map);
	return rc;
}

int layout_settle(const struct ladon *ladon)
{
	char from[PIN_PATH_BYTES], to[PIN_PATH_BYTES];

	for (size_t i = 0; i < sizeof(replaceable) / sizeof(replaceable[0]); i++) {
		successor_path(from, ladon->pin_dir, replaceable[i].name);
		pin_path(to, ladon->pin_dir, replaceable[i].name);
		if (rename(from, to) == 0)
			ladon_say(ladon, LADON_LEVEL_INFO,
				  "%s had another layout and was replaced; lost: %s", to,
				  replaceable[i].loss);
		else if (errno != ENOENT)
			return -errno;
	}
	return 0;
}
