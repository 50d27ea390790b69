// SPDX-License-Identifier: GPL-2.0-only
#include "config_health.h"

#include <errno.h>

#define INTERVAL_MS	5000
#define INTERVAL_MIN_MS 100 /* more often is a load of its own */
#define TIMEOUT_MS	2000
#define RISE		2
#define FALL		3
#define IN_A_ROW_MAX	1000

enum key {
	CHECK,
	INTERVAL,
	TIMEOUT,
	RISE_KEY,
	FALL_KEY,
	PORT,
	KEYS
};
static const char *const keys[KEYS] = { "check", "interval", "timeout", "rise", "fall", "port" };

static const char *const checks[HEALTH_CHECKS] = {
	[HEALTH_TCP] = "tcp",
};

static int check_read(const struct node *node, enum health_check *out)
{
	unsigned int word = 0;
	int rc;

	if (!node->yaml)
		return node_fail(node, "is missing; it takes the kind of check, such as tcp");
	rc = node_word(node, &checks[HEALTH_TCP], HEALTH_CHECKS - HEALTH_TCP, NULL, &word);
	*out = (enum health_check)(HEALTH_TCP + word);
	return rc;
}

/* When, and how often until it counts */
static int times_read(const struct node *at, struct config_health *health)
{
	int rc = node_ms(&at[INTERVAL], &health->interval_ms);

	if (rc == 0 && health->interval_ms < INTERVAL_MIN_MS)
		return node_fail(&at[INTERVAL], "is too short; it takes %u ms at least",
				 INTERVAL_MIN_MS);
	if (rc == 0)
		rc = node_ms(&at[TIMEOUT], &health->timeout_ms);
	if (rc == 0)
		rc = node_number(&at[RISE_KEY], 1, IN_A_ROW_MAX, &health->rise);
	if (rc == 0)
		rc = node_number(&at[FALL_KEY], 1, IN_A_ROW_MAX, &health->fall);
	return rc;
}

int config_health(const struct node *node, struct config_pool *pool)
{
	struct config_health *health = &pool->health;
	struct node at[KEYS];
	uint32_t port = 0;
	int rc;

	if (!node->yaml)
		return 0;
	if (pool->backends[0].requested)
		return node_fail(node, "goes not with requested backends, of which none is known "
				       "before a client asks for it");
	rc = node_map(node, keys, KEYS, at);
	if (rc == 0)
		rc = check_read(&at[CHECK], &health->check);
	if (rc < 0)
		return rc;
	health->interval_ms = INTERVAL_MS;
	health->timeout_ms = TIMEOUT_MS;
	health->rise = RISE;
	health->fall = FALL;
	rc = times_read(at, health);
	if (rc == 0)
		rc = node_number(&at[PORT], 1, UINT16_MAX, &port);
	health->port = (uint16_t)port;
	return rc;
}
