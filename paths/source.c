// SPDX-License-Identifier: GPL-2.0-only
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../base/log.h"
#include "../base/own.h"
#include "resolve.h"
#include "srv.h"

/* Which file it is, and since when */
struct file_id {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec written, changed;
};

/* One name of what the source says next, whose addresses are not known yet */
struct want {
	struct lookup lookup;
	struct source *source;
	unsigned int index;
};

struct source {
	const char *pool, *text; /* behind this struct */
	const char *name;	 /* in .text: a path, or the name of the records */
	bool is_file;
	const struct sourcing *on; /* NULL: not started */
	struct timer due;
	unsigned int failures; /* in a row */

	struct file_id read,
		seen;	      /* what was read last, or could not be; and what was there last */
	struct lookup lookup; /* of SRV records */

	struct listing next; /* what it says, until it is handed on */
	struct want *wants;  /* NULL: nobody is waited for */
	unsigned int wants_len, asked, told;
	struct timer ask, late;
	uint64_t again_ms; /* SRV records: when to look again after that */
};

/* ---- failures ---- */

static uint64_t source_failed(struct source *source, const char *why)
{
	unsigned int failures = source->failures++;
	const struct sourced sourced = { .source = source->text, .failures = source->failures };

	source->on->changed(source->on->arg, source->pool, &sourced);
	if (!failures || source->is_file)
		log_warn("resolve: pool %s: %s: %s; keeping the backends that it named before",
			 source->pool, source->text, why);
	return resolve_pause_ms(failures);
}

static void source_is_well(struct source *source)
{
	if (source->failures)
		log_info("resolve: pool %s: %s: is well again", source->pool, source->text);
	source->failures = 0;
}

/* ---- what it says is handed on ---- */

static void due_set(struct source *source, uint64_t at_ms)
{
	timer_set(&source->on->loop->timers, &source->due, at_ms);
}

static void wants_free(struct source *source)
{
	for (unsigned int i = 0; source->wants && i < source->wants_len; i++)
		lookup_forget(&source->wants[i].lookup);
	free(source->wants);
	source->wants = NULL;
	timer_stop(&source->on->loop->timers, &source->ask);
	timer_stop(&source->on->loop->timers, &source->late);
}

/* What could not be followed is tried again. */
static void source_hand_on(struct source *source)
{
	const struct sourced sourced = { .source = source->text, .listing = &source->next };
	int rc;

	wants_free(source);
	rc = source->on->changed(source->on->arg, source->pool, &sourced);
	listing_fini(&source->next);
	if (rc == -E2BIG)
		source_failed(source, "names more backends than a pool takes");
	else if (rc < 0 && rc != -EALREADY && rc != -ENOENT && rc != -ECANCELED)
		source->read = (struct file_id){ 0 };
	else
		source_is_well(source);
	if (!source->is_file)
		due_set(source, source->again_ms);
}

static void want_told(struct lookup *lookup, const struct answer *answer)
{
	struct want *want = container_of(lookup, struct want, lookup);
	struct source *source = want->source;
	struct listed *listed = &source->next.list[want->index];

	source->told++;
	listed->addrs = calloc(answer->len + 1, sizeof(*listed->addrs));
	for (unsigned int i = 0; listed->addrs && i < answer->len; i++) {
		listed->addrs[i] = answer->addrs[i];
		addr_set_port(&listed->addrs[i], listed->config.port);
		listed->addrs_len = i + 1;
	}
	if (source->told ==
	    source->wants_len) /* .late: from the loop, since this may be an asker of many */
		timer_set(&source->on->loop->timers, &source->late, source->on->loop->now_ms);
}

static void source_ask(struct timer *timer)
{
	struct source *source = container_of(timer, struct source, ask);
	const struct sourcing *on = source->on;

	for (; source->asked < source->wants_len; source->asked++) {
		struct want *want = &source->wants[source->asked];
		struct answer answer;
		int rc = lookup_ask(&want->lookup, on->lookups, on->notes,
				    source->next.list[want->index].config.host, on->loop->now_ms,
				    &answer);

		if (rc == 0)
			want_told(&want->lookup, &answer);
		else if (rc != -EINPROGRESS) {
			timer_set(&on->loop->timers, timer, on->loop->now_ms + LOOKUP_BUSY_MS);
			return;
		}
	}
}

static void source_is_late(struct timer *timer)
{
	source_hand_on(container_of(timer, struct source, late));
}

/* @len: at least 1. Return: 0 or -ENOMEM: then names are looked up afterwards */
static int wants_make(struct source *source, unsigned int len)
{
	source->wants = calloc(len, sizeof(*source->wants));
	if (!source->wants)
		return -ENOMEM;
	source->wants_len = source->asked = source->told = 0;
	for (unsigned int i = 0; i < source->next.len; i++) {
		struct want *want = &source->wants[source->wants_len];

		if (!source->next.list[i].config.host)
			continue;
		want->lookup.told = want_told;
		want->source = source;
		want->index = i;
		source->wants_len++;
	}
	return 0;
}

/* .next is what the source says now. */
static void source_says(struct source *source)
{
	const struct sourcing *on = source->on;
	unsigned int names = 0;

	for (unsigned int i = 0; i < source->next.len; i++)
		names += source->next.list[i].config.host != NULL;
	if (!names || wants_make(source, names) < 0) {
		source_hand_on(source);
		return;
	}
	timer_set(&on->loop->timers, &source->late, on->loop->now_ms + SOURCE_NAMES_MS);
	source_ask(&source->ask);
}

