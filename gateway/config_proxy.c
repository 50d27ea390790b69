// SPDX-License-Identifier: GPL-2.0-only
#include "config_proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/cidr.h"
#include "config_value.h"
#include "proxy_header.h"

int config_proxy_from_read(const struct node *node, struct config_listener *listener)
{
	if (!node->yaml)
		return 0;
	listener->proxy_from = calloc(1, sizeof(*listener->proxy_from));
	return listener->proxy_from ? value_cidrs(node, listener->proxy_from) : -ENOMEM;
}

void config_proxy_from_free(const struct config_listener *listener)
{
	if (listener->proxy_from)
		cidrs_fini(listener->proxy_from);
	free(listener->proxy_from);
}

static int tlv_read(void *arg, const struct node *node)
{
	struct config_send_proxy *out = arg;
	static const char *const words[] = { "authority", "alpn", "unique-id" };
	bool *const fields[] = { &out->authority, &out->alpn, &out->unique_id };
	unsigned int word = 0;
	int rc = node_word(node, words, 3, NULL, &word);

	if (rc == 0 && *fields[word])
		return node_fail(node, "%s is in the list already; remove one of them",
				 words[word]);
	*fields[word] = true;
	return rc;
}

int config_send_proxy_read(const struct node *version, const struct node *tlvs,
			   struct config_pool *pool)
{
	static const char *const versions[] = { "v1", "v2" };
	struct config_send_proxy *out = &pool->send_proxy;
	unsigned int index = 0;
	int rc = node_word(version, versions, 2, NULL, &index);

	if (rc == 0 && version->yaml && pool->backends_len && pool->backends[0].requested)
		return node_fail(version,
				 "goes not with %s backends, which expect none; leave it out",
				 pool->backends[0].text);
	if (rc == 0 && version->yaml)
		out->version = index ? PROXY_V2 : PROXY_V1;
	if (rc < 0 || !tlvs->yaml)
		return rc;
	if (out->version != PROXY_V2)
		return node_fail(tlvs, "only version 2 has them; write \"send-proxy: v2\"");
	return node_each(tlvs, tlv_read, out);
}
