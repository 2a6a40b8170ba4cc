/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * queue.h - the scheduler: one queue a CPU, ordered by weighted virtual time; who wakes goes to an idle CPU, else to the
 * queue of its own; a CPU whose queue is empty looks for work elsewhere (pull.h).
 *
 * Nothing here waits for the agent or asks user space. The kernel takes the scheduler off when a runnable task has not
 * run for QUEUE_STALL_MS, when a callback is at fault, or when it is told to; then its own class goes on at once.
 */
#ifndef SEMANTOS_MLLB_QUEUE_H
#define SEMANTOS_MLLB_QUEUE_H

#include "policies/mllb/pull.h"

#define QUEUE_PREEMPT_NS 1000000 /* whoever wakes interrupts a task that is so far ahead of it, */
#define QUEUE_LEAST_NS \
	1500000 /* and has run so long: else senders and receivers interrupt one another at every message */
#define QUEUE_BUSY_NS 4000000 /* between two looks for work of a CPU that has some */
#define QUEUE_KTHREAD 0x00200000 /* PF_KTHREAD */
#define QUEUE_STALL_MS 5000
#define QUEUE_AHEAD_NS \
	1000000000ULL /* a task waits for its turn about so long at most, however small its weight */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_sched_end);
} sched_end SEC(".maps");

/* A fault that the lab puts in: tests/vm/mllb_loses.bpf.c. */
#ifndef MLLB_LOSES
#define MLLB_LOSES(p) false
#endif

/* Wake an idle CPU of these so that it looks for work. */
static __always_inline void kick_idle(
	const struct cpumask *allowed, struct semantos_sched_row *counts)
{
	__s32 idle = scx_bpf_pick_idle_cpu(allowed, 0);

	if (idle < 0)
		return;
	scx_bpf_kick_cpu(idle, SCX_KICK_IDLE);
	if (counts)
		counts->count[SEMANTOS_S_KICKED]++;
}

static __always_inline void kick_any_idle(struct semantos_sched_row *counts)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();

	kick_idle(online, counts);
	scx_bpf_put_cpumask(online);
}

SEC("?struct_ops/mllb_select_cpu")
__s32 BPF_PROG(mllb_select_cpu, struct task_struct *p, __s32 prev_cpu, __u64 wake_flags)
{
	struct semantos_sched_row *counts = count_row();
	bool idle = false;
	__s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle && !MLLB_LOSES(p)) {
		scx_insert(p, SCX_DSQ_LOCAL, TASK_SLICE_NS, 0);
		if (counts)
			counts->count[SEMANTOS_S_WAKE_IDLE]++;
	}
	return cpu;
}

/* Does whoever wakes with this virtual time interrupt the task that runs there? */
static __always_inline bool preempts(const struct mllb_cpu *cpu, __u64 vtime, __u64 now)
{
	__u64 since = *(volatile __u64 *)&cpu->curr_at, curr;

	if (!since || scx_since(since, now) < QUEUE_LEAST_NS)
		return false;
	curr = cpu->curr_vtime + task_vtime_of(now - since, cpu->curr_weight);
	return vtime_before(vtime + QUEUE_PREEMPT_NS, curr);
}

SEC("?struct_ops/mllb_enqueue")
void BPF_PROG(mllb_enqueue, struct task_struct *p, __u64 enq_flags)
{
	struct semantos_sched_row *counts = count_row();
	struct mllb_task *task = task_of(p);
	__s32 cpu = scx_bpf_task_cpu(p);
	struct mllb_cpu *row = cpu_row(cpu);
	__u64 now = scx_now(), least, most;
	bool wakes = enq_flags & SCX_ENQ_WAKEUP;

	if (MLLB_LOSES(p))
		return;
	if (!task || !row) {
		scx_insert(p, SCX_DSQ_LOCAL, TASK_SLICE_NS, enq_flags);
		if (counts)
			counts->count[SEMANTOS_S_NO_STORAGE]++;
		return;
	}
	/* The kernel's own thread of one CPU: nobody else can take it, and a CPU that goes asks for no more of its queue. */
	if ((p->flags & QUEUE_KTHREAD) && p->nr_cpus_allowed == 1) {
		scx_insert(p, SCX_DSQ_LOCAL, TASK_SLICE_NS, enq_flags);
		return;
	}
	task_move_vtime(task, cpu);
	/* Who slept long does not save it up beyond a slice. */
	least = row->vnow - TASK_SLICE_NS;
	if (vtime_before(task->vtime, least))
		task->vtime = least;
	/* Virtual time goes by the slower the more is runnable: a task of weight 1 would come after the watchdog. */
	most = row->vnow + task_vtime_of(QUEUE_AHEAD_NS, cpu_weight(row));
	if (vtime_before(most, task->vtime))
		task->vtime = most;
	task->waits_since = now;
	scx_bpf_dsq_insert_vtime(p, cpu, TASK_SLICE_NS, task->vtime, enq_flags);
	if (counts)
		counts->count[wakes ? SEMANTOS_S_WAKE_QUEUED : SEMANTOS_S_REQUEUED]++;
	if (wakes && preempts(row, task->vtime, now)) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		if (counts)
			counts->count[SEMANTOS_S_PREEMPTED]++;
	} else if (row->away_at || !wakes) {
		kick_idle(p->cpus_ptr, counts);
	}
}

