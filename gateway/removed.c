// SPDX-License-Identifier: GPL-2.0-only
#include "removed.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../base/log.h"
#include "flows.h"
#include "loop.h"
#include "setup.h"
#include "worker.h"

#define RETRY_MS 1000 /* until all names are found, or there is memory again */

/* A backend's address that no pool has any more, or none whose backend is up */
struct gone {
	struct addr addr;
	uint64_t until_ms;
	bool due;
};

struct list {
	const char *what; /* becomes of connections, for the log */
	enum ladon_reason why;
	void *gone;	 /* tsearch(3)'s tree of struct gone */
	atomic_uint due; /* how many of them are */
};

enum {
	REMOVED,
	DOWN,
	LISTS,
};

struct removed {
	struct gateway *gateway;
	int timer_fd;
	atomic_bool asked; /* to look again, and not yet done */

	/* under gateway->changing */
	bool looking;	   /* who is gone is not known yet */
	uint64_t since_ms; /* when the configuration came into force */

	pthread_mutex_t lock; /* over what follows; to write takes gateway->changing, too */
	struct list lists[LISTS];
};

static int gone_compare(const void *a, const void *b)
{
	const struct gone *x = a, *y = b;

	return addr_compare(&x->addr, &y->addr);
}

static struct gone *gone_find(void *const *tree, const struct addr *addr)
{
	const struct gone wanted = { .addr = *addr };
	struct gone **found = tfind(&wanted, tree, gone_compare);

	return found ? *found : NULL;
}

static void arm(const struct removed *removed, uint64_t at_ms)
{
	struct itimerspec at = { .it_value = { (time_t)(at_ms / 1000),
					       (long)(at_ms % 1000) * 1000000 } };

	timerfd_settime(removed->timer_fd, TFD_TIMER_ABSTIME, &at, NULL); /* 0: never */
}

/* A backend's state has changed; from any thread. */
static void ask(void *arg)
{
	struct removed *removed = arg;

	atomic_store(&removed->asked, true);
	arm(removed, 1);
}

struct removed *removed_new(struct gateway *gateway)
{
	struct removed *removed = calloc(1, sizeof(*removed));

	if (!removed)
		return NULL;
	removed->gateway = gateway;
	removed->lists[REMOVED].what = "removed-backends: cut";
	removed->lists[REMOVED].why = LADON_REASON_REMOVED;
	removed->lists[DOWN].what = "when-down: reset";
	removed->lists[DOWN].why = LADON_REASON_WENT_DOWN;
	removed->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (removed->timer_fd < 0) {
		free(removed);
		return NULL;
	}
	pthread_mutex_init(&removed->lock, NULL);
	backends_watch(ask, removed);
	return removed;
}

void removed_free(struct removed *removed)
{
	if (!removed)
		return;
	backends_watch(NULL, NULL);
	for (int i = 0; i < LISTS; i++)
		tdestroy(removed->lists[i].gone, free);
	pthread_mutex_destroy(&removed->lock);
	close(removed->timer_fd);
	free(removed);
}

int removed_fd(const struct removed *removed)
{
	return removed->timer_fd;
}

static bool list_has(struct list *list, const struct addr *backend)
{
	const struct gone *gone = gone_find(&list->gone, backend);

	return gone && gone->due;
}

enum ladon_reason removed_why(struct removed *removed, const struct addr *backend)
{
	enum ladon_reason why = LADON_REASON_NONE;

	for (int i = 0; !why && i < LISTS; i++) {
		struct list *list = &removed->lists[i];

		if (!atomic_load_explicit(&list->due, memory_order_relaxed))
			continue;
		pthread_mutex_lock(&removed->lock);
		if (list_has(list, backend))
			why = list->why;
		pthread_mutex_unlock(&removed->lock);
	}
	return why;
}

/* ---- who is gone ---- */

struct look {
	struct list *list;
	struct addr *known; /* that pools have, sorted */
	size_t known_len;
	bool any_target; /* a pool is of those that clients request */
	uint64_t until_ms;
	void *gone;
	unsigned int gone_len;
	unsigned int due_len; /* of these */
	bool no_memory;
};

static int known_compare(const void *a, const void *b)
{
	return addr_compare(a, b);
}

/* Are live flows of this backend to be reset? */
static bool is_cut(const struct setup *setup, unsigned int pool, unsigned int backend)
{
	return setup->config->pools[pool].reset &&
	       backend_is_down(pool_backend(setup->pools[pool], backend));
}

static bool any_is_cut(const struct setup *setup)
{
	for (unsigned int p = 0; p < setup->config->pools_len; p++)
		for (unsigned int b = 0; b < pool_backends(setup->pools[p]); b++)
			if (is_cut(setup, p, b))
				return true;
	return false;
}

