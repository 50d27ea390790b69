// SPDX-License-Identifier: LGPL-2.1-or-later
#include "segment.h"

#include <linux/tcp.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>

#include "../base/addr.h"

/* RFC 1071 */
static uint32_t sum(const void *data, size_t len, uint32_t acc)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		acc += (uint32_t)p[i] << 8 | p[i + 1];
	return acc;
}

static uint16_t sum_fold(uint32_t acc)
{
	while (acc >> 16)
		acc = (acc & 0xffff) + (acc >> 16);
	return htons((uint16_t)~acc);
}

/* Return: its length */
static size_t tcp_write(uint8_t *out, const struct ladon_flow_key *key,
			const struct ladon_view *view)
{
	struct tcphdr tcp = {
		.source = key->sport,
		.dest = key->dport,
		.seq = htonl(view->snd_nxt),
		.ack_seq = htonl(view->rcv_nxt),
		.ack = 1,
		.window = htons(view->window),
	};
	uint32_t times[] = { htonl(view->tsval), htonl(view->tsecr) };
	size_t len = sizeof(tcp) + (view->has_ts ? TS_OPTION_BYTES : 0);
	uint32_t acc;

	tcp.doff = (uint16_t)(len / 4) & 0xf;
	memcpy(out, &tcp, sizeof(tcp));
	if (view->has_ts) {
		memcpy(out + sizeof(tcp), "\x01\x01\x08\x0a", 4);
		memcpy(out + sizeof(tcp) + 4, times, sizeof(times));
	}
	/* ::ffff: in front of both IPv4 addresses adds 0xffff twice, which is nothing */
	acc = sum(key->saddr, 16, sum(key->daddr, 16, 0)) + IPPROTO_TCP + (uint32_t)len;
	tcp.check = sum_fold(sum(out, len, acc));
	memcpy(out, &tcp, sizeof(tcp));
	return len;
}

static size_t ip4_write(uint8_t *out, const struct ladon_flow_key *key,
			const struct ladon_view *view, uint8_t ttl)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = sizeof(ip) / 4,
		.frag_off = htons(IP_DF),
		.ttl = ttl,
		.protocol = IPPROTO_TCP,
		.saddr = key->saddr[3],
		.daddr = key->daddr[3],
	};
	size_t len = sizeof(ip) + tcp_write(out + sizeof(ip), key, view);

	ip.tot_len = htons((uint16_t)len);
	ip.check = sum_fold(sum(&ip, sizeof(ip), 0));
	memcpy(out, &ip, sizeof(ip));
	return len;
}

static size_t ip6_write(uint8_t *out, const struct ladon_flow_key *key,
			const struct ladon_view *view, uint8_t hop_limit)
{
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6u << 28),
		.ip6_nxt = IPPROTO_TCP,
		.ip6_hlim = hop_limit,
	};
	size_t len = tcp_write(out + sizeof(ip), key, view);

	ip.ip6_plen = htons((uint16_t)len);
	memcpy(&ip.ip6_src, key->saddr, 16);
	memcpy(&ip.ip6_dst, key->daddr, 16);
	memcpy(out, &ip, sizeof(ip));
	return sizeof(ip) + len;
}

size_t segment_write_ack(uint8_t *out, const struct ladon_flow_key *key,
			 const struct ladon_view *view, uint8_t ttl)
{
	struct addr source;

	addr_from_16(key->saddr, 0, &source);
	return source.sa.sa_family == AF_INET ? ip4_write(out, key, view, ttl)
					      : ip6_write(out, key, view, ttl);
}