/*
 * A CPU that is idle for shorter than it takes to warm up somebody else's task leaves it where it is, as the kernel does. Should
 * it stay idle all the same, the next tick of a busy one asks it again.
 */
static __always_inline void look_when_idle(
	__s32 cpu, struct mllb_cpu *row, const struct task_struct *prev, __u64 now)
{
	bool moved = false;

	if (!prev || row->mean_idle > SCHED_HOT_NS)
		moved = pull(cpu, prev ? SEMANTOS_SCHED_NEWLY_IDLE : SEMANTOS_SCHED_IDLE, now);
	if (!moved && !row->idle_since)
		row->idle_since = now;
}

static __always_inline void was_idle(struct mllb_cpu *row, __u64 now)
{
	__u64 ns = scx_since(row->idle_since, now);

	if (!row->idle_since)
		return;
	if (ns > 8 * MLLB_IDLE_MOST)
		ns = 8 * MLLB_IDLE_MOST;
	ns = row->mean_idle - row->mean_idle / 8 + ns / 8;
	row->mean_idle = ns < MLLB_IDLE_MOST ? ns : MLLB_IDLE_MOST;
	row->idle_since = 0;
}

SEC("?struct_ops/mllb_dispatch")
void BPF_PROG(mllb_dispatch, __s32 cpu, struct task_struct *prev)
{
	struct mllb_cpu *row = cpu_row(cpu);
	bool busy = prev && scx_is_queued(prev);
	__u64 now = scx_now();

	if (row && now - row->rescued_at > QUEUE_BUSY_NS) {
		row->rescued_at = now;
		if (rescue(cpu, now))
			return;
	}
	if (row && now - row->looked_at > QUEUE_BUSY_NS &&
		(busy || scx_bpf_dsq_nr_queued(cpu) > 0)) {
		row->looked_at = now;
		balance(cpu, now);
	}
	if (!scx_move_to_local(cpu) && !busy && row)
		look_when_idle(cpu, row, prev, now);
}

/* A busy CPU with a queue sees to it that an idle one looks for work, for itself and for its neighbour. */
SEC("?struct_ops/mllb_tick")
void BPF_PROG(mllb_tick, struct task_struct *p)
{
	__s32 cpu = scx_bpf_task_cpu(p), next = cpu + 1;

	if (next >= (__s32)scx_bpf_nr_cpu_ids())
		next = 0;
	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(next) > 0)
		kick_any_idle(count_row());
}

SEC("?struct_ops/mllb_runnable")
void BPF_PROG(mllb_runnable, struct task_struct *p, __u64 enq_flags)
{
	struct mllb_task *task = task_of(p);
	__u64 now = scx_now();

	if (!task)
		return;
	task->waits_since = now;
	task->woken_at = enq_flags & SCX_ENQ_WAKEUP ? now : 0;
	if (task->load_cpu >= 0)
		return; /* counted already */
	task_move_load(task, scx_bpf_task_cpu(p));
	task->counted = task->weight;
	group_count(p, task->counted, 1);
}

SEC("?struct_ops/mllb_quiescent")
void BPF_PROG(mllb_quiescent, struct task_struct *p, __u64 deq_flags)
{
	struct mllb_task *task = task_of(p);

	if (!task || task->load_cpu < 0)
		return;
	group_count(p, task->counted, -1);
	task_move_load(task, -1);
	task->waits_since = 0;
}

static __always_inline void report_wait(__u64 wait_ns)
{
	struct semantos_sched_row *counts = count_row();
	struct semantos_policy *pol = policy_row();
	__u32 us = ns_to_us(wait_ns), bucket = 0, zero = 0;
	struct semantos_trial *row;

	for (__u32 shift = 16; shift; shift /= 2) {
		if (us >> (bucket + shift))
			bucket += shift;
	}
	if (counts && bucket < SEMANTOS_SCHED_WAITS)
		counts->waits[bucket]++;
	if (!pol || pol->mode != SEMANTOS_CANARY)
		return;
	row = bpf_map_lookup_elem(&trial, &zero);
	if (row)
		semantos_trial_report(
			row, slice_treated(pol, bpf_ktime_get_boot_ns() - wait_ns), us);
}

