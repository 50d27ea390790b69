// SPDX-License-Identifier: GPL-2.0-only
/*
 * forwards.c - the port forwards in force, kept in the kernel as long as the daemon runs
 *
 * The text that makes the table is kept, and run again when an event of nf_tables says that
 * the table, or a part of it, has gone. Events of ladon's own replacing end with that of the new
 * table, so the last word about the table decides, and nobody has to know whose it was.
 */
#include "forwards.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h> /* before <linux/netfilter.h>, which defines the rest of it */

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../base/log.h"
#include "../base/own.h"
#include "nft.h"

#define MESSAGE_BYTES 65536
#define EVENTS_BYTES  (64 << 20) /* of one transaction: each element is an event */
#define RETRY_MS      1000

struct forwards {
	pthread_t thread;
	bool watched; /* there is the thread */
	struct mnl_socket *events;
	int stop_fd;	      /* eventfd */
	pthread_mutex_t lock; /* over what follows, and while the kernel is told */
	char *commands;	      /* that make the table; NULL: there are no forwards */
};

/* ---- the table ---- */

static int commands_make(const struct config *config, char **out)
{
	size_t size;
	FILE *f = open_memstream(out, &size);

	if (!f)
		return -ENOMEM;
	nft_write(f, config->forwards, config->forwards_len);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

static bool is_off(const char *path)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char value;

	return fd >= 0 && read(fd, &value, 1) == 1 && value == '0';
}

static void sysctls_check(const struct config *config)
{
	bool four = false, six = false;

	for (unsigned int i = 0; i < config->forwards_len; i++) {
		four |= config->forwards[i].to.sa.sa_family == AF_INET;
		six |= config->forwards[i].to.sa.sa_family == AF_INET6;
	}
	if (four && is_off("/proc/sys/net/ipv4/ip_forward"))
		log_warn("forwards: the kernel forwards no IPv4 packets; "
			 "sysctl net.ipv4.ip_forward=1 lets it");
	if (six && is_off("/proc/sys/net/ipv6/conf/all/forwarding"))
		log_warn("forwards: the kernel forwards no IPv6 packets; "
			 "sysctl net.ipv6.conf.all.forwarding=1 lets it");
}

int forwards_use(struct forwards *forwards, const struct config *config, char **why)
{
	_free_ char *next = NULL;
	int rc = commands_make(config, &next);

	*why = NULL;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&forwards->lock);
	if (config->forwards_len || forwards->commands)
		rc = nft_run(next, why);
	if (rc == 0) {
		free(forwards->commands);
		forwards->commands = config->forwards_len ? TAKE_PTR(next) : NULL;
	}
	pthread_mutex_unlock(&forwards->lock);
	if (rc == 0)
		sysctls_check(config);
	return rc;
}

/* Return: false if it has to be tried again. The lock is held. */
static bool table_restore(const struct forwards *forwards)
{
	_free_ char *why = NULL;
	int rc;

	if (!forwards->commands)
		return true;
	rc = nft_run(forwards->commands, &why);
	if (rc < 0)
		log_err("forwards: nft table inet " NFT_TABLE
			" was changed and cannot be made again: %s",
			why ? why : strerror(-rc));
	else
		log_warn("forwards: nft table inet " NFT_TABLE " was changed; made again");
	return rc == 0;
}

/* ---- events ---- */

static bool is_ours(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr;

	/* NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and so on have the number of NFTA_TABLE_NAME */
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME)
			return strcmp(mnl_attr_get_str(attr), NFT_TABLE) == 0;
	}
	return false;
}

struct seen {
	bool damaged; /* the table, or a part of it, has gone */
	bool lost;    /* so it may have: there were too many events */
};

