/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * pull.h - a CPU with room looks for a task: the longest queue, its first few tasks, and of each whether it may be moved.
 *
 * An idle CPU takes without asking what has waited PULL_WAIT_NS, and what is queued where no task of ours can run (a
 * real-time task has that CPU, or it went offline): no net may starve a task. The caller is ops.dispatch.
 */
#ifndef SEMANTOS_MLLB_PULL_H
#define SEMANTOS_MLLB_PULL_H

#include "bpf/lib/scx.h"
#include "policies/mllb/task.h"

#define PULL_WAIT_NS 4000000 /* a tick at 250 Hz */
#define PULL_CPUS 64 /* queues looked at; the next ones by number first */
#define PULL_TASKS 4 /* of the longest queue */

static __always_inline bool may_run_on(struct task_struct *p, __s32 cpu)
{
	return !p->migration_disabled && bpf_cpumask_test_cpu(cpu, p->cpus_ptr);
}

/* CPU with the longest queue of at least `least`, or -1. */
static __always_inline __s32 longest_queue(__s32 cpu, __s32 least)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), best = -1, i;
	__s32 last = n_cpus < PULL_CPUS ? n_cpus : PULL_CPUS;

	bpf_for (i, 1, last) {
		__s32 other = cpu + i < n_cpus ? cpu + i : cpu + i - n_cpus;
		__s32 queued = scx_bpf_dsq_nr_queued(other);

		if (queued >= least) {
			least = queued + 1;
			best = other;
		}
	}
	return best;
}

static __always_inline __u32 load_of(const struct mllb_cpu *cpu)
{
	__s64 load = *(volatile __s64 *)&cpu->load;

	return load > 0 ? (__u64)load * 1024 / GROUP_WEIGHT : 0;
}

static __always_inline int node_of_cpu(__s32 cpu)
{
	return bpf_ksym_exists(scx_bpf_cpu_node) ? scx_bpf_cpu_node(cpu) : 0;
}

/* What is the same for every candidate of one look. */
static __always_inline void pull_fill(struct semantos_sched_record *record, __s32 src_cpu,
	const struct mllb_cpu *src, __s32 dst_cpu, const struct mllb_cpu *dst, __u32 flags)
{
	record->src_cpu = src_cpu;
	record->dst_cpu = dst_cpu;
	record->src_nr = scx_bpf_dsq_nr_queued(src_cpu) + !!src->curr_at;
	record->dst_nr = flags ? 0 : 1;
	record->src_load = load_of(src);
	record->dst_load = load_of(dst);
	record->nr_fails = dst->fails;
	record->cache_nice_tries = MLLB_NICE_TRIES;
	/* Preferred nodes and faults are the kernel's own book-keeping for its own classes. */
	record->src_preferred_nr = record->total_faults = record->delta_faults = 0;
	record->flags = flags;
	if (node_of_cpu(src_cpu) == node_of_cpu(dst_cpu))
		record->flags |= SEMANTOS_SCHED_SAME_NODE;
}

/* One candidate: may it come? */
static __always_inline bool pull_wanted(struct mllb_scratch *s, struct semantos_sched_row *counts,
	struct task_struct *p, const struct mllb_cpu *src, __u32 flags, __u64 now)
{
	struct mllb_task *task = task_of(p);

	if (!task)
		return false;
	s->record.delta_ns = now - task->ran_at;
	s->record.pid = p->pid;
	if (flags && (src->away_at || src->offline || now - task->waits_since > PULL_WAIT_NS)) {
		counts->count[SEMANTOS_S_WAITED]++;
		return true;
	}
	return mllb_decide(s, counts, now);
}

/*
 * flags: SEMANTOS_SCHED_IDLE, _NEWLY_IDLE, or 0: busy with one task. least: tasks that must be queued elsewhere. True when
 * a task was moved to this CPU.
 */
static __always_inline bool pull(__s32 cpu, __u32 flags, __s32 least, __u64 now)
{
	struct semantos_sched_row *counts = count_row();
	struct mllb_scratch *s = scratch_of(MLLB_SCHEDULER);
	struct mllb_cpu *dst = cpu_row(cpu), *src;
	__s32 src_cpu = longest_queue(cpu, least), looked = 0;
	struct task_struct *p;
	bool moved = false;

	if (src_cpu < 0)
		return false;
	src = cpu_row(src_cpu);
	if (!counts || !s || !dst || !src)
		return false;
	counts->count[SEMANTOS_S_PULLS]++;
	pull_fill(&s->record, src_cpu, src, cpu, dst, flags);
	bpf_for_each(scx_dsq, p, src_cpu, 0)
	{
		if (looked++ >= PULL_TASKS)
			break;
		counts->count[SEMANTOS_S_CANDIDATES]++;
		if (!may_run_on(p, cpu)) {
			counts->count[SEMANTOS_S_FIXED]++;
			continue;
		}
		if (!pull_wanted(s, counts, p, src, flags, now))
			continue;
		counts->count[SEMANTOS_S_YES]++;
		moved = scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
		counts->count[moved ? SEMANTOS_S_MOVED : SEMANTOS_S_LOST]++;
		if (moved)
			break;
	}
	dst->fails = moved ? 0 : dst->fails + 1;
	if (!moved && flags)
		counts->count[SEMANTOS_S_LEFT_IDLE]++;
	return moved;
}

/*
 * A queue that nobody serves: a real-time task has its CPU, or the CPU is gone. Its first task that may run here comes at
 * once, however much this CPU has to do: else it would wait for as long as all others are busy.
 */
static __always_inline bool rescue(__s32 cpu)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), i;
	__s32 last = n_cpus < PULL_CPUS ? n_cpus : PULL_CPUS;
	struct semantos_sched_row *counts = count_row();
	struct task_struct *p;
	bool moved = false;

	if (!counts)
		return false;
	bpf_for (i, 1, last) {
		__s32 other = cpu + i < n_cpus ? cpu + i : cpu + i - n_cpus;
		struct mllb_cpu *row = cpu_row(other);

		if (!row || (!row->away_at && !row->offline) || scx_bpf_dsq_nr_queued(other) <= 0)
			continue;
		bpf_for_each(scx_dsq, p, other, 0)
		{
			counts->count[SEMANTOS_S_CANDIDATES]++;
			if (!may_run_on(p, cpu)) {
				counts->count[SEMANTOS_S_FIXED]++;
				continue;
			}
			counts->count[SEMANTOS_S_WAITED]++;
			counts->count[SEMANTOS_S_YES]++;
			moved = scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
			counts->count[moved ? SEMANTOS_S_MOVED : SEMANTOS_S_LOST]++;
			break;
		}
		if (moved)
			break;
	}
	return moved;
}

#endif