SEC("?struct_ops/mllb_running")
void BPF_PROG(mllb_running, struct task_struct *p)
{
	struct mllb_task *task = task_of(p);
	__s32 cpu = scx_bpf_task_cpu(p);
	struct mllb_cpu *row = cpu_row(cpu);
	__u64 now = scx_now();

	if (!task || !row)
		return;
	was_idle(row, now);
	if (row->away_at)
		is_back(row);
	task_move_vtime(task, cpu);
	task->share = task_weight(p, task, now);
	if (task->load_cpu >= 0)
		task_move_load(task, cpu);
	if (task->woken_at && now > task->woken_at)
		report_wait(now - task->woken_at);
	task->woken_at = task->waits_since = 0;
	if (vtime_before(row->vnow, task->vtime))
		row->vnow = task->vtime;
	row->curr_vtime = task->vtime;
	row->curr_weight = task->share;
	*(volatile __u64 *)&row->curr_at = now;
}

SEC("?struct_ops/mllb_stopping")
void BPF_PROG(mllb_stopping, struct task_struct *p, bool runnable)
{
	struct mllb_task *task = task_of(p);
	struct mllb_cpu *row = cpu_row(scx_bpf_task_cpu(p));
	__u64 now = scx_now();

	if (!task || !row)
		return;
	if (row->curr_at && now > row->curr_at)
		task->vtime += task_vtime_of(now - row->curr_at, row->curr_weight);
	*(volatile __u64 *)&row->curr_at = 0;
	task->ran_at = now;
	if (runnable)
		task->waits_since = now;
}

SEC("?struct_ops/mllb_set_weight")
void BPF_PROG(mllb_set_weight, struct task_struct *p, __u32 weight)
{
	struct mllb_task *task = task_of(p);

	if (task)
		task->weight = weight ? weight : GROUP_WEIGHT;
}

SEC("?struct_ops.s/mllb_init_task")
__s32 BPF_PROG(mllb_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct mllb_task *task =
		bpf_task_storage_get(&tasks, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!task)
		return -12; /* -ENOMEM: the fork fails, or the scheduler does not begin */
	__builtin_memset(task, 0, sizeof(*task));
	task->weight = GROUP_WEIGHT;
	task->share = (__u64)GROUP_WEIGHT << 16;
	task->load_cpu = -1;
	return 0;
}

SEC("?struct_ops/mllb_enable")
void BPF_PROG(mllb_enable, struct task_struct *p)
{
	struct mllb_task *task = task_of(p);
	struct mllb_cpu *row;

	if (!task)
		return;
	task->cpu = scx_bpf_task_cpu(p);
	row = cpu_row(task->cpu);
	if (row)
		task->vtime = row->vnow;
}

SEC("?struct_ops.s/mllb_cgroup_init")
__s32 BPF_PROG(mllb_cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	group_new(cgrp, args->weight);
	return 0;
}

SEC("?struct_ops/mllb_cgroup_set_weight")
void BPF_PROG(mllb_cgroup_set_weight, struct cgroup *cgrp, __u32 weight)
{
	group_weigh(cgrp, weight);
}

/* Another class takes the CPU: what was about to run there goes back into a queue, where others find it. */
SEC("?struct_ops/mllb_cpu_release")
void BPF_PROG(mllb_cpu_release, __s32 cpu, struct scx_cpu_release_args *args)
{
	struct mllb_cpu *row = cpu_row(cpu);
	struct task_struct *hog = args->task;

	if (row && (__u32)args->reason < 2) { /* the stop class is the kernel's own and is brief */
		row->away_pid = BPF_CORE_READ(hog, pid);
		BPF_CORE_READ_STR_INTO(&row->away, hog, comm);
		*(volatile __u64 *)&row->away_at = bpf_ktime_get_boot_ns();
	}
	scx_bpf_reenqueue_local();
	if (scx_bpf_dsq_nr_queued(cpu) > 0)
		kick_any_idle(count_row());
}

SEC("?struct_ops/mllb_cpu_acquire")
void BPF_PROG(mllb_cpu_acquire, __s32 cpu, struct scx_cpu_acquire_args *args)
{
	struct mllb_cpu *row = cpu_row(cpu);

	if (row)
		is_back(row);
}

/*
 * A CPU that goes is asked for no more of its queue (6.18; later kernels see to it themselves), and whoever may run there
 * alone would wait for ever. What comes from now on the kernel puts where the CPU runs it, and moves it off from there.
 */
