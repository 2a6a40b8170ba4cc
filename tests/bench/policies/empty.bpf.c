// SPDX-License-Identifier: GPL-2.0
/*
 * empty.bpf.c - a hook at every system call that does nothing: what the tracepoint itself costs.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("tp_btf/sys_enter")
int BPF_PROG(empty, struct pt_regs *regs, long id)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
