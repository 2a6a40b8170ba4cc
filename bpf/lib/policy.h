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

/* What `control` answers: the kernel's numbers, which vmlinux.h has not. */
#define CTL_EINVAL (-22)
#define CTL_ENOENT (-2)
#define CTL_EBUSY (-16)

static __always_inline struct semantos_policy *policy_row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&policy, &zero);
}

/* Fill in the row from a command, every field of which is checked. 0, or CTL_EINVAL and nothing is changed. */
static __always_inline int policy_write(
	const struct semantos_control *command, struct semantos_policy *pol)
{
	if (command->mode > SEMANTOS_ENFORCE || command->canary_percent > 100 || !command->ttl_ns ||
		command->ttl_ns > SEMANTOS_LEASE_NS)
		return CTL_EINVAL;
	pol->version = SEMANTOS_WIRE_VERSION;
	pol->mode = command->mode;
	pol->canary_percent = command->canary_percent;
	pol->ttl_ns = command->ttl_ns;
	pol->budget_per_s = command->budget_per_s;
	return 0;
}

#endif
