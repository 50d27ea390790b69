/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * translate.h - rewrite one packet according to its flow
 *
 * Pure: bytes and a flow in, bytes and checksum deltas out. No maps, no clock,
 * no helper but the loop. That is what lets the same lines run in tc, in a unit
 * test and under a fuzzer.
 *
 * The kernel's own senders, and most others, know two layouts of options on an
 * established connection: NOP NOP TS, and after it, or alone, NOP NOP SACK.
 * Those are rewritten in line, word by word. All else takes a walk from option
 * to option by bpf_loop(): an ordinary loop has more paths than the verifier
 * follows before it gives up (a million instructions; Linux 6.18 too).
 */
#ifndef LADON_TRANSLATE_H
#define LADON_TRANSLATE_H

#include "abi.h"
#include "bytes.h"
#include "csum.h"
#include "ctx.h"
#include "options.h"
#include "packet.h"

/* An option that is overwritten takes a step more than it has bytes, two at least. */
#define OPTIONS_STEPS_MAX (OPTIONS_BYTES_MAX + OPTIONS_BYTES_MAX / 2)

/* RFC 3168 section 5: the two bits in the IP header */
#define IP_ECN 3

/** translate_window() - the window field, from one leg's scale to the other's */
static __always_inline __u32 translate_window(__u32 window, const struct ladon_entry *flow)
{
	__u32 out = (window << flow->wscale_in) >> flow->wscale_out;

	if (out > 65535)
		return 65535;
	return out || !window ? out : 1; /* 0 would stop the sender */
}

static __always_inline void translate_word(word32_t *word, __u32 add, __u64 *delta)
{
	__be32 from = *word;
	__be32 to = bytes_add32(from, add);

	csum_change32(delta, from, to);
	*word = to;
}

/*
 * The walk over options of any layout: a step for each, for each edge of a SACK block, and
 * for each byte that is overwritten with a NOP, so that there is no loop within the loop.
 *
 * What changes from step to step is the second half of eight bytes, each time: what is written to
 * the first half of a stack slot the verifier remembers as a value, and it would follow the loop
 * again for each (Linux 6.18: 26000 instructions of it in each of five programs, not 4000).
 *
 * @pos: from the first option on
 * @blank_bytes: still to be overwritten
 * @what, @d_ack: of the flow
 * @edge_bytes: of SACK blocks, still to be moved
 */
struct option_walk {
	__u8 *options;
	const void *end;
	const struct ladon_entry *flow;
	__u64 delta;
	__u32 len_bytes;
	__u32 pos;
	__u32 has_ack;
	__u32 blank_bytes;
	__u32 what;
	__u32 edge_bytes;
	__u32 d_ack;
	__u32 malformed;
};

/* Add to a word at any offset. The options begin at an even one. */
static __always_inline void option_add32(struct option_walk *w, __u32 offset, __u32 add)
{
	__u8 *p = w->options + offset;
	__be32 from, to;

	if ((const void *)(p + 4) > w->end)
		return;
	from = bytes_load32(p);
	to = bytes_add32(from, add);
	csum_change32_at(&w->delta, offset, from, to);
	bytes_store32(p, to);
}

/* Timestamps. Return: how far the walk is to go on. */
static __always_inline __u32 option_ts(struct option_walk *w, __u32 offset)
{
	if (w->what & LADON_FLOW_NO_TS) {
		w->blank_bytes = OPTION_TS_BYTES;
		return 0;
	}
	if (w->what & LADON_FLOW_TS) {
		option_add32(w, offset + 2, w->flow->d_tsval);
		if (w->has_ack)
			option_add32(w, offset + 6, w->flow->d_tsecr);
	}
	return OPTION_TS_BYTES;
}

static __always_inline __u32 option_sack(struct option_walk *w, __u32 len_bytes)
{
	if (w->what & LADON_FLOW_NO_SACK) {
		w->blank_bytes = len_bytes;
		return 0;
	}
	w->edge_bytes = len_bytes - OPTION_SACK_BYTES;
	return OPTION_SACK_BYTES;
}

