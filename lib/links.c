// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * links.c - attach to the interfaces, as they come and go
 *
 * clsact on ingress and egress, at a priority and handle of ladon's own, so
 * that filters of others on the same interface stay where they are. The
 * attachments outlive the process; attaching again replaces the programs in
 * place.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/own.h"
#include "private.h"
#include "stack.h"

#define LO_IFINDEX 1 /* include/net/flow.h: LOOPBACK_IFINDEX, in every network namespace */
#define AGAIN_MS 1000 /* before what could not be attached is tried again */

struct link {
	struct link *next;
	int ifindex;
	char name[IF_NAMESIZE];
};

struct links {
	struct ladon *ladon;
	struct mnl_socket *netlink;
	pthread_mutex_t lock; /* over .list */
	struct link *list;
	/* some could not be attached */
	bool again, said; /* ... since the last dump began; ... and this was said */
	uint64_t again_ms;
};

static int point_attach(int ifindex, enum bpf_tc_attach_point point, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog_fd, .priority = TC_PRIORITY,
		    .handle = TC_HANDLE, .flags = BPF_TC_F_REPLACE);

	return bpf_tc_attach(&hook, &opts);
}

/*
 * Egress first: from the first packet that is translated, our sockets keep quiet. On lo ladon
 * listens only (ladon_local).
 */
static int programs_attach(const struct ladon *ladon, int ifindex, uint8_t *qdisc)
{
	bool is_lo = ifindex == LO_IFINDEX;
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	libbpf_print_fn_t printer = libbpf_set_print(NULL); /* it would print EEXIST */
	int rc = bpf_tc_hook_create(&hook);

	if (rc == 0)
		*qdisc = LADON_QDISC_MADE;
	if (rc == -EEXIST)
		rc = 0;
	if (rc == 0 && !is_lo)
		rc = point_attach(ifindex, BPF_TC_EGRESS, ladon->egress_fd);
	if (rc == 0)
		rc = point_attach(ifindex, BPF_TC_INGRESS,
				  is_lo ? ladon->local_fd : ladon->ingress_fd);
	libbpf_set_print(printer);
	return rc;
}

static struct link *link_find(struct links *links, int ifindex)
{
	for (struct link *l = links->list; l; l = l->next)
		if (l->ifindex == ifindex)
			return l;
	return NULL;
}

/* For want of descriptors or memory, most likely, and for no fault of the interface's. */
static int link_failed(struct links *links, const char *name, int rc)
{
	if (!links->said)
		ladon_say(links->ladon, LADON_LEVEL_WARN,
			  "interface %s: cannot attach: %s; trying again", name, strerror(-rc));
	links->said = true;
	links->again = true;
	links->again_ms = ladon_now_ms() + AGAIN_MS;
	return rc;
}

static int interface_attach(const struct ladon *ladon, int ifindex)
{
	uint8_t qdisc = LADON_QDISC_FOUND;
	int rc;

	bpf_map_lookup_elem(ladon->interfaces_fd, &ifindex, &qdisc); /* a former process knows */
	rc = programs_attach(ladon, ifindex, &qdisc);
	return rc < 0 ? rc : bpf_map_update_elem(ladon->interfaces_fd, &ifindex, &qdisc, BPF_ANY);
}

/* Without it, senders are not told by ICMP what this machine finds out about their way. */
static void lo_attach(const struct ladon *ladon)
{
	int rc = interface_attach(ladon, LO_IFINDEX);

	if (rc < 0)
		ladon_say(ladon, LADON_LEVEL_WARN, "interface lo: cannot attach: %s",
			  strerror(-rc));
}

static int link_attach(struct links *links, int ifindex, const char *name)
{
	struct ladon *ladon = links->ladon;
	int rc = interface_attach(ladon, ifindex);
	struct link *link;

	link = rc == 0 ? calloc(1, sizeof(*link)) : NULL;
	if (!link)
		return link_failed(links, name, rc ? rc : -ENOMEM);
	link->ifindex = ifindex;
	snprintf(link->name, sizeof(link->name), "%s", name);
	pthread_mutex_lock(&links->lock);
	link->next = links->list;
	links->list = link;
	pthread_mutex_unlock(&links->lock);
	ladon_say(ladon, LADON_LEVEL_INFO, "interface %s: attached", name);
	return 0;
}

