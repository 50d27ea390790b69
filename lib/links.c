// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * links.c - attach to the interfaces, as they come and go
 *
 * clsact on ingress and egress, at a priority and handle of ladon's own, so
 * that filters of others on the same interface stay where they are. The
 * attachments outlive the process; attaching again replaces the programs in
 * place.
 *
 * Some are left alone, and what is said there is relayed: packets on a bond's or team's
 * ports are the bond's to take or to drop, which has an ingress of its own; a VLAN
 * device that does not take the tags off (reorder_hdr off) shows no IP header; and
 * addresses in another VRF than ladon's own mean somebody else. When such
 * a thing is made of an interface, ladon leaves it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/own.h"
#include "learned.h"
#include "private.h"
#include "stack.h"

#define LO_IFINDEX 1	/* include/net/flow.h: LOOPBACK_IFINDEX, in every network namespace */
#define AGAIN_MS   1000 /* before what could not be attached is tried again */

struct link {
	struct link *next;
	int ifindex;
	char name[IF_NAMESIZE];
	const char *obstacle; /* NULL: ladon is on it */
};

/* What the kernel says of an interface; absent words are "". */
struct traits {
	const struct ifinfomsg *info;
	const char *name, *kind, *slave_kind;
	uint32_t master;     /* ifindex */
	uint32_t vlan_flags; /* VLAN_FLAG_* */
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
static void link_failed(struct links *links, const char *name, int rc)
{
	if (!links->said)
		ladon_say(links->ladon, LADON_LEVEL_WARN,
			  "interface %s: cannot attach: %s; trying again", name, strerror(-rc));
	links->said = true;
	links->again = true;
	links->again_ms = ladon_now_ms() + AGAIN_MS;
}

static uint8_t qdisc_get(const struct ladon *ladon, int ifindex)
{
	uint8_t qdisc = LADON_QDISC_FOUND;

	/* a former process knows */
	bpf_map_lookup_elem(ladon->interfaces_fd, &ifindex, &qdisc);
	return qdisc;
}

static int interface_attach(const struct ladon *ladon, int ifindex)
{
	uint8_t qdisc = qdisc_get(ladon, ifindex);
	int rc = programs_attach(ladon, ifindex, &qdisc);

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

/* Ingress first: what is translated must not be answered by our sockets. */
static void programs_detach(int ifindex)
{
	static const enum bpf_tc_attach_point points[] = { BPF_TC_INGRESS, BPF_TC_EGRESS };

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = points[i]);
		LIBBPF_OPTS(bpf_tc_opts, opts, .priority = TC_PRIORITY, .handle = TC_HANDLE);

		bpf_tc_detach(&hook, &opts);
	}
}

/* If we, or a former process, were on it */
static void link_detach(const struct links *links, int ifindex)
{
	uint8_t qdisc = qdisc_get(links->ladon, ifindex);

	if (bpf_map_delete_elem(links->ladon->interfaces_fd, &ifindex) < 0)
		return;
	programs_detach(ifindex);
	if (qdisc == LADON_QDISC_MADE)
		qdisc_remove(ifindex);
}

/* @link: NULL: not known before. Return: NULL if there is no memory */
static struct link *link_note(struct links *links, struct link *link, const struct traits *t,
			      const char *obstacle)
{
	bool is_new = !link;

	if (is_new)
		link = calloc(1, sizeof(*link));
	if (!link)
		return NULL;
	pthread_mutex_lock(&links->lock);
	learned_link(links->ladon, t->info->ifi_index, t->name);
	link->ifindex = t->info->ifi_index;
	link->obstacle = obstacle;
	snprintf(link->name, sizeof(link->name), "%s", t->name);
	if (is_new) {
		link->next = links->list;
		links->list = link;
	}
	pthread_mutex_unlock(&links->lock);
	return link;
}