/*
 * @down: also those of backends that are cut. Return: 0; -EAGAIN: not all names
 * have been found; or -ENOMEM
 */
static int known_fill(struct look *look, const struct setup *setup, bool down)
{
	unsigned int backends = 0;
	int rc = 0;

	for (unsigned int p = 0; p < setup->config->pools_len; p++)
		backends += pool_backends(setup->pools[p]);
	look->known = calloc(backends + 1, POOL_ADDRS_MAX * sizeof(struct addr));
	if (!look->known)
		return -ENOMEM;
	for (unsigned int p = 0; p < setup->config->pools_len; p++) {
		for (unsigned int b = 0; b < pool_backends(setup->pools[p]); b++) {
			struct backend *backend = pool_backend(setup->pools[p], b);
			unsigned int len;

			if (!down && is_cut(setup, p, b))
				continue;
			len = backend_addrs(backend, look->known + look->known_len);
			look->any_target |= backend->config->requested;
			if (len == 0 && !backend->config->requested)
				rc = -EAGAIN;
			look->known_len += len;
		}
		if (!pool_is_told(setup->pools[p]))
			rc = -EAGAIN;
	}
	qsort(look->known, look->known_len, sizeof(struct addr), known_compare);
	return rc;
}

/* Whose time runs already gets no more of it by another reload. */
static void look_at(void *arg, const struct addr *addr)
{
	struct look *look = arg;
	const struct gone *former;
	struct gone *gone;

	if (bsearch(addr, look->known, look->known_len, sizeof(*addr), known_compare) ||
	    gone_find(&look->gone, addr))
		return;
	gone = calloc(1, sizeof(*gone));
	if (!gone || (gone->addr = *addr, !tsearch(gone, &look->gone, gone_compare))) {
		free(gone);
		look->no_memory = true;
		return;
	}
	former = gone_find(&look->list->gone, addr);
	gone->due = former && former->due;
	gone->until_ms =
		former && former->until_ms < look->until_ms ? former->until_ms : look->until_ms;
	look->gone_len++;
	look->due_len += gone->due;
}

static int look_at_flow(void *arg, const struct ladon_flow *flow)
{
	struct addr addr;

	if (addr_from(&flow->backend.sa, &addr) == 0)
		look_at(arg, &addr);
	return 0;
}

/* All that connections may lead to: backends that are remembered, and, of an older daemon, flows. */
static int look_all(struct removed *removed, struct look *look)
{
	struct gateway *gateway = removed->gateway;
	int rc = known_fill(look, gateway->setup, true);

	if (rc < 0)
		return rc;
	flows_backend_each(gateway->flows, look_at, look);
	if (gateway->ladon && !look->any_target)
		ladon_flow_each(gateway->ladon, look_at_flow, look);
	return look->no_memory ? -ENOMEM : 0;
}

/* Those that a name has now, as for everything else */
static void look_at_backend(struct look *look, struct backend *backend)
{
	struct addr addrs[POOL_ADDRS_MAX];
	unsigned int len = backend_addrs(backend, addrs);

	for (unsigned int i = 0; i < len; i++)
		look_at(look, &addrs[i]);
}

/* Unlike what is removed, what is down has its addresses: other names need not be waited for. */
static int look_down(struct removed *removed, struct look *look)
{
	const struct setup *setup = removed->gateway->setup;
	int rc = known_fill(look, setup, false);

	if (rc == -ENOMEM)
		return rc;
	for (unsigned int p = 0; p < setup->config->pools_len; p++)
		for (unsigned int b = 0; b < pool_backends(setup->pools[p]); b++)
			if (is_cut(setup, p, b))
				look_at_backend(look, pool_backend(setup->pools[p], b));
	return look->no_memory ? -ENOMEM : 0;
}

static void list_replace(struct removed *removed, const struct look *look)
{
	struct list *list = look->list;
	void *former = list->gone;

	pthread_mutex_lock(&removed->lock);
	list->gone = look->gone;
	atomic_store(&list->due, look->due_len);
	pthread_mutex_unlock(&removed->lock);
	tdestroy(former, free);
}

/* Return: 0, or why it has to be done again */
static int look_finish(struct removed *removed, struct look *look, int rc)
{
	free(look->known);
	if (rc < 0)
		tdestroy(look->gone, free);
	else
		list_replace(removed, look);
	return rc;
}

