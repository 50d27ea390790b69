// SPDX-License-Identifier: GPL-2.0-only
#include "plan.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"

/* Afterwards all of @out's are its own, or NULL. Return: 0 or -ENOMEM */
static int texts_copy(const struct config_health *config, struct config_health *out)
{
	int rc = 0;

	for (int i = 0; i < HEALTH_TEXTS; i++) {
		out->texts[i] = config->texts[i] ? strdup(config->texts[i]) : NULL;
		if (config->texts[i] && !out->texts[i])
			rc = -ENOMEM;
	}
	return rc;
}

/* As texts_copy() */
static int command_copy(char *const *command, char ***out)
{
	size_t len = 0;
	char **copy;

	*out = NULL;
	if (!command)
		return 0;
	while (command[len])
		len++;
	copy = calloc(len + 1, sizeof(*copy));
	*out = copy;
	for (size_t i = 0; copy && i < len; i++) {
		copy[i] = strdup(command[i]);
		if (!copy[i])
			return -ENOMEM;
	}
	return copy ? 0 : -ENOMEM;
}

/* Who is to be trusted. Return: 1, or 0 */
static int trust_load(SSL_CTX *tls, const char *file)
{
	return file ? SSL_CTX_load_verify_locations(tls, file, NULL)
		    : SSL_CTX_set_default_verify_paths(tls);
}

/*
 * If the certificate is not judged, neither is how strong the keys are: whether that
 * is good enough is between clients and backends.
 */
static int tls_new(const struct config_health *config, SSL_CTX **out, char **error)
{
	const char *file = config->texts[HEALTH_CA];
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		return -ENOMEM;
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	if (!config->verify) {
		SSL_CTX_set_security_level(tls, 0);
		SSL_CTX_set_min_proto_version(tls, TLS1_VERSION);
	} else if (!trust_load(tls, file)) {
		unsigned long code = ERR_peek_error();
		const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
							 : ERR_reason_error_string(code);

		if (asprintf(error, "ca %s: %s", file ? file : "of the system",
			     why ? why : "cannot be used") < 0)
			*error = NULL;
		ERR_clear_error();
		SSL_CTX_free(tls);
		return -EINVAL;
	}
	*out = tls;
	return 0;
}

int plan_new(const struct config_health *config, struct plan **out, char **error)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int rc;

	*error = NULL;
	if (!plan)
		return -ENOMEM;
	plan->config = *config;
	plan->holders = 1;
	rc = texts_copy(config, &plan->config);
	if (command_copy(config->command, &plan->config.command) < 0)
		rc = -ENOMEM;
	if (rc == 0 && (config->check == HEALTH_TLS || config->check == HEALTH_HTTPS))
		rc = tls_new(config, &plan->tls, error);
	if (rc < 0) {
		plan_drop(plan);
		return rc;
	}
	*out = plan;
	return 0;
}

struct plan *plan_hold(struct plan *plan)
{
	plan->holders++;
	return plan;
}

void plan_drop(struct plan *plan)
{
	if (--plan->holders > 0)
		return;
	for (int i = 0; i < HEALTH_TEXTS; i++)
		free(plan->config.texts[i]);
	for (char **word = plan->config.command; word && *word; word++)
		free(*word);
	free(plan->config.command);
	SSL_CTX_free(plan->tls);
	free(plan);
}

static bool statuses_are_same(const struct config_health *a, const struct config_health *b)
{
	return a->statuses_len == b->statuses_len &&
	       memcmp(a->statuses, b->statuses, a->statuses_len * sizeof(*a->statuses)) == 0;
}

bool plan_is_same(const struct plan *plan, const struct plan *other)
{
	const struct config_health *a = &plan->config, *b = &other->config;

	for (int i = 0; i < HEALTH_TEXTS; i++)
		if (!text_is_same(a->texts[i], b->texts[i]))
			return false;
	return a->check == b->check && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->rise == b->rise && a->fall == b->fall &&
	       a->port == b->port && a->verify == b->verify && statuses_are_same(a, b) &&
	       texts_are_same(a->command, b->command);
}
