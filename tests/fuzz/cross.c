// SPDX-License-Identifier: GPL-2.0-only
/*
 * cross.c - any bytes as a packet, any bytes as a flow: a change of family
 *
 * Of a segment that changes it:
 *
 *	- its TCP checksum is as wrong as it was, to the bit, and an IPv4 header's is right
 *	- its TCP header is what translate() makes of it, and its payload is unchanged
 *	- the IP header says what the old one and the flow say
 *
 * Of an error: the checksums of ICMP and of the quoted TCP are as wrong as they were, and what
 * is quoted of TCP is what icmp_translate() makes of it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../datapath/cross.h"
#include "../../datapath/cross_icmp.h"
#include "../../datapath/ctx.h"
#include "../icmp_error.h"

#define must(what) ((what) ? (void)0 : abort())
#define ROOM	   64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ones' complement has two zeros. */
static uint32_t residue(uint32_t sum)
{
	return sum == 0xffff ? 0 : sum;
}

/* A copy with room before it; the IP header is to be aligned. */
static uint8_t *copy(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(ROOM + 2 + size);

	must(bytes);
	memcpy(bytes + ROOM + 2, data, size);
	return bytes;
}

static ctx_t context(uint8_t *copied, size_t size)
{
	uint8_t *data = copied + ROOM + 2;

	return (ctx_t){ .data = data, .end = data + size, .len_bytes = (uint32_t)size };
}

/* Addresses that are what an entry of the other family than the packet's would have */
static void flow_settle(struct ladon_entry *flow, bool to_ip6)
{
	static const uint8_t ip4_form[12] = { [10] = 0xff, 0xff };

	if (to_ip6)
		return;
	memcpy(flow->saddr, ip4_form, sizeof(ip4_form));
	memcpy(flow->daddr, ip4_form, sizeof(ip4_form));
}

/* The header at @is, of the other family, says what the one at @was does. */
static void same_header(const uint8_t *was, const uint8_t *is, bool was_ip6, size_t payload,
			const struct ladon_entry *flow, bool reversed, bool ecn)
{
	const uint8_t *from = (const uint8_t *)(reversed ? flow->daddr : flow->saddr);
	const uint8_t *to = (const uint8_t *)(reversed ? flow->saddr : flow->daddr);
	uint8_t tos = was_ip6 ? (uint8_t)(segment_get16(was) >> 4) : was[1];

	if (!ecn)
		tos &= 0xfc;
	if (was_ip6) {
		must(is[0] == 0x45 && is[1] == tos && segment_get16(is + 2) == payload + 20);
		must((segment_get16(is + 6) & ~0x4000u) == 0 && is[8] == was[7]);
		must(segment_sum(0, is, 20) == 0xffff);
		must(memcmp(is + 12, from + 12, 4) == 0 && memcmp(is + 16, to + 12, 4) == 0);
	} else {
		must(segment_get32(is) == (6u << 28 | (uint32_t)tos << 20));
		must(segment_get16(is + 4) == payload && is[7] == was[8]);
		must(memcmp(is + 8, from, 16) == 0 && memcmp(is + 24, to, 16) == 0);
	}
}

static void cross_segment(const uint8_t *data, size_t size, struct ladon_entry flow)
{
	uint8_t *crossed = copy(data, size), *same = copy(data, size);
	ctx_t ctx = context(crossed, size), other = context(same, size);
	struct csum_delta d = { 0 }, d2 = { 0 };
	struct packet pkt = { 0 }, pkt2 = { 0 };
	uint8_t *was = copy(data, size), *tcp, *tcp2;
	size_t tcp_len;

	if (packet_parse(&ctx, &pkt) != VERDICT_CONTINUE)
		goto out;
	tcp_len = pkt.options_bytes + pkt.payload_bytes + 20;
	flow_settle(&flow, !pkt.is_ip6);
	must(packet_parse(&other, &pkt2) == VERDICT_CONTINUE);
	if (translate(&other, &pkt2, &flow, &d2) != VERDICT_CONTINUE) {
		must(cross_tcp(&ctx, &pkt, &flow, &d) == VERDICT_DROP);
		goto out;
	}
	must(cross_tcp(&ctx, &pkt, &flow, &d) == VERDICT_CONTINUE);
	must((size_t)(ctx.end - ctx.data) == size + (pkt.is_ip6 ? -20 : 20));
	must(ctx.len_bytes == size + (pkt.is_ip6 ? -20 : 20));
	must(memcmp(ctx.data, was + ROOM + 2, 12) == 0);
	must(segment_is_ip6(ctx.data) == !pkt.is_ip6);
	same_header(was + ROOM + 2 + SEGMENT_ETHERNET, ctx.data + SEGMENT_ETHERNET, pkt.is_ip6,
		    tcp_len, &flow, false, !(flow.what & LADON_FLOW_NO_ECN));
	must(residue(segment_sum_tcp(ctx.data)) == residue(segment_sum_tcp(was + ROOM + 2)));
	tcp = segment_tcp(ctx.data);
	tcp2 = segment_tcp(other.data);
	memcpy(tcp2 + 16, tcp + 16, 2);
	must(memcmp(tcp, tcp2, (size_t)(ctx.end - tcp)) == 0);
out:
	free(crossed);
	free(same);
	free(was);
}

