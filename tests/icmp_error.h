/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * icmp_error.h - ICMP errors as bytes, the slow and obvious way
 *
 * As segment.h does it: written from its fields, checksums summed up over all of it.
 */
#ifndef LADON_TESTS_ICMP_ERROR_H
#define LADON_TESTS_ICMP_ERROR_H

#include "segment.h"

/**
 * struct icmp_error - type and code mean what they mean in the family
 * @key: addresses; ports unused
 * @rest: the second half of the header
 * @tos: of the error's own IP header; @ttl of 0: 64
 * @quote: an IP packet, from its header on
 */
struct icmp_error {
	bool ip6;
	struct ladon_flow_key key;
	uint8_t type, code;
	uint32_t rest;
	uint8_t tos;
	uint8_t ttl;
	const uint8_t *quote;
	size_t quote_len;
};

static inline size_t icmp_error_at(const uint8_t *packet)
{
	return SEGMENT_ETHERNET + (segment_is_ip6(packet) ? 40 : 20);
}

/** icmp_error_sum() - the sum over all that its checksum covers: 0xffff if that is right */
static inline uint32_t icmp_error_sum(const uint8_t *packet)
{
	size_t at = icmp_error_at(packet), len = segment_ip_len(packet) + SEGMENT_ETHERNET - at;
	uint8_t pseudo[8] = { [7] = 58 };
	uint32_t sum = 0;

	if (segment_is_ip6(packet)) {
		segment_put32(pseudo, (uint32_t)len);
		sum = segment_sum(segment_sum(0, pseudo, sizeof(pseudo)),
				  packet + SEGMENT_ETHERNET + 8, 32);
	}
	return segment_sum(sum, packet + at, len);
}

/**
 * icmp_error_write() - the packet, Ethernet header first
 * @out: SEGMENT_BYTES_MAX
 *
 * Return: its length.
 */
static inline size_t icmp_error_write(const struct icmp_error *e, uint8_t *out)
{
	struct segment s = { .ip6 = e->ip6, .key = e->key, .tos = e->tos, .ttl = e->ttl };
	uint8_t *ip = out + SEGMENT_ETHERNET, *icmp;
	size_t len = 8 + e->quote_len;

	memset(out, 0, SEGMENT_ETHERNET);
	segment_put16(out + 12, e->ip6 ? 0x86dd : 0x0800);
	if (e->ip6) {
		segment_write_ip6(&s, ip, len);
		ip[6] = 58;
	} else {
		segment_write_ip4(&s, ip, len);
		ip[9] = 1;
		segment_put16(ip + 10, 0);
		segment_put16(ip + 10, ~segment_sum(0, ip, 20));
	}
	icmp = out + icmp_error_at(out);
	icmp[0] = e->type;
	icmp[1] = e->code;
	segment_put16(icmp + 2, 0);
	segment_put32(icmp + 4, e->rest);
	memcpy(icmp + 8, e->quote, e->quote_len);
	segment_put16(icmp + 2, ~icmp_error_sum(out));
	return (size_t)(icmp - out) + len;
}

#endif
