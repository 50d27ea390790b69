// SPDX-License-Identifier: GPL-2.0-only
#include "config_tokens.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/keys.h"
#include "../base/own.h"
#include "config_value.h"

/* Of a file that can be read: who else can? */
static int privacy_check(const struct node *node, const char *path)
{
	struct stat status;

	if (stat(path, &status) == 0 && status.st_mode & (S_IROTH | S_IWOTH))
		return node_fail(
			node, "everybody may read %.200s, and make tokens then; chmod o= it", path);
	return 0;
}

int config_tokens_read(const struct node *node, struct config_listener *listener)
{
	_free_ char *text = NULL;
	char why[KEYS_WHY_MAX];
	unsigned int line;
	const char *path;
	size_t len = 0;
	int rc;

	if (!node->yaml)
		return 0;
	rc = node_text(node, &path);
	if (rc == 0)
		rc = value_listed(node, path, &text, &len);
	if (rc == 0)
		rc = privacy_check(node, path);
	if (rc < 0)
		return rc;
	rc = keys_read(text, len, &listener->keys, &line, why);
	explicit_bzero(text, len);
	return rc == -EINVAL ? node_fail(node, "%.200s:%u: %s", path, line, why) : rc;
}
