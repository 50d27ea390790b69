// SPDX-License-Identifier: GPL-2.0-only
/*
 * forwards.c - the port forwards in force, kept in the kernel as long as the daemon runs
 *
 * The text that makes the table (forward_table.h) is kept, and run again when an event of nf_tables says that
 * the table, or a part of it, has gone. Events of ladon's own replacing end with that of the new
 * table, so the last word about the table decides, and nobody has to know whose it was.
 */
#include "forwards.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h> /* before <linux/netfilter.h>, which defines the rest of it */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../base/log.h"
#include "../base/own.h"
#include "config_forwards.h"
#include "forward_owner.h"
#include "forward_table.h"
#include "loop.h"
#include "nft.h"

#define MESSAGE_BYTES 65536
#define EVENTS_BYTES  (64 << 20) /* of one transaction: each element is an event */
#define RETRY_MS      1000
#define POOLS_MS      200 /* between looks at pools */

struct forwards {
	pthread_t thread;
	int stop_fd;		   /* eventfd */
	pthread_mutex_t lock;	   /* over what follows, and while the kernel is told */
	struct mnl_socket *events; /* NULL: there has been no forward yet */
	int owner_fd;		   /* since then */
	bool watched;		   /* there is the thread */
	bool may_watch;
	struct forward_table *table;
	struct forward_table *former; /* whose packets may still be on their way; NULL: nobody's */
	uint64_t former_until_ms;
	struct locals locals;
};

/* ---- the table ---- */

static bool is_off(const char *path)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char value;

	return fd >= 0 && read(fd, &value, 1) == 1 && value == '0';
}

static void sysctls_check(const struct forward_table *table)
{
	bool four = false, six = false;

	for (unsigned int i = 0; i < table->len; i++) {
		four |= table->forwards[i].listen.sa.sa_family == AF_INET;
		six |= table->forwards[i].listen.sa.sa_family == AF_INET6;
	}
	if (four && is_off("/proc/sys/net/ipv4/ip_forward"))
		log_warn("forwards: the kernel forwards no IPv4 packets; "
			 "sysctl net.ipv4.ip_forward=1 lets it");
	if (six && is_off("/proc/sys/net/ipv6/conf/all/forwarding"))
		log_warn("forwards: the kernel forwards no IPv6 packets; "
			 "sysctl net.ipv6.conf.all.forwarding=1 lets it");
}

/* Return: false if it has to be tried again. The lock is held. */
static bool table_restore(const struct forwards *forwards)
{
	_free_ char *why = NULL;
	int rc;

	rc = nft_run(forwards->table->commands, &why);
	if (rc < 0)
		log_err("forwards: nft table inet " NFT_TABLE
			" was changed and cannot be made again: %s",
			why ? why : strerror(-rc));
	else
		log_warn("forwards: nft table inet " NFT_TABLE " was changed; made again");
	if (rc == 0)
		forward_table_restart(forwards->table);
	return rc == 0;
}

/* ---- events ---- */

static bool is_ours(const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	if (nfg->nfgen_family != NFPROTO_INET)
		return false;
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

static int events_open(struct forwards *forwards)
{
	int group = NFNLGRP_NFTABLES, size = EVENTS_BYTES;
	struct mnl_socket *events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);

	if (!events)
		return -errno;
	forwards->events = events;
	if (mnl_socket_bind(events, 0, MNL_SOCKET_AUTOPID) == 0) {
		setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
			   sizeof(size));
		if (mnl_socket_setsockopt(events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) ==
		    0)
			return 0;
	}
	forwards->events = NULL;
	group = -errno;
	mnl_socket_close(events);
	return group;
}

/* ---- replacing it ---- */

static void *forwards_run(void *arg);

/* The lock is held. */
static int table_claim(struct forwards *forwards, char **why)
{
	int rc = forwards->owner_fd < 0 ? forward_owner_take(&forwards->owner_fd) : 0;

	if (rc == -EBUSY)
		*why = strdup(
			"another ladond has forwards in this network namespace, and the table "
			"for them is one; put all of them into the file of one ladond");
	return rc < 0 ? rc : events_open(forwards);
}

