/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bytes.h - words in network order, at any address
 *
 * In packets the words of the IP and TCP headers are aligned as the headers
 * are, and the kernel side may load them whole (word32_t). Options stand at any
 * offset: those go byte by byte, which is what clang's BPF back end makes of
 * every access that it cannot prove to be aligned.
 */
#ifndef LADON_BYTES_H
#define LADON_BYTES_H

#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Bytes of a header in network order, whatever struct they belong to. */
typedef __be16 __attribute__((__may_alias__)) word16_t;
typedef __be32 __attribute__((__may_alias__)) word32_t;
typedef __u64 __attribute__((__may_alias__)) word64_t; /* of no order: to be compared, and hashed */

/* AF_INET and AF_INET6: <sys/socket.h> is not for the kernel side */
#define FAMILY_IP4 2
#define FAMILY_IP6 10

static __always_inline __be32 bytes_load32(const __u8 *p)
{
	__be32 word;

	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}

static __always_inline void bytes_store32(__u8 *p, __be32 word)
{
	__builtin_memcpy(p, &word, sizeof(word));
}

/** bytes_equal32() - are the first @count words the same? */
static __always_inline bool bytes_equal32(const void *a, const void *b, unsigned int count)
{
	const word32_t *x = a, *y = b;

	for (unsigned int i = 0; i < count; i++)
		if (x[i] != y[i])
			return false;
	return true;
}

/** bytes_equal16() - the same, of words of two bytes: as MAC addresses are aligned */
static __always_inline bool bytes_equal16(const void *a, const void *b, unsigned int count)
{
	const word16_t *x = a, *y = b;

	for (unsigned int i = 0; i < count; i++)
		if (x[i] != y[i])
			return false;
	return true;
}

/** bytes_hash32() - of @count words, of which each bit matters to all of it */
static __always_inline __u32 bytes_hash32(const void *words, unsigned int count)
{
	const word32_t *w = words;
	__u32 h = count;

	for (unsigned int i = 0; i < count; i++) {
		h = (h ^ w[i]) * 0x9e3779b1; /* 2^32 by the golden ratio */
		h ^= h >> 15;		     /* multiplication carries upwards only */
	}
	return h;
}

/** bytes_add32() - add to a word in network order, as sequence numbers are added: modulo 2^32 */
static __always_inline __be32 bytes_add32(__be32 word, __u32 add)
{
	return bpf_htonl(bpf_ntohl(word) + add);
}

#endif
