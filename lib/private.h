/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * private.h - the handle, seen from inside libladon
 *
 * Set by ladon_open() and constant from then on, except where it says so.
 */
#ifndef LADON_PRIVATE_H
#define LADON_PRIVATE_H

#include <ladon/ladon.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "../base/addr.h"
#include "../datapath/abi.h"
#include "limits.h"

struct conntrack;
struct learned;
struct links;
struct stack;
struct sources;
struct ring_buffer;

/* Where everything is pinned, unless told otherwise */
#define PIN_DIR "/sys/fs/bpf/ladon"

/* ladon's own place among the filters of an interface */
#define TC_PRIORITY 2768
#define TC_HANDLE   2768

/* A closed flow that waits for its last packets. */
struct lingering {
	struct ladon_flow_key key;
	uint32_t id;
	uint64_t due_ms;
};

/* First in, first out; all wait equally long. */
struct linger_queue {
	struct lingering *ring;
	size_t size, head, len; /* size is a power of two */
};

struct ladon {
	struct ladon_options options; /* defaults filled in; pointers are ours */
	char pin_dir[256];
	char **interfaces;
	union ladon_address *source_addrs;

	union {
		struct {
			/* programs for BPF_PROG_TEST_RUN, and to be attached */
			int activate_fd, edit_fd, look_fd, reap_fd, ask_fd;
			int ingress_fd, egress_fd, local_fd, enter_fd, icmp_fd, probe_fd, leave_fd;
			int tell_fd, cross_fd, cross_icmp_fd, deliver_fd;
			/* maps */
			int flows_fd, live_fd, events_fd, counters_fd;
			int guards_fd, interfaces_fd, jumps_fd, hops_fd, limits_fd;
			/* to send crafted acknowledgements; -1: not allowed */
			int raw4_fd, raw6_fd;
			/* what ladon_fd() returns: links, events and the timer */
			int epoll_fd, timer_fd;
			/* nobody else may have pin_dir open */
			int lock_fd;
		};
		int fds[30]; /* all of them; -1: not open */
	};
	struct ring_buffer *events;
	struct limits limits;

	struct links *links;
	uint32_t vrf;	      /* the process's own (ip vrf exec): its ifindex, or 0 */
	atomic_bool differ; /* a front socket's guard need not be what ladon_listen() has laid on any more */
	atomic_bool has_vrfs; /* there are, or were, some here */
	struct sources *sources;
	struct conntrack *conntrack; /* NULL: the kernel has no netfilter */
	struct stack *stack;	     /* NULL: before ladon_stack() */
	bool adopted_stack;	     /* there are flows that need it */
	bool foreign;		     /* after ladon_transparent() */
	struct learned *learned;     /* NULL: nothing is learned: see ladon_accelerate() */
	atomic_bool unfinished;	     /* ... and some that could not be given to it, nor killed */
	atomic_bool netfilter;	     /* conntrack may know sockets: so it was at the last handoff */

	atomic_uint next_id;
	atomic_uint_fast64_t handoffs;
	atomic_uint_fast64_t handoff_ns[LADON_DURATIONS];

	/* ladon_dispatch() only */
	unsigned int foreign_ticks;
	bool foreign_lost; /* what lib/foreign.c made is gone, and cannot be made again */
	struct linger_queue linger;
	uint32_t sweep_at;		/* the kernel's cursor into the table */
	bool sweeping;			/* in the middle of a walk */
	uint64_t sweep_next_ms;		/* when the next walk begins */
	bool hops_met[LADON_HOPS];	/* by this walk: see hops.h */
	uint8_t hops_unmet[LADON_HOPS]; /* how many walks in a row have not */
	uint64_t sweep_began_ms;
	bool sweep_found[LADON_LIMITS]; /* sets of limits that this walk has met */
};

/* open.c */

__attribute__((format(printf, 3, 4))) void ladon_say(const struct ladon *ladon,
						     enum ladon_level level, const char *fmt, ...);

/**
 * pins_lock() - be the only one who uses a pin directory, until the descriptor is closed
 *
 * Whatever ends a process gives its lock back. It lies on the directory, not on a name: other
 * network namespaces that see the same file system meet it, too.
 *
 * Return: the descriptor; -EBUSY: another process, or handle, is; or another negative errno.
 */
