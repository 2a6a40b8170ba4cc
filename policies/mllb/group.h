/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * group.h - cgroup weights: a task's weight becomes its share of its group, times the group's share of its own, and so on.
 *
 * Each group knows the weights of what is runnable right in it: tasks, and child groups that have something runnable. A
 * group becomes runnable with its first and stops being so with its last. The factor a task's weight is multiplied
 * by is then the product of weight / sum over the levels below the root; without groups it is 1. It is worked out anew at
 * most every GROUP_STALE_NS a group. Sums are added to from all CPUs; a reader may see one of them a moment late.
 */
#ifndef SEMANTOS_MLLB_GROUP_H
#define SEMANTOS_MLLB_GROUP_H

#include "bpf/lib/scx.h"
#include "policies/mllb/mllb.h"

#define GROUP_DEPTH 16 /* levels; what lies deeper has the weight of the level above */
#define GROUP_STALE_NS 4000000
#define GROUP_ONE (1 << 16)
#define GROUP_FACTOR_LEAST 16 /* a 4096th */
#define GROUP_FACTOR_MOST (1 << 26)
#define GROUP_WEIGHT 100 /* of a task or group that says nothing */

struct mllb_group {
	__s64 sum; /* weights of what is runnable right in it */
	__s32 n; /* of those */
	__u32 weight;
	__u32 counted; /* its weight in its parent's sum, as it was added */
	__u32 factor;
	__u64 factor_at;
};

struct {
	__uint(type, BPF_MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mllb_group);
} groups SEC(".maps");

static __always_inline void group_new(struct cgroup *cgrp, __u32 weight)
{
	struct mllb_group *group =
		bpf_cgrp_storage_get(&groups, cgrp, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (group)
		group->weight = weight ? weight : GROUP_WEIGHT;
}

/* The group at this level above cgrp, or NULL. */
static __always_inline struct mllb_group *group_above(struct cgroup *cgrp, int level)
{
	struct cgroup *above = bpf_cgroup_ancestor(cgrp, level);
	struct mllb_group *group = NULL;

	if (above) {
		group = bpf_cgrp_storage_get(&groups, above, NULL, 0);
		bpf_cgroup_release(above);
	}
	return group;
}

/* A task of this weight becomes runnable (by = 1) or stops being so (-1) in p's group. */
static __always_inline void group_count(struct task_struct *p, __s64 weight, __s32 by)
{
	struct cgroup *cgrp;
	int level, i;

	if (!bpf_ksym_exists(scx_bpf_task_cgroup))
		return;
	cgrp = scx_bpf_task_cgroup(p);
	if (!cgrp)
		return;
	level = cgrp->level;
	bpf_for (i, 0, GROUP_DEPTH) {
		struct mllb_group *group;
		__s32 before;

		if (level - i < 1) /* nobody asks for the root's sum */
			break;
		group = group_above(cgrp, level - i);
		if (!group)
			break;
		__sync_fetch_and_add(&group->sum, weight * by);
		before = __sync_fetch_and_add(&group->n, by);
		if (before != (by > 0 ? 0 : 1))
			break; /* its parent counts it already, or still */
		if (by > 0)
			group->counted = group->weight;
		weight = group->counted;
	}
	bpf_cgroup_release(cgrp);
}

/* cgroup.procs is being given another weight. */
static __always_inline void group_weigh(struct cgroup *cgrp, __u32 weight)
{
	struct mllb_group *group = bpf_cgrp_storage_get(&groups, cgrp, NULL, 0), *parent;
	int level = cgrp->level;
	__s64 more;

	if (!group)
		return;
	group->weight = weight;
	if (group->n <= 0 || level < 2)
		return;
	more = (__s64)weight - group->counted;
	group->counted = weight;
	parent = group_above(cgrp, level - 1);
	if (parent)
		__sync_fetch_and_add(&parent->sum, more);
}

static __always_inline __u32 group_factor_of(struct cgroup *cgrp)
{
	__u64 factor = GROUP_ONE;
	int level = cgrp->level, i;

	bpf_for (i, 0, GROUP_DEPTH) {
		struct mllb_group *group;
		__s64 sum;

		if (level - i < 1)
			break;
		group = group_above(cgrp, level - i);
		if (!group)
			break;
		sum = *(volatile __s64 *)&group->sum;
		factor = factor * group->weight / (__u64)(sum > 0 ? sum : GROUP_WEIGHT);
		if (factor < GROUP_FACTOR_LEAST)
			factor = GROUP_FACTOR_LEAST;
		if (factor > GROUP_FACTOR_MOST)
			factor = GROUP_FACTOR_MOST;
	}
	return factor;
}

/* What p's weight is multiplied by, 16 bits behind the point. */
static __always_inline __u32 group_factor(struct task_struct *p, __u64 now)
{
	struct mllb_group *group;
	struct cgroup *cgrp;
	__u32 factor = GROUP_ONE;

	if (!bpf_ksym_exists(scx_bpf_task_cgroup))
		return factor;
	cgrp = scx_bpf_task_cgroup(p);
	if (!cgrp)
		return factor;
	group = bpf_cgrp_storage_get(&groups, cgrp, NULL, 0);
	if (group) {
		if (!group->factor || now - group->factor_at > GROUP_STALE_NS) {
			group->factor = group_factor_of(cgrp);
			group->factor_at = now;
		}
		factor = group->factor;
	}
	bpf_cgroup_release(cgrp);
	return factor;
}

#endif