static __always_inline void queue_leave(__s32 cpu, struct semantos_sched_row *counts)
{
	struct task_struct *p;

	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, cpu, 0)
	{
		if (scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL_ON | (__u64)cpu, 0) && counts)
			counts->count[SEMANTOS_S_REQUEUED]++;
	}
	bpf_rcu_read_unlock();
}

/* Without these two the kernel would take the scheduler off whenever a CPU comes or goes. */
SEC("?struct_ops.s/mllb_cpu_online")
void BPF_PROG(mllb_cpu_online, __s32 cpu)
{
	struct mllb_cpu *row = cpu_row(cpu);

	if (row)
		row->offline = 0;
}

SEC("?struct_ops.s/mllb_cpu_offline")
void BPF_PROG(mllb_cpu_offline, __s32 cpu)
{
	struct mllb_cpu *row = cpu_row(cpu);

	if (row)
		row->offline = 1;
	queue_leave(cpu, count_row());
}

SEC("?struct_ops.s/mllb_init")
__s32 BPF_PROG(mllb_init)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), cpu, err;
	__u32 zero = 0;
	struct semantos_sched_end *end = bpf_map_lookup_elem(&sched_end, &zero);

	bpf_for (cpu, 0, n_cpus) {
		struct mllb_cpu *row = cpu_row(cpu);

		err = scx_bpf_create_dsq(cpu, -1);
		if (err)
			return err;
		/* What a scheduler before this one left behind. */
		if (row) {
			row->vnow = row->curr_at = row->away_at = row->away_ns = 0;
			row->load = 0;
			row->idle_since = 0;
			row->mean_idle = MLLB_IDLE_MOST;
			row->fails = row->offline = 0;
		}
	}
	if (end)
		end->enabled++;
	return 0;
}

/* How long another class has had this CPU, or had it until a moment ago: by the time of the end it may be back. */
static __always_inline __u64 away_for(const struct mllb_cpu *row, __u64 now)
{
	__u64 away_at = *(volatile __u64 *)&row->away_at;

	if (away_at)
		return now > away_at ? now - away_at : 0;
	return now - row->back_at < 2 * QUEUE_STALL_MS * 1000000ULL ? row->away_ns : 0;
}

/* The CPU that another class has held longest. */
static __always_inline void find_hog(struct semantos_sched_end *end, __u64 now)
{
	__s32 n_cpus = scx_bpf_nr_cpu_ids(), cpu;
	__u64 longest = 0;

	end->hog_cpu = -1;
	bpf_for (cpu, 0, n_cpus) {
		struct mllb_cpu *row = cpu_row(cpu);
		__u64 away_ns = row ? away_for(row, now) : 0;

		if (!row || away_ns <= longest)
			continue;
		longest = away_ns;
		end->hog_cpu = cpu;
		end->hog_ns = longest;
		end->hog_pid = row->away_pid;
		__builtin_memcpy(end->hog, row->away, sizeof(end->hog));
	}
}

SEC("?struct_ops.s/mllb_exit")
void BPF_PROG(mllb_exit, struct scx_exit_info *info)
{
	__u32 zero = 0;
	struct semantos_sched_end *end = bpf_map_lookup_elem(&sched_end, &zero);

	if (!end)
		return;
	end->kind = info->kind;
	end->code = info->exit_code;
	bpf_probe_read_kernel_str(end->reason, sizeof(end->reason), info->reason);
	bpf_probe_read_kernel_str(end->message, sizeof(end->message), info->msg);
	find_hog(end, bpf_ktime_get_boot_ns());
	__sync_fetch_and_add(&end->seq, 1);
}

SEC("?.struct_ops.link")
struct sched_ext_ops mllb_scheduler = {
	.select_cpu = (void *)mllb_select_cpu,
	.enqueue = (void *)mllb_enqueue,
	.dispatch = (void *)mllb_dispatch,
	.tick = (void *)mllb_tick,
	.runnable = (void *)mllb_runnable,
	.running = (void *)mllb_running,
	.stopping = (void *)mllb_stopping,
	.quiescent = (void *)mllb_quiescent,
	.set_weight = (void *)mllb_set_weight,
	.cpu_acquire = (void *)mllb_cpu_acquire,
	.cpu_release = (void *)mllb_cpu_release,
	.init_task = (void *)mllb_init_task,
	.enable = (void *)mllb_enable,
	.cgroup_init = (void *)mllb_cgroup_init,
	.cgroup_set_weight = (void *)mllb_cgroup_set_weight,
	.cpu_online = (void *)mllb_cpu_online,
	.cpu_offline = (void *)mllb_cpu_offline,
	.init = (void *)mllb_init,
	.exit = (void *)mllb_exit,
	.timeout_ms = QUEUE_STALL_MS,
	.name = "semantos_mllb",
};

#endif
