// SPDX-License-Identifier: GPL-2.0
/*
 * volume_wrap.bpf.c - what bpf/lib/volume.h remembers of reads in flight, behind a program that a test can run on several
 * CPUs at once.
 */
#include "bpf/lib/verdict.h"
/* No kernel without the module knows the types of a read: here they are plain ones. */
#undef __bpf__
#include "bpf/blk_ops.h"
#define __bpf__ 1
#include "bpf/lib/volume.h"

/* As in test_volume_rows.c. */
struct volume_command {
	__u64 id; /* of the read; the same one again and again */
	__u32 repeat;
	__u32 slot; /* whose row of leg_models says what is slow */
	__u32 slow; /* what is foreseen */
	__u32 latency_us; /* what it takes */
};

SEC("syscall")
int volume_reads(struct volume_command *command)
{
	struct semantos_blk_read read = { .id = command->id };
	struct semantos_blk_done done = { .id = command->id, .latency_us = command->latency_us };
	struct volume_view view = { .known = 1, .slow = command->slow & 1 };
	__u32 repeat = command->repeat, i;

	view.slot_plus_1[0] = (__u16)(command->slot + 1);
	bpf_for (i, 0, repeat) {
		volume_remember(&read, &view, 0, 0, 0);
		volume_complete(&done);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
