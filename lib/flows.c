// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * flows.c - the table from user space: listing, and the ends of flows
 *
 * A flow that closed is kept for linger_ms, so that a repeated FIN still finds
 * its way, then reaped, and only then is its port free. The datapath tells of
 * closed flows by events; whatever it could not tell (nobody listened, or the
 * ring was full), and flows that fell silent, a walk through the table finds, a
 * few slices at each tick.
 *
 * The walk is all the clock that a flow has: it probes ends that are silent, ends
 * flows by their limits, and sees to it that both ends of a killed one are told. What
 * it must know between two looks stands in the entries, so the next process goes on.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conntrack.h"
#include "hops.h"
#include "learned.h"
#include "limits.h"
#include "private.h"
#include "probe.h"
#include "source.h"
#include "stack.h"

#define SLICE		512 /* entries read at once; more than any hash bucket holds */
#define SLICES_PER_TICK 32
#define SWEEP_PERIOD_MS 1000
#define KILLED_MS	300000 /* that killed flows wait for ends that cannot be made to speak */
#define TELL_MS		1000   /* that is waited for an end to be told */
#define TELL_TRIES	5
#define ASKS_PER_TICK	512   /* flows whose ends are probed at once: no burst */
#define MISSED_MS	10000 /* that an event of a closed flow may be late */
#define AHEAD_MS	3600000
#define HANDOFF_MS	1000 /* more than a handoff takes */
#define LATE_MS		100  /* more than the datapath's clock is behind: a jiffy */

struct slice {
	struct ladon_flow_key keys[SLICE];
	struct ladon_entry entries[SLICE];
	uint32_t len;
};

/* One flow: its client's direction, and what is known of the other. */
struct pair {
	const struct ladon_flow_key *key;
	const struct ladon_entry *c2b;
	struct ladon_entry b2c;
};

/*
 * Truncated times: 49.7 days behind are told apart, less an hour for clocks that are
 * said to be one and are not quite.
 */
static uint64_t since(uint32_t now_ms, uint32_t then_ms)
{
	uint32_t ms = now_ms - then_ms;

	return ms > UINT32_MAX - AHEAD_MS ? 0 : ms;
}

/* A RST that answered a probe has killed the flow, but nobody was told of its end yet. */
static enum ladon_flow_state pair_state(const struct pair *p)
{
	uint32_t state = p->c2b->state | p->b2c.state;

	if (state & LADON_STATE_KILLED && !(state & LADON_STATE_RESET))
		return LADON_FLOW_KILLED;
	if (state & (LADON_STATE_CLOSED | LADON_STATE_KILLED))
		return LADON_FLOW_CLOSED;
	if (state & (LADON_STATE_FIN | LADON_STATE_PEER_FIN))
		return LADON_FLOW_HALF_CLOSED;
	return LADON_FLOW_OPEN;
}

static void pair_describe(const struct pair *p, struct ladon_flow *out)
{
	uint32_t now_ms = (uint32_t)ladon_now_ms();
	uint64_t in_idle = since(now_ms, p->c2b->seen_ms);
	uint64_t out_idle = since(now_ms, p->b2c.seen_ms);

	memset(out, 0, sizeof(*out));
	out->id = p->c2b->id;
	out->state = pair_state(p);
	address_from(p->key->saddr, p->key->sport, &out->client);
	address_from(p->key->daddr, p->key->dport, &out->listener);
	address_from(p->c2b->saddr, p->c2b->sport, &out->source);
	address_from(p->c2b->daddr, p->c2b->dport, &out->backend);
	out->packets_in = p->c2b->packets;
	out->bytes_in = p->c2b->bytes;
	out->packets_out = p->b2c.packets;
	out->bytes_out = p->b2c.bytes;
	out->age_ms = since(now_ms, p->b2c.made_ms);
	out->idle_ms = in_idle < out_idle ? in_idle : out_idle;
	if (out->idle_ms > out->age_ms && out->idle_ms - out->age_ms < LATE_MS)
		out->idle_ms = out->age_ms; /* .made_ms is precise, .seen_ms may be late */
}