/* ---- a file ---- */

static int file_id_get(const char *path, struct file_id *out)
{
	struct stat st;

	*out = (struct file_id){ 0 };
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->size = st.st_size;
	out->written = st.st_mtim;
	out->changed = st.st_ctim;
	return 0;
}

static bool time_is(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool file_id_is(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       time_is(&a->written, &b->written) && time_is(&a->changed, &b->changed);
}

/* Return: 0, with .next filled; or a negative errno with a complaint, or -EAGAIN: it is being written */
static int file_list(struct source *source, char why[LISTING_WHY_MAX])
{
	_free_ char *text = NULL;
	char what[LISTING_WHY_MAX];
	struct file_id after;
	unsigned int line;
	size_t len;
	int rc = file_read(source->name, LISTING_BYTES_MAX, &text, &len);

	if (rc < 0) {
		snprintf(why, LISTING_WHY_MAX, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	if (file_id_get(source->name, &after) < 0 || !file_id_is(&after, &source->read))
		return -EAGAIN;
	rc = listing_read(&source->next, text, len, &line, what);
	if (rc == -EINVAL || rc == -E2BIG)
		snprintf(why, LISTING_WHY_MAX, "line %u: %.480s", line, what);
	else if (rc < 0)
		snprintf(why, LISTING_WHY_MAX, "cannot be read: %s", strerror(-rc));
	return rc;
}

/* One that cannot be read is not tried again before it has changed, but without memory. */
static void file_read_now(struct source *source)
{
	char why[LISTING_WHY_MAX];
	int rc;

	source->read = source->seen;
	rc = file_list(source, why);
	if (rc == 0) {
		source_says(source);
		return;
	}
	listing_fini(&source->next);
	if (rc == -EAGAIN || rc == -ENOMEM)
		source->read = (struct file_id){ 0 };
	if (rc != -EAGAIN)
		source_failed(source, why);
}

static void file_look(struct source *source)
{
	struct file_id now;
	int rc = file_id_get(source->name, &now);
	bool still = file_id_is(&now, &source->seen);

	due_set(source, source->on->loop->now_ms + SOURCE_LOOK_MS);
	source->seen = now;
	if (source->wants || !still || file_id_is(&now, &source->read))
		return;
	if (rc == 0) {
		file_read_now(source);
		return;
	}
	source->read = now; /* which is none */
	source_failed(source, rc == -EINVAL ? "is no ordinary file" : strerror(-rc));
}

/* ---- SRV records ---- */

static uint64_t srv_learn(struct source *source, const struct answer *answer)
{
	if (answer->status == LOOKUP_NONE)
		return source_failed(source, "has no SRV records");
	if (answer->status == LOOKUP_FAILED)
		return source_failed(source, "no name server answers, or it fails");
	if (srv_listing(answer->srvs, &source->next) < 0) {
		listing_fini(&source->next);
		return source_failed(source, strerror(ENOMEM));
	}
	if (!answer->srvs->len)
		log_limited(LOG_LEVEL_WARN,
			    "resolve: pool %s: %s: says that there is no such service",
			    source->pool, source->text);
	return RESOLVE_LEAST_MS;
}

static void srv_told(struct lookup *lookup, const struct answer *answer)
{
	struct source *source = container_of(lookup, struct source, lookup);
	unsigned int failures = source->failures;
	uint64_t at_ms = source->on->loop->now_ms + srv_learn(source, answer);

	source->again_ms = at_ms > answer->until_ms ? at_ms : answer->until_ms;
	if (source->failures > failures)
		due_set(source, source->again_ms);
	else
		source_says(source);
}

static void srv_look(struct source *source)
{
	const struct sourcing *on = source->on;

	if (lookup_ask_srv(&source->lookup, on->lookups, on->notes, source->name) != -EINPROGRESS)
		due_set(source, on->loop->now_ms + LOOKUP_BUSY_MS);
}

/* ---- life ---- */

static void source_is_due(struct timer *timer)
{
	struct source *source = container_of(timer, struct source, due);

	if (source->is_file)
		file_look(source);
	else
		srv_look(source);
}

struct source *source_new(const char *pool, const struct config_backend *backend)
{
	size_t pool_size = strlen(pool) + 1, text_size = strlen(backend->text) + 1;
	struct source *source = calloc(1, sizeof(*source) + pool_size + text_size);
	char *texts = (char *)(source + 1);

	if (!source)
		return NULL;
	source->pool = memcpy(texts, pool, pool_size);
	source->text = memcpy(texts + pool_size, backend->text, text_size);
	source->name = strchr(source->text, ':') + 1;
	source->is_file = backend->file != NULL;
	source->due.run = source_is_due;
	source->ask.run = source_ask;
	source->late.run = source_is_late;
	source->lookup.told = srv_told;
	return source;
}

bool source_is(const struct source *a, const struct source *b)
{
	return strcmp(a->text, b->text) == 0 && strcmp(a->pool, b->pool) == 0;
}

void source_start(struct source *source, const struct sourcing *sourcing)
{
	source->on = sourcing;
	due_set(source, sourcing->loop->now_ms);
}

void source_free(struct source *source)
{
	if (source && source->on) {
		lookup_forget(&source->lookup);
		timer_stop(&source->on->loop->timers, &source->due);
		wants_free(source);
	}
	if (source)
		listing_fini(&source->next);
	free(source);
}
