/* SPDX-License-Identifier: GPL-2.0 */
/*
 * policy.h - the row that says how far a policy goes: mode, canary share, TTL, event budget.
 *
 * Written by the object's own `control` program alone; the agent freezes it for user space after load.
 */
#ifndef SEMANTOS_BPF_POLICY_H
#define SEMANTOS_BPF_POLICY_H

#include "bpf/lib/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_policy);
} policy SEC(".maps");

static __always_inline struct semantos_policy *policy_row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&policy, &zero);
}

#endif
