/* SPDX-License-Identifier: GPL-2.0 */
/*
 * calls.h - the system calls of each process, counted by feature (bpf/calls.h) in windows, one record a window.
 *
 * A process is a thread group: all threads count into the storage of its first one, which lives as long as any of them. A
 * call is two adds there, atomic ones where there are several threads; what is added while a window is being sent is taken by exchange, so that it is in this
 * window or the next and never lost. The clock is read at a window's first call and every CALLS_LOOK calls.
 */
#ifndef SEMANTOS_BPF_CALLS_HOOKS_H
#define SEMANTOS_BPF_CALLS_HOOKS_H

#include "bpf/lib/budget.h"
#include "bpf/lib/lease.h"
#include "bpf/lib/policy.h"
#include "bpf/lib/ring.h"
#include "bpf/calls_wire.h"

#define CALLS_LOOK 16 /* a power of two */
#define CALLS_COMPAT \
	0x0002 /* TS_COMPAT of thread_info.status: this call came by the i386 interface */
#define CALLS_X32 0x40000000UL /* __X32_SYSCALL_BIT: x32 has the numbers of x86-64 below it */
#define CALLS_SOCKETCALL 102 /* of i386 */
#define CALLS_ANCESTORS 32

struct calls_window {
	__u64 began_ns;
	__u32 n; /* calls so far; may fall below zero for a moment, see window_close() */
	__u32 closing; /* a thread sends it */
	__u32 i386; /* of them */
	__u32 count[SEMANTOS_CALLS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct calls_window);
} windows SEC(".maps");

struct calls_cpu {
	struct budget_local budget;
	__u64 serial;
	__u32 since_wake;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct calls_cpu);
} calls_cpu SEC(".maps");

/* The agent's own calls are not looked at, nor, while something is learnt, those of anybody else than its command. */
static __always_inline bool window_ours(struct task_struct *leader, __u32 below)
{
	__u32 zero = 0;
	struct semantos_lease *proof = bpf_map_lookup_elem(&lease, &zero);
	struct task_struct *at = leader;

	if (proof && proof->agent_pid == (__u32)leader->tgid)
		return false;
	if (!below)
		return true;
	for (int i = 0; i < CALLS_ANCESTORS; i++) {
		at = BPF_CORE_READ(at, real_parent);
		if (!at || !BPF_CORE_READ(at, pid))
			break;
		if ((__u32)BPF_CORE_READ(at, tgid) == below)
			return true;
	}
	return false;
}

static __always_inline void window_fill(struct semantos_calls_record *out,
	struct task_struct *leader, const struct calls_window *window, struct calls_cpu *mine,
	__u64 now_ns, bool exit)
{
	__u32 cpu = bpf_get_smp_processor_id();

	__builtin_memset(&out->head, 0, sizeof(out->head));
	out->head.version = SEMANTOS_WIRE_VERSION;
	out->head.bytes = sizeof(*out);
	out->head.kind = SEMANTOS_CALLS_RECORD;
	out->head.flags =
		(exit ? SEMANTOS_CALLS_F_EXIT : 0) | (window->i386 ? SEMANTOS_CALLS_F_I386 : 0);
	out->head.ts_ns = now_ns;
	out->head.request_id = (__u64)(cpu + 1) << 40 | ++mine->serial;
	out->head.cpu = cpu;
	out->start_ns = BPF_CORE_READ(leader, start_boottime);
	out->began_ns = window->began_ns;
	out->cgroup = bpf_get_current_cgroup_id();
	out->pid = (__u32)leader->tgid;
	out->parent = (__u32)BPF_CORE_READ(leader, real_parent, tgid);
	out->threads = (__u32)BPF_CORE_READ(leader, signal, nr_threads);
	if (bpf_probe_read_kernel_str(out->comm, sizeof(out->comm), leader->comm) < 0)
		out->comm[0] = 0;
}

/* Counts go into the record, or nowhere when there is none; the sum is what leaves the window. */
static __always_inline __u32 window_take(
	struct calls_window *window, struct semantos_calls_record *out)
{
	__u32 sum = 0;

	for (int i = 0; i < SEMANTOS_CALLS; i++) {
		__u32 n = window->count[i] ? __sync_lock_test_and_set(&window->count[i], 0) : 0;

		sum += n;
		if (out)
			out->count[i] = n < 0xffff ? n : 0xffff;
	}
	return sum;
}

static __always_inline void window_close(
	struct task_struct *leader, struct calls_window *window, __u64 now_ns, bool exit)
{
	__u32 zero = 0, sum;
	struct calls_cpu *mine = bpf_map_lookup_elem(&calls_cpu, &zero);
	struct semantos_counters *row = counter_row();
	struct semantos_policy *pol = policy_row();
	struct semantos_calls_record *out = NULL;
	enum ring_result result = RING_SENT;

