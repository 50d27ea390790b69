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

/* A backend's address that no pool has any more */
struct gone {
	struct addr addr;
	uint64_t until_ms;
	bool due;
};

struct removed {
	struct gateway *gateway;
	int timer_fd;

	/* under gateway->changing */
	bool looking;	   /* who is gone is not known yet */
	uint64_t since_ms; /* when the configuration came into force */

	pthread_mutex_t lock; /* over what follows; to write takes gateway->changing, too */
	void *gone;	      /* tsearch(3)'s tree of struct gone */
	atomic_uint due;      /* how many of them are */
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

struct removed *removed_new(struct gateway *gateway)
{
	struct removed *removed = calloc(1, sizeof(*removed));

	if (!removed)
		return NULL;
	removed->gateway = gateway;
	removed->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (removed->timer_fd < 0) {
		free(removed);
		return NULL;
	}
	pthread_mutex_init(&removed->lock, NULL);
	return removed;
}

void removed_free(struct removed *removed)
{
	if (!removed)
		return;
	tdestroy(removed->gone, free);
	pthread_mutex_destroy(&removed->lock);
	close(removed->timer_fd);
	free(removed);
}

int removed_fd(const struct removed *removed)
{
	return removed->timer_fd;
}

bool removed_is_due(struct removed *removed, const struct addr *backend)
{
	const struct gone *gone;
	bool due;

	if (!atomic_load_explicit(&removed->due, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&removed->lock);
	gone = gone_find(&removed->gone, backend);
	due = gone && gone->due;
	pthread_mutex_unlock(&removed->lock);
	return due;
}

/* ---- who is gone ---- */

struct look {
	const struct removed *removed;
	struct addr *known; /* that pools have, sorted */
	size_t known_len;
	bool any_target; /* a pool is of those that clients request */
	uint64_t until_ms;
	void *gone;
	unsigned int gone_len;
	bool no_memory;
};

static int known_compare(const void *a, const void *b)
{
	return addr_compare(a, b);
}

/* Return: 0; -EAGAIN: not all names have been found; or -ENOMEM */
static int known_fill(struct look *look, const struct setup *setup)
{
	unsigned int backends = 0;

	for (unsigned int p = 0; p < setup->config->pools_len; p++)
		backends += pool_backends(setup->pools[p]);
	look->known = calloc(backends, POOL_ADDRS_MAX * sizeof(struct addr));
	if (!look->known)
		return -ENOMEM;
	for (unsigned int p = 0; p < setup->config->pools_len; p++) {
		for (unsigned int b = 0; b < pool_backends(setup->pools[p]); b++) {
			struct backend *backend = pool_backend(setup->pools[p], b);
			unsigned int len = backend_addrs(backend, look->known + look->known_len);

			look->any_target |= backend->config->requested;
			if (len == 0 && !backend->config->requested)
				return -EAGAIN;
			look->known_len += len;
		}
	}
	qsort(look->known, look->known_len, sizeof(struct addr), known_compare);
	return 0;
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
	former = gone_find(&look->removed->gone, addr);
	gone->until_ms =
		former && former->until_ms < look->until_ms ? former->until_ms : look->until_ms;
	look->gone_len++;
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
	int rc = known_fill(look, gateway->setup);

	if (rc < 0)
		return rc;
	flows_backend_each(gateway->flows, look_at, look);
	if (gateway->ladon && !look->any_target)
		ladon_flow_each(gateway->ladon, look_at_flow, look);
	return look->no_memory ? -ENOMEM : 0;
}

static void gone_replace(struct removed *removed, void *gone)
{
	void *former = removed->gone;

	pthread_mutex_lock(&removed->lock);
	removed->gone = gone;
	atomic_store(&removed->due, 0);
	pthread_mutex_unlock(&removed->lock);
	tdestroy(former, free);
}

static void look(struct removed *removed)
{
	uint32_t after_ms = removed->gateway->setup->config->removed_ms;
	struct look look = { .removed = removed, .until_ms = removed->since_ms + after_ms };
	int rc = after_ms == CONFIG_KEEP ? 0 : look_all(removed, &look);

	free(look.known);
	removed->looking = rc < 0;
	if (rc < 0) {
		tdestroy(look.gone, free);
		return;
	}
	gone_replace(removed, look.gone);
	if (look.gone_len && after_ms)
		log_info("removed-backends: %u addresses are in no pool any more; what goes on "
			 "with them is cut after %u s",
			 look.gone_len, after_ms / 1000);
}

/* ---- who is due ---- */

struct review {
	struct removed *removed;
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
		atomic_fetch_add(&review->removed->due, 1);
	} else if (gone->until_ms < review->next_ms) {
		review->next_ms = gone->until_ms;
	}
}

struct cutting {
	struct removed *removed;
	unsigned int flows;
};

static int cut_flow(void *arg, const struct ladon_flow *flow)
{
	struct cutting *cutting = arg;
	struct addr addr;

	if (addr_from(&flow->backend.sa, &addr) == 0 && removed_is_due(cutting->removed, &addr))
		cutting->flows += ladon_flow_kill(cutting->removed->gateway->ladon, flow) == 0;
	return 0;
}

static uint64_t cut_relayed(const struct gateway *gateway)
{
	uint64_t sum = 0;

	for (unsigned int w = 0; w < gateway->workers_len; w++)
		sum += atomic_load(&gateway->counts[w].reasons[LADON_REASON_REMOVED]);
	return sum;
}

/* Workers first: what one of them was handing off meanwhile is a flow after that. */
static void cut(struct removed *removed)
{
	struct gateway *gateway = removed->gateway;
	struct cutting cutting = { .removed = removed };
	uint64_t relayed = cut_relayed(gateway);

	if (!atomic_load(&gateway->stopping))
		workers_review(gateway);
	if (gateway->ladon)
		ladon_flow_each(gateway->ladon, cut_flow, &cutting);
	log_info("removed-backends: cut %u handed-off flows and %" PRIu64 " relayed connections",
		 cutting.flows, cut_relayed(gateway) - relayed);
}

static void arm(const struct removed *removed, uint64_t at_ms)
{
	struct itimerspec at = { .it_value = { (time_t)(at_ms / 1000),
					       (long)(at_ms % 1000) * 1000000 } };

	timerfd_settime(removed->timer_fd, TFD_TIMER_ABSTIME, &at, NULL); /* 0: never */
}

static void step(struct removed *removed)
{
	struct review review = { .removed = removed, .now_ms = clock_ms(), .next_ms = UINT64_MAX };

	if (removed->looking)
		look(removed);
	pthread_mutex_lock(&removed->lock);
	twalk_r(removed->gone, review_one, &review);
	pthread_mutex_unlock(&removed->lock);
	if (review.any)
		cut(removed);
	if (removed->looking && review.next_ms > review.now_ms + RETRY_MS)
		review.next_ms = review.now_ms + RETRY_MS;
	arm(removed, review.next_ms == UINT64_MAX ? 0 : review.next_ms);
}

void removed_tick(struct removed *removed)
{
	uint64_t expirations;

	if (read(removed->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	pthread_mutex_lock(&removed->gateway->changing);
	step(removed);
	pthread_mutex_unlock(&removed->gateway->changing);
}

void removed_follow(struct removed *removed)
{
	removed->since_ms = clock_ms();
	removed->looking = true;
	step(removed);
	if (removed->looking)
		log_info("removed-backends: nothing is cut before all names have been found");
}
