// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * open.c - the handle's life, and what is everybody's
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "../base/own.h"
#include "conntrack.h"
#include "foreign.h"
#include "layout.h"
#include "learned.h"
#include "private.h"
#include "source.h"
#include "stack.h"

#define FLOWS_MAX	65536
#define FLOWS_MAX_LIMIT (1u << 26)
#define PORT_MIN	10000
#define PORT_MAX	32767
#define TICK_MS		250

#define FDS (sizeof(((struct ladon *)NULL)->fds) / sizeof(int))
_Static_assert(offsetof(struct ladon, lock_fd) ==
		       offsetof(struct ladon, fds) + (FDS - 1) * sizeof(int),
	       "fds[] has a place for each descriptor");

void ladon_say(const struct ladon *ladon, enum ladon_level level, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (!ladon->options.message)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ladon->options.message(ladon->options.arg, level, text);
}

uint64_t ladon_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int ladon_run(int prog_fd, void *data, uint32_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = len, .data_out = data,
		    .data_size_out = len);

	return bpf_prog_test_run_opts(prog_fd, &opts);
}

/* A socket in a VRF is found by what comes in by the VRF's device (net/core/filter.c: sk_lookup()). */
int ladon_run_among_ours(const struct ladon *ladon, int prog_fd, void *data, uint32_t len)
{
	struct __sk_buff skb = { .ifindex = ladon->vrf };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = len, .data_out = data,
		    .data_size_out = len, .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	return ladon->vrf ? bpf_prog_test_run_opts(prog_fd, &opts) : ladon_run(prog_fd, data, len);
}

/* Like mkdir -p; @path is absolute. */
static int dir_make(const char *path)
{
	_free_ char *copy = strdup(path);
	char *slash = copy;

	if (!copy)
		return -ENOMEM;
	do {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (slash)
			*slash = '/';
	} while (slash);
	return 0;
}

void pin_path(char *out, const char *dir, const char *name)
{
	snprintf(out, PIN_PATH_BYTES, "%s/%s", dir, name);
}

int pins_lock(const char *dir)
{
	_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return TAKE_FD(fd);
}

static int pin_dir_lock(struct ladon *ladon)
{
	ladon->lock_fd = pins_lock(ladon->pin_dir);
	if (ladon->lock_fd < 0)
		ladon_say(ladon, LADON_LEVEL_ERR, "pin directory %s: %s", ladon->pin_dir,
			  ladon->lock_fd == -EBUSY ? "another process uses it"
						   : strerror(-ladon->lock_fd));
	return ladon->lock_fd < 0 ? ladon->lock_fd : 0;
}

/* A new mount namespace (ip netns exec) hides /sys/fs/bpf: then mount our own. */
static int pin_dir_open(struct ladon *ladon)
{
	struct statfs fs;
	int rc = dir_make(ladon->pin_dir);

	if (rc == 0 && statfs(ladon->pin_dir, &fs) < 0)
		rc = -errno;
	if (rc == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (rc == 0 && mount("bpf", ladon->pin_dir, "bpf", 0, "mode=0700") < 0)
		rc = -errno;
	if (rc < 0)
		ladon_say(ladon, LADON_LEVEL_ERR, "pin directory %s: no BPF file system: %s",
			  ladon->pin_dir, strerror(-rc));
	return rc;
}

/* What takes the last step of a handoff must be allowed before the first. */
static int repair_check(const struct ladon *ladon)
{
	_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0) {
		ladon_say(ladon, LADON_LEVEL_ERR, "TCP_REPAIR: %s (needs CAP_NET_ADMIN)",
			  strerror(errno));
		return -errno;
	}
	return 0;
}

/* Acknowledgements by hand are a courtesy: without CAP_NET_RAW they are left out. */
static void raw_open(struct ladon *ladon)
{
	int on = 1;

	ladon->raw4_fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (ladon->raw4_fd < 0)
		ladon_say(ladon, LADON_LEVEL_INFO,
			  "raw socket: %s (needs CAP_NET_RAW); a client that is relayed after all "
			  "repeats its first bytes",
			  strerror(errno));
	ladon->raw6_fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (ladon->raw6_fd >= 0)
		setsockopt(ladon->raw6_fd, IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof(on));
}

