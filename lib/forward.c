// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * forward.c - let the loopback device forward, so that a program may ask for routes
 *
 * bpf_fib_lookup() answers only for a device with forwarding on, and BPF_FIB_LOOKUP_OUTPUT
 * changes nothing about that. Asked for lo, where nothing comes in that is not this
 * machine's own, it answers as for a socket. So forwarding is switched on
 * for lo and no other device, which forwards nothing. It stays so as long as flows do,
 * which outlive the process. The value is 2, as good as 1 to the kernel: by that
 * forward_undo() knows whose it is.
 *
 * When forwarding is switched on for any device, Linux forgets the IPv6 default routes that
 * it has from router advertisements (rt6_purge_dflt_routers()), though other devices still
 * hear them. So where there are any, IPv6 is left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

#define OURS '2'

/* include/uapi/linux/route.h: learnt from a router */
#define ROUTE_DEFAULT 0x00010000

static const char *const settings[] = { "/proc/sys/net/ipv4/conf/lo/forwarding",
					"/proc/sys/net/ipv6/conf/lo/forwarding" };
enum {
	IP4,
	IP6,
	FAMILIES,
};

/* Return: 0 where the family is switched off in this kernel */
static char setting_read(int family)
{
	FILE *file = fopen(settings[family], "re");
	int value = file ? fgetc(file) : 0;

	if (file)
		fclose(file);
	return value == EOF ? 0 : (char)value;
}

static int setting_write(int family, char value)
{
	FILE *file = fopen(settings[family], "we");
	int rc = 0;

	if (!file)
		return -errno;
	if (fputc(value, file) == EOF)
		rc = -errno;
	if (fclose(file) == EOF && rc == 0)
		rc = -errno;
	return rc;
}

static bool has_advertised_routes(void)
{
	FILE *file = fopen("/proc/net/ipv6_route", "re");
	unsigned int flags;
	bool has = false;

	/* destination, source, gateway, metric, references, uses, flags, device */
	while (file && !has && fscanf(file, "%*s %*s %*s %*s %*s %*s %*s %*s %x %*s", &flags) == 1)
		has = flags & ROUTE_DEFAULT;
	if (file)
		fclose(file);
	return has;
}

void forward_allow(struct ladon *ladon)
{
	for (int family = 0; family < FAMILIES; family++) {
		int rc;

		if (setting_read(family) != '0')
			continue;
		if (family == IP6 && has_advertised_routes()) {
			ladon_say(ladon, LADON_LEVEL_WARN,
				  "%s stays 0: Linux would forget the default routes that it "
				  "has from router advertisements",
				  settings[family]);
			continue;
		}
		rc = setting_write(family, OURS);
		if (rc < 0)
			ladon_say(ladon, LADON_LEVEL_WARN, "%s: %s", settings[family],
				  strerror(-rc));
	}
}

int forward_undo(void)
{
	int rc = 0;

	for (int family = 0; family < FAMILIES; family++) {
		int err = setting_read(family) == OURS ? setting_write(family, '0') : 0;

		rc = err < 0 ? err : rc;
	}
	return rc;
}