/* It is new, or something was made of it, or is not any more. */
static void link_enter(struct links *links, struct link *link, const struct traits *t,
		       const char *obstacle)
{
	struct ladon *ladon = links->ladon;
	int rc = 0;

	if (obstacle)
		link_detach(links, t->info->ifi_index);
	else
		rc = interface_attach(ladon, t->info->ifi_index);
	if (rc == 0 && !link_note(links, link, t, obstacle))
		rc = -ENOMEM;
	if (rc < 0)
		link_failed(links, t->name, rc);
	else if (obstacle)
		ladon_say(ladon, LADON_LEVEL_INFO, "interface %s: left alone: %s", t->name,
			  obstacle);
	else
		ladon_say(ladon, LADON_LEVEL_INFO, "interface %s: attached", t->name);
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

static bool is(const char *kind, const char *name)
{
	return strcmp(kind, name) == 0;
}

/* Return: why nothing is translated there, for people; or NULL */
static const char *link_obstacle(const struct links *links, const struct traits *t)
{
	uint32_t vrf = is(t->slave_kind, "vrf") ? t->master
		       : is(t->kind, "vrf")	? (uint32_t)t->info->ifi_index
						: 0;

	if (is(t->slave_kind, "bond") || is(t->slave_kind, "team"))
		return "its packets are the bond's";
	if (is(t->kind, "vlan") && !(t->vlan_flags & VLAN_FLAG_REORDER_HDR))
		return "it leaves VLAN tags in packets (reorder_hdr off)";
	if (vrf != links->ladon->vrf)
		return "it is in another VRF than ladon";
	return NULL;
}

static void vlan_read(const struct nlattr *data, struct traits *t)
{
	const struct ifla_vlan_flags *flags;
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data)
	{
		if (mnl_attr_get_type(attr) != IFLA_VLAN_FLAGS ||
		    mnl_attr_get_payload_len(attr) < sizeof(*flags))
			continue;
		flags = mnl_attr_get_payload(attr);
		t->vlan_flags = flags->flags;
	}
}

/* The kind comes before its data (net/core/rtnetlink.c: rtnl_link_info_fill()). */
static void kind_read(const struct nlattr *link_info, struct traits *t)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, link_info)
	{
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			t->kind = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == IFLA_INFO_SLAVE_KIND)
			t->slave_kind = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA && is(t->kind, "vlan"))
			vlan_read(attr, t);
	}
}

static void traits_read(const struct nlmsghdr *nlh, struct traits *t)
{
	const struct nlattr *attr;

	*t = (struct traits){ mnl_nlmsg_get_payload(nlh), "", "", "", 0, 0 };
	mnl_attr_for_each(attr, nlh, sizeof(*t->info))
	{
		if (mnl_attr_get_type(attr) == IFLA_IFNAME)
			t->name = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == IFLA_MASTER)
			t->master = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
			kind_read(attr, t);
	}
}

static int link_event(const struct nlmsghdr *nlh, void *arg)
{
	struct links *links = arg;
	const char *obstacle;
	struct traits t;
	struct link *link;

	traits_read(nlh, &t);
	if (t.info->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	if (nlh->nlmsg_type == RTM_DELLINK)
		link_gone(links, t.info->ifi_index);
	if (nlh->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	if (is(t.kind, "vrf"))
		links->ladon->has_vrfs = true;
	if (!link_wanted(links, t.info, t.name))
		return MNL_CB_OK;
	link = link_find(links, t.info->ifi_index);
	obstacle = link_obstacle(links, &t);
	if (!link || link->obstacle != obstacle)
		link_enter(links, link, &t, obstacle);
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
		const struct link *link =
			ifindex ? link_find((struct links *)links, ifindex) : NULL;

		if (link && !link->obstacle)
			continue;
		ladon_say(links->ladon, LADON_LEVEL_ERR, "interface %s: %s", names[i],
			  link	    ? link->obstacle
			  : ifindex ? "not an Ethernet device"
				    : "does not exist");
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
		if (!l->obstacle)
			rc = fn(arg, l->name);
	pthread_mutex_unlock(&links->lock);
	return rc;
}
