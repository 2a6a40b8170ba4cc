/* SPDX-License-Identifier: GPL-2.0 */
/*
 * verdict.h - the tables a decision is read from: policy (mode, TTL), slots (generation), verdicts (the words).
 *
 * `policy` and `slots` are written by this object's programs alone; the agent freezes them for user space after load.
 * `verdicts` is written by the agent with one aligned store a word; `trial` by whoever obeys them in mode canary. All are
 * mmapable, so that a consumer in user space decides and reports without a system call.
 */
#ifndef SEMANTOS_BPF_VERDICT_H
#define SEMANTOS_BPF_VERDICT_H

#include "bpf/lib/lease.h"
#include "bpf/lib/policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct semantos_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct semantos_verdict_row);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_trial);
} trial SEC(".maps");

/* The slot's verdict word if it may be obeyed now (lease, generation, expiry within the TTL), else 0. */
static __always_inline __u64 verdict_in_force(
	__u32 index, __u32 generation, const struct semantos_policy *pol, __u64 now_ns)
{
	__u32 zero = 0;
	struct semantos_lease *proof = bpf_map_lookup_elem(&lease, &zero);
	struct semantos_verdict_row *row = bpf_map_lookup_elem(&verdicts, &index);
	__u64 word;

	if (!proof || !row || !semantos_lease_alive(*(volatile __u64 *)&proof->expires_ns, now_ns))
		return 0;
	word = *(volatile __u64 *)&row->verdict;
	return semantos_verdict_fresh(word, generation, pol->ttl_ns, now_ns) ? word : 0;
}

#endif
