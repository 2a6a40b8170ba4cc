// SPDX-License-Identifier: GPL-2.0
/*
 * knn.bpf.c - what do processes ask of the kernel? Their system calls in windows, to be compared with references.
 *
 * bpf/hooks/calls.h does the counting. sys_enter and sched_process_exit are tracepoints with the same first arguments on
 * 6.1 to 7.x. While sys_enter is on, every system call of the machine takes the kernel's slower path, ours included.
 */
#include "bpf/hooks/calls.h"

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long id)
{
	return calls_on_enter(regs, (unsigned long)id);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_process_exit, struct task_struct *task)
{
	return calls_on_exit(task);
}

SEC("syscall")
int control(struct semantos_control *command)
{
	return calls_control(command);
}

char LICENSE[] SEC("license") = "GPL";
