// SPDX-License-Identifier: GPL-2.0
/*
 * schedother.bpf.c - somebody else's scheduler, for the lab: it has a name and leaves all the rest to the kernel's defaults.
 */
#include "bpf/lib/scx.h"

SEC(".struct_ops.link")
struct sched_ext_ops other = {
	.timeout_ms = 5000,
	.name = "other",
};

char LICENSE[] SEC("license") = "GPL";