static int event_take(const struct nlmsghdr *nlh, void *arg)
{
	struct seen *seen = arg;

	if (nlh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return MNL_CB_OK;
	switch (nlh->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
		if (is_ours(nlh))
			seen->damaged = false;
		break;
	case NFT_MSG_DELTABLE:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_DELRULE:
	case NFT_MSG_DELSET:
	case NFT_MSG_DELSETELEM:
		seen->damaged |= is_ours(nlh);
		break;
	}
	return MNL_CB_OK;
}

static struct seen events_read(const struct forwards *forwards, char *buf)
{
	struct seen seen = { 0 };

	for (;;) {
		ssize_t n =
			recv(mnl_socket_get_fd(forwards->events), buf, MESSAGE_BYTES, MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) {
			seen.lost = true;
			continue;
		}
		if (n <= 0)
			return seen;
		mnl_cb_run(buf, (size_t)n, 0, 0, event_take, &seen);
	}
}

/*
 * With the lock no transaction of ladon's is seen half. What is lost of the restoring's own
 * events is no reason to restore again. Return: false if it has to be tried again
 */
static bool forwards_look(struct forwards *forwards, char *buf, bool damaged)
{
	struct seen seen;

	pthread_mutex_lock(&forwards->lock);
	seen = events_read(forwards, buf);
	if (damaged || seen.damaged || seen.lost)
		damaged = !table_restore(forwards) || events_read(forwards, buf).damaged;
	pthread_mutex_unlock(&forwards->lock);
	return !damaged;
}

static void *forwards_run(void *arg)
{
	struct forwards *forwards = arg;
	struct pollfd fds[] = {
		{ .fd = forwards->stop_fd, .events = POLLIN },
		{ .fd = mnl_socket_get_fd(forwards->events), .events = POLLIN },
	};
	_free_ char *buf = malloc(MESSAGE_BYTES);
	bool damaged = false;

	while (buf && poll(fds, 2, damaged ? RETRY_MS : -1) >= 0 && !fds[0].revents)
		damaged = !forwards_look(forwards, buf, damaged);
	return NULL;
}

static int events_open(struct forwards *forwards)
{
	int group = NFNLGRP_NFTABLES, size = EVENTS_BYTES;

	forwards->events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!forwards->events || mnl_socket_bind(forwards->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	setsockopt(mnl_socket_get_fd(forwards->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		   sizeof(size));
	if (mnl_socket_setsockopt(forwards->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) <
	    0)
		return -errno;
	return 0;
}

/* ---- the whole ---- */

static void forwards_free(struct forwards *forwards)
{
	if (forwards->events)
		mnl_socket_close(forwards->events);
	if (forwards->stop_fd >= 0)
		close(forwards->stop_fd);
	pthread_mutex_destroy(&forwards->lock);
	free(forwards->commands);
	free(forwards);
}

static int forwards_fail(int rc, const char *why)
{
	log_err("forwards: nftables refused: %s; it takes a kernel with nf_tables, nft_nat and "
		"nft_masq, and CAP_NET_ADMIN",
		why ? why : strerror(-rc));
	return rc;
}

int forwards_start(const struct config *config, struct forwards **out)
{
	struct forwards *forwards = calloc(1, sizeof(*forwards));
	_free_ char *why = NULL;
	int rc;

	if (!forwards)
		return -ENOMEM;
	pthread_mutex_init(&forwards->lock, NULL);
	forwards->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = forwards->stop_fd < 0 ? -errno : events_open(forwards);
	if (rc == 0)
		rc = forwards_use(forwards, config, &why);
	if (rc < 0) {
		forwards_free(forwards);
		return forwards_fail(rc, why);
	}
	*out = forwards;
	return 0;
}

int forwards_watch(struct forwards *forwards)
{
	int rc = -pthread_create(&forwards->thread, NULL, forwards_run, forwards);

	forwards->watched = rc == 0;
	if (rc < 0)
		log_err("forwards: %s", strerror(-rc));
	return rc;
}

void forwards_stop(struct forwards *forwards)
{
	if (!forwards)
		return;
	eventfd_write(forwards->stop_fd, 1);
	if (forwards->watched)
		pthread_join(forwards->thread, NULL);
	forwards_free(forwards);
}

int forwards_cleanup(void)
{
	_free_ char *why = NULL, *missing = NULL;

	if (nft_run("delete table inet " NFT_TABLE, &why) == 0 ||
	    nft_run("list table inet " NFT_TABLE, &missing) < 0)
		return 0; /* done; or there is none */
	log_err("forwards: nft table inet " NFT_TABLE " cannot be taken off: %s", why ? why : "");
	return -EIO;
}