static void link_gone(struct links *links, int ifindex)
{
	struct link **at = &links->list, *link;

	while (*at && (*at)->ifindex != ifindex)
		at = &(*at)->next;
	link = *at;
	if (!link)
		return;
	bpf_map_delete_elem(links->ladon->interfaces_fd, &ifindex);
	pthread_mutex_lock(&links->lock);
	*at = link->next;
	pthread_mutex_unlock(&links->lock);
	ladon_say(links->ladon, LADON_LEVEL_INFO, "interface %s: gone", link->name);
	free(link);
}

static bool link_wanted(const struct links *links, const struct ifinfomsg *info, const char *name)
{
	char **names = links->ladon->interfaces;

	if (info->ifi_type != ARPHRD_ETHER || info->ifi_flags & IFF_LOOPBACK)
		return false;
	if (!names)
		return info->ifi_flags & IFF_UP;
	for (size_t i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int link_event(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	struct links *links = arg;
	const struct nlattr *attr;
	const char *name = NULL;

	if (nlh->nlmsg_type == RTM_DELLINK && info->ifi_family == AF_UNSPEC)
		link_gone(links, info->ifi_index);
	if (nlh->nlmsg_type != RTM_NEWLINK || info->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*info)) if (mnl_attr_get_type(attr) == IFLA_IFNAME)
		name = mnl_attr_get_str(attr);
	if (name && link_wanted(links, info, name) && !link_find(links, info->ifi_index))
		link_attach(links, info->ifi_index, name);
	return MNL_CB_OK;
}

static int links_dump(struct links *links)
{
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *info;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	links->again = mnl_socket_sendto(links->netlink, nlh, nlh->nlmsg_len) < 0;
	links->again_ms = ladon_now_ms() + AGAIN_MS;
	return links->again ? -errno : 0;
}

/* Return: 1: the dump has ended; 0: nothing more to read now; or a negative errno */
static int links_read(struct links *links, int flags)
{
	char buf[16384]; /* one message of a dump may have 16 KB (NLMSG_GOODSIZE) */

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(links->netlink), buf, sizeof(buf), flags);

		if (n < 0 && errno == ENOBUFS) {
			links_dump(links); /* events were lost: look at all again */
			continue;
		}
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (mnl_cb_run(buf, (size_t)n, 0, 0, link_event, links) == MNL_CB_STOP)
			return 1;
	}
}

static int names_check(const struct links *links)
{
	char **names = links->ladon->interfaces;

	for (size_t i = 0; names && names[i]; i++) {
		int ifindex = (int)if_nametoindex(names[i]);

		if (ifindex && link_find((struct links *)links, ifindex))
			continue;
		ladon_say(links->ladon, LADON_LEVEL_ERR, "interface %s: %s", names[i],
			  ifindex ? "not an Ethernet device" : "does not exist");
		return -ENODEV;
	}
	return 0;
}

int links_open(struct ladon *ladon, struct links **out)
{
	struct links *links = calloc(1, sizeof(*links));
	int rc;

	if (!links)
		return -ENOMEM;
	*out = links;
	links->ladon = ladon;
	pthread_mutex_init(&links->lock, NULL);
	links->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!links->netlink || mnl_socket_bind(links->netlink, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	lo_attach(ladon);
	rc = links_dump(links);
	if (rc == 0)
		rc = links_read(links, 0);
	return rc < 0 ? rc : names_check(links);
}

void links_close(struct links *links)
{
	if (!links)
		return;
	if (links->netlink)
		mnl_socket_close(links->netlink);
	while (links->list) {
		struct link *next = links->list->next;

		free(links->list);
		links->list = next;
	}
	pthread_mutex_destroy(&links->lock);
	free(links);
}

int links_fd(const struct links *links)
{
	return mnl_socket_get_fd(links->netlink);
}

/* At the end of a dump it is known whether all have been attached. */
void links_dispatch(struct links *links)
{
	while (links_read(links, MSG_DONTWAIT) == 1)
		links->said = links->again;
}

void links_tick(struct links *links)
{
	if (links->again && ladon_now_ms() >= links->again_ms)
		links_dump(links);
}

int ladon_interface_each(struct ladon *ladon, int (*fn)(void *arg, const char *name), void *arg)
{
	struct links *links = ladon->links;
	int rc = 0;

	pthread_mutex_lock(&links->lock);
	for (const struct link *l = links->list; l && rc == 0; l = l->next)
		rc = fn(arg, l->name);
	pthread_mutex_unlock(&links->lock);
	return rc;
}