int pins_lock(const char *dir);

/** strings_copy() - a list that is ended by NULL. NULL: no memory */
char **strings_copy(const char *const *names);
void strings_free(char **names); /* NULL is fine */

#define PIN_PATH_BYTES 512

/** pin_path() - of an object in a pin directory; @out has PIN_PATH_BYTES */
void pin_path(char *out, const char *dir, const char *name);

/** ladon_now_ms() - CLOCK_MONOTONIC; its low 32 bits are the clock of struct ladon_flow */
uint64_t ladon_now_ms(void);

/** ladon_run() - test-run a program on @data, which it answers. Return: 0 or a negative errno */
int ladon_run(int prog_fd, void *data, uint32_t len);

/** ladon_run_among_ours() - the same, and the sockets that it finds are those of our own VRF */
int ladon_run_among_ours(const struct ladon *ladon, int prog_fd, void *data, uint32_t len);

/* programs.c */

/** programs_load() - ingress_fd to limits_fd, loaded or taken over. Return: 0 or a negative errno */
int programs_load(struct ladon *ladon);

/* links.c */

/**
 * links_open() - attach to the interfaces that are there, and watch for others
 * Return: 0; -ENODEV: a named interface is missing; another negative errno.
 */
int links_open(struct ladon *ladon, struct links **out);
void links_close(struct links *links);
int links_fd(const struct links *links);
void links_dispatch(struct links *links);
void links_tick(struct links *links); /* now and then */

/* cleanup.c */

/** qdisc_remove() - ladon's clsact qdisc goes unless others' filters are in it; 0 or a negative errno */
int qdisc_remove(int ifindex);

/* forward.c */

/** forward_allow() - switch forwarding on for lo, if that does no harm; else say so */
void forward_allow(struct ladon *ladon);

/** forward_undo() - if forward_allow() did: 0 or a negative errno */
int forward_undo(void);

/* guard.c */

/** socket_is_apart() - is it bound to another VRF than ours, or to an interface? */
bool socket_is_apart(const struct ladon *ladon, int fd);

/** socket_key() - a socket's addresses as its peer's packets carry them; NULL: ask the socket */
int socket_key(int fd, const struct sockaddr *peer, const struct sockaddr *local,
	       struct ladon_flow_key *out);

/* flows.c */

/** address_from() - what a key or an entry has, as the API tells it; IPv4 as such */
static inline void address_from(const __be32 from[4], __be16 port, union ladon_address *out)
{
	struct addr a;

	addr_from_16(from, port, &a);
	memset(out, 0, sizeof(*out));
	memcpy(out, &a, addr_len(&a));
}

/** entry_twin_key() - how the packets of the other direction arrive */
static inline struct ladon_flow_key entry_twin_key(const struct ladon_entry *entry)
{
	struct ladon_flow_key key = { .sport = entry->dport, .dport = entry->sport };

	memcpy(key.saddr, entry->daddr, sizeof(key.saddr));
	memcpy(key.daddr, entry->saddr, sizeof(key.daddr));
	return key;
}

int flows_open(struct ladon *ladon);
void flows_close(struct ladon *ladon);
void flows_tick(struct ladon *ladon);

/** flows_kill_one() - as ladon_flow_kill(), by the key of the client's direction and the flow's id */
int flows_kill_one(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id);

/** flows_was_reset() - of flow @id's two ends one is no more, as its RST told a socket: the other is told */
void flows_was_reset(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id,
		     bool by_client);

/** flows_untracked() - conntrack's entry with these two directions is gone: kill its flow, if any */
void flows_untracked(struct ladon *ladon, const struct ladon_flow_key *front,
		     const struct ladon_flow_key *back);

/** flows_finish() - give flows to the stack that were meant to be, and are not
 * @age_ms: those that are not younger; 0: all, while nobody hands off
 */
int flows_finish(struct ladon *ladon, uint32_t age_ms);

/** flows_check_tracked() - the same for every flow whose entry is gone */
int flows_check_tracked(struct ladon *ladon);

#endif
