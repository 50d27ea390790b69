/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * addr.h - an IPv4 or IPv6 address with a port
 *
 * Text is 192.0.2.1:443 and [2001:db8::1]:443, scope ids as [fe80::1%eth0]:443.
 */
#ifndef LADON_ADDR_H
#define LADON_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Room for any address as text, port and NUL included. */
#define ADDR_TEXT_MAX 80

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

/** addr_parse() - text with a numeric address and a port
 * Return: 0, or -EINVAL; @out is written only on success.
 */
int addr_parse(const char *text, struct addr *out);

/** addr_parse_host() - a numeric address without a port; the port is set to @port (host order) */
int addr_parse_host(const char *host, uint16_t port, struct addr *out);

/** addr_from() - copy a sockaddr of either family. Return: 0 or -EAFNOSUPPORT */
int addr_from(const struct sockaddr *sa, struct addr *out);

socklen_t addr_len(const struct addr *a);
uint16_t addr_port(const struct addr *a); /* host order */
void addr_set_port(struct addr *a, uint16_t port);
bool addr_equal(const struct addr *a, const struct addr *b); /* address and port */
int addr_compare(const struct addr *a, const struct addr *b); /* the same as an order */
bool addr_same_host(const struct addr *a, const struct addr *b); /* whatever the ports are */
bool addr_is_any(const struct addr *a);

/** addr_stays() - "link-local", "loopback", "multicast", "broadcast": no router forwards what is for it; else NULL */
const char *addr_stays(const struct addr *a);
bool addr_lacks_scope(const struct addr *a); /* a link-local one without its interface: RFC 4007 section 6 */

/** addr_family() - AF_INET also for ::ffff:a.b.c.d, which is how a dual-stack socket shows IPv4 */
int addr_family(const struct addr *a);

/** addr_to_16() - 16 bytes, IPv4 as ::ffff:a.b.c.d, as in datapath/abi.h */
void addr_to_16(const struct addr *a, uint32_t out[4]);

/** addr_from_16() - the reverse; ::ffff:a.b.c.d becomes AF_INET. @port is in network order */
void addr_from_16(const uint32_t in[4], uint16_t port, struct addr *out);

/** addr_format_host() - as text without port and interface; @out has INET6_ADDRSTRLEN bytes. Return: @out */
const char *addr_format_host(const struct addr *a, char *out);

/** addr_format() - as text with the port; @out has ADDR_TEXT_MAX bytes. Return: @out */
char *addr_format(const struct addr *a, char *out);

#endif
