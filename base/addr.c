// SPDX-License-Identifier: LGPL-2.1-or-later
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int port_parse(const char *text, uint16_t *out)
{
	unsigned long port;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	port = strtoul(text, &end, 10);
	if (*end || port > 65535)
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

int addr_parse_host(const char *host, uint16_t port, struct addr *out)
{
	struct addr a = { 0 };
	char name[INET6_ADDRSTRLEN];
	const char *scope = strchr(host, '%');
	size_t len = scope ? (size_t)(scope - host) : strlen(host);

	if (len >= sizeof(name))
		return -EINVAL;
	memcpy(name, host, len);
	name[len] = '\0';
	if (!scope && inet_pton(AF_INET, name, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
	} else if (inet_pton(AF_INET6, name, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		if (scope)
			a.in6.sin6_scope_id = if_nametoindex(scope + 1);
		if (scope && !a.in6.sin6_scope_id)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	addr_set_port(&a, port);
	*out = a;
	return 0;
}

int addr_parse(const char *text, struct addr *out)
{
	const char *colon = strrchr(text, ':');
	char host[ADDR_TEXT_MAX];
	uint16_t port;
	size_t len;

	if (!colon || port_parse(colon + 1, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
		if (!memchr(text, ':', len))
			return -EINVAL;
	} else if (memchr(text, ':', len)) {
		return -EINVAL; /* IPv6 wants brackets */
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	return addr_parse_host(host, port, out);
}

int addr_from(const struct sockaddr *sa, struct addr *out)
{
	if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memset(out, 0, sizeof(*out));
	memcpy(out, sa, sa->sa_family == AF_INET ? sizeof(out->in) : sizeof(out->in6));
	return 0;
}

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

uint16_t addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else
		a->in6.sin6_port = htons(port);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_compare(a, b) == 0;
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
	uint32_t first[4], second[4];

	addr_to_16(a, first);
	addr_to_16(b, second);
	return memcmp(first, second, sizeof(first)) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	uint32_t x[4], y[4];
	int order;

	addr_to_16(a, x);
	addr_to_16(b, y);
	order = memcmp(x, y, sizeof(x));
	return order ? order : (int)addr_port(a) - (int)addr_port(b);
}

bool addr_is_any(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

const char *addr_stays(const struct addr *a)
{
	const struct in6_addr *ip6 = &a->in6.sin6_addr;
	uint32_t ip4 = ntohl(a->in.sin_addr.s_addr);

	if (a->sa.sa_family == AF_INET6) {
		if (IN6_IS_ADDR_LINKLOCAL(ip6))
			return "link-local";
		if (IN6_IS_ADDR_LOOPBACK(ip6))
			return "loopback";
		return IN6_IS_ADDR_MULTICAST(ip6) ? "multicast" : NULL;
	}
	if (ip4 >> 24 == IN_LOOPBACKNET)
		return "loopback";
	if (ip4 == INADDR_BROADCAST)
		return "broadcast";
	return IN_MULTICAST(ip4) ? "multicast" : NULL;
}

bool addr_lacks_scope(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) &&
	       !a->in6.sin6_scope_id;
}

int addr_family(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return AF_INET;
	return a->sa.sa_family;
}

void addr_to_16(const struct addr *a, uint32_t out[4])
{
	if (a->sa.sa_family == AF_INET) {
		out[0] = 0;
		out[1] = 0;
		out[2] = htonl(0xffff);
		out[3] = a->in.sin_addr.s_addr;
	} else {
		memcpy(out, &a->in6.sin6_addr, 16);
	}
}

void addr_from_16(const uint32_t in[4], uint16_t port, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	if (in[0] == 0 && in[1] == 0 && in[2] == htonl(0xffff)) {
		out->in.sin_family = AF_INET;
		out->in.sin_addr.s_addr = in[3];
		out->in.sin_port = port;
	} else {
		out->in6.sin6_family = AF_INET6;
		memcpy(&out->in6.sin6_addr, in, 16);
		out->in6.sin6_port = port;
	}
}

const char *addr_format_host(const struct addr *a, char *out)
{
	return a->sa.sa_family == AF_INET
		       ? inet_ntop(AF_INET, &a->in.sin_addr, out, INET6_ADDRSTRLEN)
		       : inet_ntop(AF_INET6, &a->in6.sin6_addr, out, INET6_ADDRSTRLEN);
}

char *addr_format(const struct addr *a, char *out)
{
	char host[INET6_ADDRSTRLEN] = "";
	char scope[IF_NAMESIZE] = "";

	switch (a->sa.sa_family) {
	case AF_INET:
		snprintf(out, ADDR_TEXT_MAX, "%s:%u", addr_format_host(a, host), addr_port(a));
		break;
	case AF_INET6:
		addr_format_host(a, host);
		if (a->in6.sin6_scope_id && if_indextoname(a->in6.sin6_scope_id, scope))
			snprintf(out, ADDR_TEXT_MAX, "[%s%%%s]:%u", host, scope, addr_port(a));
		else
			snprintf(out, ADDR_TEXT_MAX, "[%s]:%u", host, addr_port(a));
		break;
	default:
		snprintf(out, ADDR_TEXT_MAX, "?");
	}
	return out;
}
