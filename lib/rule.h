/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rule.h - a rule of nf_tables: does it judge flows, or packets?
 */
#ifndef LADON_LIB_RULE_H
#define LADON_LIB_RULE_H

#include <stdbool.h>
#include <stdint.h>

struct nlattr;

/**
 * rule_read() - read one, as the kernel tells it
 * @family: of its table, NFPROTO_*
 * @list: NFTA_RULE_EXPRESSIONS
 * @tracks: set if conntrack looks at packets because of it, perhaps
 * @rewrites: set if it changes addresses or ports without conntrack, perhaps
 *
 * Return: what the fate of a TCP or UDP packet depends on besides its flow, one word; NULL: nothing
 */
const char *rule_read(uint8_t family, const struct nlattr *list, bool *tracks, bool *rewrites);

#endif