	if (!mine || !row || !pol || __sync_lock_test_and_set(&window->closing, 1))
		return;
	/* Another thread closed it since this one counted: what is left says too little. */
	if ((__s32) * (volatile __u32 *)&window->n < SEMANTOS_CALLS_LEAST) {
		__sync_lock_test_and_set(&window->closing, 0);
		return;
	}
	if (!window_ours(leader, pol->below)) {
		count_in(row, SEMANTOS_C_NOT_OURS);
	} else {
		count_in(row, SEMANTOS_C_REQUESTS);
		if (!budget_take(&mine->budget, pol->budget_per_s, now_ns)) {
			count_in(row, SEMANTOS_C_DROP_OVER_BUDGET);
		} else {
			out = ring_reserve(sizeof(*out), &result);
			if (!out)
				count_in(row, SEMANTOS_C_DROP_RING_FULL);
			if (result == RING_MISSING)
				count_in(row, SEMANTOS_C_RING_MISSING);
		}
	}
	if (out)
		window_fill(out, leader, window, mine, now_ns, exit);
	sum = window_take(window, out);
	__sync_fetch_and_add(&row->count[SEMANTOS_C_EVENTS], sum);
	if (window->i386)
		__sync_fetch_and_add(&row->count[SEMANTOS_C_I386_CALLS],
			__sync_lock_test_and_set(&window->i386, 0));
	if (out) {
		out->calls = sum;
		count_in(row, SEMANTOS_C_REQUESTS_SUBMITTED);
		ring_submit(out, &mine->since_wake);
	}
	window->began_ns = now_ns;
	/* Another thread may have added to `count` and not yet to `n`: below zero until it has. */
	__sync_fetch_and_add(&window->n, -sum);
	__sync_lock_test_and_set(&window->closing, 0);
}

static __always_inline __u32 calls_feature_i386(struct pt_regs *regs, unsigned long number)
{
	if (number == CALLS_SOCKETCALL) {
		unsigned long which = (__u32)BPF_CORE_READ(regs, bx);

		if (which < SEMANTOS_CALLS_SOCKET_END)
			return semantos_calls_socket[which];
	}
	return number < SEMANTOS_CALLS_32_END
		       ? semantos_calls_32[number & (SEMANTOS_CALL_NUMBERS - 1)]
		       : SEMANTOS_CALL_other;
}

static __always_inline int calls_on_enter(struct pt_regs *regs, unsigned long number)
{
	struct task_struct *task = bpf_get_current_task_btf(), *leader = task->group_leader;
	bool i386 = task->thread_info.status & CALLS_COMPAT;
	struct calls_window *window;
	__u32 feature, n;
	__u64 now_ns;

	window = bpf_task_storage_get(&windows, leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!window) {
		count(SEMANTOS_C_LOOKUP_FAILED);
		return 0;
	}
	if (i386) {
		feature = calls_feature_i386(regs, number);
		__sync_fetch_and_add(&window->i386, 1);
	} else {
		number &= ~CALLS_X32;
		feature = number < SEMANTOS_CALLS_64_END
				  ? semantos_calls_64[number & (SEMANTOS_CALL_NUMBERS - 1)]
				  : SEMANTOS_CALL_other;
	}
	/* Nobody else counts for a process of one thread: only this thread could start another. */
	if (task->signal->nr_threads == 1) {
		window->count[feature & (SEMANTOS_CALLS - 1)]++;
		n = ++window->n;
	} else {
		__sync_fetch_and_add(&window->count[feature & (SEMANTOS_CALLS - 1)], 1);
		n = __sync_fetch_and_add(&window->n, 1) + 1;
	}
	if (n == 1) {
		window->began_ns = bpf_ktime_get_boot_ns();
		return 0;
	}
	if ((__s32)n >= SEMANTOS_CALLS_WINDOW) {
		window_close(leader, window, bpf_ktime_get_boot_ns(), false);
	} else if (!(n & (CALLS_LOOK - 1)) && (__s32)n >= SEMANTOS_CALLS_LEAST) {
		now_ns = bpf_ktime_get_boot_ns();
		if (now_ns - window->began_ns >= SEMANTOS_CALLS_WINDOW_NS)
			window_close(leader, window, now_ns, false);
	}
	return 0;
}

/* The last thread of a process ends: what its window holds is sent, or is too little and counted. */
static __always_inline int calls_on_exit(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct semantos_counters *row;
	struct calls_window *window;

	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	window = bpf_task_storage_get(&windows, leader, NULL, 0);
	if (!window || (__s32)window->n <= 0)
		return 0;
	if (window->n >= SEMANTOS_CALLS_LEAST) {
		window_close(leader, window, bpf_ktime_get_boot_ns(), true);
		return 0;
	}
	row = counter_row();
	if (row) {
		count_in(row, SEMANTOS_C_SHORT);
		__sync_fetch_and_add(&row->count[SEMANTOS_C_SHORT_CALLS], window->n);
	}
	return 0;
}

/* The agent's only way to the policy row; there are no devices here. */
static __always_inline int calls_control(const struct semantos_control *command)
{
	struct semantos_policy *pol = policy_row();

	if (!pol)
		return -2; /* -ENOENT */
	if (command->op != SEMANTOS_CTL_POLICY || command->mode > SEMANTOS_ENFORCE ||
		command->canary_percent > 100)
		return -22; /* -EINVAL */
	pol->version = SEMANTOS_WIRE_VERSION;
	pol->below = command->slot;
	pol->mode = command->mode;
	pol->canary_percent = command->canary_percent;
	pol->ttl_ns = command->ttl_ns;
	pol->budget_per_s = command->budget_per_s;
	return 0;
}

#endif
