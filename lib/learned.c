// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * learned.c - learned flows: switch them on and off, and clear away behind them
 *
 * The programs learn and forget by themselves (datapath/learned.h). What they need from here:
 *
 *	jumps		ladon_ingress and ladon_egress come to them by ladon_jumps; without
 *			that place filled, the stack has every packet again, at once
 *	liberal TCP	conntrack is asked, over ctnetlink, not to check the window of a
 *			connection that is to be learned
 *	old entries	those that no packet has confirmed for some time are deleted
 *	judged rules	what the firewall drops is dropped before it, and what conntrack has nothing
 *			to do with is learned, only where the rules are known to be such (lib/rules.c)
 *
 * Each start loads the programs anew, with an empty table: what a former process had learned
 * is learned again within a few packets.
 */
#include "learned.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../base/addr.h"
#include "../base/own.h"
#include "conntrack.h"
#include "learn.skel.h"
#include "private.h"
#include "rules.h"
#include "table.h"

#define FLOWS_MAX_DEFAULT 65536
#define FLOWS_MAX_LIMIT	  (1u << 24)
#define PACKETS_DEFAULT	  8
#define PACKETS_MAX	  200
#define ASK_MS		  1000
#define ASK_MS_MAX	  30000
#define IDLE_MS		  10000	 /* at least, without a confirmation */
#define BUCKETS_PER_TICK  262144 /* of the walk over the table: 16 MB, ... */
#define ENTRIES_PER_TICK  65536	 /* ... and these, each a line somewhere else in memory */
#define ASKS_PER_MS	  20 /* of all directions; each costs what a packet costs without ladon */
#define NEIGHBOURS_PIN	  "ladon_neighbours"
#define DROPS_PIN	  "ladon_drops"

struct learned {
	int how_fd, interfaces_fd, spared_fd, marks_fd, ask_fd, why_fd;
	int neighbours_fd;	     /* -1: changes of MAC addresses are found by asking */
	int drops_fd;		     /* -1: what the firewall drops is its own to drop */
	bool drops;		     /* ... and that was asked for */
	uint32_t confirm_ms;	     /* how often the stack is asked, ... */
	uint32_t ask_ms;	     /* ... and how often now: see asks_tune() */
	struct ladon_accelerate how; /* as the programs have it */
	struct rules *rules;
	uint64_t rules_next_ms; /* when they are looked at again */
	char **interfaces;	/* ended by NULL; NULL: any */

	struct table table;
	uint32_t at;		/* the bucket where the walk over it stands, ... */
	uint32_t looked;	/* ... entries that it has looked at, ... */
	uint32_t met;		/* ... and those of them that stay */
	uint32_t idle_since_ms; /* those go that were confirmed before that */
};

/* ---- the object ---- */

/* Maps that both objects have are the other one's. */
static int maps_share(const struct ladon *ladon, struct learn_bpf *skel)
{
	const struct {
		struct bpf_map *map;
		int fd;
	} shared[] = {
		{ skel->maps.ladon_flows, ladon->flows_fd },
		{ skel->maps.ladon_live, ladon->live_fd },
		{ skel->maps.ladon_events, ladon->events_fd },
		{ skel->maps.ladon_counters, ladon->counters_fd },
		{ skel->maps.ladon_jumps, ladon->jumps_fd },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(shared) / sizeof(shared[0]); i++)
		rc = bpf_map__reuse_fd(shared[i].map, shared[i].fd);
	return rc;
}

static void unpin(const struct ladon *ladon, const char *pin)
{
	char path[PIN_PATH_BYTES];

	pin_path(path, ladon->pin_dir, pin);
	unlink(path);
}

