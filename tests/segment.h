/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment.h - TCP segments as bytes, the slow and obvious way
 *
 * For the tests of the datapath. A segment is written from its fields, with its
 * checksums summed up over all of it, two bytes at a time: nothing here is
 * shared with the code that it tests.
 */
#ifndef LADON_TESTS_SEGMENT_H
#define LADON_TESTS_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../datapath/abi.h"

#define SEGMENT_BYTES_MAX 2048
#define SEGMENT_ETHERNET  14

enum {
	SEGMENT_FIN = 0x01,
	SEGMENT_SYN = 0x02,
	SEGMENT_RST = 0x04,
	SEGMENT_PSH = 0x08,
	SEGMENT_ACK = 0x10,
	SEGMENT_URG = 0x20,
	SEGMENT_ECE = 0x40,
	SEGMENT_CWR = 0x80,
};

/* Zero means: IPv4 with DF, no traffic class, TTL 64, no options, no payload. */
struct segment {
	bool ip6;
	struct ladon_flow_key key;
	uint8_t tos;
	uint8_t ttl;
	uint16_t id;	 /* IPv4 only */
	bool may_be_cut; /* IPv4 only: without DF */
	uint8_t flags;
	uint16_t window;
	uint16_t urgent;
	uint32_t seq, ack;
	uint8_t options[40];
	size_t options_len; /* a multiple of 4 */
	size_t payload_len; /* bytes 0, 1, 2, ... */
};

static inline void segment_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void segment_put32(uint8_t *p, uint32_t v)
{
	segment_put16(p, v >> 16);
	segment_put16(p + 2, v & 0xffff);
}

static inline uint32_t segment_get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t segment_get32(const uint8_t *p)
{
	return segment_get16(p) << 16 | segment_get16(p + 2);
}

/* RFC 1071: 16-bit words, the last one padded; carries put back in at once. */
static inline uint32_t segment_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline bool segment_is_ip6(const uint8_t *packet)
{
	return segment_get16(packet + 12) == 0x86dd;
}

static inline uint8_t *segment_tcp(uint8_t *packet)
{
	return packet + SEGMENT_ETHERNET + (segment_is_ip6(packet) ? 40 : 20);
}

/** segment_ip_len() - as the IP header says, header included */
static inline size_t segment_ip_len(const uint8_t *packet)
{
	return segment_is_ip6(packet) ? 40 + segment_get16(packet + 18)
				      : segment_get16(packet + 16);
}

/** segment_sum_tcp() - the sum over pseudo header and segment: 0xffff if the checksum is right */
static inline uint32_t segment_sum_tcp(uint8_t *packet)
{
	uint8_t *tcp = segment_tcp(packet);
	size_t len = segment_ip_len(packet) - (size_t)(tcp - packet - SEGMENT_ETHERNET);
	uint8_t pseudo[4] = { 0, 6 };
	uint32_t sum;

	segment_put16(pseudo + 2, (uint32_t)len);
	sum = segment_sum(0, pseudo, sizeof(pseudo));
	if (segment_is_ip6(packet))
		sum = segment_sum(sum, packet + SEGMENT_ETHERNET + 8, 32);
	else
		sum = segment_sum(sum, packet + SEGMENT_ETHERNET + 12, 8);
	return segment_sum(sum, tcp, len);
}

/** segment_sum_ip() - the sum over an IPv4 header: 0xffff if the checksum is right */
static inline uint32_t segment_sum_ip(const uint8_t *packet)
{
	return segment_is_ip6(packet) ? 0xffff : segment_sum(0, packet + SEGMENT_ETHERNET, 20);
}

static inline void segment_write_ip4(const struct segment *s, uint8_t *ip, size_t tcp_len)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	ip[1] = s->tos;
	segment_put16(ip + 2, 20 + (uint32_t)tcp_len);
	segment_put16(ip + 4, s->id);
	segment_put16(ip + 6, s->may_be_cut ? 0 : 0x4000);
	ip[8] = s->ttl ? s->ttl : 64;
	ip[9] = 6;
	memcpy(ip + 12, &s->key.saddr[3], 4);
	memcpy(ip + 16, &s->key.daddr[3], 4);
	segment_put16(ip + 10, ~segment_sum(0, ip, 20));
}

static inline void segment_write_ip6(const struct segment *s, uint8_t *ip, size_t tcp_len)
{
	memset(ip, 0, 8);
	segment_put32(ip, 6u << 28 | (uint32_t)s->tos << 20);
	segment_put16(ip + 4, (uint32_t)tcp_len);
	ip[6] = 6;
	ip[7] = s->ttl ? s->ttl : 64;
	memcpy(ip + 8, s->key.saddr, 16);
	memcpy(ip + 24, s->key.daddr, 16);
}

/**
 * segment_write() - the packet, Ethernet header first
 * @out: SEGMENT_BYTES_MAX
 *
 * Both MAC addresses are zero, as the loopback device's are. Return: its length.
 */
static inline size_t segment_write(const struct segment *s, uint8_t *out)
{
	size_t ip_header = s->ip6 ? 40 : 20;
	size_t tcp_len = 20 + s->options_len + s->payload_len;
	uint8_t *tcp = out + SEGMENT_ETHERNET + ip_header;
	size_t i;

	memset(out, 0, SEGMENT_ETHERNET);
	segment_put16(out + 12, s->ip6 ? 0x86dd : 0x0800);
	if (s->ip6)
		segment_write_ip6(s, out + SEGMENT_ETHERNET, tcp_len);
	else
		segment_write_ip4(s, out + SEGMENT_ETHERNET, tcp_len);
	memcpy(tcp, &s->key.sport, 2);
	memcpy(tcp + 2, &s->key.dport, 2);
	segment_put32(tcp + 4, s->seq);
	segment_put32(tcp + 8, s->ack);
	tcp[12] = (uint8_t)((20 + s->options_len) / 4 << 4);
	tcp[13] = s->flags;
	segment_put16(tcp + 14, s->window);
	segment_put16(tcp + 16, 0);
	segment_put16(tcp + 18, s->urgent);
	memcpy(tcp + 20, s->options, s->options_len);
	for (i = 0; i < s->payload_len; i++)
		tcp[20 + s->options_len + i] = (uint8_t)i;
	segment_put16(tcp + 16, ~segment_sum_tcp(out));
	return SEGMENT_ETHERNET + ip_header + tcp_len;
}

/** segment_key() - addresses that end in @source and @dest, of either family; host byte order */
static inline struct ladon_flow_key segment_key(bool ip6, uint8_t source, uint16_t sport,
						uint8_t dest, uint16_t dport)
{
	static const uint8_t ip4_form[16] = { [10] = 0xff, 0xff, 192, 0, 2, 0 };
	static const uint8_t ip6_form[16] = { 0x20, 0x01, 0x0d, 0xb8, [8] = 0xab };
	struct ladon_flow_key key;

	memcpy(key.saddr, ip6 ? ip6_form : ip4_form, 16);
	memcpy(key.daddr, ip6 ? ip6_form : ip4_form, 16);
	((uint8_t *)key.saddr)[15] = source;
	((uint8_t *)key.daddr)[15] = dest;
	segment_put16((uint8_t *)&key.sport, sport);
	segment_put16((uint8_t *)&key.dport, dport);
	return key;
}

#endif
