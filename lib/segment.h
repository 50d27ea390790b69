/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * segment.h - an acknowledgement, written by hand
 *
 * For sockets that the kernel does not make speak (guard.c), and for those that are
 * gone (probe.c).
 */
#ifndef LADON_SEGMENT_H
#define LADON_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "../datapath/abi.h"

#define TS_OPTION_BYTES 12 /* two NOPs, kind, length, TSval, TSecr (RFC 7323) */

/* IPv6, TCP, timestamps */
#define SEGMENT_ACK_BYTES_MAX (40 + 20 + TS_OPTION_BYTES)

/**
 * segment_write_ack() - an IP packet that acknowledges, and contains nothing
 * @key: addresses and ports as it carries them; IPv4 if they are ::ffff:a.b.c.d
 * @view: its numbers, window and timestamps
 * @ttl: or hop limit
 *
 * Both checksums are right. Return: its length, at most SEGMENT_ACK_BYTES_MAX
 */
size_t segment_write_ack(uint8_t *out, const struct ladon_flow_key *key,
			 const struct ladon_view *view, uint8_t ttl);

#endif