static void look(struct removed *removed)
{
	uint32_t after_ms = removed->gateway->setup->config->removed_ms;
	struct look look = { .list = &removed->lists[REMOVED],
			     .until_ms = removed->since_ms + after_ms };
	int rc = after_ms == CONFIG_KEEP ? 0 : look_all(removed, &look);

	removed->looking = look_finish(removed, &look, rc) < 0;
	if (!removed->looking && look.gone_len && after_ms)
		log_info("removed-backends: %u addresses are in no pool any more; what goes on "
			 "with them is cut after %u s",
			 look.gone_len, after_ms / 1000);
}

/* Return: false: there was no memory */
static bool look_again(struct removed *removed)
{
	struct look look = { .list = &removed->lists[DOWN] };
	int rc = any_is_cut(removed->gateway->setup) ? look_down(removed, &look) : 0;

	return look_finish(removed, &look, rc) == 0;
}

/* ---- who is due ---- */

struct review {
	struct list *list;
	uint64_t now_ms;
	uint64_t next_ms; /* when somebody else is; UINT64_MAX: nobody */
	bool any;
};

static void review_one(const void *node, VISIT visit, void *arg)
{
	struct gone *gone = *(struct gone *const *)node;
	struct review *review = arg;

	if (gone->due || (visit != postorder && visit != leaf))
		return;
	if (gone->until_ms <= review->now_ms) {
		gone->due = review->any = true;
		atomic_fetch_add(&review->list->due, 1);
	} else if (gone->until_ms < review->next_ms) {
		review->next_ms = gone->until_ms;
	}
}

struct cutting {
	struct removed *removed;
	const struct list *list;
	unsigned int flows;
};

static int cut_flow(void *arg, const struct ladon_flow *flow)
{
	struct cutting *cutting = arg;
	struct addr addr;

	if (addr_from(&flow->backend.sa, &addr) == 0 &&
	    removed_why(cutting->removed, &addr) == cutting->list->why)
		cutting->flows += ladon_flow_kill(cutting->removed->gateway->ladon, flow) == 0;
	return 0;
}

static uint64_t cut_relayed(const struct gateway *gateway, enum ladon_reason why)
{
	uint64_t sum = 0;

	for (unsigned int w = 0; w < gateway->workers_len; w++)
		sum += atomic_load(&gateway->counts[w].reasons[why]);
	return sum;
}

/* Workers first: what one of them was handing off meanwhile is a flow after that. */
static void cut(struct removed *removed, const struct list *list)
{
	struct gateway *gateway = removed->gateway;
	struct cutting cutting = { .removed = removed, .list = list };
	uint64_t relayed = cut_relayed(gateway, list->why);

	if (!atomic_load(&gateway->stopping))
		workers_review(gateway);
	if (gateway->ladon)
		ladon_flow_each(gateway->ladon, cut_flow, &cutting);
	log_info("%s %u handed-off flows and %" PRIu64 " relayed connections", list->what,
		 cutting.flows, cut_relayed(gateway, list->why) - relayed);
}

/* Return: when somebody else of the list is due; UINT64_MAX: nobody */
static uint64_t list_review(struct removed *removed, struct list *list, uint64_t now_ms)
{
	struct review review = { .list = list, .now_ms = now_ms, .next_ms = UINT64_MAX };

	pthread_mutex_lock(&removed->lock);
	twalk_r(list->gone, review_one, &review);
	pthread_mutex_unlock(&removed->lock);
	if (review.any)
		cut(removed, list);
	return review.next_ms;
}

static void step(struct removed *removed)
{
	uint64_t now_ms = clock_ms(), next_ms = UINT64_MAX;
	bool again;

	atomic_store(&removed->asked, false);
	again = !look_again(removed);
	if (removed->looking)
		look(removed);
	for (int i = 0; i < LISTS; i++) {
		uint64_t list_ms = list_review(removed, &removed->lists[i], now_ms);

		if (list_ms < next_ms)
			next_ms = list_ms;
	}
	if ((removed->looking || again) && next_ms > now_ms + RETRY_MS)
		next_ms = now_ms + RETRY_MS;
	arm(removed, next_ms == UINT64_MAX ? 0 : next_ms);
	if (atomic_load(&removed->asked)) /* meanwhile, and that is not armed any more */
		arm(removed, 1);
}

void removed_look(struct removed *removed)
{
	pthread_mutex_lock(&removed->gateway->changing);
	step(removed);
	pthread_mutex_unlock(&removed->gateway->changing);
}

void removed_tick(struct removed *removed)
{
	uint64_t expirations;

	if (read(removed->timer_fd, &expirations, sizeof(expirations)) > 0)
		removed_look(removed);
}

void removed_follow(struct removed *removed)
{
	removed->since_ms = clock_ms();
	removed->looking = true;
	step(removed);
	if (removed->looking)
		log_info("removed-backends: nothing is cut before all names have been found");
}
