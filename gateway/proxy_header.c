// SPDX-License-Identifier: GPL-2.0-only
/*
 * proxy_header.c - the PROXY protocol: who the client is, said before its first byte
 *
 * Version 1 is a line, version 2 is binary: 16 bytes, addresses, TLVs. Numbers in
 * it are in network order, and the section numbers here are proxy-protocol.txt's.
 */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE     "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_LEN 12
#define VERSION	      0x20
#define PREFIX_LEN    16 /* with version, command, family, protocol, length */
#define TLV_LEN	      3	 /* type and length, before the value */
#define SSL_LEN	      5	 /* struct pp2_tlv_ssl without its TLVs */
#define CRC32C_LEN    4
#define WORDS	      6 /* of a line: PROXY TCP4 source destination port port */

enum command {
	COMMAND_LOCAL,
	COMMAND_PROXY,
};

/* The 14th byte: family << 4 | protocol, each 0 when not specified */
enum carrier {
	TCP4 = 0x11,
	UDP4 = 0x12,
	TCP6 = 0x21,
	UDP6 = 0x22,
	UNIX_STREAM = 0x31,
	UNIX_DATAGRAM = 0x32,
};

enum tlv_type {
	TLV_ALPN = 0x01,
	TLV_AUTHORITY = 0x02,
	TLV_CRC32C = 0x03,
	TLV_NOOP = 0x04,
	TLV_UNIQUE_ID = 0x05,
	TLV_SSL = 0x20,
};

static enum peek_answer refuse(struct proxy_header *out, enum ladon_reason reason)
{
	*out = (struct proxy_header){ .reason = reason };
	return PEEK_BAD;
}

static enum peek_answer malformed(struct proxy_header *out)
{
	return refuse(out, LADON_REASON_PROXY_MALFORMED);
}

/* ---- CRC32c, RFC 4960 appendix B ---- */

