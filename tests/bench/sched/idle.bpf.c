// SPDX-License-Identifier: GPL-2.0
/*
 * idle.bpf.c - how long CPUs stood idle while tasks waited, whatever scheduler is in force.
 *
 * From wakeups and switches alone: a task counts as runnable from its wakeup (or from when it is first seen running) until
 * it is switched away from asleep. What is runnable beyond the busy CPUs waits. Events of several CPUs at once are put
 * in some order; an error of that is a few hundred ns an event, alike for every row that is compared.
 */
#include "bpf/lib/common.h"

struct idle_sum {
	__u64 last_ns, wasted_ns, idle_ns, waited_ns;
	__s64 runnable, busy;
	__u64 events, cpus; /* cpus: put there before the hooks are on */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct idle_sum);
} sum SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} runnable SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} busy SEC(".maps");

/* Time since the last event goes to what was so since then. */
static __always_inline struct idle_sum *account(void)
{
	__u32 zero = 0;
	struct idle_sum *s = bpf_map_lookup_elem(&sum, &zero);
	__u64 now = bpf_ktime_get_ns(), last;
	__s64 idle, waiting;

	if (!s)
		return NULL;
	idle = (__s64)s->cpus - *(volatile __s64 *)&s->busy;
	waiting = *(volatile __s64 *)&s->runnable - *(volatile __s64 *)&s->busy;
	last = __sync_lock_test_and_set(&s->last_ns, now);
	__sync_fetch_and_add(&s->events, 1);
	if (!last || now <= last || !s->cpus)
		return s;
	if (idle > 0)
		__sync_fetch_and_add(&s->idle_ns, (now - last) * (__u64)idle);
	if (waiting > 0)
		__sync_fetch_and_add(&s->waited_ns, (now - last) * (__u64)waiting);
	if (idle > 0 && waiting > 0)
		__sync_fetch_and_add(
			&s->wasted_ns, (now - last) * (__u64)(idle < waiting ? idle : waiting));
	return s;
}

static __always_inline void is_runnable(struct idle_sum *s, struct task_struct *p, __u32 now)
{
	__u32 *mark = bpf_task_storage_get(&runnable, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!mark || *mark == now)
		return;
	*mark = now;
	__sync_fetch_and_add(&s->runnable, now ? 1 : -1);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_wakeup, struct task_struct *p)
{
	struct idle_sum *s = account();

	if (s)
		is_runnable(s, p, 1);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(on_wakeup_new, struct task_struct *p)
{
	struct idle_sum *s = account();

	if (s)
		is_runnable(s, p, 1);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next,
	unsigned int prev_state)
{
	struct idle_sum *s = account();
	__u32 zero = 0, *mine = bpf_map_lookup_elem(&busy, &zero), now = next->pid != 0;

	if (!s || !mine)
		return 0;
	if (prev->pid && !preempt && prev_state)
		is_runnable(s, prev, 0);
	if (next->pid)
		is_runnable(s, next, 1);
	if (*mine != now)
		__sync_fetch_and_add(&s->busy, now ? 1 : -1);
	*mine = now;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