/* The sum over the quoted segment as far as it is there, and its addresses */
static uint32_t sum_quoted_tcp(const uint8_t *quote, bool ip6, size_t tcp_len)
{
	size_t header = ip6 ? 40 : 20, addresses = ip6 ? 32 : 8;

	return segment_sum(segment_sum(0, quote + header - addresses, addresses), quote + header,
			   tcp_len);
}

static void same_error(const uint8_t *was, const uint8_t *is, const uint8_t *same, bool whole,
		       const struct ladon_entry *flow)
{
	bool ip6 = segment_is_ip6(was);
	size_t was_quote = icmp_error_at(was) + 8, is_quote = icmp_error_at(is) + 8;
	size_t was_tcp = was_quote + (ip6 ? 40 : 20), is_tcp = is_quote + (ip6 ? 20 : 40);
	size_t tcp_len = segment_ip_len(was) + SEGMENT_ETHERNET - was_tcp;
	size_t quoted = ip6 ? segment_get16(was + was_quote + 4) + 20
			    : segment_get16(was + was_quote + 2) - 20;

	same_header(was + SEGMENT_ETHERNET, is + SEGMENT_ETHERNET, ip6,
		    8 + (ip6 ? 20 : 40) + tcp_len, flow, false, true);
	if (quoted <= 0xffff) /* else it does not say */
		same_header(was + was_quote, is + is_quote, ip6, ip6 ? quoted - 20 : quoted, flow,
			    true, true);
	must(residue(icmp_error_sum(was)) == residue(icmp_error_sum(is)));
	if (whole)
		must(residue(sum_quoted_tcp(was + was_quote, ip6, tcp_len)) ==
		     residue(sum_quoted_tcp(is + is_quote, !ip6, tcp_len)));
	must(memcmp(is + is_tcp, same + was_tcp, whole ? 16 : 8) == 0);
	if (tcp_len > 18)
		must(memcmp(is + is_tcp + 18, same + was_tcp + 18, tcp_len - 18) == 0);
}

static void cross_an_error(const uint8_t *data, size_t size, struct ladon_entry flow)
{
	uint8_t *crossed = copy(data, size), *same = copy(data, size);
	ctx_t ctx = context(crossed, size), other = context(same, size);
	struct ladon_flow_key key = { 0 };
	struct csum_delta d = { 0 }, d2 = { 0 };
	struct packet pkt = { 0 }, pkt2 = { 0 };
	struct quote q = { 0 }, q2 = { 0 };

	if (quote_parse(&ctx, &pkt, &q, &key)) {
		flow_settle(&flow, !pkt.is_ip6);
		must(quote_parse(&other, &pkt2, &q2, &key));
		icmp_translate(&pkt2, &q2, &flow, &d2);
		if (cross_icmp(&ctx, &pkt, &q, &flow, &d) == VERDICT_CONTINUE)
			same_error(data, ctx.data, other.data, q.is_whole, &flow);
		else
			must(pkt.why == LADON_REASON_ICMP_NO_WORD);
	}
	free(crossed);
	free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t flow_len = offsetof(struct ladon_entry, state);
	struct ladon_entry flow = { 0 };

	if (size < flow_len || size > SEGMENT_BYTES_MAX)
		return -1;
	memcpy(&flow, data, flow_len);
	cross_segment(data + flow_len, size - flow_len, flow);
	cross_an_error(data + flow_len, size - flow_len, flow);
	return 0;
}
