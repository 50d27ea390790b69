/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rules.h - what kind of rules there are
 *
 * A drop can be repeated for the next packet of its flow if the rules judge flows: by addresses, ports, interfaces,
 * what conntrack knows, marks. It cannot if they judge packets, by their length or flags, their number in
 * a second or at random; nor if the firewall answers what it refuses. Nor by MAC addresses: somebody who takes
 * another's address, and is dropped for his own MAC, must not have the other dropped.
 *
 * A packet that conntrack has nothing to do with leaves as it came, unless rules rewrite it, or IPVS.
 */
#ifndef LADON_LIB_RULES_H
#define LADON_LIB_RULES_H

#include <stdbool.h>
#include <stdint.h>

struct rules;

/**
 * struct judgement - what is known of the rules of this network namespace
 * @generation: of nf_tables, as the kernel counts it
 * @by_flow: flows are dropped as a whole, and without an answer
 * @why: else: what there is, and where
 * @tracks: there may be rules for which conntrack looks at packets
 * @rewrites: there may be some that change addresses or ports without it
 */
struct judgement {
	uint32_t generation;
	bool by_flow;
	bool tracks;
	bool rewrites;
	char why[192];
};

/** rules_open() - Return: 0 or a negative errno. A kernel without netfilter: -EPROTONOSUPPORT */
int rules_open(struct rules **out);
void rules_close(struct rules *rules);

/**
 * rules_judge() - look at the rules, if they have changed since the last call that returned 1
 *
 * After an error the next call begins anew.
 *
 * Return: 1: *@out was written; 0: nothing has changed; or a negative errno: -EAGAIN: they change right now
 */
int rules_judge(struct rules *rules, struct judgement *out);

#endif