static int twin_read(struct ladon *ladon, const struct ladon_entry *c2b, struct ladon_entry *out)
{
	struct ladon_flow_key key = entry_twin_key(c2b);

	return bpf_map_lookup_elem(ladon->flows_fd, &key, out);
}

/* Return: 0; -ENOENT: that was the last one; or another negative errno */
static int slice_read(struct ladon *ladon, bool first, uint32_t *cursor, struct slice *slice)
{
	uint32_t next = 0;
	int rc;

	slice->len = SLICE;
	rc = bpf_map_lookup_batch(ladon->flows_fd, first ? NULL : cursor, &next, slice->keys,
				  slice->entries, &slice->len, NULL);
	*cursor = next;
	if (rc < 0 && rc != -ENOENT)
		slice->len = 0;
	return rc;
}

/* Calls @fn with each flow of the slice. Return: what @fn returned last */
static int slice_each(struct ladon *ladon, const struct slice *slice,
		      int (*fn)(struct ladon *, const struct pair *, void *), void *arg)
{
	int rc = 0;

	for (uint32_t i = 0; i < slice->len && rc == 0; i++) {
		struct pair p = { .key = &slice->keys[i], .c2b = &slice->entries[i] };

		if (p.c2b->what & LADON_FLOW_TO_CLIENT)
			continue;
		if (twin_read(ladon, p.c2b, &p.b2c) == 0 && p.b2c.id == p.c2b->id)
			rc = fn(ladon, &p, arg);
	}
	return rc;
}

static int pairs_each(struct ladon *ladon, int (*fn)(struct ladon *, const struct pair *, void *),
		      void *arg)
{
	struct slice *slice = malloc(sizeof(*slice));
	uint32_t cursor = 0;
	bool first = true;
	int rc = slice ? 0 : -ENOMEM, last;

	while (rc == 0) {
		last = slice_read(ladon, first, &cursor, slice);
		first = false;
		rc = slice_each(ladon, slice, fn, arg);
		if (rc == 0 && last < 0) {
			rc = last == -ENOENT ? 0 : last;
			break;
		}
	}
	free(slice);
	return rc;
}

struct each {
	int (*fn)(void *arg, const struct ladon_flow *);
	void *arg;
};

static int each_pair(struct ladon *ladon, const struct pair *p, void *arg)
{
	const struct each *each = arg;
	struct ladon_flow flow;

	(void)ladon;
	pair_describe(p, &flow);
	return each->fn(each->arg, &flow);
}

int ladon_flow_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_flow *), void *arg)
{
	struct each each = { fn, arg };

	return pairs_each(ladon, each_pair, &each);
}

/* Return: 0; -ENOENT: no such flow, or it is over; else another negative errno */
static int edit(struct ladon *ladon, uint16_t op, const struct ladon_flow_key *key, uint32_t id)
{
	struct ladon_request req = { .op = op, .front = *key, .id = id };
	int rc = ladon_run(ladon->edit_fd, &req, sizeof(req));

	if (rc < 0)
		return rc;
	return req.reason ? -ENOENT : 0;
}

/* The port is not free before: the entry would be another flow's. */
static void untrack(struct ladon *ladon, const struct ladon_entry *c2b)
{
	struct ladon_flow_key back = entry_twin_key(c2b);

	if (c2b->state & LADON_STATE_STACK && ladon->conntrack)
		conntrack_part(ladon->conntrack, &back);
}

static void port_free(struct ladon *ladon, const struct ladon_entry *c2b)
{
	struct addr source, backend;

	if (c2b->what & LADON_FLOW_UNCOUNTED)
		return;
	addr_from_16(c2b->saddr, c2b->sport, &source);
	addr_from_16(c2b->daddr, c2b->dport, &backend);
	sources_end(ladon->sources, ladon->options.sources_len ? &source : NULL, &backend,
		    addr_port(&source), ladon_now_ms());
}