/* Before there is a table, so that no event is missed. The lock is held. */
static int events_begin(struct forwards *forwards, char **why)
{
	int rc = forwards->events ? 0 : table_claim(forwards, why);

	if (rc == 0 && forwards->may_watch && !forwards->watched) {
		rc = -pthread_create(&forwards->thread, NULL, forwards_run, forwards);
		forwards->watched = rc == 0;
	}
	if (rc == -EPERM)
		*why = strdup("CAP_NET_ADMIN is missing; ladond keeps it only where it hands off "
			      "or has forwards at the start, so restart it with one in the file");
	return rc;
}

/* The lock is held. */
static void gone_end(struct forwards *forwards)
{
	int rc = forward_table_end(forwards->table, forwards->former, &forwards->locals);

	if (rc < 0)
		log_err("forwards: when-gone: what goes on with servers that are gone cannot be ended: %s",
			strerror(-rc));
	else if (rc > 0)
		log_info("forwards: when-gone: %d connections and UDP flows were ended", rc);
}

/*
 * A packet that has met the rules of the former table comes to conntrack's table when it leaves, be it
 * after this: so the thread looks once more. The lock is held.
 */
static void table_succeed(struct forwards *forwards, struct forward_table *next)
{
	forward_table_free(forwards->former);
	forwards->former = forwards->table;
	forwards->table = next;
	forwards->former_until_ms = clock_ms() + POOLS_MS;
	gone_end(forwards);
}

/* The lock is held. */
static void former_review(struct forwards *forwards)
{
	if (!forwards->former || clock_ms() < forwards->former_until_ms)
		return;
	gone_end(forwards);
	forward_table_free(forwards->former);
	forwards->former = NULL;
}

/* Takes over @next if it succeeds. The lock is held. */
static int table_put(struct forwards *forwards, struct forward_table *next, char **why)
{
	struct forward_table *former = forwards->table;
	int rc = 0;

	if (next->len)
		rc = events_begin(forwards, why);
	if (rc < 0)
		return rc;
	if (former)
		forward_table_count(former);
	if (next->len || forwards->events)
		rc = nft_run(next->commands, why);
	if (rc < 0)
		return rc;
	if (former)
		forward_table_follow(next, former);
	table_succeed(forwards, next);
	return 0;
}

/* The lock is held. */
static int table_replace(struct forwards *forwards, struct setup *setup,
			 const struct config_forward *added, unsigned int added_len, char **why)
{
	struct forward_table *next;
	int rc = forward_table_new(setup, added, added_len, &next, why);

	if (rc < 0)
		return rc;
	rc = table_put(forwards, next, why);
	if (rc < 0)
		forward_table_free(next);
	return rc;
}

/* ---- the thread ---- */

/* Nobody tells when a pool changes: ejections end by themselves. */
static void pools_follow(struct forwards *forwards)
{
	const struct forward_table *table;
	_free_ char *why = NULL;
	int rc = 0;

	pthread_mutex_lock(&forwards->lock);
	former_review(forwards);
	table = forwards->table;
	if (forward_table_is_stale(table))
		rc = table_replace(forwards, table->setup, table->forwards + table->file_len,
				   table->len - table->file_len, &why);
	pthread_mutex_unlock(&forwards->lock);
	if (rc < 0)
		log_limited(LOG_LEVEL_ERR, "forwards: pools cannot be followed: %s",
			    why ? why : strerror(-rc));
}

/* @damaged: it has to be tried again. Return: for poll(2) */
static int wait_ms(struct forwards *forwards, bool damaged)
{
	bool has_work;

	pthread_mutex_lock(&forwards->lock);
	has_work = forwards->table->has_pools || forwards->former;
	pthread_mutex_unlock(&forwards->lock);
	return has_work ? POOLS_MS : damaged ? RETRY_MS : -1;
}

