// SPDX-License-Identifier: GPL-2.0
/*
 * mllb.bpf.c - MLLB's question: may this task be pulled from that CPU to this one?
 *
 * shadow.h listens to what the kernel's own balancer answers, and the net is judged by it; queue.h is a scheduler of its
 * own (sched_ext) that asks the net instead. The scheduler's programs are left out where the kernel has no sched_ext, the
 * hook where it has no can_migrate_task to hook: the agent says which of them it wants before it loads.
 */
#include "policies/mllb/control.h"
#include "policies/mllb/shadow.h"
#include "policies/mllb/queue.h"

SEC("?fexit/can_migrate_task")
int BPF_PROG(on_can_migrate, struct task_struct *p, struct lb_env *env, int answer)
{
	shadow_answer(p, env, answer, bpf_ktime_get_boot_ns());
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