/* An option, an edge of a block, or a byte that is to be a NOP. Return: 1 after the last one. */
static long option_step(__u32 index, void *arg)
{
	struct option_walk *w = arg;
	__u32 pos = w->pos & 63; /* below 40: this says so to the verifier */
	__u8 *p = w->options + pos;
	__u32 len_bytes;

	(void)index;
	if (pos >= w->len_bytes || (const void *)(p + 1) > w->end)
		return 1;
	if (w->edge_bytes) {
		option_add32(w, pos, w->d_ack);
		w->edge_bytes -= 4;
		w->pos = pos + 4;
		return 0;
	}
	if (w->blank_bytes) {
		csum_change8_at(&w->delta, pos, *p, OPTION_NOP);
		*p = OPTION_NOP;
		w->blank_bytes--;
	} else if (*p == OPTION_END) {
		return 1;
	}
	if (*p == OPTION_NOP) {
		w->pos = pos + 1;
		return 0;
	}
	w->malformed = 1; /* until its length is known to be right */
	if (pos + 2 > w->len_bytes || (const void *)(p + 2) > w->end)
		return 1;
	len_bytes = p[1];
	if (len_bytes < 2 || pos + len_bytes > w->len_bytes)
		return 1;
	w->malformed = 0;

	/* Other lengths of these two are not options that anybody obeys. */
	if (*p == OPTION_TS && len_bytes == OPTION_TS_BYTES)
		len_bytes = option_ts(w, pos);
	else if (*p == OPTION_SACK && len_bytes % 8 == OPTION_SACK_BYTES)
		len_bytes = option_sack(w, len_bytes);
	w->pos = pos + len_bytes;
	return 0;
}

#define OPTIONS_MALFORMED (~0ULL) /* no sum of sixty words, or of as many bytes, comes near */

/*
 * Options of any layout. A function of its own: what the walk needs would be on everybody's
 * stack. And a global one: the verifier follows it once, for all flows and packets, and not
 * again for each way that leads here, which was three quarters of its work. It knows nothing
 * then of what the caller has checked.
 *
 * @offset: of the options
 *
 * Return: what that does to the checksum. OPTIONS_MALFORMED: some of them may have been
 * translated already, and the packet is good for nothing.
 */
ctx_global __u64 translate_any_options(ctx_t *ctx, const struct ladon_entry *flow, __u32 offset,
				       __u32 len_bytes, bool has_ack)
{
	struct option_walk w = {
		.options = (__u8 *)ctx_data(ctx) + (offset & 0xff), /* says so to the verifier */
		.end = ctx_end(ctx),
		.flow = flow,
		.len_bytes = len_bytes,
		.has_ack = has_ack,
	};

	if (!flow)
		return OPTIONS_MALFORMED; /* never */
	w.what = flow->what;
	w.d_ack = flow->d_ack;
	ctx_loop(OPTIONS_STEPS_MAX, option_step, &w);
	return w.malformed ? OPTIONS_MALFORMED : w.delta;
}

/*
 * How many SACK blocks a word announces that is to be NOP NOP SACK, with that
 * many words left behind it and nothing else; 0 if it does not.
 */
static __always_inline __u32 options_sack_blocks(__be32 word, __u32 words_left)
{
	__u32 blocks = words_left / 2;

	if (words_left & 1 || blocks > 4 ||
	    word != bpf_htonl(OPTION_NOP_NOP_SACK | (OPTION_SACK_BYTES + blocks * 8)))
		return 0;
	return blocks;
}

/*
 * The two usual layouts.
 *
 * Return: false: it is another one, and nothing was changed.
 */
static __always_inline bool translate_usual_options(struct packet *pkt,
						    const struct ladon_entry *flow, __u64 *delta)
{
	__u32 words = pkt->options_bytes / 4;
	word32_t *ts = (void *)(pkt->tcp + 1);
	word32_t *sack = ts;
	__u32 i;

	if ((void *)(ts + 3) > pkt->end)
		return false;
	if (words >= 3 && ts[0] == bpf_htonl(OPTION_NOP_NOP_TS)) {
		sack += 3;
		words -= 3;
	}
	if (words) {
		if ((void *)(sack + 1) > pkt->end || !options_sack_blocks(sack[0], words - 1))
			return false;
		for (i = 1; i < words && i <= 8; i++) {
			if ((void *)(sack + i + 1) > pkt->end)
				break; /* never: packet_parse() saw all of the header */
			translate_word(sack + i, flow->d_ack, delta);
		}
	}
	if (sack != ts && flow->what & LADON_FLOW_TS) {
		translate_word(ts + 1, flow->d_tsval, delta);
		if (pkt->flags & TCP_ACK)
			translate_word(ts + 2, flow->d_tsecr, delta);
	}
	return true;
}

static __always_inline bool translate_options(ctx_t *ctx, struct packet *pkt,
					      const struct ladon_entry *flow, __u64 *delta)
{
	__u64 any;

	if (!pkt->options_bytes)
		return true;
	if (!(flow->what & (LADON_FLOW_NO_TS | LADON_FLOW_NO_SACK)) &&
	    translate_usual_options(pkt, flow, delta))
		return true;
	any = translate_any_options(ctx, flow, packet_tcp_offset(pkt) + sizeof(*pkt->tcp),
				    pkt->options_bytes, pkt->flags & TCP_ACK);
	*delta += any;
	return any != OPTIONS_MALFORMED;
}

/* @whole: a constant; false: addresses and ports stay as they are */
static __always_inline void translate_ip4(struct packet *pkt, const struct ladon_entry *flow,
					  struct csum_delta *d, bool whole)
{
	struct iphdr *ip = pkt->ip4;
	word16_t *version_tos = (void *)ip;
	__be16 from = *version_tos;

