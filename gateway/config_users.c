// SPDX-License-Identifier: GPL-2.0-only
#include "config_users.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/own.h"
#include "config_value.h"
#include "users.h"

static int file_read_users(struct config *config, const struct node *node, const char *path)
{
	struct users **more;
	_free_ char *text = NULL;
	char why[USERS_WHY_MAX];
	unsigned int line;
	size_t len;
	int rc = value_listed(node, path, &text, &len);

	if (rc < 0)
		return rc;
	more = reallocarray(config->users, config->users_len + 1, sizeof(struct users *));
	if (!more)
		return -ENOMEM;
	config->users = more;
	rc = users_read(text, len, &more[config->users_len], &line, why);
	explicit_bzero(text, len);
	if (rc == -EINVAL)
		return node_fail(node, "%.200s:%u: %s", path, line, why);
	config->users_len += rc == 0;
	return rc;
}

int config_users_read(struct config *config, const struct node *node, struct users **out)
{
	const char *path;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &path);
	if (rc == 0)
		rc = file_read_users(config, node, path);
	if (rc == 0)
		*out = config->users[config->users_len - 1];
	return rc;
}

void config_users_free(struct config *config)
{
	while (config->users_len)
		users_drop(config->users[--config->users_len]);
	free(config->users);
}