/* Four bits at a time: a header is read once per connection, and no libc has it. */
static uint32_t crc32c_add(uint32_t crc, const uint8_t *bytes, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

/* Of a header, as if there were zeros at @hole. */
static uint32_t crc32c(const uint8_t *bytes, size_t len, const uint8_t *hole)
{
	static const uint8_t zeros[CRC32C_LEN];
	const uint8_t *rest = hole + CRC32C_LEN;
	uint32_t crc = crc32c_add(UINT32_MAX, bytes, (size_t)(hole - bytes));

	crc = crc32c_add(crc, zeros, CRC32C_LEN);
	return ~crc32c_add(crc, rest, (size_t)(bytes + len - rest));
}

static uint32_t number32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint16_t number16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* ---- version 1, section 2.1 ---- */

/* 0 to 65535 without leading zeros */
static bool port_parse(const char *text, uint16_t *out)
{
	uint32_t port = 0;

	if (!*text || (*text == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (uint32_t)(*text - '0');
		if (port > UINT16_MAX)
			return false;
	}
	*out = (uint16_t)port;
	return true;
}

/* inet_pton(3) takes neither leading zeros nor zones; both ends are of the family named. */
static bool address_parse(int family, const char *host, const char *port, struct addr *out)
{
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };
	uint32_t words[4];
	uint16_t number;

	if (inet_pton(family, host, bytes + (family == AF_INET ? 12 : 0)) != 1 ||
	    !port_parse(port, &number))
		return false;
	memcpy(words, bytes, sizeof(words));
	addr_from_16(words, htons(number), out);
	return true;
}

/* Exactly one space between two words. Return: how many there are; @line is cut into them */
static unsigned int line_split(char *line, char *words[WORDS])
{
	unsigned int len = 0;

	for (char *word = line; word; len++) {
		if (len == WORDS)
			return WORDS + 1;
		words[len] = strsep(&word, " ");
	}
	return len;
}

static enum peek_answer line_parse(char *line, struct proxy_header *out)
{
	char *words[WORDS];
	unsigned int len = line_split(line, words);
	int family;

	if (len > 1 && strcmp(words[1], "UNKNOWN") == 0)
		return PEEK_FOUND; /* whatever follows */
	if (len != WORDS || strncmp(words[1], "TCP", 3) != 0)
		return malformed(out);
	if (strcmp(words[1], "TCP4") == 0)
		family = AF_INET;
	else if (strcmp(words[1], "TCP6") == 0)
		family = AF_INET6;
	else
		return malformed(out);
	if (!address_parse(family, words[2], words[4], &out->source) ||
	    !address_parse(family, words[3], words[5], &out->destination))
		return malformed(out);
	out->has_addresses = true;
	return PEEK_FOUND;
}

static enum peek_answer parse_v1(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
	size_t most = len < PROXY_LINE_MAX ? len : PROXY_LINE_MAX;
	char line[PROXY_LINE_MAX];
	size_t end = 0;

	/* A NUL ends texts below, and a lone CR or LF must not end the line. */
	while (end < most && bytes[end] && bytes[end] != '\r' && bytes[end] != '\n')
		end++;
	if (end == most || (end + 1 == most && bytes[end] == '\r'))
		return most < PROXY_LINE_MAX ? PEEK_MORE : malformed(out);
	if (bytes[end] != '\r' || bytes[end + 1] != '\n')
		return malformed(out);
	memcpy(line, bytes, end);
	line[end] = '\0';
	*out = (struct proxy_header){ .version = PROXY_V1, .len = end + 2 };
	return line_parse(line, out);
}

/* ---- version 2, section 2.2 ---- */

/* How many bytes the addresses take: 0 where none are specified */
static size_t addresses_len(uint8_t carrier)
{
	switch ((enum carrier)carrier) {
	case TCP4:
	case UDP4:
		return 2 * 4 + 2 * 2;
	case TCP6:
	case UDP6:
		return 2 * 16 + 2 * 2;
	case UNIX_STREAM:
	case UNIX_DATAGRAM:
		return 2 * 108;
	}
	return 0;
}

static void addresses_read(const uint8_t *at, size_t each, struct proxy_header *out)
{
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };
	struct addr *ends[] = { &out->source, &out->destination };

	for (size_t i = 0; i < 2; i++) {
		uint32_t words[4];

		memcpy(bytes + 16 - each, at + i * each, each);
		memcpy(words, bytes, sizeof(words));
		addr_from_16(words, htons(number16(at + 2 * each + 2 * i)), ends[i]);
	}
	out->has_addresses = true;
}

/* The next TLV. Return: false: it reaches over the end; @tlvs is what follows it */
static bool tlv_next(struct proxy_text *tlvs, uint8_t *type, struct proxy_text *value)
{
	if (tlvs->len < TLV_LEN)
		return false;
	*type = *tlvs->at;
	*value = (struct proxy_text){ tlvs->at + TLV_LEN, number16(tlvs->at + 1) };
	if (value->len > tlvs->len - TLV_LEN)
		return false;
	tlvs->at = value->at + value->len;
	tlvs->len -= TLV_LEN + value->len;
	return true;
}

static bool tlvs_fit(struct proxy_text tlvs)
{
	struct proxy_text value;
	uint8_t type;

	while (tlvs.len)
		if (!tlv_next(&tlvs, &type, &value))
			return false;
	return true;
}

/* Where the value of a known type is kept. NULL: it is not */
static struct proxy_text *tlv_field(struct proxy_header *header, uint8_t type)
{
	switch ((enum tlv_type)type) {
	case TLV_ALPN:
		return &header->alpn;
	case TLV_AUTHORITY:
		return &header->authority;
	case TLV_UNIQUE_ID:
		return &header->unique_id;
	case TLV_SSL:
		return &header->ssl;
	case TLV_CRC32C:
	case TLV_NOOP:
		break;
	}
	return NULL;
}

