/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * target.h - may a client of an open protocol be connected to this address?
 *
 * Whoever may name a target sees the network as the gateway does, so what is meant
 * for the gateway alone is kept from them unless the configuration names it: loopback,
 * link-local (cloud metadata is there), unspecified, multicast and broadcast addresses,
 * those of the gateway itself, and all of these inside of IPv6 (RFC 6052's NAT64
 * prefix, RFC 8215's, and 6to4). Asked of each address that is to be connected to, also
 * when a name has led there.
 */
#ifndef LADON_TARGET_H
#define LADON_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/cidr.h"

struct target_ports {
	uint16_t from, to;
};

/* The key 'targets' of a listener */
struct targets {
	struct targets *next; /* of config.targets, which owns it */
	bool only;	      /* there is an 'allow', be it an empty file */
	struct cidrs allow, deny;
	struct cidrs named; /* of .allow what is named closely enough: see targets_narrow() */
	struct target_ports *ports;
	unsigned int ports_len; /* 0: all */
};

/**
 * targets_narrow() - keep the prefixes that say they mean what is kept from clients
 * @set: not sealed yet
 *
 * Those that lie within a range of the above, and single addresses: 127.0.0.0/8 is
 * one, 0.0.0.0/0 is not, and an address of the gateway must be named by itself.
 */
void targets_narrow(struct cidrs *set);

/** target_is_kept() - loopback, link-local, unspecified, multicast or broadcast: no other host's, or of no host */
bool target_is_kept(const struct addr *addr);

/**
 * target_admits() - Return: may it be connected to?
 * @targets: NULL: what all are is decided as above, and each port will do
 * @to: with its port
 * @is_own: is that an address of the gateway, or one that it would broadcast to?
 */
bool target_admits(const struct targets *targets, const struct addr *to,
		   bool (*is_own)(void *arg, const struct addr *addr), void *arg);

#endif
