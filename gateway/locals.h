/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * locals.h - which addresses are this host's own, as the kernel's routes say now
 *
 * Asked of the kernel each time (RTM_GETROUTE), a few microseconds: addresses come
 * and go, and nobody has to keep a list of them. The kernel answers inside of send(2),
 * so nothing is waited for.
 */
#ifndef LADON_LOCALS_H
#define LADON_LOCALS_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/addr.h"

/* Of one thread. Begin with .fd = -1; it is opened when it is needed. */
struct locals {
	int fd;
	uint32_t asked;
};

/**
 * locals_has() - of the host itself, or broadcast, anycast or multicast there
 * @locals: a struct locals
 *
 * Return: true also if the kernel cannot be asked.
 */
bool locals_has(void *locals, const struct addr *addr);

/** locals_close() - closing twice is fine */
void locals_close(struct locals *locals);

#endif
