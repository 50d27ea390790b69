// SPDX-License-Identifier: GPL-2.0-only
/*
 * config_accelerate.c - the key 'accelerate' of ladon.yaml
 */
#include "config_accelerate.h"

#include <ctype.h>
#include <errno.h>
#include <ladon/ladon.h>
#include <stdlib.h>

#include "config_value.h"

#define PACKETS_MAX 200
#define FLOWS_MAX   (1u << 24)

#define CONFIRM_MS_MIN 100
#define CONFIRM_MS_MAX 30000

enum accelerate_key {
	ACCELERATE_PROTOCOLS,
	ACCELERATE_INTERFACES,
	ACCELERATE_PACKETS,
	ACCELERATE_FLOWS,
	ACCELERATE_CONFIRM,
	ACCELERATE_DROPS,
	ACCELERATE_EXCEPT,
	ACCELERATE_KEYS,
};
static const char *const accelerate_keys[ACCELERATE_KEYS] = {
	"protocols", "interfaces", "packets", "flows", "confirm", "drops", "except",
};

static int protocol_read(void *arg, const struct node *node)
{
	static const char *const words[] = { "tcp", "udp" };
	struct config_accelerate *out = arg;
	unsigned int word = 0;
	int rc = node_word(node, words, 2, NULL, &word);

	out->tcp |= rc == 0 && word == 0;
	out->udp |= rc == 0 && word == 1;
	return rc;
}

static int protocols_read(const struct node *node, struct config_accelerate *out)
{
	out->tcp = out->udp = false;
	return node_each(node, protocol_read, out);
}

/* "0x10", or "0x100/0xff00" with a mask */
static int mark_read(const struct node *node, struct config_mark *out)
{
	unsigned long value = 0, mask = UINT32_MAX;
	const char *text;
	char *end = NULL;
	int rc = node_text(node, &text);

	if (rc < 0)
		return rc;
	if (isdigit((unsigned char)*text))
		value = strtoul(text, &end, 0);
	if (end && *end == '/' && isdigit((unsigned char)end[1]))
		mask = strtoul(end + 1, &end, 0);
	if (!end || *end || value > UINT32_MAX || mask > UINT32_MAX || !mask || value & ~mask)
		return node_fail(
			node,
			"\"%.80s\" will not do; it takes a mark, or one and a mask, as in 0x10 or "
			"0x100/0xff00",
			text);
	out->value = (uint32_t)value;
	out->mask = (uint32_t)mask;
	return 0;
}

static int mark_add(void *arg, const struct node *item)
{
	struct config_accelerate *out = arg;

	return mark_read(item, &out->except_marks[out->except_marks_len++]);
}

static int marks_read(const struct node *node, struct config_accelerate *out)
{
	unsigned int len;
	int rc = node_list(node, &len);

	if (rc < 0)
		return rc;
	if (len > LADON_EXCEPT_MARKS)
		return node_fail(node, "has %u items; it takes %u at most", len,
				 LADON_EXCEPT_MARKS);
	out->except_marks = calloc(len, sizeof(*out->except_marks));
	if (!out->except_marks)
		return -ENOMEM;
	return node_each(node, mark_add, out);
}

static int except_read(const struct node *node, struct config_accelerate *out)
{
	enum {
		ADDRESSES,
		PORTS,
		MARKS,
		KEYS
	};
	static const char *const keys[KEYS] = { "addresses", "ports", "marks" };
	struct node at[KEYS];
	int rc = node_map(node, keys, KEYS, at);

	if (rc == 0 && at[ADDRESSES].yaml)
		rc = value_prefixes(&at[ADDRESSES], &out->except);
	if (rc == 0 && out->except.len > LADON_EXCEPT_NETWORKS)
		rc = node_fail(&at[ADDRESSES], "has %u prefixes; it takes %u at most",
			       out->except.len, LADON_EXCEPT_NETWORKS);
	if (rc == 0)
		rc = value_ports(&at[PORTS], &out->except_ports, &out->except_ports_len);
	if (rc == 0 && out->except_ports_len > LADON_EXCEPT_PORTS)
		rc = node_fail(&at[PORTS], "has %u items; it takes %u at most",
			       out->except_ports_len, LADON_EXCEPT_PORTS);
	return rc == 0 && at[MARKS].yaml ? marks_read(&at[MARKS], out) : rc;
}

void config_accelerate_free(struct config_accelerate *accelerate)
{
	texts_free(accelerate->interfaces);
	cidrs_fini(&accelerate->except);
	free(accelerate->except_ports);
	free(accelerate->except_marks);
}

int config_accelerate_read(const struct node *node, struct config_accelerate *out)
{
	struct node at[ACCELERATE_KEYS];
	int rc;

	if (!node->yaml)
		return 0;
	out->tcp = out->udp = out->drops = true;
	if (node_is_scalar(node))
		return node_bool(node, &out->on);
	out->on = true;
	rc = node_map(node, accelerate_keys, ACCELERATE_KEYS, at);
	if (rc == 0 && at[ACCELERATE_PROTOCOLS].yaml)
		rc = protocols_read(&at[ACCELERATE_PROTOCOLS], out);
	if (rc == 0)
		rc = value_interfaces(&at[ACCELERATE_INTERFACES], &out->interfaces);
	if (rc == 0)
		rc = node_number(&at[ACCELERATE_PACKETS], 1, PACKETS_MAX, &out->packets);
	if (rc == 0)
		rc = node_number(&at[ACCELERATE_FLOWS], 1, FLOWS_MAX, &out->flows_max);
	if (rc == 0)
		rc = node_ms(&at[ACCELERATE_CONFIRM], &out->confirm_ms);
	if (rc == 0 && at[ACCELERATE_CONFIRM].yaml &&
	    (out->confirm_ms < CONFIRM_MS_MIN || out->confirm_ms > CONFIRM_MS_MAX))
		rc = node_fail(&at[ACCELERATE_CONFIRM], "takes a time from 100ms to 30s");
	if (rc == 0 && at[ACCELERATE_DROPS].yaml)
		rc = node_bool(&at[ACCELERATE_DROPS], &out->drops);
	return rc == 0 && at[ACCELERATE_EXCEPT].yaml ? except_read(&at[ACCELERATE_EXCEPT], out)
						     : rc;
}