/* A link of a former process counts for programs that are gone. */
static int watch(const struct ladon *ladon, const struct bpf_program *program, const char *pin)
{
	char path[PIN_PATH_BYTES];
	struct bpf_link *link = bpf_program__attach(program);
	int fd;

	unpin(ladon, pin);
	pin_path(path, ladon->pin_dir, pin);
	if (!link)
		return -1;
	if (bpf_link__pin(link, path) < 0)
		ladon_say(ladon, LADON_LEVEL_WARN, "pin %s: %s", path, strerror(errno));
	fd = dup(bpf_link__fd(link));
	bpf_link__disconnect(link); /* it stays, pinned */
	bpf_link__destroy(link);
	return fd;
}

static void drops_watch(const struct ladon *ladon, struct learned *learned,
			const struct learn_bpf *skel)
{
	unpin(ladon, DROPS_PIN);
	if (!learned->drops)
		return;
	learned->drops_fd = watch(ladon, skel->progs.ladon_drop, DROPS_PIN);
	if (learned->drops_fd < 0)
		ladon_say(
			ladon, LADON_LEVEL_WARN,
			"accelerate: the kernel does not tell programs of what the firewall drops; "
			"it goes on to drop it itself");
}

static int jumps_fill(const struct ladon *ladon, int learned_fd, int learn_fd)
{
	const uint32_t learned = LADON_JUMP_LEARNED, learn = LADON_JUMP_LEARN;
	int rc = bpf_map_update_elem(ladon->jumps_fd, &learned, &learned_fd, BPF_ANY);

	return rc < 0 ? rc : bpf_map_update_elem(ladon->jumps_fd, &learn, &learn_fd, BPF_ANY);
}

static void jumps_empty(const struct ladon *ladon)
{
	const uint32_t learned = LADON_JUMP_LEARNED, learn = LADON_JUMP_LEARN;

	bpf_map_delete_elem(ladon->jumps_fd, &learned);
	bpf_map_delete_elem(ladon->jumps_fd, &learn);
}

static int object_keep(const struct ladon *ladon, struct learned *learned,
		       const struct learn_bpf *skel)
{
	struct ladon_question anything = { .why = 0 };

	learned->how_fd = dup(bpf_map__fd(skel->maps.ladon_accelerate));
	learned->interfaces_fd = dup(bpf_map__fd(skel->maps.ladon_accelerated));
	learned->spared_fd = dup(bpf_map__fd(skel->maps.ladon_spared));
	learned->marks_fd = dup(bpf_map__fd(skel->maps.ladon_learned_marks));
	learned->ask_fd = dup(bpf_map__fd(skel->maps.data_ask));
	learned->why_fd = dup(bpf_program__fd(skel->progs.ladon_why));
	if (learned->how_fd < 0 || learned->interfaces_fd < 0 || learned->spared_fd < 0 ||
	    learned->marks_fd < 0 || learned->ask_fd < 0 || learned->why_fd < 0)
		return -errno;
	ladon_run(learned->why_fd, &anything,
		  sizeof(anything)); /* it sees what namespace this is */
	learned->neighbours_fd = watch(ladon, skel->progs.ladon_neighbour, NEIGHBOURS_PIN);
	if (learned->neighbours_fd < 0)
		ladon_say(ladon, LADON_LEVEL_WARN,
			  "accelerate: the kernel does not tell programs of neighbours; a changed "
			  "MAC address acts within two seconds");
	drops_watch(ladon, learned, skel);
	return jumps_fill(ladon, bpf_program__fd(skel->progs.ladon_learned),
			  bpf_program__fd(skel->progs.ladon_learn));
}