static void tell(struct ladon *ladon, const struct pair *p, enum ladon_end why, bool by_client)
{
	struct ladon_flow flow;

	if (!ladon->options.ended)
		return;
	pair_describe(p, &flow);
	flow.by_client = by_client;
	ladon->options.ended(ladon->options.arg, &flow, why);
}

/* A flow is gone from the table: its port is free, and its end is told, once. */
static void ended(struct ladon *ladon, const struct ladon_event *event)
{
	struct pair p = { .key = &event->key, .c2b = &event->flow };
	uint32_t state = event->flow.state;

	p.b2c.packets = event->back.packets;
	p.b2c.bytes = event->back.bytes;
	p.b2c.seen_ms = event->back_seen_ms;
	p.b2c.made_ms = event->back_made_ms;
	untrack(ladon, &event->flow);
	port_free(ladon, &event->flow);
	if (state & LADON_STATE_KILLED && !event->reset)
		return; /* told when it was killed */
	if (state & (LADON_STATE_CLOSED | LADON_STATE_KILLED))
		tell(ladon, &p, event->reset ? LADON_END_RESET : LADON_END_FIN, event->by_client);
	else
		tell(ladon, &p, LADON_END_IDLE, false);
}

/* Delete what is in there, tell of it, and leave it empty. */
static void reap(struct ladon *ladon, struct ladon_reaping *r)
{
	if (r->len && ladon_run(ladon->reap_fd, r, sizeof(*r)) == 0)
		for (unsigned int i = 0; i < r->len; i++)
			if (r->flows[i].type == LADON_EVENT_ENDED)
				ended(ladon, &r->flows[i]);
	r->len = 0;
}

static void reap_later(struct ladon *ladon, struct ladon_reaping *r,
		       const struct ladon_flow_key *key, uint32_t id)
{
	r->flows[r->len++] = (struct ladon_event){ .key = *key, .flow.id = id };
	if (r->len == LADON_REAP_MAX)
		reap(ladon, r);
}

static bool is_to_be_told(const struct ladon_entry *entry)
{
	return !(entry->state & LADON_STATE_TOLD) && probe_count(entry) < TELL_TRIES;
}

/* Whoever does not know yet that the flow was killed. Return: is there anybody? */
static bool pair_say_killed(struct ladon *ladon, const struct pair *p)
{
	bool client = is_to_be_told(p->c2b), backend = is_to_be_told(&p->b2c);

	if (!probe_can(p->c2b))
		return true;
	if (client)
		probe_send(ladon, p->c2b, &p->b2c);
	if (backend)
		probe_send(ladon, &p->b2c, p->c2b);
	return client || backend;
}

/* As ladon_flow_kill(). @by_client: whose LADON_END_DEAD or LADON_END_RESET it is */
static int pair_kill(struct ladon *ladon, const struct pair *p, enum ladon_end why, bool by_client)
{
	enum ladon_flow_state state = pair_state(p);
	int rc;

	if (state != LADON_FLOW_OPEN && state != LADON_FLOW_HALF_CLOSED)
		return -ENOENT; /* it ended before, and was or will be told of */
	rc = edit(ladon, LADON_EDIT_KILL, p->key, p->c2b->id);
	if (rc < 0)
		return rc;
	untrack(ladon, p->c2b); /* or a new connection of the client's would be the flow's */
	pair_say_killed(ladon, p);
	tell(ladon, p, why, by_client);
	return 0;
}

/* Return: 0; -ENOENT: no such flow; or another negative errno. @p gets @c2b and @key */
static int pair_read(struct ladon *ladon, const struct ladon_flow_key *key, struct ladon_entry *c2b,
		     struct pair *p)
{
	int rc = bpf_map_lookup_elem(ladon->flows_fd, key, c2b);

	p->key = key;
	p->c2b = c2b;
	if (rc == 0)
		rc = twin_read(ladon, c2b, &p->b2c);
	return rc == 0 && p->b2c.id != c2b->id ? -ENOENT : rc;
}

