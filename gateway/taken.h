/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * taken.h - which forward takes a port
 *
 * All that forwards take, sorted by protocol, address and port: two that take the same are
 * neighbours then, and who takes a port is found by halving. 10,000 are a matter of course.
 */
#ifndef LADON_TAKEN_H
#define LADON_TAKEN_H

#include "config.h"

/* What a forward takes of one protocol */
struct taken_ports {
	const struct config_forward *forward;
	bool udp;
};

struct taken {
	struct taken_ports *ports;
	size_t len;
};

/**
 * taken_init() - sort what @forwards take; they must outlive @taken
 * Return: 0, then end with taken_fini(); or -ENOMEM.
 */
int taken_init(struct taken *taken, const struct config_forward *forwards, unsigned int len);
void taken_fini(struct taken *taken);

/**
 * taken_clash() - do two take the same port?
 * @first, @second: on true, in the order of their memory, which is the file's
 * @port: a port of both
 * @udp: its protocol; else TCP
 */
bool taken_clash(const struct taken *taken, const struct config_forward **first,
		 const struct config_forward **second, uint16_t *port, bool *udp);

/** taken_find() - who takes address and port @at. Return: NULL: nobody */
const struct config_forward *taken_find(const struct taken *taken, bool udp, const struct addr *at);

#endif