static int libbpf_hush(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

static int table_size(struct learn_bpf *skel, uint32_t flows_max)
{
	uint32_t buckets = LADON_BUCKETS(flows_max * 2);

	skel->rodata->table_buckets = buckets;
	skel->rodata->table_secret = table_secret();
	bpf_map__set_max_entries(skel->maps.ladon_learned_tags, buckets);
	bpf_map__set_max_entries(skel->maps.ladon_learned_flows, buckets);
	bpf_map__set_max_entries(skel->maps.ladon_learned_marks, buckets);
	return skel->rodata->table_secret ? 0 : -EIO;
}

/* @watch: with what tells of neighbours, which needs tracepoints */
static int object_load(const struct ladon *ladon, struct learned *learned, uint32_t flows_max,
		       bool watch)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = ladon->pin_dir);
	struct learn_bpf *skel = learn_bpf__open_opts(&opts);
	int rc;

	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.ladon_neighbour, watch);
	bpf_program__set_autoload(skel->progs.ladon_drop, watch && learned->drops);
	rc = table_size(skel, flows_max);
	skel->data_ask->learned_ask_ms = learned->ask_ms;
	if (rc == 0)
		rc = maps_share(ladon, skel);
	if (rc == 0)
		rc = learn_bpf__load(skel);
	if (rc == 0)
		rc = table_map(&learned->table, bpf_map__fd(skel->maps.ladon_learned_filter),
			       bpf_map__fd(skel->maps.ladon_learned_tags),
			       bpf_map__fd(skel->maps.ladon_learned_flows),
			       skel->rodata->table_buckets, skel->rodata->table_secret);
	if (rc == 0)
		rc = object_keep(ladon, learned, skel);
	if (rc < 0)
		table_unmap(&learned->table);
	learn_bpf__destroy(skel);
	return rc;
}

static int learned_load(const struct ladon *ladon, struct learned *learned, uint32_t flows_max)
{
	static const struct ladon_flow_key nobody;
	libbpf_print_fn_t printer = libbpf_set_print(libbpf_hush);
	int rc;

	conntrack_has(ladon->conntrack,
		      &nobody); /* the question loads its modules, whose functions are called */
	rc = object_load(ladon, learned, flows_max, true);
	if (rc < 0)
		rc = object_load(ladon, learned, flows_max, false);
	libbpf_set_print(printer);
	return rc;
}

/* ---- conntrack's clock ---- */

/* A time of conntrack's in this network namespace. Return: milliseconds; 0: it cannot be read */
static uint32_t conntrack_ms(const char *name)
{
	unsigned long seconds = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/netfilter/nf_conntrack_%s", name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%lu", &seconds) != 1)
		seconds = 0;
	fclose(file);
	return seconds < UINT32_MAX / 1000 ? (uint32_t)seconds * 1000 : UINT32_MAX;
}