static int watch(struct ladon *ladon, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(ladon->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int watch_open(struct ladon *ladon)
{
	struct itimerspec tick = { { 0, TICK_MS * 1000000 }, { 0, TICK_MS * 1000000 } };
	int rc;

	ladon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ladon->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ladon->epoll_fd < 0 || ladon->timer_fd < 0)
		return -errno;
	if (timerfd_settime(ladon->timer_fd, 0, &tick, NULL) < 0)
		return -errno;
	rc = watch(ladon, ladon->timer_fd);
	if (rc == 0)
		rc = watch(ladon, links_fd(ladon->links));
	if (rc == 0)
		rc = watch(ladon, ring_buffer__epoll_fd(ladon->events));
	return rc;
}

char **strings_copy(const char *const *names)
{
	size_t len = 0;
	char **copy;

	while (names[len])
		len++;
	copy = calloc(len + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < len; i++)
		copy[i] = strdup(names[i]);
	return copy;
}

void strings_free(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

static int options_copy(struct ladon *ladon, const struct ladon_options *given)
{
	struct ladon_options *o = &ladon->options;

	if (given)
		memcpy(o, given, given->size < sizeof(*o) ? given->size : sizeof(*o));
	o->flows_max = o->flows_max ? o->flows_max : FLOWS_MAX;
	if (!o->port_min && !o->port_max) {
		o->port_min = PORT_MIN;
		o->port_max = PORT_MAX;
	}
	o->quarantine_ms = o->quarantine_ms ? o->quarantine_ms : 500;
	o->linger_ms = o->linger_ms ? o->linger_ms : 1000;
	o->idle_ms = o->idle_ms ? o->idle_ms : 2 * 3600 * 1000;
	o->half_closed_ms = o->half_closed_ms ? o->half_closed_ms : 3600 * 1000;
	if (o->port_min > o->port_max || !o->port_min || o->flows_max > FLOWS_MAX_LIMIT)
		return -EINVAL;
	if (strlen(o->pin_dir ? o->pin_dir : PIN_DIR) >= sizeof(ladon->pin_dir) ||
	    (o->pin_dir && o->pin_dir[0] != '/'))
		return -EINVAL;
	strcpy(ladon->pin_dir, o->pin_dir ? o->pin_dir : PIN_DIR);
	if (o->interfaces) {
		ladon->interfaces = strings_copy(o->interfaces);
		if (!ladon->interfaces)
			return -ENOMEM;
	}
	if (o->sources_len) {
		ladon->source_addrs = calloc(o->sources_len, sizeof(*ladon->source_addrs));
		if (!ladon->source_addrs)
			return -ENOMEM;
		memcpy(ladon->source_addrs, o->sources, o->sources_len * sizeof(*o->sources));
	}
	return 0;
}

/* `ip vrf exec` binds each socket of a process, as it is made, to the VRF. */
static uint32_t vrf_own(void)
{
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t ifindex = 0;
	socklen_t len = sizeof(ifindex);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, &len) == 0
		       ? ifindex
		       : 0;
}

int ladon_open(struct ladon **out, const struct ladon_options *options)
{
	struct ladon *ladon = calloc(1, sizeof(*ladon));
	int rc;

	if (!ladon)
		return -ENOMEM;
	for (size_t i = 0; i < FDS; i++)
		ladon->fds[i] = -1;
	ladon->vrf = vrf_own();
	rc = options_copy(ladon, options);
	if (rc == 0)
		rc = repair_check(ladon);
	if (rc == 0)
		rc = pin_dir_open(ladon);
	if (rc == 0)
		rc = pin_dir_lock(ladon);
	if (rc == 0)
		rc = programs_load(ladon);
	if (rc == 0) {
		ladon->sources = sources_new(ladon->options.port_min, ladon->options.port_max,
					     ladon->options.quarantine_ms);
		rc = ladon->sources ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = limits_open(ladon);
	if (rc == 0)
		rc = conntrack_open(&ladon->conntrack);
	if (rc == 0)
		rc = flows_open(ladon);
	if (rc == 0)
		rc = links_open(ladon, &ladon->links);
	if (rc == 0)
		rc = layout_settle(ladon);
	if (rc == 0)
		rc = watch_open(ladon);
	if (rc < 0) {
		ladon_close(ladon);
		return rc;
	}
	raw_open(ladon);
	forward_allow(ladon);
	if (ladon->adopted_stack)
		ladon_stack(ladon);
	*out = ladon;
	return 0;
}

static void forwarding_check(const struct ladon *ladon)
{
	if (!stack_forwards(ladon->stack, AF_INET))
		ladon_say(ladon, LADON_LEVEL_WARN,
			  "mode stack: net.ipv4.ip_forward is 0: IPv4 is relayed until it is 1");
	if (!stack_forwards(ladon->stack, AF_INET6))
		ladon_say(ladon, LADON_LEVEL_WARN,
			  "mode stack: net.ipv6.conf.all.forwarding is 0: IPv6 is relayed until it "
			  "is 1");
}

int ladon_stack(struct ladon *ladon)
{
	struct stack *stack;
	int rc;

	if (ladon->stack)
		return 0;
	rc = stack_open(ladon, &stack);
	if (rc == 0) {
		rc = watch(ladon, stack_fd(stack));
		if (rc < 0)
			stack_close(stack);
	}
	if (rc < 0) {
		ladon_say(ladon, LADON_LEVEL_ERR,
			  "mode stack: %s (needs nf_tables, NAT and ctnetlink)", strerror(-rc));
		return rc;
	}
	ladon->stack = stack;
	forwarding_check(ladon);
	rc = flows_check_tracked(ladon);
	return rc < 0 ? rc : flows_finish(ladon, 0);
}

void ladon_close(struct ladon *ladon)
{
	if (!ladon)
		return;
	links_close(ladon->links);
	flows_close(ladon);
	stack_close(ladon->stack);
	learned_close(ladon);
	conntrack_close(ladon->conntrack);
	sources_free(ladon->sources);
	limits_close(ladon);
	for (size_t i = 0; i < FDS; i++)
		if (ladon->fds[i] >= 0)
			close(ladon->fds[i]);
	strings_free(ladon->interfaces);
	free(ladon->source_addrs);
	free(ladon);
}

int ladon_fd(const struct ladon *ladon)
{
	return ladon->epoll_fd;
}

int ladon_dispatch(struct ladon *ladon)
{
	struct epoll_event ready[4];
	uint64_t ticks;
	int n = epoll_wait(ladon->epoll_fd, ready, 4, 0);

	for (int i = 0; i < n; i++) {
		if (ready[i].data.fd == links_fd(ladon->links))
			links_dispatch(ladon->links);
		if (ladon->stack && ready[i].data.fd == stack_fd(ladon->stack))
			stack_dispatch(ladon->stack);
	}
	ring_buffer__consume(ladon->events);
	if (read(ladon->timer_fd, &ticks, sizeof(ticks)) == sizeof(ticks)) {
		flows_tick(ladon);
		links_tick(ladon->links);
		foreign_tick(ladon);
		learned_tick(ladon);
	}
	return n < 0 && errno != EINTR ? -errno : 0;
}
