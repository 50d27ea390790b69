// SPDX-License-Identifier: GPL-2.0-only
#include "config_pool.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "../paths/listing.h"
#include "../paths/place.h"
#include "config_value.h"

#define REQUESTED      "requested" /* backends: whatever target a client asks for */
#define ORIGINAL       "original"  /* ... or was headed for */
#define EJECT_FAILURES 5
#define EJECT_MS       10000
#define EJECT_SHARE    50

/* ---- backends ---- */

/* Return: 0, with the text of the source, which is "@kind:@value" */
static int source_text(const char *kind, const char *value, char **out)
{
	if (asprintf(out, "%s:%s", kind, value) >= 0)
		return 0;
	*out = NULL;
	return -ENOMEM;
}

static int srv_read(const struct node *node, struct config_backend *backend)
{
	const char *fault;
	int rc = value_pattern(node, &backend->srv);

	if (rc < 0)
		return rc;
	fault = name_fault(backend->srv);
	if (fault || !strchr(backend->srv, '.'))
		return node_fail(node, "\"%.80s\" will not do; it takes the name of SRV records, as "
				       "in _https._tcp.example.org",
				 backend->srv);
	return source_text("srv", backend->srv, &backend->text);
}

static int file_read_list(const struct node *node, struct config_backend *backend)
{
	_free_ char *text = NULL;
	char why[LISTING_WHY_MAX];
	unsigned int line;
	size_t len;
	int rc = value_file(node, PATH_MAX, &backend->file);

	if (rc == 0)
		rc = value_listed(node, backend->file, &text, &len);
	if (rc == 0)
		rc = source_text("file", backend->file, &backend->text);
	if (rc < 0)
		return rc;
	backend->listed = calloc(1, sizeof(*backend->listed));
	if (!backend->listed)
		return -ENOMEM;
	rc = listing_read(backend->listed, text, len, &line, why);
	return rc == -EINVAL || rc == -E2BIG
		       ? node_fail(node, "%.200s:%u: %s", backend->file, line, why)
		       : rc;
}

enum backend_key {
	ADDRESS,
	SRV,
	FILE_,
	WEIGHT,
	BACKUP,
	MAX_FLOWS,
	BACKEND_KEYS
};

/* A file says all of each backend; SRV records say the weight. */
static int backend_keys_check(const struct node at[BACKEND_KEYS])
{
	static const bool alone[BACKEND_KEYS][BACKEND_KEYS] = {
		[SRV] = { [ADDRESS] = true, [WEIGHT] = true },
		[FILE_] = { [ADDRESS] = true,
			    [SRV] = true,
			    [WEIGHT] = true,
			    [BACKUP] = true,
			    [MAX_FLOWS] = true },
	};

	for (int source = SRV; source <= FILE_; source++)
		for (int key = 0; at[source].yaml && key < BACKEND_KEYS; key++)
			if (alone[source][key] && at[key].yaml)
				return node_fail(&at[key], "does not go with '%s'",
						 source == FILE_ ? "file" : "srv");
	return 0;
}

static int backend_place(const struct node at[BACKEND_KEYS], struct config_backend *backend)
{
	if (at[FILE_].yaml)
		return file_read_list(&at[FILE_], backend);
	if (at[SRV].yaml)
		return srv_read(&at[SRV], backend);
	if (at[ADDRESS].yaml)
		return value_backend(&at[ADDRESS], backend);
	return node_fail(&at[ADDRESS], "is missing; it takes an address or a name, and a port, as in "
				       "\"10.0.2.2:443\"");
}

static int backend_map(const struct node *node, struct config_backend *backend)
{
	static const char *const keys[BACKEND_KEYS] = { "address", "srv",    "file",
							"weight",  "backup", "max-flows" };
	struct node at[BACKEND_KEYS];
	int rc = node_map(node, keys, BACKEND_KEYS, at);

	if (rc == 0)
		rc = backend_keys_check(at);
	if (rc == 0)
		rc = backend_place(at, backend);
	if (rc == 0)
		rc = node_number(&at[WEIGHT], 1, CONFIG_WEIGHT_MAX, &backend->weight);
	if (rc == 0)
		rc = node_bool(&at[BACKUP], &backend->backup);
	if (rc == 0)
		rc = node_number(&at[MAX_FLOWS], 1, UINT32_MAX, &backend->flows_max);
	return rc;
}

static int backend_read(const struct node *node, struct config_backend *backend)
{
	backend->weight = 1;
	if (node->yaml->type == YAML_MAPPING_NODE)
		return backend_map(node, backend);
	return value_backend(node, backend);
}

static int backend_requested(struct config_pool *pool, const char *text)
{
	pool->backends = calloc(1, sizeof(*pool->backends));
	if (!pool->backends)
		return -ENOMEM;
	pool->backends_len = 1;
	pool->backends->requested = true;
	pool->backends->weight = 1;
	pool->backends->original = strcmp(text, ORIGINAL) == 0;
	return value_copy(text, &pool->backends->text);
}