static uint32_t least_of(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Whoever asks the stack less often than twice in this time may find that conntrack has forgotten. */
static uint32_t ask_ms_max(void)
{
	uint32_t least = least_of(conntrack_ms("udp_timeout"), conntrack_ms("udp_timeout_stream"));

	return least ? least / 2 : ASK_MS_MAX;
}

/* ---- the handle's part ---- */

static void learned_free(struct learned *learned)
{
	const int fds[] = {
		learned->how_fd, learned->interfaces_fd, learned->spared_fd,	 learned->marks_fd,
		learned->ask_fd, learned->why_fd,	 learned->neighbours_fd, learned->drops_fd,
	};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	rules_close(learned->rules);
	strings_free(learned->interfaces);
	table_unmap(&learned->table);
	free(learned);
}

void learned_close(struct ladon *ladon)
{
	if (ladon->learned)
		learned_free(ladon->learned);
	ladon->learned = NULL;
}

static int learned_open(struct ladon *ladon, const struct ladon_acceleration *how)
{
	struct learned *learned = calloc(1, sizeof(*learned));
	int rc;

	if (!learned)
		return -ENOMEM;
	learned->how_fd = learned->interfaces_fd = -1;
	learned->spared_fd = learned->marks_fd = learned->ask_fd = learned->why_fd = -1;
	learned->neighbours_fd = learned->drops_fd = -1;
	learned->drops = !how->no_drops;
	learned->ask_ms = learned->confirm_ms = least_of(how->confirm_ms, ask_ms_max());
	if (learned->confirm_ms < how->confirm_ms)
		ladon_say(
			ladon, LADON_LEVEL_WARN,
			"accelerate: conntrack forgets UDP after %u ms (nf_conntrack_udp_timeout), so "
			"the stack is asked every %u ms, and not every %u",
			2 * learned->confirm_ms, learned->confirm_ms, how->confirm_ms);
	rc = rules_open(&learned->rules);
	if (rc == 0)
		rc = learned_load(ladon, learned, how->flows_max);
	if (rc < 0) {
		learned_free(learned);
		return rc;
	}
	ladon->learned = learned;
	return 0;
}

/* ---- what is to be learned ---- */

void learned_link(const struct ladon *ladon, int ifindex, const char *name)
{
	const struct learned *learned = ladon->learned;
	const uint8_t yes = 1;

	for (size_t i = 0; learned && learned->interfaces && learned->interfaces[i]; i++)
		if (strcmp(learned->interfaces[i], name) == 0)
			bpf_map_update_elem(learned->interfaces_fd, &ifindex, &yes, BPF_ANY);
}

static int interfaces_set(const struct ladon *ladon, const char *const *names)
{
	struct learned *learned = ladon->learned;

	if (!names)
		return 0;
	learned->interfaces = strings_copy(names);
	if (!learned->interfaces)
		return -ENOMEM;
	for (size_t i = 0; names[i]; i++)
		if (if_nametoindex(names[i]))
			learned_link(ladon, (int)if_nametoindex(names[i]), names[i]);
	return 0;
}

static int spare(const struct learned *learned, const struct ladon_network *network, uint8_t value)
{
	struct ladon_spared key = { .bits = network->bits };

	memcpy(key.addr, network->address, sizeof(key.addr));
	return bpf_map_update_elem(learned->spared_fd, &key, &value, BPF_ANY);
}

/* IPv4 is not in prefixes of IPv6, though the trie has it there. */
static int networks_spare(const struct learned *learned, const struct ladon_network *networks,
			  size_t len)
{
	static const struct ladon_network ip4 = { { [10] = 0xff, 0xff }, 96 };
	int rc = len ? spare(learned, &ip4, 0) : 0;

	for (size_t i = 0; rc == 0 && i < len; i++)
		rc = spare(learned, &networks[i], 1);
	return rc;
}

_Static_assert(LADON_EXCEPT_PORTS == LADON_SPARED_PORTS && LADON_EXCEPT_MARKS == LADON_SPARED_MARKS,
	       "what is given fits");

static int how_put(const struct learned *learned)
{
	const uint32_t zero = 0;

	return bpf_map_update_elem(learned->how_fd, &zero, &learned->how, BPF_ANY);
}

static int how_write(const struct ladon *ladon, const struct ladon_acceleration *how)
{
	struct ladon_accelerate *value = &ladon->learned->how;
	int rc = interfaces_set(ladon, how->interfaces);

	if (rc == 0)
		rc = networks_spare(ladon->learned, how->except_networks, how->except_networks_len);
	value->packets = how->packets ? how->packets : PACKETS_DEFAULT;
	value->established_ms = conntrack_ms("tcp_timeout_established");
	value->reset_ms = conntrack_ms("tcp_timeout_close");
	if (how->tcp)
		value->what |= LADON_ACCELERATE_TCP;
	if (how->udp)
		value->what |= LADON_ACCELERATE_UDP;
	if (how->interfaces)
		value->what |= LADON_ACCELERATE_NAMED;
	if (how->except_networks_len)
		value->what |= LADON_ACCELERATE_SPARED;
	for (size_t i = 0; i < LADON_EXCEPT_PORTS; i++) {
		value->ports[i].from = how->except_ports[i].from;
		value->ports[i].to = how->except_ports[i].to;
	}
	for (size_t i = 0; i < LADON_EXCEPT_MARKS; i++) {
		value->marks[i].value = how->except_marks[i].value;
		value->marks[i].mask = how->except_marks[i].mask;
	}
	return rc < 0 ? rc : how_put(ladon->learned);
}

static void off(struct ladon *ladon)
{
	jumps_empty(ladon);
	unpin(ladon, NEIGHBOURS_PIN);
	unpin(ladon, DROPS_PIN);
	learned_close(ladon);
}

/* The versions of the caller's struct that are shorter than ours lack what 0 stands for. */
static void how_copy(const struct ladon_acceleration *given, struct ladon_acceleration *how)
{
	memset(how, 0, sizeof(*how));
	memcpy(how, given, given->size < sizeof(*how) ? given->size : sizeof(*how));
	how->flows_max = how->flows_max ? how->flows_max : FLOWS_MAX_DEFAULT;
	how->confirm_ms = how->confirm_ms ? how->confirm_ms : ASK_MS;
}

int ladon_accelerate(struct ladon *ladon, const struct ladon_acceleration *given)
{
	struct ladon_acceleration how;
	int rc = 0;

	if (!given) {
		off(ladon);
		return 0;
	}
	how_copy(given, &how);
	if (how.packets > PACKETS_MAX || how.flows_max > FLOWS_MAX_LIMIT ||
	    how.confirm_ms > ASK_MS_MAX || how.except_networks_len > LADON_EXCEPT_NETWORKS)
		return -EINVAL;
	learned_close(ladon);
	if (ladon->vrf || !ladon->conntrack)
		rc = -EOPNOTSUPP;
	if (rc == 0)
		rc = learned_open(ladon, &how);
	if (rc == 0)
		rc = how_write(ladon, &how);
	if (rc < 0)
		ladon_say(
			ladon, LADON_LEVEL_ERR,
			"accelerate: %s (needs Linux 6.2 with conntrack and its BTF, and is not for "
			"VRFs)",
			strerror(-rc));
	return rc;
}

/* ---- what the programs ask for ---- */

void learned_strict(const struct ladon *ladon, const struct ladon_strict *strict)
{
	if (ladon->conntrack)
		conntrack_relax(ladon->conntrack, &strict->key);
}

/* ---- what kind of rules there are ---- */

/*
 * A hundred thousand rules that change all the time are no reason to read nothing else: one twentieth of the time. This
 * thread's own: one that stood still in between has done nothing.
 */
#define RULES_PAUSE 20

static uint64_t cpu_ms(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

static int rules_read(struct learned *learned, struct judgement *out)
{
	uint64_t began_ms;
	int rc;

	if (ladon_now_ms() < learned->rules_next_ms)
		return 0;
	began_ms = cpu_ms();
	rc = rules_judge(learned->rules, out);
	learned->rules_next_ms = ladon_now_ms() + RULES_PAUSE * (cpu_ms() - began_ms);
	return rc;
}

static void rules_look(const struct ladon *ladon, struct learned *learned)
{
	struct judgement now;
	int rc = rules_read(learned, &now);

	if (rc < 0 && rc != -EAGAIN)
		ladon_say(ladon, LADON_LEVEL_DEBUG, "accelerate: rules: %s", strerror(-rc));
	if (rc <= 0)
		return;
	learned->how.judged = now.generation;
	learned->how.what &= ~(__u32)(LADON_ACCELERATE_DROPS | LADON_ACCELERATE_UNTRACKED |
				      LADON_ACCELERATE_TRACKLESS);
	if (learned->drops_fd >= 0 && now.by_flow)
		learned->how.what |= LADON_ACCELERATE_DROPS;
	if (!now.rewrites)
		learned->how.what |= LADON_ACCELERATE_UNTRACKED;
	if (!now.rewrites && !now.tracks)
		learned->how.what |= LADON_ACCELERATE_TRACKLESS;
	how_put(learned);
	if (learned->drops_fd >= 0)
		ladon_say(ladon, LADON_LEVEL_DEBUG, "accelerate: what the firewall drops is %s%s",
			  now.by_flow ? "dropped before it" : "left to it: ", now.why);
}

/* ---- the table ---- */

/* One that is confirmed in this very moment is deleted, too, and learned again. */
static int clear(void *arg, const struct ladon_learned *entry)
{
	struct learned *learned = arg;

	learned->looked++;
	if ((int32_t)(learned->idle_since_ms - entry->confirmed_ms) > 0)
		table_delete(&learned->table, &entry->key, ladon_now_ms);
	else
		learned->met++;
	return 0;
}

/* Return: the walk has come to its end */
static bool walk_on(struct learned *learned)
{
	uint32_t end = learned->at + BUCKETS_PER_TICK, most = learned->looked + ENTRIES_PER_TICK;
	uint32_t idle_ms = 3 * learned->ask_ms > IDLE_MS ? 3 * learned->ask_ms : IDLE_MS;

	if (end > learned->table.len)
		end = learned->table.len;
	learned->idle_since_ms = (uint32_t)ladon_now_ms() - idle_ms;
	for (; learned->at < end && learned->looked < most; learned->at++)
		table_each(&learned->table, learned->at, 1, clear, learned);
	return learned->at == learned->table.len;
}

/*
 * A flow's packet asks the stack if none has for so long. Of many flows with few packets each, nearly all would: so the
 * more there are, the longer that is. What has a generation acts at once nevertheless.
 */
static void asks_tune(struct learned *learned)
{
	const uint32_t zero = 0;
	uint32_t ms = learned->met / ASKS_PER_MS;

	ms = least_of(ms, ASK_MS_MAX);
	ms = least_of(ms > learned->confirm_ms ? ms : learned->confirm_ms, ask_ms_max());
	if (ms != learned->ask_ms && bpf_map_update_elem(learned->ask_fd, &zero, &ms, BPF_ANY) == 0)
		learned->ask_ms = ms;
}

void learned_tick(struct ladon *ladon)
{
	struct learned *learned = ladon->learned;

	if (!learned)
		return;
	rules_look(ladon, learned);
	if (!walk_on(learned))
		return;
	asks_tune(learned);
	learned->at = learned->looked = learned->met = 0;
}

static void twin_key(const struct ladon_learned *l, struct ladon_learned_key *out)
{
	memcpy(out->saddr, l->daddr, sizeof(out->saddr));
	memcpy(out->daddr, l->saddr, sizeof(out->daddr));
	out->sport = l->dport;
	out->dport = l->sport;
	out->via = LADON_VIA(l->ifindex, LADON_VIA_PROTOCOL(l->key.via));
}

/* How it would be if it were there: with no packets */
static void twin_guess(const struct ladon_learned *l, struct ladon_learned *twin)
{
	memset(twin, 0, sizeof(*twin));
	twin_key(l, &twin->key);
	memcpy(twin->saddr, l->key.daddr, sizeof(twin->saddr));
	memcpy(twin->daddr, l->key.saddr, sizeof(twin->daddr));
	twin->sport = l->key.dport;
	twin->dport = l->key.sport;
	twin->ifindex = LADON_VIA_IFINDEX(l->key.via);
	twin->confirmed_ms = l->confirmed_ms;
}

static void describe(const struct ladon_learned *in, const struct ladon_learned *back,
		     uint32_t now_ms, struct ladon_learned_flow *out)
{
	int32_t in_age_ms = (int32_t)(now_ms - in->confirmed_ms);
	int32_t back_age_ms = (int32_t)(now_ms - back->confirmed_ms);
	int32_t age_ms = in_age_ms < back_age_ms ? in_age_ms : back_age_ms;

	*out = (struct ladon_learned_flow){
		.protocol = LADON_VIA_PROTOCOL(in->key.via),
		.in = LADON_VIA_IFINDEX(in->key.via),
		.out = in->ifindex,
		.packets_in = in->packets,
		.bytes_in = in->bytes,
		.packets_out = back->packets,
		.bytes_out = back->bytes,
		.stack_packets = (uint64_t)in->confirmed + back->confirmed,
		.confirmed_ms = age_ms > 0 ? (uint64_t)age_ms : 0,
	};
	address_from(in->key.saddr, in->key.sport, &out->from);
	address_from(in->key.daddr, in->key.dport, &out->to);
	address_from(in->saddr, in->sport, &out->as_from);
	address_from(in->daddr, in->dport, &out->as_to);
}

static uint32_t mark_of(const struct learned *learned, const struct ladon_learned *l)
{
	const struct ladon_learned *first = learned->table.entries->of;
	uint32_t bucket = (uint32_t)(l - first) / LADON_PLACES;
	struct ladon_learned_marks marks = { 0 };

	if (l->state & LADON_LEARNED_MARKED)
		bpf_map_lookup_elem(learned->marks_fd, &bucket, &marks);
	return marks.of[(l - first) % LADON_PLACES].mark;
}

struct telling {
	const struct learned *learned;
	int (*fn)(void *arg, const struct ladon_learned_flow *);
	void *arg;
	uint32_t now_ms;
};

/* A flow is told of once: by its first direction, or by the other if that is alone. */
static int tell(void *arg, const struct ladon_learned *l)
{
	const struct telling *t = arg;
	bool is_reply = l->state & LADON_LEARNED_REPLY;
	struct ladon_learned_flow flow;
	const struct ladon_learned *there;
	struct ladon_learned twin;

	if (!l->key.via)
		return 0; /* it comes or goes in this very moment */
	twin_guess(l, &twin);
	there = table_find(&t->learned->table, &twin.key);
	if (there && is_reply)
		return 0;
	if (there)
		twin = *there;
	describe(is_reply ? &twin : l, is_reply ? l : &twin, t->now_ms, &flow);
	flow.mark = mark_of(t->learned, l);
	return t->fn(t->arg, &flow);
}

int ladon_learned_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_learned_flow *),
		       void *arg)
{
	const struct learned *learned = ladon->learned;
	struct telling t = { learned, fn, arg, (uint32_t)ladon_now_ms() };

	return learned ? table_each(&learned->table, 0, learned->table.len, tell, &t) : 0;
}

