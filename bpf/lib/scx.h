/* SPDX-License-Identifier: GPL-2.0 */
/*
 * scx.h - sched_ext as a policy's object sees it: types and kernel functions, declared here because vmlinux.h is of a
 * kernel without them (6.12).
 *
 * Only what is used is declared; CO-RE finds the rest of each struct by name, so that one object serves 6.18 and 7.x. Every
 * function is weak: the object loads on kernels that have none of them as long as the scheduler's programs are left out.
 * Two of them changed their shape in 7.x, where the old names may go: the newer is asked first. libbpf takes the last
 * ___word off a name before it looks for it.
 */
#ifndef SEMANTOS_BPF_SCX_H
#define SEMANTOS_BPF_SCX_H

#include "bpf/lib/common.h"

#define SCX_DSQ_LOCAL 0x8000000000000002ULL
#define SCX_DSQ_LOCAL_ON 0xC000000000000000ULL /* | CPU */
#define SCX_ENQ_WAKEUP 1ULL
#define SCX_KICK_IDLE 1ULL
#define SCX_KICK_PREEMPT 2ULL
#define SCX_TASK_QUEUED 1

/* Local names of the kernel's enums: CO-RE wants an enum where the kernel has one. */
enum scx_exit_kind { SCX_EXIT_KIND_LOCAL };
enum scx_cpu_preempt_reason { SCX_CPU_PREEMPT_RT_LOCAL, SCX_CPU_PREEMPT_DL_LOCAL };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct scx_exit_info {
	enum scx_exit_kind kind;
	__s64 exit_code;
	const char *reason;
	char *msg;
};

struct scx_init_task_args {
	bool fork;
	struct cgroup *cgroup;
};

struct scx_exit_task_args {
	bool cancelled;
};

struct scx_cgroup_init_args {
	__u32 weight;
};

struct scx_cpu_acquire_args {
};

struct scx_cpu_release_args {
	enum scx_cpu_preempt_reason reason; /* 0 real-time, 1 deadline, 2 stop */
	struct task_struct *task;
};

struct sched_ext_entity {
	__u32 flags;
	__u32 weight;
};

/* task_struct has it only where sched_ext is built in */
struct task_struct___scx {
	struct sched_ext_entity scx;
};

#pragma clang attribute pop

/* The callbacks we have; libbpf matches them by name, and a kernel that lacks one we set refuses the object. */
struct sched_ext_ops {
	__s32 (*select_cpu)(struct task_struct *p, __s32 prev_cpu, __u64 wake_flags);
	void (*enqueue)(struct task_struct *p, __u64 enq_flags);
	void (*dispatch)(__s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*runnable)(struct task_struct *p, __u64 enq_flags);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, __u64 deq_flags);
	void (*set_weight)(struct task_struct *p, __u32 weight);
	void (*cpu_acquire)(__s32 cpu, struct scx_cpu_acquire_args *args);
	void (*cpu_release)(__s32 cpu, struct scx_cpu_release_args *args);
	__s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*enable)(struct task_struct *p);
	__s32 (*cgroup_init)(struct cgroup *cgrp, struct scx_cgroup_init_args *args);
	void (*cgroup_move)(struct task_struct *p, struct cgroup *from, struct cgroup *to);
	void (*cgroup_set_weight)(struct cgroup *cgrp, __u32 weight);
	void (*cpu_online)(__s32 cpu);
	void (*cpu_offline)(__s32 cpu);
	__s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	__u64 flags;
	__u32 timeout_ms;
	char name[128];
};

struct bpf_iter_scx_dsq {
	__u64 __opaque[6];
};

extern __s32 scx_bpf_create_dsq(__u64 dsq_id, __s32 node) __ksym __weak;
extern __s32 scx_bpf_dsq_nr_queued(__u64 dsq_id) __ksym __weak;
extern __s32 scx_bpf_select_cpu_dfl(
	struct task_struct *p, __s32 prev_cpu, __u64 wake_flags, bool *is_idle) __ksym __weak;
extern __s32 scx_bpf_pick_idle_cpu(const struct cpumask *allowed, __u64 flags) __ksym __weak;
extern const struct cpumask *scx_bpf_get_online_cpumask(void) __ksym __weak;
extern void scx_bpf_put_cpumask(const struct cpumask *mask) __ksym __weak;
extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym __weak;
extern __u64 scx_bpf_now(void) __ksym __weak;
extern __u32 scx_bpf_nr_cpu_ids(void) __ksym __weak;
extern struct task_struct *scx_bpf_cpu_curr(__s32 cpu) __ksym __weak;
extern __s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym __weak;
extern struct cgroup *scx_bpf_task_cgroup(struct task_struct *p) __ksym __weak;
extern int scx_bpf_cpu_node(__s32 cpu) __ksym __weak;
extern void scx_bpf_dsq_insert(
	struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 enq_flags) __ksym __weak;
extern bool scx_bpf_dsq_insert___v2___compat(
	struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 enq_flags) __ksym __weak;
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 vtime,
	__u64 enq_flags) __ksym __weak;
extern bool scx_bpf_dsq_move_to_local(__u64 dsq_id) __ksym __weak;
extern bool scx_bpf_dsq_move_to_local___v2___compat(__u64 dsq_id, __u64 enq_flags) __ksym __weak;
extern bool scx_bpf_dsq_move(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, __u64 dsq_id,
	__u64 enq_flags) __ksym __weak;
extern bool scx_bpf_dsq_move_vtime(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p,
	__u64 dsq_id, __u64 enq_flags) __ksym __weak;
extern void scx_bpf_dsq_move_set_vtime(
	struct bpf_iter_scx_dsq *it__iter, __u64 vtime) __ksym __weak;
extern __u32 scx_bpf_reenqueue_local(void) __ksym __weak;
extern int bpf_iter_scx_dsq_new(
	struct bpf_iter_scx_dsq *it, __u64 dsq_id, __u64 flags) __ksym __weak;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym __weak;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym __weak;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym __weak;
extern void bpf_cgroup_release(struct cgroup *cgrp) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern bool bpf_cpumask_test_cpu(__u32 cpu, const struct cpumask *mask) __ksym __weak;

/* In ns, read from the hardware once a pass of the scheduler. Another CPU's may be a little ahead: see scx_since(). */
static __always_inline __u64 scx_now(void)
{
	return bpf_ksym_exists(scx_bpf_now) ? scx_bpf_now() : bpf_ktime_get_ns();
}

static __always_inline __u64 scx_since(__u64 then, __u64 now)
{
	return now > then ? now - then : 0;
}

/* 7.x answers whether it was inserted; the name without it may go there. */
static __always_inline void scx_insert(
	struct task_struct *p, __u64 dsq_id, __u64 slice, __u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___v2___compat))
		scx_bpf_dsq_insert___v2___compat(p, dsq_id, slice, enq_flags);
	else
		scx_bpf_dsq_insert(p, dsq_id, slice, enq_flags);
}

/* 7.x takes flags. */
static __always_inline bool scx_move_to_local(__u64 dsq_id)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___v2___compat))
		return scx_bpf_dsq_move_to_local___v2___compat(dsq_id, 0);
	return scx_bpf_dsq_move_to_local(dsq_id);
}

static __always_inline bool scx_is_queued(const struct task_struct *p)
{
	const struct task_struct___scx *task = (const void *)p;

	return task->scx.flags & SCX_TASK_QUEUED;
}

#endif
