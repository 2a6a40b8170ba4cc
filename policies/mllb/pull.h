/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * pull.h - a CPU with room looks for a task, and of each that it finds asks whether it may be moved. One that is about to be
 * idle looks at the first few tasks of the longest queue. A busy one looks at those of the CPU with the most load, for one
 * that makes the two loads more even: that is what weights hold by over all CPUs.
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
#define PULL_EVEN_TASKS 16 /* of that of the CPU with the most load: many may be too heavy */

static __always_inline bool may_run_on(struct task_struct *p, __s32 cpu)
{
	return !p->migration_disabled && bpf_cpumask_test_cpu(cpu, p->cpus_ptr);
}

/* CPU with the longest queue, or -1. */
static __always_inline __s32 longest_queue(__s32 cpu)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), best = -1, least = 1, i;
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

/* As the kernel has it: 1024 a task of weight 100. */
static __always_inline __u32 load_of(const struct mllb_cpu *cpu)
{
	__u64 load = (cpu_load(cpu) << TASK_LOAD_SHIFT >> 6) / GROUP_WEIGHT;

	return load < 0xffffffff ? load : 0xffffffff;
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
	record->dst_nr = scx_bpf_dsq_nr_queued(dst_cpu) + !flags;
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
	s->record.delta_ns = scx_since(task->ran_at, now);
	s->record.pid = p->pid;
	if (flags && (src->away_at || src->offline ||
			     scx_since(task->waits_since, now) > PULL_WAIT_NS)) {
		counts->count[SEMANTOS_S_WAITED]++;
		return true;
	}
	return mllb_decide(s, counts, bpf_ktime_get_boot_ns());
}

/* For a CPU that would be idle. flags: SEMANTOS_SCHED_IDLE or _NEWLY_IDLE. True when a task was moved to this CPU. */
static __always_inline bool pull(__s32 cpu, __u32 flags, __u64 now)
{
	struct semantos_sched_row *counts = count_row();
	struct mllb_scratch *s = scratch_of(MLLB_SCHEDULER);
	struct mllb_cpu *dst = cpu_row(cpu), *src;
	__s32 src_cpu = longest_queue(cpu), looked = 0;
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
	if (!moved)
		counts->count[SEMANTOS_S_LEFT_IDLE]++;
	return moved;
}

/* CPU with the most load of those that have a queue and more load than `least`, or -1. */
static __always_inline __s32 most_loaded(__s32 cpu, __u64 least)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), best = -1, i;
	__s32 last = n_cpus < PULL_CPUS ? n_cpus : PULL_CPUS;

	bpf_for (i, 1, last) {
		__s32 other = cpu + i < n_cpus ? cpu + i : cpu + i - n_cpus;
		struct mllb_cpu *row = cpu_row(other);
		__u64 load = row ? cpu_load(row) : 0;

		if (load > least && scx_bpf_dsq_nr_queued(other) > 0) {
			least = load;
			best = other;
		}
	}
	return best;
}

/* It goes to the queue of this CPU and waits there for its turn; its load goes with it at once, so that no second follows. */
static __always_inline bool take(struct bpf_iter_scx_dsq *it, struct task_struct *p, __s32 cpu)
{
	struct mllb_task *task = task_of(p);
	__s32 from;

	if (!task)
		return false;
	from = task->cpu;
	task_move_vtime(task, cpu);
	scx_bpf_dsq_move_set_vtime(it, task->vtime);
	if (!scx_bpf_dsq_move_vtime(it, p, cpu, 0)) {
		task_move_vtime(task, from);
		return false;
	}
	if (task->load_cpu >= 0)
		task_move_load(task, cpu);
	return true;
}

/* For a busy CPU: a task of another that is less than what that one has more of. */
static __always_inline void balance(__s32 cpu, __u64 now)
{
	struct semantos_sched_row *counts = count_row();
	struct mllb_scratch *s = scratch_of(MLLB_SCHEDULER);
	struct mllb_cpu *dst = cpu_row(cpu), *src;
	__s32 src_cpu = dst ? most_loaded(cpu, cpu_load(dst)) : -1, looked = 0;
	bool asked = false, moved = false;
	struct task_struct *p;

	if (src_cpu < 0)
		return;
	src = cpu_row(src_cpu);
	if (!counts || !s || !dst || !src)
		return;
	counts->count[SEMANTOS_S_PULLS]++;
	pull_fill(&s->record, src_cpu, src, cpu, dst, 0);
	bpf_for_each(scx_dsq, p, src_cpu, 0)
	{
		struct mllb_task *task = task_of(p);

		if (looked++ >= PULL_EVEN_TASKS)
			break;
		if (!task || cpu_load(dst) + task->load >= cpu_load(src))
			continue;
		counts->count[SEMANTOS_S_CANDIDATES]++;
		if (!may_run_on(p, cpu)) {
			counts->count[SEMANTOS_S_FIXED]++;
			continue;
		}
		asked = true;
		if (!pull_wanted(s, counts, p, src, 0, now))
			continue;
		counts->count[SEMANTOS_S_YES]++;
		moved = take(&___it, p, cpu);
		counts->count[moved ? SEMANTOS_S_MOVED : SEMANTOS_S_LOST]++;
		if (moved)
			break;
	}
	if (asked)
		dst->fails = moved ? 0 : dst->fails + 1;
}

#define PULL_UNSERVED_NS 50000000
#define PULL_REAL_TIME 100 /* priorities of the real-time and deadline classes are below */

/* A task of ours runs there again. */
static __always_inline void is_back(struct mllb_cpu *row)
{
	if (row->away_at) {
		row->back_at = bpf_ktime_get_boot_ns();
		row->away_ns = row->back_at - row->away_at;
	}
	*(volatile __u64 *)&row->away_at = 0;
}

/*
 * A real-time task that begins on an idle CPU is not announced by cpu_release: there was no task of ours to take the CPU from.
 * It is known by a queue whose task has waited long while none of ours runs there.
 */
static __always_inline bool is_away(
	struct mllb_cpu *row, __s32 cpu, const struct task_struct *p, __u64 now)
{
	struct mllb_task *task = task_of((struct task_struct *)p);
	struct task_struct *hog;
	__u64 waited_ns = task && task->waits_since ? scx_since(task->waits_since, now) : 0;

	if (row->away_at || row->offline)
		return true;
	if (*(volatile __u64 *)&row->curr_at || waited_ns < PULL_UNSERVED_NS)
		return false;
	hog = bpf_ksym_exists(scx_bpf_cpu_curr) ? scx_bpf_cpu_curr(cpu) : NULL;
	if (hog && hog->prio < PULL_REAL_TIME) {
		row->away_pid = hog->pid;
		BPF_CORE_READ_STR_INTO(&row->away, hog, comm);
		*(volatile __u64 *)&row->away_at = bpf_ktime_get_boot_ns() - waited_ns;
	}
	return true;
}

/*
 * A queue that nobody serves: a real-time task has its CPU, or the CPU is gone. Its first task that may run here comes at
 * once, however much this CPU has to do: else it would wait for as long as all others are busy.
 */
static __always_inline bool rescue(__s32 cpu, __u64 now)
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

		if (!row || scx_bpf_dsq_nr_queued(other) <= 0)
			continue;
		bpf_for_each(scx_dsq, p, other, 0)
		{
			if (!is_away(row, other, p, now))
				break;
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