/* ---- one connection ---- */

struct asking {
	const struct ladon *ladon;
	struct ladon_question question;
	int protocol;
};

/* Return: 1: it is learned there */
static int ask(void *arg, const char *interface)
{
	struct asking *asking = arg;
	struct ladon_question *question = &asking->question;
	int rc;

	question->key.via = LADON_VIA(if_nametoindex(interface), asking->protocol);
	rc = ladon_run(asking->ladon->learned->why_fd, question, sizeof(*question));
	if (rc < 0)
		return rc;
	return question->why == LADON_REASON_NONE || question->why == LADON_REASON_LEARNED_STALE;
}

int ladon_learned_why(struct ladon *ladon, int protocol, const struct sockaddr *from,
		      const struct sockaddr *to, unsigned int *reason)
{
	struct asking asking = { .ladon = ladon,
				 .protocol = protocol,
				 .question.why = LADON_REASON_NO_FLOW };
	struct addr source, dest;
	int rc = addr_from(from, &source);

	if (rc == 0)
		rc = addr_from(to, &dest);
	if (rc == 0 && (addr_family(&source) != addr_family(&dest) ||
			(protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)))
		rc = -EINVAL;
	if (rc < 0)
		return rc;
	if (!ladon->learned)
		return -EOPNOTSUPP;
	addr_to_16(&source, asking.question.key.saddr);
	addr_to_16(&dest, asking.question.key.daddr);
	asking.question.key.sport = htons(addr_port(&source));
	asking.question.key.dport = htons(addr_port(&dest));
	rc = ladon_interface_each(ladon, ask, &asking);
	*reason = asking.question.why;
	return rc < 0 ? rc : 0;
}