static int kill_one(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id,
		    enum ladon_end why, bool by_client)
{
	struct ladon_entry c2b;
	struct pair p;
	int rc = pair_read(ladon, front, &c2b, &p);

	if (rc == 0 && c2b.id != id)
		rc = -ENOENT;
	return rc < 0 ? rc : pair_kill(ladon, &p, why, by_client);
}

int ladon_flow_kill(struct ladon *ladon, const struct ladon_flow *flow)
{
	struct ladon_flow_key key;
	int rc = socket_key(-1, &flow->client.sa, &flow->listener.sa, &key);

	return rc < 0 ? rc : flows_kill_one(ladon, &key, flow->id);
}

int flows_kill_one(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id)
{
	return kill_one(ladon, front, id, LADON_END_KILLED, false);
}

void flows_was_reset(struct ladon *ladon, const struct ladon_flow_key *front, uint32_t id,
		     bool by_client)
{
	if (kill_one(ladon, front, id, LADON_END_RESET, by_client) == 0)
		ladon_say(ladon, LADON_LEVEL_DEBUG, "flow %u: reset in the moment of its handoff",
			  id);
}

void flows_untracked(struct ladon *ladon, const struct ladon_flow_key *front,
		     const struct ladon_flow_key *back)
{
	struct ladon_entry c2b;
	struct ladon_flow_key key;

	if (bpf_map_lookup_elem(ladon->flows_fd, front, &c2b) < 0 ||
	    !(c2b.state & LADON_STATE_STACK))
		return;
	key = entry_twin_key(&c2b);
	if (memcmp(&key, back, sizeof(key)) == 0 && flows_kill_one(ladon, front, c2b.id) == 0)
		ladon_say(ladon, LADON_LEVEL_DEBUG, "flow %u: conntrack forgot it: killed", c2b.id);
}

static int check_pair(struct ladon *ladon, const struct pair *p, void *arg)
{
	struct ladon_flow_key back = entry_twin_key(p->c2b);

	(void)arg;
	if (p->c2b->state & LADON_STATE_STACK && !conntrack_has(ladon->conntrack, &back))
		pair_kill(ladon, p, LADON_END_KILLED, false);
	return 0;
}

/* Of a process that died in the middle of a handoff, or of one that had no memory for its last step */
static int finish_pair(struct ladon *ladon, const struct pair *p, void *arg)
{
	const uint32_t *age_ms = arg;
	struct ladon_flow_key back = entry_twin_key(p->c2b);
	struct ladon_limits sets[LADON_LIMITS];

	if (!(p->c2b->what & LADON_FLOW_STACK) ||
	    p->c2b->state & (LADON_STATE_STACK | LADON_STATE_KILLED))
		return 0;
	if (since((uint32_t)ladon_now_ms(), p->b2c.made_ms) < *age_ms) {
		atomic_store(&ladon->unfinished, true);
		return 0;
	}
	limits_copy(ladon, sets);
	stack_take(ladon, p->key, &back, p->c2b->id, limits_of(sets, p->c2b)->idle_ms);
	return 0;
}

int flows_finish(struct ladon *ladon, uint32_t age_ms)
{
	return pairs_each(ladon, finish_pair, &age_ms);
}

int flows_check_tracked(struct ladon *ladon)
{
	return pairs_each(ladon, check_pair, NULL);
}

static bool linger_grow(struct linger_queue *q)
{
	size_t size = q->size ? q->size * 2 : 256;
	struct lingering *ring = calloc(size, sizeof(*ring));

	if (!ring)
		return false;
	for (size_t i = 0; i < q->len; i++)
		ring[i] = q->ring[(q->head + i) & (q->size - 1)];
	free(q->ring);
	*q = (struct linger_queue){ ring, size, 0, q->len };
	return true;
}

/* Without memory the flow stays until the walk finds it. */
static void linger_push(struct ladon *ladon, const struct ladon_flow_key *key, uint32_t id)
{
	struct linger_queue *q = &ladon->linger;
	struct lingering *l;

	if (q->len == q->size && !linger_grow(q))
		return;
	l = &q->ring[(q->head + q->len++) & (q->size - 1)];
	l->key = *key;
	l->id = id;
	l->due_ms = ladon_now_ms() + ladon->options.linger_ms;
}

