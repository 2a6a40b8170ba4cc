// SPDX-License-Identifier: GPL-2.0
/*
 * mllb_loses.bpf.c - mllb with a fault put into it, for the lab: its scheduler loses every task that is called "lost", so
 * that the kernel's watchdog must take it off.
 */
#include "bpf/lib/common.h"

static __always_inline bool is_lost(struct task_struct *p)
{
	return p->comm[0] == 'l' && p->comm[1] == 'o' && p->comm[2] == 's' && p->comm[3] == 't' &&
	       !p->comm[4];
}

#define MLLB_LOSES(p) is_lost(p)
#include "policies/mllb/control.h"
#include "policies/mllb/queue.h"

char LICENSE[] SEC("license") = "GPL";
