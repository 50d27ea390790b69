// SPDX-License-Identifier: GPL-2.0-only
#include "config_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"

#define REQUESTED      "requested" /* backends: whatever target a client asks for */
#define ORIGINAL       "original"  /* ... or was headed for */
#define EJECT_FAILURES 5
#define EJECT_MS       10000
#define EJECT_SHARE    50

/* ---- backends ---- */

static int backend_map(const struct node *node, struct config_backend *backend)
{
	enum {
		ADDRESS,
		WEIGHT,
		BACKUP,
		MAX_FLOWS,
		KEYS
	};
	static const char *const keys[KEYS] = { "address", "weight", "backup", "max-flows" };
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	if (rc < 0)
		return rc;
	if (!at[ADDRESS].yaml)
		return node_fail(&at[ADDRESS], "is missing; it takes an address or a name, and a "
					       "port, as in \"10.0.2.2:443\"");
	rc = value_backend(&at[ADDRESS], backend);
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
	for (unsigned int i = 0; rc == 0 && i < len; i++) {
		struct node item;

		node_item(node, i, &item);
		rc = backend_read(&item, &pool->backends[pool->backends_len++]);
	}
	if (rc == 0 && all_backups(pool))
		return node_fail(node, "has only backups; leave 'backup' out of one at least");
	return rc;
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

int config_when_down(const struct node *node, bool *reset)
{
	static const char *const words[] = { "keep", "reset" };
	unsigned int word = *reset;
	int rc = node_word(node, words, 2, NULL, &word);

	*reset = word;
	return rc;
}

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