static void linger_expire(struct ladon *ladon)
{
	struct linger_queue *q = &ladon->linger;
	struct ladon_reaping r = { .only_closed = true };
	uint64_t now_ms = ladon_now_ms();

	while (q->len && q->ring[q->head].due_ms <= now_ms) {
		const struct lingering *l = &q->ring[q->head];

		reap_later(ladon, &r, &l->key, l->id);
		q->head = (q->head + 1) & (q->size - 1);
		q->len--;
	}
	reap(ladon, &r);
}

static int event_take(void *arg, void *data, size_t len)
{
	const struct ladon_event *event = data;
	const struct ladon_strict *strict = data;
	struct ladon *ladon = arg;

	if (len == sizeof(*strict))
		learned_strict(ladon, strict);
	if (len < sizeof(*event))
		return 0;
	if (event->type == LADON_EVENT_CLOSED)
		linger_push(ladon, &event->key, event->flow.id);
	else
		ended(ladon, event);
	return 0;
}

/*
 * What a walk does with flows of which it is time for something. A flow's state, the time
 * of its last probe and whether either end has not answered that can be seen in the
 * client's direction alone; whether the backend has spoken meanwhile cannot.
 */
struct sweep {
	struct ladon_limits sets[LADON_LIMITS];
	struct ladon_reaping reaping;
	uint32_t now_ms;
	unsigned int asked; /* flows whose ends were probed in this tick */
};

/* How long a flow may be silent */
static uint64_t silence_ms(const struct ladon *ladon, const struct ladon_limits *limits,
			   uint32_t state)
{
	if (state & LADON_STATE_KILLED)
		return KILLED_MS;
	if (state & LADON_STATE_CLOSED)
		return ladon->options.linger_ms + MISSED_MS;
	if (state & (LADON_STATE_FIN | LADON_STATE_PEER_FIN))
		return limits->half_closed_ms;
	return limits->idle_ms;
}

static bool probe_is_due(const struct sweep *sweep, const struct ladon_limits *limits,
			 const struct ladon_entry *c2b, uint64_t silent_ms)
{
	bool waits = c2b->state & (LADON_STATE_PROBES | LADON_STATE_WAITS);
	uint64_t pause_ms = waits ? limits->probe_interval_ms : limits->probe_after_ms;

	return limits->probe_after_ms && silent_ms >= limits->probe_after_ms &&
	       since(sweep->now_ms, c2b->made_ms) >= pause_ms;
}

static bool pair_is_due(const struct ladon *ladon, const struct sweep *sweep,
			const struct ladon_entry *c2b)
{
	const struct ladon_limits *limits = limits_of(sweep->sets, c2b);
	uint64_t silent_ms = since(sweep->now_ms, c2b->seen_ms);

	if (c2b->state & LADON_STATE_KILLED && probe_can(c2b))
		return since(sweep->now_ms, c2b->made_ms) >= TELL_MS;
	return silent_ms >= silence_ms(ladon, limits, c2b->state) ||
	       (!(c2b->state & LADON_STATE_CLOSED) && probe_is_due(sweep, limits, c2b, silent_ms));
}

/* Both ends, or those that have not answered the last time */
static void pair_probe(struct ladon *ladon, const struct pair *p, const struct ladon_limits *limits)
{
	uint32_t client = probe_count(p->c2b), backend = probe_count(&p->b2c);

	if (client >= limits->probes || backend >= limits->probes) {
		pair_kill(ladon, p, LADON_END_DEAD, client >= limits->probes);
		return;
	}
	if (client || !backend)
		probe_send(ladon, p->c2b, &p->b2c);
	if (backend || !client)
		probe_send(ladon, &p->b2c, p->c2b);
}

