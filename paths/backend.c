// SPDX-License-Identifier: GPL-2.0-only
#include "backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring.h"

static atomic_uint_fast64_t changes;
static void (*watcher)(void *arg);
static void *watcher_arg;

/* A backend that is to outlive its configuration, and all its texts, in one piece. */
struct own {
	struct backend backend;
	struct config_backend config;
	char texts[];
};

static char *text_copy(char **at, const char *text)
{
	char *copy = *at;

	*at = stpcpy(copy, text) + 1;
	return copy;
}

struct backend *backend_new(const struct config_backend *config, const char *pool)
{
	size_t host_len = config->host ? strlen(config->host) + 1 : 0;
	struct own *own =
		calloc(1, sizeof(*own) + strlen(config->text) + 1 + strlen(pool) + 1 + host_len);
	struct backend *backend;
	char *at;

	if (!own)
		return NULL;
	backend = &own->backend;
	at = own->texts;
	own->config = *config;
	own->config.srv = own->config.file = NULL;
	own->config.listed = NULL;
	own->config.text = text_copy(&at, config->text);
	if (config->host)
		own->config.host = text_copy(&at, config->host);
	backend->pool = text_copy(&at, pool);
	backend->config = &own->config;
	backend->hash = ring_hash(0, config->text, strlen(config->text));
	backend->holders = 1;
	pthread_mutex_init(&backend->lock, NULL);
	if (config->host || config->requested)
		return backend; /* resolve.c, or a client, says where it is */
	backend->addrs[0] = config->addr;
	backend->addrs_len = 1;
	return backend;
}

void backend_hold(struct backend *backend)
{
	atomic_fetch_add(&backend->holders, 1);
}

void backend_drop(struct backend *backend)
{
	if (atomic_fetch_sub(&backend->holders, 1) > 1)
		return;
	pthread_mutex_destroy(&backend->lock);
	free(backend); /* the first member of its struct own */
}

/* ---- state ---- */

const char *backend_admin_word(enum backend_admin admin)
{
	static const char *const words[BACKEND_ADMINS] = {
		[BACKEND_AUTO] = "auto",
		[BACKEND_UP] = "up",
		[BACKEND_DOWN] = "down",
		[BACKEND_DRAIN] = "drain",
	};

	return words[admin];
}

bool backend_has_address(const struct backend *backend)
{
	return atomic_load(&backend->addrs_len) > 0 || backend->config->requested;
}

bool backend_is_valid(const struct backend *backend, uint64_t now_ms)
{
	enum backend_admin admin = atomic_load(&backend->admin);

	if (!backend_has_address(backend))
		return false;
	if (admin != BACKEND_AUTO)
		return admin == BACKEND_UP;
	return !atomic_load(&backend->sick) && atomic_load(&backend->ejected_ms) <= now_ms;
}

