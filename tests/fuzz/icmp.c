// SPDX-License-Identifier: GPL-2.0-only
/*
 * icmp.c - any bytes as a packet, any bytes as a flow: what ladon does about ICMP
 *
 * Of an error that is translated:
 *
 *	- its checksum, and those of the headers in it, are as wrong as they were, to the bit
 *	- it says what the flow says where the flow speaks, and is unchanged elsewhere,
 *	  behind its length too
 *
 * Of a TCP packet that is answered with an error: all checksums are right, and what it
 * quotes is the packet, as much of it as the RFCs allow.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../datapath/ctx.h"
#include "../../datapath/icmp.h"
#include "../../datapath/packet.h"
#include "../../datapath/quote.h"
#include "../../datapath/raise.h"
#include "../icmp_error.h"

#define must(what) ((what) ? (void)0 : abort())
#define ROOM	   64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ones' complement has two zeros. */
static uint32_t residue(uint32_t sum)
{
	return sum == 0xffff ? 0 : sum;
}

static struct ladon_entry take_flow(const uint8_t **data, size_t *size)
{
	struct ladon_entry flow = { 0 };
	size_t len = offsetof(struct ladon_entry, state);

	memcpy(&flow, *data, len);
	*data += len;
	*size -= len;
	return flow;
}

/* The sum over the quoted segment as far as it is there, and its addresses */
static uint32_t sum_quoted_tcp(const uint8_t *quote, bool ip6, size_t quote_len)
{
	size_t header = ip6 ? 40 : 20, addresses = ip6 ? 32 : 8;

	return segment_sum(segment_sum(0, quote + header - addresses, addresses), quote + header,
			   quote_len - header);
}

/* What the translated error must be, from the one that came, a field at a time; checksums apart */
static void expect(uint8_t *was, const uint8_t *is, bool whole, const struct ladon_entry *flow)
{
	bool ip6 = segment_is_ip6(was);
	size_t header = ip6 ? 40 : 20, address = ip6 ? 16 : 4, from = ip6 ? 0 : 12;
	uint8_t *ip = was + SEGMENT_ETHERNET, *icmp = ip + header, *quote = icmp + 8;
	uint8_t *tcp = quote + header;

	memcpy(ip + header - 2 * address, (const uint8_t *)flow->saddr + from, address);
	memcpy(ip + header - address, (const uint8_t *)flow->daddr + from, address);
	memcpy(quote + header - 2 * address, (const uint8_t *)flow->daddr + from, address);
	memcpy(quote + header - address, (const uint8_t *)flow->saddr + from, address);
	memcpy(tcp, &flow->dport, 2);
	memcpy(tcp + 2, &flow->sport, 2);
	segment_put32(tcp + 4, segment_get32(tcp + 4) + flow->d_ack);
	memcpy(icmp + 2, is + (icmp + 2 - was), 2);
	if (!ip6) {
		memcpy(ip + 10, is + (ip + 10 - was), 2);
		memcpy(quote + 10, is + (quote + 10 - was), 2);
	}
	if (!whole)
		return;
	if (tcp[13] & SEGMENT_ACK)
		segment_put32(tcp + 8, segment_get32(tcp + 8) + flow->d_seq);
	memcpy(tcp + 16, is + (tcp + 16 - was), 2);
}

static void check(uint8_t *was, const uint8_t *is, size_t size, bool whole,
		  const struct ladon_entry *flow)
{
	bool ip6 = segment_is_ip6(was);
	size_t quote = icmp_error_at(was) + 8;
	size_t quote_len = segment_ip_len(was) + SEGMENT_ETHERNET - quote;

	must(residue(segment_sum_ip(was)) == residue(segment_sum_ip(is)));
	must(residue(icmp_error_sum(was)) == residue(icmp_error_sum(is)));
	if (!ip6)
		must(residue(segment_sum(0, was + quote, 20)) ==
		     residue(segment_sum(0, is + quote, 20)));
	if (whole)
		must(residue(sum_quoted_tcp(was + quote, ip6, quote_len)) ==
		     residue(sum_quoted_tcp(is + quote, ip6, quote_len)));
	expect(was, is, whole, flow);
	must(memcmp(was, is, size) == 0);
}

static void translate_error(uint8_t *packet, size_t size, const struct ladon_entry *flow)
{
	ctx_t ctx = { .data = packet, .end = packet + size, .len_bytes = (uint32_t)size };
	struct ladon_flow_key key = { 0 };
	struct csum_delta d = { 0 };
	struct packet pkt = { 0 };
	struct quote q = { 0 };
	uint8_t *was;

	if (!quote_parse(&ctx, &pkt, &q, &key))
		return;
	was = malloc(size);
	must(was);
	memcpy(was, packet, size);
	icmp_translate(&pkt, &q, flow, &d);
	must(ctx_fix_csum(&ctx, quote_check(&pkt), 0, pkt.is_ip6, &d) == 0);
	check(was, packet, size, q.is_whole, flow);
	free(was);
}

static void raise_error(uint8_t *packet, size_t size, uint32_t why, uint32_t mtu)
{
	ctx_t ctx = { .data = packet, .end = packet + size, .len_bytes = (uint32_t)size };
	struct packet pkt = { 0 };
	size_t quote_len, most;
	uint8_t *was;

	if (packet_parse(&ctx, &pkt) != VERDICT_CONTINUE)
		return;
	was = malloc(size);
	must(was);
	memcpy(was, packet, size);
	must(raise_answer(&ctx, pkt.len_bytes, pkt.is_ip6, why, mtu) == VERDICT_RAISE);

	most = pkt.is_ip6 ? 1280 - 48 : 576 - 28;
	quote_len = pkt.len_bytes < most ? pkt.len_bytes : most;
	must(segment_ip_len(ctx.data) == quote_len + (pkt.is_ip6 ? 48 : 28));
	must((size_t)(ctx.end - ctx.data) == segment_ip_len(ctx.data) + SEGMENT_ETHERNET);
	must(segment_sum_ip(ctx.data) == 0xffff);
	must(icmp_error_sum(ctx.data) == 0xffff);
	must(memcmp(ctx.data + icmp_error_at(ctx.data) + 8, was + SEGMENT_ETHERNET, quote_len) ==
	     0);
	must(memcmp(ctx.data, was + 6, 6) == 0 && memcmp(ctx.data + 6, was, 6) == 0);
	free(was);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ladon_entry flow;
	uint8_t *buffer;

	if (size < offsetof(struct ladon_entry, state) || size > SEGMENT_BYTES_MAX)
		return -1;
	flow = take_flow(&data, &size);
	buffer = malloc(ROOM + size + 2); /* the IP header is to be aligned */
	must(buffer);
	memcpy(buffer + ROOM + 2, data, size);
	translate_error(buffer + ROOM + 2, size, &flow);
	memcpy(buffer + ROOM + 2, data, size);
	raise_error(buffer + ROOM + 2, size, flow.d_tsval, flow.d_tsecr);
	free(buffer);
	return 0;
}
