// SPDX-License-Identifier: GPL-2.0-only
#include "accelerate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/own.h"
#include "../base/text.h"
#include "target.h"

/* A range that was written as a prefix, and nothing was joined to */
static unsigned int range_bits(const struct cidr_range *range)
{
	unsigned int bits = 0;

	while (bits < 128 && !((range->first[bits / 8] ^ range->last[bits / 8]) & 0x80 >> bits % 8))
		bits++;
	return bits;
}

static struct ladon_network *networks_make(const struct cidrs *set)
{
	struct ladon_network *networks = calloc(set->len + 1, sizeof(*networks));

	for (uint32_t i = 0; networks && i < set->len; i++) {
		memcpy(networks[i].address, set->ranges[i].first, sizeof(networks[i].address));
		networks[i].bits = range_bits(&set->ranges[i]);
	}
	return networks;
}

void accelerate(struct ladon *ladon, const struct config_accelerate *config)
{
	struct ladon_acceleration how = LADON_ACCELERATION_INIT;
	_free_ struct ladon_network *networks = networks_make(&config->except);

	if (!config->on) {
		ladon_accelerate(ladon, NULL);
		return;
	}
	if (!networks) {
		log_err("accelerate: %s", strerror(ENOMEM));
		return;
	}
	how.tcp = config->tcp;
	how.udp = config->udp;
	how.packets = config->packets;
	how.no_drops = !config->drops;
	how.flows_max = config->flows_max;
	how.confirm_ms = config->confirm_ms;
	how.interfaces = (const char *const *)config->interfaces;
	how.except_networks = networks;
	how.except_networks_len = config->except.len;
	for (unsigned int i = 0; i < config->except_ports_len; i++) {
		how.except_ports[i].from = config->except_ports[i].from;
		how.except_ports[i].to = config->except_ports[i].to;
	}
	for (unsigned int i = 0; i < config->except_marks_len; i++) {
		how.except_marks[i].value = config->except_marks[i].value;
		how.except_marks[i].mask = config->except_marks[i].mask;
	}
	ladon_accelerate(ladon, &how); /* on failure it has said why */
}

static bool are_same(const void *a, unsigned int a_len, const void *b, unsigned int b_len,
		     size_t size)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len * size) == 0);
}

bool accelerate_is_same(const struct config_accelerate *a, const struct config_accelerate *b)
{
	return a->on == b->on && a->tcp == b->tcp && a->udp == b->udp && a->packets == b->packets &&
	       a->flows_max == b->flows_max && a->drops == b->drops &&
	       a->confirm_ms == b->confirm_ms && texts_are_same(a->interfaces, b->interfaces) &&
	       are_same(a->except.ranges, a->except.len, b->except.ranges, b->except.len,
			sizeof(*a->except.ranges)) &&
	       are_same(a->except_ports, a->except_ports_len, b->except_ports, b->except_ports_len,
			sizeof(*a->except_ports)) &&
	       are_same(a->except_marks, a->except_marks_len, b->except_marks, b->except_marks_len,
			sizeof(*a->except_marks));
}
