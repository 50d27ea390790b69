// SPDX-License-Identifier: GPL-2.0-only
/*
 * ladon.bpf.c - all programs, in one object
 *
 * libbpf reads the kernel's types, five megabytes, for each object that it loads; and
 * what is in two objects is verified twice.
 */
#include "handoff.bpf.c"
#include "tc.bpf.c"

char _license[] SEC("license") = "GPL";