static bool all_backups(const struct config_pool *pool)
{
	for (unsigned int i = 0; i < pool->backends_len; i++)
		if (!pool->backends[i].backup)
			return false;
	return true;
}

/* Those of SRV records are not known yet. */
static size_t backends_count(const struct config_pool *pool)
{
	size_t len = 0;

	for (unsigned int i = 0; i < pool->backends_len; i++)
		len += pool->backends[i].listed ? pool->backends[i].listed->len : 1;
	return len;
}

static int backend_add(void *arg, const struct node *item)
{
	struct config_pool *pool = arg;

	return backend_read(item, &pool->backends[pool->backends_len++]);
}

int config_backends(const struct node *node, struct config_pool *pool)
{
	unsigned int len;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; name one backend at least, as in "
				       "backends: [\"10.0.2.2:443\"]");
	if (node_is(node, REQUESTED))
		return backend_requested(pool, REQUESTED);
	if (node_is(node, ORIGINAL))
		return backend_requested(pool, ORIGINAL);
	rc = node_list(node, &len);
	if (rc < 0)
		return rc;
	if (len > CONFIG_BACKENDS_MAX)
		return node_fail(node, "has %u backends; a pool takes up to %u", len,
				 CONFIG_BACKENDS_MAX);
	pool->backends = calloc(len, sizeof(*pool->backends));
	if (!pool->backends)
		return -ENOMEM;
	rc = node_each(node, backend_add, pool);
	if (rc == 0 && all_backups(pool))
		return node_fail(node, "has only backups; leave 'backup' out of one at least");
	if (rc == 0 && backends_count(pool) > CONFIG_BACKENDS_MAX)
		return node_fail(node, "has %zu backends with those of its files; a pool takes up to %u",
				 backends_count(pool), CONFIG_BACKENDS_MAX);
	return rc;
}

bool config_backends_any_ip6(const struct config_pool *pool)
{
	for (unsigned int i = 0; i < pool->backends_len; i++) {
		const struct config_backend *backend = &pool->backends[i];

		if (backend->host || config_is_source(backend) ||
		    (backend->requested && !backend->original) ||
		    backend->addr.sa.sa_family == AF_INET6)
			return true;
	}
	return false;
}

void config_backends_free(struct config_pool *pool)
{
	for (unsigned int i = 0; i < pool->backends_len; i++) {
		struct config_backend *backend = &pool->backends[i];

		free(backend->text);
		free(backend->host);
		free(backend->srv);
		free(backend->file);
		if (backend->listed)
			listing_fini(backend->listed);
		free(backend->listed);
	}
	free(pool->backends);
}

/* ---- who is next ---- */

int config_turns(const struct node *policy, const struct node *hash, struct config_pool *pool)
{
	static const char *const policies[POOL_POLICIES] = {
		[POOL_ROUND_ROBIN] = "round-robin",
		[POOL_LEAST_FLOWS] = "least-flows",
		[POOL_FIRST] = "first",
		[POOL_HASH] = "hash",
	};
	static const char *const hashes[] = {
		[HASH_SOURCE] = "source",
		[HASH_NAME] = "name",
		[HASH_SOURCE_NAME] = "source-name",
	};
	unsigned int word = pool->policy;
	int rc = node_word(policy, policies, POOL_POLICIES, NULL, &word);

	if (rc < 0)
		return rc;
	pool->policy = (enum pool_policy)word;
	if (hash->yaml && pool->policy != POOL_HASH)
		return node_fail(hash, "goes only with 'policy: hash'");
	word = pool->hash;
	rc = node_word(hash, hashes, sizeof(hashes) / sizeof(hashes[0]), NULL, &word);
	pool->hash = (enum pool_hash)word;
	return rc;
}

int config_source(const struct node *node, bool *transparent)
{
	static const char *const words[] = { "gateway", "transparent" };
	unsigned int word = *transparent;
	int rc = node_word(node, words, 2, NULL, &word);

	*transparent = word;
	return rc;
}

/* ---- failures ---- */

static int eject_map(const struct node *node, struct config_eject *eject)
{
	enum {
		FAILURES,
		FOR,
		SHARE,
		KEYS
	};
	static const char *const keys[KEYS] = { "failures", "for", "share" };
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	if (rc == 0)
		rc = node_number(&at[FAILURES], 1, 1000, &eject->failures);
	if (rc == 0)
		rc = node_ms(&at[FOR], &eject->for_ms);
	if (rc == 0)
		rc = value_percent(&at[SHARE], &eject->share);
	return rc;
}

int config_eject(const struct node *node, struct config_eject *eject)
{
	bool on = true;
	int rc;

	*eject = (struct config_eject){ EJECT_FAILURES, EJECT_MS, EJECT_SHARE };
	if (!node->yaml)
		return 0;
	if (node->yaml->type == YAML_MAPPING_NODE)
		return eject_map(node, eject);
	rc = node_bool(node, &on);
	if (rc == 0 && !on)
		eject->failures = 0;
	return rc;
}
