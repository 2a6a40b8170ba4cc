/* SPDX-License-Identifier: GPL-2.0 */
/*
 * common.h - what every BPF source of ours begins with: kernel types, helpers, the wire format, counters.
 *
 * A helper that fails is counted, never ignored. Counters live in per-CPU memory and are added to atomically: a
 * completion may interrupt an issue on the same CPU.
 */
#ifndef SEMANTOS_BPF_COMMON_H
#define SEMANTOS_BPF_COMMON_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "bpf/wire.h"

#define barrier_var(var) asm volatile("" : "+r"(var))

/* Set by the agent before load; a policy object of another version is refused there. */
const volatile __u32 semantos_wire_version = SEMANTOS_WIRE_VERSION;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_counters);
} counters SEC(".maps");

static __always_inline void count(enum semantos_counter which)
{
	__u32 zero = 0;
	struct semantos_counters *row = bpf_map_lookup_elem(&counters, &zero);

	if (row)
		__sync_fetch_and_add(&row->count[which], 1);
}

/* The row again when it is already at hand: one lookup an event, not one a counter. */
static __always_inline struct semantos_counters *counter_row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

#define count_in(row, which) __sync_fetch_and_add(&(row)->count[which], 1)

/*
 * Nanoseconds to microseconds, saturating at 32 bits. Below 2^32 ns the product with ceil(2^38/1000) is exact and
 * spares a division.
 */
static __always_inline __u32 ns_to_us(__u64 ns)
{
	if (ns < 1ULL << 32)
		return (__u32)(ns * 274877907ULL >> 38);
	ns /= 1000;
	return ns > 0xffffffffULL ? 0xffffffffU : (__u32)ns;
}

#endif