static bool tlv_fits(uint8_t type, struct proxy_text value)
{
	switch ((enum tlv_type)type) {
	case TLV_CRC32C:
		return value.len == CRC32C_LEN;
	case TLV_UNIQUE_ID:
		return value.len <= PROXY_UNIQUE_ID_MAX;
	case TLV_SSL:
		return value.len >= SSL_LEN &&
		       tlvs_fit((struct proxy_text){ value.at + SSL_LEN, value.len - SSL_LEN });
	case TLV_ALPN:
	case TLV_AUTHORITY:
	case TLV_NOOP:
		break;
	}
	return true;
}

static enum peek_answer tlvs_read(const uint8_t *bytes, struct proxy_header *out)
{
	struct proxy_text rest = out->tlvs, value, sum = { 0 };
	uint8_t type;

	while (rest.len) {
		struct proxy_text *field;

		if (!tlv_next(&rest, &type, &value) || !tlv_fits(type, value))
			return malformed(out);
		field = type == TLV_CRC32C ? &sum : tlv_field(out, type);
		if (field && field->at)
			return malformed(out); /* which of the two? */
		if (field)
			*field = value;
	}
	if (sum.at && crc32c(bytes, out->len, sum.at) != number32(sum.at))
		return refuse(out, LADON_REASON_PROXY_CHECKSUM);
	out->has_checksum = sum.at;
	return PEEK_FOUND;
}

/*
 * All of a header is here. After LOCAL, and where family or protocol is not specified,
 * nothing says what the rest is: it is skipped. What is neither TCP nor LOCAL is taken as
 * not specified, as section 2.2 asks of those who do not serve it.
 */
static enum peek_answer body_read(const uint8_t *bytes, struct proxy_header *out)
{
	uint8_t carrier = bytes[13];
	size_t addresses = addresses_len(carrier);

	if ((bytes[12] & 15) == COMMAND_LOCAL || !addresses)
		return PEEK_FOUND;
	if (out->len < PREFIX_LEN + addresses)
		return malformed(out);
	if (carrier == TCP4 || carrier == TCP6)
		addresses_read(bytes + PREFIX_LEN, carrier == TCP4 ? 4 : 16, out);
	out->tlvs.at = bytes + PREFIX_LEN + addresses;
	out->tlvs.len = out->len - PREFIX_LEN - addresses;
	return tlvs_read(bytes, out);
}

static enum peek_answer parse_v2(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
	size_t whole;

	if (len > 12 && ((bytes[12] & 0xf0) != VERSION || (bytes[12] & 15) > COMMAND_PROXY))
		return malformed(out);
	if (len > 13 && (bytes[13] >> 4 > 3 || (bytes[13] & 15) > 2))
		return malformed(out);
	if (len < PREFIX_LEN)
		return PEEK_MORE;
	whole = PREFIX_LEN + (size_t)number16(bytes + 14);
	if (whole > PROXY_BYTES_MAX)
		return refuse(out, LADON_REASON_PROXY_LENGTH);
	if (len < whole)
		return PEEK_MORE;
	*out = (struct proxy_header){ .version = PROXY_V2, .len = whole };
	return body_read(bytes, out);
}

static bool begins(const uint8_t *bytes, size_t len, const void *with, size_t with_len)
{
	return !len || !memcmp(bytes, with, len < with_len ? len : with_len);
}

enum peek_answer proxy_header_parse(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
	static const char word[] = "PROXY ";

	if (!len)
		return PEEK_MORE;
	if (begins(bytes, len, SIGNATURE, SIGNATURE_LEN))
		return parse_v2(bytes, len, out);
	if (begins(bytes, len, word, strlen(word)))
		return parse_v1(bytes, len, out);
	return PEEK_OTHER;
}

/* ---- writing ---- */

