/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * proxy_header.h - the PROXY protocol: who the client is, said before its first byte
 *
 * Versions 1 and 2 of HAProxy's doc/proxy-protocol.txt, read and written. Pure: no
 * I/O, no state, no memory. Texts of a header point into the bytes that it was
 * read from, or that whoever writes one gave.
 *
 * What only one reading allows is taken and all else refused: a second AUTHORITY, a
 * TLV that reaches over the end, a port with a leading zero. Types that are not
 * known are kept, and written again when a header is passed on.
 */
#ifndef LADON_PROXY_HEADER_H
#define LADON_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/addr.h"
#include "peek.h"

#define PROXY_BYTES_MAX	    4096 /* a header of version 2, TLVs and all; the protocol allows 65551 */
#define PROXY_LINE_MAX	    107	 /* version 1, with CR LF */
#define PROXY_UNIQUE_ID_MAX 128

enum proxy_version {
	PROXY_V1 = 1,
	PROXY_V2 = 2,
};

/* The value of a TLV. */
struct proxy_text {
	const uint8_t *at; /* NULL: there is none */
	size_t len;
};

struct proxy_header {
	enum ladon_reason reason; /* with PEEK_BAD */
	enum proxy_version version;
	size_t len;	    /* in bytes, all of it: the client's own follow */
	bool has_addresses; /* else the socket's are right: LOCAL, UNKNOWN, or not TCP over IP */
	bool has_checksum;  /* CRC32c: it was right, or is to be written */
	struct addr source; /* the client; ::ffff:a.b.c.d is IPv4 */
	struct addr destination;     /* where it connected to */
	struct proxy_text alpn;	     /* one protocol's name */
	struct proxy_text authority; /* a host name, not checked */
	struct proxy_text unique_id; /* at most PROXY_UNIQUE_ID_MAX opaque bytes */
	struct proxy_text ssl;	     /* struct pp2_tlv_ssl; its TLVs are within its bounds */
	struct proxy_text tlvs;	     /* all of them, as they stand there; within bounds */
};

/**
 * proxy_header_parse() - read one from all bytes that have come so far
 * @out: written on PEEK_FOUND, and on PEEK_BAD, when only .reason is set
 *
 * Return: PEEK_FOUND, PEEK_MORE, PEEK_OTHER: these bytes do not begin one, or
 * PEEK_BAD. But for PEEK_MORE more bytes do not change the answer.
 */
enum peek_answer proxy_header_parse(const uint8_t *bytes, size_t len, struct proxy_header *out);

/**
 * proxy_header_format() - write one
 * @header: .version, .has_addresses and the addresses; for version 2 also .has_checksum, the
 *	texts, and of .tlvs those whose type has no field here. .reason and .len are not read
 *
 * Two IPv4 addresses make an IPv4 header. Of unlike families both are IPv6, the IPv4 one
 * as ::ffff:a.b.c.d, in version 1, too: as HAProxy has it. Without addresses it is
 * UNKNOWN, or LOCAL.
 *
 * Return: its length; 0: it would be longer than PROXY_BYTES_MAX, or a text has no room in a TLV.
 */
size_t proxy_header_format(const struct proxy_header *header, uint8_t out[PROXY_BYTES_MAX]);

#endif
