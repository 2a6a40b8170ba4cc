/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * task.h - what the scheduler keeps of a task: virtual time and weight, and since when it waits or has not run.
 *
 * Virtual time is time on a CPU divided by weight. It belongs to the queue of one CPU: a task that changes queues keeps
 * how far it was ahead or behind. The load of a CPU is the weight of its runnable tasks, each with its share of its groups:
 * where loads are even, everybody gets what its weight says of all CPUs together.
 */
#ifndef SEMANTOS_MLLB_TASK_H
#define SEMANTOS_MLLB_TASK_H

#include "policies/mllb/group.h"

#define TASK_SLICE_NS 3000000
#define TASK_LOAD_SHIFT 10 /* a load has six of the 16 bits that a weight has behind the point */
#define TASK_RAN_MOST (1ULL << 36) /* 69 s: longer runs are counted as this */

struct mllb_task {
	__u64 vtime;
	__u64 ran_at; /* when it last stopped running */
	__u64 waits_since; /* 0 = it runs, or sleeps */
	__u64 woken_at; /* 0 = its waiting is no wakeup's */
	__u64 share; /* weight with that of its groups when it last ran, 16 bits behind the point */
	__u32 weight; /* 1..10000 */
	__u32 counted; /* its weight in its group's sum, as it was added */
	__s32 cpu; /* whose virtual time it has */
	__s32 load_cpu; /* whose load it is in, -1 = none's */
	__u32 load; /* how much */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mllb_task);
} tasks SEC(".maps");

static __always_inline struct mllb_task *task_of(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, NULL, 0);
}

static __always_inline void task_move_vtime(struct mllb_task *task, __s32 cpu)
{
	struct mllb_cpu *from, *to;

	if (task->cpu == cpu)
		return;
	from = cpu_row(task->cpu);
	to = cpu_row(cpu);
	if (from && to)
		task->vtime += to->vnow - from->vnow;
	task->cpu = cpu;
}

static __always_inline __u64 cpu_load(const struct mllb_cpu *cpu)
{
	__s64 load = *(volatile __s64 *)&cpu->load;

	return load > 0 ? (__u64)load : 0;
}

/* Weight of what is runnable on a CPU, a plain task's at least; 16 bits behind the point. */
static __always_inline __u64 cpu_weight(const struct mllb_cpu *cpu)
{
	__u64 weight = cpu_load(cpu) << TASK_LOAD_SHIFT, least = (__u64)GROUP_WEIGHT << 16;

	return weight > least ? weight : least;
}

/* It is runnable on this CPU, with the share it has; -1: on none. */
static __always_inline void task_move_load(struct mllb_task *task, __s32 cpu)
{
	__u32 load = task->share >> TASK_LOAD_SHIFT;
	struct mllb_cpu *row;

	if (task->load_cpu == cpu && task->load == load)
		return;
	if (task->load_cpu >= 0) {
		row = cpu_row(task->load_cpu);
		if (row)
			__sync_fetch_and_add(&row->load, -(__s64)task->load);
	}
	task->load_cpu = cpu;
	task->load = load;
	if (cpu >= 0) {
		row = cpu_row(cpu);
		if (row)
			__sync_fetch_and_add(&row->load, (__s64)task->load);
	}
}

/* Its weight with that of its groups, 16 bits behind the point; never 0. */
static __always_inline __u64 task_weight(
	struct task_struct *p, const struct mllb_task *task, __u64 now)
{
	__u64 weight = (__u64)task->weight * group_factor(p, now);

	return weight ? weight : 1;
}

/* Virtual time of `ns` on a CPU. */
static __always_inline __u64 task_vtime_of(__u64 ns, __u64 weight)
{
	if (ns > TASK_RAN_MOST)
		ns = TASK_RAN_MOST;
	return ns * ((__u64)GROUP_WEIGHT << 16) / (weight ? weight : 1);
}

static __always_inline bool vtime_before(__u64 a, __u64 b)
{
	return (__s64)(a - b) < 0;
}

#endif
