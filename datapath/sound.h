/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sound.h - is a packet's TCP checksum right?
 *
 * Asked for packets that a flow ends by: tc sees them before the stack or a receiver does, and
 * what was damaged on its way nobody has said. Others are passed on as they are, for
 * their receiver drops them: mending a checksum keeps it as wrong as it was.
 */
#ifndef LADON_SOUND_H
#define LADON_SOUND_H

#include "csum.h"
#include "ctx.h"
#include "packet.h"

#define SOUND_STEP_BYTES 32
#define SOUND_STEPS_MAX	 (65536 / SOUND_STEP_BYTES)

/* What is still to be summed up: [@at, @end) of the packet */
struct sound_walk {
	ctx_t *ctx;
	__u64 sum;
	__u32 at;
	__u32 end;
};

/* Return: 1 after the last bytes, or if they cannot be read, when @at is not @end. */
static long sound_step(__u32 index, void *arg)
{
	word32_t words[SOUND_STEP_BYTES / 4] = {};
	struct sound_walk *w = arg;
	__u32 len_bytes = w->end - w->at, i;

	(void)index;
	if (!len_bytes)
		return 1;
	if (len_bytes > SOUND_STEP_BYTES)
		len_bytes = SOUND_STEP_BYTES;
	/* Linux 6.1 learns nothing from the comparisons above. */
	if (ctx_load(w->ctx, w->at, words, ((len_bytes - 1) & (SOUND_STEP_BYTES - 1)) + 1) < 0)
		return 1;
	for (i = 0; i < SOUND_STEP_BYTES / 4; i++)
		w->sum += words[i];
	w->at += len_bytes;
	return 0;
}

/* @sum: of the pseudo header. It is given values, and has a stack of its own. */
ctx_global bool sound_sum(ctx_t *ctx, __u32 offset, __u32 len_bytes, __u64 sum)
{
	struct sound_walk w = { .ctx = ctx, .sum = sum, .at = offset, .end = offset + len_bytes };

	ctx_loop(SOUND_STEPS_MAX + 1, sound_step, &w);
	return w.at == w.end && csum_fold16(w.sum) == 0xffff;
}

/**
 * packet_is_sound() - is its checksum right, as far as that is known or can be known here?
 * @pkt: that packet_parse() let pass, not yet translated
 *
 * What the device has found good, or is still to sum up, counts as such.
 */
static __always_inline bool packet_is_sound(ctx_t *ctx, const struct packet *pkt)
{
	__u32 offset = packet_tcp_offset(pkt);
	__u32 len_bytes = pkt->len_bytes - (offset - sizeof(struct ethhdr));
	__u64 sum = (__u64)bpf_htonl(IPPROTO_TCP) + bpf_htonl(len_bytes);
	int i;

	if (ctx_is_checked(ctx))
		return true;
	/* As for IPv4: the sum of what is before its address in a key, ::ffff, is zero. */
	for (i = 0; i < 4; i++)
		sum += (__u64)pkt->key.saddr[i] + pkt->key.daddr[i];
	return sound_sum(ctx, offset, len_bytes, sum);
}

#endif
