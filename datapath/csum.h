/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * csum.h - what a rewrite does to a ones' complement checksum
 *
 * Deltas are sums of new words and complements of old ones (RFC 1624), as the
 * words stand in memory: such a sum has the same value in either byte order
 * (RFC 1071 section 2). 64 bits hold the carries of any packet's worth of words,
 * so they are folded once, at the end.
 */
#ifndef LADON_CSUM_H
#define LADON_CSUM_H

#include "bytes.h"

/**
 * struct csum_delta - what one packet's rewrite changed, apart by what covers it
 * @addrs: the addresses, which the TCP checksum covers through its pseudo header
 * @rest: the TCP header
 * @ip: the IP header without the addresses: the TCP checksum does not know it
 *
 * The first two are apart because of CHECKSUM_PARTIAL: such a packet's field
 * holds the sum of the pseudo header alone, and the rest is added on the way out.
 */
struct csum_delta {
	__u64 addrs;
	__u64 rest;
	__u64 ip;
};

static __always_inline void csum_change32(__u64 *delta, __be32 from, __be32 to)
{
	*delta += (__u64)(__u32)~from + to;
}

static __always_inline void csum_change16(__u64 *delta, __be16 from, __be16 to)
{
	*delta += (__u64)(__u16)~from + to;
}

/** csum_change32_at() - a word at any offset: at an odd one its bytes change lanes */
static __always_inline void csum_change32_at(__u64 *delta, __u32 offset, __be32 from, __be32 to)
{
	if (offset & 1) {
		from = from << 8 | from >> 24;
		to = to << 8 | to >> 24;
	}
	csum_change32(delta, from, to);
}

/** csum_change8_at() - a byte: the high one of its word at an even offset */
static __always_inline void csum_change8_at(__u64 *delta, __u32 offset, __u8 from, __u8 to)
{
	__u32 shift = offset & 1 ? 0 : 8;

	csum_change16(delta, bpf_htons(from << shift), bpf_htons(to << shift));
}

/** csum_lower8_at() - one less of a byte: its offset as above */
static __always_inline void csum_lower8_at(__u64 *delta, __u32 offset, __u8 *byte)
{
	csum_change8_at(delta, offset, *byte, *byte - 1);
	(*byte)--;
}

/** csum_words() - the sum over @count words */
static __always_inline __u64 csum_words(const word32_t *words, int count)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/** csum_fold32() - as a __wsum, which is what the kernel's helpers take */
static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum + (sum >> 32);
}

static __always_inline __u16 csum_fold16(__u64 sum)
{
	__u32 half = csum_fold32(sum);

	half = (half & 0xffff) + (half >> 16);
	return half + (half >> 16);
}

/** csum_mend() - bring a checksum up to date; RFC 1624 equation 3 */
static __always_inline __u16 csum_mend(__u16 check, __u64 delta)
{
	return ~csum_fold16(delta + (__u16)~check);
}

#endif