	if (whole) {
		csum_change32(&d->addrs, ip->saddr, flow->saddr[3]);
		csum_change32(&d->addrs, ip->daddr, flow->daddr[3]);
		ip->saddr = flow->saddr[3];
		ip->daddr = flow->daddr[3];
	}
	if (flow->what & LADON_FLOW_NO_ECN) {
		*version_tos = from & bpf_htons(~IP_ECN);
		csum_change16(&d->ip, from, *version_tos);
	}
	ip->check = csum_mend(ip->check, d->addrs + d->ip);
}

static __always_inline void translate_ip6(struct packet *pkt, const struct ladon_entry *flow,
					  struct csum_delta *d, bool whole)
{
	word32_t *version_class = (void *)pkt->ip6;
	word32_t *saddr = (void *)&pkt->ip6->saddr;
	word32_t *daddr = (void *)&pkt->ip6->daddr;
	__be32 from = *version_class;
	int i;

	for (i = 0; whole && i < 4; i++) {
		csum_change32(&d->addrs, saddr[i], flow->saddr[i]);
		csum_change32(&d->addrs, daddr[i], flow->daddr[i]);
		saddr[i] = flow->saddr[i];
		daddr[i] = flow->daddr[i];
	}
	if (flow->what & LADON_FLOW_NO_ECN) {
		*version_class = from & bpf_htonl(~(IP_ECN << 20)); /* RFC 8200 section 3 */
		csum_change32(&d->ip, from, *version_class);
	}
}

/* The word that ends with the window: header length, control bits, window. */
static __always_inline void translate_window_word(word32_t *word, const struct packet *pkt,
						  const struct ladon_entry *flow, __u64 *delta)
{
	__be32 from = *word;
	__u32 to = bpf_ntohl(from);

	if (!(pkt->flags & TCP_SYN)) /* a SYN's is not scaled: RFC 7323 section 2.2 */
		to = (to & 0xffff0000) | translate_window(to & 0xffff, flow);
	if (flow->what & LADON_FLOW_NO_ECN)
		to &= ~((TCP_ECE | TCP_CWR) << 16);
	*word = bpf_htonl(to);
	csum_change32(delta, from, *word);
}

static __always_inline bool translate_tcp(ctx_t *ctx, struct packet *pkt,
					  const struct ladon_entry *flow, struct csum_delta *d,
					  bool whole)
{
	const word32_t *ports = (const void *)&flow->sport;
	word32_t *tcp = (void *)pkt->tcp;

	if (whole) {
		csum_change32(&d->rest, tcp[0], *ports);
		tcp[0] = *ports;
	}
	translate_word(tcp + 1, flow->d_seq, &d->rest);
	if (pkt->flags & TCP_ACK)
		translate_word(tcp + 2, flow->d_ack, &d->rest);
	translate_window_word(tcp + 3, pkt, flow, &d->rest);
	return translate_options(ctx, pkt, flow, &d->rest);
}

static __always_inline enum verdict translate_all(ctx_t *ctx, struct packet *pkt,
						  const struct ladon_entry *flow,
						  struct csum_delta *d, bool whole)
{
	if (pkt->is_ip6)
		translate_ip6(pkt, flow, d, whole);
	else
		translate_ip4(pkt, flow, d, whole);
	if (!translate_tcp(ctx, pkt, flow, d, whole))
		return packet_end(pkt, VERDICT_DROP, LADON_REASON_NOT_OURS);
	return VERDICT_CONTINUE;
}

/**
 * translate() - everything in a packet but its TTL and its TCP checksum
 * @pkt: from packet_parse(), which must have said VERDICT_CONTINUE
 * @flow: the packet's, of the same family
 * @d: .ip may hold what was changed in the IP header before; IPv4's header
 *	checksum is mended here with it. What is to be done to the TCP checksum
 *	is added to .addrs and .rest: give it to ctx_fix_csum()
 *
 * Sequence and acknowledgement numbers are moved in every segment, RSTs too;
 * where the ACK bit is off, acknowledgement number and TSecr mean nothing (RFC
 * 7323 section 3.2) and are left alone.
 *
 * Return: VERDICT_CONTINUE, or VERDICT_DROP when the options are malformed; then
 * the packet is half translated.
 */
static __always_inline enum verdict translate(ctx_t *ctx, struct packet *pkt,
					      const struct ladon_entry *flow, struct csum_delta *d)
{
	return translate_all(ctx, pkt, flow, d, true);
}

/** translate_numbers() - the same without addresses and ports: those are conntrack's to change */
static __always_inline enum verdict translate_numbers(ctx_t *ctx, struct packet *pkt,
						      const struct ladon_entry *flow,
						      struct csum_delta *d)
{
	return translate_all(ctx, pkt, flow, d, false);
}

#endif