/* Nobody is left to be told, or can be */
static bool killed_is_done(struct ladon *ladon, const struct sweep *sweep, const struct pair *p,
			   uint64_t silent_ms)
{
	return !pair_say_killed(ladon, p) ||
	       (silent_ms >= KILLED_MS && since(sweep->now_ms, p->c2b->made_ms) >= KILLED_MS);
}

static int sweep_pair(struct ladon *ladon, const struct pair *p, void *arg)
{
	struct sweep *sweep = arg;
	const struct ladon_limits *limits = limits_of(sweep->sets, p->c2b);
	uint32_t state = p->c2b->state | p->b2c.state;
	struct ladon_flow flow;

	pair_describe(p, &flow);
	if (state & LADON_STATE_CLOSED || !probe_can(p->c2b)) {
		if (flow.idle_ms >= silence_ms(ladon, limits, state))
			reap_later(ladon, &sweep->reaping, p->key, p->c2b->id);
		return 0;
	}
	if (sweep->asked == ASKS_PER_TICK)
		return 0; /* next time */
	if (state & LADON_STATE_KILLED) {
		if (killed_is_done(ladon, sweep, p, flow.idle_ms))
			reap_later(ladon, &sweep->reaping, p->key, p->c2b->id);
	} else if (flow.idle_ms >= silence_ms(ladon, limits, state)) {
		pair_kill(ladon, p, LADON_END_IDLE, false);
	} else if (probe_is_due(sweep, limits, p->c2b, flow.idle_ms)) {
		pair_probe(ladon, p, limits);
	} else {
		return 0;
	}
	sweep->asked++;
	return 0;
}

/* Keep only flows for which it may be time: the rest needs no second look. */
static void slice_keep_due(struct ladon *ladon, const struct sweep *sweep, struct slice *slice)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < slice->len; i++) {
		const struct ladon_entry *entry = &slice->entries[i];

		if (entry->what & LADON_FLOW_TO_CLIENT)
			continue;
		ladon->sweep_found[LADON_STATE_LIMITS_OF(entry->state)] = true;
		if (!pair_is_due(ladon, sweep, entry))
			continue;
		slice->keys[kept] = slice->keys[i];
		slice->entries[kept++] = *entry;
	}
	slice->len = kept;
}

static void sweep_begin(struct ladon *ladon, uint64_t now_ms)
{
	if (ladon->sweeping)
		return;
	ladon->sweep_began_ms = now_ms;
	memset(ladon->sweep_found, 0, sizeof(ladon->sweep_found));
}

static void sweep(struct ladon *ladon)
{
	static _Thread_local struct slice slice; /* 68 KB: too much for a small stack */
	struct sweep sweep = { .reaping = { .len = 0 } };
	uint64_t now_ms = ladon_now_ms();

	if (!ladon->sweeping && now_ms < ladon->sweep_next_ms)
		return;
	sweep_begin(ladon, now_ms);
	for (int i = 0; i < SLICES_PER_TICK; i++) {
		int rc = slice_read(ladon, !ladon->sweeping, &ladon->sweep_at, &slice);

		ladon->sweeping = rc == 0;
		hops_mark(ladon, slice.entries, slice.len);
		if (!ladon->sweeping)
			hops_sweep(ladon, rc == -ENOENT);
		limits_copy(ladon, sweep.sets);
		sweep.now_ms = (uint32_t)ladon_now_ms();
		slice_keep_due(ladon, &sweep, &slice);
		slice_each(ladon, &slice, sweep_pair, &sweep);
		if (rc == -ENOENT)
			limits_walked(ladon, ladon->sweep_began_ms, ladon->sweep_found);
		if (!ladon->sweeping)
			break;
	}
	reap(ladon, &sweep.reaping);
	ladon->sweep_next_ms = now_ms + SWEEP_PERIOD_MS;
}

void flows_tick(struct ladon *ladon)
{
	linger_expire(ladon);
	sweep(ladon);
	if (atomic_exchange(&ladon->unfinished, false) && flows_finish(ladon, HANDOFF_MS) < 0)
		atomic_store(&ladon->unfinished, true);
}

