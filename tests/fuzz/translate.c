// SPDX-License-Identifier: GPL-2.0-only
/*
 * translate.c - any bytes as a packet, any bytes as a flow
 *
 * Against a slow model: a packet is taken apart into its fields and options,
 * each is changed as abi.h says, and a new packet is written from them, its
 * checksums summed up over all of it. Both must be the same, to the byte. A
 * checksum that was wrong must be wrong by the same amount, or a damaged packet
 * would be mended on its way.
 *
 * The mutator makes most inputs whole, so that they get behind the parser.
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
#define FLOW_BYTES offsetof(struct ladon_entry, state) /* of the input: then the packet */
#define ECN_FLAGS  (SEGMENT_ECE | SEGMENT_CWR)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* ---- the model ---- */

struct option {
	uint8_t kind;
	size_t len; /* of all of it; END takes all that is left */
	uint8_t data[40];
};

/* What a packet says; the rest of its bytes, before and behind, nobody may touch. */
struct model {
	bool ip6;
	uint32_t class; /* of traffic: 8 bits */
	uint8_t saddr[16], daddr[16];
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint32_t window;
	struct option options[40];
	size_t options_len;
	uint32_t ip_off, tcp_off; /* of the checksums, from what they should be */
};

/* The difference in ones' complement, with one zero only */
static uint32_t off(uint32_t is, uint32_t should)
{
	uint32_t sum = is + (~should & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? 0 : sum;
}

static uint32_t right_ip(uint8_t *packet)
{
	uint8_t *ip = packet + SEGMENT_ETHERNET;
	uint32_t check = segment_get16(ip + 10), right;

	segment_put16(ip + 10, 0);
	right = ~segment_sum_ip(packet) & 0xffff;
	segment_put16(ip + 10, check);
	return right;
}

static uint32_t right_tcp(uint8_t *packet)
{
	uint8_t *tcp = segment_tcp(packet);
	uint32_t check = segment_get16(tcp + 16), right;

	segment_put16(tcp + 16, 0);
	right = ~segment_sum_tcp(packet) & 0xffff;
	segment_put16(tcp + 16, check);
	return right;
}

/* RFC 9293 section 3.1. Return: false: malformed */
static bool take_options(struct model *m, const uint8_t *p, size_t len)
{
	while (len) {
		struct option *o = &m->options[m->options_len++];

		o->kind = p[0];
		if (o->kind == 0)
			o->len = len;
		else if (o->kind == 1)
			o->len = 1;
		else if (len < 2 || p[1] < 2 || p[1] > len)
			return false;
		else
			o->len = p[1];
		memcpy(o->data, p, o->len);
		p += o->len;
		len -= o->len;
	}
	return true;
}

static bool take_packet(struct model *m, uint8_t *packet)
{
	uint8_t *ip = packet + SEGMENT_ETHERNET, *tcp = segment_tcp(packet);

	memset(m, 0, sizeof(*m));
	m->ip6 = segment_is_ip6(packet);
	m->class = m->ip6 ? segment_get16(ip) >> 4 & 0xff : ip[1];
	memcpy(m->saddr, ip + (m->ip6 ? 8 : 12), m->ip6 ? 16 : 4);
	memcpy(m->daddr, ip + (m->ip6 ? 24 : 16), m->ip6 ? 16 : 4);
	m->sport = (uint16_t)segment_get16(tcp);
	m->dport = (uint16_t)segment_get16(tcp + 2);
	m->seq = segment_get32(tcp + 4);
	m->ack = segment_get32(tcp + 8);
	m->flags = tcp[13];
	m->window = segment_get16(tcp + 14);
	m->ip_off = m->ip6 ? 0 : off(segment_get16(ip + 10), right_ip(packet));
	m->tcp_off = off(segment_get16(tcp + 16), right_tcp(packet));
	return take_options(m, tcp + 20, (size_t)(tcp[12] >> 4) * 4 - 20);
}

static void change_option(struct option *o, const struct ladon_entry *flow, bool has_ack)
{
	bool is_ts = o->kind == 8 && o->len == 10, is_sack = o->kind == 5 && o->len % 8 == 2;

	if ((is_ts && flow->what & LADON_FLOW_NO_TS) ||
	    (is_sack && flow->what & LADON_FLOW_NO_SACK)) {
		memset(o->data, 1, o->len);
	} else if (is_ts && flow->what & LADON_FLOW_TS) {
		segment_put32(o->data + 2, segment_get32(o->data + 2) + flow->d_tsval);
		if (has_ack)
			segment_put32(o->data + 6, segment_get32(o->data + 6) + flow->d_tsecr);
	} else if (is_sack) {
		for (size_t edge = 2; edge < o->len; edge += 4)
			segment_put32(o->data + edge, segment_get32(o->data + edge) + flow->d_ack);
	}
}

/* RFC 7323 section 2.2: what is announced, in units of the other leg's scale */
static uint32_t change_window(uint32_t window, const struct ladon_entry *flow)
{
	uint64_t bytes = (uint64_t)window << flow->wscale_in;
	uint64_t out = bytes >> flow->wscale_out;

	if (out == 0 && window != 0)
		return 1;
	return out < 65535 ? (uint32_t)out : 65535;
}

static void change(struct model *m, const struct ladon_entry *flow)
{
	memcpy(m->saddr, m->ip6 ? flow->saddr : &flow->saddr[3], m->ip6 ? 16 : 4);
	memcpy(m->daddr, m->ip6 ? flow->daddr : &flow->daddr[3], m->ip6 ? 16 : 4);
	m->sport = (uint16_t)segment_get16((const uint8_t *)&flow->sport);
	m->dport = (uint16_t)segment_get16((const uint8_t *)&flow->dport);
	m->seq += flow->d_seq;
	if (m->flags & SEGMENT_ACK)
		m->ack += flow->d_ack;
	if (!(m->flags & SEGMENT_SYN))
		m->window = change_window(m->window, flow);
	if (flow->what & LADON_FLOW_NO_ECN) {
		m->class &= ~3u;
		m->flags &= (uint8_t)~ECN_FLAGS;
	}
	for (size_t i = 0; i < m->options_len; i++)
		change_option(&m->options[i], flow, m->flags & SEGMENT_ACK);
}

static void put_off(uint8_t *check, uint32_t right, uint32_t by)
{
	uint32_t sum = right + by;

	segment_put16(check, (sum & 0xffff) + (sum >> 16));
}

/* Over the bytes that came in. */
static void write_packet(const struct model *m, uint8_t *packet)
{
	uint8_t *ip = packet + SEGMENT_ETHERNET, *tcp = segment_tcp(packet), *p = tcp + 20;

	if (m->ip6)
		segment_put16(ip, 0x6000 | m->class << 4 | (segment_get16(ip) & 0xf));
	else
		ip[1] = (uint8_t)m->class;
	memcpy(ip + (m->ip6 ? 8 : 12), m->saddr, m->ip6 ? 16 : 4);
	memcpy(ip + (m->ip6 ? 24 : 16), m->daddr, m->ip6 ? 16 : 4);
	segment_put16(tcp, m->sport);
	segment_put16(tcp + 2, m->dport);
	segment_put32(tcp + 4, m->seq);
	segment_put32(tcp + 8, m->ack);
	tcp[13] = m->flags;
	segment_put16(tcp + 14, m->window);
	for (size_t i = 0; i < m->options_len; p += m->options[i++].len)
		memcpy(p, m->options[i].data, m->options[i].len);
	if (!m->ip6)
		put_off(ip + 10, right_ip(packet), m->ip_off);
	put_off(tcp + 16, right_tcp(packet), m->tcp_off);
}

/* ---- the comparison ---- */

/* Ones' complement has two zeros, and a checksum field may be either. */
static void one_zero(uint8_t *check)
{
	if (segment_get16(check) == 0xffff)
		segment_put16(check, 0);
}

static void compare(uint8_t *is, uint8_t *want, size_t size)
{
	one_zero(segment_tcp(is) + 16);
	one_zero(segment_tcp(want) + 16);
	if (!segment_is_ip6(is)) {
		one_zero(is + SEGMENT_ETHERNET + 10);
		one_zero(want + SEGMENT_ETHERNET + 10);
	}
	must(memcmp(is, want, size) == 0);
}

static void run(uint8_t *packet, size_t size, const struct ladon_entry *flow)
{
	ctx_t ctx = { .data = packet, .end = packet + size, .len_bytes = (uint32_t)size };
	struct packet pkt = { 0 };
	struct csum_delta d = { 0 };
	struct model model;
	bool is_good;
	uint8_t *want;

	if (packet_parse(&ctx, &pkt) != VERDICT_CONTINUE)
		return;
	want = malloc(size);
	must(want);
	memcpy(want, packet, size);
	is_good = take_packet(&model, want);
	must((translate(&ctx, &pkt, flow, &d) == VERDICT_CONTINUE) == is_good);
	if (is_good) {
		must(ctx_fix_csum(&ctx, &pkt.tcp->check, 0, pkt.is_ip6, &d) == 0);
		change(&model, flow);
		write_packet(&model, want);
		compare(packet, want, size);
	}
	free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ladon_entry flow = { 0 };
	uint8_t *packet;

	if (size < sizeof(flow) || size > SEGMENT_BYTES_MAX)
		return -1;
	memcpy(&flow, data, FLOW_BYTES);
	flow.wscale_in %= 15; /* RFC 7323 section 2.3: 14 at most */
	flow.wscale_out %= 15;
	size -= FLOW_BYTES;
	packet = malloc(size + 2); /* the IP header is to be aligned */
	must(packet);
	memcpy(packet + 2, data + FLOW_BYTES, size);
	run(packet + 2, size, &flow);
	free(packet);
	return 0;
}

/* ---- inputs that get somewhere ---- */

/* A packet that the parser takes, with as many options as fit; @dice: what else */
static void make_whole(uint8_t *packet, size_t size, unsigned int dice)
{
	bool ip6 = dice & 1;
	size_t header = ip6 ? 40 : 20, tcp_len = size - SEGMENT_ETHERNET - header, words;
	uint8_t *ip = packet + SEGMENT_ETHERNET, *tcp = ip + header;

	segment_put16(packet + 12, ip6 ? 0x86dd : 0x0800);
	ip[0] = (uint8_t)(ip6 ? 0x60 | (ip[0] & 0xf) : 0x45);
	segment_put16(ip + (ip6 ? 4 : 2), (uint32_t)(tcp_len + (ip6 ? 0 : header)));
	ip[ip6 ? 6 : 9] = 6;
	if (!ip6)
		segment_put16(ip + 6, 0x4000);
	words = tcp_len / 4 < 15 ? tcp_len / 4 : 15;
	if (tcp[12] >> 4 < 5 || tcp[12] >> 4 > (int)words)
		tcp[12] = (uint8_t)(words << 4 | (tcp[12] & 0xf));
	if (dice & 2)
		return;
	if (!ip6)
		segment_put16(ip + 10, right_ip(packet));
	segment_put16(tcp + 16, right_tcp(packet));
}

/* Write an option that translation looks at somewhere among the others. */
static void plant_option(uint8_t *packet, unsigned int dice)
{
	uint8_t *tcp = segment_tcp(packet);
	size_t len = (size_t)(tcp[12] >> 4) * 4 - 20, at = len ? dice % len : 0;
	static const uint8_t known[][2] = { { 8, 10 }, { 5, 10 }, { 5, 18 }, { 5, 2 }, { 1, 1 } };
	const uint8_t *o = known[dice / 64 % 5];

	if (at + o[1] > len)
		return;
	tcp[20 + at] = o[0];
	if (o[1] > 1)
		tcp[21 + at] = o[1];
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 8 == 0 || size < FLOW_BYTES + SEGMENT_ETHERNET + 40 + 20 ||
	    size > SEGMENT_BYTES_MAX)
		return size;
	make_whole(data + FLOW_BYTES, size - FLOW_BYTES, seed / 8);
	if (seed & 0x100)
		plant_option(data + FLOW_BYTES, seed >> 9);
	return size;
}
