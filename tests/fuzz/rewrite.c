// SPDX-License-Identifier: GPL-2.0-only
/*
 * rewrite.c - any bytes as a packet, any bytes as a learned flow
 *
 * Of a packet that goes past the stack:
 *
 *	- IPv4's header checksum, and TCP's or UDP's, are as wrong as they were, to the bit
 *	- it has the flow's addresses, ports and MAC addresses, one hop less, and is unchanged elsewhere
 *	- UDP without a checksum, where it needs none, stays so; with one it keeps one
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../datapath/abi.h"
#include "../../datapath/ctx.h"
#include "../../datapath/passing.h"
#include "../../datapath/rewrite.h"
#include "../segment.h"

#define must(what) ((what) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ones' complement has two zeros. */
static uint32_t residue(uint32_t sum)
{
	return sum == 0xffff ? 0 : sum;
}

/* Over the pseudo header's addresses, and all that follows the IP header */
static uint32_t sum_l4(const uint8_t *packet)
{
	const uint8_t *ip = packet + SEGMENT_ETHERNET;
	size_t header = segment_is_ip6(packet) ? 40 : 20, addresses = segment_is_ip6(packet) ? 32 : 8;

	return segment_sum(segment_sum(0, ip + header - addresses, addresses), ip + header,
			   segment_ip_len(packet) - header);
}

/* What it must be, a field at a time; checksums apart */
static void expect(uint8_t *was, const uint8_t *is, bool udp, const struct ladon_learned *flow)
{
	bool ip6 = segment_is_ip6(was), nat = flow->state & LADON_LEARNED_NAT;
	size_t header = ip6 ? 40 : 20, address = ip6 ? 16 : 4, from = ip6 ? 0 : 12;
	uint8_t *ip = was + SEGMENT_ETHERNET, *l4 = ip + header;
	size_t check = (size_t)(l4 - was) + (udp ? 6 : 16);

	memcpy(was, flow->to, 6);
	memcpy(was + 6, flow->from, 6);
	ip[ip6 ? 7 : 8]--;
	if (nat) {
		memcpy(ip + header - 2 * address, (const uint8_t *)flow->saddr + from, address);
		memcpy(ip + header - address, (const uint8_t *)flow->daddr + from, address);
		memcpy(l4, &flow->sport, 2);
		memcpy(l4 + 2, &flow->dport, 2);
		memcpy(was + check, is + check, 2);
	}
	if (!ip6)
		memcpy(ip + 10, is + SEGMENT_ETHERNET + 10, 2);
}

static void pass(uint8_t *packet, size_t size, const struct ladon_learned *flow)
{
	ctx_t ctx = { .data = packet, .end = packet + size, .len_bytes = (uint32_t)size };
	struct passing p = { 0 };
	uint8_t *was;
	bool udp, bare;

	if (!passing_parse(&ctx, &p))
		return;
	must(p.headers_bytes <= p.len_bytes && p.len_bytes + SEGMENT_ETHERNET <= size);
	if (!rewrite_fits(&ctx, &p, flow))
		return;
	udp = p.key.via == IPPROTO_UDP;
	bare = udp && !*p.check;
	was = malloc(size);
	must(was);
	memcpy(was, packet, size);
	must(rewrite(&ctx, &p, flow) == 0);

	if (!p.is_ip6)
		must(residue(segment_sum(0, was + SEGMENT_ETHERNET, 20)) ==
		     residue(segment_sum(0, packet + SEGMENT_ETHERNET, 20)));
	if (!bare)
		must(residue(sum_l4(was)) == residue(sum_l4(packet)));
	must(!udp || bare == !*p.check);
	expect(was, packet, udp, flow);
	must(memcmp(was, packet, size) == 0);
	free(was);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ladon_learned flow;
	uint8_t *buffer;

	if (size < sizeof(flow) || size > SEGMENT_BYTES_MAX)
		return -1;
	memcpy(&flow, data, sizeof(flow));
	size -= sizeof(flow);
	buffer = malloc(size + 2); /* the IP header is to be aligned */
	must(buffer);
	memcpy(buffer + 2, data + sizeof(flow), size);
	pass(buffer + 2, size, &flow);
	free(buffer);
	return 0;
}
