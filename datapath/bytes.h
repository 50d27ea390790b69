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

#include <bpf/bpf_endian.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Bytes of a header in network order, whatever struct they belong to. */
typedef __be16 __attribute__((__may_alias__)) word16_t;
typedef __be32 __attribute__((__may_alias__)) word32_t;

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

/** bytes_add32() - add to a word in network order, as sequence numbers are added: modulo 2^32 */
static __always_inline __be32 bytes_add32(__be32 word, __u32 add)
{
	return bpf_htonl(bpf_ntohl(word) + add);
}

#endif
