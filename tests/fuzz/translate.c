// SPDX-License-Identifier: GPL-2.0-only
/*
 * translate.c - any bytes as a packet, any bytes as a flow
 *
 * What must hold of a translated packet, right or wrong as it came in:
 *
 *	- its checksums are as wrong as they were, to the bit: what a full sum over
 *	  pseudo header and segment is off by does not move
 *	- it says what the flow says where the flow speaks, and is unchanged
 *	  elsewhere
 *	- nothing is written behind its headers or before them
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../datapath/ctx.h"
#include "../../datapath/packet.h"
#include "../../datapath/translate.h"
#include "../segment.h"

#define must(what) ((what) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ones' complement has two zeros. */
static uint32_t residue(uint32_t sum)
{
	return sum == 0xffff ? 0 : sum;
}

/* The flow is the input's first bytes; the rest of it is the packet. */
static struct ladon_entry take_flow(const uint8_t **data, size_t *size)
{
	struct ladon_entry flow = { 0 };
	size_t len = offsetof(struct ladon_entry, state);

	memcpy(&flow, *data, len);
	*data += len;
	*size -= len;
	flow.wscale_in %= 15; /* RFC 7323 section 2.3: 14 at most */
	flow.wscale_out %= 15;
	return flow;
}

static void check_tcp(uint8_t *was, uint8_t *is, const struct ladon_entry *flow)
{
	uint8_t *old = segment_tcp(was), *new = segment_tcp(is);
	bool has_ack = old[13] & SEGMENT_ACK;
	uint8_t ecn = SEGMENT_ECE | SEGMENT_CWR;

	must(memcmp(new, &flow->sport, 2) == 0 && memcmp(new + 2, &flow->dport, 2) == 0);
	must(segment_get32(new + 4) == segment_get32(old + 4) + flow->d_seq);
	must(segment_get32(new + 8) == segment_get32(old + 8) + (has_ack ? flow->d_ack : 0));
	must(new[12] == old[12]);
	if (flow->what & LADON_FLOW_NO_ECN)
		must(new[13] == (old[13] & ~ecn));
	else
		must(new[13] == old[13]);
	must(!segment_get16(old + 14) == !segment_get16(new + 14));
	must(memcmp(new + 18, old + 18, 2) == 0);
}

/* What becomes of options, a byte at a time and apart from everything else */
static void expect_options(uint8_t *options, size_t len, const struct ladon_entry *flow,
			   bool has_ack)
{
	for (size_t i = 0; i < len && options[i] != 0; i += options[i] == 1 ? 1 : options[i + 1]) {
		uint8_t *o = options + i;
		bool is_ts = o[0] == 8 && o[1] == 10, is_sack = o[0] == 5 && o[1] % 8 == 2;
		size_t o_len = o[0] == 1 ? 1 : o[1];

		if ((is_ts && flow->what & LADON_FLOW_NO_TS) ||
		    (is_sack && flow->what & LADON_FLOW_NO_SACK)) {
			memset(o, 1, o_len);
		} else if (is_ts && flow->what & LADON_FLOW_TS) {
			segment_put32(o + 2, segment_get32(o + 2) + flow->d_tsval);
			segment_put32(o + 6, segment_get32(o + 6) + (has_ack ? flow->d_tsecr : 0));
		} else if (is_sack) {
			for (size_t edge = 2; edge < o_len; edge += 4)
				segment_put32(o + edge, segment_get32(o + edge) + flow->d_ack);
		}
	}
}

static void check_ip(const uint8_t *was, const uint8_t *is, const struct ladon_entry *flow)
{
	const uint8_t *old = was + SEGMENT_ETHERNET, *new = is + SEGMENT_ETHERNET;
	bool no_ecn = flow->what & LADON_FLOW_NO_ECN;

	must(memcmp(was, is, SEGMENT_ETHERNET) == 0);
	must(old[0] == new[0]);
	if (segment_is_ip6(was)) {
		must(new[1] == (no_ecn ? old[1] & ~0x30 : old[1]));
		must(memcmp(old + 2, new + 2, 6) == 0);
		must(memcmp(new + 8, flow->saddr, 16) == 0);
		must(memcmp(new + 24, flow->daddr, 16) == 0);
	} else {
		must(new[1] == (no_ecn ? old[1] & ~3 : old[1]));
		must(memcmp(old + 2, new + 2, 8) == 0);
		must(memcmp(new + 12, &flow->saddr[3], 4) == 0);
		must(memcmp(new + 16, &flow->daddr[3], 4) == 0);
	}
}

static void check(uint8_t *was, uint8_t *is, size_t size, const struct ladon_entry *flow)
{
	uint8_t *tcp = segment_tcp(was);
	size_t options = (size_t)(tcp + 20 - was);

	must(residue(segment_sum_ip(was)) == residue(segment_sum_ip(is)));
	must(residue(segment_sum_tcp(was)) == residue(segment_sum_tcp(is)));
	check_ip(was, is, flow);
	check_tcp(was, is, flow);
	expect_options(was + options, (size_t)(tcp[12] >> 4) * 4 - 20, flow, tcp[13] & SEGMENT_ACK);
	must(memcmp(was + options, is + options, size - options) == 0);
}

static void run(uint8_t *packet, size_t size, const struct ladon_entry *flow)
{
	ctx_t ctx = { .data = packet, .end = packet + size, .len_bytes = (uint32_t)size };
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };
	uint8_t *was;

	if (packet_parse(&ctx, &pkt) != VERDICT_CONTINUE)
		return;
	was = malloc(size);
	must(was);
	memcpy(was, packet, size);
	if (translate(&pkt, flow, &d) == VERDICT_CONTINUE) {
		must(ctx_fix_csum(&ctx, &pkt.tcp->check, 0, pkt.is_ip6, &d) == 0);
		check(was, packet, size, flow);
	}
	free(was);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ladon_entry flow;
	uint8_t *packet;

	if (size < sizeof(flow) || size > SEGMENT_BYTES_MAX)
		return -1;
	flow = take_flow(&data, &size);
	packet = malloc(size + 2); /* the IP header is to be aligned */
	must(packet);
	memcpy(packet + 2, data, size);
	run(packet + 2, size, &flow);
	free(packet);
	return 0;
}