bool backend_is_down(const struct backend *backend)
{
	enum backend_admin admin = atomic_load(&backend->admin);

	return admin == BACKEND_AUTO ? atomic_load(&backend->sick) : admin == BACKEND_DOWN;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void changed(struct backend *backend, bool was_valid, uint64_t now_ms)
{
	if (!was_valid && backend_is_valid(backend, now_ms))
		atomic_store(&backend->returned_ms, now_ms);
	atomic_fetch_add(&changes, 1);
	if (watcher)
		watcher(watcher_arg);
}

void backends_watch(void (*fn)(void *arg), void *arg)
{
	watcher = fn;
	watcher_arg = arg;
}

bool backend_set_admin(struct backend *backend, enum backend_admin admin)
{
	uint64_t now_ms = now();
	bool was_valid = backend_is_valid(backend, now_ms);

	if (atomic_exchange(&backend->admin, admin) == admin)
		return false;
	changed(backend, was_valid, now_ms);
	return true;
}

bool backend_set_sick(struct backend *backend, bool sick)
{
	uint64_t now_ms = now();
	bool was_valid = backend_is_valid(backend, now_ms);

	if (atomic_exchange(&backend->sick, sick) == sick)
		return false;
	if (sick)
		atomic_fetch_add(&backend->times_sick, 1);
	changed(backend, was_valid, now_ms);
	return true;
}

void backend_checked(struct backend *backend, const struct backend_check *result)
{
	pthread_mutex_lock(&backend->lock);
	backend->checked = *result;
	pthread_mutex_unlock(&backend->lock);
}

void backend_last_check(struct backend *backend, struct backend_check *out)
{
	pthread_mutex_lock(&backend->lock);
	*out = backend->checked;
	pthread_mutex_unlock(&backend->lock);
}

bool backend_is_doubted(const struct backend *backend, bool sick_is_down)
{
	enum backend_admin admin = atomic_load(&backend->admin);

	if (!backend_has_address(backend) || admin == BACKEND_DOWN || admin == BACKEND_DRAIN)
		return false;
	return !sick_is_down || !backend_is_down(backend);
}

uint64_t backend_since(const struct backend *backend)
{
	uint64_t returned_ms = atomic_load(&backend->returned_ms);
	uint64_t ejected_ms = atomic_load(&backend->ejected_ms);

	return returned_ms > ejected_ms ? returned_ms : ejected_ms;
}

void backend_eject(struct backend *backend, uint64_t until_ms)
{
	atomic_fetch_add(&backend->ejections, 1);
	atomic_store(&backend->ejected_ms, until_ms);
	atomic_fetch_add(&changes, 1);
}

void backend_answered(struct backend *backend)
{
	if (atomic_load(&backend->failed_in_a_row) || atomic_load(&backend->ejections)) {
		atomic_store(&backend->failed_in_a_row, 0);
		atomic_store(&backend->ejections, 0);
	}
}

void backend_returned(struct backend *backend)
{
	atomic_store(&backend->returned_ms, now());
}

uint64_t backend_changes(void)
{
	return atomic_load(&changes);
}

/* ---- where it is ---- */

/* With the lock held */
static bool has(const struct backend *backend, const struct addr *addr)
{
	for (unsigned int i = 0; i < backend->addrs_len; i++)
		if (addr_equal(&backend->addrs[i], addr))
			return true;
	return false;
}

static void forget_connects(struct backend *backend)
{
	atomic_store(&backend->failed_in_a_row, 0);
	atomic_store(&backend->ejections, 0);
	atomic_store(&backend->ejected_ms, 0);
}

void backend_set_addrs(struct backend *backend, const struct addr *addrs, unsigned int len)
{
	bool stays = false;

	if (len == 0)
		return;
	if (len > POOL_ADDRS_MAX)
		len = POOL_ADDRS_MAX;
	pthread_mutex_lock(&backend->lock);
	for (unsigned int i = 0; !stays && i < len; i++)
		stays = has(backend, &addrs[i]);
	memcpy(backend->addrs, addrs, len * sizeof(*addrs));
	atomic_store(&backend->addrs_len, len);
	if (!stays)
		forget_connects(backend);
	pthread_mutex_unlock(&backend->lock);
	if (!stays)
		atomic_fetch_add(&changes, 1);
}

unsigned int backend_addrs(struct backend *backend, struct addr *out)
{
	unsigned int len;

	pthread_mutex_lock(&backend->lock);
	len = backend->addrs_len;
	memcpy(out, backend->addrs, len * sizeof(*out));
	pthread_mutex_unlock(&backend->lock);
	return len;
}

struct addr backend_next_addr(struct backend *backend)
{
	struct addr addr;

	pthread_mutex_lock(&backend->lock);
	addr = backend->addrs[backend->next_addr++ % backend->addrs_len];
	pthread_mutex_unlock(&backend->lock);
	return addr;
}

bool backend_has(struct backend *backend, const struct addr *addr)
{
	bool found;

	pthread_mutex_lock(&backend->lock);
	found = has(backend, addr);
	pthread_mutex_unlock(&backend->lock);
	return found;
}

/* ---- live flows ---- */

void backend_take(struct backend *backend)
{
	atomic_fetch_add(&backend->chosen, 1);
	atomic_fetch_add(&backend->flows, 1);
}

void backend_release(struct backend *backend)
{
	uint64_t flows = atomic_fetch_sub(&backend->flows, 1);

	assert(flows > 0);
	(void)flows;
}
