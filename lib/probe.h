/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * probe.h - make an end of a flow say something
 *
 * For keepalive, and for flows that were killed: their ends are told when they speak.
 * How it works is in datapath/probe.h.
 */
#ifndef LADON_PROBE_H
#define LADON_PROBE_H

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>

#include "../datapath/abi.h"
#include "segment.h"

struct ladon;

/** probe_can() - are enough of the flow's numbers known? Not of those of older builds */
static inline bool probe_can(const struct ladon_entry *flow)
{
	return LADON_STATE_LIMITS_OF(flow->state) != 0;
}

/** probe_count() - how many probes of this entry's sender are unanswered */
static inline uint32_t probe_count(const struct ladon_entry *flow)
{
	return (flow->state & LADON_STATE_PROBES) / LADON_STATE_PROBE;
}

/**
 * probe_write() - a probe as an Ethernet frame
 * @out: PROBE_BYTES_MAX
 * @asked: the entry of what the probed end sends
 * @peer: its twin
 *
 * Return: its length
 */
uint32_t probe_write(uint8_t *out, const struct ladon_entry *asked, const struct ladon_entry *peer);

#define PROBE_BYTES_MAX (ETH_HLEN + SEGMENT_ACK_BYTES_MAX)

/** probe_send() - the same, sent. Return: 0 or a negative errno; then nothing has changed */
int probe_send(struct ladon *ladon, const struct ladon_entry *asked,
	       const struct ladon_entry *peer);

#endif