static void *forwards_run(void *arg)
{
	struct forwards *forwards = arg;
	struct pollfd fds[] = {
		{ .fd = forwards->stop_fd, .events = POLLIN },
		{ .fd = mnl_socket_get_fd(forwards->events), .events = POLLIN },
	};
	_free_ char *buf = malloc(MESSAGE_BYTES);
	uint64_t retry_ms = 0; /* not before; 0: all is well, and events are waited for */

	while (buf &&
	       (poll(fds, retry_ms ? 1 : 2, wait_ms(forwards, retry_ms)) >= 0 || errno == EINTR) &&
	       !fds[0].revents) {
		if (clock_ms() >= retry_ms)
			retry_ms =
				forwards_look(forwards, buf, retry_ms) ? 0 : clock_ms() + RETRY_MS;
		pools_follow(forwards);
	}
	return NULL;
}

/* ---- at run time ---- */

/* Those that were added, and room for one more; NULL: no memory. To be freed */
static struct config_forward *added_copy(const struct forward_table *table, unsigned int *len)
{
	struct config_forward *added;

	*len = table->len - table->file_len;
	added = calloc((size_t)*len + 1, sizeof(*added));
	if (added)
		memcpy(added, table->forwards + table->file_len, *len * sizeof(*added));
	return added;
}

/* Of another file, which may have the pools of the added ones in another order. The lock is held. */
static int file_replace(struct forwards *forwards, struct setup *setup, char **why)
{
	const struct forward_table *table = forwards->table;
	_free_ struct config_forward *added = NULL;
	unsigned int len;
	int rc = 0;

	if (!table)
		return table_replace(forwards, setup, NULL, 0, why);
	added = added_copy(table, &len);
	if (!added)
		return -ENOMEM;
	for (unsigned int i = 0; rc == 0 && i < len; i++)
		rc = config_forward_follow(&added[i], table->setup->config, setup->config, why);
	return rc < 0 ? rc : table_replace(forwards, setup, added, len, why);
}

int forwards_use(struct forwards *forwards, struct setup *setup, char **why)
{
	int rc;

	*why = NULL;
	pthread_mutex_lock(&forwards->lock);
	rc = file_replace(forwards, setup, why);
	if (rc == 0)
		sysctls_check(forwards->table);
	pthread_mutex_unlock(&forwards->lock);
	return rc;
}

int forwards_add(struct forwards *forwards, struct setup *setup,
		 const struct config_forward *forward, char **why)
{
	_free_ struct config_forward *added = NULL;
	unsigned int len;
	int rc = -ENOMEM;

	*why = NULL;
	pthread_mutex_lock(&forwards->lock);
	added = added_copy(forwards->table, &len);
	if (added) {
		added[len] = *forward;
		rc = table_replace(forwards, setup, added, len + 1, why);
	}
	if (rc == 0)
		sysctls_check(forwards->table);
	pthread_mutex_unlock(&forwards->lock);
	return rc;
}

static bool is_named(const struct config_forward *forward, const struct config_forward *name)
{
	return addr_equal(&forward->listen, &name->listen) && forward->last == name->last &&
	       ((!name->tcp && !name->udp) ||
		(forward->tcp == name->tcp && forward->udp == name->udp));
}

/* Nothing was removed. Return: a negative errno that says why */
static int removed_none(const struct forward_table *table, const struct config_forward *name)
{
	for (unsigned int i = 0; i < table->file_len; i++)
		if (is_named(&table->forwards[i], name))
			return -EBUSY;
	return -ENOENT;
}

int forwards_remove(struct forwards *forwards, struct setup *setup,
		    const struct config_forward *name, unsigned int *removed, char **why)
{
	_free_ struct config_forward *added = NULL;
	unsigned int len, kept = 0;
	int rc = -ENOMEM;

	*why = NULL;
	pthread_mutex_lock(&forwards->lock);
	added = added_copy(forwards->table, &len);
	for (unsigned int i = 0; added && i < len; i++)
		if (!is_named(&added[i], name))
			added[kept++] = added[i];
	if (added && kept == len)
		rc = removed_none(forwards->table, name);
	else if (added)
		rc = table_replace(forwards, setup, added, kept, why);
	pthread_mutex_unlock(&forwards->lock);
	if (rc == 0)
		*removed = len - kept;
	return rc;
}

