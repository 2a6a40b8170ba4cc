/* SPDX-License-Identifier: GPL-2.0 */
/*
 * budget.h - how many decision requests a second may cross into user space.
 *
 * The second is cut into windows of 2^27 ns (134 ms). CPUs draw from the window's common allowance in chunks, so the
 * shared line is touched once per BUDGET_CHUNK requests. Beyond the allowance the kernel default applies.
 */
#ifndef SEMANTOS_BPF_BUDGET_H
#define SEMANTOS_BPF_BUDGET_H

#include "bpf/lib/common.h"

#define BUDGET_WINDOW_SHIFT 27
#define BUDGET_CHUNK 32

struct budget_shared {
	__u64 window; /* boot time >> BUDGET_WINDOW_SHIFT */
	__u64 taken;
};

struct budget_local {
	__u64 window;
	__u32 left;
	__u32 exhausted;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct budget_shared);
} budget SEC(".maps");

/* May one more request be sent? */
static __always_inline bool budget_take(struct budget_local *mine, __u64 budget_per_s, __u64 now_ns)
{
	__u64 window = now_ns >> BUDGET_WINDOW_SHIFT;
	__u64 allowance = (budget_per_s << BUDGET_WINDOW_SHIFT) / 1000000000;
	struct budget_shared *shared;
	__u64 seen, start;
	__u32 zero = 0;

	if (mine->window != window) {
		mine->window = window;
		mine->left = 0;
		mine->exhausted = 0;
	}
	if (mine->left) {
		mine->left--;
		return true;
	}
	if (mine->exhausted)
		return false;
	shared = bpf_map_lookup_elem(&budget, &zero);
	if (!shared)
		return false;
	seen = *(volatile __u64 *)&shared->window;
	/* The CPU that moves the window also clears it; a chunk drawn in between counts for neither: bounded by CPUs. */
	if (seen != window && __sync_val_compare_and_swap(&shared->window, seen, window) == seen)
		*(volatile __u64 *)&shared->taken = 0;
	start = __sync_fetch_and_add(&shared->taken, BUDGET_CHUNK);
	if (start >= allowance) {
		mine->exhausted = 1;
		return false;
	}
	mine->left = (allowance - start < BUDGET_CHUNK ? allowance - start : BUDGET_CHUNK) - 1;
	return true;
}

#endif
