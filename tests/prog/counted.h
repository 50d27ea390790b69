/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * counted.h - what the programs have counted under a reason, on all CPUs
 */
#ifndef LADON_TESTS_COUNTED_H
#define LADON_TESTS_COUNTED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../datapath/abi.h"

#define COUNTED_CPUS_MAX 1024

static inline struct ladon_count counted_in(const struct bpf_map *counters, uint32_t why)
{
	static struct ladon_count per_cpu[COUNTED_CPUS_MAX];
	int cpus = libbpf_num_possible_cpus();
	struct ladon_count sum = { 0 };

	assert_in_range(cpus, 1, COUNTED_CPUS_MAX);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(counters), &why, per_cpu), 0);
	for (int i = 0; i < cpus; i++) {
		sum.packets += per_cpu[i].packets;
		sum.bytes += per_cpu[i].bytes;
	}
	return sum;
}

#endif
