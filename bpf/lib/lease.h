/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lease.h - the map that proves the agent lives. One map for the whole agent: its loader makes every policy
 * object reuse it by name. Written only by the program in lease.bpf.c.
 */
#ifndef SEMANTOS_BPF_LEASE_H
#define SEMANTOS_BPF_LEASE_H

#include "bpf/lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_lease);
} lease SEC(".maps");

#endif
