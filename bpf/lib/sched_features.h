/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * sched_features.h - from the raw numbers of a candidate to the 15 features of MLLB (APSys'20), in its order.
 *
 * The same lines run in BPF and in user space: a net that was trained here sees there what it was trained on. Fixed point
 * as the net takes it (bpf/lib/mlp.h, 16 bits behind the point). The rules are those of the published rows, which they
 * reproduce exactly (policies/mllb/tests).
 */
#ifndef SEMANTOS_BPF_SCHED_FEATURES_H
#define SEMANTOS_BPF_SCHED_FEATURES_H

#include "bpf/lib/mlp.h"
#include "bpf/sched_wire.h"

#define SCHED_FEATURES 15
#define SCHED_HOT_NS 500000 /* sched_migration_cost_ns: a task that ran since is hot in its cache */
#define SCHED_FEATURE_MOST 65535 /* counts and loads/1000 are no larger */

enum sched_feature {
	SCHED_SRC_NON_PREF, /* does the source run tasks that are not on their preferred node? */
	SCHED_DELTA_HOT, /* did the task run within SCHED_HOT_NS? */
	SCHED_CPU_IDLE,
	SCHED_CPU_NOT_IDLE,
	SCHED_CPU_NEWLY_IDLE,
	SCHED_SAME_NODE,
	SCHED_PREFER_SRC,
	SCHED_PREFER_DST,
	SCHED_SRC_LEN, /* less 2 */
	SCHED_SRC_LOAD, /* thousands */
	SCHED_DST_LOAD,
	SCHED_DST_LEN,
	SCHED_DELTA_FAULTS, /* share of all faults */
	SCHED_EXTRA_FAILS, /* were there more failures than are borne? */
	SCHED_BUDDY_HOT,
};

mlp_inline wire_s64 sched_most(wire_u32 n)
{
	return n < SCHED_FEATURE_MOST ? n : SCHED_FEATURE_MOST;
}

/* n / of, 16 bits behind the point, towards zero; BPF divides without a sign. */
mlp_inline wire_s64 sched_share(wire_s64 n, wire_u32 of)
{
	wire_s64 sign = mlp_sign(n);
	wire_u64 size = (wire_u64)((n ^ sign) - sign);

	size = of ? (size << MLP_SHIFT) / of : 0;
	if (size > (wire_u64)SCHED_FEATURE_MOST << MLP_SHIFT)
		size = (wire_u64)SCHED_FEATURE_MOST << MLP_SHIFT;
	return ((wire_s64)size ^ sign) - sign;
}

mlp_inline wire_s64 sched_flag(wire_u32 flags, wire_u32 flag)
{
	return flags & flag ? MLP_ONE : 0;
}

/* x: [SCHED_FEATURES] */
mlp_inline void sched_features(const struct semantos_sched_record *record, wire_s64 *x)
{
	wire_u32 flags = record->flags;

	x[SCHED_SRC_NON_PREF] = record->src_nr > record->src_preferred_nr ? MLP_ONE : 0;
	x[SCHED_DELTA_HOT] = record->delta_ns < SCHED_HOT_NS ? MLP_ONE : 0;
	x[SCHED_CPU_IDLE] = sched_flag(flags, SEMANTOS_SCHED_IDLE);
	x[SCHED_CPU_NOT_IDLE] =
		flags & (SEMANTOS_SCHED_IDLE | SEMANTOS_SCHED_NEWLY_IDLE) ? 0 : MLP_ONE;
	x[SCHED_CPU_NEWLY_IDLE] = sched_flag(flags, SEMANTOS_SCHED_NEWLY_IDLE);
	x[SCHED_SAME_NODE] = sched_flag(flags, SEMANTOS_SCHED_SAME_NODE);
	x[SCHED_PREFER_SRC] = sched_flag(flags, SEMANTOS_SCHED_PREFER_SRC);
	x[SCHED_PREFER_DST] = sched_flag(flags, SEMANTOS_SCHED_PREFER_DST);
	x[SCHED_SRC_LEN] = (sched_most(record->src_nr) - 2) * MLP_ONE;
	x[SCHED_SRC_LOAD] = sched_share(record->src_load, 1000);
	x[SCHED_DST_LOAD] = sched_share(record->dst_load, 1000);
	x[SCHED_DST_LEN] = sched_most(record->dst_nr) * MLP_ONE;
	x[SCHED_DELTA_FAULTS] = sched_share(record->delta_faults, record->total_faults);
	x[SCHED_EXTRA_FAILS] = record->nr_fails > record->cache_nice_tries ? MLP_ONE : 0;
	x[SCHED_BUDDY_HOT] = sched_flag(flags, SEMANTOS_SCHED_BUDDY_HOT);
}

/* The rule that stands in for the net wherever it may not decide: a task that is cold, or balancing failed too often. */
mlp_inline int sched_plain(const struct semantos_sched_record *record)
{
	return record->delta_ns >= SCHED_HOT_NS || record->nr_fails > record->cache_nice_tries;
}

/*
 * A net as sched_net_pack() (agent/infer/sched_net.h) makes it has one output, from which its threshold is already taken:
 * it says yes from 0 on.
 */
mlp_inline int sched_says_yes(const struct mlp_vectors *v)
{
	return v->x[0] >= 0;
}

#endif