static const char *pool_of(const struct forward_table *table, unsigned int index)
{
	const struct config_forward *forward = &table->forwards[index];

	return forward->has_pool ? pool_name(table->setup->pools[forward->pool]) : NULL;
}

int forwards_each(struct forwards *forwards,
		  int (*fn)(void *arg, const struct config_forward *forward, const char *pool,
			    bool added, uint64_t flows, uint64_t refused),
		  void *arg)
{
	struct forward_table *table;
	int rc = 0;

	pthread_mutex_lock(&forwards->lock);
	table = forwards->table;
	forward_table_count(table);
	for (unsigned int i = 0; rc == 0 && i < table->len; i++)
		rc = fn(arg, &table->forwards[i], pool_of(table, i), i >= table->file_len,
			forward_table_flows(table, i), forward_table_refused(table, i));
	pthread_mutex_unlock(&forwards->lock);
	return rc;
}

bool forwards_take(struct forwards *forwards, bool udp, const struct addr *at)
{
	bool taken;

	pthread_mutex_lock(&forwards->lock);
	taken = forward_table_find(forwards->table, udp, at, &forwards->locals);
	pthread_mutex_unlock(&forwards->lock);
	return taken;
}

/* ---- the whole ---- */

static void forwards_free(struct forwards *forwards)
{
	if (forwards->events)
		mnl_socket_close(forwards->events);
	if (forwards->stop_fd >= 0)
		close(forwards->stop_fd);
	if (forwards->owner_fd >= 0)
		close(forwards->owner_fd);
	locals_close(&forwards->locals);
	pthread_mutex_destroy(&forwards->lock);
	forward_table_free(forwards->table);
	forward_table_free(forwards->former);
	free(forwards);
}

static int forwards_fail(int rc, const char *why)
{
	if (rc == -EBUSY)
		log_err("forwards: %s", why ? why : strerror(-rc));
	else
		log_err("forwards: nftables refused: %s; it takes a kernel with nf_tables, nft_nat and "
			"nft_masq, and CAP_NET_ADMIN",
			why ? why : strerror(-rc));
	return rc;
}

int forwards_start(struct setup *setup, struct forwards **out)
{
	struct forwards *forwards = calloc(1, sizeof(*forwards));
	_free_ char *why = NULL;
	int rc;

	if (!forwards)
		return -ENOMEM;
	pthread_mutex_init(&forwards->lock, NULL);
	forwards->owner_fd = forwards->locals.fd = -1;
	forwards->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = forwards->stop_fd < 0 ? -errno : forwards_use(forwards, setup, &why);
	if (rc < 0) {
		forwards_free(forwards);
		return forwards_fail(rc, why);
	}
	if (setup->config->forwards_len == 0)
		forwards_cleanup(); /* of a former daemon's */
	*out = forwards;
	return 0;
}

int forwards_watch(struct forwards *forwards)
{
	_free_ char *why = NULL;
	int rc = 0;

	pthread_mutex_lock(&forwards->lock);
	forwards->may_watch = true;
	if (forwards->table->len)
		rc = events_begin(forwards, &why);
	pthread_mutex_unlock(&forwards->lock);
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
	_close_ int owner_fd = -1;

	if (forward_owner_take(&owner_fd) == -EBUSY)
		return 0; /* and in use */
	if (nft_run("delete table inet " NFT_TABLE, &why) == 0 ||
	    nft_run("list table inet " NFT_TABLE, &missing) < 0)
		return 0; /* done; or there is none */
	log_err("forwards: nft table inet " NFT_TABLE " cannot be taken off: %s", why ? why : "");
	return -EIO;
}
