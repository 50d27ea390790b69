/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stack.h - flows that the kernel's stack forwards: what they need beside the table
 *
 * Each has an entry in conntrack, which does their NAT, as long as there is a
 * chain of type nat in the network namespace: one of ladon's own, in a table of
 * its own, which outlives the process as the flows do, and is put back when
 * somebody has flushed it.
 *
 * Whoever deletes such an entry wants the flow to end: it is killed. A flow ends
 * without one, too; then libladon deletes it.
 */
#ifndef LADON_STACK_H
#define LADON_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../datapath/abi.h"

struct ladon;
struct stack;

/** stack_open() - make the table, and watch conntrack. Return: 0 or a negative errno */
int stack_open(struct ladon *ladon, struct stack **out);

/** stack_close() - the table stays: flows may live; NULL is fine */
void stack_close(struct stack *stack);

/** stack_fd() - readable when stack_dispatch() has work */
int stack_fd(const struct stack *stack);
void stack_dispatch(struct stack *stack);

/** stack_forwards() - is IP forwarding on now for AF_INET or AF_INET6? */
bool stack_forwards(const struct stack *stack, sa_family_t family);

/**
 * stack_take() - from here on the stack forwards a flow
 *
 * It is active, and both of its sockets are gone. Should conntrack have no memory, it
 * is killed: it must not go on past the firewall. @idle_ms is the flow's limit, and conntrack's.
 */
void stack_take(struct ladon *ladon, const struct ladon_flow_key *front,
		const struct ladon_flow_key *back, uint32_t id, uint32_t idle_ms);

/**
 * stack_cleanup() - delete the table, and what conntrack has of flows
 * @flows_fd: of the flow table; negative: there is none
 *
 * Return: 0 or a negative errno
 */
int stack_cleanup(int flows_fd);

#endif
