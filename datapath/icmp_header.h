/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * icmp_header.h - what ICMP and ICMPv6 messages begin with
 *
 * Neither <linux/icmp.h>, which wants headers that the kernel side has not, nor two
 * structs: what ladon reads of them is the same in both.
 */
#ifndef LADON_ICMP_HEADER_H
#define LADON_ICMP_HEADER_H

#include "bytes.h"

/**
 * struct icmp_header - RFC 792, RFC 4443 section 2.1
 * @rest: depends on type and code: a next hop's MTU, or nothing
 */
struct icmp_header {
	__u8 type;
	__u8 code;
	word16_t checksum;
	word32_t rest;
};
_Static_assert(sizeof(struct icmp_header) == 8, "what is quoted begins after 8 bytes");

/* The errors, by type, and after each the codes that ladon itself gives, or translates into */
enum {
	ICMP4_UNREACHABLE = 3,
	ICMP4_NET = 0,
	ICMP4_HOST = 1,
	ICMP4_PROTOCOL = 2,
	ICMP4_PORT = 3,
	ICMP4_FRAGMENTATION_NEEDED = 4,
	ICMP4_HOST_PROHIBITED = 10,
	ICMP4_PROHIBITED = 13,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_IN_TRANSIT = 0,
	ICMP4_PARAMETER_PROBLEM = 12,

	ICMP6_UNREACHABLE = 1,
	ICMP6_NO_ROUTE = 0,
	ICMP6_PROHIBITED = 1,
	ICMP6_ADDRESS = 3,
	ICMP6_PORT = 4,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_IN_TRANSIT = 0,
	ICMP6_PARAMETER_PROBLEM = 4,
	ICMP6_NEXT_HEADER = 1,
};

#endif