static size_t format_v1(const struct proxy_header *header, bool ip4, char *out)
{
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	uint32_t from[4], to[4];

	if (!header->has_addresses)
		return (size_t)snprintf(out, PROXY_BYTES_MAX, "PROXY UNKNOWN\r\n");
	addr_to_16(&header->source, from);
	addr_to_16(&header->destination, to);
	inet_ntop(ip4 ? AF_INET : AF_INET6, ip4 ? &from[3] : from, source, sizeof(source));
	inet_ntop(ip4 ? AF_INET : AF_INET6, ip4 ? &to[3] : to, destination, sizeof(destination));
	return (size_t)snprintf(out, PROXY_BYTES_MAX, "PROXY TCP%c %s %s %u %u\r\n",
				ip4 ? '4' : '6', source, destination, addr_port(&header->source),
				addr_port(&header->destination));
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

static uint8_t *put16(uint8_t *at, size_t number)
{
	*at++ = (uint8_t)(number >> 8);
	*at++ = (uint8_t)number;
	return at;
}

static uint8_t *put_address(uint8_t *at, const struct addr *addr, size_t len)
{
	uint32_t words[4];

	addr_to_16(addr, words);
	return put(at, (uint8_t *)words + sizeof(words) - len, len);
}

static uint8_t *put_addresses(uint8_t *at, const struct proxy_header *header, bool ip4)
{
	size_t len = ip4 ? 4 : 16;

	at = put_address(at, &header->source, len);
	at = put_address(at, &header->destination, len);
	at = put16(at, addr_port(&header->source));
	return put16(at, addr_port(&header->destination));
}

/* Return: what follows it, NULL: there is no room, or was none before */
static uint8_t *put_tlv(uint8_t *at, const uint8_t *end, uint8_t type, struct proxy_text value)
{
	if (!at || !value.at)
		return at;
	if (value.len > UINT16_MAX || (size_t)(end - at) < TLV_LEN + value.len)
		return NULL;
	*at++ = type;
	at = put16(at, value.len);
	return put(at, value.at, value.len);
}

/* Those that have no field, in their order; they may occur more than once. */
static uint8_t *put_others(uint8_t *at, const uint8_t *end, const struct proxy_header *header)
{
	struct proxy_text rest = header->tlvs, value;
	struct proxy_header fields;
	uint8_t type;

	while (rest.len && tlv_next(&rest, &type, &value))
		if (type != TLV_NOOP && type != TLV_CRC32C && !tlv_field(&fields, type))
			at = put_tlv(at, end, type, value);
	return at;
}

static size_t format_v2(const struct proxy_header *header, bool ip4, uint8_t *out)
{
	static const uint8_t zeros[CRC32C_LEN];
	const uint8_t *end = out + PROXY_BYTES_MAX;
	uint8_t *at = put(out, SIGNATURE, SIGNATURE_LEN);
	uint32_t sum;
	size_t len;

	*at++ = VERSION | (header->has_addresses ? COMMAND_PROXY : COMMAND_LOCAL);
	*at++ = header->has_addresses ? (ip4 ? TCP4 : TCP6) : 0;
	at += 2;
	if (header->has_addresses)
		at = put_addresses(at, header, ip4);
	at = put_tlv(at, end, TLV_ALPN, header->alpn);
	at = put_tlv(at, end, TLV_AUTHORITY, header->authority);
	at = put_tlv(at, end, TLV_UNIQUE_ID, header->unique_id);
	at = put_tlv(at, end, TLV_SSL, header->ssl);
	at = put_others(at, end, header);
	if (header->has_checksum)
		at = put_tlv(at, end, TLV_CRC32C, (struct proxy_text){ zeros, CRC32C_LEN });
	if (!at)
		return 0;
	len = (size_t)(at - out);
	put16(out + 14, len - PREFIX_LEN);
	if (header->has_checksum) {
		sum = htonl(crc32c(out, len, at - CRC32C_LEN));
		put(at - CRC32C_LEN, &sum, CRC32C_LEN);
	}
	return len;
}

size_t proxy_header_format(const struct proxy_header *header, uint8_t out[PROXY_BYTES_MAX])
{
	bool ip4 = header->has_addresses && addr_family(&header->source) == AF_INET &&
		   addr_family(&header->destination) == AF_INET;

	if (header->version == PROXY_V1)
		return format_v1(header, ip4, (char *)out);
	return format_v2(header, ip4, out);
}