struct adopted {
	uint32_t flows;
	uint32_t stack; /* not 0: the stack forwards some of them, or is to */
};

static void port_mark(struct ladon *ladon, const struct ladon_entry *c2b)
{
	struct addr source, backend;

	if (c2b->what & LADON_FLOW_UNCOUNTED)
		return;
	addr_from_16(c2b->saddr, c2b->sport, &source);
	addr_from_16(c2b->daddr, c2b->dport, &backend);
	sources_mark(ladon->sources, ladon->options.sources_len ? &source : NULL, &backend,
		     addr_port(&source));
}

/* A flow of a former process: its port is taken, its id too. A closed one's linger died with that. */
static int adopt_pair(struct ladon *ladon, const struct pair *p, void *arg)
{
	struct adopted *found = arg;

	port_mark(ladon, p->c2b);
	if ((int32_t)(p->c2b->id - atomic_load(&ladon->next_id)) >= 0)
		atomic_store(&ladon->next_id, p->c2b->id + 1);
	if (pair_state(p) == LADON_FLOW_CLOSED)
		linger_push(ladon, p->key, p->c2b->id);
	found->flows++;
	found->stack |= p->c2b->what & LADON_FLOW_STACK;
	return 0;
}

int flows_open(struct ladon *ladon)
{
	struct adopted found = { 0 };
	int rc;

	atomic_store(&ladon->next_id, 1);
	/* It reads a file, once: not when counters are asked for and descriptors have run out. */
	libbpf_num_possible_cpus();
	ladon->events = ring_buffer__new(ladon->events_fd, event_take, ladon, NULL);
	if (!ladon->events)
		return -errno;
	rc = pairs_each(ladon, adopt_pair, &found);
	if (rc == 0 && found.flows)
		ladon_say(ladon, LADON_LEVEL_INFO, "adopted %u flows", found.flows);
	ladon->adopted_stack = found.stack;
	return rc;
}

void flows_close(struct ladon *ladon)
{
	ring_buffer__free(ladon->events);
	free(ladon->linger.ring);
}

static int counter_sum(struct ladon *ladon, uint32_t reason, struct ladon_count *out)
{
	int cpus = libbpf_num_possible_cpus();
	struct ladon_count *each;

	memset(out, 0, sizeof(*out));
	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(ladon->counters_fd, &reason, each) < 0) {
		free(each);
		return -errno;
	}
	for (int i = 0; i < cpus; i++) {
		out->packets += each[i].packets;
		out->bytes += each[i].bytes;
	}
	free(each);
	return 0;
}

int ladon_stats(struct ladon *ladon, struct ladon_stats *given)
{
	struct ladon_stats stats = LADON_STATS_INIT;
	struct bpf_map_info info = { 0 };
	struct ladon_count translated;
	uint32_t len = sizeof(info), zero = 0;
	int rc = counter_sum(ladon, LADON_REASON_NONE, &translated);

	if (rc == 0)
		rc = bpf_map_lookup_elem(ladon->live_fd, &zero, &stats.flows);
	if (rc == 0)
		rc = bpf_obj_get_info_by_fd(ladon->flows_fd, &info, &len);
	if (rc < 0)
		return rc;
	stats.flows_max = info.max_entries / 2;
	stats.packets = translated.packets;
	stats.bytes = translated.bytes;
	stats.handoffs = atomic_load(&ladon->handoffs);
	for (size_t i = 0; i < LADON_DURATIONS; i++)
		stats.handoff_ns[i] = atomic_load(&ladon->handoff_ns[i]);
	stats.size = given->size;
	memcpy(given, &stats, given->size < sizeof(stats) ? given->size : sizeof(stats));
	return 0;
}

int ladon_reason_packets(struct ladon *ladon, unsigned int reason, uint64_t *out)
{
	struct ladon_count count;
	int rc;

	if (reason >= LADON_REASON_COUNT)
		return -EINVAL;
	rc = counter_sum(ladon, reason, &count);
	if (rc == 0)
		*out = count.packets;
	return rc;
}
